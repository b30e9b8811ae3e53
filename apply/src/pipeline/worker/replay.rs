//! `apply replay`, one table: in one transaction the target, its definition and its offsets are taken back, and
//! running instances are told. Flushes of before fail their compare-and-set, or have come to their end first.

use super::Worker;
use super::locks::Hold;
use super::refused::{check_identity, undefined};
use crate::bookkeeping::TargetRow;
use crate::destination::{Connection, DestinationError, catalog};
use crate::pipeline::ownership::Act;
use crate::pipeline::table::TableTask;
use std::collections::BTreeMap;

/// What is to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// The target is emptied, and everything read.
    Clear,
    /// Rows are merged over what is there, from these offsets on (by partition).
    Merge(BTreeMap<i32, i64>),
}

impl Worker {
    /// Takes a table back; the offsets it goes on at, by partition. `None` if it has not been set up yet. `conflicts`: how many
    /// attempts in a row have met the locks of others.
    ///
    /// # Errors
    /// What the server says, and why a definition cannot be restored.
    pub async fn replay(
        &self,
        task: &TableTask,
        replay: &Replay,
        conflicts: u32,
    ) -> Result<Option<BTreeMap<i32, i64>>, DestinationError> {
        let mut lease = self.pool.acquire().await?;
        self.begin_on(&lease, Hold::Target(&task.target)).await?;
        let exists = catalog::shape(&mut lease, self.dialect, &task.target).await?.is_some();
        if exists {
            // Waits for the flush that is under way; the next one finds other offsets.
            self.lock_definition(&lease, task, conflicts).await?;
        }
        let lock = self.locks_rows();
        let Some(row) = self.bookkeeping.target(&mut lease, &task.topic, lock).await? else {
            let begun = if *replay == Replay::Clear { self.renew(&mut lease, task).await? } else { None };
            lease.commit().await?;
            lease.release();
            return Ok(begun);
        };
        let numbers: Vec<i32> = (0..row.partitions).collect();
        self.bookkeeping.set_parked(&mut lease, &task.topic, None).await?;
        let stored = self.bookkeeping.offsets(&mut lease, &task.topic, &numbers, lock).await?;
        let mut begun = BTreeMap::new();
        match replay {
            Replay::Clear => {
                let barriers = task.barriers();
                let beginning =
                    barriers.beginning().ok_or_else(|| DestinationError::Table(undefined(task)))?;
                self.restore(&mut lease, task, &row, beginning.generation).await?;
                self.bookkeeping
                    .reset_target(
                        &mut lease,
                        &task.topic,
                        &task.incarnation,
                        &task.target,
                        beginning.generation,
                    )
                    .await?;
                for (partition, low) in (0_i32..).zip(self.beginnings(task).await?) {
                    let offset = low.max(beginning.offset(partition));
                    self.bookkeeping
                        .set_offset(&mut lease, &task.topic, partition, offset, beginning.generation, true)
                        .await?;
                    begun.insert(partition, offset);
                }
            }
            Replay::Merge(offsets) => {
                check_identity(task, &row).map_err(DestinationError::Table)?;
                let barriers = task.barriers();
                let empty =
                    barriers.iter().rev().find(|known| known.empties && known.generation <= row.applied);
                for stored in stored {
                    let Some(wanted) = offsets.get(&stored.partition) else { continue };
                    // What was read before a TRUNCATE must not come back to life behind it.
                    let offset = empty.map_or(*wanted, |known| known.offset(stored.partition).max(*wanted));
                    let generation = stored.generation.min(row.applied);
                    self.bookkeeping
                        .set_offset(&mut lease, &task.topic, stored.partition, offset, generation, false)
                        .await?;
                    begun.insert(stored.partition, offset);
                }
            }
        }
        self.bookkeeping.bump_epoch(&mut lease).await?;
        lease.commit().await?;
        lease.release();
        Ok(Some(begun))
    }

    /// Takes a target from another topic that had the table before, in a task that has begun anew since: it is emptied, and
    /// set up like a new one. `None` if there is no such topic.
    async fn renew(
        &self,
        connection: &mut Connection,
        task: &TableTask,
    ) -> Result<Option<BTreeMap<i32, i64>>, DestinationError> {
        let source = task.id.to_string();
        let former = self.bookkeeping.former(connection, &source, &task.target, &task.topic).await?;
        let Some(former) = former else { return Ok(None) };
        let barriers = task.barriers();
        let beginning = barriers.beginning().ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let lows = self.beginnings(task).await?;
        self.bookkeeping.succeed(connection, &former.topic, &task.topic).await?;
        if catalog::shape(connection, self.dialect, &task.target).await?.is_some() {
            let row = TargetRow { topic: task.topic.clone(), applied: beginning.generation, ..former };
            self.restore(connection, task, &row, beginning.generation).await?;
        }
        self.bookkeeping.bump_epoch(connection).await?;
        let begun = (0_i32..).zip(lows);
        Ok(Some(begun.map(|(partition, low)| (partition, low.max(beginning.offset(partition)))).collect()))
    }

    /// Empties the target and gives it the definition of `generation`; creates it if it is gone. One that this topic has
    /// not fed before is judged as at the first time.
    async fn restore(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        row: &TargetRow,
        generation: u32,
    ) -> Result<(), DestinationError> {
        let first = task.record(generation).ok_or_else(|| DestinationError::Table(undefined(task)))?;
        if row.target != task.target {
            return self.prepare_target(connection, task, &first.table, generation).await;
        }
        if catalog::shape(connection, self.dialect, &task.target).await?.is_none() {
            self.create_target(connection, task, &first.table).await?;
            return self.bookkeeping.record_owner(connection, &task.topic, &task.target, false).await;
        }
        self.claim(connection, task, &Act::Empty("replay --clear".to_owned())).await?;
        let now = task.record(row.applied).unwrap_or(first);
        self.reset(connection, task, now, first).await.map(drop)
    }
}
