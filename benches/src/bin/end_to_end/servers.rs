//! The real servers of `deploy/local`, in an instance of the benchmark's own: a name enters; addresses, statements and
//! what the servers have consumed leave.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use tributary_benches::{Result, output};
use tributary_tests::servers;

/// The instance of `deploy/local/servers`.
const INSTANCE: &str = "bench";
/// The default of `deploy/local` is made for tests: with it the source checkpoints through every phase that writes.
const REDO_LOG: &str = "--innodb-redo-log-capacity=1G";

/// The servers, running.
pub(crate) struct Servers {
    servers: servers::Servers,
    runtime: tokio::runtime::Runtime,
    warehouse: tokio_postgres::Client,
}

/// What of the three is installed.
pub(crate) fn versions() -> String {
    servers::Servers::named(INSTANCE).control(&["install"])
}

/// Stops the servers and deletes their data: gigabytes that nobody asked to keep.
pub(crate) fn delete() {
    servers::Servers::named(INSTANCE).discard();
}

impl Deref for Servers {
    type Target = servers::Servers;

    fn deref(&self) -> &Self::Target {
        &self.servers
    }
}

impl Servers {
    /// Deletes what an earlier benchmark left, and starts.
    pub(crate) fn start() -> Result<Self> {
        delete();
        let servers = servers::Servers::up(INSTANCE, &[REDO_LOG]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connected = runtime.block_on(servers.postgres_config().connect(tokio_postgres::NoTls));
        let (warehouse, connection) = connected?;
        runtime.spawn(connection);
        Ok(Self { servers, runtime, warehouse })
    }

    /// Runs statements in the warehouse; leaves the first column of every row.
    pub(crate) fn warehouse(&self, sql: &str) -> Result<Vec<String>> {
        let messages = self.runtime.block_on(self.warehouse.simple_query(sql))?;
        let first = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(first).collect())
    }

    /// Runs statements on the source, as root; leaves the rows, columns separated by tabs.
    pub(crate) fn source(&self, sql: &str) -> Result<Vec<String>> {
        let mut words = self.get("MYSQL_CLI").split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("mysql"));
        Ok(output(command.args(words).args(["-N", "-B", "-e", sql]))?.lines().map(str::to_owned).collect())
    }

    /// Leaves nothing to do from what ran so far: the warehouse is vacuumed, or autovacuum would do it in some later
    /// phase, and what was written is on the disk.
    pub(crate) fn settle(&self) -> Result<()> {
        self.warehouse("VACUUM ANALYZE")?;
        output(&mut Command::new("sync")).map(drop)
    }

    /// Runs something on the benchmark's own runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Bytes of the log segments of all topics whose names begin with `prefix`; indexes are not counted.
    pub(crate) fn topic_bytes(&self, prefix: &str) -> Result<u64> {
        let mut bytes = 0;
        for partition in std::fs::read_dir(Path::new(self.get("INSTANCE_DIR")).join("kafka/data"))? {
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
