//! SIGTERM as an orchestrator sends it. A process of its own, for a signal reaches every test in a process.

#![allow(clippy::unwrap_used)] // The whole file is a test.

use std::process::Command;
use std::time::Duration;
use tributary_service::shutdown::on_signals;

#[tokio::test]
async fn a_signal_asks_for_the_end_and_does_not_kill() {
    let (_handle, shutdown) = on_signals().unwrap();
    assert!(!shutdown.requested());
    let sent = Command::new("kill").arg("-TERM").arg(std::process::id().to_string()).status().unwrap();
    assert!(sent.success());
    tokio::time::timeout(Duration::from_secs(10), shutdown.wait()).await.unwrap();
    assert!(shutdown.requested());
}
