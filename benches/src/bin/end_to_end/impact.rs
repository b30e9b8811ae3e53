//! What the source feels: sysbench writes while capture is away, reads the tables, and follows the stream. Tables enter;
//! throughput and 99th percentile as sysbench saw them leave. apply does not run: the source never meets it.

use crate::cpu::ServerCpu;
use crate::say;
use crate::servers::Servers;
use crate::services::{Service, Task};
use crate::sysbench::{Seen, Tables};
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// Of each measurement.
const SECONDS: u64 = 10;
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
    note: String,
}

/// The table; `scale` divides the time of each measurement.
pub fn run(tables: Tables, scale: u32, servers: &Servers) -> Result<String> {
    let seconds = SECONDS / u64::from(scale.min(5));
    let mut lines = Vec::new();
    for (name, rate) in [("bench-impact", None), ("bench-impact-rate", Some(RATE))] {
        let load =
            rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("{rate} transactions/s"));
        let mut measure = |capture: &'static str, service: Option<&Service>| -> Result<()> {
            say(&format!("sysbench writes, {load}, capture {capture}"));
            let before = ServerCpu::now(servers)?;
            let seen = tables.load(servers, seconds, rate)?;
            let mysql = (ServerCpu::now(servers)? - before).mysql;
            let state = service.and_then(|service| service.state(servers));
            let note = state.map_or_else(String::new, |state| format!("in the end: {state}"));
            lines.push(Line { load: load.clone(), capture, seen, mysql, note });
            Ok(())
        };
        measure("away", None)?;
        let task = Task::new(name, "impact", servers)?;
        let mut capture = task.start("capture", &[])?;
        await_state(&mut capture, servers, |state| state != "precheck")?;
        measure("reads the tables", Some(&capture))?;
        await_state(&mut capture, servers, |state| state == "synchronizing")?;
        measure("follows the stream", Some(&capture))?;
        capture.stop(LIMIT)?;
        measure("away again", None)?;
    }
    let mut text = format!(
        "sysbench `oltp_write_only`, 4 sessions, uniform keys, {seconds} s each, on the tables of the full load; capture, \
         Kafka, sysbench and the\nsource share the cores, so that at full speed every second of CPU that capture and Kafka \
         take is missing to the source.\n\n| load | capture | transactions/s | p99 ms | CPU s MySQL | |\n|---|---|---|---|---|---|\n"
    );
    for Line { load, capture, seen, mysql, note } in lines {
        text += &format!(
            "| {load} | {capture} | {:.0} | {:.1} | {mysql:.1} | {note} |\n",
            seen.transactions_per_second, seen.p99_ms
        );
    }
    Ok(text)
}

fn await_state(capture: &mut Service, servers: &Servers, is_there: impl Fn(&str) -> bool) -> Result<()> {
    let start = Instant::now();
    while !capture.state(servers).is_some_and(|state| is_there(&state)) {
        if capture.poll()?.is_some() || start.elapsed() > LIMIT {
            return Err("capture does not come to the state that is to be measured".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
