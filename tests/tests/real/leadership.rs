//! One capture leads, others stand by and take over.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_capture_stands_by_and_takes_over() {
    let task = Task::new("leader");
    create(&task, "a", 100).await;
    let mut first = task.capture();
    first.expect_role("leader", RUN);
    let mut second = task.capture();
    second.expect_role("standby", RUN);
    // It must not take the lead from a healthy one, whatever the group decides when it joins.
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1", task.name)).await.unwrap();
    assert_eq!((first.role(), second.role()), ("leader".to_owned(), "standby".to_owned()));
    assert!(first.is_running() && second.is_running());
    first.kill();
    second.expect_role("leader", Duration::from_secs(60));
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
    first.expect_state("synchronizing", RUN);
    first.signal("STOP");
    let mut second = task.capture();
    second.expect_role("leader", Duration::from_secs(90));
    first.signal("CONT");
    first.expect_exit(4, Duration::from_secs(90));
    assert!(first.output().contains("another"), "{}", first.output());
    second.stop();
    task.catch_up();
    assert_equal(&task).await;
}
