//! How lately a service heard from what it follows: capture from the source, apply from capture. A lag is only known as
//! long as that is: afterwards it grows with every second, whatever the last word was. Pure: the time comes in.

use super::state::TableState;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A table that is shown further behind than this is not in step.
const IN_STEP: Duration = Duration::from_secs(10);

/// What was heard, and how long a silence may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Contact {
    /// Nobody said that anything is followed: a lag is what it was set to.
    #[default]
    Unwatched,
    /// Nothing was heard yet.
    Silent { patience: Duration },
    /// The last word.
    Heard { patience: Duration, at: Instant, behind: Option<Duration> },
}

/// A [`Contact`] at one moment, in the words of `/status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContactDocument {
    /// `source` (capture) or `capture` (apply).
    pub with: &'static str,
    /// Of which task, where several are followed.
    pub task: Option<String>,
    /// How long ago it was heard, seconds; null if it never was.
    pub seconds_ago: Option<f64>,
    /// True if that is longer than it should be.
    pub lost: bool,
    #[serde(skip)]
    view: View,
}

/// What the lags of tables are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Unwatched,
    Silent,
    Heard { silence: Option<Duration>, behind: Option<Duration> },
}

/// Whom a service follows, by task: capture the source of its own, apply the captures of the tasks that it reads.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<String, Contact>);

impl Contacts {
    pub(super) fn watch(&mut self, task: &str, patience: Duration) {
        self.0.entry(task.to_owned()).or_default().watch(patience);
    }

    pub(super) fn heard(&mut self, task: &str, at: Instant, behind: Option<Duration>) {
        if let Some(contact) = self.0.get_mut(task) {
            contact.heard(at, behind);
        }
    }

    /// How lately the source, or the capture, of `task` was heard.
    pub(super) fn of(&self, task: &str, with: &'static str, now: Instant) -> ContactDocument {
        self.0.get(task).unwrap_or(&Contact::Unwatched).document(with, now)
    }

    /// All of them, by task.
    pub(super) fn documents(&self, with: &'static str, now: Instant) -> Vec<ContactDocument> {
        let several = self.0.len() > 1;
        let document = |(task, contact): (&String, &Contact)| ContactDocument {
            task: several.then(|| task.clone()),
            ..contact.document(with, now)
        };
        self.0.iter().map(document).collect()
    }

    /// The one that was heard least lately: lost before never heard, and that before the longest ago.
    pub(super) fn worst(&self, with: &'static str, now: Instant) -> ContactDocument {
        let badness =
            |document: &ContactDocument| (document.lost, document.seconds_ago.unwrap_or(f64::INFINITY));
        let documents = self.documents(with, now).into_iter();
        let worst = documents
            .max_by(|one, other| badness(one).partial_cmp(&badness(other)).unwrap_or(Ordering::Equal));
        worst.unwrap_or_else(|| Contact::Unwatched.document(with, now))
    }
}

impl Contact {
    /// A silence of up to `patience` is none; what was heard stays.
    pub(super) const fn watch(&mut self, patience: Duration) {
        *self = match *self {
            Self::Heard { at, behind, .. } => Self::Heard { patience, at, behind },
            Self::Unwatched | Self::Silent { .. } => Self::Silent { patience },
        };
    }

    /// Takes what was heard at `at`: that it is itself `behind`, as far as it knows. An older word changes nothing.
    pub(super) fn heard(&mut self, at: Instant, behind: Option<Duration>) {
        match *self {
            Self::Unwatched => {}
            Self::Heard { at: known, .. } if known > at => {}
            Self::Silent { patience } | Self::Heard { patience, .. } => {
                *self = Self::Heard { patience, at, behind };
            }
        }
    }

    pub(super) fn document(&self, with: &'static str, now: Instant) -> ContactDocument {
        let (ago, view) = match *self {
            Self::Unwatched => (None, View::Unwatched),
            Self::Silent { .. } => (None, View::Silent),
            Self::Heard { patience, at, behind } => {
                let ago = now.saturating_duration_since(at);
                (Some(ago), View::Heard { silence: (ago > patience).then_some(ago), behind })
            }
        };
        let lost = matches!(view, View::Heard { silence: Some(_), .. });
        ContactDocument { with, task: None, seconds_ago: ago.map(|ago| ago.as_secs_f64()), lost, view }
    }
}

impl ContactDocument {
    /// Who is followed, in words: `capture`, or `capture of eu` where several are.
    #[must_use]
    pub fn whom(&self) -> String {
        self.task.as_ref().map_or_else(|| self.with.to_owned(), |task| format!("{} of {task}", self.with))
    }

    /// How far a table is behind the source, whose service says `own` of its own part of the way; `None` if that is not
    /// known.
    pub(super) fn lag(&self, own: Option<Duration>) -> Option<Duration> {
        let own = own?;
        match self.view {
            View::Unwatched => Some(own),
            View::Heard { silence, behind: Some(behind) } => {
                Some(own.max(behind).saturating_add(silence.unwrap_or_default()))
            }
            View::Heard { silence: Some(silence), behind: None } => Some(own.saturating_add(silence)),
            // Its own part is the least that it can be; to be at the end of what came says nothing.
            View::Silent | View::Heard { silence: None, behind: None } => (!own.is_zero()).then_some(own),
        }
    }

    /// A table is in step only while its lag says so.
    pub(super) fn state(&self, own: TableState, lag: Option<Duration>) -> TableState {
        match own {
            TableState::Synchronizing if self.lost || lag.is_some_and(|lag| lag > IN_STEP) => {
                TableState::CatchingUp
            }
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(ago: Duration, behind: Option<Duration>) -> ContactDocument {
        let at = Instant::now();
        let mut contact = Contact::default();
        contact.watch(3 * SECOND);
        contact.heard(at, behind);
        contact.document("source", at + ago)
    }

    #[test]
    fn a_lag_grows_from_the_last_contact() {
        let fresh = heard(2 * SECOND, Some(Duration::ZERO));
        assert_eq!((fresh.lost, fresh.lag(Some(Duration::ZERO))), (false, Some(Duration::ZERO)));
        assert_eq!(fresh.state(TableState::Synchronizing, Some(Duration::ZERO)), TableState::Synchronizing);
        let stale = heard(99 * SECOND, Some(Duration::ZERO));
        assert_eq!((stale.lost, stale.lag(Some(SECOND))), (true, Some(100 * SECOND)));
        assert_eq!(stale.state(TableState::Synchronizing, None), TableState::CatchingUp);
        assert_eq!(stale.state(TableState::Parked, None), TableState::Parked);
    }

    #[test]
    fn the_lag_of_what_is_followed_counts() {
        let behind = heard(SECOND, Some(500 * SECOND));
        assert_eq!(behind.lag(Some(Duration::ZERO)), Some(500 * SECOND));
        assert_eq!(
            behind.state(TableState::Synchronizing, behind.lag(Some(Duration::ZERO))),
            TableState::CatchingUp
        );
    }

    #[test]
    fn an_unknown_lag_is_not_zero() {
        let mut contact = Contact::default();
        contact.watch(SECOND);
        let silent = contact.document("capture", Instant::now());
        assert_eq!((silent.lost, silent.seconds_ago), (false, None));
        assert_eq!(silent.lag(Some(Duration::ZERO)), None);
        assert_eq!(silent.lag(Some(SECOND)), Some(SECOND), "it is at least that");
        assert_eq!(heard(SECOND, None).lag(Some(Duration::ZERO)), None);
        assert_eq!(heard(9 * SECOND, None).lag(Some(Duration::ZERO)), Some(9 * SECOND));
        assert_eq!(heard(SECOND, Some(Duration::ZERO)).lag(None), None);
        assert_eq!(Contact::default().document("source", Instant::now()).lag(Some(SECOND)), Some(SECOND));
    }

    #[test]
    fn of_several_each_has_its_own_and_the_worst_stands_for_all() {
        let now = Instant::now();
        let mut contacts = Contacts::default();
        assert_eq!(contacts.worst("capture", now).view, View::Unwatched);
        contacts.watch("eu", SECOND);
        contacts.heard("eu", now, Some(Duration::ZERO));
        assert_eq!(contacts.worst("capture", now).task, None, "there is but one");
        contacts.watch("us", SECOND);
        contacts.heard("ap", now, None);
        assert_eq!(contacts.worst("capture", now).task.as_deref(), Some("us"), "never heard");
        contacts.heard("us", now + 5 * SECOND, Some(Duration::ZERO));
        let later = now + 5 * SECOND;
        let worst = contacts.worst("capture", later);
        assert_eq!((worst.task.as_deref(), worst.lost), (Some("eu"), true));
        assert_eq!(contacts.of("us", "capture", later).lag(Some(Duration::ZERO)), Some(Duration::ZERO));
        assert_eq!(contacts.of("eu", "capture", later).lag(Some(Duration::ZERO)), Some(5 * SECOND));
    }

    #[test]
    fn an_older_word_changes_nothing() {
        let now = Instant::now();
        let mut contact = Contact::default();
        contact.heard(now, None);
        assert!(matches!(contact, Contact::Unwatched));
        contact.watch(SECOND);
        contact.heard(now + SECOND, Some(SECOND));
        contact.heard(now, None);
        contact.watch(3 * SECOND);
        assert_eq!(contact.document("source", now + 4 * SECOND).lag(Some(Duration::ZERO)), Some(SECOND));
    }
}
