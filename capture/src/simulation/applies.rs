//! The other service: two instances of apply, which read the topics of the simulation as they are compacted, and fold the
//! history, decide by the real state machines of topics and merge into the warehouse. Rebalances, zombies, lost answers and
//! restarts included.

use super::kafka::{Kafka, Met};
use super::model::Violation;
use super::schedule::Fault;
use super::session::CONFIG;
use super::source::Source;
use super::warehouse::Warehouse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_apply::batches::compact::Batch;
use tributary_apply::batches::flush::FlushLimits;
use tributary_apply::pipeline::flow::{Flow, RecordVerdict};
use tributary_apply::pipeline::job::{Job, JobOutcome};
use tributary_config::TableRules;
use tributary_schemas::wire;
use tributary_topics::history::History;
use tributary_warehouse::tables::task::TableTask;

const INSTANCES: usize = 2;
const LIMITS: FlushLimits = FlushLimits { keys: 4, bytes: 1 << 20, age: Duration::ZERO };
/// Turns, at the most, in which things still fail once the topics are whole.
const NOISE: usize = 800;
/// Turns until a warehouse that does not come to rest is given up.
const PATIENCE: usize = 100_000;

/// A topic in one instance.
struct Topic {
    task: TableTask,
    flow: Flow<Batch>,
    assigned: Vec<i32>,
    /// Where the consumer reads next, by partition.
    cursors: BTreeMap<i32, i64>,
    job: Option<Job<Batch>>,
}

struct Instance {
    history: History,
    /// Behind the last record of the history that was read.
    read: i64,
    topics: BTreeMap<String, Topic>,
}

impl Default for Instance {
    fn default() -> Self {
        Self { history: History::of(&CONFIG.name), read: 0, topics: BTreeMap::new() }
    }
}

/// See the module.
pub(super) struct Applies {
    rules: TableRules,
    warehouse: Warehouse,
    instances: [Instance; INSTANCES],
    /// Whom the group has given each partition.
    owners: BTreeMap<(String, i32), usize>,
}

impl Topic {
    fn new(task: TableTask) -> Self {
        let operations = task.operations;
        let flow = Flow::new(task.barriers(), Box::new(move || Batch::new(operations)));
        Self { task, flow, assigned: Vec::new(), cursors: BTreeMap::new(), job: None }
    }

    /// As the engine does when the history has grown.
    fn set_task(&mut self, task: TableTask) {
        if !task.generations.keys().eq(self.task.generations.keys()) {
            self.flow.set_barriers(task.barriers());
        }
        self.task = task;
    }

    fn assign(&mut self, partition: i32) {
        self.assigned.retain(|held| *held != partition);
        self.assigned.push(partition);
        self.flow.assign(&[partition]);
    }

    fn revoke(&mut self, partition: i32) {
        self.assigned.retain(|held| *held != partition);
        self.flow.revoke(&[partition]);
    }

    /// The consumer's turn: seeks, then one record, or the news that there is none. False: the history must be read on.
    fn consume(&mut self, kafka: &Kafka, random: &mut fastrand::Rng) -> Result<bool, Violation> {
        for (partition, offset) in self.flow.seeks() {
            self.cursors.insert(partition, offset);
            self.flow.sought(partition);
        }
        let Some(partition) = random.choice(&self.assigned).copied() else { return Ok(true) };
        let cursor = self.cursors.get(&partition).copied().unwrap_or(0);
        let place = usize::try_from(partition).unwrap();
        let record = match kafka.at(&self.task.topic, place, cursor) {
            Met::End => {
                let end = kafka.stable_end(&self.task.topic, place);
                self.flow.observe(partition, cursor, Some(end));
                return Ok(true);
            }
            Met::Gap => {
                self.cursors.insert(partition, cursor + 1);
                if self.flow.position(partition) == Some(cursor) {
                    self.flow.observe(partition, cursor + 1, None);
                }
                return Ok(true);
            }
            Met::Record(record) => record,
        };
        if self.flow.is_past(partition, cursor) {
            self.cursors.insert(partition, cursor + 1);
            return Ok(true);
        }
        let (key_schema, key) = wire::split(&record.key).expect("a key of capture");
        let value = record.value.as_ref().map(|value| wire::split(value).expect("a value of capture"));
        let generation = value.map(|(schema, _)| self.task.generation_of(schema));
        if generation == Some(None) || !self.task.has_key_schema(key_schema) {
            return Ok(false);
        }
        match self.flow.offer(partition, cursor, generation.flatten(), Instant::now()) {
            RecordVerdict::Take(batch) => {
                let value = value.map(|(_, datum)| datum);
                batch.push(partition, cursor, key, value, &[]).map_err(|error| error.to_string())?;
                self.cursors.insert(partition, cursor + 1);
            }
            RecordVerdict::Wait | RecordVerdict::Ignore => {}
            RecordVerdict::Corrupt { record, allowed } => {
                let topic = &self.task.topic;
                return Err(format!(
                    "{topic}-{partition} at {cursor}: generation {record} where {allowed} is allowed"
                ));
            }
        }
        Ok(true)
    }

    /// The worker's turn: a job goes out, or comes to its end.
    fn work(
        &mut self,
        warehouse: &mut Warehouse,
        random: &mut fastrand::Rng,
        quiet: bool,
    ) -> Result<(), Violation> {
        let Some(job) = self.job.take() else {
            if random.u8(0..4) == 0 {
                self.flow.request_advance();
            }
            // Looking at the destination may show a generation that this instance has not read of yet.
            if self.flow.waits_for_others() || random.bool() {
                self.flow.set_done(warehouse.done(&self.task.topic));
            }
            self.job = self.flow.next_job(&LIMITS, random.bool(), Instant::now());
            return Ok(());
        };
        let outcome = match (if quiet { 7 } else { random.u8(0..8) }, job) {
            // Rolled back; the rows are still here.
            (0, Job::Flush { generation, rows, .. }) => JobOutcome::Again(Some((generation, rows))),
            (0, _) => JobOutcome::Again(None),
            // The answer to the COMMIT was lost: it happened, or it did not.
            (1, job) if !matches!(job, Job::Load { .. }) => {
                if random.bool() {
                    warehouse.run(&job, &self.task)?;
                }
                JobOutcome::Lost
            }
            (_, job) => warehouse.run(&job, &self.task)?,
        };
        self.flow.finish(outcome);
        Ok(())
    }
}

impl Applies {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            rules: TableRules::new(&CONFIG).unwrap(),
            warehouse: Warehouse::new(fault),
            instances: Default::default(),
            owners: BTreeMap::new(),
        }
    }

    /// Something happens.
    pub(super) fn step(
        &mut self,
        kafka: &mut Kafka,
        random: &mut fastrand::Rng,
        quiet: bool,
    ) -> Result<(), Violation> {
        let number = random.usize(..INSTANCES);
        match random.u8(..40) {
            0 if !quiet => self.rebalance(random),
            1 if !quiet => self.instances[number] = Instance::default(),
            2 => kafka.compact(random),
            3..6 => self.learn(number, kafka, random)?,
            turn => {
                let Self { warehouse, instances, .. } = self;
                let Some(topic) = random.choice(instances[number].topics.values_mut().collect::<Vec<_>>())
                else {
                    return Ok(());
                };
                if turn % 2 == 0 {
                    topic.work(warehouse, random, quiet)?;
                } else if !topic.consume(kafka, random)? {
                    let name = topic.task.topic.clone();
                    self.learn(number, kafka, random)?;
                    let topic = self.instances[number].topics.get_mut(&name).expect("it stays");
                    if !topic.consume(kafka, random)? && !topic.consume(kafka, random)? {
                        return Err(format!("{name} has a schema that is not in the history"));
                    }
                }
            }
        }
        Ok(())
    }

    /// An instance reads the history on.
    fn learn(&mut self, number: usize, kafka: &Kafka, random: &mut fastrand::Rng) -> Result<(), Violation> {
        let Self { rules, instances, owners, .. } = self;
        let instance = &mut instances[number];
        let records = match instance.read {
            0 => kafka.read_to_end("t.history"),
            from => kafka.read_from("t.history", from),
        };
        for record in &records {
            let taken = instance.history.take(record.of("t.history"), record.written_ms);
            taken.map_err(|error| error.to_string())?;
            instance.read = record.offset + 1;
        }
        for selected in instance.history.replicated().filter(|_| !records.is_empty()) {
            let task = TableTask::new(&CONFIG, rules, &instance.history, selected)
                .map_err(|left| format!("{} is left out: {left:?}", selected.id))?;
            if let Some(topic) = instance.topics.get_mut(&selected.topic) {
                topic.set_task(task);
                continue;
            }
            let partitions = 0..i32::try_from(task.partitions).unwrap();
            let mut topic = Topic::new(task);
            for partition in partitions {
                let owner = owners.entry((selected.topic.clone(), partition));
                if *owner.or_insert_with(|| random.usize(..INSTANCES)) == number {
                    topic.assign(partition);
                }
            }
            instance.topics.insert(selected.topic.clone(), topic);
        }
        Ok(())
    }

    /// A partition goes to another instance; the one before may learn of it late, or never.
    fn rebalance(&mut self, random: &mut fastrand::Rng) {
        let Some((place, owner)) = random.choice(self.owners.iter_mut().collect::<Vec<_>>()) else { return };
        let (name, partition) = place;
        *owner = random.usize(..INSTANCES);
        let knows = random.bool();
        for (number, instance) in self.instances.iter_mut().enumerate() {
            let Some(topic) = instance.topics.get_mut(name) else { continue };
            if number == *owner {
                topic.assign(*partition);
            } else if knows {
                topic.revoke(*partition);
            }
        }
    }

    /// The topics are whole. What may still fail does for a while; then everything that is in them is merged, and is what the
    /// source has.
    pub(super) fn become_quiet(
        &mut self,
        kafka: &mut Kafka,
        source: &Source,
        random: &mut fastrand::Rng,
    ) -> Result<(), Violation> {
        for _ in 0..random.usize(0..NOISE) {
            self.step(kafka, random, false)?;
        }
        self.instances = Default::default();
        for number in 0..INSTANCES {
            self.learn(number, kafka, random)?;
        }
        for _ in 0..PATIENCE {
            let mut topics = self.instances[0].topics.values();
            if topics.all(|topic| self.warehouse.is_at_end(kafka, &topic.task)) {
                return self.warehouse.check(kafka, source);
            }
            for _ in 0..16 {
                self.step(kafka, random, true)?;
            }
        }
        Err("the warehouse does not come to rest".to_owned())
    }
}
