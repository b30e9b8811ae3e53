//! Targets that are not a table's alone: what would remove or cut the rows of others is not done to them.

use crate::process::Process;
use crate::support::{SOON, Task, Topic};
use tributary_schemas::envelope::Operation::{Create, Read};
use tributary_schemas::history::Cause;
use tributary_tests::wait_for;

const APPEND: &str = "existing_data = \"append\"\n";

fn parked(apply: &Process) {
    wait_for("parked", SOON, || {
        apply.table("shop.t").filter(|table| *table == ("parked".into(), "target-not-alone".into()))
    });
}

/// What `/status` says of the table's error.
fn error(apply: &Process) -> String {
    apply.status().unwrap()["tables"][0]["error"].to_string()
}

/// A task whose table has one row in a target with a row of somebody else's.
fn appended(name: &str) -> (Task, Topic) {
    let mut task = Task::new(name);
    task.configure("", APPEND);
    let t = task.table("t");
    task.query(&format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".t (id int PRIMARY KEY, name varchar(50)); \
         INSERT INTO \"{0}\".t VALUES (100, 'older')",
        task.name
    ))
    .unwrap();
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("ours")])));
    (task, t)
}

#[test]
fn rows_of_before_outlive_a_truncate_a_reset_and_a_clearing_replay() {
    let (mut task, mut t) = appended("older");
    task.catch_up();
    assert_eq!(task.rows("t"), "1|ours\n100|older");
    let mut refused = task.start(&["replay", "--from", "beginning", "--clear"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("TRUNCATE TABLE"), "{}", refused.output());
    for (cause, id) in [(Cause::Truncate, 2), (Cause::Reset, 3)] {
        task.advance(&mut t, cause);
        task.transaction(|task| task.write(&t, Create, (id, &[Some("later")])));
        let mut apply = task.start(&["run"]);
        parked(&apply);
        assert!(task.rows("t").contains("100|older"));
        assert!(error(&apply).contains("before this task"), "{}", error(&apply));
        apply.stop();
        // The remedy: what is to be kept goes elsewhere.
        task.query(&format!("TRUNCATE \"{}\".t", task.name)).unwrap();
        task.catch_up();
        assert_eq!(task.rows("t"), format!("{id}|later"));
        // The table is this task's alone now, until somebody else's rows are in it again.
        let again = format!("INSERT INTO \"{0}\".t VALUES (100, 'older')", task.name);
        task.query(&again).unwrap();
        let foreign =
            format!("UPDATE bk_{}.owners SET foreign_rows = true WHERE NOT foreign_rows", task.name);
        task.query(&foreign).unwrap();
    }
    task.query(&format!("TRUNCATE \"{}\".t", task.name)).unwrap();
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t"), "3|later");
}

#[test]
fn a_column_of_others_is_neither_dropped_nor_renamed() {
    let (mut task, mut t) = appended("narrow");
    task.catch_up();
    t.add_column("note", None);
    task.advance(&mut t, Cause::Alter);
    t.table.columns[1].name = "title".into();
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (2, &[Some("renamed"), Some("n")])));
    let mut apply = task.start(&["run"]);
    parked(&apply);
    assert!(error(&apply).contains("rename = {"), "{}", error(&apply));
    apply.stop();
    task.edit("[[table]]", "[[table]]\ncolumns = { rename = { title = \"name\" } }");
    task.catch_up();
    assert_eq!(task.rows("t"), "1|ours|\n2|renamed|n\n100|older|");
    t.table.columns.remove(2);
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (3, &[Some("dropped")])));
    let mut apply = task.start(&["run"]);
    parked(&apply);
    assert!(error(&apply).contains("drop = ["), "{}", error(&apply));
    apply.stop();
    task.edit("columns = {", "columns = { drop = [\"note\"],");
    task.catch_up();
    assert_eq!(task.rows("t"), "1|ours|\n2|renamed|n\n3|dropped|\n100|older|");
}

#[test]
fn what_another_task_feeds_is_neither_emptied_nor_taken_over() {
    let (mut first, mut second) = (Task::new("first"), Task::new("second"));
    let mut t = first.table("t");
    let u = second.table("t");
    second.edit("target = \"", &format!("target = \"{}.{{table}}\" #", first.name));
    for (task, topic, id) in [(&first, &t, 1), (&second, &u, 2)] {
        task.load(topic, 0, true);
        task.transaction(|task| task.write(topic, Read, (id, &[Some("x")])));
    }
    // One that may read the other's bookkeeping, though nothing is in the target yet.
    first.query(&format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".t (id int PRIMARY KEY, name varchar(50))",
        first.name
    ));
    first.catch_up();
    for existing in ["", "existing_data = \"clear\"\n"] {
        second.edit("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:0\"\n{existing}#"));
        let mut refused = second.start(&["run", "--until-caught-up"]);
        refused.expect_exit(1);
        assert!(refused.output().contains(&first.name), "{}", refused.output());
        assert_eq!(first.rows("t"), "1|x");
    }
    second.edit("existing_data = \"clear\"", "existing_data = \"append\"");
    second.catch_up();
    assert_eq!(first.rows("t"), "1|x\n2|x");
    first.advance(&mut t, Cause::Truncate);
    let mut apply = first.start(&["run"]);
    parked(&apply);
    let said = error(&apply);
    assert!(said.contains(&second.name) && said.contains("apply drop"), "{said}");
    apply.stop();
    // The other task goes, and its rows are still nobody's to remove.
    second.start(&["drop", "--yes"]).expect_exit(0);
    let mut apply = first.start(&["run"]);
    parked(&apply);
    apply.stop();
    assert_eq!(first.rows("t"), "1|x\n2|x");
    first.query(&format!("TRUNCATE \"{}\".t", first.name)).unwrap();
    first.catch_up();
    assert_eq!(first.rows("t"), "");
}
