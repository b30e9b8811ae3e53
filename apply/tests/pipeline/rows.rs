//! Rows, definitions and replays.

use crate::support::{SOON, Task, eventually};
use tributary_schemas::envelope::Operation::{Create, Delete, Read, Update};
use tributary_schemas::history::Cause;
use tributary_schemas::table::ColumnDefault;

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
    eventually("both have partitions", SOON, || {
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
        eventually("the row behind the TRUNCATE is alone", SOON, || {
            (task.rows("t") == expected).then_some(())
        });
    }
    let done = format!("SELECT count(*), count(DISTINCT generation) FROM bk_{}.generations", task.name);
    assert_eq!(task.query(&done).unwrap(), "5|5");
    one.stop();
    two.stop();
}

#[test]
fn a_reset_lifts_a_table_that_was_parked_by_its_definition() {
    let mut task = Task::new("reset");
    let mut t = task.table("t");
    task.load(&t, 1, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("text")])));
    let mut apply = task.start(&["run"]);
    eventually("the row", SOON, || (task.rows("t") == "1|text").then_some(()));
    // A text that becomes a number cannot be followed in place.
    t.table.columns[1] = crate::support::column(2, "name", "int", true);
    task.advance(&mut t, Cause::Alter);
    eventually("parked", SOON, || {
        apply.table("shop.t").filter(|table| *table == ("parked".into(), "unsupported-ddl".into()))
    });
    t.table.columns[1] = crate::support::column(3, "other", "varchar(9)", true);
    task.advance(&mut t, Cause::Reset);
    task.transaction(|task| task.write(&t, Read, (2, &[Some("again")])));
    eventually("read anew", SOON, || (task.rows("t") == "2|again").then_some(()));
    apply.stop();
    task.catch_up();
    assert_eq!(task.rows("t"), "2|again");
}

#[test]
fn a_clearing_replay_builds_what_rows_can_go_into_and_judges_what_it_is_pointed_at() {
    let mut task = Task::new("clear");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("x")])));
    task.catch_up();
    // Nobody says yes.
    task.unanswered.set(true);
    let mut asked = task.start(&["replay", "--from", "beginning", "--clear"]);
    asked.expect_exit(2);
    let output = asked.output();
    assert!(output.contains(&format!("{}\".\"t\"", task.name)) && output.contains("give --yes"), "{output}");
    task.unanswered.set(false);
    assert_eq!(task.rows("t"), "1|x");
    // A time behind the last record: nothing is taken back, and nothing else is said.
    let epoch = format!("SELECT epoch FROM bk_{}.tasks", task.name);
    let before = task.query(&epoch).unwrap();
    let now = task
        .query("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
    let mut nothing = task.start(&["replay", "--from", &now.unwrap()]);
    nothing.expect_exit(0);
    assert!(nothing.output().contains("nothing to merge again"), "{}", nothing.output());
    assert_eq!(task.query(&epoch).unwrap(), before);
    // The definition did not change in the topic, and the key is gone from the target.
    task.query(&format!("ALTER TABLE \"{}\".t DROP COLUMN id", task.name)).unwrap();
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t"), "1|x");
    // Somebody else's rows under the name that the configuration gives now.
    task.query(&format!("CREATE TABLE \"{0}\".t_new (LIKE \"{0}\".t INCLUDING ALL)", task.name)).unwrap();
    task.query(&format!("INSERT INTO \"{}\".t_new VALUES (7, 'theirs')", task.name)).unwrap();
    let config = task.directory.join("task.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("{table}", "{table}_new");
    std::fs::write(&config, text).unwrap();
    let mut refused = task.start(&["replay", "--from", "beginning", "--clear"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("holds rows already"), "{}", refused.output());
    assert_eq!(task.rows("t_new"), "7|theirs");
    task.query(&format!("DELETE FROM \"{}\".t_new", task.name)).unwrap();
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!((task.rows("t_new"), task.rows("t")), ("1|x".to_owned(), "1|x".to_owned()));
}

#[test]
fn a_merging_replay_does_not_hide_that_a_delete_may_have_been_missed() {
    let mut task = Task::new("slept");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("x")])));
    task.catch_up();
    let offsets = format!("bk_{}.offsets", task.name);
    let slept = format!("UPDATE {offsets} SET begun_at = now() - interval '90 days', at_end_at = now() - ");
    task.query(&format!("{slept} interval '60 days'")).unwrap();
    task.start(&["replay", "--from", "beginning"]).expect_exit(0);
    let mut refused = task.start(&["run", "--until-caught-up"]);
    refused.expect_exit(1);
    assert!(refused.output().contains("retention-exceeded"), "{}", refused.output());
    // One that was at its end a moment ago begins anew, and is at its end again.
    task.query(&format!("{slept} interval '1 day'")).unwrap();
    task.start(&["replay", "--from", "beginning"]).expect_exit(0);
    let young = format!("SELECT count(*) FROM {offsets} WHERE begun_at > now() - interval '1 hour'");
    assert_eq!(task.query(&young).unwrap(), "4");
    task.catch_up();
    task.query(&format!("{slept} interval '60 days'")).unwrap();
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t"), "1|x");
}

#[test]
fn a_reset_lifts_a_table_that_was_away_for_too_long() {
    let mut task = Task::new("anew");
    let mut t = task.table("t");
    task.load(&t, 1, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
    task.catch_up();
    let offsets = format!("bk_{}.offsets", task.name);
    let slept = format!("UPDATE {offsets} SET begun_at = now() - interval '90 days', at_end_at = NULL");
    task.query(&slept).unwrap();
    let mut apply = task.start(&["run"]);
    eventually("parked", SOON, || {
        apply.table("shop.t").filter(|table| *table == ("parked".into(), "retention-exceeded".into()))
    });
    task.advance(&mut t, Cause::Reset);
    task.transaction(|task| task.write(&t, Read, (2, &[Some("again")])));
    eventually("read anew", SOON, || (task.rows("t") == "2|again").then_some(()));
    apply.stop();
    // What was missed before is forgotten, also by who takes over before the end is reached.
    let young = format!("SELECT count(*) FROM {offsets} WHERE begun_at > now() - interval '1 hour'");
    assert_eq!(task.query(&young).unwrap(), "4");
}

#[test]
fn what_lies_between_a_position_and_an_end_is_found_out() {
    let mut task = Task::new("probe");
    let t = task.table("t");
    let client = task.consumer_client();
    let ends = tributary_apply::topics::ends::Ends::new(&client).unwrap();
    let place = (t.topic.clone(), 0);
    let end = || ends.last_stable(std::slice::from_ref(&place)).unwrap()[&place];
    task.aborted(|task| task.send(&t.topic, Some(0), Some(b"k"), Some(b"v")));
    // The marker is written behind the client's back, soon after the abort.
    let aborted = eventually("a record and its marker", SOON, || Some(end()).filter(|end| *end >= 2));
    assert_eq!(ends.probe(&place, 0, aborted).unwrap(), Some(aborted), "nothing to be seen");
    task.transaction(|task| task.send(&t.topic, Some(0), Some(b"k"), Some(b"v")));
    let committed = eventually("the marker", SOON, || Some(end()).filter(|end| *end == aborted + 2));
    assert_eq!(ends.probe(&place, 0, committed).unwrap(), Some(aborted), "the committed record");
    assert_eq!(ends.probe(&place, aborted + 1, committed).unwrap(), Some(committed), "only its marker");
    assert_eq!(ends.low(std::slice::from_ref(&place)).unwrap()[&place], 0);
}
