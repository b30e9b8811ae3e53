//! kill -9 at the places where it hurts: while a chunk is published or merged, between the halves of a DDL barrier,
//! around the commit of Kafka and that of the destination, and in the middle of a rebalance. The processes are told
//! where to end (`service::sabotage`), so that each state is met, not hoped for.

use crate::kills::seed;
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::assert_each_event_once;
use tributary_tests::{binlog, task};

const TABLES: [&str; 3] = ["a", "b", "c"];
/// Kills of each service in each state that both have; 10 in those that one has.
const EACH: u32 = 5;

/// What both drivers share.
struct Stage {
    task: Task,
    /// Neither service goes on to DDL before both were killed often enough during the load.
    capture_loaded: AtomicBool,
    apply_loaded: AtomicBool,
    statements: AtomicU32,
    kills: Mutex<BTreeMap<&'static str, u32>>,
}

impl Stage {
    fn count(&self, state: &'static str) -> u32 {
        let mut kills = self.kills.lock().unwrap();
        let count = kills.entry(state).or_default();
        *count += 1;
        println!("killed during {state}: {count}");
        *count
    }

    /// ADD COLUMN and TRUNCATE by turns, on one table after the other.
    async fn define(&self) {
        let number = self.statements.fetch_add(1, Ordering::Relaxed);
        let table = TABLES[number as usize % TABLES.len()];
        let mut mysql = self.task.servers.mysql().await;
        mysql.query_drop(format!("USE `{}`", self.task.name)).await.unwrap();
        let sql = match number % 2 {
            0 => format!("ALTER TABLE {table} ADD COLUMN c{number} INT NOT NULL DEFAULT {number}"),
            _ => format!("TRUNCATE TABLE {table}"),
        };
        mysql.query_drop(sql).await.unwrap();
    }

    fn armed(&self, program: &str, directive: &str) -> Process {
        self.task.sabotaged(program, &["run"], directive)
    }

    /// Runs `program` until it kills itself. Blocking: for a thread of its own.
    fn fall(&self, program: &str, deed: &str, point: &str, at: u32, state: &'static str) {
        let mut process = self.armed(program, &format!("{deed}:{point}:{at}"));
        process.expect_sabotage(point, task::RUN);
        self.count(state);
    }
}

/// Before, during and behind a commit.
const AROUND: [(&str, &str); 3] = [("kill", ""), ("strike", ""), ("kill", "ted")];

async fn drive_capture(stage: Arc<Stage>, mut random: fastrand::Rng) {
    let mut falls = 0;
    while falls < EACH || !stage.apply_loaded.load(Ordering::Relaxed) {
        let (at, other) = (random.u32(1..8), Arc::clone(&stage));
        blocking(move || other.fall("capture", "kill", "snapshot-batch", at, "snapshot (capture)")).await;
        falls += 1;
    }
    stage.capture_loaded.store(true, Ordering::Relaxed);
    for _ in 0..EACH {
        stage.define().await;
        // Behind the first commit, before the second, behind the second.
        let (at, other) = (random.u32(1..=3), Arc::clone(&stage));
        blocking(move || other.fall("capture", "kill", "ddl-barrier", at, "DDL barrier (capture)")).await;
    }
    for round in 0..2 * EACH {
        let (deed, tail) = AROUND[round as usize % 3];
        let (at, other) = (random.u32(2..30), Arc::clone(&stage));
        let point = format!("kafka-commit{tail}");
        blocking(move || other.fall("capture", deed, &point, at, "Kafka commit")).await;
    }
    for _ in 0..EACH {
        let other = Arc::clone(&stage);
        blocking(move || other.fall("capture", "kill", "rebalance-assigned", 1, "rebalance (capture)")).await;
    }
}

async fn drive_apply(stage: Arc<Stage>, mut random: fastrand::Rng) {
    for round in 0..EACH {
        let other = Arc::clone(&stage);
        let at = 1 + round % 2;
        blocking(move || other.fall("apply", "kill", "snapshot-batch", at, "snapshot (apply)")).await;
    }
    stage.apply_loaded.store(true, Ordering::Relaxed);
    let captured = Arc::clone(&stage);
    eventually("capture was killed during the load", RUN * 2, || async {
        captured.capture_loaded.load(Ordering::Relaxed)
    })
    .await;
    // From here on there is another that takes over what the killed one had.
    let mut heir = stage.task.apply();
    for round in 0..EACH {
        stage.define().await;
        let (at, other) = (1 + round % 2, Arc::clone(&stage));
        blocking(move || other.fall("apply", "kill", "ddl-barrier", at, "DDL barrier (apply)")).await;
    }
    for round in 0..2 * EACH {
        let (deed, tail) = AROUND[round as usize % 3];
        let (at, other) = (random.u32(1..20), Arc::clone(&stage));
        let point = format!("destination-commit{tail}");
        blocking(move || other.fall("apply", deed, &point, at, "destination commit")).await;
    }
    for round in 0..EACH {
        let mut falling = if round % 2 == 0 {
            // Killed as it is given partitions that the heir had.
            stage.armed("apply", "kill:rebalance-assigned:1")
        } else {
            // It has all of them, until another comes that must be given its share.
            heir.kill();
            let mut falling = stage.armed("apply", "kill:rebalance-revoked:1");
            let falling = blocking(move || {
                falling.expect_role("leader", RUN);
                falling
            });
            let falling = falling.await;
            heir = stage.task.apply();
            falling
        };
        blocking(move || falling.expect_sabotage("rebalance", RUN)).await;
        stage.count("rebalance (apply)");
    }
    assert!(heir.is_running(), "{}", heir.output());
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_every_state_no_event_is_twice_or_missing() {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-states", &["--sync-binlog=0"]);
    let task = Task::with("states", &servers, |config| {
        config
            .replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
            .replace("\n[topics]\n", "session_timeout_ms = 6000\n\n[topics]\n")
    });
    for table in TABLES {
        create(&task, table, 60_000).await;
    }
    let stage = Arc::new(Stage {
        task,
        capture_loaded: AtomicBool::default(),
        apply_loaded: AtomicBool::default(),
        statements: AtomicU32::default(),
        kills: Mutex::default(),
    });
    // Its tables join before anything is written, so that every event behind this place belongs into the topics.
    let first = Arc::clone(&stage);
    blocking(move || first.fall("capture", "kill", "snapshot-batch", 4, "snapshot (capture)")).await;
    let from = binlog::end(&servers).await;
    let writers: Vec<Writer> = (0..)
        .zip(TABLES)
        .map(|(n, table)| {
            let load = (1, Some(Duration::from_millis(8)));
            Writer::paced(&servers, &stage.task.name, table, 70_000, load, random.u64(..) ^ n)
        })
        .collect();
    let capture = tokio::spawn(drive_capture(Arc::clone(&stage), random.fork()));
    let apply = tokio::spawn(drive_apply(Arc::clone(&stage), random.fork()));
    capture.await.unwrap();
    // What the other driver still waits for wants a capture that lives.
    let mut last = stage.task.capture();
    apply.await.unwrap();
    for writer in writers {
        writer.stop().await;
    }
    last.kill();
    let kills = stage.kills.lock().unwrap().clone();
    let task = &stage.task;
    task.catch_up();
    assert_each_event_once(task, &TABLES, &binlog::row_events(&servers, &from, &task.name));
    assert_equal(task).await;
    println!("{kills:?}");
    for state in ["snapshot", "DDL barrier", "Kafka commit", "destination commit", "rebalance"] {
        let count: u32 =
            kills.iter().filter(|(name, _)| name.starts_with(state)).map(|(_, count)| count).sum();
        assert!(count >= 10, "{state}: {count}");
    }
    assert!(kills.values().sum::<u32>() >= 50, "{kills:?}");
    servers.discard();
}
