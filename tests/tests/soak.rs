//! Servers that say nothing for a minute and for minutes: `make soak`.

use std::time::Duration;
use tributary_tests::frozen::{ALL, end_within_limit, live_through};
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::silence::{self, Lines};
use tributary_tests::task::{RUN, Task};

fn seconds() -> Vec<u64> {
    std::env::var("SECONDS_FROZEN").map_or(vec![60, 200], |text| {
        text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_services_live_through_long_silences_of_each_server() {
    let servers = Servers::up("soak", &[]);
    // Longer than any silence here.
    let task =
        Task::with("soak", &servers, |config| config.replace("retry_minutes = 2\n", "retry_minutes = 10\n"));
    create(&task, "a", 100).await;
    let seconds = seconds();
    for server in ALL {
        for seconds in &seconds {
            let (mut capture, mut apply) = (task.capture(), task.apply());
            for process in [&mut capture, &mut apply] {
                process.expect_state("synchronizing", RUN);
            }
            live_through(&task, (&mut capture, &mut apply), server, *seconds).await;
            end_within_limit(&task, (&mut capture, &mut apply), &[server]).await;
        }
    }
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_services_go_on_after_lines_were_silent_for_long_and_have_forgotten_them() {
    let servers = Servers::up("soak-lines", &[]);
    let lines = Lines::before(&servers);
    let task = lines.task("lines", &servers);
    create(&task, "a", 100).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for seconds in seconds() {
        for line in lines.all() {
            for process in [&mut capture, &mut apply] {
                process.expect_state("synchronizing", RUN);
            }
            let silent = Duration::from_secs(seconds);
            silence::live_through(&task, (&mut capture, &mut apply), line, silent).await;
        }
    }
    silence::end_in_silence(&lines, (&mut capture, &mut apply));
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}
