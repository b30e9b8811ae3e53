//! The state machine of one topic: which records may be taken, which job (load, flush, arrive, advance) comes next,
//! and what its outcome means. Pure: records, outcomes and `now` enter, verdicts and jobs leave.
//!
//! Invariants: at most one job of a topic is out at a time; a partition's rows reach the destination in the order of
//! their offsets, each with the compare-and-set of the offset behind it; `committed` is always the value last read
//! from or written to the destination; nothing of a revoked partition is flushed later; a record behind a barrier is
//! not taken before the destination has passed that barrier.

mod jobs;
mod standing;

use super::job::Rows;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use tributary_warehouse::bookkeeping::Move;
use tributary_warehouse::tables::barriers::Barriers;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its offset must be read from the destination.
    Unknown,
    /// A job reads its offset.
    Loading,
    /// The consumer must seek to `position`.
    Seeking,
    /// Records are taken.
    Running,
}

#[derive(Debug, Clone)]
struct Partition {
    /// Grows with every assignment and every discard: an outcome of an earlier epoch says nothing about this one.
    epoch: u64,
    phase: Phase,
    /// Generation it has arrived at, as the destination knows it.
    generation: u32,
    /// Everything before it has been taken or does not exist.
    position: i64,
    /// Offset in the destination.
    committed: i64,
    /// The offset of the next generation's barrier; `i64::MAX` if there is none.
    barrier: i64,
    /// Position is at or past the end that was last observed.
    at_end: bool,
    /// An end that was observed and that the destination has not reached since: the write that reaches it stores
    /// that the partition was at its end.
    watched: Option<i64>,
}

/// A batch that is still growing.
#[derive(Debug)]
struct Open<B> {
    generation: u32,
    since: Instant,
    rows: B,
}

/// A batch that waits for its flush.
#[derive(Debug)]
struct Closed<B> {
    generation: u32,
    rows: B,
}

/// What becomes of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    /// They are taken.
    Open,
    /// None is taken any more, and what was taken is still written.
    Closing,
    /// Nothing is taken or written.
    Shut,
}

/// What to do with a record.
#[derive(Debug)]
pub enum RecordVerdict<'a, B> {
    /// Push it into this batch; the position has moved past it.
    Take(&'a mut B),
    /// Keep it and stop reading the partition until [`Flow::accepts`] says otherwise.
    Wait,
    /// It belongs to an assignment that is over, or was taken before.
    Ignore,
    /// Its generation is newer than the barriers allow at its offset: the topic contradicts its history.
    Corrupt {
        /// Generation of the record.
        record: u32,
        /// Generation that is allowed here.
        allowed: u32,
    },
}

/// The machine. `B` holds rows.
pub struct Flow<B> {
    /// Makes an empty batch.
    fresh: Box<dyn Fn() -> B + Send>,
    barriers: Barriers,
    /// Newest generation whose DDL the destination has.
    done: u32,
    partitions: BTreeMap<i32, Partition>,
    open: Vec<Open<B>>,
    closed: VecDeque<Closed<B>>,
    /// Bytes of the batch that is being flushed.
    flying_bytes: usize,
    /// What the job that is out will have moved.
    in_flight: Option<Vec<Move>>,
    intake: Intake,
    epochs: u64,
    /// Offsets without rows are to be stored soon: the end is waited for, or the slow beat has come.
    advance: bool,
}

impl<B: Rows> Flow<B> {
    /// A topic without partitions; `fresh` makes an empty batch.
    #[must_use]
    pub fn new(barriers: Barriers, fresh: Box<dyn Fn() -> B + Send>) -> Self {
        Self {
            fresh,
            barriers,
            done: 0,
            partitions: BTreeMap::new(),
            open: Vec::new(),
            closed: VecDeque::new(),
            flying_bytes: 0,
            in_flight: None,
            intake: Intake::Open,
            epochs: 0,
            advance: false,
        }
    }

    /// The history's barriers.
    #[must_use]
    pub const fn barriers(&self) -> &Barriers {
        &self.barriers
    }

    /// True if nothing that was taken is still on its way.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.in_flight.is_none() && self.open.is_empty() && self.closed.is_empty()
    }

    /// True if records of some partition are being taken.
    #[must_use]
    pub fn has_running(&self) -> bool {
        self.partitions.values().any(|partition| partition.phase == Phase::Running)
    }

    /// True if records of `partition` are wanted now.
    #[must_use]
    pub fn accepts(&self, partition: i32) -> bool {
        self.intake == Intake::Open
            && self.partitions.get(&partition).is_some_and(|partition| {
                partition.phase == Phase::Running
                    && partition.position < partition.barrier
                    && !self.barriers.is_awaited(partition.generation, self.done)
            })
    }

    /// True if the record at `offset` belongs to an assignment that is over, was taken before, or comes from before the
    /// consumer was sent to the destination's offset: whatever it is, it does not matter.
    #[must_use]
    pub fn is_past(&self, partition: i32, offset: i64) -> bool {
        self.intake != Intake::Open || self.position(partition).is_none_or(|position| offset < position)
    }

    /// Decides about the record at `offset`; `generation` is `None` for a tombstone.
    pub fn offer(
        &mut self,
        number: i32,
        offset: i64,
        generation: Option<u32>,
        now: Instant,
    ) -> RecordVerdict<'_, B> {
        let open = self.intake == Intake::Open;
        let Some(partition) = self.partitions.get_mut(&number).filter(|_| open) else {
            return RecordVerdict::Ignore;
        };
        if partition.phase != Phase::Running || offset < partition.position {
            return RecordVerdict::Ignore;
        }
        if offset >= partition.barrier || self.barriers.is_awaited(partition.generation, self.done) {
            // Nothing lies between the last record and this one.
            partition.position = offset.min(partition.barrier).max(partition.position);
            return RecordVerdict::Wait;
        }
        let allowed = partition.generation;
        let generation = generation
            .unwrap_or_else(|| self.barriers.generation_at(number, offset).min(partition.generation));
        if generation > allowed {
            return RecordVerdict::Corrupt { record: generation, allowed };
        }
        partition.position = offset.saturating_add(1);
        partition.at_end = false;
        let place = self.open.iter().position(|open| open.generation == generation);
        let place = place.unwrap_or_else(|| {
            let place = self.open.partition_point(|open| open.generation < generation);
            self.open.insert(place, Open { generation, since: now, rows: (self.fresh)() });
            place
        });
        match self.open.get_mut(place) {
            Some(open) => RecordVerdict::Take(&mut open.rows),
            None => unreachable!("the batch of generation {generation} is open"),
        }
    }

    /// A partition of which something is held, or that was asked about as one that is here.
    fn partition(&self, number: i32) -> &Partition {
        self.partitions.get(&number).unwrap_or_else(|| unreachable!("partition {number} is not assigned"))
    }

    fn partition_mut(&mut self, number: i32) -> &mut Partition {
        self.partitions.get_mut(&number).unwrap_or_else(|| unreachable!("partition {number} is not assigned"))
    }

    /// The destination has carried out the DDL of `generation`.
    pub fn set_done(&mut self, generation: u32) {
        self.done = self.done.max(generation);
    }

    /// True if a partition here has arrived at a generation that is not done: ask the destination.
    #[must_use]
    pub fn waits_for_others(&self) -> bool {
        self.partitions
            .values()
            .any(|partition| partition.phase == Phase::Running && partition.generation > self.done)
    }

    /// True if the destination has a generation that the history has not told of yet: another instance reads faster.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.done > self.barriers.newest()
    }

    /// True if the job that is out is about partitions that are gone or have begun anew meanwhile: what it fails with
    /// does not matter.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.in_flight.iter().flatten().any(|step| {
            self.partitions.get(&step.partition).is_none_or(|partition| partition.epoch != step.epoch)
        })
    }

    /// Partitions the consumer must seek, and to where.
    #[must_use]
    pub fn seeks(&self) -> Vec<(i32, i64)> {
        let seeking = self.partitions.iter().filter(|(_, partition)| partition.phase == Phase::Seeking);
        seeking.map(|(number, partition)| (*number, partition.position)).collect()
    }

    /// The consumer has sought `partition` to its position.
    pub fn sought(&mut self, partition: i32) {
        let partition = self.partition_mut(partition);
        assert_eq!(partition.phase, Phase::Seeking, "one that seeks");
        partition.phase = Phase::Running;
    }

    /// Nothing lies before `position` that was not taken: the consumer has been handed everything up to there, or
    /// a probe has found no record. `end` is the partition's end as last asked for.
    pub fn observe(&mut self, number: i32, position: i64, end: Option<i64>) {
        let Some(partition) = self.partitions.get_mut(&number).filter(|p| p.phase == Phase::Running) else {
            return;
        };
        partition.position = partition.position.max(position);
        if let Some(end) = end {
            partition.at_end = partition.position >= end;
            partition.watched.get_or_insert(end);
        }
    }

    /// Offsets without rows, and the mark that a partition is at its end, are to be stored now.
    pub const fn request_advance(&mut self) {
        self.advance = true;
    }

    /// The position of a partition that runs.
    #[must_use]
    pub fn position(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).filter(|p| p.phase == Phase::Running).map(|p| p.position)
    }

    /// What the destination holds of a partition that runs.
    #[must_use]
    pub fn committed(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).filter(|p| p.phase == Phase::Running).map(|p| p.committed)
    }

    /// Newest generation whose DDL the destination has; 0 before that is known.
    #[must_use]
    pub const fn done(&self) -> u32 {
        self.done
    }

    /// True if every partition here is at its end, and what was taken is in the destination.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_idle() && self.partitions.values().all(|partition| partition.at_end)
    }

    /// Partitions that are assigned here.
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.partitions.keys().copied()
    }

    /// True if everything taken has been written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_written() && self.partitions.values().all(|partition| partition.phase == Phase::Running)
    }

    /// True while a job is out.
    #[must_use]
    pub const fn is_flying(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Bytes held, those being flushed included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.flying_bytes
            + self.open.iter().map(|open| open.rows.bytes()).sum::<usize>()
            + self.closed.iter().map(|closed| closed.rows.bytes()).sum::<usize>()
    }
}
