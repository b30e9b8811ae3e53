//! Tables that leave and come back, and keys that change: what must be read anew, is.

use mysql_async::prelude::Queryable;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::task::{RUN, Task};

fn configure(task: &Task, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(&task.config).unwrap();
    std::fs::write(&task.config, change(text)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_deselected_is_read_anew_when_it_returns() {
    let task = Task::new("deselected");
    create(&task, "a", 100).await;
    create(&task, "b", 100).await;
    task.catch_up();
    let only_b = format!("[capture]\ntables = [\"{}.b\"]\n", task.name);
    configure(&task, |text| text.replace("[capture]\n", &only_b));
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in ["DELETE FROM a WHERE id < 50", "UPDATE a SET n = -1", "UPDATE b SET n = -2"] {
        mysql.query_drop(statement).await.unwrap();
    }
    // Another file under the task's name is not obeyed in silence.
    let a = format!("{}.a", task.name);
    for refused in [&["run", "--until-caught-up"][..], &["run", "--ignore", "tables-deselected"], &["check"]]
    {
        let mut capture = task.start("capture", refused);
        capture.expect_exit(1, RUN);
        assert!(capture.output().contains(&format!("--deselect {a}")), "{}", capture.output());
    }
    task.start("capture", &["check", "--deselect", &a]).expect_exit(0, RUN);
    task.start("capture", &["run", "--until-caught-up", "--deselect", &a]).expect_exit(0, RUN);
    // Once is enough.
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    // What happens while nobody follows: no event of it is ever published.
    mysql.query_drop("DELETE FROM a WHERE id < 60").await.unwrap();
    configure(&task, |text| text.replace(&only_b, "[capture]\n"));
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_begins_a_topic_anew() {
    let task = Task::new("rekeyed");
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    mysql.query_drop("CREATE TABLE k (id INT PRIMARY KEY, s VARCHAR(10))").await.unwrap();
    mysql.query_drop("INSERT INTO k VALUES (1, 'a'), (2, 'b'), (3, 'c')").await.unwrap();
    task.catch_up();
    for statement in [
        "ALTER TABLE k MODIFY id BIGINT NOT NULL",
        "DELETE FROM k WHERE id = 1",
        "INSERT INTO k VALUES (4000000000, 'd')",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    task.catch_up();
    assert_equal(&task).await;
    // From the topics alone, too: the records under the old key bytes lie before a generation that empties the target.
    task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_excluded_later_is_gone_from_what_follows() {
    let task = Task::new("hidden");
    create(&task, "a", 20).await;
    task.catch_up();
    let hidden = format!("[capture]\nexclude_columns = [\"{}.a.s\"]\n", task.name);
    configure(&task, |text| text.replace("[capture]\n", &hidden));
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET s = 'secret-text'", task.name)).await.unwrap();
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let leaks = tributary_tests::topics::read_topic(&task, "a")
        .iter()
        .filter_map(|record| record.value.as_ref())
        .filter(|value| value.windows(11).any(|part| part == b"secret-text"))
        .count();
    assert_eq!(leaks, 0, "an excluded column reached Kafka");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_an_online_schema_change_swaps_in_is_followed_without_a_stop() {
    // Every table of the database is selected, and the tools' own are matched by no pattern.
    let task = Task::with("swapped", tributary_tests::servers::Servers::shared(), |config| {
        config.replacen("name = ", "strict = true\nname = ", 1)
    });
    create(&task, "a", 200).await;
    // These only look like a tool's: there is no table of which they could be a form.
    create(&task, "_apart_old", 5).await;
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in [
        "CREATE TABLE _a_ghc (id BIGINT PRIMARY KEY, hint VARCHAR(64))",
        "INSERT INTO _a_ghc VALUES (1, 'state')",
        "CREATE TABLE _a_new LIKE a",
        "INSERT INTO _a_new (id, n, s) VALUES (7, 7, 'copied')",
        "CREATE TABLE tp_4711_ogt_a LIKE a",
        "CREATE TABLE _later_new LIKE a",
        "INSERT INTO _later_new (id, n, s) VALUES (8, 8, 'kept')",
        "CREATE TABLE _a_gho LIKE a",
        "ALTER TABLE _a_gho ADD COLUMN note VARCHAR(9) NOT NULL DEFAULT 'swapped', MODIFY n BIGINT NOT NULL",
        "INSERT INTO _a_gho (id, n, s, at) SELECT id, n + 5000000000, s, at FROM a",
        "RENAME TABLE a TO _a_del, _a_gho TO a",
        "UPDATE a SET note = 'after' WHERE id < 10",
        "DELETE FROM a WHERE id = 50",
        "DROP TABLE _a_del, _a_ghc",
    ] {
        mysql.query_drop(statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
    drop(capture);
    task.catch_up();
    let topics = task.servers.control(&["kafka-tool", "TopicCommand", "--list"]);
    let topic = |table: &str| topics.lines().any(|topic| topic == format!("{0}.{0}.{table}", task.name));
    for tool in ["_a_gho", "_a_ghc", "_a_del", "_a_new", "tp_4711_ogt_a"] {
        assert!(!topic(tool), "{tool} was published");
    }
    assert!(topic("a") && topic("_apart_old") && topic("_later_new"));
    // The base table of one that was replicated comes later: it goes on, also after a restart.
    mysql.query_drop("DROP TABLE _a_new, tp_4711_ogt_a").await.unwrap();
    mysql.query_drop("CREATE TABLE later LIKE a").await.unwrap();
    mysql.query_drop("UPDATE _later_new SET n = 9").await.unwrap();
    task.catch_up();
    assert_equal(&task).await;
}
