//! What the tests on the real servers share: the servers, a task with its processes, an oracle that compares source and
//! destination without a line of the product's own code, and a load that writes. The tests of single crates and the
//! benchmarks take the servers and the processes from here too. Invariant: it depends on no crate of the workspace, so
//! that each of them can be tested with it.

pub mod binlog;
pub mod frozen;
pub mod kafka_proxy;
pub mod load;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod silence;
pub mod sysbench;
pub mod task;
pub mod topics;

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is asked.
const BEAT: Duration = Duration::from_millis(50);

/// Polls `condition` until it holds; panics with `what` once `limit` is over.
///
/// # Panics
/// When the limit is over.
pub async fn eventually<F, A>(what: &str, limit: Duration, mut condition: F)
where
    F: FnMut() -> A,
    A: Future<Output = bool>,
{
    let deadline = Instant::now() + limit;
    let mut beat = tokio::time::interval(BEAT);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        beat.tick().await;
    }
}

/// Asks `look` until it finds something, in a test that is not `async`; panics with `what` once `limit` is over.
///
/// # Panics
/// When the limit is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        std::thread::park_timeout(BEAT);
    }
}

/// A port of this machine that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("there is a port").port()
}
