//! One session of a leader: from `init_transactions` through the stored state to the loop that feeds the sequencer.
//! Whatever ends it, nothing in memory outlives it: the next one starts from the checkpoint.

use super::driver::{self, Driver};
use super::seek::Seek;
use super::shared::{Shared, leader, producer_config};
use super::source::{self, Answer};
use super::stream::{self, StreamMessage, StreamRequest};
use super::target::Target;
use super::watch::{Wanted as WatchedTopics, Watch};
use crate::check::completeness::{self, Finding};
use crate::check::position::{ServerHistory, give_up_purged, resumable};
use crate::check::{Outcome, foreign_key_cascades, tables_deselected};
use crate::ddl;
use crate::remedies;
use crate::sequencer::bootstrap::{self, Beginning, Found, Wanted};
use crate::sequencer::halt::Halt;
use crate::sequencer::{Sequencer, Setup, Snapshot, SnapshotSettings, resume_from};
use crate::snapshot::reader::ReaderMessage;
use crate::topics::admin::{TopicSettings, Topics};
use crate::topics::lost;
use crate::topics::mirror::Mirror;
use crate::topics::producer::{Publisher, RefusedRecord};
use crate::topics::state::{TaskHistory, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tributary_config::TableSelection;
use tributary_schemas::checkpoint::{Checkpoint, StateKey};
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;
use tributary_schemas::record::RecordError;
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::exit::Failure;
use tributary_service::kafka;
use tributary_service::status::Role;
use tributary_source::dialect::SourceDialect;
use tributary_source::facts::{BinlogContents, Cascades};
use tributary_source::replication::default_server_id;

/// The sequencer is called at least this often.
const BEAT: Duration = Duration::from_millis(10);
/// How often the list of topics that are watched is compared with the tables there are.
const WATCHED: Duration = Duration::from_secs(1);
/// How long Kafka may say nothing to a transactional request, or acknowledge nothing.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the task's own topics may be read without a record.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Caught up, or asked to end.
    Done,
    /// Goes away by itself.
    Restart(String),
    /// Kafka fenced the producer, or its group took the lead away.
    Fenced(String),
    /// A topic does not take a record.
    Refused(RefusedRecord),
    /// A person must act.
    Stop(Box<Failure>),
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Restart(why) => Self::Restart(why),
            Halt::Fenced(why) => Self::Fenced(why),
            Halt::Refused(refused) => Self::Refused(refused),
            Halt::Stop(failure) => Self::Stop(failure),
        }
    }
}

/// What one session of a process leaves to the next.
#[derive(Default)]
pub(crate) struct Carried {
    /// Where `--until-caught-up` ends.
    target: Option<Target>,
    /// A session of this process has worked.
    has_led: bool,
    /// What the last one knows of the task's own topics.
    pub mirror: Option<Mirror>,
    /// What a topic of a table has refused: the next session parks the table.
    refused: Option<RefusedRecord>,
    /// Topics that have refused records in this process.
    refusing: BTreeSet<String>,
}

impl Carried {
    /// What has refused records is another's, or nobody's.
    pub(crate) fn forget_refused(&mut self) {
        self.refused = None;
    }

    /// A topic of a table stops the table, one of the task's own everything. True if it is met for the first time.
    pub(crate) fn refuse(&mut self, task: &str, refused: RefusedRecord) -> Result<bool, Failure> {
        if refused.topic == state_topic(task) || refused.topic == history_topic(task) {
            return Err(Failure::new("a topic of the task's own does not take a record", refused.reason)
                .at(format!("topic {}", refused.topic))
                .remedy(remedies::own_topic_refuses()));
        }
        let is_new = self.refusing.insert(refused.topic.clone());
        self.refused = Some(refused);
        Ok(is_new)
    }
}

/// Leads until something ends it. `progressed` is called once the session works.
pub(crate) fn lead(
    shared: &Shared,
    role: &watch::Receiver<Role>,
    carried: &mut Carried,
    progressed: &mut dyn FnMut(),
) -> End {
    match open(shared, carried) {
        Ok(session) => {
            progressed();
            carried.has_led = true;
            let (end, mirror) = session.run(shared, role, carried.target.as_ref());
            carried.mirror = mirror;
            end
        }
        Err(halt) => {
            if matches!(halt, Halt::Fenced(_)) {
                carried.mirror = None;
            }
            halt.into()
        }
    }
}

struct Session {
    sequencer: Sequencer,
    driver: Driver,
    stream: stream::Receiver,
    readers: mpsc::Receiver<(usize, ReaderMessage)>,
    watch: Watch,
    watched: WatchedTopics,
    last_watched: Instant,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Everything up to the loop.
fn open(shared: &Shared, carried: &mut Carried) -> Result<Session, Halt> {
    let task = shared.config.name.as_str();
    let (state_topic, history_topic) = (state_topic(task), history_topic(task));
    // First of all: ends what a predecessor left open, so that what is read next is the last word.
    let producer = producer_config(&shared.config);
    let wait = shared.status.wait("Kafka: fencing the leader of before");
    let mut publisher =
        Publisher::initialise(&producer, &state_topic, KAFKA_TIMEOUT)?.shown_in(shared.status.waits());
    let lead = leader(shared);
    let encode = |error: serde_json::Error| Halt::Restart(error.to_string());
    let key = serde_json::to_vec(&StateKey::Leader).map_err(encode)?;
    publisher.send_json(&state_topic, &key, Some(&serde_json::to_vec(&lead).map_err(encode)?))?;
    publisher.commit()?;
    drop(wait);
    let stored = |topic: &str| {
        kafka::read_to_end(&shared.config.kafka, &capture_group(task), topic, READ_TIMEOUT)
            .map_err(|error| Halt::Restart(error.to_string()))
    };
    let unreadable = |error: RecordError| {
        Halt::Stop(Box::new(Failure::new("the task's own topics cannot be read", error)))
    };
    let (state, history) = std::thread::scope(|scope| {
        let state = scope.spawn(|| stored(&state_topic));
        let history = stored(&history_topic);
        let gone = || Halt::Restart("the thread that reads the state topic is gone".to_owned());
        Ok::<_, Halt>((state.join().map_err(|_| gone())??, history?))
    })?;
    let mut mirror = Mirror::default();
    mirror.load(&state_topic, &state);
    mirror.load(&history_topic, &history);
    publisher.reflect(mirror);
    let state = TaskState::parse(&state_topic, &state.records).map_err(unreadable)?;
    let history = TaskHistory::parse(&history_topic, &history.records).map_err(unreadable)?;
    for schema in history.registered() {
        shared.registry.insert(schema);
    }
    let published = state.checkpoint.as_ref().map(Checkpoint::published).unwrap_or_default();
    let selection = selection(shared)?;
    judge_selection(shared, &history, &selection)?;
    // Asked behind the checkpoint: a predecessor may have published up to a moment ago, and the server's word must not be
    // older than that.
    let followed = history.followed();
    let asked = source::ask(&shared.source, &selection, &followed, &published);
    let Answer { dialect, ddl_session, server, contents, cascades, found } =
        shared.runtime.block_on(asked)?;
    judge_binlog(shared, &contents)?;
    if carried.has_led {
        warn_of_cascades(&cascades, &found);
    }
    let topics = topics(shared)?;
    let wait = shared.status.wait_within("Kafka: looking at the tables' topics", KAFKA_TIMEOUT);
    let lost = lost::lost(&topics, lost::known(&history, &state))?;
    drop(wait);
    let wanted = Wanted {
        selection: &selection,
        key_indexes: &shared.config.capture.keys,
        lost: &lost,
        // Who restarts capture has mended the cause; a broker that was away has not.
        retry_parked: !carried.has_led,
    };
    let stop = |failure| Halt::Stop(Box::new(failure));
    let mut beginning = bootstrap::begin(task, &state, &history, found, wanted).map_err(stop)?;
    if !server.has_gtid {
        // What is left of a time with GTIDs never grows again: every place would count as passed.
        beginning.checkpoint.position.gtid_set = GtidSet::default();
    }
    give_up_purged(&mut beginning.checkpoint, &server);
    resumable(&beginning.checkpoint, &server).map_err(stop)?;
    if carried.target.is_none() && shared.until_caught_up {
        carried.target = Some(Target::new(beginning_target(&server, &dialect, &beginning)));
    }
    let seek = Seek::of(&beginning.checkpoint, &server);
    let refused = carried.refused.take();
    start(shared, (&dialect, ddl_session), (publisher, topics), (beginning, seek), refused)
}

fn topics(shared: &Shared) -> Result<Topics, Halt> {
    Topics::new(&kafka::client_config(&shared.config.kafka), shared.runtime.clone())
        .map_err(|error| Halt::Restart(error.to_string()))
}

/// The task may have got tables since the check at the start of the process: while an instance stood by with another file.
fn judge_selection(shared: &Shared, history: &TaskHistory, selection: &TableSelection) -> Result<(), Halt> {
    let item = tables_deselected(history.selection.as_ref(), selection, &shared.deselect);
    if item.outcome == Outcome::Fail {
        let what = "the configuration leaves out tables of the task";
        return Err(Halt::stop(what, &item.name, &item.found, &item.remedy));
    }
    Ok(())
}

/// A session may be with another server than the one that the check at the start of the process was with.
fn judge_binlog(shared: &Shared, contents: &BinlogContents) -> Result<(), Halt> {
    let refused = completeness::findings(contents)
        .into_iter()
        .find(|finding| finding.remedy.is_some() && !shared.ignore.iter().any(|name| name == finding.name));
    match refused {
        Some(Finding { name, found, remedy }) => Err(Halt::stop(
            "the source's binlog does not hold the tables",
            format!("{} ({name})", shared.source.address()),
            found,
            remedy.unwrap_or_default(),
        )),
        None => Ok(()),
    }
}

/// The check at the start of the process said it of the server of then.
fn warn_of_cascades(cascades: &Cascades, found: &Found) {
    let selected = found.catalogs.iter().map(|table| table.id.clone()).collect();
    let item = foreign_key_cascades(cascades, &selected);
    if item.outcome != Outcome::Pass {
        tracing::warn!(item = %item.name, remedy = %item.remedy, "check: {}", item.found);
    }
}

/// Where the source stood when the process started.
fn beginning_target(server: &ServerHistory, dialect: &SourceDialect, beginning: &Beginning) -> Position {
    let mut position = beginning.checkpoint.position.clone();
    if server.has_gtid {
        position.gtid_set = server.executed.clone();
    } else if let Some(last) = dialect.binary_logs.last() {
        (position.file, position.offset) = (last.name.clone(), last.size_bytes);
    }
    position
}

fn selection(shared: &Shared) -> Result<TableSelection, Halt> {
    TableSelection::new(&shared.config).map_err(|issues| {
        let lines: Vec<String> =
            issues.iter().map(|issue| format!("{}: {}", issue.key, issue.message)).collect();
        Halt::Stop(Box::new(Failure::new("the configuration selects nothing", lines.join("; "))))
    })
}

fn start(
    shared: &Shared,
    (dialect, ddl_session): (&SourceDialect, ddl::Session),
    (publisher, topics): (Publisher, Topics),
    (beginning, seek): (Beginning, Option<Seek>),
    refused: Option<RefusedRecord>,
) -> Result<Session, Halt> {
    let config = &shared.config;
    let setup = setup(shared, dialect, ddl_session)?;
    let checkpoint = &beginning.checkpoint;
    let from = if dialect.has_gtid() { checkpoint.position.clone() } else { resume_from(checkpoint) };
    let request = StreamRequest {
        position: from.clone(),
        by_gtid: dialect.has_gtid(),
        seek,
        selection: Arc::new(setup.selection.clone()),
        server_id: shared.source_config.server_id.unwrap_or_else(|| default_server_id(&config.name)),
        heartbeat: Duration::from_millis(shared.source_config.heartbeat_ms),
        read_deadline: Duration::from_millis(shared.source_config.read_deadline_ms),
    };
    let (stream_sender, stream) = stream::channel();
    let mut tasks = vec![shared.runtime.spawn(stream::run(shared.source.clone(), request, stream_sender))];
    let (reader_sender, readers) = mpsc::channel(usize::try_from(config.capture.readers).unwrap_or(4) * 2);
    let kafka = (publisher, topics, setup.topic.clone());
    let mut driver = Driver::start(shared, kafka, &reader_sender, &mut tasks);
    let now = driver::now();
    let settings = SnapshotSettings {
        chunk_bytes: config.capture.chunk_bytes,
        memory_bytes: setup.memory_bytes / 2,
        shared_lock: (!dialect.has_gtid()).then_some(dialect.shared_lock),
    };
    let count = usize::try_from(config.capture.readers).unwrap_or(1);
    let snapshot = Snapshot::new(count, settings, now.instant);
    let mut sequencer = Sequencer::new(setup, snapshot, beginning, (&dialect.server_uuid, now))?;
    sequencer.resume_at(&from);
    driver.decide(&mut sequencer, async |sequencer| {
        if let Some(refused) = &refused {
            sequencer.park_refused(refused)?;
        }
        sequencer.take_bearings().await
    })?;
    let watch = Watch::start(self::topics(shared)?)
        .map_err(|error| Halt::Restart(format!("no thread that watches the topics: {error}")))?;
    Ok(Session {
        sequencer,
        driver,
        stream,
        readers,
        watch,
        watched: WatchedTopics::new(),
        last_watched: Instant::now(),
        tasks,
    })
}

fn setup(shared: &Shared, dialect: &SourceDialect, ddl_session: ddl::Session) -> Result<Setup, Halt> {
    let config = &shared.config;
    let task = config.name.to_string();
    let selection =
        TableSelection::new(config).map_err(|_| Halt::Restart("the selection changed".to_owned()))?;
    let retention_ms = config.topics.retention_ms();
    Ok(Setup {
        leader: leader(shared),
        history_topic: history_topic(&task).into(),
        state_topic: state_topic(&task).into(),
        task,
        selection,
        key_indexes: config.capture.keys.clone(),
        explicit_timestamps: ddl_session.explicit_timestamps,
        session: ddl_session,
        lowercase_names: dialect.lower_case_table_names() != 0,
        hidden_row_ids: dialect.polardb,
        commit_interval: Duration::from_millis(config.capture.commit_interval_ms),
        commit_bytes: usize::try_from(config.capture.commit_bytes).unwrap_or(usize::MAX),
        memory_bytes: usize::try_from(config.capture.memory_bytes).unwrap_or(usize::MAX),
        strict: config.strict,
        topic: TopicSettings {
            partitions: config.topics.partitions,
            replication_factor: u32::from(config.topics.replication_factor),
            max_message_bytes: usize::try_from(config.topics.max_message_bytes).unwrap_or(usize::MAX),
            min_compaction_lag_ms: retention_ms,
            delete_retention_ms: retention_ms,
        },
        status: shared.status.clone(),
        registry: shared.registry.clone(),
    })
}

enum Input {
    Stream(StreamMessage),
    Reader((usize, ReaderMessage)),
    Nothing,
    StreamGone,
}

impl Session {
    fn run(
        mut self,
        shared: &Shared,
        role: &watch::Receiver<Role>,
        target: Option<&Target>,
    ) -> (End, Option<Mirror>) {
        let fed = self.feed(shared, role, target);
        // Another has written since, or may have.
        let fenced = matches!(fed, Err(Halt::Fenced(_)));
        let end = fed.unwrap_or_else(End::from);
        match end {
            End::Done => {}
            _ => self.driver.abort(),
        }
        for task in &self.tasks {
            task.abort();
        }
        (end, self.driver.close().filter(|_| !fenced))
    }

    fn feed(
        &mut self,
        shared: &Shared,
        role: &watch::Receiver<Role>,
        target: Option<&Target>,
    ) -> Result<End, Halt> {
        let mut last_beat = Instant::now();
        loop {
            let input = self.next(&shared.runtime);
            let drained = matches!(input, Input::Nothing);
            match input {
                Input::Stream(StreamMessage::Events(events)) => {
                    self.decide(async |sequencer| sequencer.on_events(&events, driver::now()).await)?;
                    self.stream.give_back(events);
                }
                Input::Stream(StreamMessage::Damaged(error)) => return Err(error.into()),
                Input::Stream(StreamMessage::Failed(error)) => return Err(error.into()),
                Input::Reader(message) => {
                    self.decide(async |sequencer| sequencer.on_reader(message, driver::now()).await)?;
                }
                Input::StreamGone => return Err(Halt::Restart("the binlog stream ended".to_owned())),
                Input::Nothing => {}
            }
            let now = Instant::now();
            if drained || now.saturating_duration_since(last_beat) >= BEAT {
                last_beat = now;
                self.decide(async |sequencer| sequencer.tick(driver::now()).await)?;
                self.driver.serve()?;
                self.watch_topics(shared)?;
                if *role.borrow() == Role::Standby {
                    return Ok(End::Fenced("Kafka's group took the lead away".to_owned()));
                }
                if shared.shutdown.requested()
                    || target.is_some_and(|target| target.is_reached(&self.sequencer))
                {
                    return self.decide(async |sequencer| {
                        sequencer.finish().await;
                        Ok(End::Done)
                    });
                }
            }
        }
    }

    fn decide<T>(
        &mut self,
        decision: impl AsyncFnOnce(&mut Sequencer) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        self.driver.decide(&mut self.sequencer, decision)
    }

    fn watch_topics(&mut self, shared: &Shared) -> Result<(), Halt> {
        if let Some(seen) = self.watch.seen() {
            self.decide(async |sequencer| sequencer.on_topics(&seen).await)?;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.last_watched) >= WATCHED {
            self.last_watched = now;
            let wanted = self.sequencer.watched_topics();
            if wanted != self.watched && self.watch.want(wanted.clone()) {
                shared.groups.want(wanted.clone());
                self.watched = wanted;
            }
        }
        Ok(())
    }

    fn next(&mut self, runtime: &tokio::runtime::Handle) -> Input {
        runtime.block_on(async {
            tokio::select! {
                message = self.stream.recv() => message.map_or(Input::StreamGone, Input::Stream),
                Some(message) = self.readers.recv() => Input::Reader(message),
                () = tokio::time::sleep(BEAT) => Input::Nothing,
            }
        })
    }
}
