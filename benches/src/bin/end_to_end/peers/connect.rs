//! Kafka Connect in standalone mode with Debezium's two connectors: the servers' addresses enter, a process leaves. Jars
//! come through Maven, once; a folder of them is complete when it is there.

use crate::servers::Servers;
use crate::services::Service;
use crate::sysbench::DATABASE;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tributary_benches::{Result, output};
use tributary_tests::servers::root;

/// Of its heap; it took 2.6 GB in all where it was given more.
const HEAP: &str = "-Xmx3g";

/// The configuration, written.
pub(super) struct Connect {
    directory: PathBuf,
    version: String,
    source: Value,
    sink: Value,
}

impl Connect {
    /// Fetches the jars and writes the worker's and the connectors' configuration. `prefix` begins the topics' names and
    /// is the schema in the warehouse.
    pub(super) fn new(prefix: &str, servers: &Servers) -> Result<Self> {
        let directory = root().join("target/bench/peers");
        // What an earlier run has read must not be taken for this one's.
        let state = directory.join("state");
        if state.exists() {
            std::fs::remove_dir_all(&state)?;
        }
        std::fs::create_dir_all(&state)?;
        fetch("connect", &directory.join("connect"))?;
        let plugin = directory.join("plugins/debezium");
        fetch("debezium", &plugin)?;
        let version = remove_clashes(&plugin)?;
        let source = source(prefix, &state, servers)?;
        let sink = sink(prefix, servers)?;
        let connect = Self { directory, version, source, sink };
        std::fs::write(state.join("worker.properties"), connect.worker(servers)?)?;
        for (name, config) in [("source", &connect.source), ("sink", &connect.sink)] {
            let connector = json!({ "name": format!("{prefix}-{name}"), "config": config });
            std::fs::write(state.join(format!("{name}.json")), serde_json::to_string_pretty(&connector)?)?;
        }
        Ok(connect)
    }

    /// Starts it with both connectors.
    pub(super) fn start(&self) -> Result<Service> {
        let state = self.directory.join("state");
        let mut command = Command::new("java");
        command.arg(HEAP).arg("-cp").arg(self.directory.join("connect/*"));
        command.arg("org.apache.kafka.connect.cli.ConnectStandalone");
        command.args(["worker.properties", "source.json", "sink.json"].map(|file| state.join(file)));
        Service::spawn("Kafka Connect", self.log(), command)
    }

    /// Where its output goes.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("state/connect.log")
    }

    /// What it is.
    pub(super) fn name(&self) -> String {
        format!("Debezium {} on Kafka Connect", self.version)
    }

    /// The connectors' configuration but for addresses and accounts.
    pub(super) fn shown(&self) -> String {
        let shown = |config: &Value| -> Value {
            let hidden = ["password", "user", "username", "hostname", "port", "url", "filename"];
            let settings = config.as_object().into_iter().flatten();
            settings
                .filter(|(key, _)| !hidden.iter().any(|hidden| key.ends_with(hidden)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let both = json!({ "source": shown(&self.source), "sink": shown(&self.sink) });
        serde_json::to_string_pretty(&both).unwrap_or_default()
    }

    fn worker(&self, servers: &Servers) -> Result<String> {
        // Its REST interface cannot be switched off.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(format!(
            "bootstrap.servers={}\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.storage.file.filename={}\n\
             offset.flush.interval.ms=5000\nplugin.path={}\nplugin.discovery=service_load\n\
             listeners=http://127.0.0.1:{port}\n",
            servers.get("KAFKA_BROKERS"),
            self.directory.join("state/offsets").display(),
            self.directory.join("plugins").display(),
        ))
    }
}

/// Copies the jars of a pom, if they are not there.
fn fetch(name: &str, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let unfinished = to.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    std::fs::create_dir_all(&unfinished)?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--batch-mode", "--quiet", "--file"])
        .arg(root().join("benches/peers").join(name).join("pom.xml"));
    maven.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", unfinished.display()));
    output(&mut maven)?;
    Ok(std::fs::rename(unfinished, to)?)
}

/// Removes the jars that clash with Connect's own; the version of the connectors.
fn remove_clashes(plugin: &Path) -> Result<String> {
    let mut version = None;
    for jar in std::fs::read_dir(plugin)? {
        let jar = jar?;
        let name = jar.file_name().to_string_lossy().into_owned();
        if name.starts_with("jackson-") {
            std::fs::remove_file(jar.path())?;
        }
        if let Some(rest) = name.strip_prefix("debezium-connector-mysql-") {
            version = rest.strip_suffix(".jar").map(str::to_owned);
        }
    }
    Ok(version.ok_or_else(|| format!("no Debezium in {}", plugin.display()))?)
}

/// The source: large batches and fetches, and tables read four at a time, as the product's readers do.
fn source(prefix: &str, state: &Path, servers: &Servers) -> Result<Value> {
    Ok(json!({
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "tasks.max": "1",
        "database.hostname": servers.get("MYSQL_HOST"),
        "database.port": servers.get("MYSQL_PORT"),
        "database.user": "root",
        "database.password": servers.get("MYSQL_ROOT_PASSWORD"),
        "database.server.id": "4000000002",
        "database.include.list": DATABASE,
        "topic.prefix": prefix,
        "topic.creation.default.partitions": "4",
        "topic.creation.default.replication.factor": "1",
        "include.schema.changes": "false",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": state.join("schema-history"),
        "snapshot.max.threads": "4",
        "snapshot.fetch.size": "10240",
        "max.batch.size": "20480",
        "max.queue.size": "81920",
        "poll.interval.ms": "10",
        "producer.override.linger.ms": "20",
        "producer.override.batch.size": "1048576",
        "producer.override.buffer.memory": "67108864",
        "producer.override.compression.type": "lz4",
    }))
}

/// The sink: a task for each partition, one UNNEST statement a batch, keys compacted before.
fn sink(prefix: &str, servers: &Servers) -> Result<Value> {
    let url = format!(
        "jdbc:postgresql://{}:{}/{}",
        servers.get("PG_HOST"),
        servers.get("PG_PORT"),
        servers.get("PG_DATABASE")
    );
    Ok(json!({
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "4",
        "topics.regex": format!("{prefix}\\.{DATABASE}\\..*"),
        "connection.url": url,
        "connection.username": servers.get("PG_USER"),
        "connection.password": servers.get("PG_PASSWORD"),
        "insert.mode": "upsert",
        "delete.enabled": "true",
        "primary.key.mode": "record_key",
        "schema.evolution": "none",
        "collection.name.format": format!("{prefix}.${{source.table}}"),
        "batch.size": "20000",
        "use.reduction.buffer": "true",
        "dialect.postgres.unnest.insert.enabled": "true",
        "consumer.override.max.poll.records": "20000",
        "consumer.override.fetch.max.bytes": "33554432",
        "consumer.override.max.partition.fetch.bytes": "33554432",
        "consumer.override.metadata.max.age.ms": "1000",
    }))
}
