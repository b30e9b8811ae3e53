//! Before rows or columns are taken away from a target: is it this topic's alone? Asked in the transaction that does it.

use super::Worker;
use crate::destination::{Connection, DestinationError, catalog};
use crate::pipeline::ownership::{Act, refusal};
use crate::pipeline::table::TableTask;

impl Worker {
    /// Comes to an end only if `act` takes nothing from anybody else. A target that has held rows of others and is empty
    /// is the topic's alone from now on.
    ///
    /// # Errors
    /// [`DestinationError::Table`] with who else has rows in it; what the server says.
    pub(super) async fn claim(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        act: &Act,
    ) -> Result<(), DestinationError> {
        let (topic, target) = (&task.topic, &task.target);
        let ownership = self.bookkeeping.ownership(connection, topic, target).await?;
        if ownership.is_sole(task.existing) {
            return Ok(());
        }
        if ownership.feeders.is_empty() {
            // Nobody may put a row into it between the look and the act.
            connection
                .batch_execute(&format!("LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE"))
                .await
                .map_err(DestinationError::during(format!("locking {target}")))?;
            if !catalog::has_rows(connection, target).await? {
                return self.bookkeeping.record_owner(connection, topic, target, false).await;
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
        let (topic, target) = (&task.topic, &task.target);
        let ownership = self.bookkeeping.ownership(connection, topic, target).await?;
        if ownership.foreign_rows == Some(ownership.is_mixed(task.existing)) {
            return Ok(());
        }
        // Two instances that start together come to this at the same moment: the second sees what the first has written.
        self.lock_target(connection, target).await?;
        let ownership = self.bookkeeping.ownership(connection, topic, target).await?;
        let mixed = ownership.is_mixed(task.existing);
        if ownership.foreign_rows == Some(mixed) {
            return Ok(());
        }
        self.bookkeeping.record_owner(connection, topic, target, mixed).await
    }
}
