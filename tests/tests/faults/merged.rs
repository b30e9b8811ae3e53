//! Tables that share a target, under load and DDL of each, while what captures, merges and stores them dies.

use super::kills::seed;
use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{TABLE, Writer};
use tributary_tests::oracle::assert_slice_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

const SHARDS: usize = 6;
const ROUNDS: u32 = 14;

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_target_and_what_merges_them_die_under_load() {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-merged", &[]);
    let task = Task::with("merged", &servers, |config| {
        let name = config.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
        let rule = format!(
            "source = \"{name}_*.orders\"\ntarget = \"{name}.orders\"\nconstants = {{ shard = \"{{database:_(\\\\d+)$}}:int\" }}\n\
             primary_key = [\"shard\", \"id\"]\n"
        );
        config
            .replace(&format!("source = \"{name}.*\"\n"), &rule)
            .replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    });
    let mut mysql = servers.mysql().await;
    let databases: Vec<String> = (0..SHARDS).map(|shard| format!("{}_{shard}", task.name)).collect();
    let make = |database: &String| {
        [
            format!("CREATE DATABASE IF NOT EXISTS `{database}`"),
            format!("CREATE TABLE `{database}`.orders ({TABLE}, a INT, b INT DEFAULT 1)"),
            "SET cte_max_recursion_depth = 100000".to_owned(),
            format!(
                "INSERT INTO `{database}`.orders (id, n, s, a) WITH RECURSIVE c AS (SELECT 0 AS id UNION ALL SELECT id + 1 FROM c \
                 WHERE id < 5000) SELECT id, id, 'start', id FROM c"
            ),
        ]
    };
    for sql in databases.iter().flat_map(make) {
        mysql.query_drop(sql).await.unwrap();
    }
    let pace = Some(Duration::from_millis(10));
    let writers: Vec<Writer> = databases
        .iter()
        .map(|database| Writer::paced(&servers, database, "orders", 6_000, (1, pace), random.u64(..)))
        .collect();
    let mut capture = task.capture();
    let mut applies = [task.apply(), task.apply()];
    for round in 0..ROUNDS {
        let until = writers[0].transactions() + random.u64(50..250);
        eventually("the writers go on", RUN, || async { writers[0].transactions() >= until }).await;
        let (shard, choice) = (random.usize(0..SHARDS), random.u32(0..9));
        println!("round {round}: choice {choice}, shard {shard}");
        let table = format!("`{}`.orders", databases[shard]);
        let ddl = match choice {
            0 => None,
            1 => Some(format!("ALTER TABLE {table} ADD COLUMN c{round} INT NOT NULL DEFAULT {round}")),
            2 => Some(format!("ALTER TABLE {table} ADD COLUMN common INT DEFAULT {shard}")),
            3 => Some(format!("ALTER TABLE {table} RENAME COLUMN a TO b, RENAME COLUMN b TO a")),
            4 => Some(format!("ALTER TABLE {table} DROP COLUMN b")),
            5 => Some(format!("ALTER TABLE {table} MODIFY a BIGINT")),
            // Its rows are read anew.
            6 => Some(format!("ALTER TABLE {table} MODIFY at DATETIME")),
            _ => Some(format!("TRUNCATE TABLE {table}")),
        };
        if let Some(sql) = &ddl {
            // A column may be there already, or gone.
            let _ = mysql.query_drop(sql).await;
        }
        match random.u32(0..6) {
            0 => {
                capture.kill();
                capture = task.capture();
            }
            1 => {
                servers.control(&["kill", "postgres"]);
                servers.control(&["up", "postgres"]);
            }
            other => {
                let apply = &mut applies[usize::from(other % 2 == 0)];
                apply.kill();
                *apply = task.apply();
            }
        }
    }
    for writer in writers {
        writer.stop().await;
    }
    capture.kill();
    applies.iter_mut().for_each(Process::kill);
    task.catch_up();
    let target = format!("\"{}\".orders", task.name);
    for (shard, database) in databases.iter().enumerate() {
        assert_slice_equal(&task, (database, "orders"), (&target, &format!("shard = {shard}"))).await;
    }
    let capture = task.capture();
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    drop(capture);
    servers.discard();
}
