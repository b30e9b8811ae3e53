//! What goes wrong at the destination, and whether it passes: a connection that broke is tried again, a value that
//! does not fit parks its table.

use thiserror::Error;
use tokio_postgres::error::SqlState;

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
#[error("{message}")]
pub struct TableError {
    /// A short name that the operations guide explains, or the server's SQLSTATE.
    pub code: String,
    /// What happened, and why.
    pub message: String,
    /// Topic, partition and offset, or the target; empty where there is none.
    pub place: String,
    /// What to do.
    pub remedy: String,
}

/// How a remedy ends whose table is tried again by itself.
pub const TRIES_AGAIN: &str = "apply tries again by itself";

impl TableError {
    /// What to do where this has ended the process, which tries nothing again.
    #[must_use]
    pub fn remedy_of_an_end(&self) -> String {
        self.remedy.replace(TRIES_AGAIN, "then start apply again")
    }

    /// True if a person may take the reason away on the destination's side, without a word to apply: what the server
    /// refused, and what is wrong with the target.
    #[must_use]
    pub fn may_be_mended(&self) -> bool {
        const OF_THE_TARGET: [&str; 8] = [
            "existing-data",
            "target-not-alone",
            "target-unsafe",
            "target-kind",
            "target-definition",
            "target-gone",
            "unsupported-ddl",
            "unwritable-record",
        ];
        let is_sqlstate = self.code.len() == 5
            && self.code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        is_sqlstate || OF_THE_TARGET.contains(&self.code.as_str())
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
            Self::OffsetMoved | Self::CommitUnknown { .. } => true,
            Self::Table(_) => false,
        }
    }

    /// True if another session stood in the way: the server answers, and trying again is what it asks for.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| code.starts_with("40") || matches!(code, "55P03" | "55006"))
    }

    /// As the reason why a table is parked.
    #[must_use]
    pub fn into_table_error(self, place: &str) -> TableError {
        match self {
            Self::Table(error) => error,
            other => {
                let code = other.code().unwrap_or("destination-error").to_owned();
                let remedy = remedy(&code).to_owned();
                TableError { code, message: other.to_string(), place: place.to_owned(), remedy }
            }
        }
    }

    /// The server's SQLSTATE.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Statement { source, .. } => source.code().map(SqlState::code),
            _ => None,
        }
    }
}

/// What the server said, with its detail; what the driver said, with its cause. Details can quote a row's key, which
/// a person needs to find the row, and so go to status and bookkeeping, not to the log.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => {
            let mut text = format!("{} ({})", server.message(), server.code().code());
            if let Some(detail) = server.detail() {
                text.push_str(": ");
                text.push_str(detail);
            }
            if let Some(place) = server.where_() {
                text.push_str("; ");
                text.push_str(place.lines().next().unwrap_or_default());
            }
            text
        }
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
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
        || matches!(code, "25006" | "55P03" | "55006" | "XX000")
}

/// True if connecting may succeed later. The driver gives a cause for what is configured wrongly (a password that is
/// missing, a certificate that is not trusted); a network that fails is an IO error at the bottom, a timeout has none.
#[must_use]
pub fn may_connect_later(error: &tokio_postgres::Error) -> bool {
    let first = std::error::Error::source(error);
    if error.code().is_some() || first.is_none() {
        return is_transient(error);
    }
    std::iter::successors(first, |cause| cause.source()).any(<dyn std::error::Error>::is::<std::io::Error>)
}

/// What to do about an SQLSTATE.
fn remedy(code: &str) -> &'static str {
    match code.get(..2).unwrap_or_default() {
        "40" | "55" => {
            "find the session that stands in the way (pg_locks, pg_stat_activity) and end it; apply tries again by itself"
        }
        // Values were compared with the column's type before they were sent: what does not fit is computed here.
        "22" => {
            "look for what the target computes by itself (a trigger, a generated column, an index or a check with an \
             expression, a column whose type was changed by hand) and mend it; apply tries again by itself"
        }
        "23" => {
            "remove the constraint from the target, or the row that stands in the way; apply tries again by itself"
        }
        "28" => "correct destination.user and destination.password",
        "3D" | "3F" => "create it, or correct the name in the configuration",
        "42" => match code {
            "42501" => {
                "grant what is missing: `apply check --print-grants` lists it; apply tries again by itself"
            }
            "42P01" | "42703" => {
                "build the target anew: `apply replay --from beginning --clear --table T`, with T as database.table on the source; \
                 a column that is only added again is NULL in every row of before"
            }
            "42939" => {
                "names that begin with pg_ or gp_ belong to the server: give the table a `target` in another schema, and \
                 restart apply"
            }
            _ => "look at the target's definition; `apply check` compares it with the source's",
        },
        _ => "see the server's log; apply tries again by itself",
    }
}

impl tributary_service::retry::Transient for DestinationError {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }
}
