//! Connections to the source: the section `[source]` enters, a [`Connection`] leaves whose session is the same whatever the
//! server's defaults are. Invariant: in every session times are in UTC, text is utf8mb4 and no SQL mode changes what
//! a SELECT returns.

use crate::attended::{Attendant, IDENTITY};
use crate::error::SourceError;
use crate::replication::Endpoint;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Params, Row, SslOpts};
use native_tls::{Certificate, Identity};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::path::Path;
use std::time::Duration;
use tokio_native_tls::TlsConnector;
use tributary_schemas::config::{SourceConfig, TlsConfig, TlsMode};
use tributary_service::waits::Waits;

/// When an idle connection is probed by the kernel: a peer that vanished must not be waited for.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The largest packet the protocol allows in one value, bytes.
const MAX_PACKET_BYTES: usize = 1 << 30;

/// The default is a year: behind an ALTER a reader would hang without a word.
pub(crate) const LOCK_WAIT: &str = "SET SESSION lock_wait_timeout = 60";
/// Statements every session begins with.
pub(crate) const SESSION: [&str; 9] = [
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION sql_mode = ''",
    // The reader may be held back by Kafka for longer than the server's default of a minute.
    "SET SESSION net_write_timeout = 600",
    "SET SESSION wait_timeout = 28800",
    LOCK_WAIT,
    "SET SESSION autocommit = 1",
    // A server whose default is READ UNCOMMITTED would show rows that are rolled back later.
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    // Limits and readings that a server may have as its defaults: rows that are not sent, SELECTs that are refused, keys
    // whose first bytes alone are sorted by, names without quotes.
    "SET SESSION sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_auto_is_null = 0, \
     sql_quote_show_create = 1, max_sort_length = 4096",
];
/// Statements for variables that not every server has.
pub(crate) const OPTIONAL: [&str; 6] = [
    // A server-wide limit on the time of a SELECT is not meant for this.
    "SET SESSION max_execution_time = 0",
    // Else a hidden primary key is missing from the catalog, but not from row images.
    "SET SESSION show_gipk_in_create_table_and_information_schema = ON",
    // Else estimates of tables can be a day old.
    "SET SESSION information_schema_stats_expiry = 0",
    // Else a column's type is printed with a comment.
    "SET SESSION show_old_temporals = OFF",
    // A secondary engine, or PolarDB's column index, is behind the rows.
    "SET SESSION use_secondary_engine = OFF",
    "SET SESSION use_imci_engine = OFF",
];
/// Unknown system variable, one that is global only, one that cannot be set.
pub(crate) const UNKNOWN_VARIABLE: [u16; 3] = [1193, 1229, 1238];

/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is being done, for messages.
const CONNECTING: &str = "connecting";

/// What a connection is made from.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    opts: Opts,
    endpoint: Endpoint,
    address: String,
    connect_timeout: Duration,
    waits: Waits,
}

impl SourceOptions {
    /// Prepares connections; nothing is opened yet but the files that `source.tls` names.
    ///
    /// # Errors
    /// Definite, if such a file cannot be read or is not what it should be.
    pub fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        let address = format!("{}:{}", config.host, config.port);
        let unreadable = |reason| {
            let remedy = "correct source.tls: ca, cert and key are PEM files, key in PKCS #8";
            SourceError::definite("reading the files of source.tls", &address, reason, remedy)
        };
        let tls = ssl_options(&config.tls).map_err(unreadable)?;
        let endpoint = Endpoint {
            host: config.host.clone(),
            port: config.port,
            user: config.user.clone(),
            password: config.password.clone(),
            tls: connector(&config.tls).map_err(unreadable)?,
            keepalive: KEEPALIVE,
            max_packet_bytes: MAX_PACKET_BYTES,
        };
        let builder = OptsBuilder::default()
            .ip_or_hostname(config.host.clone())
            .tcp_port(config.port)
            .user(Some(config.user.clone()))
            .pass(Some(config.password.reveal().to_owned()))
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .tcp_nodelay(true)
            .max_allowed_packet(Some(MAX_PACKET_BYTES))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(32)
            .ssl_opts(tls);
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let waits = Waits::of_process();
        Ok(Self { opts: builder.into(), endpoint, address, connect_timeout, waits })
    }

    /// The same, whose waits are shown in `waits`.
    #[must_use]
    pub fn shown_in(self, waits: &Waits) -> Self {
        Self { waits: waits.clone(), ..self }
    }

    /// Where it is shown what is waited for.
    #[must_use]
    pub const fn waits(&self) -> &Waits {
        &self.waits
    }

    /// How long one attempt to connect may take.
    pub(crate) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection and sets its session up.
    ///
    /// # Errors
    /// Transient if the server is away, definite if it refuses us.
    pub async fn connect(&self) -> Result<Connection, SourceError> {
        self.within_connect_timeout(self.open()).await
    }

    /// What `opening` gives, or that the server does not answer.
    pub(crate) async fn within_connect_timeout<T>(
        &self,
        opening: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let _wait =
            self.waits.answer(format!("the source {}: {CONNECTING}", self.address), self.connect_timeout);
        let opened = tokio::time::timeout(self.connect_timeout, opening).await;
        opened.unwrap_or_else(|_| {
            let reason = format!("no answer within {} ms", self.connect_timeout.as_millis());
            let remedy = "tried again; check address, firewall and the cloud's allow list";
            Err(SourceError::transient(CONNECTING, &self.address, reason, remedy))
        })
    }

    async fn open(&self) -> Result<Connection, SourceError> {
        let conn = Conn::new(self.opts.clone()).await;
        let conn = conn.map_err(|error| SourceError::from_driver(CONNECTING, &self.address, &error))?;
        let attendant = Attendant::new(self.clone());
        let mut connection = Connection { conn, address: self.address.clone(), attendant };
        for statement in SESSION {
            connection.execute("setting up the session", statement).await?;
        }
        for statement in OPTIONAL {
            match connection.execute("setting up the session", statement).await {
                Err(error) if !error.code().is_some_and(|code| UNKNOWN_VARIABLE.contains(&code)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        // A server of another kind may refuse the question; what is said of it comes later.
        let identity: Option<String> = match connection.first(CONNECTING, IDENTITY).await {
            Err(error) if error.code().is_some() => None,
            identity => identity?,
        };
        connection.attendant.knows(identity.as_deref());
        Ok(connection)
    }
}

/// The driver's form of `source.tls`; `None` for plain TCP.
fn ssl_options(tls: &TlsConfig) -> Result<Option<SslOpts>, String> {
    if tls.mode == TlsMode::Disable {
        return Ok(None);
    }
    let mut options = SslOpts::default()
        .with_danger_accept_invalid_certs(tls.mode == TlsMode::Require)
        .with_danger_skip_domain_validation(tls.mode != TlsMode::VerifyFull);
    if let Some(ca) = &tls.ca {
        options = options.with_root_certs(vec![read(ca)?.into()]).with_disable_built_in_roots(true);
    }
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let archive = identity(&read(cert)?, &read(key)?)
                .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
            options = options.with_client_identity(Some(ClientIdentity::new(archive.into())));
        }
        (None, None) => {}
        _ => return Err("cert and key go together".to_owned()),
    }
    Ok(Some(options))
}

/// The same for a client that makes its own connections.
fn connector(tls: &TlsConfig) -> Result<Option<TlsConnector>, String> {
    if tls.mode == TlsMode::Disable {
        return Ok(None);
    }
    let mut builder = native_tls::TlsConnector::builder();
    builder.danger_accept_invalid_certs(tls.mode == TlsMode::Require);
    builder.danger_accept_invalid_hostnames(tls.mode != TlsMode::VerifyFull);
    if let Some(ca) = &tls.ca {
        for certificate in authorities(&read(ca)?).map_err(|error| format!("{}: {error}", ca.display()))? {
            builder.add_root_certificate(certificate);
        }
        builder.disable_built_in_roots(true);
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let identity = identity(&read(cert)?, &read(key)?)
            .map_err(|error| error.to_string())
            .and_then(|archive| Identity::from_pkcs12(&archive, "").map_err(|error| error.to_string()))
            .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
        builder.identity(identity);
    }
    let connector = builder.build().map_err(|error| error.to_string())?;
    Ok(Some(connector.into()))
}

/// One certificate as DER, or any number of them as PEM.
fn authorities(bytes: &[u8]) -> Result<Vec<Certificate>, native_tls::Error> {
    Certificate::from_der(bytes).map(|one| vec![one]).or_else(|_| Certificate::stack_from_pem(bytes))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The driver takes a client's certificate only as a PKCS #12 archive.
fn identity(cert: &[u8], key: &[u8]) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let (key, cert) = (PKey::private_key_from_pem(key)?, X509::from_pem(cert)?);
    Pkcs12::builder().name("tributary").pkey(&key).cert(&cert).build2("")?.to_der()
}

/// An open session on the source. Errors name the server and what was being done.
#[derive(Debug)]
pub struct Connection {
    conn: Conn,
    address: String,
    attendant: Attendant,
}

impl Connection {
    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's id of this session, for KILL.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// The driver's connection, for what this type has no method for.
    pub fn driver(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Who attends to what is waited for over [`Self::driver`].
    #[must_use]
    pub fn attendant(&self) -> Attendant {
        self.attendant.clone()
    }

    /// Sorts an error of [`Self::driver`].
    #[must_use]
    pub fn explain(&self, during: &str, error: &mysql_async::Error) -> SourceError {
        SourceError::from_driver(during, &self.address, error)
    }

    /// Runs a statement whose result does not matter.
    pub async fn execute(&mut self, during: &str, sql: &str) -> Result<(), SourceError> {
        let result = self.attendant.attend(during, self.conn.query_drop(sql)).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement by the text protocol and collects its rows.
    pub async fn query(&mut self, during: &str, sql: &str) -> Result<Vec<Row>, SourceError> {
        let result = self.attendant.attend(during, self.conn.query(sql)).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement with parameters by the binary protocol and collects its rows.
    pub async fn query_with(
        &mut self,
        during: &str,
        sql: &str,
        params: impl Into<Params>,
    ) -> Result<Vec<Row>, SourceError> {
        let result = self.attendant.attend(during, self.conn.exec(sql, params.into())).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement by the text protocol and converts its first row, if there is one.
    ///
    /// # Errors
    /// What the server or the network said, or a row of another shape.
    pub async fn first<T>(&mut self, during: &str, sql: &str) -> Result<Option<T>, SourceError>
    where
        T: FromRow + Send + 'static,
    {
        let rows = self.query(during, sql).await?;
        rows.into_iter().next().map(T::from_row_opt).transpose().map_err(|_| {
            SourceError::definite(during, &self.address, "the answer has another shape", "report this")
        })
    }

    /// Ends the session in good order, if the server still listens.
    ///
    /// # Errors
    /// What the network said; the session is gone in any case.
    pub async fn close(self) -> Result<(), SourceError> {
        let said = tokio::time::timeout(GOODBYE, self.conn.disconnect()).await.unwrap_or(Ok(()));
        said.map_err(|error| SourceError::from_driver("disconnecting", &self.address, &error))
    }
}
