//! `/status` as `capture status` and `apply status` show it: read from the instance that runs, or put together from what the
//! task has stored. A field that is missing stays empty, so that an instance of another version can be shown, too.

use super::document::{ErrorDocument, RetryDocument, headline, place_in_list};
use super::grid::{Column, grid};
use super::readers::{ReaderDocument, readers_in_words};
use crate::Service;
use crate::cli::write_out;
use crate::exit::{Exit, Failure};
use crate::waits::WaitDocument;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What is shown of the document of `/status`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub task: String,
    pub service: String,
    pub state: String,
    /// Whether this instance works; `none` where none answers.
    pub role: String,
    pub tables: Vec<AnsweredTable>,
    contact: Option<Contact>,
    /// How far the stream has been followed.
    pub position: Option<String>,
    /// Rows a second.
    throughput: f64,
    retrying: Option<RetryDocument>,
    waits: Vec<WaitDocument>,
    error: Option<ErrorDocument>,
    /// Who reads the topics of the task's tables.
    readers: Option<Vec<ReaderDocument>>,
    readers_note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AnsweredTable {
    /// `database.table` on the source.
    pub name: String,
    pub state: String,
    pub rows_read: u64,
    pub rows_total: u64,
    pub rows_applied: u64,
    pub lag_seconds: Option<f64>,
    pub error: Option<ErrorDocument>,
    pub target: Option<String>,
    pub generation: u32,
}

/// What was heard of the source (capture), or of capture (apply).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Contact {
    with: String,
    #[serde(default)]
    task: Option<String>,
    seconds_ago: Option<f64>,
}

const NAME: Column<AnsweredTable> = ("TABLE", false, |table| table.name.clone());
const STATE: Column<AnsweredTable> = ("STATE", false, |table| table.state.clone());
const LAG: Column<AnsweredTable> =
    ("LAG", true, |table| table.lag_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s")));
const CAPTURE: [Column<AnsweredTable>; 6] = [
    NAME,
    STATE,
    ("LOADED", true, |table| format!("{}/{}", table.rows_read, table.rows_total)),
    ("%", true, AnsweredTable::percent),
    ("PUBLISHED", true, |table| table.rows_applied.to_string()),
    LAG,
];
const APPLY: [Column<AnsweredTable>; 5] = [
    NAME,
    STATE,
    ("MERGED", true, |table| table.rows_applied.to_string()),
    LAG,
    ("TARGET", false, |table| table.target.clone().unwrap_or("-".to_owned())),
];

impl Answer {
    /// Of a task of which no instance answers; nothing is known of it yet.
    #[must_use]
    pub fn stopped(task: &str, service: Service) -> Self {
        Self {
            task: task.to_owned(),
            service: service.name().to_owned(),
            state: "stopped".to_owned(),
            role: "none".to_owned(),
            ..Self::default()
        }
    }

    /// Prints the document of an instance that answered.
    ///
    /// # Errors
    /// A [`Failure`] with the remedy `unlike` if the instance has another version, whose answer cannot be read.
    pub fn print(document: &serde_json::Value, json: bool, unlike: &str) -> Result<Exit, Failure> {
        if json {
            write_out(&format!("{document:#}\n"));
            return Ok(Exit::Done);
        }
        let answer = Self::deserialize(document).map_err(|error| {
            Failure::new("the answer of the instance cannot be read", error).remedy(unlike)
        })?;
        write_out(&answer.render());
        Ok(Exit::Done)
    }

    /// Prints what `store` holds of a task of which no instance answers; `silence` says why.
    #[must_use]
    pub fn print_stored(&self, json: bool, silence: &str, store: &str) -> Exit {
        if json {
            write_out(&format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default()));
        } else {
            let Self { task, .. } = self;
            write_out(&format!("no instance of {task} answers: {silence}\n{store}:\n\n{}", self.render()));
        }
        Exit::Failed
    }

    /// Lines about the task, then a line for each table, its problem below it; those in trouble first. Last, who reads the
    /// topics.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.put_task(&mut out);
        self.put_tables(&mut out);
        let readers = readers_in_words(self.readers.as_deref(), self.readers_note.as_deref());
        if !readers.is_empty() {
            let _ = write!(out, "\n{readers}");
        }
        out
    }

    fn put_tables(&self, out: &mut String) {
        if self.tables.is_empty() {
            return;
        }
        let columns: &[Column<AnsweredTable>] =
            if self.service == Service::Apply.name() { &APPLY } else { &CAPTURE };
        let mut tables: Vec<&AnsweredTable> = self.tables.iter().collect();
        tables.sort_by_key(|table| place_in_list(&table.state));
        out.push('\n');
        let problems = std::iter::once(None).chain(tables.iter().map(|table| table.error.as_ref()));
        for (line, problem) in grid(columns, tables.iter().copied()).zip(problems) {
            out.push_str(&line);
            out.push('\n');
            if let Some(problem) = problem {
                let _ = put_problem(out, "    ", problem);
            }
        }
    }

    fn put_task(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "task        {}", self.task)?;
        let parked = self.tables.iter().filter(|table| table.state == "parked").count();
        let role = match self.role.as_str() {
            "" | "none" => String::new(),
            role => format!(" ({role})"),
        };
        writeln!(out, "state       {}{role}", headline(&self.state, parked))?;
        if let Some(position) = &self.position {
            writeln!(out, "position    {position}")?;
        }
        writeln!(out, "throughput  {:.0} rows/s", self.throughput)?;
        if let Some(Contact { with, task, seconds_ago: Some(seconds) }) = &self.contact {
            let with = task.as_ref().map_or_else(|| with.clone(), |task| format!("{with} of {task}"));
            writeln!(out, "{with:<11} heard {seconds:.1} s ago")?;
        }
        if let Some(outage) = &self.retrying {
            writeln!(out, "retrying    {} for {} s: {}", outage.what, outage.since_seconds, outage.error)?;
        }
        for wait in &self.waits {
            writeln!(out, "waiting     {}", wait.in_words())?;
        }
        self.error.as_ref().map_or(Ok(()), |problem| put_problem(out, "error       ", problem))
    }
}

impl AnsweredTable {
    fn percent(&self) -> String {
        match self.state.as_str() {
            "synchronizing" | "catching-up" => "100".to_owned(),
            // An estimate can be too small; only a load that has ended is complete.
            _ => (self.rows_read.saturating_mul(100).checked_div(self.rows_total))
                .map_or("-".to_owned(), |percent| percent.min(99).to_string()),
        }
    }
}

fn put_problem(out: &mut String, lead: &str, problem: &ErrorDocument) -> std::fmt::Result {
    let code = if problem.code.is_empty() { String::new() } else { format!("{}: ", problem.code) };
    writeln!(out, "{lead}{code}{}", problem.message)?;
    if problem.remedy.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:width$}-> {}", "", problem.remedy, width = lead.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(document: serde_json::Value) -> String {
        serde_json::from_value::<Answer>(document).unwrap().render()
    }

    #[test]
    fn captures_document_becomes_a_table() {
        let document = serde_json::json!({
            "task": "shop", "service": "capture", "state": "loading", "role": "leader", "position": "binlog.000003:4",
            "throughput": 1234.5, "unknown": 1, "contact": {"with": "source", "seconds_ago": 0.34, "lost": false},
            "retrying": {"what": "publishing", "since_seconds": 7, "error": "refused"},
            "readers": [{"name": "dw", "identity": "0d7c", "group": "dw.0d7c", "members": 2, "tables": 3,
                         "lag_records": 40, "state": "stable", "unknown": 1}],
            "readers_note": "2 groups more read the topics",
            "waits": [{"what": "committing to Kafka", "since_seconds": 3, "limit_seconds": 60}],
            "tables": [
                {"name": "shop.orders", "state": "loading", "rows_read": 50, "rows_total": 200, "rows_applied": 60,
                 "lag_seconds": null, "error": null},
                {"name": "shop.items", "state": "synchronizing", "rows_read": 9, "rows_total": 9, "rows_applied": 10,
                 "lag_seconds": 0.25, "error": null},
                {"name": "shop.bad", "state": "parked", "rows_read": 0, "rows_total": 0, "rows_applied": 0,
                 "lag_seconds": null, "error": {"code": "bad-row", "message": "m", "remedy": "r"}},
            ],
        });
        let expected = "\
task        shop
state       loading, 1 parked (leader)
position    binlog.000003:4
throughput  1234 rows/s
source      heard 0.3 s ago
retrying    publishing for 7 s: refused
waiting     committing to Kafka, for 3 s (60 s at most)

TABLE        STATE          LOADED    %  PUBLISHED    LAG
shop.bad     parked            0/0    -          0      -
    bad-row: m
    -> r
shop.orders  loading        50/200   25         60      -
shop.items   synchronizing     9/9  100         10  0.2 s

READER  STATE   MEMBERS  TABLES      BEHIND  DESTINATION
dw      stable        2       3  40 records  0d7c
readers: 2 groups more read the topics
";
        assert_eq!(rendered(document), expected);
    }

    #[test]
    fn applys_document_names_the_targets() {
        let document = serde_json::json!({
            "task": "shop", "service": "apply", "state": "parked",
            "tables": [{"name": "a.b", "state": "parked", "rows_applied": 3, "lag_seconds": null, "target": "dw.b",
                        "error": {"code": "foreign-record", "message": "what", "remedy": "do this"}}],
        });
        let expected = "\
task        shop
state       parked
throughput  0 rows/s

TABLE  STATE   MERGED  LAG  TARGET
a.b    parked       3    -  dw.b
    foreign-record: what
    -> do this
";
        assert_eq!(rendered(document), expected);
    }
}
