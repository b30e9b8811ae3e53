//! Before rows or columns are taken away from a target: is it this topic's alone? Asked in the transaction that does it.

use super::Worker;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::tables::ownership::{Act, refusal};
use tributary_warehouse::tables::task::TableTask;

/// What has been done to a target, and is to be written down once no table is waited for any more.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) statements: Vec<String>,
    /// The target has held rows of others, and none of them is left: it is the topic's alone from now on.
    pub(super) became_sole: bool,
}

impl Worker {
    /// Comes to an end only if `act` takes nothing from anybody else who has rows in the target beside `topic`. True if it has
    /// held rows of others and is empty.
    ///
    /// # Errors
    /// [`DestinationError::Table`] with who else has rows in it; what the server says.
    pub(super) async fn claim(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        topic: &str,
        act: &Act,
    ) -> Result<bool, DestinationError> {
        let (target, slice) = (&task.target, act.slice(task));
        let ownership = self.bookkeeping.ownership(connection, topic, (target, &slice)).await?;
        if ownership.is_sole(task.existing) {
            return Ok(false);
        }
        if ownership.feeders.is_empty() {
            // Nobody may put a row into it between the look and the act.
            self.lock_rows(connection, task, &slice).await?;
            if !catalog::has_rows(connection, target, &slice).await? {
                return Ok(true);
            }
        }
        Err(DestinationError::Table(refusal(task, &ownership, act)))
    }

    /// Writes down that others have rows in the target, once that is seen: they may go, and their rows stay.
    pub(super) async fn watch_owners(
        &self,
        connection: &mut Connection,
        task: &TableTask,
    ) -> Result<(), DestinationError> {
        let (topic, target, slice) = (&task.topic, &task.target, task.slice());
        let ownership = self.bookkeeping.ownership(connection, topic, (target, &slice)).await?;
        if ownership.foreign_rows == Some(ownership.is_mixed(task.existing)) {
            return Ok(());
        }
        // Two instances that start together come to this at the same moment: the second sees what the first has written.
        self.lock_target(connection, target).await?;
        let ownership = self.bookkeeping.ownership(connection, topic, (target, &slice)).await?;
        let mixed = ownership.is_mixed(task.existing);
        if ownership.foreign_rows == Some(mixed) {
            return Ok(());
        }
        self.bookkeeping.record_owner(connection, topic, target, mixed).await
    }
}
