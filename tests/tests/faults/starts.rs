//! Several captures of one task that start together: whatever one of them sees of the work of another, nobody mistakes it
//! for damage.

use std::time::Duration;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// `second` was held up in its check until `first` publishes: it stands by, and takes over.
async fn stands_by_and_takes_over(task: &Task, mut first: Process, mut second: Process) {
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
    let mut second = task.sabotaged("capture", &["run"], "freeze:check-reached:1");
    second.expect_frozen("check-reached", RUN);
    stands_by_and_takes_over(&task, task.capture(), second).await;

    // It knows the task's topics, and that there is no checkpoint, from before there was one, and finds records.
    let task = Task::with("holding", &servers, |config| config);
    create(&task, "a", 100).await;
    let mut first = task.sabotaged("capture", &["run"], "freeze:topics-created:1");
    first.expect_frozen("topics-created", RUN);
    let mut second = task.sabotaged("capture", &["run"], "freeze:check-read:1");
    second.expect_frozen("check-read", RUN);
    first.signal("CONT");
    stands_by_and_takes_over(&task, first, second).await;
    servers.discard();
}
