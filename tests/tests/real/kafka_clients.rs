//! Clients of Kafka that cannot go on: told of no broker for a moment, which the client library never recovers from, or cut
//! off for long.

use std::time::{Duration, Instant};
use tributary_tests::eventually;
use tributary_tests::frozen::{Frozen, end_within_limit};
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{assert_equal, eventually_equal};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// How long both services may take to come back.
const BACK: Duration = Duration::from_secs(90);

async fn pass(time: Duration) {
    let until = Instant::now() + time;
    eventually("time passes", RUN, || async { Instant::now() > until }).await;
}

fn state(process: &Process) -> String {
    let status = process.status().unwrap_or_default();
    status["state"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_were_told_of_no_broker_are_replaced() {
    let (servers, proxy) = Servers::behind_proxy("test-brokers");
    let task = Task::with("brokers", &servers, |config| {
        let often = "[kafka.client]\n\"topic.metadata.refresh.interval.ms\" = \"500\"\n\n[topics]\n";
        config.replace("[topics]\n", often)
    });
    create(&task, "a", 1_000).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let beat = Some(Duration::from_millis(20));
    let writer = Writer::paced(&servers, &task.name, "a", 1_000, (1, beat), 5);
    proxy.name_no_broker(true);
    let began = Instant::now();
    eventually("every client has heard of no broker", RUN, || async {
        proxy.emptied() > 10 && began.elapsed() > Duration::from_secs(8)
    })
    .await;
    proxy.name_no_broker(false);
    // Nobody says that all is well while nothing goes on.
    let back = Instant::now();
    eventually("both are back", BACK, || async {
        back.elapsed() > Duration::from_secs(20)
            && capture.role() == "leader"
            && apply.role() == "leader"
            && state(&capture) == "synchronizing"
            && state(&apply) == "synchronizing"
    })
    .await;
    writer.stop().await;
    eventually_equal(&task, "a", "what was written meanwhile is there").await;
    println!("back after {} s", back.elapsed().as_secs());
    assert!(back.elapsed() < BACK, "{} s", back.elapsed().as_secs());
    // No other instance has been taken for a stranger, nor has an old client.
    for process in [&mut capture, &mut apply] {
        process.stop();
    }
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_says_nothing_for_long_keeps_no_service_from_ending() {
    let servers = Servers::up("test-silent", &[]);
    let task = Task::with("silent", &servers, |config| config);
    create(&task, "a", 100).await;
    for seconds in [1, 30] {
        let (mut capture, mut apply) = (task.capture(), task.apply());
        for process in [&mut capture, &mut apply] {
            process.expect_state("synchronizing", RUN);
        }
        let frozen = Frozen::new(&servers, "kafka");
        // Long enough for sessions to be over, and for clients to be replaced.
        pass(Duration::from_secs(seconds)).await;
        end_within_limit(&task, (&mut capture, &mut apply), &["kafka"]).await;
        drop(frozen);
    }
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}
