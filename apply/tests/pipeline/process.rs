//! A child process: the real binary, whose statements are looked at when it has ended.

use crate::support::SOON;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use tributary_tests::process;

/// A running `apply`; killed when dropped.
pub(crate) struct Process(process::Process);

impl Process {
    pub(crate) fn spawn(command: &mut Command, log: PathBuf) -> Self {
        Self(process::Process::spawn(command, log))
    }

    pub(crate) fn expect_exit(&mut self, code: i32) {
        self.0.expect_exit(code, SOON * 3);
    }

    /// State and error code of a table.
    pub(crate) fn table(&self, name: &str) -> Option<(String, String)> {
        let table = self.0.table(name)?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Some((text(&table["state"]), text(&table["error"]["code"])))
    }
}

impl Deref for Process {
    type Target = process::Process;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill();
        if !std::thread::panicking() {
            crate::order::check(&self.0.output());
        }
    }
}
