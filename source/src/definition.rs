//! What is asked of the source while the stream runs: where it stands, and how a table is defined now. A place that comes with
//! an answer is one at which the answer holds.

use crate::catalog::{CatalogTable, read_table};
use crate::chunk::quote;
use crate::connect::{SourceConnection, SourceOptions};
use crate::dialect::{SourceDialect, gtid_executed};
use crate::error::SourceError;
use std::time::Duration;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;

/// A definition is read until two reads around a position agree; each round costs three short statements.
const ROUNDS: usize = 50;
/// What these questions are asked for, in messages.
const DURING: &str = "reading the catalog";

/// No answer came in time.
#[must_use]
pub fn unanswered(during: &str, source: &SourceOptions, waited: Duration) -> SourceError {
    let reason = format!("no answer for {} s", waited.as_secs());
    SourceError::transient(during, source.address(), reason, "the connection is opened again")
}

/// What the source has committed: `gtid_executed`, and file and offset for sources without GTID.
pub async fn executed(connection: &mut SourceConnection) -> Result<Position, SourceError> {
    let dialect = SourceDialect::probe(connection).await?;
    let mut position = dialect.current_position(connection).await?;
    if dialect.has_gtid() {
        // Not the set of the binlog's end: a transaction there may not be visible to readers yet.
        position.gtid_set = gtid_executed(connection).await?;
    }
    Ok(position)
}

/// Waits until everything in `set` is committed and visible; false if that takes longer than a commit ever should.
pub async fn wait_until_committed(
    connection: &mut SourceConnection,
    set: &GtidSet,
) -> Result<bool, SourceError> {
    const SECONDS: u32 = 30;
    if set.is_empty() {
        return Ok(true);
    }
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {SECONDS})");
    let timed_out: Option<u64> = connection.first("waiting for the source to commit", &sql).await?;
    Ok(timed_out == Some(0))
}

/// The place behind everything that is committed by now.
pub async fn current_place(source: &SourceOptions) -> Result<Position, SourceError> {
    let mut connection = source.connect().await?;
    let place = executed(&mut connection).await;
    connection.close().await?;
    place
}

/// The table's definition now, and a place where it holds, once the source has committed everything in `reached`. `None` if
/// there is no such table, or if it is a tool's, because one of `shadowed` is there.
pub async fn current_definition(
    source: &SourceOptions,
    id: &TableId,
    shadowed: &[TableId],
    reached: &GtidSet,
) -> Result<Option<(CatalogTable, Position)>, SourceError> {
    let mut connection = source.connect().await?;
    // The binlog shows a DDL before it is committed: until then the catalog is the one before it.
    if !wait_until_committed(&mut connection, reached).await? {
        let reason = "the source had not committed what the stream has passed in time";
        return Err(SourceError::transient(DURING, connection.address(), reason, "tried again"));
    }
    // Without GTID a statement that is not committed holds the table's lock.
    let locked = reached.is_empty() && is_locked(&mut connection, id).await?;
    let found = match first_of(&mut connection, shadowed).await? {
        Some(other) => {
            tracing::info!(table = %id, "left out: the table of an online schema change of {other}");
            None
        }
        None => stable_definition(&mut connection, id).await?,
    };
    connection.close().await?;
    Ok(found.map(|(catalog, place)| {
        let unasked = catalog.unasked || locked;
        (CatalogTable { unasked, ..catalog }, place)
    }))
}

/// Waits for the table's lock, but not for as long as somebody else may hold it; true if somebody still does.
async fn is_locked(connection: &mut SourceConnection, id: &TableId) -> Result<bool, SourceError> {
    connection.execute(DURING, "SET SESSION lock_wait_timeout = 10").await?;
    let touch = format!("SELECT 1 FROM {}.{} LIMIT 0", quote(&id.database), quote(&id.table));
    match connection.execute(DURING, &touch).await {
        Err(error) if error.is_locked() => Ok(true),
        Err(error) if error.is_transient() => Err(error),
        // It is gone: the catalog says so.
        Err(_) | Ok(()) => Ok(false),
    }
}

/// The first of these tables that the source has.
async fn first_of(
    connection: &mut SourceConnection,
    tables: &[TableId],
) -> Result<Option<TableId>, SourceError> {
    for id in tables {
        if read_table(connection, id).await?.is_some() {
            return Ok(Some(id.clone()));
        }
    }
    Ok(None)
}

/// The table's definition and a place where it holds: the same before and after the place was taken, so that no DDL can lie
/// between. `None` if there is no such table.
async fn stable_definition(
    connection: &mut SourceConnection,
    id: &TableId,
) -> Result<Option<(CatalogTable, Position)>, SourceError> {
    for _ in 0..ROUNDS {
        let before = read_table(connection, id).await?;
        let place = executed(connection).await?;
        let after = read_table(connection, id).await?;
        match (before, after) {
            (None, None) => return Ok(None),
            (Some(before), Some(after)) if before.same_definition(&after) => return Ok(Some((after, place))),
            _ => {}
        }
    }
    let (reason, remedy) = (format!("{id} keeps changing"), "wait until the ALTER statements are over");
    Err(SourceError::transient(DURING, connection.address(), reason, remedy))
}
