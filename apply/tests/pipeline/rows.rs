//! Rows, definitions and replays.

use crate::support::{SOON, Task};
use tributary_schemas::envelope::Operation::{Create, Delete, Read, Update};
use tributary_schemas::history::Cause;
use tributary_schemas::table::ColumnDefault;
use tributary_tests::wait_for;

#[test]
fn changes_and_definitions_are_followed() {
    let mut task = Task::new("rows");
    let mut t = task.table("t");
    task.transaction(|task| {
        for id in 1..=20 {
            task.write(&t, Read, (id, &[Some("read")]));
        }
    });
    task.load(&t, 20, true);
    task.transaction(|task| {
        task.write(&t, Update, (1, &[None]));
        task.write(&t, Delete, (2, &[]));
        task.write(&t, Create, (21, &[Some("new")]));
        task.write(&t, Delete, (21, &[]));
    });
    // An aborted transaction leaves records that must not be seen, and offsets that must be passed.
    task.aborted(|task| task.write(&t, Create, (99, &[Some("never")])));
    t.add_column("note", Some("none"));
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (30, &[Some("x"), Some("y")])));
    task.catch_up();
    let rows = task.rows("t");
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(lines.len(), 20, "{rows}");
    assert_eq!((lines[0], lines[1], lines[19]), ("1||none", "3|read|none", "30|x|y"));
    let schema = format!("bk_{}", task.name);
    let loaded = task.query(&format!("SELECT loaded, applied_generation FROM {schema}.targets")).unwrap();
    assert!(loaded.ends_with("|2"), "{loaded}");

    t.table.columns[1].name = "title".into();
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Update, (30, &[Some("renamed"), Some("y")])));
    t.table.columns.remove(2);
    task.advance(&mut t, Cause::Alter);
    task.catch_up();
    let columns = format!(
        "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE \
         table_schema = '{}'",
        task.name
    );
    assert_eq!(task.query(&columns).unwrap(), "id,title");
    let expected = task.rows("t");
    assert!(expected.ends_with("30|renamed"), "{expected}");

    // Over what is there, and from nothing: the same in the end.
    task.start(&["replay", "--from", "beginning"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t"), expected);
    task.query(&format!("INSERT INTO \"{}\".t VALUES (555, 'mine')", task.name)).unwrap();
    task.unanswered.set(true);
    let mut asked = task.start(&["replay", "--from", "beginning", "--clear"]);
    asked.expect_exit(2);
    assert!(asked.output().contains("give --yes to empty all of this"), "{}", asked.output());
    assert!(task.rows("t").ends_with("555|mine"), "nobody has said yes");
    task.unanswered.set(false);
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    assert_eq!(task.query(&columns).unwrap(), "id,name", "the first definition is back");
    task.catch_up();
    assert_eq!(task.rows("t"), expected);
}

#[test]
fn a_replay_gives_older_rows_what_their_columns_were_added_with() {
    let mut task = Task::new("added");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| (1..=2).for_each(|id| task.write(&t, Create, (id, &[Some("old")]))));
    // Two columns: one of five for every row of then, one of NULL; and later defaults for rows to come.
    t.add_column("five", Some("5"));
    t.add_column("none", None);
    task.advance(&mut t, Cause::Alter);
    for column in [2, 3] {
        t.table.columns[column].default = Some(ColumnDefault::Constant("7".to_owned()));
    }
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (3, &[Some("new"), Some("7"), Some("7")])));
    let expected = "1|old|5|\n2|old|5|\n3|new|7|7";
    task.catch_up();
    assert_eq!(task.rows("t"), expected);
    // One is there and damaged, one is gone; the third way is an empty target.
    let target = format!("\"{}\".t", task.name);
    let damage =
        format!("UPDATE {target} SET five = 'x', none = 'x' WHERE id = 1; DELETE FROM {target} WHERE id = 2");
    for (damage, how) in [(damage.as_str(), "--merge"), ("SELECT 1", "--clear")] {
        task.query(damage).unwrap();
        task.start(&["replay", "--from", "beginning", how]).expect_exit(0);
        task.catch_up();
        assert_eq!(task.rows("t"), expected, "{how}");
    }
}

#[test]
fn a_truncate_waits_for_every_partition_of_two_instances() {
    let mut task = Task::new("truncate");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    let (mut one, mut two) = (task.start(&["run"]), task.start(&["run"]));
    wait_for("both have partitions", SOON, || {
        let works =
            |process: &crate::process::Process| process.status().is_some_and(|s| s["role"] == "leader");
        (works(&one) && works(&two)).then_some(())
    });
    for round in 0..5 {
        task.transaction(|task| {
            for id in 0..200 {
                task.write(&t, Create, (id, &[Some("old")]));
            }
        });
        task.advance(&mut t, Cause::Truncate);
        // Only one key behind the barrier: three partitions arrive without a record.
        task.transaction(|task| task.write(&t, Create, (1000 + round, &[Some("after")])));
        let expected = format!("{}|after", 1000 + round);
        wait_for("the row behind the TRUNCATE is alone", SOON, || (task.rows("t") == expected).then_some(()));
    }
    let done = format!("SELECT count(*), count(DISTINCT generation) FROM bk_{}.generations", task.name);
    assert_eq!(task.query(&done).unwrap(), "5|5");
    one.stop();
    two.stop();
}

#[test]
fn what_empties_a_table_lifts_it_though_it_was_away_for_too_long() {
    for (name, cause) in [("anew", Cause::Reset), ("emptied", Cause::Truncate)] {
        let mut task = Task::new(name);
        let mut t = task.table("t");
        task.load(&t, 1, true);
        task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
        task.catch_up();
        let offsets = format!("bk_{}.offsets", task.name);
        let slept = format!("UPDATE {offsets} SET begun_at = now() - interval '90 days', at_end_at = NULL");
        task.query(&slept).unwrap();
        let mut apply = task.start(&["run"]);
        wait_for("parked", SOON, || {
            apply.table("shop.t").filter(|table| *table == ("parked".into(), "retention-exceeded".into()))
        });
        task.advance(&mut t, cause);
        task.transaction(|task| task.write(&t, Read, (2, &[Some("again")])));
        wait_for(name, SOON, || (task.rows("t") == "2|again").then_some(()));
        apply.stop();
        // What was missed before is forgotten, also by who takes over before the end is reached.
        let young = format!("SELECT count(*) FROM {offsets} WHERE begun_at > now() - interval '1 hour'");
        assert_eq!(task.query(&young).unwrap(), "4", "{name}");
    }
}

#[test]
fn a_lone_truncate_is_followed_by_who_was_away_for_longer_than_deletes_stay() {
    let mut task = Task::new("lone");
    let mut t = task.table("t");
    task.load(&t, 1, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
    task.catch_up();
    task.advance(&mut t, Cause::Truncate);
    // As if all of that had been long ago: before the TRUNCATE no delete matters, and behind it there is nothing.
    let offsets = format!("bk_{}.offsets", task.name);
    let slept = format!(
        "UPDATE {offsets} SET begun_at = now() - interval '90 days', at_end_at = now() - interval '60 days'"
    );
    task.query(&slept).unwrap();
    task.catch_up();
    assert_eq!(task.rows("t"), "");
    // Behind it, it does.
    task.query(&slept).unwrap();
    task.transaction(|task| task.write(&t, Create, (2, &[Some("late")])));
    let mut refused = task.start(&["run", "--until-caught-up"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("retention-exceeded"), "{}", refused.output());
}

#[test]
fn what_lies_between_a_position_and_an_end_is_found_out() {
    let mut task = Task::new("probe");
    let t = task.table("t");
    let client = task.consumer_client();
    let ends = tributary_topics::ends::Ends::new(&client).unwrap();
    let place = (t.topic.clone(), 0);
    let end = || ends.last_stable(std::slice::from_ref(&place)).unwrap()[&place];
    task.aborted(|task| task.send(&t.topic, Some(0), Some(b"k"), Some(b"v")));
    // The marker is written behind the client's back, soon after the abort.
    let aborted = wait_for("a record and its marker", SOON, || Some(end()).filter(|end| *end >= 2));
    assert_eq!(ends.probe(&place, 0, aborted).unwrap(), Some(aborted), "nothing to be seen");
    task.transaction(|task| task.send(&t.topic, Some(0), Some(b"k"), Some(b"v")));
    let committed = wait_for("the marker", SOON, || Some(end()).filter(|end| *end == aborted + 2));
    assert_eq!(ends.probe(&place, 0, committed).unwrap(), Some(aborted), "the committed record");
    assert_eq!(ends.probe(&place, aborted + 1, committed).unwrap(), Some(committed), "only its marker");
    assert_eq!(ends.low(std::slice::from_ref(&place)).unwrap()[&place], 0);
}
