//! Everything at once: both services start together, and the tables reach apply one by one while its group is joined.

use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_join_while_the_group_is_being_joined_are_read() {
    for round in 0..4 {
        let task = Task::new(&format!("joining{round}"));
        for table in ["a", "b", "c"] {
            create(&task, table, 300).await;
        }
        let (mut capture, mut apply) = (task.capture(), task.apply());
        eventually("three tables are in step", RUN, || async {
            let status = apply.status().unwrap_or_default();
            let tables = status["tables"].as_array().cloned().unwrap_or_default();
            tables.len() == 3 && tables.iter().all(|table| table["state"] == "synchronizing")
        })
        .await;
        capture.stop();
        apply.stop();
        task.catch_up();
        assert_equal(&task).await;
    }
}
