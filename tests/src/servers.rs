//! The real servers of `deploy/local`, in an instance that belongs to the tests.

use crate::free_port;
use crate::kafka_proxy::KafkaProxy;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use tokio_postgres::error::SqlState;

/// Where the servers are, and how to get in.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `None` is the instance that the script takes when it is given no name.
    instance: Option<String>,
    variables: HashMap<String, String>,
}

/// The root of the checkout.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout")
}

impl Servers {
    /// The instance all tests of the whole pipeline share; started by the first that asks.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| Self::up("test", &[]))
    }

    /// The instance of `make up`, which the tests of one crate share with people; starts those of its servers that are
    /// `needed` and do not run.
    #[must_use]
    pub fn of_checkout(needed: &[&str]) -> Self {
        let servers = Self { instance: None, variables: HashMap::new() };
        servers.control(&[&["up"], needed].concat());
        servers.read_variables()
    }

    /// An instance, of which nothing is started or asked yet: there is [`Self::control`], and no variable.
    #[must_use]
    pub fn named(instance: &str) -> Self {
        Self { instance: Some(instance.to_owned()), variables: HashMap::new() }
    }

    /// Starts (or finds) an instance; `mysql_flags` are mysqld's own.
    #[must_use]
    pub fn up(instance: &str, mysql_flags: &[&str]) -> Self {
        let servers = Self::named(instance);
        if !mysql_flags.is_empty() {
            servers.control(&[&["up", "mysql", "--"], mysql_flags].concat());
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
        let mut servers = Self::named(instance).read_variables();
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
        let line = free_port();
        let (own, controller) = (self.get("KAFKA_PORT"), self.get("KAFKA_CONTROLLER_PORT"));
        let at = "127.0.0.1";
        let listeners =
            format!("listeners=BROKER://{at}:{own},LINE://{at}:{line},CONTROLLER://{at}:{controller}");
        let advertised = format!("advertised.listeners=BROKER://{at}:{own},LINE://{at}:{proxy}");
        let protocols = "listener.security.protocol.map=BROKER:PLAINTEXT,LINE:PLAINTEXT,CONTROLLER:PLAINTEXT";
        self.control(&["up", "kafka", "--", &listeners, &advertised, protocols]);
        line
    }

    /// With what `servers env` prints of it now.
    #[must_use]
    pub fn read_variables(mut self) -> Self {
        for line in self.control(&["env"]).lines() {
            if let Some((name, value)) = line.split_once('=') {
                self.variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        self
    }

    /// The same, where PostgreSQL's database is another one.
    #[must_use]
    pub fn in_database(&self, database: &str) -> Self {
        let mut servers = self.clone();
        servers.variables.insert("PG_DATABASE".to_owned(), database.to_owned());
        servers
    }

    /// Makes a database of PostgreSQL that belongs to the loader, unless it is there.
    ///
    /// # Panics
    /// If it fails.
    pub async fn make_database(&self, name: &str) {
        let mut superuser = self.postgres_config();
        superuser.user("postgres").password(self.get("PG_SUPERUSER_PASSWORD"));
        let (client, connection) =
            superuser.connect(tokio_postgres::NoTls).await.expect("PostgreSQL answers its superuser");
        tokio::spawn(connection);
        let sql = format!("CREATE DATABASE {name} OWNER {}", self.get("PG_USER"));
        if let Err(error) = client.batch_execute(&sql).await {
            assert_eq!(error.code(), Some(&SqlState::DUPLICATE_DATABASE), "{error}");
        }
    }

    /// The same, where MySQL is that of `other`.
    #[must_use]
    pub fn with_source_of(&self, other: &Self) -> Self {
        let mut servers = self.clone();
        let source = other.variables.iter().filter(|(name, _)| name.starts_with("MYSQL_"));
        servers.variables.extend(source.map(|(name, value)| (name.clone(), value.clone())));
        servers
    }

    /// Runs `deploy/local/servers` for this instance, and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&self, arguments: &[&str]) -> String {
        let instance = self.instance.iter().flat_map(|name| ["--instance", name]);
        let output =
            Command::new(root().join("deploy/local/servers")).args(instance).args(arguments).output();
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

    /// A port of `servers env`.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        self.get(name).parse().expect("a port")
    }

    /// The section `source` of a configuration, for `root` or `reader`.
    #[must_use]
    pub fn source(&self, user: &str) -> Value {
        let password = self.get(if user == "root" { "MYSQL_ROOT_PASSWORD" } else { "MYSQL_READER_PASSWORD" });
        json!({
            "host": self.get("MYSQL_HOST"), "port": self.port("MYSQL_PORT"), "user": user, "password": password,
        })
    }

    /// The section `destination`, for the loader.
    #[must_use]
    pub fn destination(&self) -> Value {
        json!({
            "host": self.get("PG_HOST"), "port": self.port("PG_PORT"), "database": self.get("PG_DATABASE"),
            "user": self.get("PG_USER"), "password": self.get("PG_PASSWORD"),
        })
    }

    /// One of the sections `source`, `kafka` and `destination` in TOML, with the addresses alone: more keys can follow.
    ///
    /// # Panics
    /// If there is no such section.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let keys = match name {
            "source" => self.source("reader"),
            "kafka" => json!({ "brokers": self.get("KAFKA_BROKERS") }),
            "destination" => self.destination(),
            _ => panic!("no server has a section {name}"),
        };
        // Strings without escapes and numbers are written alike in JSON and in TOML.
        let lines = keys.as_object().into_iter().flatten().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[{name}]\n{}", lines.collect::<String>())
    }

    /// How a session of root reaches MySQL.
    #[must_use]
    pub fn mysql_options(&self) -> mysql_async::Opts {
        let builder = mysql_async::OptsBuilder::default()
            .ip_or_hostname(self.get("MYSQL_HOST"))
            .tcp_port(self.port("MYSQL_PORT"))
            .user(Some("root"))
            .pass(Some(self.get("MYSQL_ROOT_PASSWORD")))
            .prefer_socket(false);
        builder.into()
    }

    /// How a session of the loader reaches PostgreSQL.
    #[must_use]
    pub fn postgres_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.get("PG_HOST"))
            .port(self.port("PG_PORT"))
            .dbname(self.get("PG_DATABASE"))
            .user(self.get("PG_USER"))
            .password(self.get("PG_PASSWORD"));
        config
    }

    /// A connection to MySQL as root, in UTC and without strict mode, so that every edge value can be written.
    ///
    /// # Panics
    /// If it fails.
    pub async fn mysql(&self) -> mysql_async::Conn {
        let mut connection = mysql_async::Conn::new(self.mysql_options()).await.expect("MySQL answers");
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
        let connected = self.postgres_config().connect(tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("PostgreSQL answers");
        tokio::spawn(connection);
        client
            .batch_execute("SET TIME ZONE 'UTC'; SET extra_float_digits = 3")
            .await
            .expect("the session can be set up");
        client
    }
}
