//! One table of ten million rows: what enters is nothing, what leaves is the memory of both services, which must not grow
//! with the table.

use crate::binlog::{Position, image_bytes};
use crate::compare::Expected;
use crate::phases::{self, Work};
use crate::say;
use crate::servers::Servers;
use crate::services::Task;
use crate::sysbench::{EVENTS, Keys, Tables};
use tributary_benches::Result;

/// Of the table.
const ROWS: u32 = 10_000_000;
/// Of the backlog behind the load.
const EVENTS_BEHIND: u32 = 200_000;

/// Full load and backlog; `scale` divides both.
pub(crate) fn run(scale: u32, servers: &Servers) -> Result<String> {
    let tables = Tables { tables: 1, rows_per_table: ROWS / scale };
    say("sysbench prepares one large table, which takes minutes");
    let before = Position::now(servers)?;
    tables.prepare(servers)?;
    let task = Task::new("large", "large", servers)?;
    let mut phases = Vec::new();
    let mut replicate = |name: &str, rows: u32, before: &Position| -> Result<()> {
        let expected = Expected::of_source(servers, tables)?;
        let image_bytes = image_bytes(servers, before)?;
        say(name);
        let work = Work { name: name.to_owned(), rows, image_bytes, tables, expected: &expected };
        phases.push(phases::together(&work, &task, servers)?);
        Ok(())
    };
    replicate("full load", tables.rows(), &before)?;
    say("sysbench writes a backlog");
    let before = Position::now(servers)?;
    let events = EVENTS_BEHIND / scale;
    tables.write(servers, Keys::Uniform, events / EVENTS)?;
    replicate("backlog, uniform keys", events, &before)?;
    Ok(format!(
        "sysbench's rows of about 190 bytes in one table; both services started at once, until the warehouse has taken the \
         last record of\nevery partition.\n\n{}",
        phases::table(&phases, None)
    ))
}
