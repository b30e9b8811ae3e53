//! A child process: the real binary, watched through its output and its HTTP.

use crate::support::{SOON, eventually};
use std::path::PathBuf;
use std::process::{Child, Command};

/// A running `apply`; killed when dropped.
pub(crate) struct Process {
    pub child: Child,
    pub log: PathBuf,
}

impl Process {
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn expect_exit(&mut self, code: i32) {
        let log = self.log.clone();
        let status = eventually("the end of apply", SOON * 3, || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{}", std::fs::read_to_string(log).unwrap());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM, and the orderly end that follows.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        self.expect_exit(0);
    }

    /// `/status`, once it answers.
    pub(crate) fn status(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.get("/status")?.split("\r\n\r\n").nth(1)?).ok()
    }

    /// What it answers to a request, with the head.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let output = self.output();
        let address = output.split("http://").nth(1)?.split_whitespace().next()?.to_owned();
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        std::io::Write::write_all(&mut stream, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
        Some(answer)
    }

    /// State and error code of a table.
    pub(crate) fn table(&self, name: &str) -> Option<(String, String)> {
        let status = self.status()?;
        let table = status["tables"].as_array()?.iter().find(|table| table["name"] == name)?.clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Some((text(&table["state"]), text(&table["error"]["code"])))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            crate::order::check(&self.output());
        }
    }
}
