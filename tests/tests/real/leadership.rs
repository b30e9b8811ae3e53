//! One capture leads, others stand by and take over.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::task::{RUN, Task};

fn role(process: &Process) -> String {
    process.status().and_then(|status| status["role"].as_str().map(str::to_owned)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_capture_stands_by_and_takes_over() {
    let task = Task::new("leader");
    create(&task, "a", 100).await;
    let mut first = task.capture();
    eventually("the first leads", RUN, || async { role(&first) == "leader" }).await;
    let mut second = task.capture();
    eventually("the second stands by", RUN, || async { role(&second) == "standby" }).await;
    // It must not take the lead from a healthy one, whatever the group decides when it joins.
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1", task.name)).await.unwrap();
    assert_eq!((role(&first).as_str(), role(&second).as_str()), ("leader", "standby"));
    assert!(first.is_running() && second.is_running());
    first.kill();
    eventually("the second leads", Duration::from_secs(60), || async { role(&second) == "leader" }).await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1 WHERE id < 50", task.name)).await.unwrap();
    second.stop();
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_and_replaced_ends_with_status_4() {
    let task = Task::new("frozen");
    create(&task, "a", 100).await;
    let mut first = task.capture();
    // It has fenced its predecessors by then. Frozen before that it would wake up as the one who fences.
    eventually("the first publishes", RUN, || async {
        first.status().is_some_and(|status| status["role"] == "leader" && status["state"] == "synchronizing")
    })
    .await;
    first.signal("STOP");
    let mut second = task.capture();
    eventually("the second leads", Duration::from_secs(90), || async { role(&second) == "leader" }).await;
    first.signal("CONT");
    first.expect_exit(4, Duration::from_secs(90));
    assert!(first.output().contains("another"), "{}", first.output());
    second.stop();
    task.catch_up();
    assert_equal(&task).await;
}
