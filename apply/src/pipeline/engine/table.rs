//! One table in the loop: its state machine, the records that are held back, and what the consumer is told.

use super::event::Ask;
use super::loaded::AfterLoad;
use super::retries::Retries;
use super::standing::{OwnMarks, Standing};
use crate::batches::compact::Batch;
use crate::pipeline::flow::Flow;
use crate::pipeline::worker::TableMemory;
use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tributary_service::status::{Status, TableStatus};
use tributary_topics::consumer::GroupConsumer;
use tributary_warehouse::destination::TableError;
use tributary_warehouse::tables::fit::unknown_generation;
use tributary_warehouse::tables::task::TableTask;

/// How long a partition may be read though nothing of it may be taken, and how many records are held back.
const PATIENCE: Duration = Duration::from_secs(2);
const STASH_RECORDS: usize = 1_000;
/// How long a job may be out before its table stands still.
const STALLED: Duration = Duration::from_millis(500);

/// A table in the loop.
pub(crate) struct EngineTable {
    pub(super) task: Arc<TableTask>,
    pub(super) memory: Arc<TableMemory>,
    pub(super) flow: Flow<Batch>,
    pub(super) status: Arc<TableStatus>,
    /// What the whole service shows.
    pub(super) service: Status,
    pub(super) standing: Standing,
    pub(super) marks: OwnMarks,
    pub(super) retries: Retries,
    pub(super) partitions: BTreeMap<i32, Reading>,
    /// The generation that the last value schema id stood for.
    pub(super) last_schema: Option<(u32, u32)>,
    pub(super) raw_values: bool,
    /// Kafka's time of the oldest record that was taken and is not in the destination, and of the newest that is;
    /// milliseconds since 1970.
    pub(super) oldest_waiting_ms: Option<i64>,
    pub(super) oldest_flying_ms: Option<i64>,
    pub(super) newest_taken_ms: Option<i64>,
    /// Since when a job is out or tried again without having succeeded.
    pub(super) stuck_since: Option<Instant>,
    /// It stands still, and holds its share of the memory.
    pub(super) over: bool,
    /// The last view that was asked for when the offsets were read.
    pub(super) loaded_at: Option<u64>,
    /// Since when the brokers say that there is no such topic.
    pub(super) gone_since: Option<Instant>,
    /// Statistics and indexes.
    pub(super) after_load: AfterLoad,
    /// The destination has a generation that the history did not hold.
    pub(super) ahead: Option<Unknown>,
    /// To who follows the history of its task.
    requests: Sender<u64>,
}

/// What the loop keeps of an assigned partition.
#[derive(Default)]
pub(super) struct Reading {
    /// Records that were polled and may not be taken yet, in order.
    pub(super) stash: VecDeque<OwnedMessage>,
    /// The consumer does not read it.
    pub(super) paused: bool,
    /// Since when nothing of it may be taken.
    pub(super) blocked_since: Option<Instant>,
    /// The first of the stash has a schema that the history did not know.
    pub(super) unknown: Option<Unknown>,
    /// Where it stood when its end was last asked for: no progress since means that a gap may lie ahead.
    pub(super) seen: Option<i64>,
    /// Times in a row that the position was found behind the partition's end.
    pub(super) beyond_end: u32,
    /// The client may have stopped reading it: it has met an offset that a partition does not hold.
    pub(super) stopped: bool,
}

impl Reading {
    /// What the loop keeps of a partition that is assigned.
    pub(super) fn of(partitions: &mut BTreeMap<i32, Self>, partition: i32) -> &mut Self {
        partitions
            .get_mut(&partition)
            .unwrap_or_else(|| unreachable!("partition {partition} is not assigned"))
    }
}

/// A wait for the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The request to read on.
    pub(super) token: u64,
    /// The request was answered: the history does not hold what was looked for.
    pub(super) judged: bool,
}

impl Unknown {
    fn ask(tokens: &mut u64, requests: &Sender<u64>) -> Self {
        *tokens += 1;
        // A follower that is gone has ended the loop already.
        let _ = requests.send(*tokens);
        Self { token: *tokens, judged: false }
    }
}

impl EngineTable {
    /// What is tried again, in the words of the status.
    pub(super) fn retry_name(&self) -> String {
        format!("writing {}", self.task.target)
    }

    pub(super) fn new(
        task: TableTask,
        service: &Status,
        (limit, kafka): (Duration, Duration),
        requests: Sender<u64>,
    ) -> Self {
        let operations = task.operations;
        let status = service.table(&task.name);
        status.set_origin(&task.origin);
        status.set_target(format!("{}.{}", task.target.schema, task.target.table));
        Self {
            flow: Flow::new(task.barriers(), Box::new(move || Batch::new(operations))),
            raw_values: task.may_have_raw_values(),
            task: Arc::new(task),
            memory: Arc::default(),
            status,
            service: service.clone(),
            standing: Standing::Running,
            marks: OwnMarks::default(),
            retries: Retries::new(limit, kafka),
            partitions: BTreeMap::new(),
            last_schema: None,
            oldest_waiting_ms: None,
            oldest_flying_ms: None,
            newest_taken_ms: None,
            stuck_since: None,
            over: false,
            loaded_at: None,
            gone_since: None,
            after_load: AfterLoad::new(limit),
            ahead: None,
            requests,
        }
    }

    /// Takes over what the history says now.
    pub(super) fn set_task(&mut self, task: TableTask) {
        let recreated = task.incarnation != self.task.incarnation;
        if recreated {
            // The topic was created anew under this name: reading the offsets again says what to do.
            self.flow.reload();
            self.reopen();
        }
        if recreated || !task.generations.keys().eq(self.task.generations.keys()) {
            self.flow.set_barriers(task.barriers());
            self.raw_values = task.may_have_raw_values();
            if task.is_emptied_after(self.flow.done()) {
                self.begin_anew();
            }
        }
        self.task = Arc::new(task);
    }

    /// True if nothing of it has been written for longer than a merge takes: it is locked, or the server is slow.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stuck_since.is_some_and(|since| now.saturating_duration_since(since) > STALLED)
    }

    pub(super) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// True if records wait here though their partition is not paused for good.
    pub(super) fn holds_back(&self) -> bool {
        self.partitions.values().any(|reading| !reading.stash.is_empty())
    }

    pub(super) fn assign(&mut self, partition: i32) {
        self.partitions.insert(partition, Reading::default());
        self.flow.assign(&[partition]);
    }

    pub(super) fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.flow.revoke(&[partition]);
        self.reopen();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let stashed = |message: &OwnedMessage| {
            message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len)
        };
        let held: usize = self.partitions.values().flat_map(|reading| &reading.stash).map(stashed).sum();
        self.flow.bytes() + held
    }

    /// Sends the consumer where the destination's offsets are.
    pub(super) fn seek(&mut self, consumer: &GroupConsumer) {
        for (partition, offset) in self.flow.seeks() {
            let reading = Reading::of(&mut self.partitions, partition);
            if consumer.seek(&self.task.topic, partition, offset) {
                reading.stash.clear();
                reading.unknown = None;
                reading.seen = None;
                self.flow.sought(partition);
            }
        }
    }

    /// Pauses what may not be read, resumes what may. Short waits are sat out: a pause throws away what the client
    /// has fetched, and when nothing else is being fetched the client takes up to a second to resume.
    pub(super) fn sync_pauses(&mut self, consumer: &GroupConsumer, all: bool, now: Instant) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let parked = self.is_parked();
        for (partition, reading) in &mut self.partitions {
            let blocked = !reading.stash.is_empty() || !self.flow.accepts(*partition);
            reading.blocked_since = if blocked { reading.blocked_since.or(Some(now)) } else { None };
            let waited = reading.blocked_since.map_or(Duration::ZERO, |since| now.duration_since(since));
            let long = waited > PATIENCE || reading.stash.len() > STASH_RECORDS;
            let wanted = if reading.paused { !blocked } else { !long };
            // A partition that a barrier waits for is read even when memory is short: nothing else can free any.
            let spared = !blocked && self.flow.bytes() == 0;
            let wanted = wanted && (!all || spared) && !parked;
            if wanted == reading.paused {
                reading.paused = !wanted;
                if wanted { resume.push(*partition) } else { pause.push(*partition) }
            }
        }
        if !pause.is_empty() {
            consumer.set_paused(&self.task.topic, &pause, true);
        }
        if !resume.is_empty() {
            consumer.set_paused(&self.task.topic, &resume, false);
        }
    }

    /// Asks for the history to be read on, for the sake of a partition.
    pub(super) fn await_history(&mut self, partition: i32, tokens: &mut u64) {
        let reading = Reading::of(&mut self.partitions, partition);
        reading.unknown.get_or_insert_with(|| Unknown::ask(tokens, &self.requests));
    }

    /// Has the history read on while the destination has a generation that it does not hold. What is returned is why
    /// the table must be parked: even its end does not hold it.
    pub(super) fn follow_destination(&mut self, tokens: &mut u64) -> Option<TableError> {
        if !self.flow.is_ahead() || self.is_parked() {
            self.ahead = None;
            return None;
        }
        let ahead = self.ahead.get_or_insert_with(|| Unknown::ask(tokens, &self.requests));
        ahead.judged.then(|| unknown_generation(&self.task, self.flow.done()))
    }

    /// The history was read to the end it had after the request `token`, or has just grown.
    pub(super) fn history_read(&mut self, token: Option<u64>) {
        let waiting = self.partitions.values_mut().filter_map(|reading| reading.unknown.as_mut());
        for unknown in waiting.chain(self.ahead.as_mut()).filter(|unknown| Some(unknown.token) == token) {
            unknown.judged = true;
        }
    }

    /// A question about the ends of the partitions that run.
    pub(super) fn positions(&self) -> impl Iterator<Item = ((String, i32), i64)> {
        self.flow.partitions().filter_map(|partition| {
            Some(((self.task.topic.clone(), partition), self.flow.position(partition)?))
        })
    }

    /// A probe of a partition that has not moved though its end lies ahead.
    pub(super) fn probe(&self, partition: i32, end: i64) -> Option<Ask> {
        let position = self.flow.position(partition)?;
        Some(Ask::Probe { place: (self.task.topic.clone(), partition), position, end })
    }
}
