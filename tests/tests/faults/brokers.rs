//! Kafka is killed again and again, and the services are asked to end at whatever moment of that: none ends by a signal, for
//! example because a client of Kafka is taken down beside its own threads.

use crate::kills::seed;
use std::time::{Duration, Instant};
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::{eventually, wait_for};

/// How long a service may take to end; it has a limit of 10 s of its own, and the machine may be busy.
const ENDS: Duration = Duration::from_secs(30);

/// How often Kafka is killed; `ROUNDS=30` for a longer run.
fn rounds() -> u32 {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

async fn pass(milliseconds: u64) {
    let until = Instant::now() + Duration::from_millis(milliseconds);
    eventually("time passes", RUN, || async { Instant::now() > until }).await;
}

/// Ends a service in good order, and starts another.
fn renew(task: &Task, process: &mut Process, program: &str) {
    assert!(process.is_running(), "{program} has ended by itself: {}", process.output());
    // One that was started a moment ago knows no signal yet.
    wait_for("it listens", ENDS, || process.address());
    process.signal("TERM");
    process.expect_exit(0, ENDS);
    *process = task.start(program, &["run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_ends_by_a_signal_while_kafka_is_killed() {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-brokers", &[]);
    let task =
        Task::with("brokers", &servers, |config| config.replace("retry_minutes = 2", "retry_minutes = 20"));
    create(&task, "a", 2_000).await;
    let beat = Some(Duration::from_millis(5));
    let writer = Writer::paced(&servers, &task.name, "a", 3_000, (1, beat), random.u64(..));
    let mut capture = task.capture();
    let mut applies = [task.apply(), task.apply()];
    for round in 0..rounds() {
        println!("round {round}");
        pass(random.u64(2_000..8_000)).await;
        servers.control(&["kill", "kafka"]);
        pass(random.u64(0..4_000)).await;
        match random.u32(0..4) {
            0 => renew(&task, &mut capture, "capture"),
            1 => renew(&task, &mut applies[random.usize(0..2)], "apply"),
            _ => {}
        }
        let starting = {
            let servers = servers.clone();
            tokio::task::spawn_blocking(move || servers.control(&["up", "kafka"]))
        };
        pass(random.u64(0..6_000)).await;
        match random.u32(0..3) {
            0 => renew(&task, &mut capture, "capture"),
            1 => renew(&task, &mut applies[random.usize(0..2)], "apply"),
            _ => {}
        }
        starting.await.unwrap();
    }
    writer.stop().await;
    renew(&task, &mut capture, "capture");
    for apply in &mut applies {
        renew(&task, apply, "apply");
    }
    for process in [&mut capture].into_iter().chain(&mut applies) {
        process.stop();
    }
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}
