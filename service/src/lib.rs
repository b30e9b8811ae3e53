//! The shell that `capture` and `apply` share: from the command line and the configuration to logs, retries, HTTP
//! and an orderly end. Nothing here knows about binlogs or merges.

pub mod ask;
pub mod attended;
pub mod check;
pub mod cli;
pub mod codes;
pub mod exit;
pub mod http;
pub mod kafka;
pub mod keys;
pub mod load;
pub mod registry;
pub mod retry;
pub mod sabotage;
pub mod shell;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod transient;
pub mod waits;

/// Which of the two it is: each needs sections of the configuration that the other can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Needs `[source]`.
    Capture,
    /// Needs `[destination]`.
    Apply,
}

impl Service {
    /// As it is written: `capture` or `apply`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Apply => "apply",
        }
    }

    /// What it follows, in the words of the status.
    #[must_use]
    pub const fn follows(self) -> &'static str {
        match self {
            Self::Capture => "source",
            Self::Apply => "capture",
        }
    }

    /// The section it cannot do without, and the one it can.
    const fn sections(self) -> (&'static str, &'static str) {
        match self {
            Self::Capture => ("source", "destination"),
            Self::Apply => ("destination", "source"),
        }
    }
}
