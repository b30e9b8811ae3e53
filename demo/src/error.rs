//! What can end the demo: each says what, where and what to do. Printed once, by `main`.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why the demo ended early.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted; everything that was started is stopped")]
    Interrupted,
    /// A file or a process.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// `deploy/local/servers` failed.
    #[error("`{command}` failed:\n{output}")]
    Servers {
        /// As it can be typed.
        command: String,
        /// Its last lines.
        output: String,
    },
    /// An address is missing in what `servers env` printed.
    #[error("`servers env` names no {0}; is it the script of this checkout?")]
    NoAddress(&'static str),
    /// The sample database.
    #[error("MySQL, while {action}: {source}")]
    Mysql {
        /// What was being done.
        action: &'static str,
        /// The server's answer.
        source: mysql_async::Error,
    },
    /// The warehouse.
    #[error("the warehouse, while {action}: {}", describe_postgres(.source))]
    Warehouse {
        /// What was being done.
        action: &'static str,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
    /// `capture` or `apply` ended by itself.
    #[error("{service} ended ({status}), the end of {log}:\n{lines}", log = .log.display())]
    Died {
        /// Which of the two.
        service: &'static str,
        /// Exit status or signal.
        status: String,
        /// Where it all stands.
        log: PathBuf,
        /// Its last lines.
        lines: String,
    },
    /// A table that will not get in step by itself.
    #[error("{service} gave up table {table}: {reason}\nthe whole story is in {log}", log = .log.display())]
    TableStopped {
        /// Which of the two.
        service: &'static str,
        /// Its name.
        table: String,
        /// As in `/status`.
        reason: String,
        /// The log of the service.
        log: PathBuf,
    },
    /// Something took too long.
    #[error("{what} did not happen within {seconds} s; see {logs}", logs = .logs.display())]
    TooLong {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where the logs are.
        logs: PathBuf,
    },
    /// `apply verify` found differences, and has printed them.
    #[error("`apply verify` found differences, see above")]
    Differences,
    /// `apply verify` did not get as far as comparing.
    #[error("`apply verify` ended with {0}, see above")]
    Verify(String),
    /// A task of the demo itself panicked.
    #[error("the live writer ended unexpectedly: {0}")]
    Writer(String),
}

impl DemoError {
    /// The exit status: as `apply verify` has it for differences, as shells have it for Ctrl-C, else 1.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Differences => 3,
            _ => 1,
        }
    }

    /// For `map_err` of what touches files.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err` of what touches the sample database.
    pub fn mysql(action: &'static str) -> impl FnOnce(mysql_async::Error) -> Self {
        move |source| Self::Mysql { action, source }
    }

    /// For `map_err` of what touches the warehouse.
    pub fn warehouse(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Warehouse { action, source }
    }
}

/// The client's own text leaves out what the server said.
fn describe_postgres(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |server| server.message().to_owned())
}
