//! What the destination's catalog says: the server's dialect, and tables as they are. Pure SQL texts of `merge` are
//! asked here; answers leave as its types.

use super::{Connection, DestinationError};
use crate::merge::dialect::{
    Dialect, PROBE_DISTRIBUTED, PROBE_MERGE, PROBE_ON_CONFLICT, Probe, accepts_syntax,
};
use crate::merge::hazards::Hazards;
use crate::merge::names::{TargetName, literal};
use crate::merge::slice::Slice;
use crate::merge::target::{TargetColumn, TargetShape};
use crate::remedies;
use std::collections::BTreeSet;
use tributary_service::codes::Code;

/// Asks the server what it is and what it can do.
///
/// # Errors
/// What the server says, other than to the probes.
pub async fn probe(connection: &mut Connection) -> Result<(Dialect, String), DestinationError> {
    let during = || DestinationError::during("asking the destination for its version");
    let version: String = connection.query_one("SELECT version()", &[]).await.map_err(during())?.get(0);
    let distributed = match connection.query_one(PROBE_DISTRIBUTED, &[]).await {
        Ok(row) => row.get(0),
        Err(error) if error.code().is_some() => false,
        Err(error) => return Err(during()(error)),
    };
    let probe = Probe {
        version: version.clone(),
        on_conflict: understands(connection, PROBE_ON_CONFLICT).await?,
        merge: understands(connection, PROBE_MERGE).await?,
        distributed,
    };
    Ok((Dialect::of(&probe), version))
}

async fn understands(connection: &Connection, sql: &str) -> Result<bool, DestinationError> {
    match connection.batch_execute(sql).await {
        Ok(()) => Ok(false),
        Err(error) => match error.code() {
            Some(code) => Ok(accepts_syntax(code.code())),
            None => Err(DestinationError::during("asking the destination for its version")(error)),
        },
    }
}

/// What the catalog says of a table's columns, unique indexes and kind, as one text: another text, another shape. `None`
/// if there is no such table. Asked in every flush, in the transaction that holds the table's lock by then.
pub async fn fingerprint(
    connection: &mut Connection,
    dialect: Dialect,
    target: &TargetName,
) -> Result<Option<String>, DestinationError> {
    let during = || DestinationError::during(format!("asking whether {target} has changed"));
    let statement = connection.prepared(&fingerprint_sql(dialect)).await.map_err(during())?;
    let row = connection.query_opt(&statement, &[&target.schema, &target.table]).await.map_err(during())?;
    Ok(row.map(|row| row.get(0)))
}

/// An aggregate over the partitions `k`, in the schemas `m`, of the table `c`, those of partitions included; null where it has
/// none. Nothing is locked. Kernels before 10 have none of this kind.
fn of_partitions(aggregate: &str) -> String {
    format!(
        "CASE WHEN c.relkind = 'p' THEN (WITH RECURSIVE below (oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i \
         WHERE i.inhparent = c.oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i \
         JOIN below ON i.inhparent = below.oid) SELECT {aggregate} FROM below JOIN pg_catalog.pg_class k \
         ON k.oid = below.oid JOIN pg_catalog.pg_namespace m ON m.oid = k.relnamespace) END"
    )
}

/// Plain catalogs, and hashes that every kernel has: `md5` is refused where only approved algorithms are.
fn fingerprint_sql(dialect: Dialect) -> String {
    let (identity, security) = if dialect.kernel >= 10 {
        (", a.attidentity", ", c.relrowsecurity, c.relforcerowsecurity, c.relispartition")
    } else {
        ("", "")
    };
    let generated = if dialect.kernel >= 12 { ", a.attgenerated" } else { "" };
    let partitions = if dialect.kernel >= 10 {
        let states = "string_agg(concat_ws(' ', k.oid, k.relkind, k.relpersistence), ',' ORDER BY k.oid)";
        format!(", {}", of_partitions(states))
    } else {
        String::new()
    };
    format!(
        "SELECT hashtext(f.said)::text || '.' || hashtext(reverse(f.said))::text || '.' || length(f.said)::text FROM ( \
         SELECT concat_ws('|', c.oid, c.relkind, c.relpersistence, c.relowner, c.relhastriggers{security}{partitions}, \
         (SELECT string_agg(concat_ws(' ', r.oid, r.ev_enabled), ',' ORDER BY r.oid) FROM pg_catalog.pg_rewrite r \
         WHERE r.ev_class = c.oid), \
         (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, \
         a.attcollation{identity}{generated}), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
         (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indkey, i.indisvalid, i.indimmediate), ',' \
         ORDER BY i.indexrelid) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique)) AS said \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2) AS f"
    )
}

/// The table as it is; `None` if it does not exist.
///
/// # Errors
/// What the server says; a view or foreign table of this name is a [`DestinationError::Table`].
pub async fn shape(
    connection: &mut Connection,
    dialect: Dialect,
    target: &TargetName,
) -> Result<Option<TargetShape>, DestinationError> {
    let during = || DestinationError::during(format!("reading the definition of {target}"));
    let statement = connection.prepared(RELATION).await.map_err(during())?;
    let row = connection.query_opt(&statement, &[&target.schema, &target.table]).await.map_err(during())?;
    let Some(row) = row else { return Ok(None) };
    let (oid, kind): (u32, String) = (row.get(0), row.get(1));
    if kind != "r" && kind != "p" {
        let message = format!("{target} is {}, not a table", kind_name(&kind));
        let error = super::TableError::new(Code::TargetKind, message, target, remedies::target_kind());
        return Err(DestinationError::Table(error));
    }
    let statement = connection.prepared(&columns_sql(dialect)).await.map_err(during())?;
    let rows = connection.query(&statement, &[&oid]).await.map_err(during())?;
    let columns = rows.iter().map(|row| TargetColumn {
        name: row.get(0),
        type_name: row.get(1),
        not_null: row.get(2),
        has_default: row.get(3),
        generated: row.get(4),
        deterministic: row.get(5),
        identity_always: row.get(6),
    });
    let columns = columns.collect();
    let statement = connection.prepared(&unique_keys_sql(dialect)).await.map_err(during())?;
    let rows = connection.query(&statement, &[&oid]).await.map_err(during())?;
    let unique_keys = rows.iter().map(|row| row.get(0)).collect();
    let (append_optimized, distributed_by) = if dialect.distributed {
        (is_append_optimized(connection, dialect, oid).await?, distribution(connection, oid).await?)
    } else {
        (false, Vec::new())
    };
    let hazards = hazards(connection, dialect, oid).await?;
    Ok(Some(TargetShape {
        name: target.clone(),
        columns,
        unique_keys,
        append_optimized,
        distributed_by,
        hazards,
    }))
}

/// What a relation of a kind that no rows go into is called.
fn kind_name(kind: &str) -> &'static str {
    match kind {
        "v" => "a view",
        "m" => "a materialized view",
        "f" => "a foreign table",
        "S" => "a sequence",
        "c" => "a type",
        _ => "an index or the like",
    }
}

async fn hazards(
    connection: &mut Connection,
    dialect: Dialect,
    oid: u32,
) -> Result<Hazards, DestinationError> {
    let during =
        || DestinationError::during("looking at rules, triggers, policies and partitions of a table");
    let statement = connection.prepared(&hazards_sql(dialect)).await.map_err(during())?;
    let row = connection.query_one(&statement, &[&oid]).await.map_err(during())?;
    let names = |column: usize| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    Ok(Hazards {
        unlogged: row.get(0),
        rules: names(1),
        triggers: names(2),
        row_security: row.get(3),
        is_partition: row.get(4),
        without_default_partition: row.get(5),
        foreign_partitions: names(6),
        unlogged_partitions: names(7),
    })
}

/// Partitions, policies and their columns are asked for only where the kernel has them.
fn hazards_sql(dialect: Dialect) -> String {
    let security = if dialect.kernel >= 10 {
        "pg_catalog.row_security_active(c.oid), c.relispartition"
    } else {
        "false, false"
    };
    let default = if dialect.kernel >= 11 {
        "EXISTS (SELECT 1 FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = c.oid AND p.partdefid = 0 \
         AND p.partstrat <> 'h')"
    } else {
        "false"
    };
    let partitions = |condition: &str| {
        if dialect.kernel < 10 {
            return "NULL::text[]".to_owned();
        }
        let name = "pg_catalog.quote_ident(m.nspname) || '.' || pg_catalog.quote_ident(k.relname)";
        of_partitions(&format!("array_agg({name} ORDER BY 1) FILTER (WHERE {condition})"))
    };
    format!(
        "SELECT c.relpersistence = 'u', \
         (SELECT array_agg(r.rulename::text ORDER BY 1) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid \
         AND r.ev_type IN ('2', '3', '4') AND r.ev_enabled IN ('O', 'A')), \
         (SELECT array_agg(g.tgname::text ORDER BY 1) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid \
         AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND (g.tgtype & 3) = 3), \
         {security}, {default}, {}, {} FROM pg_catalog.pg_class c WHERE c.oid = $1",
        partitions("k.relkind = 'f'"),
        partitions("k.relpersistence = 'u'")
    )
}

/// True if the table holds a row.
pub async fn has_rows(
    connection: &Connection,
    target: &TargetName,
    slice: &Slice,
) -> Result<bool, DestinationError> {
    let condition = slice.condition().map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    let row = connection
        .query_opt(&format!("SELECT 1 FROM {target}{condition} LIMIT 1"), &[])
        .await
        .map_err(DestinationError::during(format!("looking for rows in {target}")))?;
    Ok(row.is_some())
}

/// The names of a table's indexes.
pub async fn indexes(
    connection: &Connection,
    target: &TargetName,
) -> Result<BTreeSet<String>, DestinationError> {
    let rows = connection
        .query(
            "SELECT k.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid \
             JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
            &[&target.schema, &target.table],
        )
        .await
        .map_err(DestinationError::during(format!("listing the indexes of {target}")))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Every table of `schema`, for those that stage and are to be removed.
pub async fn tables_in(connection: &Connection, schema: &str) -> Result<Vec<String>, DestinationError> {
    let rows = connection
        .query(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = \
             c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY 1",
            &[&schema],
        )
        .await
        .map_err(DestinationError::during(format!("listing the tables of schema {schema}")))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const RELATION: &str = "SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";

fn unique_keys_sql(dialect: Dialect) -> String {
    // INCLUDE columns (PostgreSQL 11) are in `indkey`, and no part of the key.
    let columns = if dialect.kernel >= 11 { "i.indnkeyatts" } else { "i.indnatts" };
    format!(
        "SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, place) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL \
         AND i.indexprs IS NULL AND k.place <= {columns} GROUP BY i.indexrelid ORDER BY i.indexrelid"
    )
}

/// Columns of later kernels are asked for only where they exist.
fn columns_sql(dialect: Dialect) -> String {
    let generated = if dialect.kernel >= 12 { "a.attgenerated <> ''" } else { "false" };
    let (identity, always) =
        if dialect.kernel >= 10 { (" OR a.attidentity <> ''", "a.attidentity = 'a'") } else { ("", "false") };
    let deterministic = if dialect.kernel >= 12 {
        "coalesce((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), true)"
    } else {
        "true"
    };
    format!(
        "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
         a.atthasdef{identity}, {generated}, {deterministic}, {always} FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

async fn is_append_optimized(
    connection: &Connection,
    dialect: Dialect,
    oid: u32,
) -> Result<bool, DestinationError> {
    let sql = if dialect.kernel >= 12 {
        "SELECT coalesce((SELECT m.amname LIKE 'ao_%' FROM pg_catalog.pg_am m WHERE m.oid = c.relam), false) \
         FROM pg_catalog.pg_class c WHERE c.oid = $1"
    } else {
        "SELECT coalesce(array_to_string(c.reloptions, ',') LIKE '%appendonly=true%', false) \
         FROM pg_catalog.pg_class c WHERE c.oid = $1"
    };
    let row = connection
        .query_one(sql, &[&oid])
        .await
        .map_err(DestinationError::during("asking how a table is stored"))?;
    Ok(row.get(0))
}

async fn distribution(connection: &Connection, oid: u32) -> Result<Vec<String>, DestinationError> {
    let row = connection
        .query_one("SELECT pg_catalog.pg_get_table_distributedby($1)", &[&oid])
        .await
        .map_err(DestinationError::during("asking how a table is distributed"))?;
    Ok(parse_distribution(&row.get::<_, Option<String>>(0).unwrap_or_default()))
}

/// The columns of `DISTRIBUTED BY (a, "B")`; none for a random or replicated distribution.
fn parse_distribution(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once('(') else { return Vec::new() };
    let mut names = Vec::new();
    let mut characters = rest.chars().peekable();
    let mut name = String::new();
    let (mut quoted, mut class) = (false, false);
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => name.extend((!class).then_some('"')),
            '"' => quoted = !quoted,
            ',' | ')' if !quoted => {
                names.push(std::mem::take(&mut name));
                class = false;
                if character == ')' {
                    break;
                }
            }
            // What follows a name is its operator class: `a cdbhash_int4_ops`, `"B" public.my_ops`.
            ' ' if !quoted => class = !name.is_empty(),
            other if !class => name.push(other),
            _ => {}
        }
    }
    names
}

/// True if the role may do `privilege` on a schema; an absent schema counts as one it could create.
pub async fn may_use_schema(connection: &Connection, schema: &str) -> Result<(bool, bool), DestinationError> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {0}), \
         CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {0}) \
         THEN has_schema_privilege({0}, 'CREATE') AND has_schema_privilege({0}, 'USAGE') \
         ELSE has_database_privilege(current_database(), 'CREATE') END",
        literal(schema)
    );
    let row = connection
        .query_one(&sql, &[])
        .await
        .map_err(DestinationError::during(format!("asking for privileges on schema {schema}")))?;
    Ok((row.get(0), row.get(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_asked_for_nothing_that_it_does_not_have() {
        let of = |version: &str| {
            let probe =
                Probe { version: version.into(), on_conflict: false, merge: false, distributed: true };
            let dialect = Dialect::of(&probe);
            [fingerprint_sql(dialect), hazards_sql(dialect), columns_sql(dialect)].concat()
        };
        let (old, new) =
            (of("PostgreSQL 9.4.26 (Greenplum Database 6.24.3)"), of("PostgreSQL 15.1 on x86_64"));
        for name in [
            "attidentity",
            "attgenerated",
            "relrowsecurity",
            "row_security_active",
            "relispartition",
            "pg_partitioned_table",
            "collisdeterministic",
        ] {
            assert!(!old.contains(name) && new.contains(name), "{name}");
        }
    }

    #[test]
    fn distribution_keys_are_parsed() {
        assert_eq!(parse_distribution("DISTRIBUTED BY (id)"), ["id"]);
        assert_eq!(parse_distribution("DISTRIBUTED BY (a, \"B, \"\"c\")"), ["a", "B, \"c"]);
        let classes = "DISTRIBUTED BY (a cdbhash_int4_ops, \"B c\" \"my, \"\"ops\", d)";
        assert_eq!(parse_distribution(classes), ["a", "B c", "d"]);
        assert!(parse_distribution("DISTRIBUTED RANDOMLY").is_empty());
    }
}
