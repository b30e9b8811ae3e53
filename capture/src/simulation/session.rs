//! How a session of the simulation begins, as the real one does, and how its actions are carried out.

use super::binlog::Stream;
use super::kafka::Kafka;
use super::model::Own;
use super::readers::Job;
use super::schedule::Fault;
use super::source::{Source, catalog};
use crate::check::position::{ServerHistory, give_up_purged, resumable};
use crate::ddl;
use crate::pipeline::seek::Seek;
use crate::sequencer::bootstrap::{self, Found, Wanted};
use crate::sequencer::halt::Halt;
use crate::sequencer::port::{Action, Answered, Committed};
use crate::sequencer::{Now, Sequencer, Setup, Snapshot, SnapshotSettings};
use crate::topics::admin::TopicSettings;
use crate::topics::incarnation;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tributary_config::{Config, TableSelection};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::Leader;
use tributary_service::Service;
use tributary_service::registry::Registry;
use tributary_service::status::Status;

/// Partitions of a table's topic.
const PARTITIONS: u32 = 2;
/// Readers of a session.
const READERS: usize = 2;

/// Of both services.
pub(super) static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[capture]\ntables = [\"shop.*\"]\n[[table]]\nsource = \"shop.*\"";
    toml::from_str(config).unwrap()
});

/// What a session consists of.
pub(super) struct Session {
    pub(super) sequencer: Sequencer,
    pub(super) stream: Stream,
    pub(super) jobs: Vec<Option<Job>>,
}

/// What outlives a session.
pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) source: Source,
    pub(super) kafka: Kafka,
    pub(super) fault: Fault,
    /// Nothing new happens, and nothing fails.
    pub(super) quiet: bool,
    /// The process may end at any action: one in so many.
    pub(super) crash_in: u32,
    pub(super) elapsed: Duration,
    pub(super) began: Instant,
    /// Something was committed since the last look.
    pub(super) committed: bool,
    /// What the keys of windows, and all else, may take, bytes.
    pub(super) windows_bytes: usize,
    pub(super) memory_bytes: usize,
    /// How long an apply may lag, milliseconds.
    pub(super) lag_ms: u64,
}

fn crash() -> Halt {
    Halt::Restart("the process ended".to_owned())
}

fn setup(memory_bytes: usize, lag_ms: u64) -> Setup {
    let leader =
        Leader { format: FORMAT_VERSION, instance: "i".to_owned(), address: "a".to_owned(), beat: None };
    Setup {
        task: "t".to_owned(),
        leader,
        history_topic: "t.history".into(),
        state_topic: "t.state".into(),
        selection: TableSelection::new(&CONFIG).unwrap(),
        key_indexes: BTreeMap::new(),
        session: ddl::Session {
            mode: ddl::SqlMode::default(),
            explicit_timestamps: true,
            database_collation: "utf8mb4_0900_ai_ci".to_owned(),
            utf8mb4_collation: "utf8mb4_0900_ai_ci".to_owned(),
            utf8_name: "utf8mb3".to_owned(),
        },
        explicit_timestamps: true,
        lowercase_names: false,
        hidden_row_ids: false,
        commit_interval: Duration::from_millis(100),
        commit_bytes: 4096,
        memory_bytes,
        strict: false,
        topic: TopicSettings {
            partitions: PARTITIONS,
            replication_factor: 1,
            max_message_bytes: 1 << 20,
            min_compaction_lag_ms: lag_ms,
            delete_retention_ms: lag_ms,
        },
        status: Status::new("t", Service::Capture),
        registry: Registry::default(),
    }
}

impl World {
    pub(super) fn now(&self) -> Now {
        let wall_ms = 1_700_000_000_000 + i64::try_from(self.elapsed.as_millis()).unwrap();
        Now { instant: self.began + self.elapsed, wall_ms }
    }

    /// Where one schedule is replayed, says what happens.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.source.tells {
            eprintln!("{}", what());
        }
    }

    fn crashes(&mut self) -> bool {
        !self.quiet && self.crash_in > 0 && self.random.u32(0..self.crash_in) == 0
    }

    /// A session begins: what a dead one left open is ended, what is stored is read, and the source is asked.
    pub(super) fn open(&mut self) -> Result<Session, Halt> {
        self.kafka.end(false);
        self.kafka.ensure("t.state", 1);
        self.kafka.ensure("t.history", 1);
        let Own { mut state, history } = Own::read(&self.kafka);
        if self.fault == Fault::ForgetParts
            && let Some(checkpoint) = &mut state.checkpoint
        {
            checkpoint.partials.clear();
        }
        if self.fault == Fault::ForgetUndecided
            && let Some(checkpoint) = &mut state.checkpoint
        {
            for undecided in &mut checkpoint.undecided {
                let gtid = undecided.gtid.as_ref().unwrap().parse().unwrap();
                checkpoint.position.gtid_set.insert(&gtid);
                undecided.tables.clear();
            }
        }
        if self.fault == Fault::ForgetGaps {
            state.parked.clear();
        }
        if let Some(checkpoint) = &state.checkpoint {
            self.source.commit_those(&checkpoint.published());
        }
        let place = self.source.place();
        let server = ServerHistory {
            server_uuid: place.server_uuid.clone(),
            has_gtid: true,
            executed: place.gtid_set.clone(),
            purged: self.source.server.purged.clone(),
            files: self.source.server.files(),
        };
        let setup = setup(self.memory_bytes, self.lag_ms);
        let tables = self.source.visible.tables.iter().filter(|(id, _)| setup.selection.selects(id));
        let catalogs = tables.map(|(id, table)| catalog(id, table)).collect();
        let found = Found { catalogs, place: place.clone(), started: Some(1) };
        let wanted = Wanted {
            selection: &setup.selection,
            key_indexes: &BTreeMap::new(),
            lost: &BTreeMap::new(),
            retry_parked: self.random.bool(),
        };
        let stop = |failure| Halt::Stop(Box::new(failure));
        let mut beginning = bootstrap::begin("t", &state, &history, found, wanted).map_err(stop)?;
        give_up_purged(&mut beginning.checkpoint, &server);
        resumable(&beginning.checkpoint, &server).map_err(stop)?;
        let from = beginning.checkpoint.position.clone();
        let seek = Seek::of(&beginning.checkpoint, &server).is_some();
        let settings =
            SnapshotSettings { chunk_bytes: 1, memory_bytes: self.windows_bytes, shared_lock: None };
        let snapshot = Snapshot::new(READERS, settings, self.now().instant);
        let origin = (place.server_uuid.as_str(), self.now());
        let mut sequencer = Sequencer::new(setup, snapshot, beginning, origin)?;
        sequencer.resume_at(&from);
        let stream = Stream::new(&self.source.server, &from, seek);
        let mut session = Session { sequencer, stream, jobs: (0..READERS).map(|_| None).collect() };
        self.decide(&mut session, async |sequencer| sequencer.take_bearings().await)?;
        Ok(session)
    }

    /// Brings a decision to its end.
    pub(super) fn decide<T>(
        &mut self,
        session: &mut Session,
        decision: impl AsyncFnOnce(&mut Sequencer) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let port = session.sequencer.port();
        let decided = port.run(decision(&mut session.sequencer), |action| self.carry_out(action))?;
        for (reader, order) in session.sequencer.take_orders() {
            let table = session.sequencer.table_of(order.id).expect("the order is out");
            assert!(session.jobs[reader].is_none(), "the reader was idle");
            session.jobs[reader] = Some(Job::new(order, table));
        }
        if self.fault == Fault::PublishTouchedRows {
            session.sequencer.forget_touched();
        }
        Ok(decided)
    }

    fn carry_out(&mut self, action: Action) -> Result<(), Halt> {
        if self.crashes() {
            return Err(crash());
        }
        // The world does not stand still for a question.
        if !self.quiet && self.random.bool() {
            if self.random.bool() {
                self.source.begin(&mut self.random)
            } else {
                self.source.commit(&mut self.random)
            }
        }
        let written_ms = self.now().wall_ms;
        self.tell(|| match &action {
            Action::Publish(_) => "publish".to_owned(),
            Action::Commit(_) => "commit".to_owned(),
            other => format!("{other:?}"),
        });
        match action {
            Action::Publish(call) => {
                let (mut outbox, reply) = call.split();
                self.kafka.send(&outbox, written_ms);
                outbox.sent();
                reply.answer(outbox);
            }
            Action::Commit(call) => {
                let (mut outbox, reply) = call.split();
                self.kafka.send(&outbox, written_ms);
                if self.crashes() {
                    // The process ended before, the broker has aborted it, or another producer has come.
                    self.kafka.end(false);
                    return Err(if self.random.bool() { crash() } else { Halt::Fenced("fenced".to_owned()) });
                }
                if self.fault == Fault::CommitInParts && self.random.u8(0..4) == 0 {
                    self.kafka.end_in_part();
                    self.committed = true;
                    return Err(crash());
                }
                self.kafka.end(true);
                self.committed = true;
                self.elapsed += Duration::from_millis(1);
                if self.crashes() {
                    // It is committed, and the answer is lost.
                    return Err(crash());
                }
                outbox.committed();
                reply.answer(Committed { outbox, took: Duration::from_millis(1) });
            }
            Action::Ends(call) => {
                let ends = |(topic, _): &(std::sync::Arc<str>, u32)| match self.fault {
                    Fault::TakeBarriersEarly => self.kafka.ends_before(topic),
                    _ => self.kafka.ends(topic),
                };
                let ends = call.question.iter().map(ends).collect();
                call.answer(ends);
            }
            Action::Cluster(call) => call.answer(self.kafka.cluster()),
            Action::Look(call) => {
                let found = call
                    .question
                    .iter()
                    .map(|(topic, _)| incarnation::Found::Ends(self.kafka.ends(topic)))
                    .collect();
                call.answer(Some(found));
            }
            Action::Ensure(call) => {
                let made =
                    call.question.iter().map(|topic| Ok(self.kafka.ensure(topic, PARTITIONS))).collect();
                call.answer(made);
            }
            Action::Definition(call) => {
                if self.fault != Fault::AskBeforeCommit {
                    self.source.commit_those(&call.question.reached);
                }
                let id = &call.question.id;
                let found = self.source.visible.tables.get(id);
                let answer = found.map(|table| (catalog(id, table), self.source.place()));
                let took = Duration::from_millis(self.random.u64(0..3000));
                self.elapsed += took;
                call.answer(Answered { answer, took });
            }
            Action::SourcePosition(call) => {
                let place = if self.fault == Fault::CompleteWithoutStream {
                    tributary_schemas::position::Position::default()
                } else {
                    self.source.place()
                };
                call.answer(place);
            }
            Action::Reach(call) => call.answer(()),
        }
        Ok(())
    }
}
