//! The raw pipe, what a full load is measured against: `mysql --quick … | psql \copy` of the same rows.

use crate::servers::Servers;
use crate::sysbench::{DATABASE, Tables};
use std::process::Command;
use std::time::{Duration, Instant};
use tributary_benches::{Result, output};

/// The schema it fills.
pub(crate) const SCHEMA: &str = "pipe";

/// Two tables at a time, into tables that have the primary key only; how long it took.
pub(crate) fn run(servers: &Servers, tables: Tables) -> Result<Duration> {
    let mut scripts = ["set -euo pipefail".to_owned(), "set -euo pipefail".to_owned()];
    let (mysql, psql) = (servers.get("MYSQL_CLI"), servers.get("PSQL_CLI"));
    servers.warehouse(&format!("CREATE SCHEMA {SCHEMA}"))?;
    for (number, script) in (1..=tables.tables).zip([0, 1].into_iter().cycle()) {
        servers.warehouse(&create_table(SCHEMA, number))?;
        scripts[script] += &format!(
            "\n{mysql} --quick -N -B -e 'SELECT * FROM {DATABASE}.sbtest{number}' | \
             {psql} -q -c '\\copy {SCHEMA}.sbtest{number} FROM STDIN'"
        );
    }
    servers.settle()?;
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

/// sysbench's table in the warehouse.
pub(crate) fn create_table(schema: &str, number: u32) -> String {
    format!(
        "CREATE TABLE {schema}.sbtest{number} \
         (id integer PRIMARY KEY, k integer NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL)"
    )
}
