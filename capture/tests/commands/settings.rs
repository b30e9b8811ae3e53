//! Settings of a server that nothing can be replicated from: an instance of its own, started anew with each.

use crate::Task;
use crate::servers::{database, sql};
use tributary_tests::servers::Servers;

/// Deletes the instance whatever becomes of the test.
struct Instance(Servers);

impl Instance {
    fn restart(&self, flags: &[&str]) {
        self.0.control(&[&["up", "mysql", "--"], flags].concat());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.discard();
    }
}

#[test]
fn a_source_that_cannot_be_followed_is_refused() {
    let instance = Instance(Servers::named("commands").read_variables());
    let servers = &instance.0;
    instance.restart(&["--binlog-row-image=FULL"]);
    database(servers, "commands_settings", &["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let task = Task::new(servers, "commands_settings", &["commands_settings.t"]);
    let first = task.capture(&["run", "--until-caught-up"]);
    assert_eq!(first.status, 0, "{first:?}");
    // As after a restore from a backup: the server does not know what was published.
    sql(servers, &["RESET BINARY LOGS AND GTIDS"]);
    let report = task.check();
    assert_eq!(report.failed(), ["position-retained"]);
    let ended = task.capture(&["run"]);
    assert!(ended.status == 1 && ended.stderr.contains("capture drop"), "{ended:?}");

    sql(
        servers,
        &[
            "SET GLOBAL binlog_row_image = 'MINIMAL'",
            "SET GLOBAL sync_binlog = 0",
            "SET GLOBAL binlog_expire_logs_seconds = 600",
        ],
    );
    let report = task.check();
    assert_eq!(report.failed(), ["binlog-row-image", "position-retained"]);
    assert_eq!(report.get("sync-binlog").0, "warn");
    assert_eq!(report.get("binlog-expiry").0, "warn");
    let ended = task.capture(&["run"]);
    assert!(ended.status == 1 && ended.stderr.contains("binlog_row_image = MINIMAL"), "{ended:?}");

    instance.restart(&["--skip-log-bin"]);
    let report = task.check();
    assert_eq!(report.get("binlog-enabled"), ("fail", "log_bin = OFF: the server writes no binlog"));
    assert_eq!(report.status, 1);
}
