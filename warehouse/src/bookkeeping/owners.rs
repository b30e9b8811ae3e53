//! Whose rows a target holds: what was in it when a topic took it over, and every other task whose bookkeeping names it,
//! in whatever schema of this database. Asked before anything is done to a target that removes or cuts rows.
//!
//! Invariant: once a target has held rows that its topic did not write, the record says so until the target was empty.

use super::{Bookkeeping, Share};
use crate::destination::{Connection, DestinationError};
use crate::merge::names::{TargetName, quote};
use crate::merge::slice::Slice;
use std::fmt;
use tokio_postgres::error::SqlState;

/// Another task that feeds a target, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feeder {
    /// Its bookkeeping says that it does.
    Task {
        /// Schema of its bookkeeping, unquoted.
        schema: String,
        task: String,
        topic: String,
        /// Table of the source, as `database.table`.
        source: String,
        /// The rows that it has there.
        slice: Slice,
    },
    /// There is a bookkeeping that this role may not read, of a role that may write into the target.
    Unreadable {
        /// Its schema, unquoted.
        schema: String,
    },
}

/// Who has rows in a target beside the topic that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The target has held rows that the topic did not write. `None`: not recorded, by a version that did not do so.
    pub foreign_rows: Option<bool>,
    /// Other topics, of whichever task, whose rows cannot be told from its own.
    pub feeders: Vec<Feeder>,
    /// Those whose rows can: what each has in the target.
    pub peers: Vec<Share>,
}

impl fmt::Display for Feeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { schema, task, source, slice, .. } => {
                write!(f, "task {task} (bookkeeping in schema {schema}) feeds it from {source}")?;
                if slice.is_whole() { Ok(()) } else { write!(f, ", rows with {slice}") }
            }
            Self::Unreadable { schema } => {
                write!(f, "schema {schema} has bookkeeping that may name it and cannot be read")
            }
        }
    }
}

/// Bookkeepings of this database, whether they can be read, and whether their owner may write into the target.
const BOOKKEEPINGS: &str = "SELECT n.nspname::text, \
     pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
     coalesce((SELECT pg_catalog.has_table_privilege(c.relowner, t.oid, 'INSERT') FROM pg_catalog.pg_class t \
     JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace WHERE s.nspname = $1 AND t.relname = $2), false) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relname = 'targets' AND c.relkind = 'r' AND 6 = (SELECT count(*) FROM pg_catalog.pg_attribute a \
     WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN \
     ('task', 'topic', 'source_table', 'target_schema', 'target_table', 'applied_generation')) ORDER BY 1";

/// Whether a schema, of this name, has a record of slices that can be read.
const READABLE_SLICES: &str = "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = 'slices' AND c.relkind = 'r' \
     AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
     AND 6 = (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped \
     AND a.attname IN ('task', 'topic', 'target_schema', 'target_table', 'slice', 'columns'))";

/// Those whose record of owners this role may change.
const WRITABLE_OWNERS: &str = "SELECT n.nspname::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'owners' AND c.relkind = 'r' \
     AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') \
     AND 5 = (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped \
     AND a.attname IN ('task', 'topic', 'target_schema', 'target_table', 'foreign_rows')) ORDER BY 1";

impl Bookkeeping {
    /// Who has rows in `target` beside `topic`, whose own are those of `slice`.
    pub async fn ownership(
        &self,
        connection: &mut Connection,
        topic: &str,
        (target, slice): (&TargetName, &Slice),
    ) -> Result<Ownership, DestinationError> {
        let (feeders, peers) = self.others(connection, topic, (target, slice)).await?;
        // A version that did not record owners may have made the bookkeeping, and `check` does not bring it up to date.
        let foreign_rows = if self.has(connection, &["owners"]).await? {
            let sql = format!(
                "SELECT foreign_rows FROM {}.owners WHERE task = $1 AND topic = $2 AND target_schema = $3 \
                 AND target_table = $4",
                self.schema
            );
            let row = connection
                .query_opt(&sql, &[&self.task, &topic, &target.schema, &target.table])
                .await
                .map_err(asking(target))?;
            row.map(|row| row.get(0))
        } else {
            None
        };
        Ok(Ownership { foreign_rows, feeders, peers })
    }

    /// Other topics, of this task and of others, that feed `target`: those whose rows cannot be told from those of `slice`, and
    /// those whose rows can.
    async fn others(
        &self,
        connection: &mut Connection,
        topic: &str,
        (target, slice): (&TargetName, &Slice),
    ) -> Result<(Vec<Feeder>, Vec<Share>), DestinationError> {
        let statement = connection.prepared(BOOKKEEPINGS).await.map_err(asking(target))?;
        let found =
            connection.query(&statement, &[&target.schema, &target.table]).await.map_err(asking(target))?;
        let (mut feeders, mut peers) = (Vec::new(), Vec::new());
        for row in found {
            let (schema, readable, writes): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
            if !readable {
                if writes {
                    feeders.push(Feeder::Unreadable { schema });
                }
                continue;
            }
            let name = quote(&schema);
            let slices = connection.query_opt(READABLE_SLICES, &[&schema]).await.map_err(asking(target))?;
            let (columns, joined) = match slices {
                Some(_) => (
                    "s.slice, s.columns",
                    format!(
                        " LEFT JOIN {name}.slices s ON s.task = t.task AND s.topic = t.topic \
                         AND s.target_schema = t.target_schema AND s.target_table = t.target_table"
                    ),
                ),
                None => ("NULL::text, NULL::text", String::new()),
            };
            let sql = format!(
                "SELECT t.task, t.topic, t.source_table, {columns} FROM {name}.targets t{joined} \
                 WHERE t.target_schema = $1 AND t.target_table = $2 ORDER BY 1, 2"
            );
            let rows = connection.query(&sql, &[&target.schema, &target.table]).await;
            let rows = rows.map_err(|error| match error.code() {
                Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => gone(&schema),
                _ => asking(target)(error),
            })?;
            let own = schema == self.schema_name();
            for row in rows {
                let (task, fed_from, source): (String, String, String) = (row.get(0), row.get(1), row.get(2));
                if own && task == self.task && fed_from == topic {
                    continue;
                }
                let stored = row.get::<_, Option<&str>>(3).zip(row.get::<_, Option<&str>>(4));
                let share = stored.and_then(|(slice, columns)| Share::from_stored(slice, columns));
                match share {
                    Some(share) if share.slice.is_apart_from(slice) => peers.push(share),
                    share => {
                        let slice = share.unwrap_or_default().slice;
                        feeders.push(Feeder::Task {
                            schema: schema.clone(),
                            task,
                            topic: fed_from,
                            source,
                            slice,
                        });
                    }
                }
            }
        }
        Ok((feeders, peers))
    }

    /// Records whether `target` holds rows that `topic` did not write.
    pub async fn record_owner(
        &self,
        connection: &Connection,
        topic: &str,
        target: &TargetName,
        foreign_rows: bool,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("recording whose rows {target} holds"));
        let sql = format!(
            "UPDATE {}.owners SET target_schema = $3, target_table = $4, foreign_rows = $5 WHERE task = $1 AND topic = $2",
            self.schema
        );
        let (schema, table) = (&target.schema, &target.table);
        let changed = connection
            .execute(&sql, &[&self.task, &topic, schema, table, &foreign_rows])
            .await
            .map_err(during())?;
        if changed == 0 {
            let sql = format!(
                "INSERT INTO {}.owners (task, topic, target_schema, target_table, foreign_rows) \
                 VALUES ($1, $2, $3, $4, $5)",
                self.schema
            );
            connection
                .execute(&sql, &[&self.task, &topic, schema, table, &foreign_rows])
                .await
                .map_err(during())?;
        }
        Ok(())
    }

    /// Tells every other topic that `target` is to hold rows of `topic` from now on, where this role may: their own
    /// next look would miss a task that comes and goes in between. Those whose rows can be told from its `slice` are not told.
    pub async fn tell_owners(
        &self,
        connection: &mut Connection,
        topic: &str,
        (target, slice): (&TargetName, &Slice),
    ) -> Result<(), DestinationError> {
        let statement = connection.prepared(WRITABLE_OWNERS).await.map_err(asking(target))?;
        for row in connection.query(&statement, &[]).await.map_err(asking(target))? {
            let schema: String = row.get(0);
            let name = quote(&schema);
            let slices = connection.query_opt(READABLE_SLICES, &[&schema]).await.map_err(asking(target))?;
            let apart = match slices {
                Some(_) if !slice.is_whole() => format!(
                    " AND NOT EXISTS (SELECT 1 FROM {name}.slices s WHERE s.task = o.task AND s.topic = o.topic)"
                ),
                _ => String::new(),
            };
            let sql = format!(
                "UPDATE {name}.owners AS o SET foreign_rows = true WHERE target_schema = $1 AND target_table = $2 \
                 AND NOT foreign_rows AND NOT ($3 AND task = $4 AND topic = $5){apart}"
            );
            let own = schema == self.schema_name();
            connection
                .execute(&sql, &[&target.schema, &target.table, &own, &self.task, &topic])
                .await
                .map_err(asking(target))?;
        }
        Ok(())
    }
}

fn asking(target: &TargetName) -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    DestinationError::during(format!("asking who else feeds {target}"))
}

/// A bookkeeping that was there a moment ago: asking again finds it gone.
fn gone(schema: &str) -> DestinationError {
    DestinationError::Connect {
        address: format!("schema {schema}"),
        reason: "the bookkeeping in it was dropped this moment".to_owned(),
        transient: true,
    }
}
