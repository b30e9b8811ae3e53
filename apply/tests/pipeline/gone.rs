//! What disappears while apply runs: time, topics, rows of the bookkeeping, capture, the selection of a table.

use crate::process::Process;
use crate::support::{SOON, Task, Topic};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tributary_schemas::envelope::Operation::{Create, Update};
use tributary_schemas::topic::state_topic;
use tributary_tests::wait_for;

fn running(name: &str) -> (Task, Topic, Process) {
    let mut task = Task::new(name);
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| (0..20).for_each(|id| task.write(&t, Create, (id, &[Some("x")]))));
    let apply = task.start(&["run"]);
    wait_for("the rows", SOON, || (task.rows("t").lines().count() == 20).then_some(()));
    (task, t, apply)
}

fn parked(apply: &Process, code: &str) {
    let expected = ("parked".to_owned(), code.to_owned());
    wait_for(code, SOON, || apply.table("shop.t").filter(|table| *table == expected));
}

fn change(task: &Task, t: &Topic, text: &str) {
    task.transaction(|task| (0..20).for_each(|id| task.write(t, Update, (id, &[Some(text)]))));
}

#[test]
fn a_process_that_slept_past_the_retention_moves_no_offset() {
    let (task, t, mut apply) = running("asleep");
    // As if the process had been frozen for as long: nothing is read from the destination when it goes on.
    let slept = format!(
        "UPDATE bk_{}.offsets SET begun_at = now() - interval '90 days', at_end_at = now() - interval '60 days'",
        task.name
    );
    task.query(&slept).unwrap();
    change(&task, &t, "late");
    parked(&apply, "retention-exceeded");
    assert!(!task.rows("t").contains("late"));
    apply.stop();
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t").matches("late").count(), 20);
}

#[test]
fn a_capture_that_has_gone_and_a_table_that_it_has_left_are_told_apart() {
    let mut task = Task::new("left");
    let (t, u) = (task.table("t"), task.table("u"));
    for table in [&t, &u] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("x")])));
    }
    let state = state_topic(&task.name);
    task.create_topic(&state, 1);
    let written = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(60);
    let beat = format!(
        "{{\"format\":1,\"instance\":\"a\",\"address\":\"h:1\",\"beat\":{{\"written_ms\":{},\"behind_ms\":2000}}}}",
        written.as_millis()
    );
    task.transaction(|task| {
        task.send(&state, Some(0), Some(br#"{"kind":"leader"}"#), Some(beat.as_bytes()));
    });
    let mut apply = task.start(&["run"]);
    // Everything that came is merged, and what has happened on the source for a minute is not known.
    wait_for("the lag grows", SOON, || {
        let tables = apply.status()?["tables"].as_array()?.clone();
        let behind = |table: &serde_json::Value| {
            table["lag_seconds"].as_f64().is_some_and(|lag| lag >= 62.0) && table["state"] == "catching-up"
        };
        (tables.len() == 2 && tables.iter().all(behind)).then_some(())
    });
    let (code, ready) = apply.get("/readyz").unwrap();
    assert!(code == 503 && ready.contains("capture was heard 6"), "{code} {ready}");
    task.deselect(&u);
    let left = ("excluded".to_owned(), "deselected".to_owned());
    wait_for("u is left", SOON, || apply.table("shop.u").filter(|table| *table == left));
    let status = apply.status().unwrap();
    let lag = status["tables"].as_array().unwrap().iter().find(|table| table["name"] == "shop.u").unwrap();
    assert!(lag["lag_seconds"].is_null(), "{status}");
    assert_eq!(apply.table("shop.t").unwrap().0, "catching-up");
    apply.stop();
}

#[test]
fn a_topic_that_is_deleted_is_noticed() {
    let (task, t, mut apply) = running("deleted");
    task.delete_topic(&t.topic);
    parked(&apply, "topic-gone");
    assert_eq!(task.rows("t").lines().count(), 20);
    apply.stop();
}

#[test]
fn rows_that_are_removed_from_the_bookkeeping_are_noticed_and_come_back() {
    let (task, t, mut apply) = running("removed");
    let delete = |what: &str| task.query(&format!("DELETE FROM bk_{}.{what}", task.name)).unwrap();
    delete("offsets WHERE \"partition\" < 2");
    change(&task, &t, "one");
    parked(&apply, "bookkeeping-incomplete");
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    wait_for("read again", SOON, || (task.rows("t").matches("one").count() == 20).then_some(()));
    // Nothing comes for the table, and its target has rows that nobody has written down.
    delete("targets");
    parked(&apply, "existing-data");
    task.query(&format!("TRUNCATE \"{}\".t", task.name)).unwrap();
    apply.stop();
    task.catch_up();
    assert_eq!(task.rows("t").matches("one").count(), 20);
    let mut apply = task.start(&["run"]);
    wait_for("it works", SOON, || apply.table("shop.t").filter(|table| table.0 == "synchronizing"));
    delete("tasks");
    apply.expect_exit(1);
    assert!(apply.output().contains("does not know this task"), "{}", apply.output());
    change(&task, &t, "two");
    task.catch_up();
    assert_eq!(task.rows("t").matches("two").count(), 20);
}
