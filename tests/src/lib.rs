//! What the tests on the real servers share: the servers, a task with its processes, an oracle that compares source and
//! destination without a line of the product's own code, and a load that writes.

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
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        beat.tick().await;
    }
}
