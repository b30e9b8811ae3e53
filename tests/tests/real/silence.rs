//! Lines that go silent between the services and their servers, and forget the connections that there were: whoever waits
//! says for what, gives its connection up, and goes on by another; and ends when it is asked to.

use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::silence::{Lines, end_in_silence, live_through};
use tributary_tests::task::RUN;

const SILENT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn silent_lines_are_given_up_and_the_services_go_on_by_others() {
    let servers = Servers::up("test-silence", &[]);
    let lines = Lines::before(&servers);
    let task = lines.task("silence", &servers);
    create(&task, "a", 100_000).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    // The first comes in the middle of the load.
    eventually("rows are read", RUN, || async {
        let status = capture.status().unwrap_or_default();
        status["tables"][0]["rows_read"].as_u64().is_some_and(|rows| rows > 0)
    })
    .await;
    for line in lines.all() {
        live_through(&task, (&mut capture, &mut apply), line, SILENT).await;
    }
    end_in_silence(&lines, (&mut capture, &mut apply));
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_they_wait_for_and_end() {
    let servers = Servers::up("test-silence-commands", &[]);
    let lines = Lines::before(&servers);
    let task = lines.task("patience", &servers);
    create(&task, "a", 100).await;
    task.catch_up();
    let commands: [(&str, &[&str]); 7] = [
        ("capture", &["check"]),
        ("capture", &["status"]),
        ("capture", &["drop", "--yes"]),
        ("apply", &["check"]),
        ("apply", &["verify"]),
        ("apply", &["replay", "--from", "beginning", "--merge"]),
        ("apply", &["drop", "--yes"]),
    ];
    lines.silence();
    let started: Vec<(String, Process)> = commands
        .iter()
        .map(|(program, words)| (format!("{program} {words:?}"), task.start(program, words)))
        .collect();
    for (command, mut process) in started {
        let status = process.wait(RUN);
        assert_eq!(status.code(), Some(1), "{command}: {}", process.output());
        assert!(process.output().contains("waiting: "), "{command}: {}", process.output());
    }
    lines.forget();
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    servers.discard();
}
