//! Two tasks that feed one target, each with a capture and an apply of its own: both change its definition at the same moment, rows of
//! single tables are removed and written anew, and whatever merges, captures and stores them dies.

use super::kills::seed;
use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{TABLE, Writer};
use tributary_tests::oracle::{assert_rest_is_null, assert_slice_equal};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// Even ones are the left task's, odd ones the right's.
const SHARDS: usize = 6;
const ROUNDS: u32 = 12;
const ROWS: u32 = 4_000;

struct Side {
    task: Task,
    capture: Process,
    apply: Process,
}

/// A task that merges `<its name>_<shard>.orders` into the target `schema`.orders; the schema is called as the task unless one is given.
fn feeding(test: &str, servers: &Servers, schema: Option<&str>) -> Task {
    Task::with(test, servers, |config| {
        let name = config.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
        let schema = schema.unwrap_or(&name);
        let rule = format!(
            "source = \"{name}_*.orders\"\ntarget = \"{schema}.orders\"\nconstants = {{ shard = \"{{database:_(\\\\d+)$}}:int\" }}\n\
             primary_key = [\"shard\", \"id\"]\n"
        );
        config
            .replace(&format!("source = \"{name}.*\"\n"), &rule)
            .replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    })
}

/// Statements that make a shard's table.
fn making(table: &str) -> [String; 2] {
    [
        format!("CREATE TABLE {table} ({TABLE}, a INT, b INT DEFAULT 1)"),
        format!(
            "INSERT INTO {table} (id, n, s, a) WITH RECURSIVE c AS (SELECT 0 AS id UNION ALL SELECT id + 1 FROM c \
             WHERE id < {ROWS}) SELECT id, id, 'start', id FROM c"
        ),
    ]
}

/// What is done to a shard; a column may be there already, or gone, and then nothing is.
fn changing(choice: u32, round: u32, table: &str) -> Vec<String> {
    let change = match choice {
        0 => format!("ADD COLUMN c{round} INT NOT NULL DEFAULT {round}"),
        1 | 2 => format!("ADD COLUMN common INT DEFAULT {round}"),
        3 => "DROP COLUMN common".to_owned(),
        4 => "RENAME COLUMN a TO b, RENAME COLUMN b TO a".to_owned(),
        5 => "DROP COLUMN b".to_owned(),
        6 => "MODIFY a BIGINT".to_owned(),
        // Its rows are read anew.
        7 => "MODIFY at DATETIME".to_owned(),
        8 => return vec![format!("TRUNCATE TABLE {table}")],
        9 => return [vec![format!("DROP TABLE {table}")], making(table).to_vec()].concat(),
        _ => return Vec::new(),
    };
    vec![format!("ALTER TABLE {table} {change}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_of_one_target_die_under_load() {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-slices", &[]);
    let left = feeding("left", &servers, None);
    let schema = left.name.clone();
    let tasks = [left, feeding("right", &servers, Some(&schema))];
    let databases: Vec<String> =
        (0..SHARDS).map(|shard| format!("{}_{shard}", tasks[shard % 2].name)).collect();
    let tables: Vec<String> = databases.iter().map(|database| format!("`{database}`.orders")).collect();
    let mut mysql = servers.mysql().await;
    mysql.query_drop("SET cte_max_recursion_depth = 100000").await.unwrap();
    for (database, table) in databases.iter().zip(&tables) {
        mysql.query_drop(format!("CREATE DATABASE `{database}`")).await.unwrap();
        for sql in making(table) {
            mysql.query_drop(sql).await.unwrap();
        }
    }
    let pace = Some(Duration::from_millis(15));
    let writers: Vec<Writer> = databases
        .iter()
        .map(|database| Writer::paced(&servers, database, "orders", 5_000, (1, pace), random.u64(..)))
        .collect();
    let mut sides = tasks.map(|task| Side { capture: task.capture(), apply: task.apply(), task });
    for round in 0..ROUNDS {
        let until = writers[0].transactions() + random.u64(50..200);
        eventually("the writers go on", RUN, || async { writers[0].transactions() >= until }).await;
        let (shard, choice, fault) = (random.usize(0..SHARDS), random.u32(0..12), random.u32(0..6));
        println!("round {round}: choice {choice}, shard {shard}, fault {fault}");
        // A table of the one and a table of the other.
        for shard in [shard, (shard + 1) % SHARDS] {
            for sql in changing(choice, round, &tables[shard]) {
                let _ = mysql.query_drop(sql).await;
            }
        }
        let side = &mut sides[shard % 2];
        if choice == 10 {
            let table = format!("{}.orders", databases[shard]);
            let words = ["replay", "--from", "beginning", "--clear", "--table", &table];
            side.task.start("apply", &words).wait(RUN);
        }
        match fault {
            0 => {
                side.capture.kill();
                side.capture = side.task.capture();
            }
            1 => {
                servers.control(&["kill", "postgres"]);
                servers.control(&["up", "postgres"]);
            }
            2 => sides.iter_mut().for_each(|side| {
                side.apply.kill();
                side.apply = side.task.apply();
            }),
            _ => {
                side.apply.kill();
                side.apply = side.task.apply();
            }
        }
    }
    for writer in writers {
        writer.stop().await;
    }
    for side in &mut sides {
        side.capture.kill();
        side.apply.kill();
    }
    sides.iter().for_each(|side| side.task.catch_up());
    let target = format!("\"{schema}\".orders");
    for (shard, database) in databases.iter().enumerate() {
        let (task, slice) = (&sides[shard % 2].task, format!("shard = {shard}"));
        assert_slice_equal(task, (database, "orders"), (&target, &slice)).await;
        assert_rest_is_null(task, (database, "orders"), (&target, &slice), &["shard"]).await;
    }
    for side in &sides {
        let capture = side.task.capture();
        side.task.start("apply", &["verify"]).expect_exit(0, RUN);
        drop(capture);
    }
    servers.discard();
}
