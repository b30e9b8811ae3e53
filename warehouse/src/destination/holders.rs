//! Who stands in the way of a table: sessions that hold locks of it, for people to read; and sessions of instances of apply
//! that hang in a transaction, which an heir ends.
//!
//! Invariant: only sessions of apply's own role and bookkeeping are ended, and only those of an instance whose every session has
//! been silent for [`SILENCE`] though a living one speaks each two seconds. To end one that lives all the same costs a
//! transaction, which its owner tries again.

use super::{Connection, DestinationError};
use crate::merge::dialect::Dialect;
use crate::merge::names::{TargetName, literal};
use std::time::Duration;

/// How long an instance says nothing before it counts as dead.
pub const SILENCE: Duration = Duration::from_secs(10);

/// A session that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pid: i32,
    role: String,
    application: String,
    /// Empty where this role may not see it.
    state: String,
    seconds: i64,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of {}", self.pid, self.role)?;
        if !self.application.is_empty() {
            write!(f, " ({})", self.application)?;
        }
        if !self.state.is_empty() {
            write!(f, ", {}, in its transaction for {} s", self.state, self.seconds)?;
        }
        Ok(())
    }
}

/// As a list, for messages.
#[must_use]
pub fn listed(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "a session that could not be seen any more".to_owned();
    }
    holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Sessions that hold a lock of the table, the oldest transaction first.
fn holders_sql(dialect: Dialect, target: &TargetName) -> String {
    let coordinator = if dialect.distributed { " AND l.gp_segment_id = -1" } else { "" };
    format!(
        "SELECT DISTINCT l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), \
         coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::bigint AS age \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid(){coordinator} \
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
         AND l.relation = (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}) ORDER BY age DESC LIMIT 5",
        literal(&target.schema),
        literal(&target.table)
    )
}

/// Ends the sessions of dead instances that are in a transaction and wait for their client.
fn end_dead_sql(dialect: Dialect, (own, siblings): (&str, &str), silence: Duration) -> String {
    // A COPY whose rows do not come is not idle. Where the server does not tell what a session waits for, one that copies rows
    // for a client that is silent waits for them, or will.
    let waits = if dialect.kernel >= 10 { "a.wait_event = 'ClientRead'" } else { "a.query LIKE 'COPY %'" };
    let mine = format!(
        "datname = pg_catalog.current_database() AND {{}}.usename = session_user AND {{}}.application_name LIKE {}",
        literal(&format!("{siblings}%"))
    );
    let of = |alias: &str| format!("{alias}.{}", mine.replace("{}", alias));
    format!(
        "SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE {} \
         AND a.application_name <> {} AND a.xact_start IS NOT NULL AND (a.state LIKE 'idle in transaction%' OR {waits}) \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity b WHERE {} AND b.application_name = \
         a.application_name AND b.state_change > clock_timestamp() - interval '{} seconds')",
        of("a"),
        literal(own),
        of("b"),
        silence.as_secs()
    )
}

/// Who holds locks of the table.
pub async fn holders(
    connection: &Connection,
    dialect: Dialect,
    target: &TargetName,
) -> Result<Vec<Holder>, DestinationError> {
    let rows = connection
        .query(&holders_sql(dialect, target), &[])
        .await
        .map_err(DestinationError::during(format!("looking for who holds {target}")))?;
    let holder = |row: &tokio_postgres::Row| Holder {
        pid: row.get(0),
        role: row.get(1),
        application: row.get(2),
        state: row.get(3),
        seconds: row.get(4),
    };
    Ok(rows.iter().map(holder).collect())
}

/// Ends what instances have left open that have said nothing for `silence`; the sessions that were ended. `names`: what the
/// sessions of this instance are called, and what the names of all instances begin with.
pub async fn end_dead(
    connection: &Connection,
    dialect: Dialect,
    names: (&str, &str),
    silence: Duration,
) -> Result<Vec<i32>, DestinationError> {
    let rows = connection
        .query(&end_dead_sql(dialect, names, silence), &[])
        .await
        .map_err(DestinationError::during("looking for sessions of dead instances"))?;
    Ok(rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::dialect::Probe;

    #[test]
    fn what_a_server_has_not_is_not_asked_for() {
        let of = |version: &str, distributed| {
            Dialect::of(&Probe { version: version.into(), on_conflict: false, merge: false, distributed })
        };
        let (old, new) =
            (of("PostgreSQL 9.4.26 (Greenplum Database 6.24.3)", true), of("PostgreSQL 15.1", false));
        let target = TargetName::new("s", "it's");
        assert!(holders_sql(old, &target).contains("gp_segment_id = -1"));
        assert!(holders_sql(new, &target).contains("'it''s'") && !holders_sql(new, &target).contains("gp_"));
        let ends = |dialect| end_dead_sql(dialect, ("x", "y"), SILENCE);
        assert!(!ends(old).contains("wait_event") && ends(old).contains("LIKE 'COPY %'"));
        assert!(ends(new).contains("wait_event") && !ends(new).contains("COPY"));
    }
}
