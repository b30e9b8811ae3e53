//! What the source feels: sysbench writes while capture is away, reads the tables, and follows the stream. Tables enter;
//! throughput and 99th percentile as sysbench saw them leave. apply does not run: the source never meets it.

use crate::cpu::ServerCpu;
use crate::say;
use crate::servers::Servers;
use crate::services::{Service, Task};
use crate::sysbench::{Seen, Tables};
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// Of each measurement: about as long as capture reads.
const SECONDS: u64 = 6;
/// Transactions/s that leave the machine room: here p99 tells what one user feels, where at full speed it tells how two
/// cores are shared.
const RATE: u32 = 500;
/// Until capture has begun to read, and until it has read everything.
const LIMIT: Duration = Duration::from_secs(300);

/// One line.
struct Line {
    load: String,
    capture: &'static str,
    seen: Seen,
    /// CPU of the source in the measurement, seconds.
    mysql: f64,
    /// How long in the measurement capture was reading tables.
    reading: Duration,
}

/// The table; `scale` divides the time of each measurement.
pub(crate) fn run(tables: Tables, scale: u32, servers: &Servers) -> Result<String> {
    let seconds = SECONDS / u64::from(scale.min(5));
    let mut lines = Vec::new();
    for (name, rate) in [("impact", None), ("impactrate", Some(RATE))] {
        let load =
            rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("{rate} transactions/s"));
        let mut measure = |capture: &'static str, service: Option<&Service>| -> Result<()> {
            say(&format!("sysbench writes, {load}, capture {capture}"));
            let before = ServerCpu::now(servers)?;
            let (seen, reading) = std::thread::scope(|scope| {
                let sysbench =
                    scope.spawn(|| tables.load(servers, seconds, rate).map_err(|error| error.to_string()));
                let reading =
                    service.map_or(Duration::ZERO, |service| time_reading(service, servers, seconds));
                Ok::<_, String>((sysbench.join().map_err(|_| "a thread panicked")??, reading))
            })?;
            let mysql = (ServerCpu::now(servers)? - before).mysql;
            lines.push(Line { load: load.clone(), capture, seen, mysql, reading });
            Ok(())
        };
        measure("away", None)?;
        let task = Task::new(name, "impact", servers)?;
        let mut capture = task.start("capture", &[])?;
        capture.await_state(servers, LIMIT, |state| state != "precheck")?;
        measure("reads the tables", Some(&capture))?;
        capture.await_state(servers, LIMIT, |state| state == "synchronizing")?;
        measure("follows the stream", Some(&capture))?;
        capture.stop(LIMIT)?;
        measure("away again", None)?;
    }
    let mut text = format!(
        "sysbench `oltp_write_only`, 4 sessions, uniform keys, {seconds} s each, on the tables of the full load; capture, \
         Kafka, sysbench and the\nsource share the cores, so that at full speed every second of CPU that capture and Kafka \
         take is missing to the source.\n\n| load | capture | transactions/s | p99 ms | CPU s MySQL | s of them reading |\n|---|---|---|---|---|---|\n"
    );
    for Line { load, capture, seen, mysql, reading } in lines {
        text += &format!(
            "| {load} | {capture} | {:.0} | {:.1} | {mysql:.1} | {:.1} |\n",
            seen.transactions_per_second,
            seen.p99_ms,
            reading.as_secs_f64()
        );
    }
    Ok(text)
}

/// How much of the next seconds capture spends on reading tables.
fn time_reading(capture: &Service, servers: &Servers, seconds: u64) -> Duration {
    let start = Instant::now();
    let end = Duration::from_secs(seconds);
    while start.elapsed() < end && capture.state(servers).is_some_and(|state| state == "loading") {
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed().min(end)
}
