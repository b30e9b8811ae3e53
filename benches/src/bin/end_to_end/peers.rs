//! The peer on the same data: Debezium's source and its JDBC sink, in one Kafka Connect. Tables and the product's phases
//! enter; rows a second of both leave. Invariant: as for the product, a figure is told only after a comparison, and each
//! phase has an end.

mod connect;

use crate::compare::Expected;
use crate::phases::{Phase, cell};
use crate::pipe::create_table;
use crate::say;
use crate::servers::Servers;
use crate::services::Usage;
use crate::sysbench::{EVENTS, Keys, Tables};
use connect::Connect;
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// The schema it fills, and the prefix of its topics.
const SCHEMA: &str = "peer";
/// Row events of its backlog: as the product's first, written anew.
const BACKLOG: u32 = 200_000;
/// A phase that takes longer is told as not done.
const LIMIT: Duration = Duration::from_secs(360);
/// As the product's phases are.
const POLL: Duration = Duration::from_millis(100);
/// For its end in good order, after which its offsets are stored.
const END: Duration = Duration::from_secs(60);

/// One line.
struct Line {
    name: String,
    rows: u32,
    elapsed: Duration,
    /// From the start of the process to the first row in the warehouse, where that was empty.
    first: Option<Duration>,
    usage: Usage,
}

/// The table; `scale` divides the backlog.
pub(crate) fn run(tables: Tables, scale: u32, phases: &[Phase], servers: &Servers) -> Result<String> {
    say("fetching the peer");
    let connect = Connect::new(SCHEMA, servers)?;
    servers.warehouse(&format!("CREATE SCHEMA {SCHEMA}"))?;
    for number in 1..=tables.tables {
        servers.warehouse(&create_table(SCHEMA, number))?;
    }
    let mut lines = Vec::new();
    let mut replicate = |name: &str, rows: u32| -> Result<bool> {
        say(&format!("peer: {name}"));
        let expected = Expected::of_source(servers, tables)?;
        let line = phase(name, rows, &expected, &connect, servers)?;
        let done = line.is_some();
        lines.extend(line);
        Ok(done)
    };
    let mut done = replicate("full load", tables.rows())?;
    let events = BACKLOG / scale;
    if done {
        tables.write(servers, Keys::Uniform, events / EVENTS)?;
        done = replicate("backlog, uniform keys", events)?;
    }
    let mut text = format!(
        "{}, configured as below; one process for both. Its tables were made beforehand. Time runs from the start of the \
         process.\n\n| phase | rows/s | seconds | of which to the first of a table's rows | CPU s | peak MB | Tributary's rows/s, same run \
         | times |\n|---|---|---|---|---|---|---|---|\n",
        connect.name()
    );
    for Line { name, rows, elapsed, first, usage } in lines {
        let rate = f64::from(rows) / elapsed.as_secs_f64();
        let ours = phases.iter().find(|phase| phase.name == name && phase.rows == rows);
        let ours = ours.map_or(0.0, Phase::rows_per_second);
        text += &format!(
            "| {name} | {rate:.0} | {:.2} | {} | {:.1} | {:.0} | {ours:.0} | {:.1} |\n",
            elapsed.as_secs_f64(),
            cell(first, |first| format!("{:.2}", first.as_secs_f64())),
            usage.cpu_seconds,
            usage.peak_megabytes,
            ours / rate,
        );
    }
    if !done {
        text += &format!("\nA phase that is missing was not done after {} s.\n", LIMIT.as_secs());
    }
    text += &format!("\n```json\n{}\n```\n", connect.shown());
    Ok(text)
}

/// `None` if it takes longer than the limit.
fn phase(
    name: &str,
    rows: u32,
    expected: &Expected,
    connect: &Connect,
    servers: &Servers,
) -> Result<Option<Line>> {
    let is_empty = || -> Result<bool> {
        Ok(servers.warehouse(&format!("SELECT 1 FROM {SCHEMA}.sbtest1 LIMIT 1"))?.is_empty())
    };
    let mut waits_for_first = is_empty()?;
    let mut first = None;
    let start = Instant::now();
    let mut process = connect.start()?;
    let mut arrived = 0;
    while arrived < expected.tables() {
        std::thread::sleep(POLL);
        if process.poll()?.is_some() {
            return Err(format!("Kafka Connect ended; see {}", connect.log().display()).into());
        }
        if start.elapsed() > LIMIT {
            return Ok(None);
        }
        if waits_for_first {
            if is_empty()? {
                continue;
            }
            (first, waits_for_first) = (Some(start.elapsed()), false);
        }
        arrived = expected.arrived(servers, SCHEMA, arrived);
    }
    let elapsed = start.elapsed();
    let usage = process.stop(END)?;
    expected.compare(servers, SCHEMA)?;
    Ok(Some(Line { name: name.to_owned(), rows, elapsed, first, usage }))
}
