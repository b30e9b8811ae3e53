//! Rows a second: the raw pipe, the full load of the same rows, and backlogs of changes of two sizes and two
//! distributions of keys. Tables enter, phases leave, the raw pipe's first.

use crate::binlog::{Position, image_bytes};
use crate::compare::Expected;
use crate::phases::{self, Phase, Work};
use crate::servers::Servers;
use crate::services::Task;
use crate::sysbench::{EVENTS, Keys, Tables};
use crate::{pipe, say};
use tributary_benches::Result;

/// Row events of the backlogs.
const BACKLOGS: [u32; 2] = [200_000, 800_000];

/// All phases; `scale` divides the backlogs.
pub(crate) fn run(tables: Tables, scale: u32, servers: &Servers) -> Result<Vec<Phase>> {
    say("sysbench prepares");
    let before = Position::now(servers)?;
    tables.prepare(servers)?;
    let expected = Expected::of_source(servers, tables)?;
    let mut phases = Vec::new();

    let image_bytes_loaded = image_bytes(servers, &before)?;
    let loading = |name: &str| Work {
        name: name.to_owned(),
        rows: tables.rows(),
        image_bytes: image_bytes_loaded,
        tables,
        expected: &expected,
    };
    let task = |name| Task::new(name, name, servers);
    let cold = loading("full load, Kafka just started");
    say(&cold.name);
    let cold = phases::together(&cold, &task("cold")?, servers)?;
    servers.warehouse("DROP SCHEMA cold CASCADE")?;

    let load = loading("full load");
    say("full load and raw pipe, in turns");
    let (first, second, whole) = (task("first")?, task("second")?, task("whole")?);
    let (mut pipes, mut loads) = (Vec::new(), Vec::new());
    for task in [&first, &second, &whole] {
        pipes.push(raw_pipe(servers, tables, &expected)?);
        loads.push(phases::together(&load, task, servers)?);
    }
    for task in [first, second] {
        servers.warehouse(&format!("DROP SCHEMA {} CASCADE", task.schema))?;
    }
    phases.extend([Phase::median(pipes)?, cold, Phase::median(loads)?]);

    let apart = ["one", "two", "three"].into_iter().map(task).collect::<Result<Vec<_>>>()?;
    say("full load, capture and apply alone");
    phases.extend(phases::apart(&load, &apart, servers)?);
    for (size, keys) in BACKLOGS.iter().flat_map(|size| [(size, Keys::Uniform), (size, Keys::Default)]) {
        let rows = size / scale;
        say(&format!("sysbench writes {rows} row events, {} keys", keys.name()));
        let before = Position::now(servers)?;
        tables.write(servers, keys, rows / EVENTS)?;
        let expected = Expected::of_source(servers, tables)?;
        let image_bytes = image_bytes(servers, &before)?;
        let name = format!("backlog, {} keys", keys.name());
        let work = Work { name, rows, image_bytes, tables, expected: &expected };
        say(&work.name);
        phases.push(phases::together(&work, &whole, servers)?);
        phases.extend(phases::apart(&work, &apart, servers)?);
    }
    Ok(phases)
}

/// The same rows without anything in between; the tables that it fills are dropped again.
fn raw_pipe(servers: &Servers, tables: Tables, expected: &Expected) -> Result<Phase> {
    let elapsed = pipe::run(servers, tables)?;
    expected.compare(servers, pipe::SCHEMA)?;
    servers.warehouse(&format!("DROP SCHEMA {} CASCADE", pipe::SCHEMA))?;
    Ok(Phase {
        name: "raw pipe: `mysql --quick`, `psql \\copy`, two tables at a time".to_owned(),
        rows: tables.rows(),
        elapsed,
        fastest: None,
        capture: None,
        apply: None,
        servers: None,
        merged: None,
        bytes_per_image_byte: None,
    })
}

/// The phases with what they mean.
pub(crate) fn text(phases: &[Phase]) -> String {
    format!("{EXPLANATION}\n{}", phases::table(phases, phases.first().map(Phase::rows_per_second)))
}

const EXPLANATION: &str = "\
sysbench's rows of about 190 bytes in 4 tables; a backlog is of `oltp_write_only`, 4 row events a transaction, written while
both services were down; keys `uniform`, or by sysbench's `default` (`special`: 75 % of the changes hit 1 % of the keys).
Time runs from the start of the processes: together, both at once, until the warehouse has taken the last record of every
partition (asked every 20 ms once capture says that it is in step; that this was all is seen from the rows themselves, behind
it); alone, to the end of `run --until-caught-up`. Raw pipe and full load are three each, in turns; alone are three tasks that
do the same one after the other: the median, with the fastest beside it. The first full load meets a Kafka whose JVM has
compiled nothing yet; later it does so with its first compiler only (`TieredStopAtLevel=1`), as is cheaper for one that lives
for minutes. Before each phase the warehouse is vacuumed and everything is written to disk.
*rows/row merged* is the compaction reached: rows, or row events, for each row that was inserted, updated or deleted in the
warehouse. *Kafka bytes/image byte*: growth of the table topics' log segments by the bytes of the binlog's row images, before
and after images alike. CPU of the servers is that of all their processes in the phase.
";
