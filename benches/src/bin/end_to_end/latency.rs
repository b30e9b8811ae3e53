//! Latency: from the return of a commit on the source to the instant at which another session can select the row in the
//! warehouse. An open loop: transactions are due at fixed instants, whatever became of those before.
//!
//! ```text
//! writers ──commit──► MySQL ─► capture ─► Kafka ─► apply ─► PostgreSQL ◄──SELECT── poller
//!    └── returned[id]                                                        seen[id] ──┘
//! ```

mod percentiles;
mod poller;
mod writers;

use crate::cpu::ServerCpu;
use crate::servers::Servers;
use crate::services::{Task, Usage};
use percentiles::Percentiles;
use poller::{Observed, Poller};
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// Transactions a second.
const RATE: u32 = 1_000;
/// Time at which nothing is measured: connections, plans and caches get warm.
const WARM_UP_SECONDS: u32 = 5;
/// Time that is measured.
const SECONDS: u32 = 35;
/// The source's table, and the warehouse's schema.
const DATABASE: &str = "latency";
/// How long the first and the last row may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Of capture and apply, once they were asked to end.
const END: Duration = Duration::from_secs(60);

/// What both ends tell.
struct Run {
    /// By id: when its commit had returned.
    writers: writers::Written,
    /// By id: when it was seen.
    observed: Observed,
    capture: Usage,
    apply: Usage,
    servers: ServerCpu,
}

/// The table of percentiles; `scale` divides the time that is measured.
pub(crate) fn run(scale: u32, servers: &Servers) -> Result<String> {
    let transactions = RATE * (WARM_UP_SECONDS + SECONDS / scale);
    let run = replicate(transactions, servers)?;
    let warm = (RATE * WARM_UP_SECONDS) as usize;
    let mut latencies = Vec::new();
    for (returned, seen) in run.writers.returned.iter().zip(&run.observed.seen).skip(warm) {
        // A row can be selectable before its commit has returned: that is no wait at all, not a negative one.
        latencies.push(seen.saturating_duration_since(*returned));
    }
    let gaps = Percentiles::of(run.observed.gaps);
    let rows = [
        ("commit returned → row selectable", Percentiles::of(latencies)),
        ("begin of the transaction after it was due", Percentiles::of(run.writers.lateness[warm..].to_vec())),
        ("commit, as the writer saw it", Percentiles::of(run.writers.commits[warm..].to_vec())),
        ("from one poll's answer to the next", gaps),
    ];
    let mut text = format!(
        "Open loop, {RATE} transactions/s, each of which inserts a row of about 190 bytes, from {} connections; {} s are \
         measured, after {WARM_UP_SECONDS} s\nthat are not. Reached: {:.0} transactions/s. Another session asks the \
         warehouse, all the time, for every id behind the\nlowest that is still missing, so that commits out of order are \
         seen as well; a row counts as selectable once the answer\nwith it is there, which overstates its latency by at \
         most the time between two polls.\n\n| ms | p50 | p90 | p99 | p99.9 | max | samples |\n|---|---|---|---|---|---|---|\n",
        writers::CONNECTIONS,
        SECONDS / scale,
        run.writers.rate,
    );
    for (name, percentiles) in rows {
        text += &format!("| {name} | {percentiles} |\n");
    }
    let cpu = |seconds: f64| format!("{:.1}", seconds / run.writers.elapsed.as_secs_f64() * 100.0);
    text += &format!(
        "\nCPU, in percent of a core: capture {}, apply {}, MySQL {}, Kafka {}, PostgreSQL {}. Peak RSS: capture {:.0} MB, \
         apply {:.0} MB.\n",
        cpu(run.capture.cpu_seconds),
        cpu(run.apply.cpu_seconds),
        cpu(run.servers.mysql),
        cpu(run.servers.kafka),
        cpu(run.servers.postgres),
        run.capture.peak_megabytes,
        run.apply.peak_megabytes,
    );
    Ok(text)
}

fn replicate(transactions: u32, servers: &Servers) -> Result<Run> {
    servers.source(&format!(
        "CREATE DATABASE {DATABASE}; CREATE TABLE {DATABASE}.events \
         (id int PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL)"
    ))?;
    // Row 0 tells that the task is under way.
    servers.source(&format!("INSERT INTO {DATABASE}.events VALUES (0, 0, '', '')"))?;
    let task = Task::of("latency", DATABASE, DATABASE, servers)?;
    let mut capture = task.start("capture", &[])?;
    let mut apply = task.start("apply", &[])?;
    let start = Instant::now();
    let first = format!("SELECT 1 FROM {DATABASE}.events WHERE id = 0");
    while !servers.warehouse(&first).is_ok_and(|rows| !rows.is_empty()) {
        if start.elapsed() > LIMIT {
            return Err("the first row does not arrive".into());
        }
        capture.poll()?;
        apply.poll()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = ServerCpu::now(servers)?;
    let poller =
        Poller::start(servers.postgres_config(), &format!("{DATABASE}.events"), transactions, LIMIT)?;
    let written = writers::run(servers.mysql_options(), &format!("{DATABASE}.events"), RATE, transactions)?;
    let observed = poller.finish()?;
    let cpu = ServerCpu::now(servers)? - before;
    let (capture, apply) = (capture.stop(END)?, apply.stop(END)?);
    let sums = "SELECT concat_ws(' ', count(*), sum(id), sum(k), min(length(c)), max(length(pad))) FROM latency.events";
    let (source, there) = (servers.source(sums)?, servers.warehouse(sums)?);
    if source != there {
        return Err(format!("latency.events: the source has {source:?}, the warehouse {there:?}").into());
    }
    Ok(Run { writers: written, observed, capture, apply, servers: cpu })
}
