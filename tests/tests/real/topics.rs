//! Topics that cannot be, and topics that somebody else has laid hands on: each costs its own table at most.

use mysql_async::prelude::Queryable;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{TABLE, create};
use tributary_tests::oracle::{assert_table_equal, eventually_equal};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::visit_topic;

const SOON: Duration = Duration::from_secs(90);

pub(crate) fn admin(task: &Task) -> AdminClient<DefaultClientContext> {
    rdkafka::ClientConfig::new().set("bootstrap.servers", task.servers.get("KAFKA_BROKERS")).create().unwrap()
}

pub(crate) async fn delete(admin: &AdminClient<DefaultClientContext>, topic: &str) {
    let results = admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// The state of a table in `/status`, and its error.
fn table(process: &Process, name: &str) -> (String, String) {
    let found = process.table(name).unwrap_or_default();
    (found["state"].as_str().unwrap_or_default().to_owned(), found["error"].to_string())
}

#[tokio::test]
async fn a_table_whose_topic_cannot_be_costs_that_table_only() {
    let task = Task::new("unnamed");
    create(&task, "good", 10).await;
    create(&task, "a_x002Db", 10).await;
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    // Created under the pattern while capture runs: the same topic, one that Kafka takes for the same, and one too long.
    let mut mysql = task.servers.mysql().await;
    let long = "名".repeat(41);
    let other = format!("{}.good", task.name);
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for name in ["a-b", &long] {
        mysql.query_drop(format!("CREATE TABLE `{name}` ({TABLE})")).await.unwrap();
        mysql.query_drop(format!("INSERT INTO `{name}` VALUES (1, 1, 'x', NULL)")).await.unwrap();
    }
    mysql.query_drop("UPDATE good SET n = n + 1").await.unwrap();
    eventually("both are shown as left out", SOON, || async {
        let excluded = |name: &str, why: &str| {
            let (state, error) = table(&capture, &format!("{}.{name}", task.name));
            state == "excluded" && error.contains(why)
        };
        excluded("a-b", "would both have the topic") && excluded(&long, "Kafka allows 249")
    })
    .await;
    eventually("the others go on", SOON, || async { table(&capture, &other).0 == "synchronizing" }).await;
    capture.stop();
    // At the next start they are left out in the same words, and `check` says the same.
    task.catch_up();
    assert_table_equal(&task, "good").await;
    assert_table_equal(&task, "a_x002Db").await;
    let mut check = task.start("capture", &["check"]);
    check.wait(SOON);
    assert!(check.output().contains("would both have the topic"), "{}", check.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_or_has_more_partitions_costs_one_read_of_its_table() {
    let task = Task::new("handled");
    for name in ["a", "b", "c", "d"] {
        create(&task, name, 20).await;
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let admin = admin(&task);
    let topic = |table: &str| format!("{0}.{0}.{table}", task.name);
    delete(&admin, &topic("a")).await;
    let more = topic("b");
    let results =
        admin.create_partitions(&[NewPartitions::new(&more, 6)], &AdminOptions::new()).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for name in ["a", "b", "c", "d"] {
        mysql.query_drop(format!("DELETE FROM {name} WHERE id = 3")).await.unwrap();
        mysql.query_drop(format!("UPDATE {name} SET n = -1 WHERE id < 10")).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        eventually_equal(&task, name, "while both run").await;
    }
    assert!(capture.is_running() && apply.is_running(), "{}{}", capture.output(), apply.output());
    capture.stop();
    apply.stop();
    // And while nobody runs: one is gone, one is another of the same name.
    for name in ["c", "d"] {
        delete(&admin, &topic(name)).await;
    }
    let again = topic("d");
    let created = NewTopic::new(&again, 4, TopicReplication::Fixed(1));
    eventually("the topic is made by somebody", SOON, || async {
        let results = admin.create_topics([&created], &AdminOptions::new()).await.unwrap();
        results.iter().all(Result::is_ok)
    })
    .await;
    for name in ["c", "d"] {
        mysql.query_drop(format!("DELETE FROM {name} WHERE id = 4")).await.unwrap();
    }
    task.catch_up();
    for name in ["a", "b", "c", "d"] {
        assert_table_equal(&task, name).await;
    }
    // A rebuild from the topics alone.
    task.start("apply", &["replay", "--from", "beginning", "--clear", "--yes"]).expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    for name in ["a", "b", "c", "d"] {
        assert_table_equal(&task, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_anew_while_nobody_ran_and_stays_empty_is_noticed() {
    let task = Task::new("remade");
    // Nothing was read of one; the other's records came after a re-read. Only what was seen of their topics tells.
    for name in ["streamed", "short"] {
        create(&task, name, 0).await;
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql.query_drop("INSERT INTO streamed VALUES (1, 1, 'x', NULL), (2, 2, 'y', NULL)").await.unwrap();
    eventually_equal(&task, "streamed", "before").await;
    capture.stop();
    apply.stop();
    // A session that is too short for a look of its own.
    mysql.query_drop("INSERT INTO short VALUES (1, 1, 'x', NULL)").await.unwrap();
    task.catch_up();
    let admin = admin(&task);
    for name in ["streamed", "short"] {
        let topic = format!("{0}.{0}.{name}", task.name);
        delete(&admin, &topic).await;
        let created = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
        eventually("the topic is made by somebody", SOON, || async {
            let results = admin.create_topics([&created], &AdminOptions::new()).await.unwrap();
            results.iter().all(Result::is_ok)
        })
        .await;
    }
    let mut capture = task.start("capture", &["run", "--until-caught-up"]);
    capture.expect_exit(0, RUN);
    for (name, rows) in [("streamed", 2), ("short", 1)] {
        let mut reads = 0;
        visit_topic(&task, &format!("{name}.r2"), |record| {
            reads += u32::from(record.sequence.ends_with('r'))
        });
        assert_eq!(reads, rows, "{name}: {}", capture.output());
    }
    // Once is enough, and the topics alone have it all.
    let mut capture = task.start("capture", &["run", "--until-caught-up"]);
    capture.expect_exit(0, RUN);
    assert!(!capture.output().contains("created anew"), "{}", capture.output());
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    task.start("apply", &["replay", "--from", "beginning", "--clear", "--yes"]).expect_exit(0, RUN);
    task.catch_up();
    for name in ["streamed", "short"] {
        assert_table_equal(&task, name).await;
    }
}

/// True once the target of table `a` has this column.
async fn has_column(task: &Task, column: &str) -> bool {
    let sql = "SELECT FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'a' AND column_name = $2";
    task.servers.postgres().await.query(sql, &[&task.name, &column]).await.unwrap().len() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_the_task_itself_that_is_deleted_is_written_again() {
    let (mut tasks, mut mysql) = (Vec::new(), Servers::shared().mysql().await);
    for (name, own) in
        [("stateless", &["state"][..]), ("unhistoried", &["history"]), ("ownerless", &["state", "history"])]
    {
        let task = Task::new(name);
        create(&task, "a", 10).await;
        create(&task, "kept", 500).await;
        let (mut capture, mut apply) = (task.capture(), task.apply());
        for process in [&mut capture, &mut apply] {
            process.expect_state("synchronizing", RUN);
        }
        mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
        for statement in ["TRUNCATE TABLE a", "ALTER TABLE a ADD COLUMN added INT DEFAULT 3"] {
            mysql.query_drop(statement).await.unwrap();
        }
        eventually("the column is there", RUN, || has_column(&task, "added")).await;
        mysql.query_drop("INSERT INTO a (id, n, s) VALUES (1, 1, 'x')").await.unwrap();
        eventually_equal(&task, "a", "before").await;
        tasks.push((task, own, capture, apply));
    }
    for (task, own, ..) in &tasks {
        for own in *own {
            delete(&admin(task), &format!("{}.{own}", task.name)).await;
        }
        mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
        for statement in [
            "INSERT INTO a (id, n, s) VALUES (2, 1, 'x')",
            "ALTER TABLE a ADD COLUMN meanwhile INT DEFAULT 4",
            "INSERT INTO a (id, n, s) VALUES (3, 1, 'x')",
            "DELETE FROM kept WHERE id < 7",
        ] {
            mysql.query_drop(statement).await.unwrap();
        }
    }
    for (task, _, capture, apply) in &mut tasks {
        eventually("the column is there", RUN, || has_column(task, "meanwhile")).await;
        for name in ["a", "kept"] {
            eventually_equal(task, name, "though a topic of its own was deleted").await;
        }
        assert!(capture.is_running() && apply.is_running(), "{}{}", capture.output(), apply.output());
        assert!(capture.output().contains("written again from memory"), "{}", capture.output());
        // Goes on by itself: rows were read once, the topic is the one that it was.
        let mut reads = 0;
        visit_topic(task, "kept", |record| reads += u32::from(record.sequence.ends_with('r')));
        assert_eq!(reads, 500, "{}", capture.output());
        mysql
            .query_drop(format!("ALTER TABLE `{}`.a ADD COLUMN late INT DEFAULT 5", task.name))
            .await
            .unwrap();
        eventually("the column is there", RUN, || has_column(task, "late")).await;
        eventually_equal(task, "a", "after that").await;
        capture.stop();
        apply.stop();
        mysql.query_drop(format!("DELETE FROM `{}`.kept WHERE id < 9", task.name)).await.unwrap();
        task.catch_up();
        task.start("apply", &["replay", "--from", "beginning", "--clear", "--yes"]).expect_exit(0, RUN);
        task.catch_up();
        for name in ["a", "kept"] {
            assert_table_equal(task, name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_the_task_itself_that_was_deleted_while_nobody_ran_has_a_way_out() {
    for own in ["state", "history"] {
        let task = Task::new("forgotten");
        create(&task, "a", 10).await;
        task.catch_up();
        delete(&admin(&task), &format!("{}.{own}", task.name)).await;
        let mut mysql = task.servers.mysql().await;
        mysql.query_drop(format!("DELETE FROM `{}`.a WHERE id = 4", task.name)).await.unwrap();
        // What it held is not guessed at.
        let mut again = task.start("capture", &["run", "--until-caught-up"]);
        again.expect_exit(1, SOON);
        assert!(again.output().contains("begin anew: `capture drop`"), "{}", again.output());
        task.start("capture", &["drop", "--yes"]).expect_exit(0, SOON);
        task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
        let mut apply = task.start("apply", &["run", "--until-caught-up"]);
        // Its offsets, which belong to the old topic, lie behind all ends.
        apply.expect_exit(1, RUN);
        let remedy = format!("apply replay --from beginning --clear --table {}.a", task.name);
        assert!(apply.output().contains("topic-recreated"), "{}", apply.output());
        assert!(apply.output().contains("apply replay --from beginning --clear"), "{}", apply.output());
        let words: Vec<&str> = remedy.split(' ').skip(1).collect();
        task.start("apply", &words).expect_exit(0, RUN);
        task.catch_up();
        assert_table_equal(&task, "a").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_does_not_fit_its_topic_costs_its_table_and_a_long_statement_nothing() {
    let task = Task::with("oversized", tributary_tests::servers::Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nmax_message_bytes = 100000\n")
    });
    for name in ["long", "wide"] {
        create(&task, name, 5).await;
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    let columns: Vec<String> =
        (0..150).map(|number| format!("ADD COLUMN c{number} INT COMMENT '{}'", "x".repeat(1000))).collect();
    mysql.query_drop(format!("ALTER TABLE wide {}", columns.join(", "))).await.unwrap();
    let comment = "y".repeat(200_000);
    mysql
        .query_drop(format!("ALTER TABLE `long` /* {comment} */ ADD COLUMN added INT NOT NULL DEFAULT 7"))
        .await
        .unwrap();
    mysql.query_drop("UPDATE `long` SET n = n + 1").await.unwrap();
    eventually("the wide table is parked", SOON, || async {
        let (state, error) = table(&capture, &format!("{}.wide", task.name));
        state == "parked" && error.contains("definition-too-large")
    })
    .await;
    eventually_equal(&task, "long", "followed").await;
    capture.stop();
    apply.stop();
    // Mended, it is read anew.
    let drops: Vec<String> = (0..150).map(|number| format!("DROP COLUMN c{number}")).collect();
    mysql.query_drop(format!("ALTER TABLE wide {}", drops.join(", "))).await.unwrap();
    task.catch_up();
    for name in ["long", "wide"] {
        assert_table_equal(&task, name).await;
    }
}
