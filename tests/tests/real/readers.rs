//! Capture's status says who reads its topics, and how far behind each is.

use mysql_async::prelude::Queryable;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::read_topic;

/// Some rounds, of which there is one each 15 s.
const SOON: Duration = Duration::from_secs(60);
/// How often the status is looked at.
const BEAT: Duration = Duration::from_millis(100);

/// The offsets of a table's records, by partition, once there are `count` of them.
async fn offsets(task: &Task, table: &str, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let mut records = Vec::new();
    eventually("the rows are published", RUN, || {
        records = read_topic(task, table);
        std::future::ready(records.len() == count)
    })
    .await;
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for record in records {
        found.entry(record.partition).or_default().push(record.offset);
    }
    found
}

/// From the first of these offsets to the last. That many records, unless capture committed between two of them, which takes an
/// offset.
fn span(offsets: &[i64]) -> i64 {
    offsets.first().zip(offsets.last()).map_or(0, |(first, last)| last - first + 1)
}

/// Commits for `group` that it has read the first half of each partition of a table's topic; returns the lag that is left.
fn read_half(task: &Task, group: &str, table: &str, offsets: &BTreeMap<i32, Vec<i64>>) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", task.servers.get("KAFKA_BROKERS"))
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let (mut list, mut left) = (TopicPartitionList::new(), 0);
    for (partition, offsets) in offsets {
        let (read, unread) = offsets.split_at(offsets.len() / 2);
        let next = read.last().map_or(0, |offset| offset + 1);
        list.add_partition_offset(&format!("{0}.{0}.{table}", task.name), *partition, Offset::Offset(next))
            .unwrap();
        left += span(unread);
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
    left
}

/// The readers with their lags and states, by name.
fn readers(capture: &Process) -> BTreeMap<String, (i64, String)> {
    let status = capture.status().unwrap_or_default();
    let readers = status["readers"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let line = |reader: &serde_json::Value| (reader["lag_records"].as_i64().unwrap(), text(&reader["state"]));
    readers.iter().map(|reader| (text(&reader["name"]), line(reader))).collect()
}

/// Waits until the readers are these: name, lag, state.
async fn expect(what: &str, capture: &Process, expected: &[(&str, i64, &str)]) {
    let expected: BTreeMap<String, (i64, String)> =
        expected.iter().map(|(name, lag, state)| ((*name).to_owned(), (*lag, (*state).to_owned()))).collect();
    let mut found = BTreeMap::new();
    let deadline = Instant::now() + SOON;
    while found != expected {
        assert!(Instant::now() < deadline, "{what}: {found:?} and not {expected:?}");
        tokio::time::sleep(BEAT).await;
        found = readers(capture);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_topics_is_listed_with_what_is_left_to_read() {
    // A Kafka of its own: groups are asked a few at a time, and the other tests leave hundreds.
    let servers = Servers::up("readers", &[]);
    let origin = Task::with("readers", &servers, |config| config);
    for table in ["a", "b"] {
        create(&origin, table, 0).await;
    }
    let rules = format!("[[table]]\nsource = \"{}.*\"\ntarget = \"copy.{{table}}\"\n", origin.name);
    let copy = Task::reading("copy", &[&origin], &format!("readers_of_{}", origin.name), &rules).await;
    let mut capture = origin.capture();
    let (_apply, mut copying) = (origin.apply(), copy.apply());
    let mut mysql = origin.servers.mysql().await;
    let mut insert = async |table: &str, count: i64| {
        let rows: Vec<String> = (0..count).map(|id| format!("({id}, {id}, 'x', NULL)")).collect();
        let rows = rows.join(",");
        mysql.query_drop(format!("INSERT INTO `{}`.{table} VALUES {rows}", origin.name)).await.unwrap();
    };
    insert("a", 400).await;
    let published = offsets(&origin, "a", 400).await;
    let (own, copied, plain) = (origin.name.as_str(), copy.name.as_str(), format!("plain.{}", origin.name));
    expect("both have read everything", &capture, &[(own, 0, "stable"), (copied, 0, "stable")]).await;
    let half = read_half(&origin, &plain, "a", &published);
    assert!(half >= 200, "{half}");
    let all = [(own, 0, "stable"), (copied, 0, "stable"), (plain.as_str(), half, "empty")];
    expect("the plain consumer is listed", &capture, &all).await;

    // One stops: what is written from then on is what it lags.
    copying.stop();
    insert("b", 300).await;
    let behind = offsets(&origin, "b", 300).await.values().map(|offsets| span(offsets)).sum();
    let all = [(own, 0, "stable"), (copied, behind, "empty"), (plain.as_str(), half, "empty")];
    expect("the one that is stopped falls behind", &capture, &all).await;
    let (_, metrics) = capture.get("/metrics").unwrap();
    let sample = metrics.lines().find(|line| line.contains(&format!("reader=\"{copied}\"")));
    assert!(sample.is_some_and(|line| line.ends_with(&format!(" {behind}"))), "{sample:?}");
    let mut status = origin.start("capture", &["status"]);
    status.expect_exit(0, RUN);
    let line = |text: &str, name: &str, lag: i64| {
        let lag = format!(" {lag} records");
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name} ")) && line.contains(&lag)),
            "{text}"
        );
    };
    line(&status.output(), copied, behind);

    // Whoever drops the topics sees it before anything is asked.
    capture.stop();
    let mut dropping = origin.start("capture", &["drop"]);
    dropping.expect_exit(2, RUN);
    let text = dropping.output();
    line(&text, copied, behind);
    line(&text, &plain, half);
    line(&text, own, 0);

    // A capture that starts finds it again; without its offsets it is no reader any more.
    let capture = origin.capture();
    expect("a new capture knows all of them", &capture, &all).await;
    copy.start("apply", &["drop", "--yes"]).expect_exit(0, RUN);
    expect("it is gone", &capture, &[(own, 0, "stable"), (plain.as_str(), half, "empty")]).await;
    servers.discard();
}
