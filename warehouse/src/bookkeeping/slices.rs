//! What topics that share targets have in them: which rows, and which columns they write. A topic that has its target for itself
//! has no row here.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError};
use crate::merge::names::TargetName;
use crate::merge::slice::Slice;
use std::collections::BTreeMap;

/// What a topic has in a target that it may share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Its rows.
    pub slice: Slice,
    /// The columns that it writes, and what goes into each, as [`crate::merge::union::written`] gives it.
    pub columns: BTreeMap<String, String>,
}

impl Share {
    /// From columns of a row of `slices`; `None` if they hold something else.
    pub(super) fn from_stored(slice: &str, columns: &str) -> Option<Self> {
        Some(Self { slice: Slice::from_stored(slice)?, columns: serde_json::from_str(columns).ok()? })
    }
}

impl Bookkeeping {
    /// What is recorded of `topic`; `None` if it has its target for itself.
    pub async fn share(
        &self,
        connection: &Connection,
        topic: &str,
    ) -> Result<Option<Share>, DestinationError> {
        // `check` does not bring a bookkeeping of before up to date.
        if !self.has(connection, &["slices"]).await? {
            return Ok(None);
        }
        let sql = format!("SELECT slice, columns FROM {}.slices WHERE task = $1 AND topic = $2", self.schema);
        let row = connection.query_opt(&sql, &[&self.task, &topic]).await.map_err(during(topic))?;
        Ok(row.map(|row| Share::from_stored(row.get(0), row.get(1)).unwrap_or_default()))
    }

    /// What is recorded of every topic of the task that may share its target.
    pub async fn shares(&self, connection: &Connection) -> Result<BTreeMap<String, Share>, DestinationError> {
        let sql = format!("SELECT topic, slice, columns FROM {}.slices WHERE task = $1", self.schema);
        let rows = connection.query(&sql, &[&self.task]).await.map_err(during("every topic"))?;
        let share =
            |row: &tokio_postgres::Row| Share::from_stored(row.get(1), row.get(2)).unwrap_or_default();
        Ok(rows.iter().map(|row| (row.get(0), share(row))).collect())
    }

    /// Records what `topic` has in `target` from now on; nothing for a topic that has it for itself.
    pub async fn record_share(
        &self,
        connection: &Connection,
        topic: &str,
        target: &TargetName,
        share: &Share,
    ) -> Result<(), DestinationError> {
        let (schema, task) = (&self.schema, &self.task);
        let sql = format!("DELETE FROM {schema}.slices WHERE task = $1 AND topic = $2");
        connection.execute(&sql, &[task, &topic]).await.map_err(during(topic))?;
        if share.slice.is_whole() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {schema}.slices (task, topic, target_schema, target_table, slice, columns) \
             VALUES ($1, $2, $3, $4, $5, $6)"
        );
        let (slice, columns) =
            (share.slice.stored(), serde_json::to_string(&share.columns).unwrap_or_default());
        connection
            .execute(&sql, &[task, &topic, &target.schema, &target.table, &slice, &columns])
            .await
            .map_err(during(topic))?;
        Ok(())
    }
}

fn during(topic: &str) -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    DestinationError::during(format!("asking for, or recording, what {topic} has in its target"))
}
