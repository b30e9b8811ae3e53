//! What is refused, and with which status.

use crate::support::{PARTITIONS, SOON, Task, env};
use tributary_schemas::envelope::Operation::Create;
use tributary_schemas::history::{HistoryKey, SelectionRecord};
use tributary_tests::wait_for;

#[test]
fn foreign_records_park_their_tables_and_a_replay_goes_on_behind_them() {
    let mut task = Task::new("foreign");
    let tables: Vec<_> = ["good", "nowire", "noschema"].map(|name| task.table(name)).into();
    for table in &tables {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("first")])));
    }
    task.transaction(|task| {
        task.send(&tables[1].topic, Some(0), Some(b"hello"), Some(b"world"));
        task.send(&tables[2].topic, Some(0), Some(&[0, 0, 0, 9, 9, 2]), Some(&[0, 0, 0, 9, 9, 0, 0]));
        for table in &tables {
            for id in 2..40 {
                task.write(table, Create, (id, &[Some("later")]));
            }
        }
    });
    let mut apply = task.start(&["run"]);
    for name in ["shop.nowire", "shop.noschema"] {
        wait_for(name, SOON, || {
            apply.table(name).filter(|table| *table == ("parked".into(), "foreign-record".into()))
        });
    }
    wait_for("the others go on", SOON, || (task.rows("good").lines().count() == 39).then_some(()));
    apply.stop();
    let stored = format!("SELECT count(*) FROM bk_{}.targets WHERE state = 'parked'", task.name);
    assert_eq!(task.query(&stored).unwrap(), "2");
    // Everything but the foreign record is merged once the offset behind it is given.
    let place = format!(
        "SELECT substring(error_place FROM 'offset ([0-9]+)') FROM bk_{}.targets WHERE source_table = 'shop.nowire'",
        task.name
    );
    let offset: i64 = task.query(&place).unwrap().parse().unwrap();
    let from = format!("0:{}", offset + 1);
    task.start(&["replay", "--from", &from, "--table", "shop.nowire"]).expect_exit(0);
    let mut again = task.start(&["run", "--until-caught-up"]);
    again.expect_exit(1);
    assert!(again.output().contains("not every table"), "{}", again.output());
    assert_eq!(task.rows("nowire").lines().count(), 39);
}

#[test]
fn wrong_arguments_configuration_and_passwords_have_their_statuses() {
    let task = Task::new("statuses");
    task.configure_role(env("PG_USER"), "wrong", "");
    let mut refused = task.start(&["run"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("password"), "{}", refused.output());
    task.configure("no_such_key = 1\n", "");
    let mut unknown = task.start(&["run"]);
    unknown.expect_exit(2);
    assert!(unknown.output().contains("no_such_key"), "{}", unknown.output());
    task.configure("", "");
    for arguments in [
        &["replay", "--from", "yesterday"][..],
        &["replay", "--from", "0:5"],
        &["replay", "--from", "0:5", "--table", "shop.t", "--clear"],
        &["replay", "--from", "beginning", "--table", "shop.none"],
        &["replay", "--from", "2999-01-01T00:00:00Z"],
        &["fly"],
    ] {
        task.start(arguments).expect_exit(2);
    }
}

#[test]
fn a_configuration_that_can_never_connect_is_not_tried_again() {
    let task = Task::new("never");
    let is_refused = || {
        let mut refused = task.start(&["run"]);
        refused.expect_exit(1);
        assert!(!refused.output().contains("retry_in_ms"), "{}", refused.output());
    };
    task.configure_role(env("PG_USER"), "", "");
    is_refused();
    task.configure("tls = { mode = \"require\" }\n", "");
    is_refused();
}

#[test]
fn a_run_until_caught_up_ends_beside_a_table_that_others_cannot_begin() {
    let mut task = Task::new("others");
    task.configure("", "retry_parked_ms = 1000\n");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("first")])));
    let target = format!("\"{}\".t", task.name);
    let sql = format!(
        "CREATE SCHEMA \"{}\"; CREATE TABLE {target} (id int PRIMARY KEY, name varchar(50)); INSERT INTO {target} VALUES (7)",
        task.name
    );
    task.query(&sql).unwrap();
    // Each has one partition, and none is left for whoever comes after them.
    let mut others: Vec<_> = (0..PARTITIONS).map(|_| task.start(&["run"])).collect();
    for other in &others {
        let refused = Some(("parked".to_owned(), "existing-data".to_owned()));
        wait_for("t is refused", SOON, || (other.table("shop.t") == refused).then_some(()));
    }
    let mut late = task.start(&["run", "--until-caught-up"]);
    late.expect_exit(1);
    assert!(late.output().contains("existing_data"), "{}", late.output());
    others.iter_mut().for_each(|other| other.stop());
    let mut status = task.start(&["status"]);
    status.expect_exit(1);
    let told = ["shop.t  parked", "existing_data"].iter().all(|text| status.output().contains(text));
    assert!(told, "{}", status.output());
    task.query(&format!("DELETE FROM {target}")).unwrap();
    task.catch_up();
    assert_eq!(task.rows("t"), "1|first");
    assert_eq!(task.query(&format!("SELECT count(*) FROM \"bk_{}\".refusals", task.name)).unwrap(), "0");
}

#[test]
fn a_table_that_the_configuration_leaves_out_is_left_only_if_it_is_named() {
    let mut task = Task::new("leaves");
    let (t, u) = (task.table("t"), task.table("u"));
    for table in [&t, &u] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("first")])));
    }
    task.catch_up();
    task.edit("source = \"shop.*\"", "source = \"shop.u\"");
    for table in [&t, &u] {
        task.transaction(|task| task.write(table, Create, (2, &[Some("second")])));
    }
    for command in [&["check"][..], &["run", "--until-caught-up"]] {
        let mut refused = task.start(command);
        refused.expect_exit(1);
        assert!(refused.output().contains("--ignore deselected-shop.t"), "{}", refused.output());
    }
    assert_eq!(task.rows("u"), "1|first", "nothing was done");
    task.start(&["run", "--until-caught-up", "--ignore", "deselected-shop.t"]).expect_exit(0);
    assert_eq!((task.rows("t").as_str(), task.rows("u").as_str()), ("1|first", "1|first\n2|second"));
    task.edit("source = \"shop.u\"", "source = \"shop.*\"");
    task.catch_up();
    assert_eq!(task.rows("t"), "1|first\n2|second", "it goes on where it was");
}

#[test]
fn what_a_newer_version_wrote_is_refused() {
    let mut task = Task::new("newer");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.catch_up();
    let tasks = format!("bk_{}.tasks", task.name);
    task.query(&format!("UPDATE {tasks} SET format_version = 99")).unwrap();
    let mut bookkeeping = task.start(&["run", "--until-caught-up"]);
    bookkeeping.expect_exit(1);
    assert!(bookkeeping.output().contains("format 99"), "{}", bookkeeping.output());
    task.query(&format!("UPDATE {tasks} SET format_version = 1")).unwrap();
    task.transaction(|task| {
        task.history(
            &HistoryKey::Selection,
            &SelectionRecord { format: 99, tables: Vec::new(), retention_ms: None },
        );
    });
    let mut history = task.start(&["run", "--until-caught-up"]);
    history.expect_exit(1);
    assert!(history.output().contains("format 99"), "{}", history.output());
}

#[test]
fn a_drop_keeps_target_tables_and_waits_for_running_instances() {
    let mut task = Task::new("drop");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("kept")])));
    let mut apply = task.start(&["run"]);
    wait_for("the row", SOON, || (task.rows("t") == "1|kept").then_some(()));
    let mut used = task.start(&["drop", "--yes"]);
    used.expect_exit(1);
    assert!(used.output().contains("in use"), "{}", used.output());
    // The session that says so may end without the instance: it comes again.
    let key = tributary_warehouse::bookkeeping::Bookkeeping::new(&format!("bk_{}", task.name), &task.name)
        .task_lock_key();
    let holder = format!(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = {key}"
    );
    let first = task.query(&holder).unwrap();
    task.query(&format!("SELECT pg_terminate_backend({first})")).unwrap();
    wait_for("another session", SOON, || task.query(&holder).filter(|pid| !pid.is_empty() && *pid != first));
    let mut used = task.start(&["drop", "--yes"]);
    used.expect_exit(1);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("kept still")])));
    wait_for("the row", SOON, || (task.rows("t") == "1|kept still").then_some(()));
    apply.stop();
    task.start(&["drop"]).expect_exit(2);
    task.start(&["drop", "--yes"]).expect_exit(0);
    assert_eq!(task.rows("t"), "1|kept still");
    let schemas = format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'bk_{}'", task.name);
    assert_eq!(task.query(&schemas).unwrap(), "0");
}
