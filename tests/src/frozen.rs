//! Servers that say nothing: stopped by SIGSTOP, with every connection still open, and what must be true of both
//! services then.

use crate::eventually;
use crate::oracle::{destination_rows, source_rows};
use crate::process::Process;
use crate::servers::Servers;
use crate::task::{RUN, Task};
use mysql_async::prelude::Queryable;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a service may take to be in step again once its peer says something: 30 s are promised, and the machine is busy.
const BACK: Duration = Duration::from_secs(60);
/// How long a service may take to end on SIGTERM whatever is frozen, with a little for a machine that is busy.
const ENDS: Duration = Duration::from_secs(12);

/// The servers of an instance.
pub const ALL: [&str; 3] = ["mysql", "kafka", "postgres"];

/// Stops a server, and lets it go on when dropped.
#[derive(Debug)]
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Stops the process of a server and its children.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn new(servers: &Servers, name: &str) -> Self {
        let file = format!("{}/{name}.pid", servers.get("INSTANCE_DIR"));
        let text = std::fs::read_to_string(file).expect("the server runs");
        let pid: u32 = text.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a process id");
        let parent = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        signal("STOP", &[pid]);
        let processes = std::fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
        let all = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children: Vec<u32> = all.filter(|process| parent(process) == Some(pid)).collect();
        signal("STOP", &children);
        Self([vec![pid], children].concat())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

fn signal(name: &str, processes: &[u32]) {
    for process in processes {
        // One that has ended in the meantime is not missed.
        let _ = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    }
}

async fn write(task: &Task) {
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1", task.name)).await.expect("MySQL writes");
}

/// Freezes a server for `seconds` while both services work, and expects both to live through it and to be in step soon
/// after it.
///
/// # Panics
/// If one ends, or does not come back in time.
pub async fn live_through(
    task: &Task,
    (capture, apply): (&mut Process, &mut Process),
    server: &str,
    seconds: u64,
) {
    write(task).await;
    let frozen = Frozen::new(&task.servers, server);
    if server != "mysql" {
        write(task).await;
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        for process in [&mut *capture, &mut *apply] {
            assert!(process.is_running(), "ended while {server} was frozen:\n{}", process.output());
            assert!(
                process.status().is_some(),
                "says nothing while {server} is frozen:\n{}",
                process.output()
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(frozen);
    write(task).await;
    let (what, began) = (format!("in step after {server} was frozen for {seconds} s"), Instant::now());
    eventually(&what, BACK, || async { destination_rows(task, "a").await == source_rows(task, "a").await })
        .await;
    println!("{what}: within {} s", began.elapsed().as_secs());
    for process in [capture, apply] {
        process.expect_state("synchronizing", RUN);
    }
}

/// Freezes servers and expects both services to end on SIGTERM, with status 0.
///
/// # Panics
/// If one does not.
pub async fn end_within_limit(task: &Task, (capture, apply): (&mut Process, &mut Process), servers: &[&str]) {
    write(task).await;
    let _frozen: Vec<Frozen> = servers.iter().map(|server| Frozen::new(&task.servers, server)).collect();
    if !servers.contains(&"mysql") {
        write(task).await;
    }
    for process in [&*capture, &*apply] {
        process.signal("TERM");
    }
    for process in [capture, apply] {
        process.expect_exit(0, ENDS);
    }
}
