//! `end_to_end`: the product on real MySQL, Kafka and PostgreSQL, beside a raw pipe of the same rows. Nothing enters but
//! options; a table leaves. Invariant: a figure is told only after source and warehouse were compared.

mod servers;
mod services;

use clap::Parser;
use servers::{Servers, TABLES};
use services::{Task, Usage};
use std::time::{Duration, Instant};
use tributary_benches::{Result, machine, write_page};

/// How often the warehouse is asked whether it has everything.
const POLL: Duration = Duration::from_millis(200);
/// No phase takes longer on any machine that is worth measuring.
const LIMIT: Duration = Duration::from_secs(900);
/// Row events of a transaction of sysbench's `oltp_write_only`: two updates, a delete, an insert.
const EVENTS: u32 = 4;

/// Full load and backlog of the whole product, beside a raw pipe
#[derive(Debug, Parser)]
struct Options {
    /// A tenth of the rows, and no page in docs/benchmarks
    #[arg(long)]
    quick: bool,
    /// Leave the servers running
    #[arg(long)]
    keep: bool,
}

/// One line of the result.
struct Phase {
    name: &'static str,
    rows: u32,
    elapsed: Duration,
    capture: Option<Usage>,
    apply: Option<Usage>,
}

impl Phase {
    fn rows_per_second(&self) -> f64 {
        f64::from(self.rows) / self.elapsed.as_secs_f64()
    }
}

/// Both services started at once; done when the warehouse shows all rows as they are on the source.
fn together(name: &'static str, rows: u32, task: &Task, servers: &Servers) -> Result<Phase> {
    let sums = servers.sums()?;
    let start = Instant::now();
    let mut capture = task.start("capture", &["--until-caught-up"])?;
    let mut apply = task.start("apply", &[])?;
    let captured = capture.wait(LIMIT)?;
    while !servers.has_sums(&task.schema, &sums) {
        if apply.poll()?.is_some() || start.elapsed() > LIMIT {
            return Err("apply did not merge everything".into());
        }
        std::thread::sleep(POLL);
    }
    let elapsed = start.elapsed();
    Ok(Phase { name, rows, elapsed, capture: Some(captured), apply: Some(apply.stop(LIMIT)?) })
}

/// One service until it has caught up, from its start to its end.
fn alone(name: &'static str, rows: u32, task: &Task, service: &'static str) -> Result<Phase> {
    let start = Instant::now();
    let usage = task.start(service, &["--until-caught-up"])?.wait(LIMIT)?;
    let elapsed = start.elapsed();
    let is_capture = service == "capture";
    let (capture, apply) = if is_capture { (Some(usage), None) } else { (None, Some(usage)) };
    Ok(Phase { name, rows, elapsed, capture, apply })
}

fn run(rows: u32, transactions: u32, servers: &Servers) -> Result<Vec<Phase>> {
    let rows_per_table = rows / TABLES;
    let events = transactions * EVENTS;
    let say = |text: &str| eprintln!("end_to_end: {text} …");
    say("sysbench prepares");
    servers.source(&format!("CREATE DATABASE {}", servers::DATABASE))?;
    servers.sysbench(rows_per_table, &["prepare"])?;
    let write = || {
        say("sysbench writes a backlog");
        let run = ["--time=0", &format!("--events={transactions}"), "run"];
        servers.sysbench(rows_per_table, &run)
    };
    let mut phases = Vec::new();

    say("raw pipe");
    let elapsed = servers.raw_pipe()?;
    servers.compare("pipe")?;
    phases.push(Phase {
        name: "raw pipe: `mysql --quick`, `psql \\copy`, two tables at a time",
        rows,
        elapsed,
        capture: None,
        apply: None,
    });

    say("full load");
    let whole = Task::new("bench", "whole", servers)?;
    phases.push(together("full load", rows, &whole, servers)?);
    servers.compare("whole")?;
    let apart = Task::new("bench-apart", "apart", servers)?;
    phases.push(alone("full load, capture alone", rows, &apart, "capture")?);
    phases.push(alone("full load, apply alone", rows, &apart, "apply")?);
    servers.compare("apart")?;

    write()?;
    say("backlog");
    phases.push(together("backlog", events, &whole, servers)?);
    servers.compare("whole")?;
    phases.push(alone("backlog, capture alone", events, &apart, "capture")?);
    phases.push(alone("backlog, apply alone", events, &apart, "apply")?);
    servers.compare("apart")?;
    Ok(phases)
}

/// The phases as a table, ratios first.
fn table(phases: &[Phase]) -> String {
    let pipe = phases.first().map_or(1.0, Phase::rows_per_second);
    let mut text = "| phase | of the raw pipe | rows/s | rows | seconds | CPU s capture | CPU s apply | \
                    peak MB capture | peak MB apply |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let cell = |usage: Option<Usage>, show: fn(Usage) -> String| usage.map_or_else(|| "–".to_owned(), show);
    for phase in phases {
        let cpu: fn(Usage) -> String = |usage| format!("{:.1}", usage.cpu_seconds);
        let peak: fn(Usage) -> String = |usage| format!("{:.0}", usage.peak_megabytes);
        text += &format!(
            "| {} | {:.2} | {:.0} | {} | {:.2} | {} | {} | {} | {} |\n",
            phase.name,
            phase.rows_per_second() / pipe,
            phase.rows_per_second(),
            phase.rows,
            phase.elapsed.as_secs_f64(),
            cell(phase.capture, cpu),
            cell(phase.apply, cpu),
            cell(phase.capture, peak),
            cell(phase.apply, peak),
        );
    }
    text
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (rows, transactions) = if options.quick { (100_000, 5_000) } else { (1_000_000, 50_000) };
    let versions = servers::versions()?;
    let phases = Servers::start().and_then(|servers| run(rows, transactions, &servers));
    if !options.keep {
        servers::stop()?;
    }
    let text = table(&phases?);
    println!("{text}");
    if !options.quick {
        let page = format!(
            "# End to end\n\nWritten by `make bench` (`target/release/end_to_end`). sysbench `oltp_write_only`, \
             {TABLES} tables, {rows} rows of about 190 bytes;\nbacklog: {transactions} transactions of {EVENTS} row \
             events each, keys uniform, written while both services were down. All servers\nand both services share \
             the machine. Time runs from the start of the processes: together, both start at once, until all rows\nare seen \
             in the warehouse (asked every 200 ms once capture has published all); alone, to the end of `run --until-caught-up`. Configuration: defaults. After each phase, number \
             of rows\nand sums over all columns were equal on both sides.\n\n{text}\n{}\n```text\n{versions}\n```\n",
            machine()?
        );
        println!("{}", write_page("end-to-end", &page)?.display());
    }
    Ok(())
}
