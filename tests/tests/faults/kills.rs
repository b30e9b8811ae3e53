//! kill -9 of both services, frozen instances, DDL and outages of the servers in between.

use mysql_async::prelude::Queryable;
use std::collections::HashSet;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::read_topic;

const TABLES: [&str; 3] = ["a", "b", "c"];

pub(crate) fn seed() -> u64 {
    let given = std::env::var("TRIBUTARY_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("TRIBUTARY_SEED={seed}");
    seed
}

/// Ends a process hard and starts its successor.
fn replace(task: &Task, process: &mut Process, program: &str) {
    process.kill();
    *process = task.start(program, &["run"]);
}

/// Lets the writers go on for a while; the length comes from the seed.
async fn a_while(random: &mut fastrand::Rng, writer: &Writer) {
    let until = writer.transactions() + random.u64(100..900);
    eventually("the writers go on", RUN, || async { writer.transactions() >= until }).await;
}

async fn run(test: &str, rounds: u32, metadata: &str) {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up(test, &[&format!("--binlog-row-metadata={metadata}"), "--sync-binlog=0"]);
    let task = Task::with(&test.replace('-', "_"), &servers, |config| {
        config
            .replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
            .replace("retry_minutes = 2", "retry_minutes = 20")
    });
    for table in TABLES {
        create(&task, table, 20_000).await;
    }
    let writers: Vec<Writer> = (0..)
        .zip(TABLES)
        .map(|(n, table)| Writer::start(&servers, &task.name, table, 25_000, 1, random.u64(..) ^ n))
        .collect();
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    let mut capture = task.capture();
    let mut applies = [task.apply(), task.apply()];
    for round in 0..rounds {
        a_while(&mut random, &writers[0]).await;
        let table = TABLES[random.usize(0..TABLES.len())];
        let choice = random.u32(0..12);
        println!("round {round}: choice {choice}, table {table}");
        match choice {
            0..3 => replace(&task, &mut capture, "capture"),
            3..6 => replace(&task, &mut applies[random.usize(0..2)], "apply"),
            6 => {
                replace(&task, &mut capture, "capture");
                replace(&task, &mut applies[0], "apply");
                replace(&task, &mut applies[1], "apply");
            }
            7 => {
                let sql = format!("ALTER TABLE {table} ADD COLUMN c{round} INT NOT NULL DEFAULT {round}");
                mysql.query_drop(sql).await.unwrap();
                replace(&task, &mut capture, "capture");
            }
            8 => {
                mysql.query_drop(format!("TRUNCATE TABLE {table}")).await.unwrap();
                replace(&task, &mut applies[random.usize(0..2)], "apply");
            }
            9 => {
                // Longer than its session: its partitions go to the other one, and it wakes up as a zombie.
                let frozen = &applies[random.usize(0..2)];
                frozen.signal("STOP");
                let until = std::time::Instant::now() + Duration::from_secs(13);
                eventually("the session is over", RUN, || async { std::time::Instant::now() > until }).await;
                frozen.signal("CONT");
            }
            10 => {
                servers.control(&["kill", "kafka"]);
                servers.control(&["up", "kafka"]);
            }
            _ => {
                servers.control(&["kill", "postgres"]);
                servers.control(&["up", "postgres"]);
            }
        }
    }
    for writer in writers {
        writer.stop().await;
    }
    capture.kill();
    for apply in &mut applies {
        apply.kill();
    }
    task.catch_up();
    assert_equal(&task).await;
    for table in TABLES {
        let mut seen = HashSet::new();
        for record in read_topic(&task, table).iter().filter(|record| !record.sequence.ends_with(":r")) {
            let fresh = seen.insert((record.sequence.clone(), record.key.clone(), record.value.is_none()));
            assert!(fresh, "{table}: published twice: {record:?}");
        }
    }
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_outages_under_load_with_minimal_metadata() {
    run("faults-minimal", 12, "MINIMAL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_outages_under_load_with_full_metadata() {
    run("faults-full", 12, "FULL").await;
}
