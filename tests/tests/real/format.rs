//! Another client proves the format: Python's confluent-kafka with its Avro deserializer, which knows nothing but the
//! wire format and the registry's HTTP API.

use mysql_async::prelude::Queryable;
use std::process::Command;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::servers::root;
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn python_decodes_every_record_of_every_table_topic() {
    let task = Task::new("format");
    create(&task, "a", 500).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in [
        "CREATE TABLE types (id BIGINT UNSIGNED PRIMARY KEY, d DECIMAL(20,4), dt DATETIME(6), ts TIMESTAMP NULL, da DATE, \
         t TIME(6), b BIT(9), bin VARBINARY(20), j JSON, e ENUM('x','y'), f FLOAT, `odd-name` INT)",
        "INSERT INTO types VALUES (18446744073709551615, -12.5, '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00', \
         '2024-02-29', '-838:59:59', b'101', X'00FF', '{\"a\": 1}', 'y', 0.5, 1), \
         (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    for statement in [
        "UPDATE a SET n = n + 1 WHERE id < 100",
        "ALTER TABLE a ADD COLUMN note VARCHAR(10) DEFAULT 'x'",
        "DELETE FROM a WHERE id < 50",
        "UPDATE a SET id = id + 100000 WHERE id < 60",
        "UPDATE types SET j = '[1, 2]', da = '0000-00-00'",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    capture.stop();
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    // The registry is any instance's HTTP.
    let capture = task.capture();
    eventually("serving", RUN, || async {
        capture.get("/subjects").is_some_and(|(code, body)| code == 200 && body.contains(".types-value"))
    })
    .await;
    let output = Command::new(root().join("tests/format/run"))
        .args([task.servers.get("KAFKA_BROKERS"), &format!("http://{}", capture.address().unwrap())])
        .args([format!("{0}.{0}.a", task.name), format!("{0}.{0}.types", task.name)])
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    let last = text.lines().last().unwrap_or_default();
    // 500 reads; 100 updates; 50 deletes with tombstones; 10 moved keys, each a delete, a tombstone and a create.
    assert!(last.contains(&format!("{0}.{0}.a: 730 records", task.name)), "{text}");
    assert!(last.contains(&format!("{0}.{0}.types: 4 records", task.name)), "{text}");
}
