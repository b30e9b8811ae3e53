//! What apply's role may do with a target, of that which its work needs.

use super::{Connection, DestinationError};
use crate::merge::names::TargetName;
use crate::merge::operations::Operations;

/// What a role may do with a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The privileges that it needs for rows and does not have.
    pub missing: Vec<&'static str>,
    /// It may empty the table with TRUNCATE.
    pub truncates: bool,
    /// It may change the definition, as the owner or a member of it.
    pub owns: bool,
}

/// What the role may do, of that which `operations` need; rights for some columns count, for apply names the columns.
pub(crate) async fn rights(
    connection: &Connection,
    target: &TargetName,
    operations: Operations,
) -> Result<Option<Rights>, DestinationError> {
    let row = connection
        .query_opt(RIGHTS, &[&target.schema, &target.table])
        .await
        .map_err(DestinationError::during(format!("asking for privileges on {target}")))?;
    Ok(row.map(|row| {
        let granted: Vec<&str> = (0..ROW_PRIVILEGES.len())
            .filter(|at| row.get(*at))
            .filter_map(|at| ROW_PRIVILEGES.get(at).copied())
            .collect();
        let missing = operations.privileges().into_iter().filter(|privilege| !granted.contains(privilege));
        Rights { missing: missing.collect(), truncates: row.get(4), owns: row.get(5) }
    }))
}

/// In the order of the answer's first columns.
const ROW_PRIVILEGES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

const RIGHTS: &str = "SELECT has_any_column_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'INSERT'), \
     has_any_column_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'), has_table_privilege(c.oid, 'TRUNCATE'), \
     pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
