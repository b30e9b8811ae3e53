//! The status as a person reads it. Pure: a document enters, text leaves.

use serde::{Deserialize, Serialize};
use std::fmt::Write;
use tributary_service::status::{headline, place_in_list};
use tributary_service::waits::WaitDocument;

/// What is shown of the document of `/status`; a field that is missing stays empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub task: String,
    /// `capture`.
    pub service: String,
    /// What it is doing.
    pub state: String,
    /// Whether it leads.
    pub role: String,
    /// By name.
    pub tables: Vec<Row>,
    /// When the source was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// How far the stream has been followed.
    pub position: Option<String>,
    /// Rows a second.
    pub throughput: f64,
    /// The outage that is being waited out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrying: Option<Outage>,
    /// What has been waited for for a while.
    pub waits: Vec<WaitDocument>,
    /// What ended the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    /// `database.table`.
    pub name: String,
    /// What becomes of it.
    pub state: String,
    /// Rows of the load that have been read.
    pub rows_read: u64,
    /// Rows of the load.
    pub rows_total: u64,
    /// Rows published since the process began.
    pub rows_applied: u64,
    /// Behind the source.
    pub lag_seconds: Option<f64>,
    /// Why it is parked or excluded.
    pub error: Option<Problem>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    /// Section of the operations guide.
    pub code: String,
    /// What, where and why.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Outage {
    /// What is being tried.
    pub what: String,
    /// How long ago it failed first.
    pub since_seconds: u64,
    /// The last error.
    pub error: String,
}

/// When something was heard.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Contact {
    /// How long ago.
    pub seconds_ago: Option<f64>,
}

const HEADINGS: [&str; 6] = ["TABLE", "STATE", "LOADED", "%", "PUBLISHED", "LAG"];

impl Answer {
    /// Lines about the task, then a line for each table, its problem below it.
    #[must_use]
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "task        {}", self.task);
        let parked = self.tables.iter().filter(|table| table.state == "parked").count();
        let _ = writeln!(out, "state       {} ({})", headline(&self.state, parked), self.role);
        let _ = writeln!(out, "position    {}", self.position.as_deref().unwrap_or("none yet"));
        let _ = writeln!(out, "throughput  {:.0} rows/s", self.throughput);
        if let Some(seconds) = self.contact.as_ref().and_then(|contact| contact.seconds_ago) {
            let _ = writeln!(out, "source      heard {seconds:.1} s ago");
        }
        if let Some(outage) = &self.retrying {
            let _ =
                writeln!(out, "retrying    {} for {} s: {}", outage.what, outage.since_seconds, outage.error);
        }
        for wait in &self.waits {
            let _ = writeln!(out, "waiting     {}", wait.in_words());
        }
        if let Some(problem) = &self.error {
            put_problem(&mut out, "error       ", problem);
        }
        if self.tables.is_empty() {
            return out;
        }
        let mut tables: Vec<&Row> = self.tables.iter().collect();
        tables.sort_by_key(|table| place_in_list(&table.state));
        let rows: Vec<[String; 6]> = tables.iter().map(|table| table.cells()).collect();
        let mut widths = HEADINGS.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        out.push('\n');
        put_row(&mut out, &HEADINGS.map(str::to_owned), &widths);
        for (row, table) in rows.iter().zip(tables) {
            put_row(&mut out, row, &widths);
            if let Some(problem) = &table.error {
                put_problem(&mut out, "    ", problem);
            }
        }
        out
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let percent = match self.state.as_str() {
            "synchronizing" | "catching-up" => "100".to_owned(),
            _ => self.rows_read.saturating_mul(100).checked_div(self.rows_total).map_or(
                "-".to_owned(),
                |percent| {
                    // An estimate can be too small; only a load that has ended is complete.
                    percent.min(99).to_string()
                },
            ),
        };
        [
            self.name.clone(),
            self.state.clone(),
            format!("{}/{}", self.rows_read, self.rows_total),
            percent,
            self.rows_applied.to_string(),
            self.lag_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s")),
        ]
    }
}

fn put_row(out: &mut String, cells: &[String; 6], widths: &[usize; 6]) {
    let [name, state, numbers @ ..] = cells;
    let [name_width, state_width, number_widths @ ..] = widths;
    let _ = write!(out, "{name:<name_width$}  {state:<state_width$}");
    for (number, width) in numbers.iter().zip(number_widths) {
        let _ = write!(out, "  {number:>width$}");
    }
    out.push('\n');
}

fn put_problem(out: &mut String, lead: &str, problem: &Problem) {
    let code = if problem.code.is_empty() { String::new() } else { format!("{}: ", problem.code) };
    let _ = writeln!(out, "{lead}{code}{}", problem.message);
    if !problem.remedy.is_empty() {
        let _ = writeln!(out, "{:width$}-> {}", "", problem.remedy, width = lead.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_table() {
        let document = serde_json::json!({
            "task": "shop", "service": "capture", "state": "loading", "role": "leader", "position": "binlog.000003:4",
            "throughput": 1234.5, "unknown": 1, "contact": {"with": "source", "seconds_ago": 0.34, "lost": false},
            "retrying": {"what": "publishing", "since_seconds": 7, "error": "refused"},
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
        let answer: Answer = serde_json::from_value(document).unwrap();
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
";
        assert_eq!(answer.render(), expected);
    }
}
