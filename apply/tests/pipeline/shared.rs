//! Topics that share a target, hand in hand and at the worst moment.

use crate::process::Process;
use crate::support::{PARTITIONS, SOON, Task};
use tributary_schemas::envelope::Operation::Create;
use tributary_schemas::history::Cause;
use tributary_schemas::key::partition;
use tributary_tests::wait_for;

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
