//! Several instances of apply at one task: they share the work, come and go, and none holds up the others.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{assert_equal, eventually_equal};
use tributary_tests::process::Process;
use tributary_tests::task::{RUN, Task};

/// Waits until each of them has partitions.
async fn share(applies: &[Process]) {
    eventually("each instance has a share", RUN, || async {
        applies.iter().all(|apply| apply.status().is_some_and(|status| status["role"] == "leader"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_four_instances_share_the_work_and_change_in_number() {
    let task = Task::with("crowd", tributary_tests::servers::Servers::shared(), |config| {
        config.replace("\n[topics]\n", "session_timeout_ms = 6000\n\n[topics]\n")
    });
    create(&task, "a", 5000).await;
    create(&task, "b", 5000).await;
    let writers = ["a", "b"].map(|table| Writer::start(&task.servers, &task.name, table, 6000, 1, 21));
    let mut capture = task.capture();
    // Together, on a destination that has nothing yet: one of them makes the tables.
    let mut applies = vec![task.apply(), task.apply()];
    share(&applies).await;
    applies.extend([task.apply(), task.apply()]);
    share(&applies).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for (number, statement) in
        ["ALTER TABLE a ADD COLUMN c INT NOT NULL DEFAULT 3", "TRUNCATE TABLE b"].iter().enumerate()
    {
        // One goes in good order while the statement is on its way, one dies, one comes.
        mysql.query_drop(*statement).await.unwrap();
        applies.remove(0).stop();
        applies.remove(0).kill();
        applies.push(task.apply());
        share(&applies).await;
        assert_eq!(applies.len(), 3 - number);
    }
    for writer in writers {
        writer.stop().await;
    }
    capture.stop();
    for apply in &mut applies {
        apply.stop();
    }
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_instance_and_idle_partitions_do_not_hold_a_barrier() {
    let task = Task::with("dead", tributary_tests::servers::Servers::shared(), |config| {
        config.replace("\n[topics]\n", "session_timeout_ms = 6000\n\n[topics]\n")
    });
    create(&task, "a", 200).await;
    let mut capture = task.capture();
    let applies = [task.apply(), task.apply()];
    share(&applies).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    let settled = async || eventually_equal(&task, "a", "the row behind the TRUNCATE is alone").await;
    for (frozen, id) in [(0, 1), (1, 2)] {
        // It says nothing to anybody any more, as a machine without power does; and of the partitions all but one stay
        // idle behind the barrier.
        applies[frozen].signal("STOP");
        for statement in ["UPDATE a SET n = n + 1", "TRUNCATE TABLE a"] {
            mysql.query_drop(statement).await.unwrap();
        }
        mysql.query_drop(format!("INSERT INTO a (id, n, s) VALUES ({id}, 1, 'behind')")).await.unwrap();
        settled().await;
        applies[frozen].signal("CONT");
        share(&applies).await;
        assert_equal(&task).await;
    }
    capture.stop();
}
