//! The destination of the simulation: one target for each topic, changed by the jobs of apply, each in one transaction with its
//! offsets.

use super::kafka::Kafka;
use super::model::{Own, Rows, Values, Violation, compare, decode, key};
use super::schedule::Fault;
use super::source::Source;
use std::collections::BTreeMap;
use tributary_apply::batches::compact::Batch;
use tributary_apply::pipeline::job::{Job, JobOutcome, Loaded};
use tributary_schemas::history::Cause;
use tributary_warehouse::bookkeeping::Move;
use tributary_warehouse::tables::barriers::{Arrival, Passage, arrive};
use tributary_warehouse::tables::task::TableTask;

/// What the destination holds of a topic.
#[derive(Debug, Clone)]
struct Target {
    /// Next offset and generation of each partition.
    offsets: Vec<(i64, u32)>,
    /// Newest generation whose DDL is carried out.
    applied: u32,
    /// By column id the value that a row has for which none is given.
    columns: Values,
    rows: Rows,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Warehouse {
    targets: BTreeMap<String, Target>,
    fault: Fault,
}

impl Target {
    /// As apply sets a target up: at the last generation that empties the table.
    fn new(task: &TableTask) -> Self {
        let barriers = task.barriers();
        let beginning = barriers.beginning().expect("a table of the history has a generation");
        let partitions = i32::try_from(task.partitions).unwrap();
        let offset = |partition| (beginning.offset(partition), beginning.generation);
        let columns = &task.record(beginning.generation).unwrap().table.columns;
        Self {
            offsets: (0..partitions).map(offset).collect(),
            applied: beginning.generation,
            columns: columns.iter().map(|column| (column.id, None)).collect(),
            rows: Rows::new(),
        }
    }

    /// Moves offsets by compare-and-set, and to another generation in an arrival. False: nothing may be written.
    fn moves(&mut self, moves: &[Move], arrival: Option<(u32, u32)>, fault: Fault) -> bool {
        moves.iter().all(|step| {
            let (offset, generation) = &mut self.offsets[usize::try_from(step.partition).unwrap()];
            let expected = *offset == step.expected || fault == Fault::MergeWithoutComparing;
            let fits = expected && arrival.is_none_or(|(from, _)| *generation == from);
            *offset = step.next;
            *generation = arrival.map_or(*generation, |(_, to)| to);
            fits
        })
    }

    /// Merges rows of `generation`; apply knows the target as it was at generation `known`.
    fn merge(&mut self, task: &TableTask, (generation, known): (u32, u32), batch: &Batch) {
        let record = task.record(generation).expect("a generation of the history");
        let fills = fills(task, generation, known);
        for survivor in batch.survivors() {
            let key = key(survivor.key);
            let Some(mut row) = survivor.value.and_then(|datum| decode(record, datum)) else {
                self.rows.remove(&key);
                continue;
            };
            row.retain(|id, _| self.columns.contains_key(id));
            for (id, default) in &self.columns {
                let before = self.rows.get(&key).and_then(|before| before.get(id));
                let given = fills.get(id).or(before).unwrap_or(default);
                row.entry(*id).or_insert(*given);
            }
            self.rows.insert(key, row);
        }
    }

    /// Carries out what a generation changes.
    fn define(&mut self, task: &TableTask, generation: u32) {
        let record = task.record(generation).expect("a generation of the history");
        if task.is_emptied(generation) {
            self.rows.clear();
        }
        let fills = fills(task, self.applied, generation);
        let columns = record.table.columns.iter().map(|column| {
            let added = fills.get(&column.id).copied().unwrap_or_default();
            (column.id, self.columns.get(&column.id).copied().unwrap_or(added))
        });
        let columns: Values = columns.collect();
        for row in self.rows.values_mut() {
            row.retain(|id, _| columns.contains_key(id));
            for (id, value) in &columns {
                row.entry(*id).or_insert(*value);
            }
        }
        (self.columns, self.applied) = (columns, generation);
    }
}

/// What the columns that were added between two generations hold in rows of before, by id.
fn fills(task: &TableTask, rows: u32, target: u32) -> Values {
    let Some(record) = task.record(target) else { return Values::new() };
    let fills = task.fills(rows, target);
    let value = |sql: &str| (sql != "NULL").then(|| sql.trim_matches('\'').parse().expect("a number"));
    let named = |name: &str| record.table.columns.iter().find(|column| column.name == name).unwrap().id;
    fills.iter().map(|(name, sql)| (named(name), value(sql))).collect()
}

impl Warehouse {
    pub(super) const fn new(fault: Fault) -> Self {
        Self { targets: BTreeMap::new(), fault }
    }

    /// One transaction: all of the job or nothing.
    pub(super) fn run(&mut self, job: &Job<Batch>, task: &TableTask) -> Result<JobOutcome<Batch>, Violation> {
        let fault = self.fault;
        let target = self.targets.entry(task.topic.clone()).or_insert_with(|| Target::new(task));
        let mut draft = target.clone();
        let outcome = match job {
            Job::Load { partitions } => {
                let loaded = |(partition, epoch): &(i32, u64)| {
                    let (next_offset, generation) = draft.offsets[usize::try_from(*partition).unwrap()];
                    Loaded { partition: *partition, epoch: *epoch, next_offset, generation }
                };
                let offsets = partitions.iter().map(loaded).collect();
                return Ok(JobOutcome::Loaded { done: draft.applied, offsets });
            }
            Job::Flush { generation, target: known, rows, moves } => {
                draft.merge(task, (*generation, *known), rows);
                draft.moves(moves, None, fault).then_some(JobOutcome::Written)
            }
            Job::Advance { moves } => draft.moves(moves, None, fault).then_some(JobOutcome::Written),
            Job::Arrive { from, generation, passage, moves } => {
                let moved = draft.moves(moves, Some((*from, *generation)), fault);
                let there = draft.offsets.iter().filter(|(_, arrived)| arrived >= generation).count();
                let counts = (u64::try_from(there).unwrap(), u64::from(task.partitions));
                let passage = if fault == Fault::DefineAtFirstArrival { Passage::First } else { *passage };
                let turn = arrive(passage, *generation, draft.applied, counts.0, counts.1);
                if moved && turn == Arrival::Execute {
                    let skipped = draft.applied + 1..*generation;
                    if let Some(missing) = skipped.into_iter().find(|one| task.generations.contains_key(one))
                    {
                        return Err(format!("{}: generation {missing} is left out", task.topic));
                    }
                    draft.define(task, *generation);
                }
                moved.then_some(JobOutcome::Arrived { generation: *generation, done: draft.applied })
            }
        };
        let Some(outcome) = outcome else { return Ok(JobOutcome::Lost) };
        let offsets = target.offsets.iter().zip(&draft.offsets);
        if let Some(((before, _), (after, _))) =
            offsets.into_iter().find(|(before, after)| before.0 > after.0)
        {
            return Err(format!("{}: an offset goes back from {before} to {after}", task.topic));
        }
        *target = draft;
        Ok(outcome)
    }

    /// The newest generation that is done.
    pub(super) fn done(&self, topic: &str) -> u32 {
        self.targets.get(topic).map_or(0, |target| target.applied)
    }

    /// True once everything in a topic is merged.
    pub(super) fn is_at_end(&self, kafka: &Kafka, task: &TableTask) -> bool {
        self.targets.get(&task.topic).is_some_and(|target| {
            let ends = (0..).map(|partition| kafka.stable_end(&task.topic, partition));
            target.offsets.iter().zip(ends).all(|((next, _), end)| *next == end)
                && target.applied == task.barriers().newest()
        })
    }

    /// Once all is quiet the targets are the source's tables, and those of tables that are gone are empty.
    pub(super) fn check(&self, kafka: &Kafka, source: &Source) -> Result<(), Violation> {
        let history = Own::read(kafka).history;
        for id in history.generations.keys() {
            let latest = history.latest(id).unwrap();
            let target = &self.targets[&latest.topic];
            match source.visible.tables.get(id) {
                Some(table) => {
                    compare(id, table, latest, &target.rows).map_err(|why| format!("merged: {why}"))?
                }
                None if latest.cause == Cause::Drop && !target.rows.is_empty() => {
                    return Err(format!("{id} is dropped, and its target keeps rows"));
                }
                None => {}
            }
        }
        Ok(())
    }
}
