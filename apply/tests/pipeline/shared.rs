//! Topics that share a target, hand in hand and at the worst moment.

use crate::process::Process;
use crate::support::{PARTITIONS, SOON, Task};
use tributary_schemas::envelope::Operation::{Create, Read};
use tributary_schemas::history::Cause;
use tributary_schemas::key::partition;
use tributary_tests::wait_for;
use tributary_warehouse::bookkeeping::lock_key_of;
use tributary_warehouse::merge::names::TargetName;

/// A task whose tables all go into the target `both`.
fn sharing(test: &str) -> Task {
    let task = Task::new(test);
    let keys = "constants = { of = \"{table}\" }\nprimary_key = [\"of\", \"id\"]";
    task.edit("{table}\"", &format!("both\"\n{keys}"));
    task
}

#[test]
fn a_row_that_is_under_way_gets_what_its_column_is_added_with() {
    let mut task = sharing("under_way");
    let (mut t, mut u) = (task.table("t"), task.table("u"));
    for topic in [&t, &u] {
        task.load(topic, 0, true);
    }
    // The target has the column already, so that nothing of its definition has to wait for who writes.
    u.add_column("c", Some("9"));
    task.advance(&mut u, Cause::Alter);
    task.catch_up();
    // Each instance gets two partitions of the other one.
    task.deselect(&u);
    let instances = [task.start(&["run"]), task.start(&["run"])];
    wait_for("both have partitions", SOON, || {
        let works = |process: &Process| process.status().is_some_and(|status| status["role"] == "leader");
        instances.iter().all(works).then_some(())
    });
    // A flush stands before its last statement, its row not to be seen by anybody.
    let offsets = format!("bk_{}.offsets", task.name);
    let place = i32::try_from(partition(&t.key(1), PARTITIONS)).unwrap();
    let mut holder = task.hold(&format!(
        "SELECT 1 FROM {offsets} WHERE topic = '{}' AND partition = {place} FOR UPDATE",
        t.topic
    ));
    task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE %offsets%'";
    wait_for("the flush waits", SOON, || task.query(waits).filter(|found| found != "0"));
    t.add_column("c", Some("5"));
    task.advance(&mut t, Cause::Alter);
    let arrived = format!("SELECT count(*) FROM {offsets} WHERE topic = '{}' AND generation = 2", t.topic);
    wait_for("others have arrived", SOON, || task.query(&arrived).filter(|found| found != "0"));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let done = format!("SELECT applied_generation FROM bk_{}.targets WHERE topic = '{}'", task.name, t.topic);
    wait_for("the definition is followed", SOON, || task.query(&done).filter(|found| found == "2"));
    let row = format!("SELECT id, name, c FROM \"{}\".both", task.name);
    wait_for("the row", SOON, || task.query(&row).filter(|found| !found.is_empty()));
    assert_eq!(task.query(&row).unwrap(), "1|old|5");
}

#[test]
fn a_column_in_which_rows_of_before_hold_values_stays() {
    let mut task = sharing("before");
    task.edit("primary_key", "existing_data = \"append\"\nprimary_key");
    let (mut t, mut u) = (task.table("t"), task.table("u"));
    task.query(&format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".both (of text, id int, name varchar(50), PRIMARY KEY (of, id)); \
         INSERT INTO \"{0}\".both VALUES ('mine', 1, 'kept')",
        task.name
    ))
    .unwrap();
    for topic in [&t, &u] {
        task.load(topic, 0, true);
    }
    for topic in [&t, &u] {
        task.transaction(|task| task.write(topic, Create, (1, &[Some("theirs")])));
    }
    task.catch_up();
    for topic in [&mut t, &mut u] {
        topic.table.columns.retain(|column| column.name != "name");
        task.advance(topic, Cause::Alter);
    }
    task.catch_up();
    let rows = format!(
        "SELECT string_agg(concat_ws('|', of, id, name), ' ' ORDER BY of) FROM \"{}\".both",
        task.name
    );
    assert_eq!(task.query(&rows).unwrap(), "mine|1|kept t|1 u|1");
    // Once it is gone with them, it goes with the next that has it last.
    task.query(&format!("DELETE FROM \"{}\".both WHERE of = 'mine'", task.name)).unwrap();
    t.add_column("name", None);
    task.advance(&mut t, Cause::Alter);
    t.table.columns.retain(|column| column.name != "name");
    task.advance(&mut t, Cause::Alter);
    task.catch_up();
    assert_eq!(task.query(&rows), None, "the column is gone");
}

#[test]
fn a_table_that_goes_on_in_another_topic_takes_the_rows_of_before_along_whatever_their_constants_were() {
    let mut task = sharing("succeeded");
    let (mut t, u) = (task.table("t"), task.table("u"));
    for topic in [&t, &u] {
        task.load(topic, 0, true);
        task.transaction(|task| task.write(topic, Create, (1, &[Some("before")])));
    }
    task.catch_up();
    let rows = format!(
        "SELECT string_agg(concat_ws('|', of, id, name), ' ' ORDER BY of, id) FROM \"{}\".both",
        task.name
    );
    assert_eq!(task.query(&rows).unwrap(), "t|1|before u|1|before");
    // With the constants of before, its rows go by themselves.
    task.succeed(&mut t);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (2, &[Some("behind")])));
    task.catch_up();
    assert_eq!(task.query(&rows).unwrap(), "t|2|behind u|1|before");
    // With others, a person says so.
    task.succeed(&mut t);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (3, &[Some("last")])));
    task.edit("of = \"{table}\"", "of = \"new {table}\"");
    let mut refused = task.start(&["run", "--until-caught-up"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("were written with of = t"), "{}", refused.output());
    assert_eq!(task.query(&rows).unwrap(), "t|2|behind u|1|before");
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.query(&rows).unwrap(), "new t|3|last new u|1|before");
}

#[test]
fn whoever_joins_a_target_waits_for_the_others_of_every_bookkeeping() {
    let mut task = sharing("joining");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("x")])));
    let key = lock_key_of(&TargetName::new(&task.name, "both"));
    let mut holder = task.hold(&format!("SELECT pg_advisory_xact_lock({key})"));
    let mut apply = task.start(&["run", "--until-caught-up"]);
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    wait_for("it waits", SOON, || task.query(waits).filter(|found| found != "0"));
    assert_eq!(task.rows("both"), "", "nothing is there yet");
    holder.kill().unwrap();
    holder.wait().unwrap();
    apply.expect_exit(0);
    assert_eq!(task.rows("both"), "1|x|t");
}
