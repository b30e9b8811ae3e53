//! sysbench's `oltp_write_only`: tables and a load that this project did not invent.

use crate::task::Task;
use std::process::{Child, Command, Stdio};

/// A running load; killed when dropped.
#[derive(Debug)]
pub struct Sysbench(Child);

fn command(task: &Task, tables: u32, rows: u32, threads: u32) -> Command {
    let servers = &task.servers;
    let mut command = Command::new("sysbench");
    command
        .args(["oltp_write_only", "--db-driver=mysql", "--mysql-user=root"])
        .arg(format!("--mysql-host={}", servers.get("MYSQL_HOST")))
        .arg(format!("--mysql-port={}", servers.get("MYSQL_PORT")))
        .arg(format!("--mysql-password={}", servers.get("MYSQL_ROOT_PASSWORD")))
        .arg(format!("--mysql-db={}", task.name))
        .args([format!("--tables={tables}"), format!("--table-size={rows}"), format!("--threads={threads}")])
        // Statements that lose a deadlock are part of the load.
        .arg("--mysql-ignore-errors=1213,1020,1205,1062")
        .stdin(Stdio::null());
    command
}

/// Fills `sbtest1` and so on in the task's database, which must be there.
///
/// # Panics
/// If sysbench fails.
pub fn prepare(task: &Task, tables: u32, rows: u32) {
    let output = command(task, tables, rows, tables.min(2)).arg("prepare").output();
    let output = output.expect("sysbench can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

impl Sysbench {
    /// Writes at full speed until it is stopped.
    ///
    /// # Panics
    /// If sysbench cannot be started.
    #[must_use]
    pub fn start(task: &Task, tables: u32, rows: u32, threads: u32) -> Self {
        let mut command = command(task, tables, rows, threads);
        let child = command.args(["--time=0", "--events=0", "run"]).stdout(Stdio::null()).spawn();
        Self(child.expect("sysbench can be started"))
    }

    /// True while it writes.
    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Ends it; what it had not committed, the server rolls back.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Sysbench {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
