//! What happens by the clock: positions are compared with ends, the bookkeeping is looked at, offsets are stored for
//! idle partitions and for lag tools, and the status is told.

use super::ends::asked_about;
use super::{Ask, Engine, Event};
use crate::remedies;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tributary_schemas::history::{Cause, RegisteredSchema};
use tributary_service::exit::Failure;
use tributary_service::kafka::TopicPartition;
use tributary_service::status::{Role, State, TableState};
use tributary_topics::history::History;
use tributary_topics::members::LOOKS;
use tributary_warehouse::bookkeeping::TaskView;

/// The consumer's own positions, transaction markers included.
const POSITIONS: Duration = Duration::from_millis(100);
/// Ends of partitions; the second while the end is waited for.
const ENDS: Duration = Duration::from_secs(2);
const ENDS_HURRIED: Duration = Duration::from_millis(200);
/// The bookkeeping; the second while a partition waits for others at a barrier.
const VIEW: Duration = Duration::from_secs(2);
const VIEW_HURRIED: Duration = Duration::from_millis(200);
/// Offsets that no row stands behind, and the mark that a partition was at its end.
const ADVANCE: Duration = Duration::from_secs(60);
/// Offsets for lag tools.
const COMMIT: Duration = Duration::from_secs(5);
/// Who is in the group, while this instance has no partitions.
const LOOKS_HURRIED: Duration = Duration::from_secs(2);
/// A few topics, whether they are there.
const TOPICS: Duration = Duration::from_secs(1);
/// States and lags.
const STATUS: Duration = Duration::from_millis(500);
/// A table that lags less than this follows the stream.
const FOLLOWING: Duration = Duration::from_secs(10);

/// When each was last done.
pub(super) struct Beats {
    positions: Instant,
    ends: Instant,
    pub(super) ends_asked: bool,
    view: Instant,
    view_asked: bool,
    /// Views that were asked for.
    views: u64,
    advance: Instant,
    commit: Instant,
    members: Instant,
    topics: Instant,
    status: Instant,
    /// The epoch that is known.
    epoch: i64,
}

impl Beats {
    pub(super) const fn new(now: Instant, epoch: i64) -> Self {
        Self {
            positions: now,
            ends: now,
            ends_asked: false,
            view: now,
            view_asked: false,
            views: 0,
            advance: now,
            commit: now,
            members: now,
            topics: now,
            status: now,
            epoch,
        }
    }

    /// The number of the last view that was asked for; one is out at a time.
    pub(super) const fn views(&self) -> u64 {
        self.views
    }
}

/// True, and the clock set anew, if `interval` has passed.
fn due(last: &mut Instant, interval: Duration, now: Instant) -> bool {
    let due = now.duration_since(*last) >= interval;
    if due {
        *last = now;
    }
    due
}

impl Engine {
    pub(super) fn beat(&mut self, now: Instant) {
        let hurried = self.context.until_caught_up;
        if due(&mut self.beats.positions, POSITIONS, now) {
            self.observe_positions();
        }
        let waits = self.tables.iter().any(|table| table.flow.barriers().newest() > table.flow.done());
        let ends = if hurried || waits { ENDS_HURRIED } else { ENDS };
        if !self.beats.ends_asked && due(&mut self.beats.ends, ends, now) {
            let positions = self.tables.iter().flat_map(|table| table.positions()).collect();
            self.beats.ends_asked = true;
            self.ask(Ask::Ends(asked_about(positions, self.origins.topics())));
        }
        let waits = self.tables.iter().any(|table| table.flow.waits_for_others());
        let view = if waits { VIEW_HURRIED } else { VIEW };
        if !self.beats.view_asked && due(&mut self.beats.view, view, now) {
            self.beats.view_asked = true;
            self.beats.views += 1;
            self.ask_view();
        }
        if due(&mut self.beats.advance, ADVANCE, now) || hurried {
            self.tables.iter_mut().for_each(|table| table.flow.request_advance());
        }
        if due(&mut self.beats.commit, COMMIT, now) {
            self.commit_to_kafka();
        }
        let joins = self.is_without_partitions() && !self.membership.is_present();
        let looks = if joins { LOOKS_HURRIED } else { LOOKS };
        if due(&mut self.beats.members, looks, now) {
            self.ask_for_members();
        }
        if due(&mut self.beats.topics, TOPICS, now) {
            self.ask_for_topics();
        }
        if due(&mut self.beats.status, STATUS, now) {
            self.show();
        }
    }

    pub(super) fn ask(&self, ask: Ask) {
        // The thread that answers ends only with the loop.
        let _ = self.context.asks.send(ask);
    }

    pub(super) fn places(&self) -> Vec<TopicPartition> {
        self.tables.iter().flat_map(|table| table.positions()).map(|(place, _)| place).collect()
    }

    fn ask_view(&self) {
        let (worker, sender) = (Arc::clone(&self.context.worker), self.context.sender.clone());
        self.context.runtime.spawn(async move {
            let view = async {
                let mut lease = worker.pool().acquire("a look at the bookkeeping").await?;
                let view = worker.bookkeeping().view(&mut lease).await?;
                lease.release();
                Ok::<_, tributary_warehouse::destination::DestinationError>(view)
            };
            match view.await {
                Ok(view) => {
                    let _ = sender.send(Event::View(Some(view)));
                }
                Err(error) if !error.is_transient() => {
                    let failure = Failure::new("the bookkeeping cannot be read any more", error)
                        .remedy(remedies::bookkeeping_unreadable());
                    let _ = sender.send(Event::Fatal(failure));
                }
                Err(error) => {
                    // The jobs judge how long the destination may be away; this is asked again.
                    tracing::debug!(error = %error, "looking at the bookkeeping");
                    let _ = sender.send(Event::View(None));
                }
            }
        });
    }

    pub(super) fn take_view(&mut self, view: Option<TaskView>) -> Result<(), Failure> {
        self.beats.view_asked = false;
        let Some(view) = view else { return Ok(()) };
        if !view.known {
            return Err(Failure::new(
                "the bookkeeping does not know this task any more",
                "somebody has removed its row from the table tasks: a replay could not be noticed",
            )
            .remedy(remedies::task_forgotten()));
        }
        let shown: Vec<String> = view.targets.iter().map(|row| row.topic.clone()).collect();
        self.miss_rows(&shown);
        if std::mem::replace(&mut self.beats.epoch, view.epoch) != view.epoch {
            tracing::info!(epoch = view.epoch, "replay: reading every offset again");
            // Those that are not followed stand where they are shown to stand.
            let subscribed = &self.subscribed;
            let followed = |topic: &String| subscribed.binary_search(topic).is_ok();
            for table in self.tables.iter_mut().filter(|table| followed(&table.task.topic)) {
                table.replay();
                table.after_load.begin_anew();
                table.memory = Arc::default();
            }
        }
        for row in view.targets {
            // The bookkeeping keeps the rows of tables that are not selected any more.
            let Some(index) = self.tables.find(&row.topic) else { continue };
            let table = &mut self.tables[index];
            table.flow.set_done(row.applied);
            table.status.set_generation(row.applied);
            if !row.loaded {
                table.after_load.due();
            }
            self.take_mark(index, row.parked);
        }
        Ok(())
    }

    pub(super) fn take_history(
        &mut self,
        history: Arc<History>,
        schemas: Vec<RegisteredSchema>,
        token: Option<u64>,
    ) -> Result<(), Failure> {
        for schema in schemas {
            self.context.registry.insert(schema);
        }
        let task = history.task().clone();
        self.origins.of_mut(&task).history = history;
        self.refresh_tables()?;
        self.tables
            .iter_mut()
            .filter(|table| table.task.origin == task)
            .for_each(|table| table.history_read(token));
        Ok(())
    }

    pub(super) fn commit_to_kafka(&self) {
        let offsets = self.tables.iter().flat_map(|table| {
            let topic = table.task.topic.as_str();
            table
                .flow
                .partitions()
                .filter_map(move |partition| Some((topic, partition, table.flow.committed(partition)?)))
        });
        self.context.consumer.commit(offsets);
    }

    /// States, lags and what is due after a load.
    fn show(&mut self) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let (mut loading, mut behind, mut working) = (false, false, false);
        let mut loaded = Vec::new();
        for index in self.tables.indexes() {
            let table = &mut self.tables[index];
            if let Some(load) = self.origins.of(&table.task.origin).history.load(&table.task.id) {
                table.status.set_rows_total(load.rows_estimated.max(load.rows_read));
                table.status.set_rows_read(load.rows_read);
            }
            let stopped = table.is_parked() || table.is_tried();
            let newest = table.task.generations.values().next_back();
            if stopped || self.subscribed.binary_search(&table.task.topic).is_err() {
                continue;
            }
            if !table.has_partitions() {
                table.status.set_lag(None);
                table.status.set_state(TableState::Waiting);
                continue;
            }
            working = true;
            let waiting = table.oldest_flying_ms.or(table.oldest_waiting_ms);
            let at_end = table.flow.is_at_end();
            let lag_ms =
                if at_end { Some(0) } else { waiting.or(table.newest_taken_ms).map(|since| now_ms - since) };
            let lag = lag_ms.map(|lag| Duration::from_millis(u64::try_from(lag.max(0)).unwrap_or(0)));
            table.status.set_lag(lag);
            let state = if table.task.loading {
                loading = true;
                TableState::Loading
            } else if at_end && newest.is_some_and(|record| record.cause == Cause::Drop) {
                TableState::Dropped
            } else if lag.is_some_and(|lag| lag < FOLLOWING) {
                TableState::Synchronizing
            } else {
                behind = true;
                TableState::CatchingUp
            };
            table.status.set_state(state);
            if at_end && !table.task.loading && table.after_load.is_pending() {
                loaded.push(index);
            }
        }
        loaded.into_iter().for_each(|index| self.start_after_load(index, Instant::now()));
        let joined = self.shows_joined();
        self.context.status.set_role(match (working, joined) {
            (true, _) => Role::Leader,
            (false, true) => Role::Standby,
            (false, false) => Role::Starting,
        });
        // Before the histories define every table nobody can say that they are followed; nor can one that is not in the
        // group.
        let loading = loading || !self.origins.are_complete();
        let behind = behind || !joined;
        self.context.status.set_state(match (loading, behind) {
            (true, _) => State::Loading,
            (false, true) => State::CatchingUp,
            (false, false) => State::Synchronizing,
        });
    }
}
