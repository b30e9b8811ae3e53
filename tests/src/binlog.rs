//! The source's binlog as MySQL's own `mysqlbinlog` prints it: what should be in the topics, told without a line of the
//! product's code.

use crate::servers::Servers;
use mysql_async::prelude::Queryable;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A place in the binlog.
#[derive(Debug, Clone)]
pub struct Place {
    file: String,
    offset: u64,
}

/// The end of the binlog now.
///
/// # Panics
/// If MySQL fails.
pub async fn end(servers: &Servers) -> Place {
    let mut mysql = servers.mysql().await;
    let row: mysql_async::Row = mysql
        .query_first("SHOW BINARY LOG STATUS")
        .await
        .expect("MySQL answers")
        .expect("the binlog is switched on");
    Place { file: row.get(0).expect("a file"), offset: row.get(1).expect("an offset") }
}

/// How many row events each transaction behind `from` has on tables of `database`, in order; those without one are left
/// out.
///
/// # Panics
/// If `mysqlbinlog` fails.
#[must_use]
pub fn row_events(servers: &Servers, from: &Place, database: &str) -> Vec<u64> {
    let mut words = servers.get("MYSQLBINLOG").split_whitespace();
    let mut child = Command::new(words.next().expect("a program"))
        .args(words)
        .args(["--read-from-remote-server", "--base64-output=decode-rows", "--verbose", "--to-last-log"])
        .args(["--user=root", &format!("--password={}", servers.get("MYSQL_ROOT_PASSWORD"))])
        .args([
            format!("--host={}", servers.get("MYSQL_HOST")),
            format!("--port={}", servers.get("MYSQL_PORT")),
        ])
        .args([format!("--start-position={}", from.offset), from.file.clone()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("mysqlbinlog can be started");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let suffix = format!(" `{database}`.");
    let mut events = vec![0];
    // Values may be any bytes; the lines that count are ASCII.
    for line in output.split(b'\n') {
        let line = line.expect("mysqlbinlog can be read");
        let line = String::from_utf8_lossy(&line);
        let is_row = ["### INSERT INTO", "### UPDATE", "### DELETE FROM"]
            .iter()
            .any(|verb| line.strip_prefix(verb).is_some_and(|rest| rest.starts_with(&suffix)));
        if is_row {
            *events.last_mut().expect("never empty") += 1;
        } else if line.starts_with("SET @@SESSION.GTID_NEXT") {
            events.push(0);
        }
    }
    assert!(child.wait().expect("mysqlbinlog ends").success(), "mysqlbinlog failed");
    events.retain(|rows| *rows > 0);
    events
}
