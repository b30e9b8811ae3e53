//! A target that several topics share: what one of them does to its definition, and to its own rows with it.

use super::Worker;
use super::anew::Touched;
use tributary_schemas::history::GenerationRecord;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::changes::changes;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::union::{Followed, drop_column, follow, has_value};
use tributary_warehouse::tables::sharing::not_united;
use tributary_warehouse::tables::task::TableTask;

impl Worker {
    /// Gives the target, which `topic` feeds, what the next definition needs, and its own rows the values that go with it; the
    /// statements.
    /// `emptied`: it has no rows there.
    ///
    /// # Errors
    /// [`DestinationError::Table`] where one target cannot have both definitions, or others use what is to be changed.
    pub(super) async fn follow_shared(
        &self,
        connection: &mut Connection,
        (task, topic): (&TableTask, &str),
        (before, record): (&GenerationRecord, &GenerationRecord),
        emptied: bool,
    ) -> Result<Vec<String>, DestinationError> {
        let planned = self.plan_shared(connection, (task, topic), (before, record), emptied).await?;
        let mut planned = if planned.alters() {
            self.lock_definition(connection, task).await?;
            // Another task may have changed it before the lock was had.
            self.plan_shared(connection, (task, topic), (before, record), emptied).await?
        } else {
            planned
        };
        let touched = Touched::by(task, &before.table, &changes(&before.table, &record.table));
        self.carry_out(connection, task, record.generation, &planned.statements, &touched).await?;
        for column in &planned.orphans {
            let during =
                || DestinationError::during(format!("looking for values in {column} of {}", task.target));
            let row = connection.query_one(&has_value(&task.target, column), &[]).await.map_err(during())?;
            if row.get(0) {
                tracing::info!(
                    table = %task.name, target = %task.target, column,
                    "no table has the column any more, and rows that are none of theirs hold values in it: it stays"
                );
                continue;
            }
            let drop = [drop_column(&task.target, column)];
            self.carry_out(connection, task, record.generation, &drop, &touched).await?;
            planned.statements.extend(drop);
        }
        Ok(planned.statements)
    }

    async fn plan_shared(
        &self,
        connection: &mut Connection,
        (task, topic): (&TableTask, &str),
        (before, record): (&GenerationRecord, &GenerationRecord),
        emptied: bool,
    ) -> Result<Followed, DestinationError> {
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(Followed::default());
        };
        let slice = task.slice();
        let ownership = self.bookkeeping.ownership(connection, topic, (&task.target, &slice)).await?;
        // Which columns somebody needs who is no peer is not known.
        let of_others = !ownership.is_sole(task.existing);
        let columns = shape.columns.iter().filter(|_| of_others).map(|column| column.name.clone());
        let others =
            ownership.peers.into_iter().flat_map(|share| share.columns.into_keys()).chain(columns).collect();
        follow((&before.table, &record.table), &task.rule, &shape, &others, emptied)
            .map_err(|error| DestinationError::Table(not_united(task, &error, true)))
    }

    /// True if nobody but `topic` has anything in the target, which is this transaction's alone from here on: no topic, and no row.
    pub(super) async fn is_free(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        topic: &str,
    ) -> Result<bool, DestinationError> {
        self.lock_definition(connection, task).await?;
        let slice = task.slice();
        let ownership = self.bookkeeping.ownership(connection, topic, (&task.target, &slice)).await?;
        Ok(ownership.peers.is_empty()
            && ownership.feeders.is_empty()
            && !catalog::has_rows(connection, &task.target, &Slice::default()).await?)
    }
}
