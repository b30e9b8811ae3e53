//! A destination built again from the topics alone.

use mysql_async::prelude::Queryable;
use std::collections::{BTreeMap, BTreeSet};
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{assert_equal, destination_rows, eventually_equal, source_rows};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::{SeenRecord, read_topic};

/// Has the broker compact `topics` as soon as it can: every write begins a new segment, nothing is too young.
fn compact_soon(task: &Task, topics: &[String]) {
    let settings = "segment.ms=1,min.compaction.lag.ms=0,delete.retention.ms=0,min.cleanable.dirty.ratio=0.0";
    for topic in topics {
        let alter =
            ["kafka-tool", "ConfigCommand", "--alter", "--entity-type", "topics", "--entity-name", topic];
        task.servers.control(&[&alter[..], &["--add-config", settings]].concat());
    }
}

/// The offset behind the last record of each partition.
fn ends(records: &[SeenRecord]) -> BTreeMap<i32, i64> {
    records.iter().map(|record| (record.partition, record.offset + 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_rebuilt_from_compacted_topics_with_the_source_switched_off() {
    let servers = Servers::up("test-replay", &[]);
    let task = Task::with("replay", &servers, |config| config);
    create(&task, "a", 3000).await;
    create(&task, "kept", 300).await;
    create(&task, "empty", 0).await;
    task.catch_up();
    let writers = ["a", "kept"].map(|table| Writer::start(&task.servers, &task.name, table, 4000, 1, 5));
    eventually("writes", RUN, || async { writers.iter().all(|writer| writer.transactions() > 250) }).await;
    for writer in writers {
        writer.stop().await;
    }
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in [
        "ALTER TABLE a ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'none'",
        "ALTER TABLE kept ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'kept'",
        "INSERT INTO a (id, n, s, note) VALUES (9001, 1, 'x', 'y')",
        "DELETE FROM kept WHERE id < 100",
        "TRUNCATE TABLE a",
        "INSERT INTO a (id, n, s, note) VALUES (1, 1, 'x', 'y'), (2, 2, 'z', 'w')",
        "DELETE FROM a WHERE id = 2",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    task.catch_up();
    assert_equal(&task).await;
    // Not before everything is merged: a delete is not kept for those who sleep now.
    let topic = |table: &str| format!("{0}.{0}.{table}", task.name);
    compact_soon(&task, &[topic("a"), topic("kept"), format!("{}.history", task.name)]);
    let marks = ends(&read_topic(&task, "kept"));
    // The newest segment is never compacted, and a delete goes with the second round: so each partition gets a few more.
    let mut capture = task.capture();
    eventually("compaction has removed deletes and what was replaced", RUN, || async {
        for table in ["a", "kept"] {
            let rows: Vec<String> =
                (8000..8040).map(|id| format!("({id}, FLOOR(RAND() * 1e9), 'later')")).collect();
            let sql = format!("REPLACE INTO {table} (id, n, s) VALUES {}", rows.join(","));
            task.servers.mysql().await.query_drop(format!("USE `{}`; {sql}", task.name)).await.unwrap();
        }
        let mut records = read_topic(&task, "kept");
        records.retain(|record| record.offset < marks[&record.partition]);
        let keys: BTreeSet<&[u8]> = records.iter().map(|record| record.key.as_slice()).collect();
        keys.len() == records.len() && records.iter().all(|record| record.value.is_some())
    })
    .await;
    capture.stop();
    task.catch_up();
    let tables = ["a", "kept", "empty"];
    let mut expected = Vec::new();
    for table in tables {
        expected.push(source_rows(&task, table).await);
    }
    servers.control(&["down", "mysql"]);
    let postgres = task.servers.postgres().await;
    let forget = format!("DROP SCHEMA \"{}\" CASCADE", task.name);
    // The target alone is gone, and then the bookkeeping as well.
    postgres.batch_execute(&forget).await.unwrap();
    task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
    for rebuilt in ["the target", "the target and the bookkeeping"] {
        task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
        // The oracle asks the source which columns there are.
        servers.control(&["up", "mysql"]);
        for (table, expected) in tables.iter().zip(&expected) {
            assert!(destination_rows(&task, table).await == *expected, "{rebuilt}: {table}");
        }
        if rebuilt == "the target" {
            servers.control(&["down", "mysql"]);
            postgres.batch_execute(&format!("{forget}; DROP SCHEMA tributary CASCADE")).await.unwrap();
        }
    }
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_a_time_or_from_offsets_repairs_what_came_later() {
    let task = Task::new("since");
    create(&task, "a", 1000).await;
    task.catch_up();
    let (mut mysql, postgres) = (task.servers.mysql().await, task.servers.postgres().await);
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    let time: String = postgres.query_one(now, &[]).await.unwrap().get(0);
    let ends = ends(&read_topic(&task, "a"));
    for statement in [
        "UPDATE a SET n = -1 WHERE id < 200",
        "ALTER TABLE a ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'none'",
        "UPDATE a SET note = 'seen' WHERE id BETWEEN 100 AND 300",
        "DELETE FROM a WHERE id BETWEEN 400 AND 450",
        "INSERT INTO a (id, n, s) VALUES (5000, 1, 'x')",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    task.catch_up();
    assert_equal(&task).await;
    let places: Vec<String> =
        ends.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    let (places, table) = (places.join(","), format!("{}.a", task.name));
    for place in [&["--from", &time][..], &["--from", &places, "--table", &table]] {
        // What is damaged came after the place.
        let damage = format!(
            "DELETE FROM \"{0}\".a WHERE id < 200 OR id = 5000; UPDATE \"{0}\".a SET note = 'lost' WHERE id = 250; \
             INSERT INTO \"{0}\".a (id, n, s, note) VALUES (420, 0, '', '')",
            task.name
        );
        postgres.batch_execute(&damage).await.unwrap();
        task.start("apply", &[&["replay"], place].concat()).expect_exit(0, RUN);
        task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
        assert_equal(&task).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_may_have_missed_a_delete_refuses() {
    let task = Task::new("slept");
    create(&task, "a", 100).await;
    task.catch_up();
    let postgres = task.servers.postgres().await;
    let offsets = format!("tributary.offsets SET {{}} WHERE task = '{}'", task.name);
    // It sleeps that long, and something happens meanwhile.
    let mut mysql = task.servers.mysql().await;
    let mut sleep = async |change: &str| {
        postgres.execute(&format!("UPDATE {}", offsets.replace("{}", change)), &[]).await.unwrap();
        mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1", task.name)).await.unwrap();
        task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    };
    let apply = || task.start("apply", &["run", "--until-caught-up"]);
    // Deletes stay for 7 days and another 7; a rebuild has the second 7.
    sleep("at_end_at = now() - interval '335 hours'").await;
    apply().expect_exit(0, RUN);
    for change in [
        "at_end_at = now() - interval '337 hours'",
        "at_end_at = NULL, begun_at = now() - interval '169 hours'",
    ] {
        sleep(change).await;
        let mut refused = apply();
        refused.expect_exit(1, RUN);
        let output = refused.output();
        assert!(
            output.contains("retention-exceeded") && output.contains("apply replay"),
            "{change}: {output}"
        );
        task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
        apply().expect_exit(0, RUN);
        assert_equal(&task).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_over_existing_tables_changes_nothing_in_the_end() {
    let task = Task::new("remerge");
    create(&task, "a", 2000).await;
    task.catch_up();
    let writer = Writer::start(&task.servers, &task.name, "a", 2500, 2, 6);
    eventually("writes", RUN, || async { writer.transactions() > 300 }).await;
    writer.stop().await;
    task.catch_up();
    assert_equal(&task).await;
    task.start("apply", &["replay", "--from", "beginning", "--merge"]).expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    // A running instance notices, and seeks.
    let mut apply = task.apply();
    apply.expect_state("synchronizing", RUN);
    let postgres = task.servers.postgres().await;
    postgres.execute(&format!("DELETE FROM \"{}\".a WHERE id % 2 = 0", task.name), &[]).await.unwrap();
    task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
    eventually_equal(&task, "a", "the running instance has rebuilt the table").await;
    apply.stop();
}
