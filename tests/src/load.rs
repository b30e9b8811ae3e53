//! A writer that inserts, updates, deletes and moves keys in one table, from a seed.

use crate::servers::Servers;
use crate::task::Task;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Statements that make a table [`Writer`] can write.
pub const TABLE: &str =
    "id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, s VARCHAR(60) NOT NULL, at DATETIME(6)";

/// Creates `table` in the task's database (which is made if need be) with ids from 0 to `rows`.
///
/// # Panics
/// If MySQL fails.
pub async fn create(task: &Task, table: &str, rows: u64) {
    let mut mysql = task.servers.mysql().await;
    let database = &task.name;
    let mut run = async |sql: String| mysql.query_drop(sql).await.expect("the table can be made");
    run(format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await;
    run(format!("CREATE TABLE `{database}`.`{table}` ({TABLE})")).await;
    for first in (0..rows).step_by(5000) {
        let values: Vec<String> =
            (first..rows.min(first + 5000)).map(|id| format!("({id}, {id}, 'start', NOW(6))")).collect();
        run(format!("INSERT INTO `{database}`.`{table}` VALUES {}", values.join(","))).await;
    }
}

/// Writers at work.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Starts `threads` writers on `database`.`table` with ids below `keys`.
    #[must_use]
    pub fn start(servers: &Servers, database: &str, table: &str, keys: u64, threads: u64, seed: u64) -> Self {
        Self::paced(servers, database, table, keys, (threads, None), seed)
    }

    /// As [`Writer::start`], where each of `load.0` writers begins a transaction every `load.1` at most: for runs whose
    /// length is given by something else.
    #[must_use]
    pub fn paced(
        servers: &Servers,
        database: &str,
        table: &str,
        keys: u64,
        load: (u64, Option<Duration>),
        seed: u64,
    ) -> Self {
        let (threads, beat) = load;
        let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..threads)
            .map(|thread| {
                let (stop, transactions) = (Arc::clone(&stop), Arc::clone(&transactions));
                let (servers, table) = (servers.clone(), format!("`{database}`.`{table}`"));
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(seed ^ (thread << 32));
                    let mut mysql = servers.mysql().await;
                    let mut beat = beat.map(tokio::time::interval);
                    while !stop.load(Ordering::Relaxed) {
                        if let Some(beat) = &mut beat {
                            beat.tick().await;
                        }
                        for statement in transaction(&mut random, &table, keys) {
                            // Deadlocks and keys that are taken are part of the load.
                            if mysql.query_drop(statement).await.is_err() {
                                let _ = mysql.query_drop("ROLLBACK").await;
                                break;
                            }
                        }
                        transactions.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, transactions, tasks }
    }

    /// Transactions so far.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Stops, and returns once nothing is written any more.
    ///
    /// # Panics
    /// If a writer panicked.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a writer");
        }
    }
}

fn transaction(random: &mut fastrand::Rng, table: &str, keys: u64) -> Vec<String> {
    let mut statements = vec!["BEGIN".to_owned()];
    for _ in 0..random.u32(1..6) {
        let (id, other, n) = (random.u64(0..keys), random.u64(0..keys), random.i32(..));
        let text: String = (0..random.usize(0..40)).map(|_| random.alphanumeric()).collect();
        statements.push(match random.u8(0..10) {
            0..4 => format!("UPDATE {table} SET n = {n}, s = '{text}' WHERE id = {id}"),
            4..6 => format!("REPLACE INTO {table} (id, n, s, at) VALUES ({id}, {n}, '{text}', NOW(6))"),
            6 => format!("INSERT IGNORE INTO {table} (id, n, s) VALUES ({id}, {n}, '{text}')"),
            7 => format!("DELETE FROM {table} WHERE id = {id}"),
            // A key that moves is a delete and a create.
            8 => format!("UPDATE IGNORE {table} SET id = {other} WHERE id = {id}"),
            _ => format!("DELETE FROM {table} WHERE id BETWEEN {id} AND {id} + 3"),
        });
    }
    statements.push(if random.u8(0..20) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
    statements
}
