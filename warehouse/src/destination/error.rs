//! What goes wrong at the destination, and whether it passes: a connection that broke is tried again, a value that
//! does not fit parks its table.
//!
//! Invariant: the text of an error holds no value of a row, and may be logged. What the server says of values, in its
//! details and in some of its messages, a person needs to find the row: [`DestinationError::full`] has it, for the
//! status and the bookkeeping, behind a mark that [`loggable`] cuts at.

use crate::remedies::{self, TRIES_AGAIN};
use std::fmt::Display;
use thiserror::Error;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tributary_service::codes::Code;

/// A statement, a connection or a configuration that failed.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// No connection.
    #[error("cannot connect to the destination {address}: {reason}")]
    Connect {
        /// Host, port, database.
        address: String,
        /// What the driver or the server said.
        reason: String,
        /// Passes without anyone's doing.
        transient: bool,
    },
    /// The server refused a statement, or the connection broke under it.
    #[error("the destination failed while {doing}: {}", describe(source))]
    Statement {
        /// What was being done.
        doing: String,
        /// What the driver or the server said.
        source: tokio_postgres::Error,
    },
    /// Another session holds what was wanted, and was waited for long enough this time.
    #[error("waiting for {target}, which is held by {holders}: {doing}")]
    Locked {
        /// What was being done.
        doing: String,
        /// Table of the destination.
        target: String,
        /// Who holds locks of it, as far as this role may see.
        holders: String,
    },
    /// An offset in the destination is not what this instance last saw there: another instance has it.
    #[error("an offset differs from what was last read: another instance has written it")]
    OffsetMoved,
    /// The connection broke during COMMIT: whether it happened is not known.
    #[error("the answer to a COMMIT was lost: {reason}")]
    CommitUnknown {
        /// What the driver said.
        reason: String,
    },
    /// The table cannot go on.
    #[error("{0}")]
    Table(TableError),
}

/// Why a table cannot go on, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error, serde::Serialize, serde::Deserialize)]
#[error("{}", loggable(message))]
pub struct TableError {
    /// A short name that the operations guide explains, or the server's SQLSTATE.
    pub code: String,
    /// What happened, and why; may be logged as far as [`loggable`] says.
    pub message: String,
    /// Topic, partition and offset, or the target; empty where there is none.
    pub place: String,
    /// What to do.
    pub remedy: String,
}

impl TableError {
    /// Under a code that has its section in the operations guide.
    pub fn new(
        code: Code,
        message: impl Into<String>,
        place: impl Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code: code.name().to_owned(),
            message: message.into(),
            place: place.to_string(),
            remedy: remedy.into(),
        }
    }

    /// What to do where this has ended the process, which tries nothing again.
    #[must_use]
    pub fn remedy_of_an_end(&self) -> String {
        self.remedy.replace(TRIES_AGAIN, "then start apply again")
    }

    /// True if a person may take the reason away on the destination's side, without a word to apply: what the server
    /// refused, and what is wrong with the target.
    #[must_use]
    pub fn may_be_mended(&self) -> bool {
        const OF_THE_TARGET: [Code; 10] = [
            Code::ExistingData,
            Code::TargetNotAlone,
            Code::TargetDependents,
            Code::TargetUnsafe,
            Code::TargetKind,
            Code::TargetDefinition,
            Code::TargetGone,
            Code::UnsupportedDdl,
            Code::UnwritableRecord,
            Code::DestinationError,
        ];
        let is_sqlstate = self.code.len() == 5
            && self.code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        is_sqlstate || OF_THE_TARGET.iter().any(|code| code.name() == self.code)
    }
}

impl DestinationError {
    /// Wraps what `doing` met.
    pub fn during(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Statement { doing: doing.into(), source }
    }

    /// True if trying again may help without anyone's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { transient, .. } => *transient,
            Self::Statement { source, .. } => is_transient(source),
            Self::OffsetMoved | Self::CommitUnknown { .. } | Self::Locked { .. } => true,
            Self::Table(_) => false,
        }
    }

    /// True if another session stood in the way: the server answers, and trying again is what it asks for.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| code.starts_with("40") || matches!(code, "55P03" | "55006"))
    }

    /// All that is known, values of rows included. For status and bookkeeping, never for the log.
    #[must_use]
    pub fn full(&self) -> String {
        let detail = match self {
            Self::Statement { source, .. } => details(source),
            _ => None,
        };
        match detail {
            Some(detail) => format!("{self}{DETAIL}{detail}"),
            None => self.to_string(),
        }
    }

    /// As the reason why a table is parked.
    #[must_use]
    pub fn into_table_error(self, place: &str) -> TableError {
        match self {
            Self::Table(error) => error,
            other => {
                let code = other.code().unwrap_or(Code::DestinationError.name()).to_owned();
                let remedy = remedies::sqlstate(&code, other.is_in_a_function()).to_owned();
                TableError { code, message: other.full(), place: place.to_owned(), remedy }
            }
        }
    }

    /// True if the server failed in a statement that a function of the destination's runs, not in one of apply's.
    fn is_in_a_function(&self) -> bool {
        let Self::Statement { source, .. } = self else { return false };
        source.as_db_error().is_some_and(|server| {
            let context = server.where_().unwrap_or_default();
            matches!(server.position(), Some(ErrorPosition::Internal { .. }))
                || ["PL/pgSQL", "SQL function"].iter().any(|language| context.contains(language))
        })
    }

    /// The server's SQLSTATE.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Statement { source, .. } => source.code().map(SqlState::code),
            Self::Locked { .. } => Some(SqlState::LOCK_NOT_AVAILABLE.code()),
            _ => None,
        }
    }
}

/// Between what may be logged and what may not.
const DETAIL: &str = "\ndetail: ";

/// What may be logged of a text that [`DestinationError::full`] or a [`TableError`] has given.
#[must_use]
pub fn loggable(text: &str) -> &str {
    text.split_once(DETAIL).map_or(text, |(told, _)| told)
}

/// What the server said, without values; what the driver said, with its cause.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => {
            let code = server.code().code();
            let mut text = if may_quote_values(code) {
                format!("the server refuses a value, SQLSTATE {code}")
            } else {
                format!("{} ({code})", server.message())
            };
            for (what, name) in
                [("table", server.table()), ("column", server.column()), ("constraint", server.constraint())]
            {
                if let Some(name) = name.filter(|name| !server.message().contains(*name)) {
                    text.push_str(&format!(", {what} {name}"));
                }
            }
            text
        }
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

/// True if the very message can hold a value: data exceptions ("value \"…\" is out of range"), and what triggers of the
/// user's raise.
fn may_quote_values(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    let own = [
        "00", "01", "02", "08", "0A", "21", "23", "25", "26", "28", "2B", "34", "3D", "3F", "40", "42", "53",
    ];
    let own = own.contains(&class) || ["54", "55", "57", "58", "72", "F0", "HV", "XX"].contains(&class);
    !own
}

/// What the server says of values: its detail, where in the data it was, and its message if that was kept back.
fn details(error: &tokio_postgres::Error) -> Option<String> {
    let server = error.as_db_error()?;
    let message = Some(server.message()).filter(|_| may_quote_values(server.code().code()));
    let place = server.where_().and_then(|place| place.lines().next());
    let parts: Vec<&str> = [message, server.detail(), place].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// True for what passes without anyone's doing.
#[must_use]
pub fn is_transient(error: &tokio_postgres::Error) -> bool {
    let Some(state) = error.code() else {
        // Without an SQLSTATE the server has not judged: the connection broke.
        return true;
    };
    let code = state.code();
    let class = code.get(..2).unwrap_or_default();
    // Connection, rolled back by the server, resources, intervention (shutdown, cancel), system, MPP segments.
    matches!(class, "08" | "40" | "53" | "57" | "58")
        // A read-only standby after a failover, a lock that was not got in time, a catalog row that was just
        // changed by another session, an internal error (how Greenplum reports a lost segment).
        // Timeouts that end a session in a transaction do so once.
        || matches!(code, "25006" | "25P03" | "25P04" | "55P03" | "55006" | "XX000")
}

/// True if connecting may succeed later. The driver gives a cause for what is configured wrongly (a password that is
/// missing, a certificate that is not trusted); a network that fails is an IO error at the bottom, a timeout has none.
#[must_use]
pub(crate) fn may_connect_later(error: &tokio_postgres::Error) -> bool {
    let first = std::error::Error::source(error);
    if error.code().is_some() || first.is_none() {
        return is_transient(error);
    }
    std::iter::successors(first, |cause| cause.source()).any(<dyn std::error::Error>::is::<std::io::Error>)
}

impl tributary_service::transient::Transient for DestinationError {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }
}
