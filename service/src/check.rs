//! The report of `check`, one line an item, what was found and what to do; and the same check at the start of `run`. The
//! services make the items; this only judges and shows them.

mod precheck;

pub use precheck::precheck;

use crate::cli::{write_out, write_painted};
use crate::exit::Exit;
use serde::Serialize;
use std::fmt::Write;
use std::io::IsTerminal;
use tributary_schemas::printed::block;

/// The item about the brokers, of both services.
pub const KAFKA_REACHABLE: &str = "kafka-reachable";

/// How an item came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Works, with a limit or a risk that is named.
    Warn,
    /// Must be changed first.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckItem {
    /// Id in kebab case, for `--ignore` and the operations guide.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    pub found: String,
    /// What to do; empty where there is nothing to do.
    pub remedy: String,
    /// A failure that `--ignore` named.
    pub ignored: bool,
    /// A failure that may pass by itself: of a server that did not answer, or was too busy.
    #[serde(skip)]
    pub passing: bool,
}

impl CheckItem {
    /// An item that is as it should be.
    pub fn pass(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Pass, found, "")
    }

    /// An item that works with a limit or a risk.
    pub fn warn(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warn, found, remedy)
    }

    /// An item that must be changed first.
    pub fn fail(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, Outcome::Fail, found, remedy)
    }

    /// The same, which may pass by itself if `passing`.
    #[must_use]
    pub fn passing(self, passing: bool) -> Self {
        Self { passing, ..self }
    }

    fn new(
        name: impl Into<String>,
        outcome: Outcome,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (name, found, remedy) = (name.into(), found.into(), remedy.into());
        Self { name, outcome, found, remedy, ignored: false, passing: false }
    }
}

/// Items in the order they were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// True if nothing failed but what is ignored.
    passed: bool,
    items: Vec<CheckItem>,
}

impl Report {
    /// Judges `items`; those named in `ignore` do not count as failures.
    #[must_use]
    pub fn new(items: Vec<CheckItem>, ignore: &[String]) -> Self {
        let mut report = Self { passed: true, items };
        for name in ignore {
            if report.items.iter().all(|item| item.name != *name) {
                let found = format!("--ignore names {name:?}, which is no item of this check");
                report.items.push(CheckItem::warn("ignore", found, "correct the name, or remove it"));
            }
        }
        for item in &mut report.items {
            item.ignored = item.outcome == Outcome::Fail && ignore.contains(&item.name);
        }
        let failed = report.failures().count();
        report.passed = failed == 0;
        report
    }

    /// True if nothing failed but what is ignored.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.passed
    }

    #[must_use]
    pub fn items(&self) -> &[CheckItem] {
        &self.items
    }

    /// What stands in the way.
    pub fn failures(&self) -> impl Iterator<Item = &CheckItem> {
        self.items.iter().filter(|item| item.outcome == Outcome::Fail && !item.ignored)
    }

    /// Prints it, for programs or for people; what stands in the way is a failure of the command.
    #[must_use]
    pub fn print(&self, json: bool) -> Exit {
        if json {
            write_out(&self.json());
        } else {
            write_painted(&self.render(std::io::stdout().is_terminal()));
        }
        if self.passed() { Exit::Done } else { Exit::Failed }
    }

    /// For programs.
    #[must_use]
    fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// For people: outcome, name and finding in columns, the remedy below. Control characters of the findings are escaped.
    #[must_use]
    fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        let width = self.items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
        let indent = " ".repeat(width + 8);
        for item in &self.items {
            let (word, paint) = match (item.outcome, item.ignored) {
                (Outcome::Pass, _) => ("pass", "\x1b[32m"),
                (Outcome::Warn, _) => ("warn", "\x1b[33m"),
                (Outcome::Fail, true) => ("skip", "\x1b[33m"),
                (Outcome::Fail, false) => ("FAIL", "\x1b[1;31m"),
            };
            let (paint, off) = if colour { (paint, "\x1b[0m") } else { ("", "") };
            let found = block(&item.found).replace('\n', &format!("\n{indent}"));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{paint}{word}{off}  {:<width$}  {found}", item.name);
            if !item.remedy.is_empty() {
                let remedy = block(&item.remedy).replace('\n', &format!("\n{indent}   "));
                let _ = writeln!(out, "{indent}-> {remedy}");
            }
        }
        let count =
            |outcome| self.items.iter().filter(|item| item.outcome == outcome && !item.ignored).count();
        let _ = write!(
            out,
            "{} passed, {} warned, {} failed",
            count(Outcome::Pass),
            count(Outcome::Warn),
            count(Outcome::Fail)
        );
        match self.items.iter().filter(|item| item.ignored).count() {
            0 => out.push('\n'),
            ignored => {
                let _ = writeln!(out, ", {ignored} ignored");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<CheckItem> {
        vec![
            CheckItem::pass("binlog-format", "ROW"),
            CheckItem::warn("sync-binlog", "sync_binlog = 0", "set it to 1"),
            CheckItem::fail("row-image", "MINIMAL", "set binlog_row_image = FULL\nand reconnect"),
        ]
    }

    #[test]
    fn the_report_is_aligned_and_names_remedies() {
        let report = Report::new(items(), &[]);
        assert!(!report.passed());
        assert_eq!(
            report.render(false),
            "pass  binlog-format  ROW\n\
             warn  sync-binlog    sync_binlog = 0\n                     -> set it to 1\n\
             FAIL  row-image      MINIMAL\n                     -> set binlog_row_image = FULL\n                        and reconnect\n\
             1 passed, 1 warned, 1 failed\n"
        );
        assert!(report.render(true).contains("\x1b[1;31mFAIL\x1b[0m"));
    }

    #[test]
    fn ignored_failures_pass_and_unknown_names_are_told() {
        let report = Report::new(items(), &["row-image".into(), "rwo-image".into()]);
        assert!(report.passed());
        let text = report.render(false);
        assert!(
            text.contains("skip  row-image") && text.contains("\"rwo-image\"") && text.contains("1 ignored"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["passed"], &json["items"][2]["outcome"]), (&true.into(), &"fail".into()));
        assert_eq!(
            (&json["items"][2]["ignored"], &json["items"][0]["name"]),
            (&true.into(), &"binlog-format".into())
        );
    }
}
