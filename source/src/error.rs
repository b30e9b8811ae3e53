//! What goes wrong between this process and the source, sorted by what is to be done: try again, or let a person
//! change something. Errors of the driver enter; what, where, why and the remedy leave. Never a row's values.

use mysql_async::{DriverError, Error as DriverFailure, IoError, ServerError};
use thiserror::Error;

/// A statement or a connection that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Goes away by itself: the server is restarting, the network broke, a lock was waited for too long.
    #[error("{during} failed on the source {address}: {reason} ({remedy})")]
    Transient {
        /// What was being done, as a noun phrase.
        during: String,
        /// `host:port`.
        address: String,
        /// The server's error number, if the server said it.
        code: Option<u16>,
        /// What the server, the driver or the operating system said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Stays until a person changes the account, the configuration or the server.
    #[error("{during} failed on the source {address}: {reason} ({remedy})")]
    Definite {
        /// What was being done, as a noun phrase.
        during: String,
        /// `host:port`.
        address: String,
        /// The server's error number, if the server said it.
        code: Option<u16>,
        /// What the server, the driver or the operating system said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl SourceError {
    /// Sorts a driver's error that came up while doing `during` at `address`.
    #[must_use]
    pub fn from_driver(during: &str, address: &str, error: &DriverFailure) -> Self {
        let (transient, code, remedy) = judge(error);
        let (during, address) = (during.to_owned(), address.to_owned());
        let reason = match error {
            DriverFailure::Server(ServerError { code, message, .. }) => format!("{message} (error {code})"),
            other => other.to_string(),
        };
        if transient {
            Self::Transient { during, address, code, reason, remedy }
        } else {
            Self::Definite { during, address, code, reason, remedy }
        }
    }

    /// A definite error that the server did not report as one.
    #[must_use]
    pub fn definite(during: &str, address: &str, reason: impl Into<String>, remedy: &'static str) -> Self {
        let (during, address) = (during.to_owned(), address.to_owned());
        Self::Definite { during, address, code: None, reason: reason.into(), remedy }
    }

    /// A transient error that neither the server nor the driver reported as one.
    #[must_use]
    pub fn transient(during: &str, address: &str, reason: impl Into<String>, remedy: &'static str) -> Self {
        let (during, address) = (during.to_owned(), address.to_owned());
        Self::Transient { during, address, code: None, reason: reason.into(), remedy }
    }

    /// True if trying again can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// The server's error number, if the server said it (MySQL Server Error Message Reference).
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Transient { code, .. } | Self::Definite { code, .. } => *code,
        }
    }

    /// Why the server does not send its binlog, if this is its word on that.
    #[must_use]
    pub fn binlog_refusal(&self) -> Option<BinlogRefusal> {
        let (Self::Transient { reason, .. } | Self::Definite { reason, .. }) = self;
        (self.code() == Some(BINLOG_REFUSED)).then(|| BinlogRefusal::of(reason))
    }

    /// A lock was waited for too long.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.code() == Some(1205)
    }
}

/// ER_SOURCE_FATAL_ERROR_READING_BINLOG.
const BINLOG_REFUSED: u16 = 1236;

/// Why a server does not send its binlog. All reasons have one number, so that they can be told by their words alone:
/// those of `sql/rpl_binlog_sender.cc` in MySQL 5.7 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinlogRefusal {
    /// Another client reads under the same server id.
    ServerIdTaken,
    /// Transactions without a GTID follow, where GTIDs were asked for.
    Anonymous,
    /// What was asked for is not there: a file, a place in it, or transactions that are purged.
    Missing,
}

impl BinlogRefusal {
    fn of(message: &str) -> Self {
        if message.contains("server_uuid/server_id") {
            Self::ServerIdTaken
        } else if message.contains("anonymous transaction") {
            Self::Anonymous
        } else {
            Self::Missing
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::ServerIdTaken => {
                "another client reads the binlog under the same server id: give this task another source.server_id"
            }
            Self::Anonymous => {
                "they were written while gtid_mode was not ON, and cannot be had by GTID: set it to ON, then begin anew: `capture \
                 drop`, `capture run`, and for each destination `apply replay --from beginning --clear`"
            }
            Self::Missing => "the message says what the binlog lacks",
        }
    }
}

const AWAY: &str =
    "tried again until source.retry_minutes is over; check that the server runs and can be reached";

/// MySQL does not say that an account does not exist: it names some method for it, as if it did.
const METHOD: &str = "source.user or source.password may be wrong: for an account that does not exist the server asks for a \
                      method of its own choosing. If they are right, give the account caching_sha2_password or \
                      mysql_native_password";

/// Transient or not, the server's number, the remedy.
fn judge(error: &DriverFailure) -> (bool, Option<u16>, &'static str) {
    match error {
        DriverFailure::Server(ServerError { code: BINLOG_REFUSED, message, .. }) => {
            (false, Some(BINLOG_REFUSED), BinlogRefusal::of(message).remedy())
        }
        DriverFailure::Server(ServerError { code, .. }) => {
            let (transient, remedy) = judge_code(*code);
            (transient, Some(*code), remedy)
        }
        DriverFailure::Io(IoError::Io(_)) => (true, None, AWAY),
        // A broken connection looks like a TLS error when TLS is on; a bad certificate does not heal, but says so.
        DriverFailure::Io(IoError::Tls(tls)) if tls.to_string().contains("certificate") => {
            (false, None, "correct source.tls: the certificate is not accepted in this mode with this ca")
        }
        DriverFailure::Io(IoError::Tls(_)) => (true, None, AWAY),
        DriverFailure::Driver(DriverError::ConnectionClosed | DriverError::PacketOutOfOrder) => {
            (true, None, AWAY)
        }
        DriverFailure::Driver(DriverError::NoClientSslFlagFromServer) => {
            (false, None, "enable TLS on the server or set source.tls.mode to disable")
        }
        DriverFailure::Driver(DriverError::UnknownAuthPlugin { .. }) => (false, None, METHOD),
        DriverFailure::Driver(_) | DriverFailure::Other(_) | DriverFailure::Url(_) => {
            (false, None, "report this: the driver and the server do not understand each other")
        }
    }
}

/// The numbers are those of MySQL's Server Error Message Reference.
const fn judge_code(code: u16) -> (bool, &'static str) {
    match code {
        1040 | 1203 | 1226 => {
            (true, "tried again; raise max_connections, or the account's limit, or lower capture.readers")
        }
        1205 | 1213 | 3572 => (true, "tried again; another session holds the lock"),
        // What a proxy in front of the source says of the server behind it, some in the client's own numbers (MySQL's
        // errmsg.h: 2002 to 2013).
        1105 | 2002 | 2003 | 2006 | 2013 | 9001 => (true, AWAY),
        1028 | 1030 | 1037 | 1038 | 1041 | 1135 => (true, "tried again; the server is short of resources"),
        1053 | 1077 | 1079 | 1152..=1161 | 1184 | 1317 | 1927 | 3024 | 3032 | 3169 | 4031 => (true, AWAY),
        // The table or its columns are not as they were: another DDL ran. Whoever reads tables decides.
        1412 => (true, "tried again; the table's definition changed in the meantime"),
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 | 1820 | 1862 | 3118 => (
            false,
            "correct source.user and source.password, or grant what `capture check --print-grants` prints",
        ),
        1049 | 1146 | 1054 => (false, "create it on the source, or correct the names in the configuration"),
        1130 => {
            (false, "allow this machine's address in the account's host part, or in the cloud's allow list")
        }
        1251 | 1524 => (false, METHOD),
        _ => (false, "see the server's error reference for this number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> SourceError {
        let error = ServerError { code, message: "m".into(), state: "HY000".into() };
        SourceError::from_driver("reading", "h:1", &DriverFailure::Server(error))
    }

    #[test]
    fn what_keeps_a_server_from_sending_its_binlog_is_told_by_its_words() {
        let refused = |message: &str| {
            let error = ServerError { code: 1236, message: message.to_owned(), state: "HY000".to_owned() };
            SourceError::from_driver("reading", "h:1", &DriverFailure::Server(error)).binlog_refusal()
        };
        for (message, expected) in [
            ("Could not find first log file name in binary log index file", BinlogRefusal::Missing),
            ("Cannot replicate anonymous transaction when AUTO_POSITION = 1", BinlogRefusal::Anonymous),
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source",
                BinlogRefusal::ServerIdTaken,
            ),
            (
                "A slave with the same server_uuid/server_id as this slave has connected to the master",
                BinlogRefusal::ServerIdTaken,
            ),
        ] {
            assert_eq!(refused(message), Some(expected), "{message}");
        }
    }

    #[test]
    fn errors_are_sorted_by_what_is_to_be_done() {
        for code in [1040, 1053, 1105, 1205, 1213, 1317, 2003, 2013] {
            assert!(server(code).is_transient(), "{code}");
        }
        for code in [1045, 1049, 1142, 1146, 1064] {
            assert!(!server(code).is_transient(), "{code}");
        }
        let unknown =
            DriverFailure::Driver(DriverError::UnknownAuthPlugin { name: "sha256_password".into() });
        let unknown = SourceError::from_driver("connecting", "h:1", &unknown);
        assert!(unknown.to_string().contains("source.user or source.password may be wrong"), "{unknown}");
        assert_eq!(server(1045).binlog_refusal(), None);
        assert_eq!(server(1045).code(), Some(1045));
        assert!(server(1045).to_string().starts_with("reading failed on the source h:1: m (error 1045) ("));
    }
}
