//! A phase: services that run from their start until the warehouse has what the source has. A task and the expected rows
//! enter, what it took leaves. Invariant: a phase is returned only after source and warehouse were compared.

use crate::compare::Expected;
use crate::cpu::ServerCpu;
use crate::offsets::Offsets;
use crate::servers::Servers;
use crate::services::{Task, Usage};
use crate::sysbench::{DATABASE, Tables};
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// How often the offsets are asked for.
const POLL: Duration = Duration::from_millis(20);
/// No phase takes longer on any machine that is worth measuring.
const LIMIT: Duration = Duration::from_secs(1800);

/// The rows a phase is about.
pub(crate) struct Work<'a> {
    /// As the report names it.
    pub name: String,
    /// Rows, or row events.
    pub rows: u32,
    /// Bytes of their row images.
    pub image_bytes: u64,
    /// Where they are.
    pub tables: Tables,
    /// What the warehouse has in the end.
    pub expected: &'a Expected,
}

/// One line of the result.
pub(crate) struct Phase {
    pub name: String,
    pub rows: u32,
    pub elapsed: Duration,
    /// The shortest time, where it was done more than once.
    pub fastest: Option<Duration>,
    pub capture: Option<Usage>,
    pub apply: Option<Usage>,
    pub servers: Option<ServerCpu>,
    /// Rows that the merges changed in the warehouse.
    pub merged: Option<u64>,
    /// Bytes that came to the table topics, for each byte of row image.
    pub bytes_per_image_byte: Option<f64>,
}

impl Phase {
    /// Rows, or row events, a second.
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rate(self.elapsed)
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        f64::from(self.rows) / elapsed.as_secs_f64()
    }

    /// The one of median length of several that did the same, with the shortest time of them.
    pub(crate) fn median(mut runs: Vec<Self>) -> Result<Self> {
        runs.sort_by_key(|phase| phase.elapsed);
        let fastest = runs.first().map(|phase| phase.elapsed);
        let middle = runs.len() / 2;
        let phase = runs.into_iter().nth(middle).ok_or("nothing was measured")?;
        Ok(Self { fastest, ..phase })
    }
}

/// What is read before a phase, and subtracted behind it.
struct Before {
    cpu: ServerCpu,
    topic_bytes: u64,
    merged: u64,
}

impl Before {
    /// Nothing of what ran before is left for the phase to pay for.
    fn read(task: &Task, servers: &Servers) -> Result<Self> {
        servers.settle()?;
        Ok(Self {
            cpu: ServerCpu::now(servers)?,
            topic_bytes: servers.topic_bytes(&topics(task))?,
            merged: merged(task, servers)?,
        })
    }

    fn phase(self, work: &Work, elapsed: Duration, task: &Task, servers: &Servers) -> Result<Phase> {
        let cpu = ServerCpu::now(servers)? - self.cpu;
        let topic_bytes = servers.topic_bytes(&topics(task))? - self.topic_bytes;
        Ok(Phase {
            name: work.name.clone(),
            rows: work.rows,
            elapsed,
            fastest: None,
            capture: None,
            apply: None,
            servers: Some(cpu),
            merged: Some(merged(task, servers)? - self.merged).filter(|rows| *rows > 0),
            bytes_per_image_byte: Some(topic_bytes as f64 / work.image_bytes as f64)
                .filter(|ratio| *ratio > 0.0),
        })
    }
}

/// What the names of a task's table topics begin with.
fn topics(task: &Task) -> String {
    format!("{}.{DATABASE}.", task.name)
}

/// Rows that were inserted, updated and deleted in a task's target tables since they were made. Sessions tell it when
/// they end, so that it is exact once apply has ended.
fn merged(task: &Task, servers: &Servers) -> Result<u64> {
    let sql = format!(
        "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables WHERE schemaname = '{}'",
        task.schema
    );
    Ok(servers.warehouse(&sql)?.first().ok_or("no sum")?.parse()?)
}

/// Both services started at once, to run on; done when all that capture has published is merged. That it was all there is
/// shows behind it: the warehouse has all rows as they are on the source, and nothing more was published meanwhile.
pub(crate) fn together(work: &Work, task: &Task, servers: &Servers) -> Result<Phase> {
    let before = Before::read(task, servers)?;
    let offsets = Offsets::new(task, work.tables, servers)?;
    let start = Instant::now();
    let mut capture = task.start("capture", &[])?;
    let mut apply = task.start("apply", &[])?;
    capture.await_state(servers, LIMIT, |state| state == "synchronizing")?;
    let elapsed = loop {
        if let Some(ends) = &offsets.ends()?
            && offsets.are_behind(ends, servers)?
        {
            let elapsed = start.elapsed();
            if work.expected.has_arrived(servers, &task.schema) && offsets.ends()?.as_ref() == Some(ends) {
                break elapsed;
            }
        }
        if capture.poll()?.is_some() || apply.poll()?.is_some() || start.elapsed() > LIMIT {
            return Err("a service ended, or apply did not merge everything".into());
        }
        std::thread::sleep(POLL);
    };
    let captured = capture.stop(LIMIT)?;
    let applied = apply.stop(LIMIT)?;
    let phase = before.phase(work, elapsed, task, servers)?;
    work.expected.compare(servers, &task.schema)?;
    Ok(Phase { capture: Some(captured), apply: Some(applied), ..phase })
}

/// First capture alone, then apply alone, each until it has caught up, from its start to its end: the median of the tasks,
/// which do the same one after the other.
pub(crate) fn apart(work: &Work, tasks: &[Task], servers: &Servers) -> Result<[Phase; 2]> {
    let alone = |task: &Task, service: &'static str| -> Result<Phase> {
        let before = Before::read(task, servers)?;
        let start = Instant::now();
        let usage = Some(task.start(service, &["--until-caught-up"])?.wait(LIMIT)?);
        let phase = before.phase(work, start.elapsed(), task, servers)?;
        let name = format!("{}, {service} alone", work.name);
        Ok(match service {
            "capture" => Phase { name, capture: usage, ..phase },
            _ => Phase { name, apply: usage, ..phase },
        })
    };
    let median =
        |service| Phase::median(tasks.iter().map(|task| alone(task, service)).collect::<Result<_>>()?);
    let phases = [median("capture")?, median("apply")?];
    for task in tasks {
        work.expected.compare(servers, &task.schema)?;
    }
    Ok(phases)
}

/// The phases as a table, beside the rows/s of the raw pipe.
pub(crate) fn table(phases: &[Phase], pipe: Option<f64>) -> String {
    let mut text = "| phase | of the raw pipe | rows/s | fastest rows/s | rows | seconds | rows/row merged | \
                    Kafka bytes/image byte | peak MB capture | peak MB apply | CPU s capture | CPU s apply | CPU s MySQL \
                    | CPU s Kafka | CPU s PostgreSQL |\n"
        .to_owned();
    text += &"|---".repeat(15);
    text += "|\n";
    for phase in phases {
        let cells = [
            phase.name.clone(),
            cell(pipe, |pipe| format!("{:.2}", phase.rows_per_second() / pipe)),
            format!("{:.0}", phase.rows_per_second()),
            cell(phase.fastest, |fastest| format!("{:.0}", phase.rate(fastest))),
            phase.rows.to_string(),
            format!("{:.2}", phase.elapsed.as_secs_f64()),
            cell(phase.merged, |rows| format!("{:.2}", f64::from(phase.rows) / rows as f64)),
            cell(phase.bytes_per_image_byte, |ratio| format!("{ratio:.2}")),
            cell(phase.capture, |usage| format!("{:.0}", usage.peak_megabytes)),
            cell(phase.apply, |usage| format!("{:.0}", usage.peak_megabytes)),
            cell(phase.capture, |usage| format!("{:.1}", usage.cpu_seconds)),
            cell(phase.apply, |usage| format!("{:.1}", usage.cpu_seconds)),
            cell(phase.servers, |cpu| format!("{:.1}", cpu.mysql)),
            cell(phase.servers, |cpu| format!("{:.1}", cpu.kafka)),
            cell(phase.servers, |cpu| format!("{:.1}", cpu.postgres)),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

/// A cell of a table; a dash where there is nothing to tell.
pub(crate) fn cell<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}
