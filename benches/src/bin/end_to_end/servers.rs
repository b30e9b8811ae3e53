//! The real servers of `deploy/local`, in an instance of the benchmark's own: a name enters; statements, sysbench's
//! load, the raw pipe and comparisons leave.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};
use tributary_benches::{Result, output, root};

/// The instance of `deploy/local/servers`.
const INSTANCE: &str = "bench";
/// sysbench's database.
pub const DATABASE: &str = "sbtest";
/// sysbench's tables.
pub const TABLES: u32 = 4;

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

/// Stops the servers; their data stays for whoever wants to look at it.
pub fn stop() -> Result<()> {
    control(&["down"]).map(drop)
}

impl Servers {
    /// Deletes what an earlier benchmark left, and starts.
    pub fn start() -> Result<Self> {
        control(&["reset"])?;
        control(&["up"])?;
        let mut variables = HashMap::new();
        for line in control(&["env"])?.lines() {
            if let Some((name, value)) = line.split_once('=') {
                variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        let get = |name: &str| variables.get(name).ok_or_else(|| format!("servers env has no {name}"));
        let mut config = tokio_postgres::Config::new();
        config.host(get("PG_HOST")?).port(get("PG_PORT")?.parse()?).dbname(get("PG_DATABASE")?);
        config.user(get("PG_USER")?).password(get("PG_PASSWORD")?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (warehouse, connection) = runtime.block_on(config.connect(tokio_postgres::NoTls))?;
        runtime.spawn(connection);
        Ok(Self { variables, runtime, warehouse })
    }

    /// A variable of `servers env`.
    pub fn get(&self, name: &str) -> Result<&str> {
        Ok(self.variables.get(name).ok_or_else(|| format!("servers env has no {name}"))?)
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

    /// Runs statements on the source, as root.
    pub fn source(&self, sql: &str) -> Result<Vec<String>> {
        let mut words = self.get("MYSQL_CLI")?.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("mysql"));
        Ok(output(command.args(words).args(["-N", "-B", "-e", sql]))?.lines().map(str::to_owned).collect())
    }

    /// Runs `sysbench oltp_write_only` with 4 threads on [`TABLES`] tables.
    pub fn sysbench(&self, rows_per_table: u32, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("sysbench");
        command.arg("oltp_write_only").args(arguments);
        for (option, variable) in
            [("host", "MYSQL_HOST"), ("port", "MYSQL_PORT"), ("password", "MYSQL_ROOT_PASSWORD")]
        {
            command.arg(format!("--mysql-{option}={}", self.get(variable)?));
        }
        command.args(["--mysql-user=root", "--threads=4", "--rand-type=uniform"]);
        command.arg(format!("--mysql-db={DATABASE}")).arg(format!("--tables={TABLES}"));
        output(command.arg(format!("--table-size={rows_per_table}"))).map(drop)
    }

    /// `mysql --quick … | psql \copy`, two tables at a time, into tables that have the primary key only; how long it
    /// took.
    pub fn raw_pipe(&self) -> Result<Duration> {
        let mut scripts = ["set -euo pipefail".to_owned(), "set -euo pipefail".to_owned()];
        let (mysql, psql) = (self.get("MYSQL_CLI")?, self.get("PSQL_CLI")?);
        self.warehouse("CREATE SCHEMA pipe")?;
        for (number, script) in (1..=TABLES).zip([0, 1].into_iter().cycle()) {
            self.warehouse(&format!(
                "CREATE TABLE pipe.sbtest{number} \
                 (id integer PRIMARY KEY, k integer NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL)"
            ))?;
            scripts[script] += &format!(
                "\n{mysql} --quick -N -B -e 'SELECT * FROM {DATABASE}.sbtest{number}' | \
                 {psql} -q -c '\\copy pipe.sbtest{number} FROM STDIN'"
            );
        }
        let start = Instant::now();
        let [first, second] = scripts.map(|script| {
            std::thread::spawn(move || {
                output(Command::new("bash").args(["-c", &script])).map_err(|error| error.to_string())
            })
        });
        for half in [first, second] {
            half.join().map_err(|_| "a thread of the pipe panicked")??;
        }
        Ok(start.elapsed())
    }

    /// For each table on the source, the number of rows and sums that every kind of change moves.
    pub fn sums(&self) -> Result<Vec<Vec<String>>> {
        let sums = |number| {
            self.source(&format!(
                "SELECT concat_ws(' ', count(*), sum(k), sum(CAST(left(c, 11) AS UNSIGNED))) \
                 FROM {DATABASE}.sbtest{number}"
            ))
        };
        (1..=TABLES).map(sums).collect()
    }

    /// True once the tables in `schema` have these sums; a table that does not exist yet has none.
    pub fn has_sums(&self, schema: &str, sums: &[Vec<String>]) -> bool {
        (1..=TABLES).zip(sums).all(|(number, sums)| {
            let sql = format!(
                "SELECT concat_ws(' ', count(*), sum(k), sum(left(c, 11)::bigint)) FROM {schema}.sbtest{number}"
            );
            self.warehouse(&sql).is_ok_and(|there| there == *sums)
        })
    }

    /// An error unless the tables in `schema` of the warehouse have the source's rows: their number, sums of the numbers
    /// and a sum over all texts are compared.
    pub fn compare(&self, schema: &str) -> Result<()> {
        for number in 1..=TABLES {
            let source = self.source(&format!(
                "SELECT concat_ws(' ', count(*), sum(id), sum(k), \
                 sum(CAST(conv(left(sha2(concat(c, pad), 256), 8), 16, 10) AS UNSIGNED))) \
                 FROM {DATABASE}.sbtest{number}"
            ))?;
            let there = self.warehouse(&format!(
                "SELECT concat_ws(' ', count(*), sum(id), sum(k), \
                 sum(('x' || left(encode(sha256(convert_to(c::text || pad::text, 'UTF8')), 'hex'), 8)) \
                 ::bit(32)::bigint)) FROM {schema}.sbtest{number}"
            ))?;
            if source != there {
                return Err(format!("sbtest{number}: the source has {source:?}, {schema} {there:?}").into());
            }
        }
        Ok(())
    }
}
