//! The binary `capture` from outside, against the real servers that `deploy/local/servers` starts. Each test has a
//! task and a database of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod check;
mod run;
mod servers;
mod settings;
mod usage;

use servers::SERVERS;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;

/// How long a state may take to come about.
const SOON: Duration = Duration::from_secs(30);

/// A task's configuration file, and the binary that reads it.
struct Task {
    name: String,
    path: PathBuf,
    text: String,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Task {
    /// A task that reads `tables` from `mysql`; nothing is waited for if a server is away. Its name is not used by a run
    /// of the tests beside this one.
    fn new(mysql: &Servers, name: &str, tables: &[&str]) -> Self {
        let name = format!("{name}_{}", std::process::id());
        let rules: String = tables.iter().map(|table| format!("[[table]]\nsource = \"{table}\"\n")).collect();
        let text = format!(
            "name = \"{name}\"\n{}retry_minutes = 0\n{}retry_minutes = 0\n[topics]\npartitions = 2\n\
             [capture]\nlisten = \"127.0.0.1:0\"\n{rules}",
            mysql.section("source"),
            SERVERS.section("kafka"),
        );
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        let task = Self { name, path, text };
        task.write();
        task
    }

    fn write(&self) {
        std::fs::write(&self.path, &self.text).unwrap();
    }

    /// Changes the file.
    fn replace(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from} is not in the configuration");
        self.text = self.text.replace(from, to);
        self.write();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = capture(arguments);
        command.arg("--config").arg(&self.path);
        command
    }

    fn capture(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    /// The items of `check --json`: name, outcome, what was found.
    fn check(&self) -> Items {
        let ended = self.capture(&["check", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let text = |item: &serde_json::Value, field: &str| item[field].as_str().unwrap().to_owned();
        let items = report["items"].as_array().unwrap().iter();
        Items {
            status: ended.status,
            passed: report["passed"].as_bool().unwrap(),
            items: items
                .map(|item| (text(item, "name"), text(item, "outcome"), text(item, "found")))
                .collect(),
        }
    }

    /// Starts `run`.
    fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(&["run"]).args(arguments), self.path.with_extension("log"))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Best effort: a test that failed must show its own failure.
        let _ = self.command(&["drop", "--yes"]).output();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A report.
#[derive(Debug)]
struct Items {
    status: i32,
    passed: bool,
    items: Vec<(String, String, String)>,
}

impl Items {
    /// Outcome and finding of an item.
    fn get(&self, name: &str) -> (&str, &str) {
        let item = self.items.iter().find(|item| item.0 == name);
        item.map(|item| (item.1.as_str(), item.2.as_str()))
            .unwrap_or_else(|| panic!("no item {name}: {self:?}"))
    }

    /// The items that fail.
    fn failed(&self) -> Vec<&str> {
        self.items.iter().filter(|item| item.1 == "fail").map(|item| item.0.as_str()).collect()
    }
}

/// The binary.
fn capture(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.args(arguments).stdin(Stdio::null());
    command
}
