//! The tables, created once under an advisory lock. The SQL also runs on a 9.4 kernel.

use crate::destination::{Connection, DestinationError};
use crate::merge::dialect::Dialect;
use crate::merge::names::{TargetName, identifier, quote};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::key::murmur2;

/// The bookkeeping of one task.
#[derive(Debug, Clone)]
pub struct Bookkeeping {
    /// Schema, quoted.
    pub(super) schema: String,
    /// Schema, unquoted.
    name: String,
    pub(super) task: String,
}

/// Columns of each table. `"partition"` is quoted because MPP kernels reserve the word.
const TABLES: [(&str, &str); 8] = [
    (
        "tasks",
        "task text NOT NULL, format_version integer NOT NULL, epoch bigint NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (task)",
    ),
    (
        "targets",
        "task text NOT NULL, topic text NOT NULL, source_table text NOT NULL, target_schema text NOT NULL, \
         target_table text NOT NULL, incarnation text NOT NULL, partitions integer NOT NULL, applied_generation integer NOT NULL, \
         loaded boolean NOT NULL DEFAULT false, state text NOT NULL, error_code text, error_message text, error_place text, error_remedy text, \
         changed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (task, topic)",
    ),
    (
        "offsets",
        "task text NOT NULL, topic text NOT NULL, \"partition\" integer NOT NULL, next_offset bigint NOT NULL, \
         generation integer NOT NULL, begun_at timestamptz NOT NULL DEFAULT now(), at_end_at timestamptz, \
         PRIMARY KEY (task, topic, \"partition\")",
    ),
    (
        "generations",
        "task text NOT NULL, topic text NOT NULL, generation integer NOT NULL, statements text NOT NULL, \
         done_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (task, topic, generation)",
    ),
    (
        "owners",
        "task text NOT NULL, topic text NOT NULL, target_schema text NOT NULL, target_table text NOT NULL, \
         foreign_rows boolean NOT NULL, PRIMARY KEY (task, topic)",
    ),
    (
        "slices",
        "task text NOT NULL, topic text NOT NULL, target_schema text NOT NULL, target_table text NOT NULL, \
         slice text NOT NULL, columns text NOT NULL, PRIMARY KEY (task, topic)",
    ),
    (
        "refusals",
        "task text NOT NULL, topic text NOT NULL, source_table text NOT NULL, error_code text NOT NULL, error_message text NOT NULL, \
         error_place text NOT NULL, error_remedy text NOT NULL, PRIMARY KEY (task, topic)",
    ),
    ("identities", "task text NOT NULL, identity text NOT NULL, origin text NOT NULL, PRIMARY KEY (task)"),
];

/// What every version has had.
const FIRST_TABLES: [&str; 4] = ["tasks", "targets", "offsets", "generations"];

/// Rows that are changed one by one: never an append-optimized table, whatever the server makes by default and this role may
/// not set.
fn create_sql(schema: &str, (table, columns): (&str, &str), dialect: Dialect) -> String {
    format!("CREATE TABLE IF NOT EXISTS {schema}.{table} ({columns}){}", dialect.heap_clause())
}

/// Key of the advisory lock on a target, whichever bookkeeping knows it.
#[must_use]
pub fn lock_key_of(target: &TargetName) -> i64 {
    lock_key(&format!("tributary\0target {target}"))
}

fn lock_key(text: &str) -> i64 {
    let reversed: String = text.chars().rev().collect();
    (i64::from(murmur2(text.as_bytes())) << 32) | i64::from(murmur2(reversed.as_bytes()))
}

impl Bookkeeping {
    /// The bookkeeping of `task` in `schema` (both unquoted).
    #[must_use]
    pub fn new(schema: &str, task: &str) -> Self {
        let name = identifier(schema);
        Self { schema: quote(&name), name, task: task.to_owned() }
    }

    /// The schema, unquoted.
    #[must_use]
    pub fn schema_name(&self) -> &str {
        &self.name
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Key of an advisory lock on `what`; two different things may share one, which costs time only.
    #[must_use]
    pub fn lock_key(&self, what: &str) -> i64 {
        lock_key(&format!("{}\0{what}", self.name))
    }

    /// Key of the lock that every running instance of the task shares, and that `drop` wants for itself.
    #[must_use]
    pub fn task_lock_key(&self) -> i64 {
        self.lock_key(&format!("task {}", self.task))
    }

    /// True if the tables are there that every version has.
    pub async fn exists(&self, connection: &Connection) -> Result<bool, DestinationError> {
        self.has(connection, &FIRST_TABLES).await
    }

    /// True if all of `tables` are there.
    pub(super) async fn has(
        &self,
        connection: &Connection,
        tables: &[&str],
    ) -> Result<bool, DestinationError> {
        let found = connection
            .query_one(
                "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = ANY ($2)",
                &[&self.name, &tables],
            )
            .await
            .map_err(DestinationError::during("looking for the bookkeeping tables"))?;
        Ok(usize::try_from(found.get::<_, i64>(0)) == Ok(tables.len()))
    }

    pub(super) async fn tables(
        &self,
        connection: &Connection,
    ) -> Result<Vec<&'static str>, DestinationError> {
        let mut tables = Vec::new();
        for (table, _) in TABLES {
            if self.has(connection, &[table]).await? {
                tables.push(table);
            }
        }
        Ok(tables)
    }

    /// Creates what is missing, and the task's row.
    pub async fn create(
        &self,
        connection: &mut Connection,
        dialect: Dialect,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during("creating the bookkeeping tables");
        let (schema, key) = (&self.schema, self.lock_key("bookkeeping"));
        connection
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({key})"))
            .await
            .map_err(during())?;
        if !self.has(connection, &TABLES.map(|(table, _)| table)).await? {
            let known = connection
                .query_opt("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", &[&self.name])
                .await
                .map_err(during())?;
            if known.is_none() {
                // Not IF NOT EXISTS: that wants the privilege even where the schema is there.
                connection.batch_execute(&format!("CREATE SCHEMA {schema}")).await.map_err(during())?;
            }
            for (table, columns) in TABLES {
                let sql = create_sql(schema, (table, columns), dialect);
                connection.batch_execute(&sql).await.map_err(during())?;
            }
        }
        let inserted = format!(
            "INSERT INTO {schema}.tasks (task, format_version, epoch) SELECT $1, $2, 0 \
             WHERE NOT EXISTS (SELECT 1 FROM {schema}.tasks WHERE task = $1)"
        );
        connection
            .execute(&inserted, &[&self.task, &i32::try_from(FORMAT_VERSION).unwrap_or(i32::MAX)])
            .await
            .map_err(during())?;
        connection.commit().await
    }

    /// The newest format that any task's bookkeeping has; 0 if there is none.
    pub async fn newest_format(&self, connection: &Connection) -> Result<u32, DestinationError> {
        let sql = format!("SELECT coalesce(max(format_version), 0) FROM {}.tasks", self.schema);
        let row = connection
            .query_one(&sql, &[])
            .await
            .map_err(DestinationError::during("reading the version of the bookkeeping tables"))?;
        Ok(u32::try_from(row.get::<_, i32>(0)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::dialect::Probe;

    #[test]
    fn every_table_has_rows_that_can_be_changed_whatever_the_default_is() {
        let of = |version: &str, distributed| {
            Dialect::of(&Probe { version: version.into(), on_conflict: false, merge: false, distributed })
        };
        for (dialect, clause) in [
            (of("PostgreSQL 9.4.26 (Greenplum Database 6.24.3)", true), " WITH (appendonly = false)"),
            (of("PostgreSQL 12.12 (Greenplum Database 7.0.0)", true), " USING heap"),
            (of("PostgreSQL 15.1", false), " USING heap"),
        ] {
            for table in TABLES {
                let sql = create_sql("\"w\"", table, dialect);
                assert!(sql.ends_with(&format!("){clause}")), "{sql}");
            }
        }
    }
}
