//! Topics that are not those that the destination's offsets belong to, and a history that grows.

use crate::support::{SOON, Task, client, ends};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tributary_schemas::envelope::Operation::{Create, Read};
use tributary_schemas::history::Cause;
use tributary_tests::wait_for;

#[test]
fn a_topic_that_was_dropped_and_grew_past_the_stored_offsets_is_noticed() {
    let mut task = Task::new("recreated");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| {
        for id in 0..20 {
            task.write(&t, Create, (id, &[Some("old")]));
        }
    });
    task.catch_up();
    task.recreate(&mut t);
    task.load(&t, 0, true);
    task.transaction(|task| {
        for id in 10..200 {
            task.write(&t, Read, (id, &[Some("new")]));
        }
    });
    let mut skipped = task.start(&["run", "--until-caught-up"]);
    skipped.expect_exit(1);
    assert!(skipped.output().contains("topic-recreated"), "{}", skipped.output());
    assert_eq!(task.rows("t").lines().count(), 20, "nothing was merged");
    // Rows that were deleted in between would stay.
    let mut merged = task.start(&["replay", "--from", "beginning", "--merge"]);
    merged.expect_exit(1);
    assert!(merged.output().contains("created anew"), "{}", merged.output());
    task.start(&["replay", "--from", "beginning", "--clear"]).expect_exit(0);
    task.catch_up();
    let rows = task.rows("t");
    assert_eq!((rows.lines().count(), rows.contains("old")), (190, false), "{rows}");
}

#[test]
fn an_offset_past_the_end_of_one_partition_is_noticed() {
    let mut task = Task::new("beyond");
    let t = task.table("t");
    task.load(&t, 0, true);
    let write = |task: &Task, partition, records| {
        task.transaction(|task| {
            for id in 0..records {
                let (key, value) = (t.key(id), t.value(Create, (id, &[Some("x")])));
                task.send(&t.topic, Some(partition), Some(&key), Some(&value));
            }
        });
    };
    for partition in 0..4 {
        write(&task, partition, 20);
    }
    task.catch_up();
    let before = ends(&t.topic);
    // The history stays, so that only the offsets tell.
    task.recreate_topic(&t.topic, 4);
    // Three partitions have grown past where they were.
    for partition in 0..3 {
        write(&task, partition, 40);
    }
    write(&task, 3, 5);
    assert!(ends(&t.topic)[3] < before[3]);
    let mut apply = task.start(&["run"]);
    wait_for("it is parked", SOON, || {
        apply.table("shop.t").filter(|table| *table == ("parked".into(), "offset-out-of-range".into()))
    });
    apply.stop();
}

/// What the table went through in its new topic before apply heard of it does not bring rows of the old one back.
#[test]
fn a_topic_that_takes_the_place_of_another_leaves_no_row_of_it() {
    let mut task = Task::new("placed");
    let later = [None, Some(Cause::Truncate), Some(Cause::Drop)];
    let mut tables: Vec<_> = ["a", "b", "c"].iter().map(|name| task.table(name)).collect();
    let write = |task: &Task, t: &crate::support::Topic, id: i32| {
        task.transaction(|task| task.write(t, Create, (id, &[Some("x")])));
    };
    for t in &tables {
        task.load(t, 1, true);
        write(&task, t, 1);
    }
    task.catch_up();
    for (t, later) in tables.iter_mut().zip(later) {
        task.succeed(t);
        if let Some(cause) = later {
            write(&task, t, 2);
            task.advance(t, cause);
        }
        if later != Some(Cause::Drop) {
            write(&task, t, 3);
        }
        task.load(t, 1, true);
    }
    // One target was dropped by hand meanwhile.
    task.query(&format!("DROP TABLE \"{}\".a", task.name)).unwrap();
    let mut apply = task.start(&["run", "--until-caught-up"]);
    apply.expect_exit(0);
    // What each `apply` here is looked through for is there to be seen.
    let took_over = crate::order::count(&apply.output(), &["owners", "targets", "generations", "offsets"]);
    assert_eq!(took_over, 3, "{}", apply.output());
    assert_eq!([task.rows("a"), task.rows("b"), task.rows("c")], ["3|x", "3|x", ""]);
}

/// Its first topic's name stands for another topic after `capture drop`, while the target was fed from the second one.
#[test]
fn a_table_that_went_into_another_topic_begins_anew_under_its_first_name() {
    let mut task = Task::new("renewed");
    let mut t = task.table("t");
    let write = |task: &Task, t: &crate::support::Topic, id: i32| {
        task.load(t, 1, true);
        task.transaction(|task| task.write(t, Create, (id, &[Some("x")])));
        id
    };
    write(&task, &t, 1);
    task.catch_up();
    task.succeed(&mut t);
    write(&task, &t, 2);
    task.catch_up();
    task.recreate(&mut t);
    write(&task, &t, 3);
    let mut refused = task.start(&["run", "--until-caught-up"]);
    refused.expect_exit(1);
    // No other table feeds the target.
    let said = refused.output();
    assert!(said.contains("topic-recreated") && !said.contains("is fed from"), "{said}");
    let command = ["replay", "--from", "beginning", "--clear", "--table", "shop.t"];
    assert!(said.contains(&format!("`apply {}`", command.join(" "))), "{said}");
    assert_eq!(task.rows("t"), "2|x");
    task.start(&command).expect_exit(0);
    task.catch_up();
    assert_eq!(task.rows("t"), "3|x");
}

#[test]
fn an_end_of_the_history_that_was_met_before_is_not_taken_for_its_present_end() {
    let mut task = Task::new("stale");
    let mut t = task.table("t");
    let settings = task.consumer_client();
    let topic = tributary_schemas::topic::history_topic(&task.name);
    let name = task.name.parse().unwrap();
    let mut reader = tributary_topics::reader::HistoryReader::open(&settings, &name).unwrap();
    reader.read_to_end(|| false).unwrap();
    let asking: [BaseConsumer; 2] = ["read_committed", "read_uncommitted"]
        .map(|level| client().set("isolation.level", level).create().unwrap());
    for generation in 2..30 {
        // The client meets the end, and says so when it is next asked.
        task.advance(&mut t, Cause::Alter);
        // The broker writes the marker of a transaction a moment after it has acknowledged the commit.
        wait_for("the transaction is visible", SOON, || {
            let ends = asking.each_ref().map(|consumer| consumer.fetch_watermarks(&topic, 0, SOON).ok());
            (ends[0] == ends[1]).then_some(())
        });
        reader.read_to_end(|| false).unwrap();
        assert!(reader.history().generation(&t.topic, generation).is_some(), "generation {generation}");
    }
}
