//! What sources do that is out of the ordinary: XA that is prepared or rolled back, statements in old character sets, no
//! GTIDs.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::{assert_equal, assert_table_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_understood_in_the_character_set_of_its_client() {
    let task = Task::new("client_charset");
    create(&task, "a", 5).await;
    task.catch_up();
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "SET character_set_client = latin1"]).await;
    // As bytes, because the driver's strings are UTF-8: "é" in latin1.
    let mut statement = b"ALTER TABLE a ADD COLUMN c VARCHAR(9) NOT NULL DEFAULT 'caf\xe9', ".to_vec();
    statement.extend_from_slice(b"ADD COLUMN e ENUM('\xe9', 'e') NOT NULL");
    mysql.query_drop(statement).await.unwrap();
    run(&mut mysql, &["SET NAMES utf8mb4", "INSERT INTO a (id, n, s, e) VALUES (70, 1, 'x', 'e')"]).await;
    task.catch_up();
    assert_equal(&task).await;
    let postgres = task.servers.postgres().await;
    let sql = format!("SELECT DISTINCT c FROM \"{}\".a", task.name);
    assert_eq!(postgres.query_one(&sql, &[]).await.unwrap().get::<_, &str>(0), "café");
}

/// Only a transaction that mixes engines is in the binlog at all when it is rolled back, and with GTIDs there is none.
async fn xa_that_is_rolled_back(task: &Task, mysql: &mut mysql_async::Conn) {
    run(mysql, &["SET GLOBAL enforce_gtid_consistency = OFF"]).await;
    run(mysql, &["CREATE TABLE m (id INT PRIMARY KEY AUTO_INCREMENT, s VARCHAR(9)) ENGINE = MyISAM"]).await;
    run(mysql, &["CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW INSERT INTO m (s) VALUES ('stays')"]).await;
    run(mysql, &["XA START 'x1'", "UPDATE a SET n = -1 WHERE id < 5", "XA END 'x1'", "XA ROLLBACK 'x1'"])
        .await;
    run(mysql, &["UPDATE a SET n = 77 WHERE id = 8"]).await;
    // A session that goes away is rolled back by the server.
    let mut leaves = task.servers.mysql().await;
    run(&mut leaves, &[&format!("USE `{}`", task.name), "XA START 'x2'"]).await;
    run(&mut leaves, &["UPDATE a SET n = -2 WHERE id < 3"]).await;
    leaves.disconnect().await.unwrap();
    eventually("the session's rows are unlocked", RUN, || async {
        let mut mysql = task.servers.mysql().await;
        mysql.query_drop("SET innodb_lock_wait_timeout = 1").await.unwrap();
        mysql.query_drop(format!("UPDATE `{}`.a SET n = 88 WHERE id = 2", task.name)).await.is_ok()
    })
    .await;
    // A part is rolled back, the rest committed.
    run(mysql, &["XA START 'x3'", "UPDATE a SET n = 5 WHERE id = 11", "SAVEPOINT s"]).await;
    run(mysql, &["UPDATE a SET n = -3 WHERE id = 12", "ROLLBACK TO s", "XA END 'x3'"]).await;
    run(mysql, &["XA COMMIT 'x3' ONE PHASE", "UPDATE a SET n = 78 WHERE id = 9"]).await;
}

/// How often each record is in the topic of `a`: by sequence, key, and whether it is a tombstone.
fn records_by_sequence(task: &Task) -> std::collections::BTreeMap<(String, Vec<u8>, bool), u32> {
    let mut seen = std::collections::BTreeMap::new();
    tributary_tests::topics::visit_topic(task, "a", |record| {
        *seen.entry((record.sequence, record.key, record.value.is_none())).or_insert(0) += 1;
    });
    seen
}

/// The rows of a prepared transaction come from before the place up to which all is published, in another file, and its table is
/// not read for them.
async fn xa_across_a_kill(task: &Task, mysql: &mut mysql_async::Conn) {
    let before = records_by_sequence(task);
    prepare(task, "n0", &["UPDATE a SET n = 4000 WHERE id BETWEEN 90 AND 99"]).await;
    prepare(
        task,
        "n1",
        &["UPDATE a SET n = 4001 WHERE id BETWEEN 100 AND 110", "DELETE FROM a WHERE id = 111"],
    )
    .await;
    prepare(task, "n2", &["INSERT INTO a (id, n, s) VALUES (900000, 1, 'never')"]).await;
    run(mysql, &["XA COMMIT 'n0'", "UPDATE a SET n = 4002 WHERE id BETWEEN 120 AND 130"]).await;
    run(
        mysql,
        &["CREATE TABLE aside (id INT PRIMARY KEY)", "FLUSH BINARY LOGS", "ALTER TABLE aside ADD c INT"],
    )
    .await;
    run(mysql, &["SET SESSION binlog_transaction_compression = ON", "UPDATE a SET n = 4003 WHERE id = 131"])
        .await;
    task.start("capture", &["run", "--until-caught-up", "--ignore", "gtid-mode"]).expect_exit(0, RUN);
    let mut killed = task.start("capture", &["run", "--ignore", "gtid-mode"]);
    killed.expect_state("synchronizing", RUN);
    killed.kill();
    // An earlier transaction may have had the same name.
    run(mysql, &["XA COMMIT 'n1'", "XA ROLLBACK 'n2'", "UPDATE a SET n = 4004 WHERE id = 132"]).await;
    let mut last = task.start("capture", &["run", "--until-caught-up", "--ignore", "gtid-mode"]);
    last.expect_exit(0, RUN);
    assert!(!last.output().contains("XA transaction"), "the rows were not to be had: {}", last.output());
    // Rows whose number is a multiple of 7 are gone: 8 of n0, 10 and a delete with its tombstone of n1, 10, 1 and 1.
    let mut fresh = records_by_sequence(task);
    fresh.retain(|record, _| !before.contains_key(record));
    assert!(fresh.values().all(|&times| times == 1), "{fresh:?}");
    assert!(fresh.keys().all(|(sequence, ..)| !sequence.ends_with(":r")), "it was read: {fresh:?}");
    assert_eq!(fresh.len(), 32, "{fresh:?}");
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(task).await;
}

/// What `gtid_executed` keeps of an earlier time must not count as a place of the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_gtids_were_switched_off_is_followed_by_file_and_offset() {
    let servers = Servers::up("test-nogtid", &[]);
    let task = Task::with("nogtid", &servers, |config| config);
    create(&task, "a", 20_000).await;
    let mut mysql = servers.mysql().await;
    run(&mut mysql, &["SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = OFF_PERMISSIVE"]).await;
    run(&mut mysql, &["SET GLOBAL gtid_mode = OFF", &format!("USE `{}`", task.name)]).await;
    let capture = || task.start("capture", &["run", "--until-caught-up", "--ignore", "gtid-mode"]);
    capture().expect_exit(0, RUN);
    run(&mut mysql, &["UPDATE a SET n = n + 1; UPDATE a SET n = n + 1", "DELETE FROM a WHERE id % 7 = 0"])
        .await;
    capture().expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    let mut running = task.start("capture", &["run", "--ignore", "gtid-mode"]);
    running.expect_state("synchronizing", RUN);
    // The place that the new table waits for is in a file that nothing else is written to.
    run(&mut mysql, &["CREATE TABLE late (id INT PRIMARY KEY); FLUSH BINARY LOGS"]).await;
    eventually("a table joins a source that writes nothing more", RUN, || async {
        let tables = running.status().unwrap_or_default()["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().any(|table| {
            table["name"].as_str().is_some_and(|name| name.ends_with(".late"))
                && table["state"] == "synchronizing"
        })
    })
    .await;
    running.stop();
    xa_across_a_kill(&task, &mut mysql).await;
    xa_that_is_rolled_back(&task, &mut mysql).await;
    capture().expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    servers.discard();
}

/// A definition that changed without a word in the binlog.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_the_binlog_does_not_tell_of_is_read_anew_by_itself() {
    let task = Task::new("untold");
    create(&task, "a", 50).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    eventually_equal(&task, "a", "a is in step").await;
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "SET sql_log_bin = 0"]).await;
    run(&mut mysql, &["ALTER TABLE a ADD COLUMN untold VARCHAR(9) DEFAULT 'x'", "SET sql_log_bin = 1"]).await;
    run(&mut mysql, &["INSERT INTO a (id, n, s, untold) VALUES (777, 1, 'y', 'z')"]).await;
    let there =
        format!("SELECT count(*) FROM \"{}\".a AS t WHERE to_jsonb(t) ->> 'untold' IS NOT NULL", task.name);
    eventually("the column is there", RUN, || async {
        let postgres = task.servers.postgres().await;
        postgres.query_one(&there, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 51)
    })
    .await;
    // Once more, and the second time it is no less by itself than the first.
    run(&mut mysql, &["SET sql_log_bin = 0", "ALTER TABLE a DROP COLUMN untold", "SET sql_log_bin = 1"])
        .await;
    run(&mut mysql, &["UPDATE a SET n = n + 1"]).await;
    eventually("the column is gone", RUN, || async {
        let postgres = task.servers.postgres().await;
        postgres.query_one(&there, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 0)
    })
    .await;
    eventually_equal(&task, "a", "a is in step").await;
    assert!(!capture.output().contains("catalog-disagrees"), "{}", capture.output());
    capture.stop();
    apply.stop();
}

/// The old name stands for nothing once its table is renamed away: IF NOT EXISTS makes a table.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_takes_the_name_of_one_that_was_renamed_is_read() {
    let task = Task::new("renamed");
    create(&task, "a", 5).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let count = async |condition: &str| {
        let postgres = task.servers.postgres().await;
        let sql = format!("SELECT count(*) FROM \"{}\".a AS t WHERE {condition}", task.name);
        postgres.query_one(&sql, &[]).await.map_or(0, |row| row.get::<_, i64>(0))
    };
    eventually("a is there", RUN, || async { count("true").await == 5 }).await;
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "RENAME TABLE a TO away"]).await;
    run(&mut mysql, &["CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY, other TEXT)"]).await;
    run(&mut mysql, &["INSERT INTO a VALUES (1, 'new')"]).await;
    // By its columns as they are: those of the old table would be asked for in vain.
    eventually("the new one is there", RUN, || async { count("to_jsonb(t) ->> 'other' = 'new'").await == 1 })
        .await;
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
}

/// A table that gets another selected name is read there, and the old name's target keeps none of its rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_gets_another_selected_name_leaves_no_rows_behind() {
    let task = Task::new("renamed_into");
    for table in ["a", "b"] {
        create(&task, table, 30).await;
    }
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "UPDATE b SET n = n + 500"]).await;
    task.catch_up();
    let rows = async |table: &str| {
        let postgres = task.servers.postgres().await;
        let sql = format!("SELECT count(*) FROM \"{}\".\"{table}\"", task.name);
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(rows("a").await, 30);
    // The source is ahead of the stream.
    run(
        &mut mysql,
        &["RENAME TABLE a TO c", "UPDATE c SET n = -n", "INSERT INTO c (id, n, s) VALUES (99, 1, '')"],
    )
    .await;
    task.catch_up();
    assert_equal(&task).await;
    assert_eq!(rows("a").await, 0);
    // A swap by hand, step by step while both services work, and one in a single statement.
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    run(&mut mysql, &["RENAME TABLE b TO tmp", "RENAME TABLE c TO b", "RENAME TABLE tmp TO c"]).await;
    run(&mut mysql, &["DELETE FROM b WHERE id < 5", "UPDATE c SET n = 7 WHERE id = 9"]).await;
    eventually_equal(&task, "b", "b has what c had").await;
    eventually_equal(&task, "c", "c has what b had").await;
    run(&mut mysql, &["RENAME TABLE b TO tmp, c TO b, tmp TO c", "DELETE FROM c WHERE id = 8"]).await;
    eventually_equal(&task, "b", "b is back").await;
    eventually_equal(&task, "c", "c is back").await;
    let status = capture.status().unwrap_or_default();
    let tables = status["tables"].as_array().cloned().unwrap_or_default();
    assert!(tables.iter().all(|table| table["state"] != "parked"), "{status}");
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
}

/// A MEMORY table is empty after a restart of its server, which only says so in the binlog if nobody else has looked. A
/// server that came back with a filter is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_source_empties_its_memory_tables_and_its_filters_are_looked_at_anew() {
    let servers = Servers::up("test-memory", &[]);
    let task = Task::with("memory", &servers, |config| config);
    create(&task, "a", 10).await;
    let mut mysql = servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name)]).await;
    for table in ["untouched", "written"] {
        run(
            &mut mysql,
            &[&format!("CREATE TABLE {table} (id INT PRIMARY KEY, s VARCHAR(9)) ENGINE = MEMORY")],
        )
        .await;
        run(&mut mysql, &[&format!("INSERT INTO {table} VALUES (1, 'x'), (2, 'y')")]).await;
    }
    task.catch_up();
    assert_equal(&task).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    servers.control(&["restart", "mysql"]);
    let mut mysql = servers.mysql().await;
    run(&mut mysql, &[&format!("INSERT INTO `{}`.written VALUES (3, 'z')", task.name)]).await;
    let rows = async |table: &str| {
        let postgres = servers.postgres().await;
        let sql = format!("SELECT array_agg(id ORDER BY id) FROM \"{}\".\"{table}\"", task.name);
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, Option<Vec<i32>>>(0)
    };
    eventually("the old rows are gone", RUN, || async {
        rows("untouched").await.is_none() && rows("written").await == Some(vec![3])
    })
    .await;
    servers.control(&["restart", "mysql", "--", "--binlog-ignore-db=elsewhere"]);
    capture.expect_exit(1, RUN);
    assert!(capture.output().contains("binlog_ignore_db = elsewhere"), "{}", capture.output());
    let mut again = task.capture();
    again.expect_exit(1, RUN);
    assert!(again.output().contains("binlog-filters"), "{}", again.output());
    apply.stop();
    servers.discard();
}

/// A table that is parked stays as it is in the destination when only a connection was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_table_is_not_read_anew_for_a_lost_connection() {
    let task = Task::with("parked_stays", Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nmax_message_bytes = 70000\n")
    });
    create(&task, "a", 50).await;
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name)]).await;
    run(
        &mut mysql,
        &["CREATE TABLE b (id INT PRIMARY KEY, t MEDIUMTEXT)", "INSERT INTO b VALUES (1, 'small')"],
    )
    .await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let state = |table: &'static str, wanted: &'static str| {
        let status = capture.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables
            .iter()
            .any(|t| t["name"].as_str().is_some_and(|name| name.ends_with(table)) && t["state"] == wanted)
    };
    eventually("b is in step", RUN, || async { state(".b", "synchronizing") }).await;
    run(&mut mysql, &["INSERT INTO b VALUES (2, REPEAT('x', 100000))"]).await;
    eventually("b is parked", RUN, || async { state(".b", "parked") }).await;
    let dump =
        "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%' AND user = 'reader'";
    let generations = || {
        let topic = format!("{}.history", task.name);
        let mut count = 0;
        tributary_tests::topics::visit_records(&task, &topic, |record| {
            count += u32::from(String::from_utf8_lossy(&record.key).contains("GENERATION"));
        });
        count
    };
    let before = generations();
    let threads: Vec<u64> = mysql.query(dump).await.unwrap();
    for thread in threads {
        let _ = mysql.query_drop(format!("KILL {thread}")).await;
    }
    eventually("the session ended", RUN, || async { capture.output().contains("session ended") }).await;
    run(
        &mut mysql,
        &["CREATE TABLE IF NOT EXISTS b (id INT PRIMARY KEY, t MEDIUMTEXT)", "UPDATE a SET n = -9"],
    )
    .await;
    eventually_equal(&task, "a", "a goes on").await;
    assert!(state(".b", "parked"));
    assert_eq!(generations(), before, "{}", capture.output());
    // Restarted behind a correction, it comes back.
    capture.stop();
    apply.stop();
    run(&mut mysql, &["DELETE FROM b WHERE id = 2", "INSERT INTO b VALUES (3, 'small')"]).await;
    task.catch_up();
    assert_table_equal(&task, "b").await;
}

/// Bytes that the server has read of its binlog files since it was started.
async fn binlog_bytes_read(mysql: &mut mysql_async::Conn) -> u64 {
    let sql = "SELECT SUM(SUM_NUMBER_OF_BYTES_READ) FROM performance_schema.file_summary_by_event_name \
               WHERE EVENT_NAME = 'wait/io/file/sql/binlog'";
    mysql.query_first::<u64, _>(sql).await.unwrap().expect("the server counts")
}

/// Empties the binlog, with the GTIDs going on.
async fn reset_binlog(mysql: &mut mysql_async::Conn) {
    let executed: Option<String> = mysql.query_first("SELECT @@GLOBAL.gtid_executed").await.unwrap();
    let purged = format!("SET GLOBAL gtid_purged = '{}'", executed.unwrap_or_default());
    run(mysql, &["RESET BINARY LOGS AND GTIDS", &purged]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_spares_the_source_the_search_and_misses_nothing_of_a_binlog_that_began_anew() {
    let servers = Servers::up("test-seek", &[]);
    let task = Task::with("seek", &servers, |config| config);
    create(&task, "a", 50).await;
    let mut mysql = servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name)]).await;
    // True if what was read before could not simply be followed.
    let capture = || {
        let mut capture = task.start("capture", &["run", "--until-caught-up"]);
        capture.expect_exit(0, RUN);
        capture.output().contains("searched by GTID")
    };
    reset_binlog(&mut mysql).await;
    assert!(!capture(), "a task that begins has no place in a file");
    run(&mut mysql, &["UPDATE a SET n = n + 1 WHERE id = 1"]).await;
    assert!(!capture());

    // A file of the same name, with a transaction of the same size where that one was, and one behind it.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    reset_binlog(&mut mysql).await;
    run(&mut mysql, &["UPDATE a SET n = n + 1 WHERE id = 2", "UPDATE a SET n = n + 1 WHERE id = 3"]).await;
    assert!(capture());
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;

    run(&mut mysql, &["CREATE DATABASE other", "CREATE TABLE other.big (s LONGTEXT)"]).await;
    for _ in 0..12 {
        run(&mut mysql, &["INSERT INTO other.big VALUES (REPEAT('x', 1000000))"]).await;
    }
    assert!(!capture());
    run(&mut mysql, &["UPDATE a SET n = n + 1 WHERE id = 4"]).await;
    let before = binlog_bytes_read(&mut mysql).await;
    assert!(!capture());
    let read = binlog_bytes_read(&mut mysql).await - before;
    assert!(read < 1_000_000, "the server read {read} bytes of its binlog for one transaction");

    run(&mut mysql, &["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
    run(&mut mysql, &["PURGE BINARY LOGS TO 'binlog.000003'", "UPDATE a SET n = n + 1 WHERE id = 5"]).await;
    assert!(!capture(), "a file that is not listed is not asked for");
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    servers.discard();
}

/// An XA transaction that is left prepared by a session of its own.
async fn prepare(task: &Task, xid: &str, statements: &[&str]) {
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), &format!("XA START '{xid}'")]).await;
    run(&mut mysql, statements).await;
    run(&mut mysql, &[&format!("XA END '{xid}'"), &format!("XA PREPARE '{xid}'")]).await;
    mysql.disconnect().await.unwrap();
}

/// True if the newest checkpoint names its binlog file, at whose offset the stream may be opened.
fn has_place_in_file(task: &Task) -> bool {
    let mut place = None;
    tributary_tests::topics::visit_records(task, &format!("{}.state", task.name), |record| {
        if record.key == br#"{"kind":"checkpoint"}"# {
            let value: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            place = Some(value["file_created"].is_u64());
        }
    });
    place.expect("there is a checkpoint")
}

/// The remedy of `xa-prepared`, word for word.
async fn forgotten_transactions_are_ended_as_the_check_says(task: &Task) {
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &["GRANT XA_RECOVER_ADMIN ON *.* TO 'reader'@'%'"]).await;
    prepare(task, "a1", &["UPDATE a SET n = -1 WHERE id = 50"]).await;
    prepare(task, "f','g", &["UPDATE a SET n = -1 WHERE id = 51"]).await;
    let check = || {
        let mut check = task.start("capture", &["check"]);
        check.expect_exit(0, RUN);
        check.output()
    };
    let output = check();
    assert!(output.contains("2 XA transactions prepared and undecided"), "{output}");
    assert!(output.contains("XA RECOVER CONVERT XID lists them"), "{output}");
    let listed: Vec<(u32, usize, usize, String)> = mysql.query("XA RECOVER CONVERT XID").await.unwrap();
    for (format, gtrid, bqual, data) in listed {
        let digits = data.strip_prefix("0x").unwrap();
        assert_eq!(digits.len(), 2 * (gtrid + bqual));
        let (gtrid, bqual) = digits.split_at(2 * gtrid);
        run(&mut mysql, &[&format!("XA ROLLBACK X'{gtrid}',X'{bqual}',{format}")]).await;
    }
    assert!(check().contains("no XA transaction is prepared"));
    run(&mut mysql, &["REVOKE XA_RECOVER_ADMIN ON *.* FROM 'reader'@'%'"]).await;
}

/// The rows of a prepared XA transaction exist once it is decided, whenever capture is restarted meanwhile, and once.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_xa_transactions_outlive_restarts_and_happen_once_they_are_committed() {
    let servers = Servers::up("test-xa", &[]);
    let task = Task::with("xa", &servers, |config| config);
    create(&task, "a", 60).await;
    forgotten_transactions_are_ended_as_the_check_says(&task).await;
    // Before the task begins: nothing tells which tables these rows are of once it is committed.
    prepare(&task, "p0", &["UPDATE a SET n = 1000 WHERE id = 40"]).await;
    task.catch_up();
    let mut mysql = servers.mysql().await;
    run(&mut mysql, &[&format!("USE `{}`", task.name), "XA COMMIT 'p0'"]).await;
    task.catch_up();
    assert_equal(&task).await;
    run(&mut mysql, &["UPDATE a SET n = 1 WHERE id = 20"]).await;
    task.catch_up();
    assert!(has_place_in_file(&task));

    prepare(&task, "p1", &["UPDATE a SET n = 1001 WHERE id < 6"]).await;
    prepare(&task, "p2", &["DELETE FROM a WHERE id = 6", "INSERT INTO a (id, n, s) VALUES (2000, 1, 'no')"])
        .await;
    prepare(&task, "p3", &["UPDATE a SET id = 1007 WHERE id = 7"]).await;
    run(&mut mysql, &["UPDATE a SET n = 2 WHERE id = 20"]).await;
    // Twice: the second begins with what the first has left open.
    for n in [3, 4] {
        task.catch_up();
        assert_equal(&task).await;
        assert!(!has_place_in_file(&task), "what is undecided must be sent again");
        run(&mut mysql, &[&format!("UPDATE a SET n = {n} WHERE id = 21")]).await;
    }

    let (mut capture, mut apply) = (task.capture(), task.apply());
    let equal = async || eventually_equal(&task, "a", "a is in step").await;
    equal().await;
    prepare(&task, "p4", &["UPDATE a SET n = 1004 WHERE id BETWEEN 8 AND 12"]).await;
    run(&mut mysql, &["XA COMMIT 'p1'", "UPDATE a SET n = 5 WHERE id = 21"]).await;
    equal().await;
    capture.kill();
    run(&mut mysql, &["XA ROLLBACK 'p2'", "XA COMMIT 'p3'", "UPDATE a SET n = 6 WHERE id = 21"]).await;
    prepare(&task, "p5", &["UPDATE a SET n = 1005 WHERE id BETWEEN 13 AND 14"]).await;
    run(&mut mysql, &["XA COMMIT 'p5'"]).await;
    let mut capture = task.capture();
    equal().await;
    run(&mut mysql, &["XA COMMIT 'p4'"]).await;
    equal().await;
    capture.kill();
    apply.stop();
    run(&mut mysql, &["UPDATE a SET n = 7 WHERE id = 21"]).await;
    task.catch_up();
    assert_equal(&task).await;
    assert!(has_place_in_file(&task));

    let mut seen = records_by_sequence(&task);
    seen.retain(|(sequence, ..), _| !sequence.ends_with(":r"));
    assert!(seen.values().all(|&times| times == 1), "{seen:?}");
    // 7 of single statements, 6 + 5 + 2 of p1, p4 and p5, and a delete, its tombstone and a create of p3.
    assert_eq!(seen.len(), 23, "{seen:?}");

    // One that is forgotten until its part of the binlog is gone holds neither the task nor its rows.
    prepare(&task, "p6", &["UPDATE a SET n = 1006 WHERE id = 41"]).await;
    task.catch_up();
    run(&mut mysql, &["FLUSH BINARY LOGS", "UPDATE a SET n = 8 WHERE id = 21"]).await;
    let logs: Vec<mysql_async::Row> = mysql.query("SHOW BINARY LOGS").await.unwrap();
    let last: String = logs.last().unwrap().get(0).unwrap();
    task.catch_up();
    run(&mut mysql, &[&format!("PURGE BINARY LOGS TO '{last}'"), "UPDATE a SET n = 9 WHERE id = 21"]).await;
    task.catch_up();
    run(&mut mysql, &["XA COMMIT 'p6'"]).await;
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}

/// What is logged as a statement has no row events: a selected table is read anew, and another is none of our business.
#[tokio::test(flavor = "multi_thread")]
async fn statements_without_row_events_cost_their_tables_one_read() {
    let task = Task::new("statements");
    create(&task, "a", 50).await;
    create(&task, "b", 50).await;
    let mut mysql = task.servers.mysql().await;
    let other = format!("{}_other", task.name);
    run(
        &mut mysql,
        &[&format!("CREATE DATABASE `{other}`"), &format!("CREATE TABLE `{other}`.t LIKE `{}`.a", task.name)],
    )
    .await;
    task.catch_up();
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    run(&mut mysql, &[&format!("USE `{other}`"), "SET SESSION binlog_format = STATEMENT"]).await;
    run(
        &mut mysql,
        &[
            &format!("INSERT INTO t SELECT * FROM `{}`.a", task.name),
            "WITH c AS (SELECT 1 AS id) UPDATE t JOIN c ON t.id = c.id SET t.n = 5",
            "SELECT 100, 1, 'x', NULL INTO OUTFILE 'loaded.txt'",
            "LOAD DATA INFILE 'loaded.txt' INTO TABLE t",
            // Too large to be kept, and of a table that is not selected.
            "SET SESSION binlog_format = ROW",
            "XA START 'unselected'",
            "UPDATE t SET s = REPEAT('y', 60)",
            "XA END 'unselected'",
            "XA PREPARE 'unselected'",
            "XA COMMIT 'unselected'",
            "SET SESSION binlog_format = STATEMENT",
            &format!("DELETE FROM `{}`.a WHERE id < 7", task.name),
            &format!("LOAD DATA INFILE 'loaded.txt' INTO TABLE `{}`.a", task.name),
            &format!("UPDATE `{}`.b SET n = n + 1 WHERE id < 9", task.name),
        ],
    )
    .await;
    let mut apply = task.apply();
    for table in ["a", "b"] {
        eventually_equal(&task, table, "read anew").await;
    }
    // The name of a view tells no table.
    let view = format!("`{}`.v", task.name);
    run(
        &mut mysql,
        &[
            &format!("CREATE VIEW {view} AS SELECT * FROM `{}`.a", task.name),
            &format!("UPDATE {view} SET n = n - 4711 WHERE id > 40"),
            &format!("DROP VIEW {view}"),
        ],
    )
    .await;
    eventually_equal(&task, "a", "written through a view").await;
    assert!(capture.is_running() && !capture.output().contains("4711"), "{}", capture.output());
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
}
