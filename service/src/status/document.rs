//! `/status` as JSON. The first fields of each are the contract; the others are extras.

use super::contact::ContactDocument;
use super::readers::ReaderDocument;
use super::state::{Role, State, TableState};
use crate::waits::WaitDocument;
use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusDocument {
    /// The task's name.
    pub task: String,
    /// `capture` or `apply`.
    pub service: &'static str,
    /// What it is doing.
    pub state: State,
    /// Tables that are parked.
    pub parked: usize,
    /// By name.
    pub tables: Vec<TableDocument>,
    /// How far the stream or the topics have been followed; null before that is known.
    pub position: Option<String>,
    /// Rows a second that reached the other side, over the last ten seconds.
    pub throughput: f64,
    /// Bytes a second that reached the other side, over the last ten seconds.
    pub bytes_per_second: f64,
    /// Bytes that reached the other side since the process began.
    pub bytes_applied: u64,
    /// When the source (capture), or capture (apply), was heard last.
    pub contact: ContactDocument,
    /// The same by task, where apply reads the topics of several; `contact` is the one heard least lately.
    pub contacts: Vec<ContactDocument>,
    /// Who reads the topics of the task's tables, by name; null where that is not known, and for apply.
    pub readers: Option<Vec<ReaderDocument>>,
    /// Why `readers` is null or not whole.
    pub readers_note: Option<String>,
    /// When Kafka was asked for `readers`.
    pub readers_seconds_ago: Option<f64>,
    /// Whether this instance works or waits.
    pub role: Role,
    /// Random for each start of a process.
    pub instance: String,
    /// Version of the binary.
    pub version: &'static str,
    /// Since the process began, seconds.
    pub uptime_seconds: u64,
    /// The outage that is being waited out.
    pub retrying: Option<RetryDocument>,
    /// What has been waited for for a while, the oldest first.
    pub waits: Vec<WaitDocument>,
    /// What ended the service.
    pub error: Option<ErrorDocument>,
}

impl StatusDocument {
    /// The state in words, with the tables that are parked while others go on: `synchronizing, 1 parked`.
    #[must_use]
    pub fn headline(&self) -> String {
        headline(self.state.name(), self.parked)
    }
}

/// A state in words, with the number of tables that are parked while others go on.
#[must_use]
pub(super) fn headline(state: &str, parked: usize) -> String {
    if parked == 0 || state == State::Parked.name() {
        return state.to_owned();
    }
    format!("{state}, {parked} parked")
}

/// Where a table in this state stands in a list for people, the least first: whoever looks in trouble must not have to look
/// for the trouble.
#[must_use]
pub(super) fn place_in_list(state: &str) -> u8 {
    match state {
        _ if state == TableState::Parked.name() => 0,
        _ if state == TableState::Excluded.name() => 1,
        _ => 2,
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableDocument {
    /// `database.table` on the source.
    pub name: String,
    /// What becomes of it.
    pub state: TableState,
    /// Rows of the initial load that have been read.
    pub rows_read: u64,
    /// Rows of the initial load: an estimate until it is complete.
    pub rows_total: u64,
    /// Row events, of load and stream, that are safe on the other side since the process began.
    pub rows_applied: u64,
    /// Behind the source; null where that is not known.
    pub lag_seconds: Option<f64>,
    /// Why it is parked or excluded.
    pub error: Option<ErrorDocument>,
    /// Topic, or table of the destination.
    pub target: Option<String>,
    /// Generation of its definition; 0 before it has one.
    pub generation: u32,
    /// Values that a policy replaced.
    pub values_substituted: u64,
    /// `rows_applied` a second, over the last ten seconds.
    pub rows_per_second: f64,
    /// `rows_read` a second, over the last ten seconds.
    pub rows_read_per_second: f64,
}

/// What went wrong, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDocument {
    /// A word that leads to a section of the operations guide.
    pub code: String,
    /// What, where and why. Never a row's values.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl ErrorDocument {
    /// Puts the three together.
    pub fn new(code: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), remedy: remedy.into() }
    }
}

/// An outage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryDocument {
    /// What is being tried.
    pub what: String,
    /// How long ago it failed first.
    pub since_seconds: u64,
    /// The last error.
    pub error: String,
}
