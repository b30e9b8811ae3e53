//! The way to the destination: the section `[destination]` enters, connections leave on which nothing has been said yet.

use super::error::{DestinationError, describe, may_connect_later};
use postgres_native_tls::MakeTlsConnector;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Error, NoTls};
use tributary_config::DestinationConfig;
use tributary_service::exit::{Exit, Failure};
use tributary_service::tls;
use tributary_service::waits::Waits;

/// When an idle connection is probed by the kernel: a peer that vanished must not be waited for.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// When the client gives up on a server that does not acknowledge.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// What connections are made with.
#[derive(Clone)]
pub(super) struct Dial {
    config: tokio_postgres::Config,
    tls: Option<MakeTlsConnector>,
    address: String,
    connect_timeout: Duration,
    waits: Waits,
    /// Grows whenever a connection was found to be cut off.
    doubts: Arc<AtomicU64>,
}

impl Dial {
    /// Nothing is opened yet but the files that `destination.tls` names. `application`: what the sessions are called.
    pub(super) fn new(destination: &DestinationConfig, application: &str) -> Result<Self, Failure> {
        let address = format!("{}:{}/{}", destination.host, destination.port, destination.database);
        let connector = tls::connector(&destination.tls).map_err(|why| {
            Failure::new("cannot set up encryption to the destination", why)
                .at("destination.tls")
                .remedy(tls::FILES)
                .exit(Exit::Usage)
        })?;
        let connect_timeout = Duration::from_millis(destination.connect_timeout_ms);
        let mut config = tokio_postgres::Config::new();
        config
            .host(&destination.host)
            .port(destination.port)
            .dbname(&destination.database)
            .user(&destination.user)
            .application_name(application)
            .connect_timeout(connect_timeout)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(USER_TIMEOUT);
        if !destination.password.is_empty() {
            config.password(destination.password.reveal());
        }
        if connector.is_some() {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        } else {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        }
        let (waits, doubts) = (Waits::of_process(), Arc::default());
        let tls = connector.map(MakeTlsConnector::new);
        Ok(Self { config, tls, address, connect_timeout, waits, doubts })
    }

    /// What the sessions are called from now on.
    pub(super) fn called(&mut self, application: &str) {
        self.config.application_name(application);
    }

    pub(super) fn shown_in(&mut self, waits: &Waits) {
        self.waits = waits.clone();
    }

    /// `host:port/database`, for messages.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How long one attempt to connect may take.
    pub(super) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Where it is shown what is waited for.
    pub(super) const fn waits(&self) -> &Waits {
        &self.waits
    }

    /// How many connections have been found to be cut off.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
    }

    /// One is cut off, and so may be all that were opened before.
    pub(super) fn doubt_older(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that has logged in, and what ends it.
    pub(super) async fn open(&self) -> Result<(Client, AbortHandle), Error> {
        Ok(if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await?;
            (client, tokio::spawn(connection).abort_handle())
        } else {
            let (client, connection) = self.config.connect(NoTls).await?;
            (client, tokio::spawn(connection).abort_handle())
        })
    }

    /// What a step of connecting gives, or that the server does not answer.
    pub(super) async fn within_timeout<T>(
        &self,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DestinationError> {
        let _wait =
            self.waits.answer(format!("the destination {}: connecting", self.address), self.connect_timeout);
        let failed = |reason, transient| DestinationError::Connect {
            address: self.address.clone(),
            reason,
            transient,
        };
        match tokio::time::timeout(self.connect_timeout, step).await {
            Ok(stepped) => stepped.map_err(|error| failed(describe(&error), may_connect_later(&error))),
            Err(_) => Err(failed(format!("no answer within {} ms", self.connect_timeout.as_millis()), true)),
        }
    }
}
