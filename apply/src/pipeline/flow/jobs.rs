//! The jobs of a topic: which one comes next, and what its outcome means for the partitions.

use super::{Closed, Flow, Intake, Open, Partition, Phase};
use crate::batches::flush::{BatchState, FlushDecision, FlushLimits};
use crate::pipeline::job::{Job, JobOutcome, Loaded, Rows};
use std::time::Instant;
use tributary_warehouse::bookkeeping::Move;

impl<B: Rows> Flow<B> {
    /// The next job, if one may go out. `pressed`: memory is short.
    pub fn next_job(&mut self, limits: &FlushLimits, pressed: bool, now: Instant) -> Option<Job<B>> {
        self.close_full(limits);
        if self.intake == Intake::Shut || self.in_flight.is_some() {
            return None;
        }
        // Until the history says what the destination looks like, no row can be fitted into it.
        let job = match self.load_job() {
            None if self.is_ahead() => self.advance_job(),
            None => self
                .flush_job(limits, pressed, now)
                .or_else(|| self.arrive_job())
                .or_else(|| self.advance_job()),
            load => load,
        }?;
        self.in_flight = Some(job.moves().to_vec());
        self.flying_bytes = job.bytes();
        Some(job)
    }

    fn load_job(&mut self) -> Option<Job<B>> {
        let mut partitions = Vec::new();
        for (number, partition) in &mut self.partitions {
            if matches!(partition.phase, Phase::Unknown) {
                partition.phase = Phase::Loading;
                partitions.push((*number, partition.epoch));
            }
        }
        (!partitions.is_empty()).then_some(Job::Load { partitions })
    }

    /// Closes batches that have reached their limit, so that the next records start a new one.
    fn close_full(&mut self, limits: &FlushLimits) {
        let full = |open: &Open<B>| limits.is_full(&open.state(false, false));
        if let Some(place) = self.open.iter().rposition(full) {
            self.close_through(place);
        }
    }

    /// Closes the open batches up to `place`. They are in ascending generation, and a partition only moves up:
    /// closed in this order its rows stay in order.
    fn close_through(&mut self, place: usize) {
        for open in self.open.drain(..=place) {
            self.closed.push_back(Closed { generation: open.generation, rows: open.rows });
        }
    }

    fn flush_job(&mut self, limits: &FlushLimits, pressed: bool, now: Instant) -> Option<Job<B>> {
        if self.closed.is_empty() {
            let due = self.open.iter().rposition(|open| {
                let forced = self.at_barrier(open);
                limits.decide(&open.state(false, forced), pressed, now) == FlushDecision::Flush
            })?;
            self.close_through(due);
        }
        let closed = self.closed.pop_front()?;
        let mut moves = Vec::new();
        for (number, next) in closed.rows.spans() {
            moves.push(self.partition(number).step(number, next));
        }
        moves.sort_by_key(|step| step.partition);
        Some(Job::Flush { generation: closed.generation, target: self.done, rows: closed.rows, moves })
    }

    /// True if a partition with rows in the batch waits at its barrier.
    fn at_barrier(&self, open: &Open<B>) -> bool {
        open.rows.spans().any(|(number, _)| {
            let partition = self.partition(number);
            partition.position >= partition.barrier
        })
    }

    fn holds_rows_of(&self, number: i32) -> bool {
        let has = |rows: &B| rows.spans().any(|(held, _)| held == number);
        self.open.iter().any(|open| has(&open.rows)) || self.closed.iter().any(|closed| has(&closed.rows))
    }

    fn arrive_job(&self) -> Option<Job<B>> {
        let at_barrier = |number: i32, partition: &Partition| {
            partition.phase == Phase::Running
                && partition.position >= partition.barrier
                && !self.barriers.is_awaited(partition.generation, self.done)
                && !self.holds_rows_of(number)
        };
        let mut moves: Vec<(u32, Move)> = Vec::new();
        for (number, partition) in &self.partitions {
            if at_barrier(*number, partition) {
                moves.push((partition.generation, partition.step(*number, partition.position)));
            }
        }
        let from = moves.iter().map(|(generation, _)| *generation).min()?;
        let barrier = self.barriers.after(from)?;
        let moves =
            moves.into_iter().filter(|(generation, _)| *generation == from).map(|(_, step)| step).collect();
        Some(Job::Arrive { from, generation: barrier.generation, passage: barrier.passage, moves })
    }

    fn advance_job(&mut self) -> Option<Job<B>> {
        // What a table that closes has read beyond may be a record that it could not take.
        if !self.advance || self.intake != Intake::Open {
            return None;
        }
        self.advance = false;
        let mut moves = Vec::new();
        for (number, partition) in &self.partitions {
            let idle = partition.phase == Phase::Running && !self.holds_rows_of(*number);
            let step = partition.step(*number, partition.position);
            if idle && (step.at_end || partition.position > partition.committed) {
                moves.push(step);
            }
        }
        (!moves.is_empty()).then_some(Job::Advance { moves })
    }

    /// Takes the outcome of the job that was out.
    pub fn finish(&mut self, outcome: JobOutcome<B>) {
        let moves = self.in_flight.take().unwrap_or_default();
        self.flying_bytes = 0;
        match outcome {
            JobOutcome::Loaded { done, offsets } => {
                self.done = done;
                for loaded in offsets {
                    self.loaded(loaded);
                }
            }
            JobOutcome::Written => self.written(&moves, None),
            JobOutcome::Arrived { generation, done } => {
                self.written(&moves, Some(generation));
                self.set_done(done);
            }
            JobOutcome::Again(rows) => self.again(rows),
            JobOutcome::Lost => self.reload(),
        }
    }

    fn loaded(&mut self, loaded: Loaded) {
        let Some(partition) = self.partitions.get_mut(&loaded.partition) else { return };
        if partition.epoch != loaded.epoch {
            return;
        }
        partition.phase = Phase::Seeking;
        let emptied = self.barriers.emptied_before(loaded.generation, loaded.partition);
        partition.position = loaded.next_offset.max(emptied);
        partition.committed = loaded.next_offset;
        partition.generation = loaded.generation;
        partition.barrier = self.barriers.next_offset(loaded.generation, loaded.partition);
    }

    fn written(&mut self, moves: &[Move], generation: Option<u32>) {
        for step in moves {
            let Some(partition) = self.partitions.get_mut(&step.partition) else { continue };
            if partition.epoch != step.epoch {
                continue;
            }
            partition.committed = step.next;
            if step.at_end {
                partition.watched = None;
            }
            if let Some(generation) = generation {
                partition.generation = generation;
                partition.barrier = self.barriers.next_offset(generation, step.partition);
            }
        }
    }

    /// Nothing was written. What is left of the batch goes first again.
    fn again(&mut self, rows: Option<(u32, B)>) {
        for partition in self.partitions.values_mut() {
            if partition.phase == Phase::Loading {
                partition.phase = Phase::Unknown;
            }
        }
        let Some((generation, mut rows)) = rows.filter(|_| self.intake != Intake::Shut) else { return };
        let gone: Vec<i32> = rows
            .spans()
            .map(|(number, _)| number)
            .filter(|number| {
                self.partitions.get(number).is_none_or(|partition| partition.phase != Phase::Running)
            })
            .collect();
        rows.discard(&gone);
        if !rows.is_empty() {
            self.closed.push_front(Closed { generation, rows });
        }
    }
}

impl<B: Rows> Open<B> {
    fn state(&self, merging: bool, forced: bool) -> BatchState {
        BatchState {
            keys: self.rows.keys(),
            bytes: self.rows.bytes(),
            since: Some(self.since),
            merging,
            forced,
        }
    }
}

impl Partition {
    fn step(&self, partition: i32, next: i64) -> Move {
        let at_end = self.watched.is_some_and(|end| next >= end);
        Move { partition, epoch: self.epoch, expected: self.committed, next, at_end }
    }
}
