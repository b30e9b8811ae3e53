//! sysbench: tables and writes enter the source, throughput and latency as it saw them leave.

use crate::servers::Servers;
use std::process::Command;
use tributary_benches::{Result, output};

/// sysbench's database.
pub(crate) const DATABASE: &str = "sbtest";
/// Row events of a transaction of `oltp_write_only`: two updates, a delete, an insert.
pub(crate) const EVENTS: u32 = 4;

/// Sessions that write.
const THREADS: u32 = 4;

/// sysbench's tables, of equal size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub tables: u32,
    pub rows_per_table: u32,
}

/// How the keys of changes are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// sysbench's default, named `special`: three of four hit one percent of the keys.
    Default,
    /// Each as likely as the other.
    Uniform,
}

impl Keys {
    /// As the report names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Uniform => "uniform",
        }
    }

    const fn rand_type(self) -> &'static str {
        match self {
            Self::Default => "special",
            Self::Uniform => "uniform",
        }
    }
}

/// What sysbench saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub transactions_per_second: f64,
    /// 99th percentile of the time a transaction took, ms; with a rate, from when it was due.
    pub p99_ms: f64,
}

impl Tables {
    /// All rows.
    pub(crate) const fn rows(self) -> u32 {
        self.tables * self.rows_per_table
    }

    /// Makes database, tables and rows.
    pub(crate) fn prepare(self, servers: &Servers) -> Result<()> {
        servers.source(&format!("CREATE DATABASE {DATABASE}"))?;
        output(self.sysbench(servers)?.arg("prepare")).map(drop)
    }

    /// Commits this many transactions, without waiting for the disk at each: a backlog is measured when it is there, and
    /// its making is the longest part of a benchmark.
    pub(crate) fn write(self, servers: &Servers, keys: Keys, transactions: u32) -> Result<()> {
        let mut command = self.sysbench(servers)?;
        command.arg(format!("--rand-type={}", keys.rand_type()));
        command.args(["--time=0", &format!("--events={transactions}"), "run"]);
        servers.source("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 2")?;
        output(&mut command)?;
        servers.source("SET GLOBAL sync_binlog = 1, GLOBAL innodb_flush_log_at_trx_commit = 1").map(drop)
    }

    /// Writes for this long, as fast as the source takes it or at a rate in transactions/s, uniform keys.
    pub(crate) fn load(self, servers: &Servers, seconds: u64, rate: Option<u32>) -> Result<Seen> {
        let mut command = self.sysbench(servers)?;
        command.args(["--rand-type=uniform", "--events=0", "--percentile=99"]);
        command.arg(format!("--time={seconds}")).arg(format!("--rate={}", rate.unwrap_or(0)));
        let report = output(command.arg("run"))?;
        Ok(parse(&report).ok_or_else(|| format!("sysbench reports nothing that is known:\n{report}"))?)
    }

    fn sysbench(self, servers: &Servers) -> Result<Command> {
        let mut command = Command::new("sysbench");
        command.arg("oltp_write_only");
        for (option, variable) in
            [("host", "MYSQL_HOST"), ("port", "MYSQL_PORT"), ("password", "MYSQL_ROOT_PASSWORD")]
        {
            command.arg(format!("--mysql-{option}={}", servers.get(variable)));
        }
        command.arg("--mysql-user=root").arg(format!("--threads={THREADS}"));
        command.arg(format!("--mysql-db={DATABASE}")).arg(format!("--tables={}", self.tables));
        command.arg(format!("--table-size={}", self.rows_per_table));
        Ok(command)
    }
}

fn parse(report: &str) -> Option<Seen> {
    let behind = |name: &str| report.lines().find_map(|line| line.trim().strip_prefix(name));
    let rate = behind("transactions:")?.split_once('(')?.1.split_whitespace().next()?;
    Some(Seen {
        transactions_per_second: rate.parse().ok()?,
        p99_ms: behind("99th percentile:")?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_and_p99_are_found_in_a_report() {
        let report = "    transactions:                        9012   (901.05 per sec.)\n\
                      Latency (ms):\n         99th percentile:                        8.43\n";
        assert_eq!(parse(report), Some(Seen { transactions_per_second: 901.05, p99_ms: 8.43 }));
        assert_eq!(parse("FATAL: no"), None);
    }
}
