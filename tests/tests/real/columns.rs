//! A column is the column that it was, whatever it is called: while a table is read ahead of the stream, and where the
//! configuration keeps columns from Kafka by name.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::{assert_table_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

/// The load is stopped half-way. When it goes on, the stream has megabytes to pass before the statements, and the
/// readers ask a source that has them behind itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_survives_names_that_move_in_statements_the_stream_has_yet_to_pass() {
    let task = Task::with("moved", Servers::shared(), |config| {
        let name = config.lines().next().unwrap().trim_start_matches("name = ").trim_matches('"').to_owned();
        let slow =
            format!("[capture]\nreaders = 1\nchunk_bytes = 65536\ntables = [\"{name}.a\", \"{name}.b\"]\n");
        config.replace("[capture]\n", &slow)
    });
    let mut mysql = task.servers.mysql().await;
    for table in ["a", "b"] {
        create(&task, table, 30_000).await;
    }
    run(&mut mysql, &[&format!("USE `{}`", task.name), "ALTER TABLE a ADD m INT NOT NULL DEFAULT 7"]).await;
    run(&mut mysql, &["ALTER TABLE b ADD m INT NOT NULL DEFAULT 7"]).await;
    let mut capture = task.capture();
    eventually("some of a is read", RUN, || async {
        let status = capture.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().any(|table| table["rows_read"].as_u64().is_some_and(|rows| rows > 0))
    })
    .await;
    capture.stop();
    assert!(!capture.output().contains("initial load complete"), "{}", capture.output());
    run(&mut mysql, &["CREATE TABLE ballast (s LONGTEXT)"]).await;
    for _ in 0..24 {
        run(&mut mysql, &["INSERT INTO ballast VALUES (REPEAT('x', 4000000))"]).await;
    }
    run(&mut mysql, &["DROP TABLE ballast"]).await;
    run(
        &mut mysql,
        &["ALTER TABLE a RENAME COLUMN n TO was_n", "ALTER TABLE a ADD n INT NOT NULL DEFAULT -1"],
    )
    .await;
    run(&mut mysql, &["ALTER TABLE b RENAME COLUMN n TO x", "ALTER TABLE b RENAME COLUMN m TO n"]).await;
    run(&mut mysql, &["ALTER TABLE b RENAME COLUMN x TO m"]).await;
    task.catch_up();
    for table in ["a", "b"] {
        assert_table_equal(&task, table).await;
    }
}

/// Names are left out, not places: a column that gets a name that is published is read with its values, and one that
/// gets a name that is not, in any case of its letters, is left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_leaves_the_excluded_names_is_read_and_an_excluded_key_is_not_published() {
    let task = Task::with("revealed", Servers::shared(), |config| {
        let name = config.lines().next().unwrap().trim_start_matches("name = ").trim_matches('"').to_owned();
        config.replace("[capture]\n", &format!("[capture]\nexclude_columns = [\"{name}.*.Secret\"]\n"))
    });
    for table in ["a", "b"] {
        create(&task, table, 40).await;
    }
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "ALTER TABLE a ADD secret INT, ADD k INT"]).await;
    run(&mut mysql, &["UPDATE a SET secret = id * 3, k = id"]).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    let columns = async || {
        let postgres = task.servers.postgres().await;
        let sql = format!(
            "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns \
             WHERE table_schema = '{}' AND table_name = 'a'",
            task.name
        );
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    };
    eventually("a is there without the column", RUN, || async { columns().await == "at,id,k,n,s" }).await;
    run(&mut mysql, &["ALTER TABLE a RENAME COLUMN secret TO code", "UPDATE a SET n = -1 WHERE id = 5"])
        .await;
    eventually("the column is there", RUN, || async { columns().await == "at,code,id,k,n,s" }).await;
    eventually_equal(&task, "a", "the column came with its values").await;
    run(&mut mysql, &["ALTER TABLE a RENAME COLUMN code TO SECRET"]).await;
    eventually("the column is gone again", RUN, || async { columns().await == "at,id,k,n,s" }).await;
    capture.stop();
    apply.stop();

    // A key that must not be published any more.
    let text = std::fs::read_to_string(&task.config).unwrap();
    std::fs::write(&task.config, text.replace(".*.Secret\"]", ".*.Secret\", \"*.a.id\"]")).unwrap();
    let before = tributary_tests::topics::read_topic(&task, "a").len();
    run(&mut mysql, &["UPDATE a SET n = n + 1"]).await;
    let capture = task.start("capture", &["run"]);
    eventually("a is parked", RUN, || async {
        let status = capture.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        // Before that it is parked for a moment to be read anew.
        tables.iter().any(|table| table["error"]["code"] == "table-not-replicable")
    })
    .await;
    assert_eq!(tributary_tests::topics::read_topic(&task, "a").len(), before, "{}", capture.output());
}
