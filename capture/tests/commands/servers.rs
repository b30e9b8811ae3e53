//! The servers, and an administrator's session on MySQL.

use std::process::Command;
use std::sync::OnceLock;
use tributary_schemas::config::SourceConfig;
use tributary_source::connect::{Connection, SourceOptions};

/// Addresses and passwords.
pub(crate) struct Servers {
    pub mysql_port: u16,
    pub root_password: String,
    pub reader_password: String,
    pub brokers: String,
}

/// Runs the script.
pub(crate) fn script(arguments: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/local/servers");
    let output = Command::new(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn value(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
    line.trim_matches('\'').to_owned()
}

impl Servers {
    /// The checkout's own, started on the first call.
    pub(crate) fn shared() -> &'static Self {
        static SERVERS: OnceLock<Servers> = OnceLock::new();
        SERVERS.get_or_init(|| {
            script(&["up", "mysql", "kafka"]);
            Self::of(&["env"])
        })
    }

    /// MySQL of an instance, which must be up, beside the shared Kafka.
    pub(crate) fn of_instance(instance: &str) -> Self {
        Self { brokers: Self::shared().brokers.clone(), ..Self::of(&["--instance", instance, "env"]) }
    }

    fn of(arguments: &[&str]) -> Self {
        let text = script(arguments);
        Self {
            mysql_port: value(&text, "MYSQL_PORT").parse().unwrap(),
            root_password: value(&text, "MYSQL_ROOT_PASSWORD"),
            reader_password: value(&text, "MYSQL_READER_PASSWORD"),
            brokers: value(&text, "KAFKA_BROKERS"),
        }
    }

    /// Runs statements as an administrator.
    pub(crate) fn sql(&self, statements: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = self.root().await;
            for statement in statements {
                connection.execute("preparing a test", statement).await.unwrap();
            }
            connection.close().await.unwrap();
        });
    }

    /// A new, empty database.
    pub(crate) fn database(&self, name: &str, tables: &[&str]) {
        let (drop, create) = (format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"));
        let using = format!("USE {name}");
        let mut statements = vec![drop.as_str(), &create, &using];
        statements.extend(tables);
        self.sql(&statements);
    }

    async fn root(&self) -> Connection {
        let config: SourceConfig = serde_json::from_value(serde_json::json!({
            "host": "127.0.0.1", "port": self.mysql_port, "user": "root", "password": self.root_password,
        }))
        .unwrap();
        SourceOptions::new(&config).unwrap().connect().await.unwrap()
    }
}
