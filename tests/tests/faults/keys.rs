//! Tables whose keys are unlike numbers are read while their rows come, go and change their keys, be it only in case,
//! accents or trailing spaces: what is one key for the source may be two for Kafka.

use crate::kills::seed;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinHandle;
use tributary_tests::eventually;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// A table's name, the definition of its key `k`, and what makes a literal for it.
type KeyTable = (&'static str, &'static str, fn(&mut fastrand::Rng) -> String);

const TABLES: [KeyTable; 8] = [
    ("accents", "VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", accented),
    ("padded", "VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", padded),
    ("latin", "CHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", accented),
    ("binaries", "BINARY(4)", binary),
    ("varbinaries", "VARBINARY(9)", binary),
    ("moments", "DATETIME(6)", moment),
    ("numbers", "BIGINT UNSIGNED", unsigned),
    ("composite", "VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", accented),
];
const ROWS: u32 = 6_000;

fn accented(random: &mut fastrand::Rng) -> String {
    let letters = ['a', 'A', 'á', 'Ä', 'e', 'É', 's', 'S', 'z', 'ß', 'o', 'Ø'];
    let text: String = (0..random.usize(2..7)).map(|_| letters[random.usize(0..letters.len())]).collect();
    format!("'{text}'")
}

fn padded(random: &mut fastrand::Rng) -> String {
    let text = accented(random);
    let spaces = " ".repeat(random.usize(0..3));
    format!("{}{spaces}'", text.trim_end_matches('\''))
}

fn binary(random: &mut fastrand::Rng) -> String {
    // Trailing zeros, which BINARY pads with, and bytes that are no UTF-8.
    let bytes = [0x00, 0x20, 0x41, 0x61, 0xc3, 0xff];
    let text: String =
        (0..random.usize(1..5)).map(|_| format!("{:02x}", bytes[random.usize(0..bytes.len())])).collect();
    format!("x'{text}'")
}

fn moment(random: &mut fastrand::Rng) -> String {
    let (day, micros) = (random.u32(1..29), random.u32(0..3000) * 333);
    format!("'2024-02-{day:02} 23:59:59.{micros:06}'")
}

fn unsigned(random: &mut fastrand::Rng) -> String {
    let near = random.u64(0..5000);
    match random.u8(0..3) {
        0 => near,
        1 => u64::MAX - near,
        _ => (1 << 63) - 2500 + near,
    }
    .to_string()
}

async fn create(task: &Task, random: &mut fastrand::Rng) {
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    for (table, definition, literal) in TABLES {
        let key = if table == "composite" { "(m, k)" } else { "(k)" };
        let sql = format!(
            "CREATE TABLE {table} (k {definition} NOT NULL, m INT NOT NULL, n INT NOT NULL, filler VARCHAR(300) NOT NULL, \
             PRIMARY KEY {key})"
        );
        mysql.query_drop(sql).await.unwrap();
        let filler = "x".repeat(250);
        for _ in 0..ROWS / 500 {
            let row = |random: &mut fastrand::Rng| {
                format!("({}, {}, 0, '{filler}')", literal(random), random.u32(0..9))
            };
            let rows: Vec<String> = (0..500).map(|_| row(random)).collect();
            mysql.query_drop(format!("INSERT IGNORE INTO {table} VALUES {}", rows.join(","))).await.unwrap();
        }
    }
}

/// One statement. Each may fail for a key that is taken.
fn statement(random: &mut fastrand::Rng, (table, definition, literal): KeyTable) -> String {
    let (key, other) = (literal(random), literal(random));
    let (m, n) = (random.u32(0..9), random.i32(..));
    let place = if table == "composite" { format!("k = {key} AND m = {m}") } else { format!("k = {key}") };
    match random.u8(0..10) {
        0 | 1 => format!("UPDATE {table} SET n = {n} WHERE {place}"),
        2 | 3 => format!("REPLACE INTO {table} VALUES ({key}, {m}, {n}, 'y')"),
        4 => format!("DELETE FROM {table} WHERE {place}"),
        5 => format!("INSERT INTO {table} VALUES ({key}, {m}, {n}, 'z')"),
        6 => format!("UPDATE {table} SET k = {other}, n = {n} WHERE {place}"),
        // The same key for the source, other bytes.
        _ if definition.contains("CHAR") => {
            let changed = ["UPPER(k)", "LOWER(k)", "CONCAT(TRIM(k), ' ')", "TRIM(k)"][random.usize(0..4)];
            format!("UPDATE {table} SET k = {changed}, n = {n} WHERE {place}")
        }
        _ => format!("UPDATE {table} SET k = {other} WHERE {place}"),
    }
}

/// A writer a table, at full speed.
fn write(
    task: &Task,
    seed: u64,
    (stop, statements): (&Arc<AtomicBool>, &Arc<AtomicU64>),
) -> Vec<JoinHandle<()>> {
    let start = |(number, table): (u64, KeyTable)| {
        let (servers, database) = (task.servers.clone(), task.name.clone());
        let (stop, statements) = (Arc::clone(stop), Arc::clone(statements));
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed ^ number);
            let mut mysql = servers.mysql().await;
            mysql.query_drop(format!("USE `{database}`")).await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                let _ = mysql.query_drop(statement(&mut random, table)).await;
                statements.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    (0..).zip(TABLES).map(start).collect()
}

async fn run(metadata: &str) {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-keys", &["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"]);
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("SET GLOBAL binlog_row_metadata = {metadata}")).await.unwrap();
    let task = Task::with(&format!("keys_{}", metadata.to_lowercase()), &servers, |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\nreaders = 4\n")
    });
    create(&task, &mut random).await;
    let (stop, statements) = (Arc::default(), Arc::default());
    let writers = write(&task, random.u64(..), (&stop, &statements));
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    let behind = statements.load(Ordering::Relaxed) + 500;
    eventually("writes go on", RUN, || async { statements.load(Ordering::Relaxed) > behind }).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    capture.stop();
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_are_read_while_they_change() {
    run("MINIMAL").await;
    run("FULL").await;
    Servers::up("faults-keys", &[]).discard();
}
