//! One-to-many: tasks that read the topics of another one, begun at any time, each into tables of its own.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// A copy of everything that `origin` has, as it is called there.
async fn copy(number: usize, origin: &Task) -> Task {
    let rules = format!("[[table]]\nsource = \"{}.*\"\ntarget = \"copy_{number}.{{table}}\"\n", origin.name);
    let database = format!("copies_of_{}", origin.name);
    Task::reading(&format!("copy{number}"), &[origin], &database, &rules).await
}

/// Rows that one of two tables of a database has and the other has not.
async fn differences(task: &Task, left: &str, right: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM ((TABLE {left} EXCEPT ALL TABLE {right}) UNION ALL (TABLE {right} EXCEPT ALL TABLE {left})) d"
    );
    task.servers.postgres().await.query_one(&sql, &[]).await.unwrap().get(0)
}

async fn count(task: &Task, sql: &str) -> i64 {
    task.servers.postgres().await.query_one(sql, &[]).await.unwrap().get(0)
}

fn run(task: &Task, command: &[&str], status: i32) -> String {
    let mut process = task.start("apply", command);
    process.expect_exit(status, RUN);
    process.output()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_tasks_read_one_capture_five_of_them_from_what_is_left_in_the_topics() {
    let origin = Task::new("origin");
    for table in ["a", "b", "c"] {
        create(&origin, table, 2_000).await;
    }
    let writers = ["a", "b"].map(|table| Writer::start(&origin.servers, &origin.name, table, 3_000, 1, 7));
    let mut capture = origin.capture();
    let mut copies = Vec::new();
    for number in 0..5 {
        copies.push(copy(number, &origin).await);
    }
    // From here on they run beside the capture, and one has no table that another has.
    let mut applies: Vec<Process> = copies.iter().map(Task::apply).collect();
    eventually("every copy is fed", RUN, || async {
        applies.iter().all(|apply| apply.status().is_some_and(|status| status["role"] == "leader"))
    })
    .await;
    let mut mysql = origin.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", origin.name)).await.unwrap();
    for statement in [
        "ALTER TABLE a ADD COLUMN d INT NOT NULL DEFAULT 3",
        "TRUNCATE TABLE c",
        "ALTER TABLE b DROP COLUMN s",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    mysql.query_drop("INSERT INTO c (id, n, s) VALUES (1, 1, 'behind')").await.unwrap();
    applies[0].kill();
    applies[0] = copies[0].apply();
    for writer in writers {
        writer.stop().await;
    }
    capture.stop();
    origin.catch_up();
    assert_equal(&origin).await;
    for apply in &mut applies {
        apply.stop();
    }
    // Those of before, and four that begin now that nobody asks the source anything.
    for number in 5..9 {
        copies.push(copy(number, &origin).await);
    }
    for (number, task) in copies.iter().enumerate() {
        run(task, &["run", "--until-caught-up"], 0);
        for table in ["a", "b", "c"] {
            let copied = format!("copy_{number}.{table}");
            assert_eq!(
                differences(task, &format!("copy_0.{table}"), &copied).await,
                0,
                "{table} of {number}"
            );
        }
    }
    // The tenth has some tables, columns and operations only, under other names.
    let rules = format!(
        "operations = [\"insert\", \"update\", \"alter\"]\n[[table]]\nsource = \"{0}.a\"\ntarget = \"{{task}}.kept\"\n\
         columns = {{ drop = [\"s\"], rename = {{ n = \"number\" }} }}\n",
        origin.name
    );
    let narrow = Task::reading("narrow", &[&origin], &format!("copies_of_{}", origin.name), &rules).await;
    run(&narrow, &["run", "--until-caught-up"], 0);
    let kept =
        format!("SELECT count(*) FROM \"{0}\".kept k JOIN copy_0.a USING (id) WHERE number = n", origin.name);
    assert_eq!(count(&narrow, &kept).await, count(&narrow, "SELECT count(*) FROM copy_0.a").await);

    // To compare with a source takes a capture that follows it.
    let mut capture = origin.capture();
    let with_source = ["verify", "--source", &origin.config.to_string_lossy()];
    let green = run(&copies[0], &with_source, 0);
    assert!(green.contains("copy_0.c"), "{green}");
    narrow.servers.postgres().await.batch_execute("UPDATE copy_8.c SET n = 9").await.unwrap();
    let red = run(&copies[8], &with_source, 3);
    assert!(red.contains("id=1"), "{red}");
    let blind = run(&copies[8], &["verify"], 2);
    assert!(blind.contains("--source"), "{blind}");

    // One is dropped: its bookkeeping goes, and nothing of the others.
    let others = "SELECT count(*) FROM tributary.offsets WHERE task <> ";
    let before = count(&copies[1], &format!("{others}'{}'", copies[1].name)).await;
    let dropped = run(&copies[1], &["drop", "--yes"], 0);
    assert!(dropped.contains("not touched"), "{dropped}");
    assert_eq!(count(&copies[1], "SELECT count(*) FROM tributary.offsets").await, before);
    assert!(count(&copies[1], "SELECT count(*) FROM copy_1.a").await > 0);
    mysql.query_drop("UPDATE a SET n = n + 1").await.unwrap();
    let apply = copies[2].apply();
    run(&copies[2], &with_source, 0);
    drop(apply);
    capture.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_reads_the_captures_of_two_servers() {
    let shared = Servers::shared();
    let second = Servers::named("second");
    second.control(&["up", "mysql"]);
    let second = second.read_variables();
    let elsewhere = shared.with_source_of(&second);
    let database = Task::new("both").name;
    let [east, west] = [("east", shared), ("west", &elsewhere)].map(|(name, servers)| {
        Task::with(name, servers, |text| {
            let own = text.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
            text.replace(&format!("{own}.*"), &format!("{database}.*"))
        })
    });
    // The same names and schema ids on both sides, and other rows.
    for (task, rows) in [(&east, 300), (&west, 500)] {
        let mut mysql = task.servers.mysql().await;
        mysql.query_drop(format!("CREATE DATABASE `{database}`")).await.unwrap();
        for table in ["a", "b"] {
            let sql = format!(
                "CREATE TABLE `{database}`.{table} (id INT PRIMARY KEY, s VARCHAR(40)) AS WITH RECURSIVE n AS (SELECT 1 AS id \
                 UNION ALL SELECT id + 1 FROM n WHERE id < {rows}) SELECT id, concat('{}', id) AS s FROM n",
                task.name
            );
            mysql.query_drop(sql).await.unwrap();
        }
    }
    let rules = format!(
        "[[table]]\nsource = \"{database}.*\"\ntarget = \"{{task}}.{{table}}\"\n[[table]]\nsource = \"{}:{database}.b\"\n\
         target = \"{{task}}.other\"\n",
        west.name
    );
    let both = Task::reading("both", &[&east, &west], &format!("copies_{database}"), &rules).await;
    let table = |task: &Task, table: &str| format!("{}:{database}.{table}", task.name);
    let follows = |apply: &Process, task: &Task| {
        ["a", "b"].iter().all(|name| {
            apply.table(&table(task, name)).is_some_and(|table| table["state"] == "synchronizing")
        })
    };
    // One that has never captured anything does not hold up the other.
    let east_capture = east.capture();
    let apply = both.apply();
    eventually("the east is followed", RUN, || async { follows(&apply, &east) }).await;
    assert!(apply.table(&table(&west, "a")).is_none());
    let mut captures = [east_capture, west.capture()];
    eventually("the west is followed", RUN, || async { follows(&apply, &west) }).await;
    // DDL of one side is its own affair.
    let mut mysql = west.servers.mysql().await;
    mysql.query_drop(format!("USE `{database}`")).await.unwrap();
    for statement in
        ["ALTER TABLE a ADD COLUMN w INT DEFAULT 5", "TRUNCATE TABLE b", "INSERT INTO b VALUES (7, 'new')"]
    {
        mysql.query_drop(statement).await.unwrap();
    }
    let schema = |task: &Task| format!("\"{}\"", task.name);
    let settled = format!(
        "SELECT count(*) FROM {0}.a JOIN (SELECT count(*) AS n FROM {0}.other WHERE id = 7) o ON n = 1 WHERE w = 5",
        schema(&west)
    );
    eventually("the west's changes are there", RUN, || async {
        let found = both.servers.postgres().await.query_one(&settled, &[]).await;
        found.is_ok_and(|row| row.get::<_, i64>(0) == 500)
    })
    .await;
    assert_eq!(count(&both, &format!("SELECT count(*) FROM {}.b", schema(&east))).await, 300);
    // The one whose capture is gone is shown as such, and the other goes on.
    eventually("both captures were heard", RUN, || async {
        apply.status().is_some_and(|status| {
            let contacts = status["contacts"].as_array().cloned().unwrap_or_default();
            contacts.len() == 2 && contacts.iter().all(|contact| contact["seconds_ago"].is_number())
        })
    })
    .await;
    captures[1].kill();
    eventually("the west is not heard any more", RUN, || async {
        apply.status().is_some_and(|status| {
            status["contact"]["lost"] == true && status["contact"]["task"] == west.name.as_str()
        })
    })
    .await;
    let mut mysql = east.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{database}`.a SET s = 'changed'")).await.unwrap();
    let changed = format!("SELECT count(*) FROM {}.a WHERE s = 'changed'", schema(&east));
    eventually("the east goes on", RUN, || async { count(&both, &changed).await == 300 }).await;
    let state = |task: &Task| apply.table(&table(task, "a")).map(|table| table["state"].clone());
    assert_eq!(state(&east), Some("synchronizing".into()));
    assert_eq!(state(&west), Some("catching-up".into()));
    captures[1] = west.capture();
    let sources = format!("{},{}", east.config.display(), west.config.display());
    let verified = run(&both, &["verify", "--source", &sources], 0);
    assert!(verified.contains(&table(&east, "b")) && verified.contains(&table(&west, "b")), "{verified}");
    let one =
        run(&both, &["verify", "--source", &west.config.to_string_lossy(), "--table", &table(&west, "a")], 0);
    assert!(!one.contains(&table(&east, "a")), "{one}");
    captures.iter_mut().for_each(Process::stop);
    drop(apply);
    second.discard();
}
