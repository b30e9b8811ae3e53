//! `apply replay`, one table: in one transaction the target, its definition and its offsets are taken back, and
//! running instances are told. Flushes of before fail their compare-and-set, or have come to their end first.

use super::locks::Hold;
use super::refused::{check_identity, undefined};
use super::{WorkError, Worker};
use std::collections::BTreeMap;
use tributary_schemas::history::GenerationRecord;
use tributary_warehouse::bookkeeping::TargetRow;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::union::unite;
use tributary_warehouse::tables::fit::compile;
use tributary_warehouse::tables::ownership::Act;
use tributary_warehouse::tables::task::TableTask;

/// What removes the rows, for people.
const REPLAY: &str = "replay --clear";

/// What is to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replay {
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
    pub(crate) async fn replay(
        &self,
        task: &TableTask,
        replay: &Replay,
        conflicts: u32,
    ) -> Result<Option<BTreeMap<i32, i64>>, WorkError> {
        let mut lease = self.begin(task, Hold::Target(&task.target), conflicts).await?;
        let exists = catalog::shape(&mut lease, self.dialect, &task.target).await?.is_some();
        if exists {
            // Waits for the flush that is under way; the next one finds other offsets.
            self.lock_rows(&lease, task, &task.slice()).await?;
        }
        let row = self.bookkeeping.target(&mut lease, &task.topic, false).await?;
        let begun = match (replay, row) {
            (Replay::Clear, Some(row)) => Some(self.clear(&mut lease, task, &row).await?),
            (Replay::Clear, None) => self.renew(&mut lease, task).await?,
            (Replay::Merge(offsets), Some(_)) => self.take_back(&mut lease, task, offsets).await?,
            (Replay::Merge(_), None) => None,
        };
        if begun.is_some() {
            self.bookkeeping.bump_epoch(&mut lease).await?;
        }
        lease.commit().await?;
        lease.release();
        Ok(begun)
    }

    /// Empties the target, and takes everything back to the beginning.
    async fn clear(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        row: &TargetRow,
    ) -> Result<BTreeMap<i32, i64>, WorkError> {
        let barriers = task.barriers();
        let beginning = barriers.beginning().ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let generation = beginning.generation;
        let (topic, target) = (&task.topic, &task.target);
        let lows = self.beginnings(task).await?;
        if self.restore(connection, task, row, generation).await? {
            self.bookkeeping.record_owner(connection, topic, target, false).await?;
        }
        self.bookkeeping.record_share(connection, topic, target, &task.share(generation)).await?;
        self.bookkeeping.unpark(connection, Some(topic)).await?;
        self.bookkeeping.reset_target(connection, topic, &task.incarnation, target, generation).await?;
        let mut begun = BTreeMap::new();
        for (partition, low) in (0_i32..).zip(lows) {
            let offset = low.max(beginning.offset(partition));
            self.bookkeeping.set_offset(connection, topic, partition, offset, generation, true).await?;
            begun.insert(partition, offset);
        }
        Ok(begun)
    }

    /// Takes the offsets back, as far as no TRUNCATE lies between. `None` if the topic has no row.
    async fn take_back(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<Option<BTreeMap<i32, i64>>, DestinationError> {
        let (topic, lock) = (&task.topic, self.locks_rows());
        // An instance of an older version queues up at the row alone.
        let Some(row) = self.bookkeeping.target(connection, topic, lock).await? else { return Ok(None) };
        check_identity(task, &row).map_err(DestinationError::Table)?;
        self.bookkeeping.unpark(connection, Some(topic)).await?;
        let numbers: Vec<i32> = (0..row.partitions).collect();
        let barriers = task.barriers();
        let empty = barriers.iter().rev().find(|known| known.empties && known.generation <= row.applied);
        let mut begun = BTreeMap::new();
        for stored in self.bookkeeping.offsets(connection, topic, &numbers, lock).await? {
            let Some(wanted) = offsets.get(&stored.partition) else { continue };
            // What was read before a TRUNCATE must not come back to life behind it.
            let offset = empty.map_or(*wanted, |known| known.offset(stored.partition).max(*wanted));
            let generation = stored.generation.min(row.applied);
            self.bookkeeping
                .set_offset(connection, topic, stored.partition, offset, generation, false)
                .await?;
            begun.insert(stored.partition, offset);
        }
        Ok(Some(begun))
    }

    /// Takes a target from another topic that had the table before, in a task that has begun anew since: it is emptied, and
    /// set up like a new one. `None` if there is no such topic.
    async fn renew(
        &self,
        connection: &mut Connection,
        task: &TableTask,
    ) -> Result<Option<BTreeMap<i32, i64>>, WorkError> {
        let source = task.id.to_string();
        let former = self.bookkeeping.former(connection, &source, &task.target, &task.topic).await?;
        let Some(former) = former else { return Ok(None) };
        let barriers = task.barriers();
        let beginning = barriers.beginning().ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let lows = self.beginnings(task).await?;
        let recorded = self.bookkeeping.share(connection, &former.topic).await?.unwrap_or_default();
        if recorded.slice != task.slice() {
            // Under its own name the topic is judged as at the first time. Before rows of the bookkeeping are held, all that may be
            // waited for of the target.
            self.lock_definition(connection, task).await?;
            self.hand_over(connection, task, &former, false).await?;
            let row = TargetRow { topic: task.topic.clone(), applied: beginning.generation, ..former };
            self.restore(connection, task, &row, beginning.generation).await?;
            let begun = (0_i32..).zip(lows);
            return Ok(Some(
                begun.map(|(partition, low)| (partition, low.max(beginning.offset(partition)))).collect(),
            ));
        }
        let mut became_sole = false;
        if catalog::shape(connection, self.dialect, &task.target).await?.is_some() {
            let row = TargetRow { applied: beginning.generation, ..former.clone() };
            became_sole = self.restore(connection, task, &row, beginning.generation).await?;
        }
        self.hand_over(connection, task, &former, became_sole).await?;
        let begun = (0_i32..).zip(lows);
        Ok(Some(begun.map(|(partition, low)| (partition, low.max(beginning.offset(partition)))).collect()))
    }

    /// Empties the target, which the topic of `row` feeds, and gives it the definition of `generation`; creates it if it is
    /// gone. One that this topic has not fed before is judged as at the first time. True if the target is its alone from now on,
    /// which is to be written down.
    async fn restore(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        row: &TargetRow,
        generation: u32,
    ) -> Result<bool, DestinationError> {
        let first = task.record(generation).ok_or_else(|| DestinationError::Table(undefined(task)))?;
        if row.target != task.target {
            self.prepare_target(connection, task, &first.table, generation, false).await?;
            return Ok(false);
        }
        if catalog::shape(connection, self.dialect, &task.target).await?.is_none() {
            self.create_target(connection, task, &first.table).await?;
            return Ok(true);
        }
        let slice = task.slice();
        let recorded = self.bookkeeping.share(connection, &row.topic).await?.unwrap_or_default();
        if recorded.slice != slice {
            self.restore_apart(connection, task, row, (first, &recorded.slice)).await?;
            return Ok(false);
        }
        let act = Act::Empty { how: REPLAY.to_owned(), slice };
        let became_sole = self.claim(connection, task, &row.topic, &act).await?;
        let now = task.record(row.applied).unwrap_or(first);
        self.reset(connection, (task, &row.topic), now, first).await?;
        Ok(became_sole)
    }

    /// The same where rows were written with other constants, those of `was`: they go, and the target is judged as at the first
    /// time. It is made anew for another key if nobody else has anything in it.
    async fn restore_apart(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        row: &TargetRow,
        (first, was): (&GenerationRecord, &Slice),
    ) -> Result<(), DestinationError> {
        let act = Act::Empty { how: REPLAY.to_owned(), slice: was.clone() };
        self.claim(connection, task, &row.topic, &act).await?;
        let generation = first.generation;
        self.empty(connection, task, generation, was).await?;
        if let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? {
            let fits = if task.rule.is_shared() {
                unite(&first.table, &task.rule, &shape).is_ok()
            } else {
                compile(task, generation, generation, &shape, true).is_ok()
            };
            if !fits && self.is_free(connection, task, &row.topic).await? {
                self.make_anew(connection, task, first, first).await?;
            }
        }
        self.prepare_target(connection, task, &first.table, generation, true).await
    }
}
