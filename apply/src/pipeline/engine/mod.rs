//! The loop that connects the group's consumer, the tables' state machines and the jobs. One thread owns all of it;
//! jobs run on the runtime and report back through a channel. Decisions are made in [`super::flow`], not here.

mod beats;
mod ends;
mod event;
mod group;
mod index;
mod jobs;
mod loaded;
mod origins;
mod records;
mod retries;
mod selection;
mod standing;
mod table;
mod tables;
mod topics;
mod transition;

pub(crate) use event::{Ask, Event};
pub(crate) use index::TableIndex;
pub(crate) use origins::{Origin, Origins};
pub(crate) use table::EngineTable;

use tables::Tables;

use super::worker::Worker;
use crate::batches::flush::{FlushLimits, MemoryBudget};
use rdkafka::{ClientConfig, Message};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tributary_config::{Config, TableRules};
use tributary_service::exit::Failure;
use tributary_service::registry::Registry;
use tributary_service::retry::{Backoff, Policy};
use tributary_service::shutdown::{Shutdown, ShutdownHandle};
use tributary_service::status::Status;
use tributary_topics::consumer::GroupConsumer;
use tributary_topics::members::Company;

/// Records and bytes after which the loop looks at everything else again.
const ROUND_RECORDS: u32 = 2_000;
const ROUND_BYTES: usize = 8 << 20;
/// How long a poll waits while jobs are out, and while nothing is.
const POLL_BUSY: Duration = Duration::from_millis(2);
const POLL_IDLE: Duration = Duration::from_millis(20);
/// How long memory may be short before partitions are paused: a pause throws away what the client has fetched.
const PRESSED_PATIENCE: Duration = Duration::from_secs(1);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

/// What the loop works with.
pub(crate) struct EngineContext {
    /// The configuration.
    pub config: Arc<Config>,
    /// `[[table]]`.
    pub rules: TableRules,
    /// Carries out jobs.
    pub worker: Arc<Worker>,
    /// Reads the tables' topics.
    pub consumer: GroupConsumer,
    /// Settings of its successor, without what makes it a member.
    pub client: ClientConfig,
    /// Where jobs run.
    pub runtime: Handle,
    /// What is shown.
    pub status: Status,
    /// Schemas that are served.
    pub registry: Registry,
    /// When to end.
    pub shutdown: Shutdown,
    /// What comes in.
    pub events: Receiver<Event>,
    /// For the jobs to report to.
    pub sender: Sender<Event>,
    /// Questions to the brokers.
    pub asks: Sender<Ask>,
    /// The end of the topics is waited for: offsets without rows are stored at once.
    pub until_caught_up: bool,
    /// That end was reached: the run ends as soon as what follows the loads is done.
    pub caught_up: Arc<AtomicBool>,
    /// To ask for the end with.
    pub handle: ShutdownHandle,
}

/// The loop's state.
pub(crate) struct Engine {
    context: EngineContext,
    tables: Tables,
    origins: Origins,
    limits: FlushLimits,
    budget: MemoryBudget,
    /// How often parked tables are tried again.
    retry_parked: Duration,
    pressed_since: Option<Instant>,
    all_paused: bool,
    tokens: u64,
    draining: Option<Instant>,
    beats: beats::Beats,
    /// Failures of Kafka in a row.
    kafka: Backoff,
    /// Other destinations in the group.
    company: Company,
    membership: group::Membership,
    subscribed: Vec<String>,
    /// One clone for each reason for parking that is being stored.
    storing: Arc<()>,
    /// Tables whose topics were found to have more partitions than the history says.
    grown: Vec<TableIndex>,
    /// Which topics are asked for next.
    roll: topics::Roll,
}

impl Engine {
    /// A loop that knows the histories, and the bookkeeping's epoch, as they were read.
    #[must_use]
    pub(crate) fn new(context: EngineContext, origins: Origins, epoch: i64) -> Self {
        let apply = &context.config.apply;
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let limits = FlushLimits {
            keys: number(apply.flush_rows),
            bytes: number(apply.flush_bytes),
            age: Duration::from_millis(apply.flush_interval_ms),
        };
        let retry_parked = Duration::from_millis(apply.retry_parked_ms);
        let budget = MemoryBudget::new(number(apply.memory_bytes));
        let kafka = Backoff::new(Policy::for_limit(context.config.kafka.retry()));
        Self {
            context,
            tables: Tables::default(),
            origins,
            limits,
            budget,
            retry_parked,
            pressed_since: None,
            all_paused: false,
            tokens: 0,
            draining: None,
            beats: beats::Beats::new(Instant::now(), epoch),
            kafka,
            company: Company::default(),
            membership: group::Membership::new(Instant::now()),
            subscribed: Vec::new(),
            storing: Arc::new(()),
            grown: Vec::new(),
            roll: topics::Roll::default(),
        }
    }

    /// Runs until the end is asked for, or something fails that concerns more than a table.
    ///
    /// # Errors
    /// What ended it.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        self.refresh_tables()?;
        loop {
            let now = Instant::now();
            self.take_events(now)?;
            if self.drained(now) {
                return Ok(());
            }
            self.beat(now);
            self.end_if_caught_up(now);
            self.park_grown()?;
            let pressed = self.watch_memory(now);
            for index in self.tables.indexes() {
                self.attend(index, pressed, now)?;
            }
            if pressed && !self.all_paused || self.draining.is_some() {
                // Nothing more fits: wait for a job, with what was fetched left in the client.
                if let Ok(event) = self.context.events.recv_timeout(POLL_IDLE) {
                    self.take_event(event, now)?;
                }
            } else {
                self.poll(now)?;
            }
        }
    }

    fn take_events(&mut self, now: Instant) -> Result<(), Failure> {
        while let Ok(event) = self.context.events.try_recv() {
            self.take_event(event, now)?;
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event, now: Instant) -> Result<(), Failure> {
        match event {
            Event::History { history, schemas, token } => self.take_history(history, schemas, token),
            Event::Done { table, result } => self.take_outcome(table, result, now),
            Event::Ends(ends) => {
                self.take_ends(&ends);
                Ok(())
            }
            Event::Lows(lows) => self.take_lows(&lows),
            Event::Members(client_ids) => self.take_members(client_ids.as_deref(), now),
            Event::Probed { place, position, next } => {
                let index = self.tables.of(&place.0);
                let table = &mut self.tables[index];
                if table.flow.position(place.1) == Some(position) {
                    table.flow.observe(place.1, next, None);
                }
                Ok(())
            }
            Event::Topics(topics) => self.take_topics(topics, now),
            Event::View(view) => self.take_view(view),
            Event::Marked { table, marked } => {
                self.marked(table, marked);
                Ok(())
            }
            Event::AfterLoad { table, attempt, result } => {
                self.after_load_ended(table, attempt, &result, now);
                Ok(())
            }
            Event::KafkaFailed(error) => self.kafka_failed(&error, now),
            Event::Fatal(failure) => Err(failure),
        }
    }

    /// True once a drain that was asked for has come to its end.
    fn drained(&mut self, now: Instant) -> bool {
        if self.draining.is_none() && self.context.shutdown.requested() {
            self.draining = Some(now);
        }
        let Some(since) = self.draining else { return false };
        let done = self.tables.iter().all(|table| table.flow.is_written());
        let done = done && Arc::strong_count(&self.storing) == 1;
        if done || now.duration_since(since) > DRAIN {
            self.commit_to_kafka();
            return true;
        }
        false
    }

    /// True if memory is short. After a while of that, partitions are paused so that polling can go on. A table that stands
    /// still beside others is held to its share before.
    fn watch_memory(&mut self, now: Instant) -> bool {
        let alone = self.tables.iter().filter(|table| table.has_partitions()).count() < 2;
        let bytes: Vec<usize> = self.tables.iter().map(EngineTable::bytes).collect();
        let held: usize = bytes.iter().sum();
        let mut stalled = 0;
        for (table, bytes) in self.tables.iter_mut().zip(bytes) {
            let still = !alone && table.is_stalled(now);
            table.over = still && self.budget.is_over(bytes, held, table.over);
            stalled += if still { bytes } else { 0 };
        }
        let pressed = self.budget.observe(self.budget.counted(stalled, held - stalled));
        if pressed {
            let since = *self.pressed_since.get_or_insert(now);
            self.all_paused = now.duration_since(since) > PRESSED_PATIENCE;
        } else {
            self.pressed_since = None;
            self.all_paused = false;
        }
        pressed
    }

    /// One table's turn: seeks, records that were held back, pauses, the next job.
    fn attend(&mut self, index: TableIndex, pressed: bool, now: Instant) -> Result<(), Failure> {
        let table = &mut self.tables[index];
        if !table.has_partitions() {
            return Ok(());
        }
        table.try_again(now);
        if let Some(error) = table.closed() {
            return self.park(index, error);
        }
        if let Some(error) = table.follow_destination(&mut self.tokens) {
            return self.park(index, error);
        }
        let closing = table.is_closing();
        table.seek(&self.context.consumer);
        self.drain_stash(index, now);
        let (all_paused, draining) = (self.all_paused, self.draining.is_some());
        let table = &mut self.tables[index];
        table.sync_pauses(&self.context.consumer, all_paused || table.over, now);
        self.start_job(index, pressed || draining || closing, now);
        Ok(())
    }

    /// One round of records.
    fn poll(&mut self, now: Instant) -> Result<(), Failure> {
        let busy = self.tables.iter().any(|table| table.flow.is_flying() || table.holds_back());
        let mut timeout = if busy { POLL_BUSY } else { POLL_IDLE };
        let mut bytes = 0;
        for _ in 0..ROUND_RECORDS {
            // The message borrows the consumer, and the tables change: both are fields of their own.
            let polled = self.context.consumer.poll(timeout);
            timeout = Duration::ZERO;
            let judged = match polled {
                None => None,
                Some(Ok(message)) => {
                    bytes += message.payload_len() + message.key_len();
                    let index = self.tables.of(message.topic());
                    let table = &mut self.tables[index];
                    let foreign = table.receive(&message, &mut self.tokens, now);
                    Some(Ok(foreign.map(|error| (index, error))))
                }
                Some(Err(error)) => Some(Err(error)),
            };
            let rebalanced = self.take_assignments();
            match judged {
                None if !rebalanced => break,
                None | Some(Ok(None)) => {}
                Some(Ok(Some((index, error)))) => self.close(index, error),
                Some(Err(error)) => self.consumer_failed(&error, now)?,
            }
            if bytes > ROUND_BYTES || rebalanced {
                break;
            }
        }
        Ok(())
    }
}
