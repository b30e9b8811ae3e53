//! The process is killed, again and again.

use crate::support::{SOON, Task, eventually};
use std::collections::BTreeMap;
use tributary_schemas::envelope::Operation::{Create, Delete, Update};
use tributary_schemas::history::Cause;

#[test]
fn killed_at_any_moment_it_goes_on_where_the_destination_is() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut task = Task::new("killed");
    let mut t = task.table("t");
    let mut model: BTreeMap<i32, String> = BTreeMap::new();
    for round in 0..6 {
        if round == 3 {
            task.advance(&mut t, Cause::Truncate);
            model.clear();
        }
        task.load(&t, 0, round % 2 == 0);
        for batch in 0..20 {
            task.transaction(|task| {
                for event in 0..400 {
                    let id = random.i32(0..3000);
                    let text = format!("{round}.{batch}.{event}");
                    match (model.contains_key(&id), random.u32(..4)) {
                        (true, 0) => {
                            task.write(&t, Delete, (id, &[]));
                            model.remove(&id);
                        }
                        (true, _) => {
                            task.write(&t, Update, (id, &[Some(&text)]));
                            model.insert(id, text);
                        }
                        (false, _) => {
                            task.write(&t, Create, (id, &[Some(&text)]));
                            model.insert(id, text);
                        }
                    }
                }
            });
        }
        let mut apply = task.start(&["run"]);
        // A moment of the seed's choosing: so many transactions of the destination later.
        let moment = random.u64(1..400);
        let offsets = format!("SELECT sum(next_offset) FROM bk_{}.offsets", task.name);
        let before: u64 = task.query(&offsets).and_then(|text| text.parse().ok()).unwrap_or(0);
        eventually("progress", SOON, || {
            let now: u64 = task.query(&offsets)?.parse().ok()?;
            (now >= before + moment).then_some(())
        });
        apply.kill();
    }
    task.catch_up();
    let expected: Vec<String> = model.iter().map(|(id, text)| format!("{id}|{text}")).collect();
    assert_eq!(task.rows("t"), expected.join("\n"));
}

#[test]
fn a_frozen_instance_that_was_replaced_writes_nothing_any_more() {
    let mut task = Task::new("zombie");
    let t = task.table("t");
    task.load(&t, 0, true);
    // Rows stay in memory long enough to be frozen there.
    task.configure("", "flush_interval_ms = 4000\n");
    let frozen = task.start(&["run"]);
    eventually("it has partitions", SOON, || {
        frozen.status().filter(|status| status["role"] == "leader" && status["state"] == "synchronizing")
    });
    task.transaction(|task| {
        for id in 0..50 {
            task.write(&t, Create, (id, &[Some("old")]));
        }
    });
    eventually("rows were taken and not written", SOON, || {
        let lag = frozen.status()?["tables"][0]["lag_seconds"].as_f64()?;
        (lag > 0.0 && task.rows("t").is_empty()).then_some(())
    });
    frozen.signal("STOP");
    task.configure("", "");
    let mut heir = task.start(&["run"]);
    task.transaction(|task| {
        for id in 0..50 {
            task.write(&t, Update, (id, &[Some("new")]));
        }
    });
    let expected: Vec<String> = (0..50).map(|id| format!("{id}|new")).collect();
    let expected = expected.join("\n");
    eventually("the heir has merged both", SOON, || (task.rows("t") == expected).then_some(()));
    frozen.signal("CONT");
    // Whichever it is told first: that its offsets are another's now (it has tried to write), or its partitions (it has
    // thrown its rows away).
    eventually("the frozen one knows that it was replaced", SOON, || {
        let output = frozen.output();
        (output.contains("the destination is elsewhere") || output.contains("assigned=false")).then_some(())
    });
    eventually("the frozen one holds nothing any more", SOON, || {
        let status = frozen.status()?;
        (status["tables"][0]["lag_seconds"].as_f64().unwrap_or(0.0) == 0.0).then_some(())
    });
    assert_eq!(task.rows("t"), expected);
    heir.stop();
}

#[test]
fn a_session_in_the_way_of_one_table_ends_neither_the_process_nor_the_others() {
    let mut task = Task::new("inway");
    let (mut blocked, free) = (task.table("blocked"), task.table("free"));
    for table in [&blocked, &free] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("old")])));
    }
    // A server that is away is not to be waited for at all; a lock is.
    task.configure("retry_minutes = 0\nlock_timeout_ms = 100\n", "");
    let mut apply = task.start(&["run"]);
    eventually("the row", SOON, || (task.rows("blocked") == "1|old").then_some(()));
    let mut reader = task.hold(&format!("SELECT count(*) FROM \"{}\".blocked", task.name));
    task.advance(&mut blocked, Cause::Truncate);
    eventually("the TRUNCATE is tried again", SOON, || {
        (apply.output().matches("tried again").count() > 2).then_some(())
    });
    task.transaction(|task| task.write(&free, Create, (2, &[Some("new")])));
    let rows = |table: &str, expected: &str| {
        eventually(table, SOON, || (task.rows(table) == expected).then_some(()));
    };
    rows("free", "1|old\n2|new");
    reader.kill().unwrap();
    reader.wait().unwrap();
    rows("blocked", "");
    apply.stop();
}
