//! The history topic: how much each statement leaves in it, and that what goes from it is missed by nobody.

use mysql_async::prelude::Queryable;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tributary_tests::eventually;
use tributary_tests::oracle::{assert_table_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::{SeenRecord, read_topic, visit_records};

const SOON: Duration = Duration::from_secs(90);
/// How often the table is emptied.
const TRUNCATES: usize = 30;

/// Every record of the task's history, in order.
fn history(task: &Task) -> Vec<SeenRecord> {
    let mut records = Vec::new();
    visit_records(task, &format!("{}.history", task.name), |record| records.push(record));
    records
}

fn bytes(records: &[SeenRecord]) -> usize {
    records.iter().map(|record| record.key.len() + record.value.as_ref().map_or(0, Vec::len)).sum()
}

/// Writes the history once more, as if it had been written `age` ago.
fn grow_old(task: &Task, age: Duration) {
    let config = |name: &str| task.servers.get(name).to_owned();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", config("KAFKA_BROKERS")).create().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let then = i64::try_from((now - age).as_millis()).unwrap();
    let topic = format!("{}.history", task.name);
    for SeenRecord { key, value, .. } in history(task) {
        let record = BaseRecord::to(&topic).partition(0).key(&key).payload(value.as_ref().unwrap());
        producer.send(record.timestamp(then)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(SOON).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_leaves_little_and_in_the_end_a_number() {
    let task = Task::with("truncated", Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nretention_hours = 1\n")
    });
    let mut mysql = task.servers.mysql().await;
    let columns: Vec<String> = (1..40).map(|number| format!("column_{number} VARCHAR(20)")).collect();
    for statement in [
        format!("CREATE DATABASE `{}`", task.name),
        format!("USE `{}`", task.name),
        format!("CREATE TABLE jobs (id INT PRIMARY KEY, {})", columns.join(", ")),
        "INSERT INTO jobs (id) VALUES (-1), (-2)".to_owned(),
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let before = bytes(&history(&task));
    for number in 0..TRUNCATES {
        mysql.query_drop("TRUNCATE TABLE jobs").await.unwrap();
        mysql.query_drop(format!("INSERT INTO jobs (id) VALUES ({number}), (100)")).await.unwrap();
        if number == TRUNCATES / 2 {
            mysql.query_drop("ALTER TABLE jobs ADD COLUMN late INT DEFAULT 7").await.unwrap();
        }
    }
    eventually_equal(&task, "jobs", "truncated often").await;
    let grown = bytes(&history(&task)) - before;
    // The ALTER holds its definition; a TRUNCATE of these 40 columns left 14 KB before definitions were named.
    assert!(grown / TRUNCATES < 1_000, "{grown} bytes for {TRUNCATES} TRUNCATEs");
    println!("{} bytes a TRUNCATE, with one ALTER", grown / TRUNCATES);
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_table_equal(&task, "jobs").await;
    // Nobody may lag so much any more.
    grow_old(&task, Duration::from_secs(3 * 3600));
    mysql.query_drop("INSERT INTO jobs (id) VALUES (7000)").await.unwrap();
    task.catch_up();
    let end = history(&task);
    let gone = end.iter().filter(|record| record.value.is_none()).count();
    // The first generation, and that of the ALTER, have the definitions; the last TRUNCATE is the one that counts.
    assert_eq!(gone, TRUNCATES - 1, "{end:?}");
    mysql.query_drop("TRUNCATE TABLE jobs").await.unwrap();
    mysql.query_drop("INSERT INTO jobs (id) VALUES (1), (100)").await.unwrap();
    let (mut capture, mut apply) = (task.capture(), task.apply());
    eventually_equal(&task, "jobs", "after the history was cut").await;
    // A reader of the topic finds the schema of each of its records, of those that are void, too.
    let ids =
        |record: SeenRecord| record.value.map(|value| u32::from_be_bytes(value[1..5].try_into().unwrap()));
    let ids: std::collections::BTreeSet<u32> =
        read_topic(&task, "jobs").into_iter().filter_map(ids).collect();
    assert!(ids.len() > TRUNCATES, "{ids:?}");
    for process in [&capture, &apply] {
        eventually("schemas are served", SOON, || async {
            ids.iter().all(|id| {
                process.get(&format!("/schemas/ids/{id}")).is_some_and(|(code, body)| {
                    code == 200 && body.contains("column_39") && body.contains("tributary.generation")
                })
            })
        })
        .await;
    }
    capture.stop();
    apply.stop();
    // From the topics alone.
    task.start("apply", &["replay", "--from", "beginning", "--clear", "--yes"]).expect_exit(0, RUN);
    task.catch_up();
    assert_table_equal(&task, "jobs").await;
    mysql.query_drop("ALTER TABLE jobs ADD COLUMN later INT DEFAULT 8").await.unwrap();
    task.catch_up();
    assert_table_equal(&task, "jobs").await;
}
