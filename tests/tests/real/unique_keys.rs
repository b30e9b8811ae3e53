//! Tables whose key is not their primary key: one that is named, the only unique key of NOT NULL columns, a generated
//! invisible primary key.

use mysql_async::prelude::Queryable;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

const ROWS: u32 = 3_000;

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

/// A task with a database, whose `[capture]` has these lines.
async fn task(name: &str, lines: impl Fn(&str) -> String) -> (Task, mysql_async::Conn) {
    let task = Task::with(name, Servers::shared(), |text| {
        let own = text.lines().next().and_then(|line| line.split('"').nth(1)).unwrap().to_owned();
        text.replace("[capture]\n", &format!("[capture]\n{}\n", lines(&own)))
    });
    let mut mysql = task.servers.mysql().await;
    let database = format!("CREATE DATABASE `{0}`; USE `{0}`", task.name);
    mysql.query_drop(database).await.unwrap();
    (task, mysql)
}

/// Inserts what is selected of the numbers `n` from 1 on.
fn numbers(insert: &str, select: &str) -> String {
    let all = format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})");
    format!("{insert} {all} SELECT {select} FROM s")
}

/// The only column of a target's primary key.
async fn primary_key(task: &Task, table: &str) -> String {
    let key = "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
               WHERE i.indisprimary AND i.indrelid = $1::text::regclass";
    let postgres = task.servers.postgres().await;
    postgres.query_one(key, &[&format!("{}.{table}", task.name)]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_stands_for_a_primary_key_and_is_kept_while_it_is_there() {
    let (task, mut mysql) =
        task("unique_keys", |own| format!("keys = {{ \"{own}.named\" = \"by_uk\" }}")).await;
    run(
        &mut mysql,
        &[
            "CREATE TABLE only (code VARCHAR(10) NOT NULL, n INT, opt INT, UNIQUE KEY by_code (code), UNIQUE KEY by_opt (opt))",
            "CREATE TABLE pair (a INT NOT NULL, b INT NOT NULL, n INT, UNIQUE KEY by_pair (b, a))",
            "CREATE TABLE named (id INT AUTO_INCREMENT PRIMARY KEY, uk INT NOT NULL, n INT, UNIQUE KEY by_uk (uk))",
            "CREATE TABLE computed (a INT NOT NULL, v INT AS (a * 2) VIRTUAL NOT NULL, n INT, UNIQUE KEY by_v (v))",
            "SET sql_generate_invisible_primary_key = ON",
            "CREATE TABLE invisible (n INT)",
            "SET sql_generate_invisible_primary_key = OFF, cte_max_recursion_depth = 100000",
            &numbers("INSERT INTO only (code, n)", "CONCAT('c', n), n"),
            &numbers("INSERT INTO pair", "n, n, n"),
            &numbers("INSERT INTO named (uk, n)", "n, n"),
            &numbers("INSERT INTO computed (a, n)", "n, n"),
            &numbers("INSERT INTO invisible (n)", "n"),
        ],
    )
    .await;
    let mut check = task.start("capture", &["check"]);
    check.expect_exit(0, RUN);
    assert!(
        check.output().contains(&format!("{}.only has its unique key by_code", task.name)),
        "{}",
        check.output()
    );
    let mut capture = task.capture();
    let apply = task.apply();
    run(
        &mut mysql,
        &[
            "UPDATE only SET code = CONCAT('d', n), n = n + 1 WHERE n % 3 = 0",
            "DELETE FROM only WHERE n % 7 = 0",
            "UPDATE pair SET b = b + 100000 WHERE a % 5 = 0",
            "ALTER TABLE named ALTER INDEX by_uk INVISIBLE",
            "UPDATE named SET uk = -uk WHERE id % 4 = 0",
            "UPDATE named SET id = id + 100000 WHERE uk % 6 = 0",
            "UPDATE computed SET a = a + 100000 WHERE a % 4 = 0",
            "DELETE FROM computed WHERE v % 7 = 0",
            "DELETE FROM invisible WHERE n < 100",
            "UPDATE invisible SET n = -n WHERE n % 9 = 0",
        ],
    )
    .await;
    capture.expect_state("synchronizing", RUN);
    // None of these takes the key away.
    run(
        &mut mysql,
        &[
            "ALTER TABLE only RENAME INDEX by_code TO code_key",
            "ALTER TABLE only ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY FIRST",
            "UPDATE only SET n = -n WHERE id % 2 = 0",
            "ALTER TABLE named RENAME INDEX by_uk TO uk_index",
            "ALTER TABLE pair ADD UNIQUE KEY turned (a, b)",
            "INSERT INTO named VALUES (5000000, 5000000, 1)",
            "UPDATE pair SET n = 0 WHERE a % 11 = 0",
        ],
    )
    .await;
    task.start("capture", &["check"]).expect_exit(0, RUN);
    drop((capture, apply));
    let mut again = task.start("capture", &["run", "--until-caught-up"]);
    again.expect_exit(0, RUN);
    assert!(!again.output().contains("the key changed"), "{}", again.output());
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    // These do: the tables are read anew, by the keys that are left.
    run(
        &mut mysql,
        &[
            "ALTER TABLE pair RENAME COLUMN a TO first",
            "UPDATE pair SET n = 1 WHERE first % 13 = 0",
            "ALTER TABLE only DROP INDEX code_key",
            "INSERT INTO only (code, n) VALUES ('twice', 1), ('twice', 2)",
            "ALTER TABLE pair DROP INDEX by_pair",
            "DELETE FROM pair WHERE first = 1",
            // Another table of the name has a key of its own.
            "DROP TABLE computed",
            "CREATE TABLE computed (a INT PRIMARY KEY, v INT NOT NULL, UNIQUE KEY by_v (v))",
            "INSERT INTO computed VALUES (1, 1), (2, 2)",
        ],
    )
    .await;
    let mut anew = task.start("capture", &["run", "--until-caught-up"]);
    anew.expect_exit(0, RUN);
    assert!(anew.output().matches("the key changed").count() >= 2, "{}", anew.output());
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    let key = primary_key(&task, "computed").await;
    assert_eq!(key, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_several_unique_keys_waits_for_a_choice_and_one_without_any_for_a_key() {
    let (task, mut mysql) = task("several_keys", |_| String::new()).await;
    run(
        &mut mysql,
        &[
            "CREATE TABLE several (a INT NOT NULL, b INT NOT NULL, UNIQUE KEY by_a (a), UNIQUE KEY by_b (b))",
            "INSERT INTO several VALUES (1, 10), (2, 20)",
            "CREATE TABLE keyless (a INT, UNIQUE KEY by_a (a))",
            "INSERT INTO keyless VALUES (1), (NULL), (NULL)",
            "CREATE TABLE good (id INT PRIMARY KEY)",
        ],
    )
    .await;
    task.catch_up();
    let mut check = task.start("capture", &["check"]);
    check.expect_exit(1, RUN);
    let choice = format!("{{ \"{}.several\" = \"by_a\" }}", task.name);
    for words in
        [&format!("capture.keys = {choice}"), "keyless has no primary key, and no unique key of NOT NULL"]
    {
        assert!(check.output().contains(words), "{words}: {}", check.output());
    }
    // What the messages say is done.
    let text = std::fs::read_to_string(&task.config).unwrap();
    std::fs::write(&task.config, text.replace("[capture]\n", &format!("[capture]\nkeys = {choice}\n")))
        .unwrap();
    run(
        &mut mysql,
        &[
            "ALTER TABLE keyless ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY INVISIBLE",
            "UPDATE several SET a = 3 WHERE b = 10",
        ],
    )
    .await;
    task.start("capture", &["check"]).expect_exit(0, RUN);
    task.catch_up();
    assert_equal(&task).await;
    // Another choice, and rows that the first one would have refused.
    let other = choice.replace("by_a", "by_b");
    std::fs::write(&task.config, text.replace("[capture]\n", &format!("[capture]\nkeys = {other}\n")))
        .unwrap();
    task.catch_up();
    run(&mut mysql, &["ALTER TABLE several DROP INDEX by_a", "INSERT INTO several VALUES (2, 30), (2, 40)"])
        .await;
    task.catch_up();
    assert_equal(&task).await;
    assert_eq!(primary_key(&task, "several").await, "b");
}
