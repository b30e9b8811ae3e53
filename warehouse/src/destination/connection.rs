//! Connections to the destination: `[destination]` enters, sessions with known settings leave. The pool bounds how
//! many merges run at a time.

use super::attended::Attendant;
use super::dial::Dial;
use super::error::{DestinationError, describe};
use super::session;
use super::turns::{Turn, Turns};
use crate::merge::names::TargetName;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::types::{BorrowToSql, ToSql};
use tokio_postgres::{Client, CopyInSink, Error, Row, RowStream, SimpleQueryMessage, Statement, ToStatement};
use tributary_config::DestinationConfig;
use tributary_service::exit::Failure;
use tributary_service::waits::Waits;
use uuid::Uuid;

/// What the sessions of a running instance are called, before numbers.
const INSTANCES: &str = "tributary apply ";

/// What connections are made from.
pub struct Connector {
    dial: Arc<Dial>,
    lock_timeout_ms: u64,
    application: String,
    siblings: String,
}

impl Connector {
    /// Prepares connections; nothing is opened yet but the files that `destination.tls` names.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be.
    pub fn new(destination: &DestinationConfig) -> Result<Self, Failure> {
        let application = INSTANCES.trim_end().to_owned();
        let dial = Arc::new(Dial::new(destination, &application)?);
        let lock_timeout_ms = destination.lock_timeout_ms;
        Ok(Self { dial, lock_timeout_ms, application, siblings: INSTANCES.to_owned() })
    }

    /// As [`Self::new`], with a name that tells the sessions of this instance from those of others; `bookkeeping`: a number
    /// that the instances with one bookkeeping have in common.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_instance(destination: &DestinationConfig, bookkeeping: i64) -> Result<Self, Failure> {
        let mut connector = Self::new(destination)?;
        let (_, own) = Uuid::new_v4().as_u64_pair();
        connector.siblings = format!("{INSTANCES}{bookkeeping:016x} ");
        connector.application = format!("{}{own:016x}", connector.siblings);
        Arc::make_mut(&mut connector.dial).called(&connector.application);
        Ok(connector)
    }

    /// The same, whose waits are shown in `waits`.
    #[must_use]
    pub fn shown_in(mut self, waits: &Waits) -> Self {
        Arc::make_mut(&mut self.dial).shown_in(waits);
        self
    }

    /// What its sessions are called, and what the names of all instances with its bookkeeping begin with.
    #[must_use]
    pub fn names(&self) -> (&str, &str) {
        (&self.application, &self.siblings)
    }

    /// How long a session waits for a lock, ms.
    #[must_use]
    pub const fn lock_timeout_ms(&self) -> u64 {
        self.lock_timeout_ms
    }

    /// `host:port/database`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        self.dial.address()
    }

    /// Opens a session whose settings do not depend on the server's defaults.
    ///
    /// # Errors
    /// [`DestinationError::Connect`], transient unless the server has refused this user or database, or what is
    /// configured can never connect.
    pub async fn connect(&self) -> Result<Connection, DestinationError> {
        let born = self.dial.doubts();
        let (client, connection) = self.dial.within_timeout(self.dial.open()).await?;
        let set_up = session::set_up(&client, self.lock_timeout_ms);
        let unlike = self.dial.within_timeout(set_up).await?;
        let known = Attendant::new(Arc::clone(&self.dial), &client, connection);
        let attendant = self.dial.within_timeout(known).await?;
        Ok(Connection { client, attendant, born, statements: HashMap::new(), unlike })
    }
}

/// A session, with the statements it has prepared. Whatever is asked over it is attended to: see [`super::attended`].
pub struct Connection {
    client: Client,
    attendant: Attendant,
    /// What was in doubt when it was opened.
    born: u64,
    statements: HashMap<String, Statement>,
    unlike: Vec<String>,
}

pub trait Shown: ToStatement {
    /// Its text, or what stands for it.
    fn shown(&self) -> &str;
}

impl Shown for str {
    fn shown(&self) -> &str {
        self
    }
}

impl Shown for String {
    fn shown(&self) -> &str {
        self
    }
}

impl Shown for Statement {
    fn shown(&self) -> &str {
        "a prepared statement"
    }
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The client's own methods; each gives what the server says, or that the connection broke.
#[allow(clippy::missing_errors_doc, reason = "as said above")]
impl Connection {
    /// Runs statements whose results do not matter.
    pub async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.attendant.attend(sql, self.client.batch_execute(sql)).await
    }

    /// Runs statements by the simple protocol.
    pub(crate) async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.attendant.attend(sql, self.client.simple_query(sql)).await
    }

    /// Runs a statement; how many rows it has changed.
    pub(crate) async fn execute<T: ?Sized + Shown>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> Result<u64, Error> {
        self.attendant.attend(statement.shown(), self.client.execute(statement, params)).await
    }

    /// Runs a statement; its rows.
    pub async fn query<T: ?Sized + Shown>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        self.attendant.attend(statement.shown(), self.client.query(statement, params)).await
    }

    /// Runs a statement that gives one row.
    pub async fn query_one<T: ?Sized + Shown>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> Result<Row, Error> {
        self.attendant.attend(statement.shown(), self.client.query_one(statement, params)).await
    }

    /// Runs a statement that gives one row or none.
    pub(crate) async fn query_opt<T: ?Sized + Shown>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> Result<Option<Row>, Error> {
        self.attendant.attend(statement.shown(), self.client.query_opt(statement, params)).await
    }

    /// The rows are to be waited for by [`Connection::attend`].
    pub(crate) async fn query_raw<P, I>(&self, statement: &Statement, params: I) -> Result<RowStream, Error>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        self.attendant.attend(statement.shown(), self.client.query_raw(statement, params)).await
    }

    /// What is sent is to be waited for by [`Connection::attend`].
    pub async fn copy_in(&self, statement: &Statement) -> Result<CopyInSink<Bytes>, Error> {
        self.attendant.attend("COPY", self.client.copy_in(statement)).await
    }

    /// Waits for a part of an answer, or until the server has taken a part of what is sent.
    pub async fn attend<T>(&self, what: &str, answer: impl Future<Output = T>) -> T {
        self.attendant.attend(what, answer).await
    }
}

impl Connection {
    /// Settings of the session that this role may not change, and that are not what they should be; for people.
    #[must_use]
    pub fn unlike(&self) -> &[String] {
        &self.unlike
    }

    /// True once it broke.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// `sql`, prepared once a session.
    ///
    /// # Errors
    /// What the server says about it.
    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            // What is run by its number is told by its text.
            self.attendant.tell(sql);
            return Ok(statement.clone());
        }
        let statement = self.attendant.attend(sql, self.client.prepare(sql)).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Ends a transaction with COMMIT.
    ///
    /// # Errors
    /// [`DestinationError::CommitUnknown`] if the answer did not come; [`DestinationError::Statement`] if the server
    /// has said that it rolled back.
    pub async fn commit(&mut self) -> Result<(), DestinationError> {
        match self.batch_execute("COMMIT").await {
            Ok(()) => Ok(()),
            Err(error) if error.code().is_some() && !self.client.is_closed() => {
                Err(DestinationError::Statement { doing: "committing".to_owned(), source: error })
            }
            Err(error) => Err(DestinationError::CommitUnknown { reason: describe(&error) }),
        }
    }
}

/// A bounded number of connections, opened when needed.
pub struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
    connections: Turns,
    definitions: Turns,
    blocked: Turns,
}

impl Pool {
    /// At most `size` connections.
    #[must_use]
    pub fn new(connector: Connector, size: u32) -> Arc<Self> {
        let size = usize::try_from(size.max(1)).unwrap_or(1);
        let turns = |what: &str, places: usize| {
            Turns::new(format!("{what} at the destination {}", connector.address()), places.max(1))
        };
        Arc::new(Self {
            connections: turns("a connection", size),
            definitions: turns("a turn to change a definition", size / 2),
            blocked: turns("a turn to wait for locks", size - 1),
            idle: Mutex::new(Vec::new()),
            connector,
        })
    }

    /// A turn to take `target` for itself, which may mean to wait for its readers: such waits never take more than half of the
    /// connections. `conflicts` as in [`Self::turn_to_wait`], whose turn comes first: one that nobody blocks does not wait
    /// behind whoever waits for that. Taken before the connection.
    pub async fn turn_to_define(&self, target: &TargetName, conflicts: u32) -> (Option<Turn>, Turn) {
        let waiting = self.turn_to_wait(target, conflicts).await;
        (waiting, self.definitions.take(target.to_string(), self.connector.dial.waits()).await)
    }

    /// A turn to wait for locks of `target`, if its last attempts have met those of others, as `conflicts` counts: whoever is
    /// known to wait leaves one connection of several to everybody else. Taken before the connection.
    pub async fn turn_to_wait(&self, target: &TargetName, conflicts: u32) -> Option<Turn> {
        match conflicts {
            0 => None,
            _ => Some(self.blocked.take(target.to_string(), self.connector.dial.waits()).await),
        }
    }

    /// What it connects with.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// An idle connection, or a new one, for `whom`; waits while all are in use.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn acquire(
        self: &Arc<Self>,
        whom: impl Into<Cow<'static, str>>,
    ) -> Result<Lease, DestinationError> {
        let turn = self.connections.take(whom, self.connector.dial.waits()).await;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) if connection.is_closed() => continue,
                // What has cut one off may have cut off all that were open then.
                Some(connection) if connection.born < self.connector.dial.doubts() => continue,
                Some(connection) => connection,
                None => self.connector.connect().await?,
            };
            return Ok(Lease { connection, pool: Arc::clone(self), _turn: turn });
        }
    }
}

/// A connection on loan. It goes back to the pool only by [`Lease::release`]: one that is dropped in the middle of a
/// transaction is closed, which rolls back.
pub struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
    _turn: Turn,
}

impl Lease {
    /// Gives the connection back for others. Only between transactions.
    pub fn release(self) {
        let Self { connection, pool, _turn } = self;
        if !connection.is_closed() {
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
