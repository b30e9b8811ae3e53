//! A reader: one task with a connection of its own. Enter: orders. Leave, over a bounded channel to the sequencer:
//! batches of encoded rows, answers, or why there are none.
//!
//! Invariant: nothing is read before the source has committed everything the stream had passed when the window was
//! opened, for the binlog shows a transaction before its rows are visible (gh-ost #1030). Where the source has no
//! GTID, the SELECT takes shared locks instead, and so waits for those transactions row by row.

use super::batch::{BatchBuilder, RowBatch};
use super::planner::{OrderId, Work};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tributary_schemas::checkpoint::KeyValue;
use tributary_schemas::row::{EncodedRow, RowError};
use tributary_service::sabotage;
use tributary_service::waits::SHOWN;
use tributary_source::chunk::{ChunkError, ChunkSql, Statement};
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::error::SourceError;
use tributary_source::rows::{ColumnMismatch, RowEncoder};

/// How a table is read in one generation; shared by its orders.
#[derive(Debug)]
pub(crate) struct TableReader {
    /// Its statements.
    pub sql: ChunkSql,
    /// Its rows' encoding.
    pub encoder: RowEncoder,
}

/// What makes the rows of transactions visible that the stream has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Wait until the source has committed this GTID set: all the stream has passed, with the transaction it is in
    /// the middle of.
    WaitForGtid(String),
    /// Read with this locking clause, in READ COMMITTED.
    SharedLock(&'static str),
}

/// An order with what is needed to carry it out.
#[derive(Debug, Clone)]
pub(crate) struct ReaderOrder {
    /// The planner's name for it.
    pub id: OrderId,
    pub table: Arc<TableReader>,
    /// What to do.
    pub work: Work,
    /// What to wait for; not used for [`Work::FindBoundary`].
    pub visibility: Visibility,
    /// How often in a row the server's silence ended a SELECT of this table: so often the limits of that are doubled.
    pub silences: u32,
    /// Set by the sequencer when nobody waits for the answer any more; seen between batches, and each second of a silence.
    pub cancelled: Arc<AtomicBool>,
}

/// What a reader says. The last message of an order is any but `Batch`.
#[derive(Debug)]
pub(crate) enum ReaderMessage {
    /// Rows in key order; more may follow.
    Batch { id: OrderId, batch: RowBatch },
    /// All batches of a [`Work::Read`] have been sent.
    Finished { id: OrderId },
    /// Answer to [`Work::FindEnd`].
    End {
        id: OrderId,
        /// The largest key; `None` for an empty table.
        key: Option<Vec<KeyValue>>,
    },
    /// Answer to [`Work::FindBoundary`].
    Boundary {
        id: OrderId,
        /// Where the chunk ends; `None` if the range has fewer rows.
        key: Option<Vec<KeyValue>>,
    },
    /// The order was not carried out to its end; what was sent of it is good.
    Failed {
        id: OrderId,
        /// Why.
        failure: ReadFailure,
    },
}

/// Why an order was not carried out to its end.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum ReadFailure {
    /// The source or the statement. A definite one may mean that the source has run a DDL the stream has not passed:
    /// pause the table until it has.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The server said nothing for as long as it may. To be tried again with more patience: it may be slow rather than gone.
    #[error(transparent)]
    Silent(SourceError),
    /// The result is unlike the catalog: the source has run a DDL the stream has not passed. Pause the table until it
    /// has.
    #[error(transparent)]
    Columns(#[from] ColumnMismatch),
    /// A row that cannot be published: as [`Self::Columns`], or else it parks the table.
    #[error("the row {place}: {error}")]
    Row {
        /// What is wrong with it.
        error: RowError,
        /// Its key, or the chunk that it is in.
        place: String,
    },
    /// A bound that does not fit the key: as [`Self::Columns`], or else it parks the table.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The SELECT ran, or stood still, for too long, and was ended lest it hold up a DDL. Resume at once.
    #[error("the rows were not taken within the time a SELECT may last")]
    Undrained,
    /// The source had not committed what the stream had passed in time. Resume at once.
    #[error("the source had not committed the transactions of the stream in time")]
    Behind,
    /// The sequencer asked for it.
    #[error("cancelled")]
    Cancelled,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ReaderLimits {
    /// Bytes of keys and values after which a batch is sent.
    pub batch_bytes: usize,
    /// How long a SELECT may last: an ALTER waits for its metadata lock, and every query behind the ALTER.
    pub undrained: Duration,
    /// How long the source is given to commit what the stream has passed, seconds.
    pub visibility_seconds: u32,
    /// How long the server may take to begin to answer: it may wait for a row lock (`innodb_lock_wait_timeout`, 50 s).
    pub answer: Duration,
    /// How long the server may say nothing in the middle of an answer.
    pub silence: Duration,
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self {
            batch_bytes: 128 * 1024,
            undrained: Duration::from_secs(10),
            visibility_seconds: 10,
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(20),
        }
    }
}

/// How often it is looked whether anybody still waits for the answer of a server that says nothing.
const CANCEL_BEAT: Duration = Duration::from_secs(1);

/// The limits of silence are doubled this often at most: 64 min and 21 min.
const MOST_DOUBLINGS: u32 = 6;

impl ReaderLimits {
    /// The limits for a table whose SELECTs the server's silence has ended `times` in a row.
    #[must_use]
    pub(crate) fn after_silences(self, times: u32) -> Self {
        let factor = 1 << times.min(MOST_DOUBLINGS);
        Self { answer: self.answer * factor, silence: self.silence * factor, ..self }
    }
}

/// What the reader had to say and could not: the sequencer is gone.
struct Gone;

/// How an order ended, if not with an answer.
enum Stop {
    Failed(ReadFailure),
    /// The connection is in the middle of a result: it must go.
    Broken(ReadFailure, Option<RowBatch>),
    Gone,
}

impl<E: Into<ReadFailure>> From<E> for Stop {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

/// Carries out orders until `orders` is closed or the sequencer is gone. A connection is opened for the first order,
/// and again after it broke. `reader` is told with each message, so that the sequencer knows who is idle.
pub(crate) async fn run(
    reader: usize,
    options: SourceOptions,
    limits: ReaderLimits,
    mut orders: mpsc::Receiver<ReaderOrder>,
    messages: mpsc::Sender<(usize, ReaderMessage)>,
) {
    let mut session =
        Session { reader, options, limits, messages, connection: None, row: EncodedRow::default() };
    while let Some(order) = orders.recv().await {
        if session.carry_out(&order).await.is_err() {
            break;
        }
    }
    if let Some(connection) = session.connection.take() {
        // The session ends with the process in any case.
        let _ = connection.close().await;
    }
}

struct Session {
    reader: usize,
    options: SourceOptions,
    limits: ReaderLimits,
    messages: mpsc::Sender<(usize, ReaderMessage)>,
    connection: Option<SourceConnection>,
    row: EncodedRow,
}

impl Session {
    /// One order, up to and including its last message.
    async fn carry_out(&mut self, order: &ReaderOrder) -> Result<(), Gone> {
        let id = order.id;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match connect(&self.options).await {
                Ok(connection) => connection,
                Err(error) => return self.send(ReaderMessage::Failed { id, failure: error.into() }).await,
            },
        };
        let performed = tokio::select! {
            biased;
            performed = self.perform(&mut connection, order) => performed,
            () = until(&order.cancelled) => Err(Stop::Broken(ReadFailure::Cancelled, None)),
        };
        let failure = match performed {
            Ok(message) => {
                self.connection = Some(connection);
                return self.send(message).await;
            }
            Err(Stop::Gone) => return Err(Gone),
            Err(Stop::Failed(failure)) => {
                let is_lost = match &failure {
                    ReadFailure::Source(error) => error.is_transient(),
                    ReadFailure::Silent(_) => true,
                    _ => false,
                };
                if !is_lost {
                    self.connection = Some(connection);
                }
                failure
            }
            Err(Stop::Broken(failure, batch)) => {
                // The driver reads the rest of the result in the background and then disconnects: the SELECT runs on
                // no longer than the network takes, and its metadata lock goes with it.
                drop(connection);
                if let Some(batch) = batch {
                    self.send(ReaderMessage::Batch { id, batch }).await?;
                }
                failure
            }
        };
        self.send(ReaderMessage::Failed { id, failure }).await
    }

    async fn send(&self, message: ReaderMessage) -> Result<(), Gone> {
        self.messages.send((self.reader, message)).await.map_err(|_| Gone)
    }

    async fn perform(
        &mut self,
        connection: &mut SourceConnection,
        order: &ReaderOrder,
    ) -> Result<ReaderMessage, Stop> {
        let (id, table) = (order.id, &order.table);
        let limits = self.limits.after_silences(order.silences);
        match &order.work {
            Work::FindBoundary { range, rows } => {
                let statement = table.sql.boundary(range, *rows)?;
                Ok(ReaderMessage::Boundary {
                    id,
                    key: find(connection, table, statement, limits.answer).await?,
                })
            }
            Work::FindEnd => {
                let lock = become_visible(connection, &order.visibility, &limits).await?;
                let statement = table.sql.last_key(lock);
                Ok(ReaderMessage::End { id, key: find(connection, table, statement, limits.answer).await? })
            }
            Work::Read { range } => {
                let lock = become_visible(connection, &order.visibility, &limits).await?;
                let statement = table.sql.select(range, lock)?;
                let stream = RowStream {
                    reader: self.reader,
                    limits,
                    messages: &self.messages,
                    row: &mut self.row,
                    order,
                };
                stream.run(connection, statement).await?;
                Ok(ReaderMessage::Finished { id })
            }
        }
    }
}

/// Waits until nobody wants the answer any more.
async fn until(cancelled: &AtomicBool) {
    while !cancelled.load(Ordering::Relaxed) {
        tokio::time::sleep(CANCEL_BEAT).await;
    }
}

async fn connect(options: &SourceOptions) -> Result<SourceConnection, SourceError> {
    let mut connection = options.connect().await?;
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    connection.execute("setting up the session", isolation).await?;
    Ok(connection)
}

/// Waits as `visibility` says; the locking clause to read with.
async fn become_visible(
    connection: &mut SourceConnection,
    visibility: &Visibility,
    limits: &ReaderLimits,
) -> Result<Option<&'static str>, ReadFailure> {
    let set = match visibility {
        Visibility::SharedLock(_) if sabotage::skips("shared-lock") => return Ok(None),
        Visibility::SharedLock(clause) => return Ok(Some(clause)),
        Visibility::WaitForGtid(_) if sabotage::skips("gtid-wait") => return Ok(None),
        Visibility::WaitForGtid(set) if set.is_empty() => return Ok(None),
        Visibility::WaitForGtid(set) => set,
    };
    let params: Vec<Value> = vec![set.as_str().into(), limits.visibility_seconds.into()];
    const DURING: &str = "waiting for the source to commit";
    let address = connection.address().to_owned();
    let sql = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)";
    let rows = within(limits.answer, DURING, &address, connection.query_with(DURING, sql, params)).await??;
    // 0: committed; 1: the time is over.
    let committed = rows.first().and_then(|row| row.get_opt::<u64, _>(0)).and_then(Result::ok) == Some(0);
    if committed { Ok(None) } else { Err(ReadFailure::Behind) }
}

/// Runs a statement that returns at most one key.
async fn find(
    connection: &mut SourceConnection,
    table: &TableReader,
    statement: Statement,
    limit: Duration,
) -> Result<Option<Vec<KeyValue>>, ReadFailure> {
    const DURING: &str = "finding a chunk's end";
    let address = connection.address().to_owned();
    let asked = connection.query_with(DURING, &statement.sql, statement.params);
    let rows = within(limit, DURING, &address, asked).await??;
    rows.first().map(|row| table.sql.key_of_bound(row).map_err(ReadFailure::from)).transpose()
}

/// Waits for an answer of the server for `limit` at most. The connection must go if there is none.
async fn within<T>(
    limit: Duration,
    during: &str,
    address: &str,
    answer: impl Future<Output = T>,
) -> Result<T, ReadFailure> {
    tokio::time::timeout(limit, answer).await.map_err(|_| said_nothing(limit, during, address))
}

fn said_nothing(limit: Duration, during: &str, address: &str) -> ReadFailure {
    let reason = format!("the server has said nothing for {} s", limit.as_secs());
    ReadFailure::Silent(SourceError::transient(during, address, reason, "the connection is opened again"))
}

/// The rows of one SELECT on their way to the sequencer.
struct RowStream<'a> {
    reader: usize,
    limits: ReaderLimits,
    messages: &'a mpsc::Sender<(usize, ReaderMessage)>,
    row: &'a mut EncodedRow,
    order: &'a ReaderOrder,
}

impl RowStream<'_> {
    async fn run(self, connection: &mut SourceConnection, statement: Statement) -> Result<(), Stop> {
        const DURING: &str = "reading a chunk";
        let Self { reader, limits, messages, row: encoded, order } = self;
        let (address, attendant) = (connection.address().to_owned(), connection.attendant());
        let failed = |error: &mysql_async::Error| {
            Stop::Broken(SourceError::from_driver(DURING, &address, error).into(), None)
        };
        let params = Params::from(statement.params);
        let driver = connection.driver();
        let silent = |failure: ReadFailure| Stop::Broken(failure, None);
        let asked = attendant.attend(DURING, driver.exec_iter(statement.sql, params));
        let executed = within(limits.answer, DURING, &address, asked).await.map_err(silent)?;
        let executed = executed.map_err(|lost| silent(lost.into()))?;
        let mut result = executed.map_err(|error| match error {
            // The server refused the statement: the session is as good as before.
            mysql_async::Error::Server(_) => {
                Stop::Failed(SourceError::from_driver(DURING, &address, &error).into())
            }
            _ => failed(&error),
        })?;
        let broken = |failure: ReadFailure| Stop::Broken(failure, None);
        order.table.encoder.check_columns(result.columns_ref()).map_err(|error| broken(error.into()))?;
        let mut builder = BatchBuilder::default();
        let mut last_key = None;
        let until = Instant::now() + limits.undrained;
        // One timer for the rows of a batch: a row is too little to set one for. It goes off twice: the wait is shown then,
        // and ends.
        let quiet = SHOWN.min(limits.silence);
        let mut silence = pin!(tokio::time::sleep(quiet));
        let mut shown = None;
        loop {
            let next = tokio::select! {
                biased;
                next = result.next() => next,
                () = silence.as_mut() => {
                    if shown.is_some() || limits.silence == quiet {
                        return Err(silent(said_nothing(limits.silence, DURING, &address)));
                    }
                    shown = Some(attendant.show(DURING, limits.silence));
                    silence.as_mut().reset(Instant::now() + (limits.silence - quiet));
                    continue;
                }
            };
            let Some(row) = next.map_err(|error| failed(&error))? else { break };
            let checked = order.table.sql.check_key(&row);
            checked.and_then(|()| order.table.encoder.encode_row(&row, encoded)).map_err(|error| {
                let place = place_of(order, &row);
                broken(ReadFailure::Row { error, place })
            })?;
            builder.push(encoded);
            if builder.bytes() >= limits.batch_bytes {
                let key = order.table.sql.key_of(&row).map_err(|error| broken(error.into()))?;
                let batch = builder.finish(key);
                deliver(messages, reader, order, batch, until).await?;
                shown = None;
                silence.as_mut().reset(Instant::now() + quiet);
                // However promptly the rows are taken: statistics may have made the chunk far too large.
                if Instant::now() >= until {
                    return Err(broken(ReadFailure::Undrained));
                }
                last_key = None;
            } else {
                last_key = Some(row);
            }
        }
        if let Some(row) = last_key {
            let key = order.table.sql.key_of(&row).map_err(|error| broken(error.into()))?;
            deliver(messages, reader, order, builder.finish(key), until).await?;
        }
        Ok(())
    }
}

/// Which row it is, for a person who has to find it: by its key, or else by the chunk.
#[cold]
fn place_of(order: &ReaderOrder, row: &mysql_async::Row) -> String {
    let sql = &order.table.sql;
    match (sql.key_of(row), &order.work) {
        (Ok(key), _) => sql.describe(&key),
        (Err(_), Work::Read { range }) => sql.describe_range(range),
        (Err(_), _) => "whose key cannot be read".to_owned(),
    }
}

/// Hands a batch over. If nobody takes it in time, gives it back with the reason to end the SELECT: each SELECT
/// brings at least this one on.
async fn deliver(
    messages: &mpsc::Sender<(usize, ReaderMessage)>,
    reader: usize,
    order: &ReaderOrder,
    batch: RowBatch,
    until: Instant,
) -> Result<(), Stop> {
    if order.cancelled.load(Ordering::Relaxed) {
        return Err(Stop::Broken(ReadFailure::Cancelled, None));
    }
    match tokio::time::timeout_at(until, messages.reserve()).await {
        Ok(Ok(permit)) => {
            permit.send((reader, ReaderMessage::Batch { id: order.id, batch }));
            Ok(())
        }
        Ok(Err(_)) => Err(Stop::Gone),
        Err(_) => Err(Stop::Broken(ReadFailure::Undrained, Some(batch))),
    }
}
