//! What a process waits for at this moment: who answers, since when, until when at most. A [`Wait`] is begun where an answer
//! of a server is waited for, and ends when it is dropped; `/status`, the page and the commands show what is here.
//!
//! Invariant: a wait that is shown is one that goes on: nothing has to be taken back by hand.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tributary_schemas::printed::line;

/// A wait that is shown. Shorter ones are the rhythm of the work.
pub const SHOWN: Duration = Duration::from_secs(2);
/// A healthy server has answered long before; from then on the wait counts as an outage.
const OUTAGE: Duration = Duration::from_secs(5);
/// How often a command looks what it waits for.
const LOOK: Duration = Duration::from_millis(500);

static PROCESS: LazyLock<Waits> = LazyLock::new(Waits::default);

/// The waits of a process, or of a service in it. Clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Waits(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    what: Cow<'static, str>,
    since: Instant,
    limit: Option<Duration>,
    /// Since when the server has said nothing; `None` while it is known to be at work.
    silent_since: Option<Instant>,
}

/// A wait as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WaitDocument {
    /// For what, and of whom.
    pub what: String,
    /// How long already.
    pub since_seconds: u64,
    /// How long at most; null where the server works for as long as it takes.
    pub limit_seconds: Option<u64>,
}

impl WaitDocument {
    /// For a person: `committing to Kafka, for 7 s (60 s at most)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let limit = self.limit_seconds.map(|limit| format!(" ({limit} s at most)")).unwrap_or_default();
        format!("{}, for {} s{limit}", self.what, self.since_seconds)
    }
}

impl Waits {
    /// Those that belong to no service: of a command, and of the check before `run`.
    #[must_use]
    pub fn of_process() -> Self {
        PROCESS.clone()
    }

    /// Begins to wait for an answer that a healthy server gives at once.
    pub fn answer(&self, what: impl Into<Cow<'static, str>>, limit: impl Into<Option<Duration>>) -> Wait {
        let now = Instant::now();
        self.begin(what.into(), now, limit.into(), Some(now))
    }

    /// Begins to wait for work that may take long, without being an outage.
    pub fn work(
        &self,
        what: impl Into<Cow<'static, str>>,
        since: Instant,
        limit: impl Into<Option<Duration>>,
    ) -> Wait {
        self.begin(what.into(), since, limit.into(), None)
    }

    fn begin(
        &self,
        what: Cow<'static, str>,
        since: Instant,
        limit: Option<Duration>,
        silent_since: Option<Instant>,
    ) -> Wait {
        let mut list = self.list();
        let number = list.next;
        list.next += 1;
        list.entries.insert(number, Entry { what, since, limit, silent_since });
        Wait { waits: self.clone(), number }
    }

    /// Those that have lasted, the oldest first.
    #[must_use]
    pub fn shown(&self, now: Instant) -> Vec<WaitDocument> {
        let list = self.list();
        let mut shown: Vec<&Entry> = list
            .entries
            .values()
            .filter(|entry| now.saturating_duration_since(entry.since) >= SHOWN)
            .collect();
        shown.sort_by_key(|entry| entry.since);
        shown.into_iter().map(|entry| entry.document(entry.since, now)).collect()
    }

    /// The oldest of those that are outages by now.
    #[must_use]
    pub fn outage(&self, now: Instant) -> Option<WaitDocument> {
        let list = self.list();
        let silent = list.entries.values().filter_map(|entry| Some((entry.silent_since?, entry)));
        let outages = silent.filter(|(since, _)| now.saturating_duration_since(*since) >= OUTAGE);
        outages.min_by_key(|(since, _)| *since).map(|(since, entry)| entry.document(since, now))
    }

    /// Tells a person on standard error what is waited for, each thing once, until what is returned is dropped.
    pub fn tell(&self) -> Telling {
        let waits = self.clone();
        let (stop, stopped) = mpsc::channel::<()>();
        let spawned = std::thread::Builder::new().name("waits".to_owned()).spawn(move || {
            let mut told = Vec::new();
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for text in waits.news(&mut told, Instant::now()) {
                    eprintln!("{}", line(&text));
                }
            }
        });
        let thread = spawned.inspect_err(|error| {
            tracing::debug!(%error, "nobody tells what is waited for: no thread can be started");
        });
        Telling { stop: Some(stop), thread: thread.ok() }
    }

    /// What has not been told yet, as lines. `told`: the numbers that were; those that are over are taken out.
    fn news(&self, told: &mut Vec<u64>, now: Instant) -> Vec<String> {
        let list = self.list();
        told.retain(|number| list.entries.contains_key(number));
        let lasting = list.entries.iter().filter(|(number, entry)| {
            now.saturating_duration_since(entry.since) >= SHOWN && !told.contains(*number)
        });
        let news: Vec<(u64, String)> = lasting
            .map(|(number, entry)| {
                (*number, format!("waiting: {}", entry.document(entry.since, now).in_words()))
            })
            .collect();
        told.extend(news.iter().map(|(number, _)| *number));
        news.into_iter().map(|(_, line)| line).collect()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // A panic elsewhere must not take the status with it: each entry is valid by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that tells what is waited for; dropped, it has ended.
#[derive(Debug)]
#[must_use = "nothing is told any more once this is dropped"]
pub struct Telling {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Telling {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been printed, and there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

impl Entry {
    fn document(&self, since: Instant, now: Instant) -> WaitDocument {
        WaitDocument {
            what: self.what.to_string(),
            since_seconds: now.saturating_duration_since(since).as_secs(),
            limit_seconds: self.limit.map(|limit| limit.as_secs()),
        }
    }
}

/// A wait that goes on; dropped, it is over.
#[derive(Debug)]
#[must_use = "a wait that is dropped is over"]
pub struct Wait {
    waits: Waits,
    number: u64,
}

impl Wait {
    /// Whether the server that works was found to say nothing to anybody: an outage for as long as that holds.
    pub fn silent(&self, silent: bool) {
        self.change(|entry| entry.silent_since = silent.then_some(entry.since));
    }

    /// A part of the answer has come at `now`: an outage begins once nothing has come for a while after it. What comes in
    /// parts has no limit as a whole.
    pub fn heard(&self, now: Instant) {
        self.change(|entry| (entry.silent_since, entry.limit) = (Some(now), None));
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.waits.list().entries.get_mut(&self.number) {
            change(entry);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.list().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_shows_once_it_lasts_and_until_it_ends() {
        let waits = Waits::default();
        let wait = waits.answer("committing to Kafka", 60 * SECOND);
        let now = Instant::now();
        assert!(waits.shown(now).is_empty() && waits.outage(now + 3 * SECOND).is_none());
        let shown = waits.shown(now + 7 * SECOND);
        assert_eq!(shown[0].in_words(), "committing to Kafka, for 7 s (60 s at most)");
        assert_eq!(waits.outage(now + 7 * SECOND), Some(shown[0].clone()));
        drop(wait);
        assert!(waits.shown(now + 7 * SECOND).is_empty() && waits.outage(now + 7 * SECOND).is_none());
    }

    #[test]
    fn work_is_an_outage_only_while_its_server_is_silent() {
        let (waits, now) = (Waits::default(), Instant::now());
        let later = now + 600 * SECOND;
        let wait = waits.work("merging", now, None);
        assert_eq!(waits.shown(later)[0].limit_seconds, None);
        assert!(waits.outage(later).is_none());
        wait.silent(true);
        assert_eq!(waits.outage(later).map(|outage| outage.since_seconds), Some(600));
        wait.silent(false);
        assert!(waits.outage(later).is_none());
    }

    #[test]
    fn an_answer_in_parts_is_an_outage_only_after_its_last_part() {
        let waits = Waits::default();
        let wait = waits.answer("Kafka: reading t to its end", 60 * SECOND);
        let now = Instant::now();
        assert_eq!(waits.outage(now + 6 * SECOND).map(|outage| outage.limit_seconds), Some(Some(60)));
        wait.heard(now + 6 * SECOND);
        assert!(waits.outage(now + 10 * SECOND).is_none());
        assert_eq!(waits.outage(now + 13 * SECOND).map(|outage| outage.since_seconds), Some(7));
        let shown = &waits.shown(now + 600 * SECOND)[0];
        assert_eq!((shown.since_seconds, shown.limit_seconds), (600, None));
    }

    #[test]
    fn the_thread_that_tells_ends_at_once() {
        let began = Instant::now();
        drop(Waits::default().tell());
        assert!(began.elapsed() < LOOK);
    }

    #[test]
    fn a_command_tells_each_wait_once() {
        let (waits, mut told) = (Waits::default(), Vec::new());
        let first = waits.answer("a", None);
        let later = Instant::now() + 3 * SECOND;
        assert!(waits.news(&mut told, Instant::now()).is_empty());
        assert_eq!(waits.news(&mut told, later), ["waiting: a, for 3 s"]);
        assert!(waits.news(&mut told, later).is_empty());
        drop(first);
        let _second = waits.answer("b", None);
        assert_eq!(waits.news(&mut told, later + SECOND).len(), 1);
        assert_eq!(told.len(), 1, "what is over is forgotten");
    }
}
