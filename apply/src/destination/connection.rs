//! Connections to the destination: `[destination]` enters, sessions with known settings leave. The pool bounds how
//! many merges run at a time.

use super::error::{DestinationError, describe};
use super::session;
use native_tls::{Certificate, Identity, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Client, NoTls, Statement};
use tributary_schemas::config::{DestinationConfig, TlsConfig, TlsMode};
use tributary_service::exit::{Exit, Failure};
use tributary_service::retry::random;

/// When an idle connection is probed by the kernel: a peer that vanished must not be waited for.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// When the client gives up on a server that does not acknowledge.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the sessions of a running instance are called, before numbers.
const INSTANCES: &str = "tributary apply ";

/// What connections are made from.
pub struct Connector {
    config: tokio_postgres::Config,
    tls: Option<MakeTlsConnector>,
    address: String,
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
        let address = format!("{}:{}/{}", destination.host, destination.port, destination.database);
        let tls = tls_connector(&destination.tls).map_err(|why| {
            Failure::new("cannot set up encryption to the destination", why)
                .at("destination.tls")
                .remedy("ca, cert and key are PEM files, key in PKCS #8")
                .exit(Exit::Usage)
        })?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(&destination.host)
            .port(destination.port)
            .dbname(&destination.database)
            .user(&destination.user)
            .application_name(INSTANCES.trim_end())
            .connect_timeout(Duration::from_millis(destination.connect_timeout_ms))
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(USER_TIMEOUT);
        if !destination.password.is_empty() {
            config.password(destination.password.reveal());
        }
        if tls.is_some() {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        } else {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        }
        let lock_timeout_ms = destination.lock_timeout_ms;
        let application = INSTANCES.trim_end().to_owned();
        Ok(Self { config, tls, address, lock_timeout_ms, application, siblings: INSTANCES.to_owned() })
    }

    /// As [`Self::new`], with a name that tells the sessions of this instance from those of others; `bookkeeping`: a number
    /// that the instances with one bookkeeping have in common.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_instance(destination: &DestinationConfig, bookkeeping: i64) -> Result<Self, Failure> {
        let mut connector = Self::new(destination)?;
        let own = random().to_bits();
        connector.siblings = format!("{INSTANCES}{bookkeeping:016x} ");
        connector.application = format!("{}{own:016x}", connector.siblings);
        connector.config.application_name(&connector.application);
        Ok(connector)
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
        &self.address
    }

    /// Opens a session whose settings do not depend on the server's defaults.
    ///
    /// # Errors
    /// [`DestinationError::Connect`], transient unless the server has refused this user or database, or what is
    /// configured can never connect.
    pub async fn connect(&self) -> Result<Connection, DestinationError> {
        let failed = |error: tokio_postgres::Error| DestinationError::Connect {
            address: self.address.clone(),
            transient: super::error::may_connect_later(&error),
            reason: describe(&error),
        };
        let client = if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await.map_err(failed)?;
            tokio::spawn(connection);
            client
        } else {
            let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(connection);
            client
        };
        let unlike = session::set_up(&client, self.lock_timeout_ms).await.map_err(failed)?;
        Ok(Connection { client, statements: HashMap::new(), unlike })
    }
}

/// The TLS side of `destination.tls`; `None` for plain TCP.
fn tls_connector(tls: &TlsConfig) -> Result<Option<MakeTlsConnector>, String> {
    if tls.mode == TlsMode::Disable {
        return Ok(None);
    }
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut builder = TlsConnector::builder();
    builder
        .danger_accept_invalid_certs(tls.mode == TlsMode::Require)
        .danger_accept_invalid_hostnames(tls.mode != TlsMode::VerifyFull);
    if let Some(path) = &tls.ca {
        let authorities = Certificate::stack_from_pem(&read(path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        builder.disable_built_in_roots(true);
        for authority in authorities {
            builder.add_root_certificate(authority);
        }
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let identity = Identity::from_pkcs8(&read(cert)?, &read(key)?)
            .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
        builder.identity(identity);
    }
    let connector = builder.build().map_err(|error| error.to_string())?;
    Ok(Some(MakeTlsConnector::new(connector)))
}

/// A session, with the statements it has prepared.
pub struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    unlike: Vec<String>,
}

impl Connection {
    /// Settings of the session that this role may not change, and that are not what they should be; for people.
    #[must_use]
    pub fn unlike(&self) -> &[String] {
        &self.unlike
    }

    /// `sql`, prepared once a session.
    ///
    /// # Errors
    /// What the server says about it.
    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Ends a transaction with COMMIT.
    ///
    /// # Errors
    /// [`DestinationError::CommitUnknown`] if the answer did not come; [`DestinationError::Statement`] if the server
    /// has said that it rolled back.
    pub async fn commit(&mut self) -> Result<(), DestinationError> {
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => Ok(()),
            Err(error) if error.code().is_some() && !self.client.is_closed() => {
                Err(DestinationError::Statement { doing: "committing".to_owned(), source: error })
            }
            Err(error) => Err(DestinationError::CommitUnknown { reason: describe(&error) }),
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A bounded number of connections, opened when needed.
pub struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    definitions: Arc<Semaphore>,
}

impl Pool {
    /// At most `size` connections.
    #[must_use]
    pub fn new(connector: Connector, size: u32) -> Arc<Self> {
        let size = usize::try_from(size.max(1)).unwrap_or(1);
        Arc::new(Self {
            connector,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(size)),
            definitions: Arc::new(Semaphore::new((size / 2).max(1))),
        })
    }

    /// A turn to change the definition of a table, which may wait for its readers: such waits never take more than half
    /// of the connections. Taken before the connection.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, DestinationError> {
        Arc::clone(&self.definitions).acquire_owned().await.map_err(|_| self.closed())
    }

    fn closed(&self) -> DestinationError {
        DestinationError::Connect {
            address: self.connector.address.clone(),
            reason: "the pool is closed".to_owned(),
            transient: false,
        }
    }

    /// What it connects with.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// An idle connection, or a new one; waits while all are in use.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn acquire(self: &Arc<Self>) -> Result<Lease, DestinationError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| self.closed())?;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) if connection.is_closed() => continue,
                Some(connection) => connection,
                None => self.connector.connect().await?,
            };
            return Ok(Lease { connection, pool: Arc::clone(self), _permit: permit });
        }
    }
}

/// A connection on loan. It goes back to the pool only by [`Lease::release`]: one that is dropped in the middle of a
/// transaction is closed, which rolls back.
pub struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the connection back for others. Only between transactions.
    pub fn release(self) {
        let Self { connection, pool, _permit } = self;
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
