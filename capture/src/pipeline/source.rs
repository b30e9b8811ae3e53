//! What a session asks the source before it begins: where it stands, what its tables are, and what DDL statements leave
//! out. A selection enters; the answers leave, or an error that says whether asking again can help.

use crate::check::position::ServerHistory;
use crate::ddl;
use crate::sequencer::bootstrap::{Found, is_wanted};
use std::collections::BTreeSet;
use std::time::Duration;
use tributary_config::TableSelection;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::table::TableId;
use tributary_source::catalog::{CatalogTable, read_tables};
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::definition::{executed, unanswered, wait_until_committed};
use tributary_source::dialect::{SourceDialect, binary_logs};
use tributary_source::error::SourceError;
use tributary_source::facts::{self, BinlogContents, Cascades};

/// How long the source may take to answer.
const LIMIT: Duration = Duration::from_secs(300);
/// Definitions are read until two readings agree.
const CATALOG_ROUNDS: usize = 50;

/// What the source says.
pub(super) struct Answer {
    /// What kind of server it is.
    pub dialect: SourceDialect,
    /// What its DDL statements leave out.
    pub ddl_session: ddl::Session,
    /// Which transactions and files it has.
    pub server: ServerHistory,
    /// What the binlog leaves out.
    pub contents: BinlogContents,
    /// Foreign keys whose changes it leaves out.
    pub cascades: Cascades,
    /// The selected tables.
    pub found: Found,
}

/// Asks. `followed` are the tables that the task replicates already. `published` is what the topics hold: the server shows it to binlog readers before it commits it, and is waited
/// for.
///
/// # Errors
/// What the server or the network said; transient if there was no answer in time.
pub(super) async fn ask(
    source: &SourceOptions,
    selection: &TableSelection,
    followed: &BTreeSet<TableId>,
    published: &GtidSet,
) -> Result<Answer, SourceError> {
    let answer = tokio::time::timeout(LIMIT, answer(source, (selection, followed), published)).await;
    answer.unwrap_or_else(|_| Err(unanswered("reading the catalog", source, LIMIT)))
}

async fn answer(
    source: &SourceOptions,
    (selection, followed): (&TableSelection, &BTreeSet<TableId>),
    published: &GtidSet,
) -> Result<Answer, SourceError> {
    let mut connection = source.connect().await?;
    let dialect = SourceDialect::probe(&mut connection).await?;
    if dialect.has_gtid() {
        // A server that never will commit it is found out, and named, by what follows.
        let _ = wait_until_committed(&mut connection, published).await?;
    }
    let found =
        stable_definitions(&mut connection, |id, all| is_wanted(selection, followed, id, all)).await?;
    // Listed again after the place was taken: a source that is being written to has outgrown the dialect's sizes.
    let files =
        if dialect.binary_logs.is_empty() { Vec::new() } else { binary_logs(&mut connection).await? };
    let server = ServerHistory {
        server_uuid: dialect.server_uuid.clone(),
        has_gtid: dialect.has_gtid(),
        executed: found.place.gtid_set.clone(),
        purged: dialect.gtid_purged.clone(),
        files: files.into_iter().map(|log| (log.name, log.size_bytes)).collect(),
    };
    let ddl_session = ddl_session(&mut connection, &dialect).await?;
    let contents = facts::binlog_contents(&mut connection, dialect.status_statement).await?;
    let cascades = facts::cascades(&mut connection).await?;
    connection.close().await?;
    Ok(Answer { dialect, ddl_session, server, contents, cascades, found })
}

/// What the server fills in where a DDL statement leaves it out.
async fn ddl_session(
    connection: &mut SourceConnection,
    dialect: &SourceDialect,
) -> Result<ddl::Session, SourceError> {
    const DURING: &str = "reading the server's defaults";
    let default_of = "SELECT DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = 'utf8mb4'";
    let utf8mb4_collation: Option<String> = connection.first(DURING, default_of).await?;
    let of_server: Option<String> = connection.first(DURING, "SELECT @@collation_server").await?;
    let renamed =
        "SELECT COUNT(*) FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = 'utf8mb3'";
    let renamed: Option<u64> = connection.first(DURING, renamed).await?;
    let explicit = dialect.variable("explicit_defaults_for_timestamp");
    Ok(ddl::Session {
        mode: ddl::SqlMode::default(),
        explicit_timestamps: explicit.is_none_or(|value| value.eq_ignore_ascii_case("ON") || value == "1"),
        database_collation: of_server.unwrap_or_default(),
        utf8mb4_collation: utf8mb4_collation.unwrap_or_default(),
        utf8_name: if renamed == Some(0) { "utf8" } else { "utf8mb3" }.to_owned(),
    })
}

/// When the server was started, by its clock, seconds since 1970; a second more or less. `None` if it does not say.
async fn started(connection: &mut SourceConnection) -> Result<Option<u64>, SourceError> {
    const DURING: &str = "asking since when the server runs";
    let uptime: Option<(String, String)> =
        connection.first(DURING, "SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
    let now: Option<u64> = connection.first(DURING, "SELECT UNIX_TIMESTAMP()").await?;
    let uptime = uptime.and_then(|(_, seconds)| seconds.parse::<u64>().ok());
    Ok(now.zip(uptime).map(|(now, uptime)| now.saturating_sub(uptime)))
}

/// The definitions of all selected tables and a place where they hold.
async fn stable_definitions(
    connection: &mut SourceConnection,
    selects: impl Fn(&TableId, &BTreeSet<TableId>) -> bool,
) -> Result<Found, SourceError> {
    let same = |left: &[CatalogTable], right: &[CatalogTable]| {
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same_definition(right))
    };
    let mut before = read_tables(connection, &selects).await?;
    for _ in 0..CATALOG_ROUNDS {
        let place = executed(connection).await?;
        let after = read_tables(connection, &selects).await?;
        if same(&before, &after) {
            let started = started(connection).await?;
            return Ok(Found { catalogs: after, place, started });
        }
        before = after;
    }
    let remedy = "wait until the ALTER statements are over";
    let reason = "the selected tables keep changing";
    Err(SourceError::transient("reading the catalog", connection.address(), reason, remedy))
}
