//! What follows a load: secondary indexes and the planner's statistics, once every row is there.
//!
//! Invariant: a table is marked as loaded only if it still has the definition that was looked at: one that is read anew
//! meanwhile is analyzed anew.

use super::{TableMemory, Worker};
use crate::destination::{DestinationError, catalog};
use crate::merge::sql::analyze;
use crate::pipeline::table::TableTask;
use std::sync::atomic::Ordering;
use tokio_postgres::error::SqlState;

impl Worker {
    /// Makes the indexes and takes statistics. May be repeated: what is there counts as made. False if the table was
    /// emptied or altered meanwhile.
    ///
    /// # Errors
    /// What the server says.
    pub async fn after_load(&self, task: &TableTask, memory: &TableMemory) -> Result<bool, DestinationError> {
        let mut lease = self.pool.acquire().await?;
        let row = self.bookkeeping.target(&mut lease, &task.topic, false).await?;
        // Without a row there is nothing to follow; with the mark another instance has done it.
        let Some(row) = row.filter(|row| !row.loaded) else {
            lease.release();
            memory.fresh.store(false, Ordering::Relaxed);
            return Ok(true);
        };
        let newest = task.generations.values().next_back();
        let record = task.record(row.applied).or(newest);
        let exists = catalog::shape(&mut lease, self.dialect, &task.target).await?.is_some();
        if let Some(record) = record.filter(|_| exists) {
            let created = self.creation(task, &record.table).map_err(DestinationError::Table)?;
            for note in &created.notes {
                tracing::info!(table = %task.id, "{note}");
            }
            for sql in created.indexes {
                tracing::info!(table = %task.id, sql, "creating an index");
                match lease.batch_execute(&sql).await {
                    Err(error) if error.code().is_some_and(is_there_already) => {}
                    made => {
                        let doing = format!("creating an index of {}", task.target);
                        made.map_err(DestinationError::during(doing))?;
                    }
                }
            }
            lease
                .batch_execute(&analyze(&task.target))
                .await
                .map_err(DestinationError::during(format!("analyzing {}", task.target)))?;
        }
        let marked = self.bookkeeping.mark_loaded(&mut lease, &task.topic, row.applied).await?;
        lease.release();
        if marked {
            memory.fresh.store(false, Ordering::Relaxed);
        }
        Ok(marked)
    }
}

/// An earlier attempt has made the index, on a kernel that does not know IF NOT EXISTS; or another instance has, in the
/// same moment.
fn is_there_already(code: &SqlState) -> bool {
    [SqlState::DUPLICATE_TABLE, SqlState::UNIQUE_VIOLATION].contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_there_counts_as_made_and_one_on_a_missing_column_does_not() {
        assert!(
            is_there_already(&SqlState::from_code("42P07"))
                && is_there_already(&SqlState::from_code("23505"))
        );
        assert!(
            !is_there_already(&SqlState::from_code("42703"))
                && !is_there_already(&SqlState::from_code("55P03"))
        );
    }
}
