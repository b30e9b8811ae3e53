//! Writes that never stop: during the load, across DDL, with several instances of apply.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{assert_equal, eventually_equal};
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn a_load_under_writes_and_ddl_with_two_instances_ends_in_equality() {
    let task = Task::with("live", tributary_tests::servers::Servers::shared(), |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    });
    create(&task, "a", 30_000).await;
    create(&task, "b", 10_000).await;
    let writers = [
        Writer::start(&task.servers, &task.name, "a", 40_000, 2, 1),
        Writer::start(&task.servers, &task.name, "b", 12_000, 1, 2),
    ];
    let capture = task.capture();
    let (mut first, mut second) = (task.apply(), task.apply());
    eventually("both tables are synchronizing", RUN, || async {
        let Some(status) = capture.status() else { return false };
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.len() == 2 && tables.iter().all(|table| table["state"] == "synchronizing")
    })
    .await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql
        .query_drop("ALTER TABLE a ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'none' AFTER n")
        .await
        .unwrap();
    mysql.query_drop("TRUNCATE TABLE b").await.unwrap();
    mysql.query_drop("UPDATE a SET note = 'seen' WHERE id % 100 = 0").await.unwrap();
    mysql
        .query_drop("ALTER TABLE a ADD COLUMN extra INT, ADD COLUMN price DECIMAL(8,2) DEFAULT 9.50")
        .await
        .unwrap();
    let before = writers[0].transactions();
    eventually("writes went on behind the DDL", RUN, || async { writers[0].transactions() > before + 200 })
        .await;
    for writer in writers {
        writer.stop().await;
    }
    drop(capture);
    first.stop();
    second.stop();
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_ends_in_equality_without_a_doubled_event() {
    let task = Task::with("killed", tributary_tests::servers::Servers::shared(), |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    });
    create(&task, "a", 20_000).await;
    let writer = Writer::start(&task.servers, &task.name, "a", 25_000, 2, 3);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..4 {
        let (mut capture, mut apply) = (task.capture(), task.apply());
        eventually("both answer", RUN, || async { capture.status().is_some() && apply.status().is_some() })
            .await;
        // A moment of the seed's choosing, by what was written meanwhile.
        let until = writer.transactions() + random.u64(200..1500);
        eventually("the moment", RUN, || async { writer.transactions() >= until }).await;
        capture.kill();
        apply.kill();
    }
    writer.stop().await;
    task.catch_up();
    assert_equal(&task).await;
    let records = tributary_tests::topics::read_topic(&task, "a");
    let mut seen = std::collections::HashSet::new();
    for record in records.iter().filter(|record| !record.sequence.ends_with(":r")) {
        let fresh = seen.insert((record.sequence.clone(), record.key.clone(), record.value.is_none()));
        assert!(fresh, "published twice: {record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_arrives_within_seconds() {
    let task = Task::new("Late-ncy");
    create(&task, "a", 10).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    apply.expect_state("synchronizing", RUN);
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("INSERT INTO `{}`.a VALUES (77, 1, 'new', NULL)", task.name)).await.unwrap();
    let postgres = task.servers.postgres().await;
    let sql = format!("SELECT count(*) FROM \"{}\".a WHERE id = 77", task.name);
    eventually("the row is there", Duration::from_secs(30), || async {
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(apply.get("/readyz").map(|(code, _)| code), Some(200));
    assert_eq!(capture.get("/healthz").map(|(code, _)| code), Some(200));
    // What is there already cannot be copied straight into the target.
    mysql.query_drop(format!("UPDATE `{}`.a SET n = 2 WHERE id = 77", task.name)).await.unwrap();
    let of_capture = ["commit"].map(|name| (&capture, "capture", name));
    let of_apply = ["commit", "flush", "merge", "latency"].map(|name| (&apply, "apply", name));
    for (process, service, name) in of_capture.into_iter().chain(of_apply) {
        let sample = |part: &str| {
            let start =
                format!("tributary_{name}_seconds_{part}{{service=\"{service}\",task=\"{}\"}} ", task.name);
            let (_, metrics) = process.get("/metrics")?;
            metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok())
        };
        eventually(name, RUN, || async { sample("count").is_some_and(|count| count >= 1.0) }).await;
        let mean = sample("sum").unwrap() / sample("count").unwrap();
        // The row was there within 30 s; of its own time the source tells the whole second.
        assert!(mean > 0.0 && mean < 31.0, "{service} {name}: {mean} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_dropped_renamed_widened_and_moved_in_stream_order() {
    let task = Task::new("alter");
    create(&task, "a", 500).await;
    let (mut capture, mut first, mut second) = (task.capture(), task.apply(), task.apply());
    capture.expect_state("synchronizing", RUN);
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in [
        "UPDATE a SET s = 'before' WHERE id < 100",
        "ALTER TABLE a RENAME COLUMN s TO label, ADD COLUMN b BIT(3) NOT NULL",
        "UPDATE a SET label = 'after', b = b'101' WHERE id BETWEEN 50 AND 150",
        "ALTER TABLE a MODIFY COLUMN n BIGINT NOT NULL",
        "UPDATE a SET n = 5000000000 WHERE id < 10",
        "ALTER TABLE a DROP COLUMN at",
        "INSERT INTO a (id, n, label, b) VALUES (9000, 1, 'x', 1)",
        // Rows change without row events: the table is read anew.
        "ALTER TABLE a ADD COLUMN stamp DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        "DELETE FROM a WHERE id = 3",
        "RENAME TABLE a TO away",
        "CREATE TABLE a (id INT PRIMARY KEY, other TEXT)",
        "INSERT INTO a VALUES (1, 'new')",
    ] {
        mysql.query_drop(statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
    let settled = async |table: &str| {
        let expected = tributary_tests::oracle::source_rows(&task, table).await;
        tributary_tests::oracle::destination_rows(&task, table).await == expected
    };
    eventually("the renamed table is there", RUN, || async {
        let postgres = task.servers.postgres().await;
        let sql = format!("SELECT to_regclass('\"{}\".away') IS NOT NULL", task.name);
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) && settled("away").await
    })
    .await;
    capture.stop();
    first.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_falls_silent_is_noticed_and_waited_for() {
    let servers = tributary_tests::servers::Servers::up("test-frozen", &[]);
    let task = Task::with("silent", &servers, |config| {
        let quick = "heartbeat_ms = 1000\nread_deadline_ms = 3000\nconnect_timeout_ms = 2000\n";
        config.replace("retry_minutes = 2\n\n[kafka]", &format!("retry_minutes = 5\n{quick}\n[kafka]"))
    });
    create(&task, "a", 10).await;
    let (mut capture, apply) = (task.capture(), task.apply());
    let shown = |process: &tributary_tests::process::Process| {
        let status = process.status().unwrap_or_default();
        let lag = status["tables"][0]["lag_seconds"].as_f64();
        let ready = process.get("/readyz").map(|(code, _)| code);
        (status["state"].as_str().unwrap_or_default().to_owned(), lag, ready)
    };
    let state = |process: &tributary_tests::process::Process| {
        process.status().map(|status| status["state"].as_str().unwrap_or_default().to_owned())
    };
    eventually("in step", RUN, || async { state(&capture).as_deref() == Some("synchronizing") }).await;
    // Heartbeats keep an idle stream alive past the deadline.
    let quiet = std::time::Instant::now() + Duration::from_secs(5);
    eventually("an idle while", RUN, || async { std::time::Instant::now() > quiet }).await;
    assert!(!capture.output().contains("heartbeat"), "{}", capture.output());
    eventually("apply hears capture", RUN, || async {
        let (_, lag, ready) = shown(&apply);
        lag.is_some_and(|lag| lag < 5.0) && ready == Some(200)
    })
    .await;
    let freeze = |signal: &str| {
        let status = std::process::Command::new("kill").args([signal, servers.get("MYSQL_PID")]).status();
        assert!(status.unwrap().success());
    };
    freeze("-STOP");
    eventually("the silence is noticed", RUN, || async { state(&capture).as_deref() == Some("retrying") })
        .await;
    // The longer nothing is heard, the further behind everything is said to be: also by apply, which is at the end of what
    // came.
    eventually("capture's lag grows", RUN, || async { shown(&capture).1.is_some_and(|lag| lag > 10.0) })
        .await;
    eventually("apply says so as well", RUN, || async {
        let (state, lag, ready) = shown(&apply);
        state == "catching-up" && lag.is_some_and(|lag| lag > 15.0) && ready == Some(503)
    })
    .await;
    freeze("-CONT");
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = 99", task.name)).await.unwrap();
    eventually_equal(&task, "a", "it goes on").await;
    let fresh = |(state, lag, ready): (String, Option<f64>, Option<u16>)| {
        state == "synchronizing" && lag.is_some_and(|lag| lag < 5.0) && ready == Some(200)
    };
    eventually("both are in step", RUN, || async { fresh(shown(&capture)) && fresh(shown(&apply)) }).await;
    assert!(capture.is_running(), "{}", capture.output());
    drop(apply);
    servers.discard();
}
