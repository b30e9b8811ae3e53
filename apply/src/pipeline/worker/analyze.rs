//! What follows a load: secondary indexes and the planner's statistics, once every row is there.
//!
//! Invariant: a table is marked as loaded only if it still has the definition that was looked at: one that is read anew
//! meanwhile is analyzed anew.

use super::{TableMemory, Worker};
use std::sync::atomic::Ordering;
use tokio_postgres::error::SqlState;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::ddl::NewIndex;
use tributary_warehouse::merge::sql::analyze;
use tributary_warehouse::tables::task::TableTask;

impl Worker {
    /// Makes the indexes and takes statistics. May be repeated: what is there counts as made. False if the table was
    /// emptied or altered meanwhile.
    pub(crate) async fn after_load(
        &self,
        task: &TableTask,
        memory: &TableMemory,
    ) -> Result<bool, DestinationError> {
        let mut lease = self.pool.acquire(statistics_of(task)).await?;
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
                tracing::info!(table = %task.name, "{note}");
            }
            for index in &created.indexes {
                match self.make_index(&lease, task, index).await {
                    // Without it queries are slower; the others and the statistics are made all the same.
                    Err(error) if !error.is_transient() => {
                        tracing::warn!(table = %task.name, sql = index.sql, error = %error, "an index is left out");
                    }
                    made => made?,
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

    /// Makes an index, unless the table has it.
    async fn make_index(
        &self,
        connection: &Connection,
        task: &TableTask,
        index: &NewIndex,
    ) -> Result<(), DestinationError> {
        let has = async || {
            let there = catalog::indexes(connection, &task.target).await?;
            Ok::<_, DestinationError>(index.names.iter().any(|name| there.contains(name)))
        };
        if has().await? {
            return Ok(());
        }
        let NewIndex { sql, .. } = index;
        tracing::info!(table = %task.name, sql, "creating an index");
        match connection.batch_execute(sql).await {
            // Another instance has made it in the same moment, or something else has its name.
            Err(error) if error.code().is_some_and(is_there_already) && has().await? => Ok(()),
            made => made.map_err(DestinationError::during(format!("creating an index of {}", task.target))),
        }
    }
}

/// What follows a load, for people.
pub(in crate::pipeline) fn statistics_of(task: &TableTask) -> String {
    format!("statistics and indexes of {}", task.target)
}

/// True if the server refuses a name because there is something of this name.
fn is_there_already(code: &SqlState) -> bool {
    [SqlState::DUPLICATE_TABLE, SqlState::UNIQUE_VIOLATION].contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_taken_may_be_of_an_index_that_is_there() {
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
