//! Random schedules of records, DDL, rebalances, zombies, crashes and lost answers, run against the state machine of
//! a topic and a model of the destination. A seed that fails replays: `TRIBUTARY_SEED=17 cargo test simulation`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a model of three partitions and a few hundred offsets"
)]

use super::flow::{Flow, RecordVerdict};
use super::job::{Job, JobOutcome, Loaded, Rows};
use crate::batches::flush::FlushLimits;
use fastrand::Rng;
use std::time::{Duration, Instant};
use tributary_warehouse::bookkeeping::Move;
use tributary_warehouse::tables::barriers::{Arrival, Barrier, Barriers, Passage, arrive};

const PARTITIONS: i32 = 3;
const LIMITS: FlushLimits = FlushLimits { keys: 4, bytes: 1 << 20, age: Duration::ZERO };

/// Rows as (partition, offset).
#[derive(Debug, Default)]
pub(super) struct Held(pub(super) Vec<(i32, i64)>);

impl Rows for Held {
    fn spans(&self) -> impl Iterator<Item = (i32, i64)> {
        (0..PARTITIONS).filter_map(|partition| {
            self.0.iter().filter(|row| row.0 == partition).map(|row| (partition, row.1 + 1)).next_back()
        })
    }

    fn discard(&mut self, partitions: &[i32]) {
        self.0.retain(|row| !partitions.contains(&row.0));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn keys(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Row(u32),
    /// Belongs to a generation by its offset alone.
    Tombstone,
    /// A transaction marker, or a record that compaction has removed.
    Gap,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Merged {
    Row(i32, i64),
    Ddl(u32),
}

/// The topic and its history.
#[derive(Default)]
struct Log {
    partitions: Vec<Vec<Entry>>,
    barriers: Vec<Barrier>,
    /// Generations whose records are gone: each emptied the table, and a later one empties it again.
    retired: Vec<u32>,
}

/// What the destination has committed.
#[derive(Clone, Default)]
struct Destination {
    offsets: Vec<(i64, u32)>,
    applied: u32,
    merged: Vec<Merged>,
}

struct Instance {
    flow: Flow<Held>,
    assigned: Vec<i32>,
    /// Where the consumer reads next, by partition.
    cursors: Vec<i64>,
    job: Option<Job<Held>>,
}

impl Log {
    fn generation(&self) -> u32 {
        self.barriers.last().map_or(0, |barrier| barrier.generation)
    }

    fn grow(&mut self, rng: &mut Rng) {
        let generation = self.generation();
        if rng.u32(..12) == 0 {
            let offsets = self.partitions.iter().map(|entries| entries.len() as i64).collect();
            let passage = if rng.bool() { Passage::First } else { Passage::Last };
            let empties = passage == Passage::Last && rng.u32(..3) == 0;
            self.barriers.push(Barrier { generation: generation + 1, offsets, passage, empties });
            return;
        }
        if rng.u32(..24) == 0 {
            self.retire();
            return;
        }
        let partition = rng.usize(..self.partitions.len());
        // A tombstone follows the event of its delete, which compaction removes long after the history was read.
        let entries: &[Entry] = match rng.u32(..6) {
            0 => &[Entry::Gap],
            1 => &[Entry::Row(generation), Entry::Tombstone],
            _ => &[Entry::Row(generation)],
        };
        self.partitions[partition].extend_from_slice(entries);
    }

    /// Every generation that empties the table goes, except the last of them.
    fn retire(&mut self) {
        let emptying = self.barriers.iter().filter(|barrier| barrier.empties);
        let mut gone: Vec<u32> = emptying.map(|barrier| barrier.generation).collect();
        gone.pop();
        self.retired = gone;
    }

    /// As the history follower hands it over: all generations except `left_out`.
    fn known(&self, left_out: &[u32]) -> Barriers {
        let mut barriers = Barriers::default();
        let known = self.barriers.iter().filter(|barrier| !left_out.contains(&barrier.generation));
        known.for_each(|barrier| barriers.insert(barrier.clone()));
        barriers
    }

    /// The generation that a row of `generation` is taken for by those who know `barriers`: for one that is retired, that
    /// which has its definition.
    fn taken_for(&self, generation: u32, barriers: &Barriers) -> u32 {
        let known = |wanted: u32| barriers.iter().any(|barrier| barrier.generation == wanted);
        if known(generation) || !self.retired.contains(&generation) {
            return generation;
        }
        let before = self.barriers.iter().rev().filter(|barrier| barrier.generation < generation);
        before.filter(|barrier| !barrier.empties).map(|barrier| barrier.generation).next().unwrap_or(0)
    }

    fn end(&self, partition: i32) -> i64 {
        self.partitions[partition as usize].len() as i64
    }
}

impl Destination {
    fn compare_and_set(&mut self, moves: &[Move], arrival: Option<(u32, u32)>) -> bool {
        moves.iter().all(|step| {
            let (offset, generation) = &mut self.offsets[step.partition as usize];
            let fits = *offset == step.expected && arrival.is_none_or(|(from, _)| *generation == from);
            if fits {
                *offset = step.next;
                *generation = arrival.map_or(*generation, |(_, to)| to);
            }
            fits
        })
    }

    /// One transaction: all of the job or nothing.
    fn run(&mut self, job: &Job<Held>, log: &Log) -> JobOutcome<Held> {
        let mut draft = self.clone();
        let outcome = match job {
            Job::Load { partitions } => JobOutcome::Loaded {
                done: draft.applied,
                offsets: partitions
                    .iter()
                    .map(|(partition, epoch)| {
                        let (next_offset, generation) = draft.offsets[*partition as usize];
                        Loaded { partition: *partition, epoch: *epoch, next_offset, generation }
                    })
                    .collect(),
            },
            Job::Flush { rows, moves, .. } => {
                draft.merged.extend(rows.0.iter().map(|row| Merged::Row(row.0, row.1)));
                if draft.compare_and_set(moves, None) { JobOutcome::Written } else { JobOutcome::Lost }
            }
            Job::Advance { moves } => {
                if draft.compare_and_set(moves, None) {
                    JobOutcome::Written
                } else {
                    JobOutcome::Lost
                }
            }
            Job::Arrive { from, generation, passage, moves } => {
                if draft.compare_and_set(moves, Some((*from, *generation))) {
                    let there = draft.offsets.iter().filter(|row| row.1 >= *generation).count() as u64;
                    let total = log.partitions.len() as u64;
                    if arrive(*passage, *generation, draft.applied, there, total) == Arrival::Execute {
                        let between = draft.applied + 1..*generation;
                        let skipped = between.clone().all(|missing| log.retired.contains(&missing));
                        assert!(skipped, "{between:?} are left out, and generations are done in order");
                        draft.merged.push(Merged::Ddl(*generation));
                        draft.applied = *generation;
                    }
                    JobOutcome::Arrived { generation: *generation, done: draft.applied }
                } else {
                    JobOutcome::Lost
                }
            }
        };
        if !matches!(outcome, JobOutcome::Lost) {
            *self = draft;
        }
        outcome
    }
}

impl Instance {
    fn new() -> Self {
        Self {
            flow: Flow::new(Barriers::default(), Box::new(Held::default)),
            assigned: Vec::new(),
            cursors: vec![0; PARTITIONS as usize],
            job: None,
        }
    }

    fn learn(&mut self, log: &Log) {
        self.flow.set_barriers(log.known(&log.retired));
    }

    /// The consumer's turn: seeks, then one record or the news that there is none.
    fn consume(&mut self, log: &Log, rng: &mut Rng) {
        for (partition, offset) in self.flow.seeks() {
            self.cursors[partition as usize] = offset;
            self.flow.sought(partition);
        }
        if self.assigned.is_empty() {
            return;
        }
        let partition = self.assigned[rng.usize(..self.assigned.len())];
        let cursor = self.cursors[partition as usize];
        let newest = self.flow.barriers().newest();
        match log.partitions[partition as usize].get(cursor as usize) {
            None => self.flow.observe(partition, cursor, Some(log.end(partition))),
            Some(Entry::Gap) => {
                self.cursors[partition as usize] += 1;
                if self.flow.position(partition) == Some(cursor) {
                    self.flow.observe(partition, cursor + 1, None);
                }
            }
            Some(Entry::Row(generation)) if *generation > newest => {}
            Some(entry) => {
                let generation = match entry {
                    Entry::Row(generation) => Some(log.taken_for(*generation, self.flow.barriers())),
                    _ => None,
                };
                match self.flow.offer(partition, cursor, generation, Instant::now()) {
                    RecordVerdict::Take(rows) => {
                        rows.0.push((partition, cursor));
                        self.cursors[partition as usize] += 1;
                    }
                    RecordVerdict::Wait | RecordVerdict::Ignore => {}
                    RecordVerdict::Corrupt { record, allowed } => {
                        panic!("{record} where {allowed} is allowed")
                    }
                }
            }
        }
    }

    fn work(&mut self, destination: &mut Destination, log: &Log, rng: &mut Rng, faults: bool) {
        if self.job.is_none() {
            if rng.u32(..4) == 0 {
                self.flow.request_advance();
            }
            // Looking at the destination may show a generation that this instance has not read of yet.
            if self.flow.waits_for_others() || rng.bool() {
                self.flow.set_done(destination.applied);
            }
            self.job = self.flow.next_job(&LIMITS, rng.bool(), Instant::now());
            if let Some(Job::Flush { target, .. }) = &self.job {
                assert!(*target <= self.flow.barriers().newest(), "a definition that is not known here");
            }
            return;
        }
        let Some(job) = self.job.take() else { return };
        let fault = if faults { rng.u32(..8) } else { 7 };
        let outcome = match (fault, job) {
            // Rolled back; the rows are still here.
            (0, Job::Flush { generation, rows, .. }) => JobOutcome::Again(Some((generation, rows))),
            (0, _) => JobOutcome::Again(None),
            // The answer to the COMMIT was lost: it happened, or it did not.
            (1, job) if !matches!(job, Job::Load { .. }) => {
                if rng.bool() {
                    destination.run(&job, log);
                }
                JobOutcome::Lost
            }
            (_, job) => destination.run(&job, log),
        };
        self.flow.finish(outcome);
    }
}

/// Gives a partition to another instance; the old one may learn of it late, or never.
fn rebalance(instances: &mut [Instance], rng: &mut Rng) {
    let partition = rng.i32(0..PARTITIONS);
    let zombie = rng.bool();
    if !zombie {
        for instance in instances.iter_mut() {
            instance.flow.revoke(&[partition]);
            instance.assigned.retain(|held| *held != partition);
        }
    }
    let owner = &mut instances[rng.usize(..2)];
    owner.assigned.retain(|held| *held != partition);
    owner.assigned.push(partition);
    owner.flow.assign(&[partition]);
}

fn check(log: &Log, destination: &Destination) {
    let place = |wanted: Merged| {
        let mut places = destination.merged.iter().enumerate().filter(|(_, merged)| **merged == wanted);
        let found = places.next().map(|(place, _)| place);
        assert!(places.next().is_none(), "{wanted:?} was merged twice");
        found
    };
    let barriers = log.known(&[]);
    for barrier in &log.barriers[1..] {
        let Some(ddl) = place(Merged::Ddl(barrier.generation)) else {
            assert!(log.retired.contains(&barrier.generation), "every generation that has a record is done");
            continue;
        };
        for (partition, entries) in (0..).zip(&log.partitions) {
            for (offset, entry) in (0..).zip(entries).filter(|(_, entry)| **entry != Entry::Gap) {
                let generation = match entry {
                    Entry::Row(generation) => *generation,
                    _ => barriers.generation_at(partition, offset),
                };
                let Some(row) = place(Merged::Row(partition, offset)) else {
                    let emptied = offset < barriers.emptied_before(generation, partition);
                    assert!(emptied, "a row of {generation} is missing");
                    continue;
                };
                if generation >= barrier.generation {
                    assert!(ddl < row, "a row of {generation} came before the DDL of {}", barrier.generation);
                } else if barrier.passage == Passage::Last {
                    assert!(row < ddl, "a row of {generation} came after the DDL of {}", barrier.generation);
                }
            }
        }
    }
    for partition in 0..PARTITIONS {
        let rows = destination.merged.iter().filter_map(|merged| match merged {
            Merged::Row(held, offset) if *held == partition => Some(*offset),
            _ => None,
        });
        assert!(rows.is_sorted(), "rows of partition {partition} are out of order");
    }
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut log = Log { partitions: vec![Vec::new(); PARTITIONS as usize], ..Log::default() };
    let offsets = vec![0; PARTITIONS as usize];
    log.barriers.push(Barrier { generation: 1, offsets, passage: Passage::Last, empties: false });
    let mut destination =
        Destination { offsets: vec![(0, 1); PARTITIONS as usize], applied: 1, merged: Vec::new() };
    let mut instances = [Instance::new(), Instance::new()];
    for _ in 0..600 {
        match rng.u32(..40) {
            0 => rebalance(&mut instances, &mut rng),
            1 => instances[rng.usize(..2)] = Instance::new(),
            2..=11 => log.grow(&mut rng),
            12..=14 => instances[rng.usize(..2)].learn(&log),
            15..=27 => instances[rng.usize(..2)].consume(&log, &mut rng),
            _ => instances[rng.usize(..2)].work(&mut destination, &log, &mut rng, true),
        }
    }
    // From here on everything works, and all must come to rest.
    instances = [Instance::new(), Instance::new()];
    for (index, instance) in instances.iter_mut().enumerate() {
        instance.learn(&log);
        instance.assigned = (0..PARTITIONS).filter(|partition| *partition as usize % 2 == index).collect();
        instance.flow.assign(&instance.assigned.clone());
    }
    for _ in 0..20_000 {
        let instance = &mut instances[rng.usize(..2)];
        instance.consume(&log, &mut rng);
        instance.work(&mut destination, &log, &mut rng, false);
        let there = (0..PARTITIONS).all(|p| destination.offsets[p as usize].0 == log.end(p));
        if there && destination.applied == log.generation() {
            return check(&log, &destination);
        }
    }
    panic!("seed {seed} did not come to rest: {:?} of {:?}", destination.offsets, log.barriers);
}

#[test]
fn rows_and_ddl_are_merged_once_and_in_order_whatever_fails() {
    let given = std::env::var("TRIBUTARY_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    for seed in given.map_or(0..2_000, |seed| seed..seed + 1) {
        let failed = std::panic::catch_unwind(|| run(seed)).is_err();
        assert!(!failed, "TRIBUTARY_SEED={seed}");
    }
}
