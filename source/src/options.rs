//! What connections to the source are made from: the section `[source]` enters, and what every session begins with.

use crate::error::SourceError;
use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};
use std::time::Duration;
use tributary_config::{SourceConfig, TlsConfig, TlsMode};
use tributary_service::tls::{self, client_archive, read};
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
pub(crate) const OPTIONAL: [&str; 7] = [
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
    // Rows are read by the index that is the key, also by one that others are not to use.
    "SET SESSION optimizer_switch = 'use_invisible_indexes=on'",
];
/// Unknown system variable, one that is global only, one that cannot be set to this, one that cannot be set.
pub(crate) const UNKNOWN_VARIABLE: [u16; 4] = [1193, 1229, 1231, 1238];

/// What is being done, for messages.
pub(crate) const CONNECTING: &str = "connecting";

/// What the parts of [`SourceOptions`] are for the client of the replication stream.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: tributary_config::Secret,
    pub(crate) tls: Option<tokio_native_tls::TlsConnector>,
    pub(crate) keepalive: Duration,
    pub(crate) max_packet_bytes: usize,
}

/// What a connection is made from.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub(crate) opts: Opts,
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
        let unreadable =
            |reason| SourceError::definite("reading the files of source.tls", &address, reason, tls::FILES);
        let tls = ssl_options(&config.tls).map_err(unreadable)?;
        let endpoint = Endpoint {
            host: config.host.clone(),
            port: config.port,
            user: config.user.clone(),
            password: config.password.clone(),
            tls: tls::connector(&config.tls).map_err(unreadable)?.map(Into::into),
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
    if let Some(archive) = client_archive(tls)? {
        options = options.with_client_identity(Some(ClientIdentity::new(archive.into())));
    }
    Ok(Some(options))
}
