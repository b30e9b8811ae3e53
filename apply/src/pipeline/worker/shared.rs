//! A target that several topics share: what one of them does to its definition, and to its own rows with it.

use super::Worker;
use super::anew::Touched;
use tributary_schemas::history::GenerationRecord;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::changes::changes;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::union::{alters, follow};
use tributary_warehouse::tables::sharing::not_united;
use tributary_warehouse::tables::task::TableTask;

impl Worker {
    /// Gives the target what the next definition needs, and the topic's own rows the values that go with it; the statements.
    /// `emptied`: it has no rows there.
    ///
    /// # Errors
    /// [`DestinationError::Table`] where one target cannot have both definitions, or others use what is to be changed.
    pub(super) async fn follow_shared(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        (before, record): (&GenerationRecord, &GenerationRecord),
        emptied: bool,
    ) -> Result<Vec<String>, DestinationError> {
        let planned = self.shared_statements(connection, task, (before, record), emptied).await?;
        let planned = if alters(&planned) {
            self.lock_definition(connection, task).await?;
            // Another task may have changed it before the lock was had.
            self.shared_statements(connection, task, (before, record), emptied).await?
        } else {
            planned
        };
        let touched = Touched::by(task, &before.table, &changes(&before.table, &record.table));
        self.carry_out(connection, task, record.generation, &planned, &touched).await?;
        Ok(planned)
    }

    async fn shared_statements(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        (before, record): (&GenerationRecord, &GenerationRecord),
        emptied: bool,
    ) -> Result<Vec<String>, DestinationError> {
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(Vec::new());
        };
        let slice = task.slice();
        let ownership = self.bookkeeping.ownership(connection, &task.topic, (&task.target, &slice)).await?;
        let others = ownership.peers.into_iter().flat_map(|share| share.columns).collect();
        follow((&before.table, &record.table), &task.rule, &shape, &others, emptied)
            .map_err(|error| DestinationError::Table(not_united(task, &error, true)))
    }

    /// True if nobody else has anything in the target, which the caller has locked: no topic, and no row.
    pub(super) async fn is_free(
        &self,
        connection: &mut Connection,
        task: &TableTask,
    ) -> Result<bool, DestinationError> {
        let slice = task.slice();
        let ownership = self.bookkeeping.ownership(connection, &task.topic, (&task.target, &slice)).await?;
        Ok(ownership.peers.is_empty()
            && ownership.feeders.is_empty()
            && !catalog::has_rows(connection, &task.target, &Slice::default()).await?)
    }
}
