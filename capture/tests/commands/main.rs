//! The binary `capture` from outside, against the real servers that `deploy/local/servers` starts. Each test has a
//! task and a database of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod check;
mod run;
mod servers;
mod settings;
mod usage;

use servers::Servers;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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
    /// A task that reads `tables` from `servers`; nothing is waited for if a server is away. Its name is not used by
    /// a run of the tests beside this one.
    fn new(servers: &Servers, name: &str, tables: &[&str]) -> Self {
        let name = format!("{name}_{}", std::process::id());
        let rules: String = tables.iter().map(|table| format!("[[table]]\nsource = \"{table}\"\n")).collect();
        let text = format!(
            "name = \"{name}\"\n[source]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"reader\"\npassword = \"{}\"\n\
             retry_minutes = 0\n[kafka]\nbrokers = \"{}\"\nretry_minutes = 0\n[topics]\npartitions = 2\n\
             [capture]\nlisten = \"127.0.0.1:0\"\n{rules}",
            servers.mysql_port, servers.reader_password, servers.brokers
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

    /// Starts `run`, its log in the test's own output.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(&["run"]);
        Running(command.args(arguments).stdout(Stdio::null()).spawn().unwrap())
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

/// A process that is ended with the test.
struct Running(Child);

impl Running {
    /// SIGTERM, and the status it led to.
    fn terminate(&mut self) -> i32 {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary.
fn capture(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A port of 127.0.0.1 that nobody listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks `look` until it has an answer.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
    }
}
