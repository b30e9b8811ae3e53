//! Reading a topic to its end, against a real broker: markers and open transactions are what a mock does not have.

#![allow(clippy::unwrap_used)] // The whole file is a test.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tributary_config::{KafkaConfig, TopicsConfig};
use tributary_service::kafka::{ReadError, admin_client, read_to_end, transactional_producer_config};
use tributary_tests::servers::Servers;

const LIMIT: Duration = Duration::from_secs(60);

/// The local broker, started if it does not run.
fn kafka() -> KafkaConfig {
    static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["kafka"]));
    KafkaConfig {
        brokers: SERVERS.get("KAFKA_BROKERS").to_owned(),
        retry_minutes: 0,
        session_timeout_ms: 10_000,
        client: BTreeMap::new(),
    }
}

/// A new topic; its name is also used as transactional id.
fn topic(kafka: &KafkaConfig, partitions: i32) -> String {
    let name = format!("service_test_{}", uuid::Uuid::new_v4().simple());
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin = admin_client(kafka).unwrap();
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    name
}

fn producer(kafka: &KafkaConfig, topic: &str) -> BaseProducer {
    let config: ClientConfig = transactional_producer_config(kafka, &TopicsConfig::default(), topic, 60_000);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, key: &str, value: Option<&str>) {
    let record = BaseRecord::to(topic).key(key).partition(0);
    let record = match value {
        Some(value) => record.payload(value),
        None => record,
    };
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn contents(kafka: &KafkaConfig, topic: &str) -> (Vec<(String, Option<String>)>, i64) {
    let contents = read_to_end(kafka, "service_test", topic, LIMIT).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let records = contents.records.into_iter().map(|record| (text(record.key), record.value.map(text)));
    (records.collect(), contents.next_offset)
}

fn pair(key: &str, value: Option<&str>) -> (String, Option<String>) {
    (key.to_owned(), value.map(str::to_owned))
}

#[test]
fn committed_records_are_read_up_to_the_last_stable_offset() {
    let kafka = kafka();
    let topic = topic(&kafka, 1);
    assert_eq!(contents(&kafka, &topic), (vec![], 0));
    let producer = producer(&kafka, &topic);

    producer.begin_transaction().unwrap();
    send(&producer, &topic, "a", Some("1"));
    send(&producer, &topic, "b", Some("1"));
    producer.commit_transaction(LIMIT).unwrap();
    // The marker stands at offset 2: there is no record before the end to wait for.
    assert_eq!(contents(&kafka, &topic), (vec![pair("a", Some("1")), pair("b", Some("1"))], 3));

    producer.begin_transaction().unwrap();
    send(&producer, &topic, "a", Some("aborted"));
    producer.flush(LIMIT).unwrap();
    producer.abort_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, "a", None);
    producer.commit_transaction(LIMIT).unwrap();
    assert_eq!(contents(&kafka, &topic), (vec![pair("b", Some("1")), pair("a", None)], 7));

    // An open transaction holds the last stable offset back.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, "c", Some("open"));
    producer.flush(LIMIT).unwrap();
    assert_eq!(contents(&kafka, &topic), (vec![pair("b", Some("1")), pair("a", None)], 7));
    producer.abort_transaction(LIMIT).unwrap();
}

#[test]
fn the_end_is_reached_while_somebody_goes_on_writing() {
    let kafka = kafka();
    let topic = topic(&kafka, 1);
    let producer = producer(&kafka, &topic);
    let stop = AtomicBool::new(false);
    let (begun, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                producer.begin_transaction().unwrap();
                send(&producer, &topic, "k", Some(&number.to_string()));
                producer.commit_transaction(LIMIT).unwrap();
                number += 1;
                if number == 20 {
                    begun.send(()).unwrap();
                }
            }
        });
        wait.recv_timeout(LIMIT).unwrap();
        let (records, next_offset) = contents(&kafka, &topic);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(records.len(), 1);
        assert!(next_offset >= 40, "{next_offset}");
    });
}

#[test]
fn a_topic_that_is_missing_or_has_partitions_is_refused() {
    let kafka = kafka();
    let missing = read_to_end(&kafka, "service_test", "service_test_no_such_topic", LIMIT);
    assert!(matches!(missing, Err(ReadError::NoTopic(_))), "{missing:?}");
    let wide = topic(&kafka, 2);
    let refused = read_to_end(&kafka, "service_test", &wide, LIMIT);
    assert!(matches!(refused, Err(ReadError::Partitions { partitions: 2, .. })), "{refused:?}");
}
