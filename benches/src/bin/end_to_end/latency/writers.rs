//! The open loop's writing end: a rate and a number of transactions enter; for each id, when its commit returned, leaves.
//! Invariant: the instant at which a transaction is due does not depend on how long earlier ones took.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::time::{Duration, Instant};
use tributary_benches::Result;

/// Connections, of which each writes every sixteenth transaction: enough that a commit that takes 10 ms delays no other.
pub(super) const CONNECTIONS: u32 = 16;
/// From the connections' being there to the first transaction.
const LEAD: Duration = Duration::from_millis(50);

/// By id minus one.
pub(super) struct Written {
    pub returned: Vec<Instant>,
    /// How long after it was due a transaction was begun.
    pub lateness: Vec<Duration>,
    /// From its beginning to the return of its commit.
    pub commits: Vec<Duration>,
    /// Transactions a second.
    pub rate: f64,
    pub elapsed: Duration,
}

/// One transaction.
struct Commit {
    due: Instant,
    begun: Instant,
    returned: Instant,
}

/// Inserts the rows 1 to `transactions`, each in a transaction of its own.
pub(super) fn run(source: Opts, table: &str, rate: u32, transactions: u32) -> Result<Written> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let insert = format!("INSERT INTO {table} (id, k, c, pad) VALUES (?, ?, ?, ?)");
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = Conn::new(source.clone()).await?;
            let statement = connection.prep(insert.as_str()).await?;
            connections.push((connection, statement));
        }
        let start = Instant::now() + LEAD;
        let mut tasks = Vec::new();
        for (first, (mut connection, statement)) in (1..).zip(connections) {
            tasks.push(tokio::spawn(async move {
                let mut commits = Vec::new();
                for id in (first..=transactions).step_by(CONNECTIONS as usize) {
                    let due = start + Duration::from_secs(1) * (id - 1) / rate;
                    tokio::time::sleep_until(due.into()).await;
                    let begun = Instant::now();
                    connection.exec_drop(&statement, (id, id / 2, digits(id, 10), digits(id, 5))).await?;
                    commits.push((id, Commit { due, begun, returned: Instant::now() }));
                }
                connection.disconnect().await?;
                Ok::<_, mysql_async::Error>(commits)
            }));
        }
        let mut commits = Vec::new();
        for task in tasks {
            commits.extend(task.await??);
        }
        commits.sort_unstable_by_key(|(id, _)| *id);
        let commits: Vec<Commit> = commits.into_iter().map(|(_, commit)| commit).collect();
        let last = commits.iter().map(|commit| commit.returned).max().unwrap_or(start);
        let elapsed = last.duration_since(start);
        Ok(Written {
            returned: commits.iter().map(|commit| commit.returned).collect(),
            lateness: commits.iter().map(|commit| commit.begun.duration_since(commit.due)).collect(),
            commits: commits.iter().map(|commit| commit.returned.duration_since(commit.begun)).collect(),
            rate: f64::from(transactions) / elapsed.as_secs_f64(),
            elapsed,
        })
    })
}

/// Groups of eleven digits, as sysbench fills its columns.
fn digits(number: u32, groups: usize) -> String {
    vec![format!("{:011}", u64::from(number) * 7919); groups].join("-")
}
