//! Several instances of one task that start together: whatever one of them sees of the work of another, nobody mistakes
//! it for damage.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// A capture is held up in its check at `point` until another, which starts only then, publishes: it stands by, and takes
/// over.
async fn stands_by_and_takes_over(task: &Task, point: &str) {
    let mut second = task.sabotaged("capture", &["run"], &format!("freeze:{point}:1"));
    second.expect_frozen(point, RUN);
    let mut first = task.capture();
    first.expect_state("synchronizing", RUN);
    second.signal("CONT");
    second.expect_role("standby", RUN);
    assert!(first.is_running(), "{}", first.output());
    first.kill();
    second.expect_role("leader", Duration::from_secs(60));
    second.stop();
    task.catch_up();
    assert_equal(task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_is_checking_while_another_begins_stands_by() {
    let servers = Servers::up("faults-starts", &[]);

    // It knows the cluster's topics from before the task's were created, and reads a history that names them.
    let task = Task::with("listed", &servers, |config| config);
    create(&task, "a", 100).await;
    stands_by_and_takes_over(&task, "check-reached").await;

    // It knows the table's topic, and that there is no checkpoint, from before there was one, and finds records.
    let task = Task::with("holding", &servers, |config| config);
    create(&task, "a", 100).await;
    servers.control(&[
        "kafka-tool",
        "TopicCommand",
        "--create",
        "--topic",
        &format!("{0}.{0}.a", task.name),
        "--partitions=4",
        "--config=cleanup.policy=compact",
    ]);
    stands_by_and_takes_over(&task, "check-read").await;
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_is_checking_while_another_works_begins() {
    let servers = Servers::up("faults-starts", &[]);
    let task = Task::with("looked", &servers, |config| format!("strict = true\n{config}"));
    create(&task, "a", 100).await;
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let mut mysql = servers.mysql().await;
    // It looks at a target that nobody has filled by its knowledge; then at one by the definition that it knows.
    for statement in ["UPDATE a SET n = n + 1", "ALTER TABLE a RENAME COLUMN s TO label"] {
        let mut second = task.sabotaged("apply", &["run"], "freeze:check-targets:1");
        second.expect_frozen("check-targets", RUN);
        mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
        mysql.query_drop(statement).await.unwrap();
        task.catch_up();
        second.signal("CONT");
        second.expect_state("synchronizing", RUN);
        second.stop();
        assert_equal(&task).await;
    }
    // The destination goes away under it, and comes back.
    let mut second = task.sabotaged("apply", &["run"], "freeze:check-targets:1");
    second.expect_frozen("check-targets", RUN);
    servers.control(&["restart", "postgres"]);
    second.signal("CONT");
    second.expect_state("synchronizing", RUN);
    assert!(second.output().contains("checking Kafka and the destination"), "{}", second.output());
    second.stop();
    servers.discard();
}
