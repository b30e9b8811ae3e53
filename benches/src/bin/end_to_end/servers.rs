//! The real servers of `deploy/local`, in an instance of the benchmark's own: a name enters; addresses, statements and
//! what the servers have consumed leave.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use tributary_benches::{Result, output, root};

/// The instance of `deploy/local/servers`.
const INSTANCE: &str = "bench";
/// The default of `deploy/local` is made for tests: with it the source checkpoints through every phase that writes.
const REDO_LOG: &str = "--innodb-redo-log-capacity=1G";

/// The servers, running.
pub struct Servers {
    variables: HashMap<String, String>,
    runtime: tokio::runtime::Runtime,
    warehouse: tokio_postgres::Client,
}

fn control(arguments: &[&str]) -> Result<String> {
    output(Command::new(root().join("deploy/local/servers")).args(["--instance", INSTANCE]).args(arguments))
}

/// What of the three is installed.
pub fn versions() -> Result<String> {
    control(&["install"])
}

/// Stops the servers and deletes their data: gigabytes that nobody asked to keep.
pub fn delete() -> Result<()> {
    control(&["reset"]).map(drop)
}

impl Servers {
    /// Deletes what an earlier benchmark left, and starts.
    pub fn start() -> Result<Self> {
        delete()?;
        control(&["up", "mysql", "--", REDO_LOG])?;
        control(&["up"])?;
        let mut variables = HashMap::new();
        for line in control(&["env"])?.lines() {
            if let Some((name, value)) = line.split_once('=') {
                variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (warehouse, connection) =
            runtime.block_on(warehouse_config(&variables)?.connect(tokio_postgres::NoTls))?;
        runtime.spawn(connection);
        Ok(Self { variables, runtime, warehouse })
    }

    /// A variable of `servers env`.
    pub fn get(&self, name: &str) -> Result<&str> {
        get(&self.variables, name)
    }

    /// How a session of its own reaches the warehouse.
    pub fn warehouse_config(&self) -> Result<tokio_postgres::Config> {
        warehouse_config(&self.variables)
    }

    /// How a session of its own reaches the source, as root.
    pub fn source_config(&self) -> Result<mysql_async::Opts> {
        let builder = mysql_async::OptsBuilder::default()
            .ip_or_hostname(self.get("MYSQL_HOST")?)
            .tcp_port(self.get("MYSQL_PORT")?.parse()?)
            .user(Some("root"))
            .pass(Some(self.get("MYSQL_ROOT_PASSWORD")?))
            .prefer_socket(false);
        Ok(builder.into())
    }

    /// Runs statements in the warehouse; leaves the first column of every row.
    pub fn warehouse(&self, sql: &str) -> Result<Vec<String>> {
        let messages = self.runtime.block_on(self.warehouse.simple_query(sql))?;
        let first = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(first).collect())
    }

    /// Runs statements on the source, as root; leaves the rows, columns separated by tabs.
    pub fn source(&self, sql: &str) -> Result<Vec<String>> {
        let mut words = self.get("MYSQL_CLI")?.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("mysql"));
        Ok(output(command.args(words).args(["-N", "-B", "-e", sql]))?.lines().map(str::to_owned).collect())
    }

    /// Leaves nothing to do from what ran so far: the warehouse is vacuumed, or autovacuum would do it in some later
    /// phase, and what was written is on the disk.
    pub fn settle(&self) -> Result<()> {
        self.warehouse("VACUUM ANALYZE")?;
        output(&mut Command::new("sync")).map(drop)
    }

    /// Runs something on the benchmark's own runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Bytes of the log segments of all topics whose names begin with `prefix`; indexes are not counted.
    pub fn topic_bytes(&self, prefix: &str) -> Result<u64> {
        let mut bytes = 0;
        for partition in std::fs::read_dir(Path::new(self.get("INSTANCE_DIR")?).join("kafka/data"))? {
            let partition = partition?;
            if !partition.file_name().to_string_lossy().starts_with(prefix) {
                continue;
            }
            for file in std::fs::read_dir(partition.path())? {
                let file = file?;
                if file.path().extension().is_some_and(|extension| extension == "log") {
                    bytes += file.metadata()?.len();
                }
            }
        }
        Ok(bytes)
    }
}

fn get<'a>(variables: &'a HashMap<String, String>, name: &str) -> Result<&'a str> {
    Ok(variables.get(name).ok_or_else(|| format!("servers env has no {name}"))?)
}

fn warehouse_config(variables: &HashMap<String, String>) -> Result<tokio_postgres::Config> {
    let mut config = tokio_postgres::Config::new();
    config.host(get(variables, "PG_HOST")?).port(get(variables, "PG_PORT")?.parse()?);
    config.dbname(get(variables, "PG_DATABASE")?);
    config.user(get(variables, "PG_USER")?).password(get(variables, "PG_PASSWORD")?);
    Ok(config)
}
