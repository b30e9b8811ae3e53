//! What parks a table in capture, followed to the letter: as [`super::apply`]. And what ends a task that is strict.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// The tables of the test.
pub(super) const TABLES: [&str; 9] =
    ["image", "zerokey", "surrogate", "unpaired", "large", "refused", "keyless", "renamed", "late"];

const SOON: Duration = Duration::from_secs(90);

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

/// The remedy of a table that stands still with this code.
async fn remedy(process: &Process, table: &str, code: &str) -> String {
    eventually(&format!("{table}: {code}"), SOON, || async { told(process, table, code).is_some() }).await;
    told(process, table, code).unwrap()
}

fn told(process: &Process, table: &str, code: &str) -> Option<String> {
    let status = process.status().unwrap_or_default();
    let tables = status["tables"].as_array().cloned().unwrap_or_default();
    let of = |found: &&serde_json::Value| {
        found["name"].as_str().is_some_and(|name| name.ends_with(&format!(".{table}")))
    };
    let error = tables.iter().find(of)?["error"].clone();
    (error["code"] == code).then(|| error["remedy"].as_str().unwrap_or_default().to_owned())
}

/// Writes rows that the topic of `refused` does not take, until the table stands still: the broker learns of a setting a
/// moment later.
async fn write_what_is_refused(capture: &Process, mysql: &mut mysql_async::Conn) {
    for id in 2..500 {
        let text = ["HEX(RANDOM_BYTES(1000))"; 3].join(", ");
        run(mysql, &[&format!("INSERT INTO refused VALUES ({id}, CONCAT({text}))")]).await;
        if told(capture, "refused", "topic-refuses").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn configure(task: &Task, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(&task.config).unwrap();
    std::fs::write(&task.config, change(text)).unwrap();
}

/// Sets `max.message.bytes` of a table's topic.
fn limit_topic(task: &Task, table: &str, bytes: u32) {
    let topic = format!("{0}.{0}.{table}", task.name);
    let of_topic = ["--entity-type", "topics", "--entity-name", &topic];
    let setting = format!("max.message.bytes={bytes}");
    let alter = ["kafka-tool", "ConfigCommand", "--alter", "--add-config", &setting];
    task.servers.control(&[&alter[..], &of_topic].concat());
}

async fn update_in_part(task: &Task) {
    let mut mysql = task.servers.mysql().await;
    let update = format!("UPDATE `{}`.image SET n = n + 1 WHERE id < 5", task.name);
    run(&mut mysql, &["SET SESSION binlog_row_image = MINIMAL", &update]).await;
    mysql.disconnect().await.unwrap();
}

/// A task that is strict ends, and says what is to be done about that, too.
async fn strict(task: &Task, mysql: &mut mysql_async::Conn) {
    configure(task, |text| text.replacen("name = ", "strict = true\nname = ", 1));
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    run(mysql, &["CREATE TABLE late (a INT NOT NULL, b INT)", "INSERT INTO late VALUES (1, 1)"]).await;
    capture.expect_exit(1, SOON);
    assert!(
        capture.output().contains("change what it names and start capture again"),
        "{}",
        capture.output()
    );
    run(mysql, &["ALTER TABLE late ADD PRIMARY KEY (a)"]).await;
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    update_in_part(task).await;
    capture.expect_exit(1, SOON);
    let said = capture.output();
    assert!(
        said.contains("set strict = false and start capture") && said.contains("binlog_row_image=FULL"),
        "{said}"
    );
    configure(task, |text| text.replace("strict = true", "strict = false"));
    let mut capture = task.capture();
    remedy(&capture, "image", "row-image").await;
    capture.stop();
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    assert_equal(task).await;
    capture.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_capture_says_of_a_parked_table_is_done_and_ends_in_equality() {
    let task = Task::with("followed_c", Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nmax_message_bytes = 100000\n")
    });
    for table in ["image", "renamed"] {
        create(&task, table, 20).await;
    }
    let mut mysql = task.servers.mysql().await;
    let away = format!("{}_away", task.name);
    run(
        &mut mysql,
        &[
            &format!("CREATE DATABASE `{away}`"),
            &format!("USE `{}`", task.name),
            "CREATE TABLE zerokey (id DATE PRIMARY KEY, n INT)",
            "INSERT INTO zerokey VALUES ('2020-01-01', 1)",
            "CREATE TABLE surrogate (k VARCHAR(9) CHARACTER SET ucs2 PRIMARY KEY, n INT)",
            "INSERT INTO surrogate VALUES ('a', 1)",
            "CREATE TABLE unpaired LIKE surrogate",
            "INSERT INTO unpaired VALUES ('?', 1), (_ucs2 X'D83D', 2)",
            "CREATE TABLE large (id INT PRIMARY KEY, body MEDIUMTEXT)",
            "INSERT INTO large VALUES (1, 'small')",
            "CREATE TABLE refused LIKE large",
            "INSERT INTO refused VALUES (1, 'small')",
            "CREATE TABLE keyless (a INT NOT NULL, b INT)",
            "INSERT INTO keyless VALUES (1, 1), (2, 2)",
        ],
    )
    .await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    let keyless = remedy(&capture, "keyless", "table-not-replicable").await;
    assert!(keyless.contains("change the table") && keyless.ends_with("read anew"), "{keyless}");
    assert!(remedy(&apply, "keyless", "excluded-by-capture").await.contains("`capture status`"));
    limit_topic(&task, "refused", 2000);
    run(
        &mut mysql,
        &[
            "INSERT INTO zerokey VALUES ('0000-00-00', 2)",
            "INSERT INTO surrogate VALUES (_ucs2 X'D83D', 2)",
            "INSERT INTO large VALUES (2, REPEAT('x', 150000))",
            &format!("RENAME TABLE renamed TO `{away}`.renamed"),
            &format!("UPDATE `{away}`.renamed SET n = -n"),
        ],
    )
    .await;
    update_in_part(&task).await;
    write_what_is_refused(&capture, &mut mysql).await;
    for (table, code, words) in [
        ("image", "row-image", "binlog_row_image=FULL"),
        ("zerokey", "bad-key", "correct the row"),
        ("surrogate", "bad-key", "convert the column to a binary type"),
        ("unpaired", "bad-key", "convert the column to a binary type"),
        ("large", "row-too-large", "raise topics.max_message_bytes and the topic's max.message.bytes"),
        ("refused", "topic-refuses", "to topics.max_message_bytes at least"),
        ("renamed", "table-renamed", "rename it back; then restart capture"),
    ] {
        let said = remedy(&capture, table, code).await;
        assert!(said.contains(words), "{table}: {said}");
    }

    run(&mut mysql, &["UPDATE zerokey SET id = '2024-02-29' WHERE id = 0"]).await;
    run(&mut mysql, &["ALTER TABLE surrogate MODIFY k VARBINARY(18) NOT NULL"]).await;
    run(&mut mysql, &["UPDATE unpaired SET k = 'paired' WHERE n = 2"]).await;
    run(&mut mysql, &["ALTER TABLE keyless ADD PRIMARY KEY (a)"]).await;
    run(&mut mysql, &[&format!("RENAME TABLE `{away}`.renamed TO renamed")]).await;
    configure(&task, |text| text.replace("max_message_bytes = 100000", "max_message_bytes = 500000"));
    limit_topic(&task, "large", 600_000);
    limit_topic(&task, "refused", 600_000);
    capture.stop();
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    capture.stop();

    strict(&task, &mut mysql).await;
    apply.stop();
    run(&mut mysql, &[&format!("DROP DATABASE `{away}`")]).await;
}
