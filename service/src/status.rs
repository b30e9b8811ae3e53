//! What a service is doing, in one place: the loops write it (atomics for what is hot), HTTP, Prometheus and OTLP
//! read it. Nothing here decides anything.

mod answer;
mod contact;
mod document;
mod grid;
mod metric;
mod readers;
mod state;
mod table;
mod timing;
mod window;

pub use answer::{Answer, AnsweredTable};
pub use contact::ContactDocument;
pub use document::{ErrorDocument, RetryDocument, StatusDocument, TableDocument};
pub use metric::{Metric, MetricKind, metrics, prometheus};
pub use readers::{ReaderDocument, ReaderState, Readers, readers_in_words};
pub use state::{Role, State, TableState};
pub use table::TableStatus;
pub use timing::Timing;
pub use window::{Window, as_f64};

use crate::Service;
use crate::waits::{Wait, WaitDocument, Waits};
use contact::Contacts;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use timing::Timings;

/// A handle that every task of the process holds a clone of.
#[derive(Debug, Clone)]
pub struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    task: String,
    service: Service,
    instance: String,
    started: Instant,
    tables: RwLock<BTreeMap<String, Arc<TableStatus>>>,
    bytes_applied: AtomicU64,
    counters: Mutex<BTreeMap<&'static str, (&'static str, Arc<AtomicU64>)>>,
    timings: Timings,
    waits: Waits,
    slow: Mutex<Slow>,
}

/// What changes seldom.
#[derive(Debug)]
struct Slow {
    state: State,
    role: Role,
    position: Option<String>,
    error: Option<ErrorDocument>,
    retrying: BTreeMap<String, (Instant, String)>,
    contacts: Contacts,
    readers: Readers,
    rows: Window,
    bytes: Window,
}

impl Status {
    /// A service that is at its precheck.
    #[must_use]
    pub fn new(task: &str, service: Service) -> Self {
        let slow = Slow {
            state: State::Precheck,
            role: Role::Starting,
            position: None,
            error: None,
            retrying: BTreeMap::new(),
            contacts: Contacts::default(),
            readers: Readers::default(),
            rows: Window::default(),
            bytes: Window::default(),
        };
        Self(Arc::new(Inner {
            task: task.to_owned(),
            service,
            instance: uuid::Uuid::new_v4().to_string(),
            started: Instant::now(),
            tables: RwLock::default(),
            bytes_applied: AtomicU64::new(0),
            counters: Mutex::default(),
            timings: Timings::new(task, service),
            waits: Waits::default(),
            slow: Mutex::new(slow),
        }))
    }

    /// Random for each start of a process; names the leader in the state topic.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.0.task
    }

    #[must_use]
    pub fn service(&self) -> Service {
        self.0.service
    }

    /// Sets what the service is doing; a retry in progress and parked tables show over it.
    pub fn set_state(&self, state: State) {
        let mut slow = self.slow();
        if slow.state != state {
            tracing::info!(from = %slow.state, to = %state, "state");
        }
        slow.state = state;
    }

    /// What [`Status::set_state`] was last given.
    #[must_use]
    pub fn state(&self) -> State {
        self.slow().state
    }

    /// Sets whether this instance works or waits for another to end.
    pub fn set_role(&self, role: Role) {
        self.slow().role = role;
    }

    /// Sets how far the source's stream, or the topics, have been followed; shown as it is.
    pub fn set_position(&self, position: impl ToString) {
        self.slow().position = Some(position.to_string());
    }

    /// Shows what ended the service, with what to do about it.
    pub fn fail(&self, error: ErrorDocument) {
        let mut slow = self.slow();
        slow.state = State::Failed;
        slow.error = Some(error);
    }

    /// Shows that `what` failed with `error` and is being tried again; the first call begins the outage.
    pub fn retrying(&self, what: &str, error: &str) {
        let mut slow = self.slow();
        let entry = slow.retrying.entry(what.to_owned()).or_insert_with(|| (Instant::now(), String::new()));
        error.clone_into(&mut entry.1);
    }

    /// Begins to wait for an answer to `what` (as in "committing to Kafka"), which a healthy server gives at once. One that
    /// has not come after some seconds is shown like a retry, until what is returned is dropped: the thread that waits
    /// cannot show it.
    pub fn wait(&self, what: &str) -> Wait {
        self.0.waits.answer(what.to_owned(), None)
    }

    /// The same, for `limit` at most.
    pub fn wait_within(&self, what: &str, limit: Duration) -> Wait {
        self.0.waits.answer(what.to_owned(), limit)
    }

    /// What this service waits for, for those who wait.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.0.waits
    }

    /// Ends what [`Status::retrying`] began; true if it had.
    pub fn retried(&self, what: &str) -> bool {
        self.slow().retrying.remove(what).is_some()
    }

    /// From now on a lag of tables of `task` is known only while what is followed there (its source, or its capture) has been
    /// heard within `patience`.
    pub fn watch(&self, task: &str, patience: Duration) {
        self.slow().contacts.watch(task, patience);
    }

    /// What is followed of `task` was heard at `at`, and said to be itself `behind` the source; `None` if it does not know.
    pub fn heard(&self, task: &str, at: Instant, behind: Option<Duration>) {
        self.slow().contacts.heard(task, at, behind);
    }

    /// How far behind the task's own source something is whose own part of the way takes `own`; `None` if that is not known.
    #[must_use]
    pub fn lag(&self, own: Option<Duration>, now: Instant) -> Option<Duration> {
        self.slow().contacts.of(&self.0.task, self.0.service.follows(), now).lag(own)
    }

    /// What is known of those who read the task's topics; what was known before is gone.
    pub fn set_readers(&self, readers: Readers) {
        self.slow().readers = readers;
    }

    /// Kafka could not be asked about readers: those that are known stay, with the reason.
    pub fn readers_unanswered(&self, why: String) {
        self.slow().readers.note = Some(why);
    }

    /// The table of this name, shown from now on; the same handle for the same name.
    #[must_use]
    pub fn table(&self, name: &str) -> Arc<TableStatus> {
        if let Some(table) = self.0.tables.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(table);
        }
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tables.entry(name.to_owned()).or_default())
    }

    /// Every table that is shown, by name.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, Arc<TableStatus>)> {
        let tables = self.0.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }

    /// Counts bytes that reached the other side.
    pub fn add_bytes_applied(&self, bytes: u64) {
        self.0.bytes_applied.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A counter of the service's own, shown in the metrics as `name` (ending in `_total`) with `help`.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str) -> Arc<AtomicU64> {
        let mut counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&counters.entry(name).or_insert_with(|| (help, Arc::default())).1)
    }

    /// Takes note of how long something took that is done once a transaction; one of this service's.
    pub fn observe(&self, timing: Timing, took: Duration) {
        self.0.timings.observe(timing, took);
    }

    /// Takes the samples that rates are computed from; about once a second, by whoever serves the status.
    pub fn sample(&self, now: Instant) {
        let mut total = 0_u64;
        for (_, table) in self.tables() {
            total = total.saturating_add(table.sample(now));
        }
        let bytes = self.0.bytes_applied.load(Ordering::Relaxed);
        let mut slow = self.slow();
        slow.rows.sample(now, total);
        slow.bytes.sample(now, bytes);
    }

    /// Everything as it is now.
    #[must_use]
    pub fn document(&self) -> StatusDocument {
        let (tables, now, follows) = (self.tables(), Instant::now(), self.0.service.follows());
        let slow = self.slow();
        let contact = slow.contacts.worst(follows, now);
        let document = |(name, table): (String, Arc<TableStatus>)| {
            let of =
                table.origin().map_or_else(|| contact.clone(), |task| slow.contacts.of(&task, follows, now));
            table.document(name, &of)
        };
        let tables: Vec<TableDocument> = tables.into_iter().map(document).collect();
        let retrying = slow.retrying.iter().next().map(|(what, (since, error))| RetryDocument {
            what: what.clone(),
            since_seconds: since.elapsed().as_secs(),
            error: error.clone(),
        });
        let retrying = retrying.or_else(|| {
            let outage = self.0.waits.outage(now).or_else(|| Waits::of_process().outage(now));
            let WaitDocument { what, since_seconds, .. } = outage?;
            Some(RetryDocument { what, since_seconds, error: "no answer yet".to_owned() })
        });
        let mut waits = self.0.waits.shown(now);
        waits.extend(Waits::of_process().shown(now));
        StatusDocument {
            task: self.0.task.clone(),
            service: self.0.service.name(),
            state: state::overall(
                slow.state,
                retrying.is_some(),
                contact.lost,
                tables.iter().map(|table| table.state),
            ),
            parked: tables.iter().filter(|table| table.state == TableState::Parked).count(),
            position: slow.position.clone(),
            throughput: slow.rows.per_second(),
            bytes_per_second: slow.bytes.per_second(),
            bytes_applied: self.0.bytes_applied.load(Ordering::Relaxed),
            contacts: slow.contacts.documents(follows, now),
            contact,
            readers: slow.readers.list.clone(),
            readers_note: slow.readers.note.clone(),
            readers_seconds_ago: slow
                .readers
                .asked
                .map(|asked| now.saturating_duration_since(asked).as_secs_f64()),
            role: slow.role,
            instance: self.0.instance.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.0.started.elapsed().as_secs(),
            retrying,
            waits,
            error: slow.error.clone(),
            tables,
        }
    }

    fn timings(&self) -> &Timings {
        &self.0.timings
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(name, (help, value))| (*name, *help, value.load(Ordering::Relaxed))).collect()
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        // A panic elsewhere must not take the status page with it: every field is valid by itself.
        self.0.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_nothing_is_an_outage_and_work_is_not() {
        let status = Status::new("t", Service::Capture);
        let work = status.waits().work("merging", Instant::now() - Duration::from_secs(60), None);
        let document = status.document();
        assert_eq!((document.waits[0].what.as_str(), document.waits[0].since_seconds), ("merging", 60));
        assert!(document.retrying.is_none());
        work.silent(true);
        let document = status.document();
        assert_eq!(
            (document.state, document.retrying.unwrap().what),
            (State::Retrying, "merging".to_owned())
        );
        drop(work);
        assert!(status.document().waits.is_empty());
    }

    #[test]
    fn the_document_is_the_contract() {
        let status = Status::new("shop", Service::Capture);
        status.set_state(State::Loading);
        status.set_role(Role::Leader);
        status.set_position("binlog.000001:4");
        let table = status.table("shop.orders");
        table.set_state(TableState::Loading);
        table.set_rows_total(100);
        table.set_rows_read(40);
        let start = Instant::now();
        status.sample(start);
        table.add_rows_applied(30);
        table.set_lag(Some(Duration::from_millis(1_500)));
        status.sample(start + Duration::from_secs(1));
        let json = serde_json::to_value(status.document()).unwrap();
        assert_eq!(json["task"], "shop");
        assert_eq!(json["service"], "capture");
        assert_eq!(json["state"], "loading");
        assert_eq!(json["position"], "binlog.000001:4");
        assert_eq!(json["throughput"], 30.0);
        assert_eq!(json["role"], "leader");
        let table = &json["tables"][0];
        assert_eq!(table["name"], "shop.orders");
        assert_eq!(table["state"], "loading");
        assert_eq!((&table["rows_read"], &table["rows_total"]), (&40.into(), &100.into()));
        assert_eq!((&table["rows_applied"], &table["lag_seconds"]), (&30.into(), &1.5.into()));
        assert!(table["error"].is_null());
    }

    #[test]
    fn parked_tables_are_counted_while_others_go_on() {
        let status = Status::new("t", Service::Apply);
        status.set_state(State::Synchronizing);
        status.table("a.good").set_state(TableState::Synchronizing);
        status.table("a.bad").park(ErrorDocument::new("bad-row", "m", "r"));
        assert_eq!(status.document().headline(), "synchronizing, 1 parked");
        status.table("a.good").park(ErrorDocument::new("bad-row", "m", "r"));
        assert_eq!((status.document().headline().as_str(), status.document().parked), ("parked", 2));
    }

    #[test]
    fn a_retry_shows_until_it_ends() {
        let status = Status::new("t", Service::Apply);
        status.set_state(State::Synchronizing);
        status.retrying("kafka", "down");
        status.retrying("kafka", "still down");
        let document = status.document();
        assert_eq!(document.state, State::Retrying);
        assert_eq!(document.retrying.unwrap().error, "still down");
        assert!(status.retried("kafka"));
        assert!(!status.retried("kafka"));
        assert_eq!(status.document().state, State::Synchronizing);
    }

    #[test]
    fn a_table_is_one_handle() {
        let status = Status::new("t", Service::Apply);
        assert!(Arc::ptr_eq(&status.table("a.b"), &status.table("a.b")));
    }
}
