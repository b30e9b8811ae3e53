//! The real servers of `deploy/local`, in an instance that belongs to the tests.

use crate::kafka_proxy::KafkaProxy;
use mysql_async::prelude::Queryable;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the servers are, and how to get in.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Name of the instance.
    pub instance: String,
    variables: HashMap<String, String>,
}

/// The root of the checkout.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout")
}

impl Servers {
    /// The instance all tests share; started by the first that asks.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| Self::up("test", &[]))
    }

    /// Starts (or finds) an instance; `mysql_flags` are mysqld's own.
    #[must_use]
    pub fn up(instance: &str, mysql_flags: &[&str]) -> Self {
        let servers = Self { instance: instance.to_owned(), variables: HashMap::new() };
        if !mysql_flags.is_empty() {
            let arguments: Vec<&str> = ["up", "mysql", "--"].iter().chain(mysql_flags).copied().collect();
            servers.control(&arguments);
        }
        servers.control(&["up"]);
        servers.read_variables()
    }

    /// Starts an instance whose Kafka tells clients to come through a proxy.
    ///
    /// # Panics
    /// If a server cannot be started.
    #[must_use]
    pub fn behind_proxy(instance: &str) -> (Self, KafkaProxy) {
        let servers = Self { instance: instance.to_owned(), variables: HashMap::new() };
        let mut servers = servers.read_variables();
        let proxy = KafkaProxy::start_behind(|port| servers.up_behind(port));
        servers.control(&["up"]);
        servers.variables.insert("KAFKA_BROKERS".to_owned(), format!("127.0.0.1:{}", proxy.port()));
        (servers, proxy)
    }

    /// Has Kafka listen on one more port, and tell those who come there that it is at `proxy`; returns that port. What the
    /// broker says to itself (it writes the markers of transactions like that) goes another way: a line to a cluster is not
    /// one within it.
    ///
    /// # Panics
    /// If there is no port, or Kafka cannot be started.
    pub fn up_behind(&self, proxy: u16) -> u16 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let line = free.expect("there is a port").port();
        let (own, controller) = (self.get("KAFKA_PORT"), self.get("KAFKA_CONTROLLER_PORT"));
        let at = "127.0.0.1";
        let listeners =
            format!("listeners=BROKER://{at}:{own},LINE://{at}:{line},CONTROLLER://{at}:{controller}");
        let advertised = format!("advertised.listeners=BROKER://{at}:{own},LINE://{at}:{proxy}");
        let protocols = "listener.security.protocol.map=BROKER:PLAINTEXT,LINE:PLAINTEXT,CONTROLLER:PLAINTEXT";
        self.control(&["up", "kafka", "--", &listeners, &advertised, protocols]);
        line
    }

    fn read_variables(mut self) -> Self {
        for line in self.control(&["env"]).lines() {
            if let Some((name, value)) = line.split_once('=') {
                self.variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        self
    }

    /// Runs `deploy/local/servers` for this instance, and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&self, arguments: &[&str]) -> String {
        let script: PathBuf = root().join("deploy/local/servers");
        let output = Command::new(&script).args(["--instance", &self.instance]).args(arguments).output();
        let output = output.expect("deploy/local/servers can be run");
        assert!(
            output.status.success(),
            "servers {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Deletes an instance that one test had for itself. A test that fails does not come here, and leaves its servers
    /// and their data to be looked at.
    ///
    /// # Panics
    /// If it fails.
    pub fn discard(&self) {
        self.control(&["reset"]);
    }

    /// A variable of `servers env`.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("servers env has no {name}"))
    }

    /// A connection to MySQL as root, in UTC and without strict mode, so that every edge value can be written.
    ///
    /// # Panics
    /// If it fails.
    pub async fn mysql(&self) -> mysql_async::Conn {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(self.get("MYSQL_HOST"))
            .tcp_port(self.get("MYSQL_PORT").parse().expect("a port"))
            .user(Some("root"))
            .pass(Some(self.get("MYSQL_ROOT_PASSWORD")));
        let mut connection = mysql_async::Conn::new(options).await.expect("MySQL answers");
        connection
            .query_drop("SET time_zone = '+00:00', sql_mode = ''")
            .await
            .expect("the session can be set up");
        connection
    }

    /// A connection to PostgreSQL as the loader.
    ///
    /// # Panics
    /// If it fails.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.get("PG_HOST"))
            .port(self.get("PG_PORT").parse().expect("a port"))
            .dbname(self.get("PG_DATABASE"))
            .user(self.get("PG_USER"))
            .password(self.get("PG_PASSWORD"));
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("PostgreSQL answers");
        tokio::spawn(connection);
        client
            .batch_execute("SET TIME ZONE 'UTC'; SET extra_float_digits = 3")
            .await
            .expect("the session can be set up");
        client
    }
}
