//! What kind of server the source is: probed, not guessed from its version. A connection enters, facts leave; what
//! follows from them is decided by whoever asks.

use crate::connect::SourceConnection;
use crate::error::SourceError;
use mysql_async::from_row_opt;
use std::collections::HashMap;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;

/// The facts of one server, as they were when it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceDialect {
    /// `version()`.
    pub version: String,
    /// The server says it is PolarDB.
    pub polardb: bool,
    /// `SHOW BINARY LOG STATUS`, or `SHOW MASTER STATUS` before 8.2.
    pub status_statement: &'static str,
    /// `FOR SHARE`, or `LOCK IN SHARE MODE` before 8.0.
    pub shared_lock: &'static str,
    /// `server_uuid`.
    pub server_uuid: String,
    /// `server_id`.
    pub server_id: u32,
    /// `gtid_executed`; empty without GTID.
    pub gtid_executed: GtidSet,
    /// `gtid_purged`; empty without GTID.
    pub gtid_purged: GtidSet,
    /// What can still be streamed, oldest first; empty without a binlog.
    pub binary_logs: Vec<BinaryLog>,
    /// Global variables by their lower-case names; those the server does not have are missing.
    pub variables: HashMap<String, String>,
}

/// A line of `SHOW BINARY LOGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryLog {
    /// File name.
    pub name: String,
    pub size_bytes: u64,
}

/// Variables that the precheck or the pipeline asks about.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_checksum', \
    'binlog_expire_logs_seconds', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', \
    'binlog_row_value_options', 'binlog_transaction_compression', 'enforce_gtid_consistency', 'expire_logs_days', \
    'explicit_defaults_for_timestamp', \
    'gtid_mode', 'innodb_flush_log_at_trx_commit', 'innodb_version', 'log_bin', 'log_slave_updates', \
    'log_replica_updates', 'lower_case_table_names', 'max_allowed_packet', 'max_binlog_size', 'max_execution_time', \
    'read_only', 'server_id', 'server_uuid', 'sync_binlog', 'version_comment') OR Variable_name LIKE 'polar%'";

/// Syntax error: the server does not know the statement.
const SYNTAX_ERROR: u16 = 1064;

impl SourceDialect {
    /// Asks the server.
    ///
    /// # Errors
    /// What the server or the network said; definite for MySQL 5.6 and older and for MariaDB.
    pub async fn probe(connection: &mut SourceConnection) -> Result<Self, SourceError> {
        const DURING: &str = "probing the server";
        let version: String = connection.first(DURING, "SELECT version()").await?.unwrap_or_default();
        if let Some(reason) = refused(&version) {
            return Err(SourceError::definite(DURING, connection.address(), reason, SUPPORTED));
        }
        let variables: HashMap<String, String> = connection
            .query(DURING, VARIABLES)
            .await?
            .into_iter()
            .filter_map(|row| from_row_opt::<(String, String)>(row).ok())
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let variable = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let polardb = version.to_lowercase().contains("polardb")
            || variable("version_comment").to_lowercase().contains("polardb")
            || variables.keys().any(|name| name.starts_with("polar"));
        let status_statement = choose(connection, ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"]).await?;
        let locking = choose(connection, ["SELECT 1 FOR SHARE", "SELECT 1 LOCK IN SHARE MODE"]).await?;
        let binary_logs =
            if variable("log_bin") == "ON" { binary_logs(connection).await? } else { Vec::new() };
        Ok(Self {
            polardb,
            status_statement,
            shared_lock: locking.trim_start_matches("SELECT 1 "),
            server_uuid: variable("server_uuid"),
            server_id: variable("server_id").parse().unwrap_or_default(),
            gtid_executed: gtid_executed(connection).await?,
            gtid_purged: gtid_variable(connection, "SELECT @@GLOBAL.gtid_purged").await?,
            binary_logs,
            version,
            variables,
        })
    }

    /// A global variable, if the server has it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// True if every transaction has a GTID (`gtid_mode=ON`), so that chunks need no locks.
    #[must_use]
    pub fn has_gtid(&self) -> bool {
        self.variable("gtid_mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ON"))
    }

    /// True if the server writes a binlog.
    #[must_use]
    pub fn log_bin(&self) -> bool {
        self.variable("log_bin") == Some("ON")
    }

    /// `lower_case_table_names`: 0 means names differ by case.
    #[must_use]
    pub fn lower_case_table_names(&self) -> u8 {
        self.variable("lower_case_table_names").and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Where the server's binlog ends now, and which transactions have been committed.
    ///
    /// The file's end may already hold transactions whose rows are not visible yet; `gtid_set` never does. It is empty
    /// where not every transaction has a GTID: what is left of an earlier time would count as passed for ever.
    ///
    /// # Errors
    /// What the server or the network said; definite if there is no binlog.
    pub async fn current_position(&self, connection: &mut SourceConnection) -> Result<Position, SourceError> {
        const DURING: &str = "reading the binlog's position";
        let rows = connection.query(DURING, self.status_statement).await?;
        let row = rows.into_iter().next().and_then(|row| {
            let file: String = row.get_opt(0)?.ok()?;
            let offset: u64 = row.get_opt(1)?.ok()?;
            let executed: Option<String> = row.get_opt(4).and_then(Result::ok).filter(|_| self.has_gtid());
            Some((file, offset, executed.unwrap_or_default()))
        });
        let Some((file, offset, executed)) = row else {
            let remedy = "switch log_bin on (PolarDB: loose_polar_log_bin) and use the primary endpoint";
            return Err(SourceError::definite(DURING, connection.address(), "it writes no binlog", remedy));
        };
        let gtid_set = parse_gtid(connection, &executed)?;
        Ok(Position { gtid_set, file, offset, server_uuid: self.server_uuid.clone() })
    }
}

/// The transactions that are visible to every read that begins now.
pub async fn gtid_executed(connection: &mut SourceConnection) -> Result<GtidSet, SourceError> {
    gtid_variable(connection, "SELECT @@GLOBAL.gtid_executed").await
}

/// Asked for with SELECT: SHOW VARIABLES cuts values off at 1,024 characters.
async fn gtid_variable(connection: &mut SourceConnection, sql: &str) -> Result<GtidSet, SourceError> {
    let text: Option<String> = connection.first("reading the GTID set", sql).await?;
    parse_gtid(connection, &text.unwrap_or_default())
}

fn parse_gtid(connection: &SourceConnection, text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|error: tributary_schemas::gtid::ParseGtidError| {
        let remedy = "report this with the server's version";
        SourceError::definite("reading the GTID set", connection.address(), error.to_string(), remedy)
    })
}

/// The first of two statements that the server's grammar has.
async fn choose(
    connection: &mut SourceConnection,
    [new, old]: [&'static str; 2],
) -> Result<&'static str, SourceError> {
    match connection.query("probing the server's grammar", new).await {
        Ok(_) => Ok(new),
        Err(error) if error.code() == Some(SYNTAX_ERROR) => Ok(old),
        Err(error) => Err(error),
    }
}

/// `SHOW BINARY LOGS`.
pub async fn binary_logs(connection: &mut SourceConnection) -> Result<Vec<BinaryLog>, SourceError> {
    let rows = connection.query("listing the binary logs", "SHOW BINARY LOGS").await?;
    let logs = rows
        .into_iter()
        .filter_map(|row| Some(BinaryLog { name: row.get_opt(0)?.ok()?, size_bytes: row.get_opt(1)?.ok()? }));
    Ok(logs.collect())
}

/// What to use instead of a server that [`refused`] names.
pub const SUPPORTED: &str = "use MySQL 5.7 or later, or PolarDB for MySQL 5.7 or later";

/// Why a server of this `version()` cannot be a source: MySQL before 5.7 lacks what the reading of chunks needs; MariaDB's
/// GTIDs and events are others.
#[must_use]
pub fn refused(version: &str) -> Option<String> {
    if version.to_lowercase().contains("mariadb") {
        return Some(format!("{version} is MariaDB, whose binlog is another one"));
    }
    (numbers(version) < [5, 7, 0]).then(|| format!("version {version} is older than 5.7"))
}

/// Major, minor and patch number of a `version()`; 0 for what is not there.
#[must_use]
pub fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}
