//! The process is killed, again and again.

use crate::process::Process;
use crate::support::{SOON, Task};
use std::collections::BTreeMap;
use tributary_schemas::envelope::Operation::{Create, Delete, Update};
use tributary_schemas::history::Cause;
use tributary_tests::wait_for;

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
        wait_for("progress", SOON, || {
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
    wait_for("it has partitions", SOON, || {
        frozen.status().filter(|status| status["role"] == "leader" && status["state"] == "synchronizing")
    });
    task.transaction(|task| {
        for id in 0..50 {
            task.write(&t, Create, (id, &[Some("old")]));
        }
    });
    wait_for("rows were taken and not written", SOON, || {
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
    wait_for("the heir has merged both", SOON, || (task.rows("t") == expected).then_some(()));
    frozen.signal("CONT");
    // Whichever it is told first: that its offsets are another's now (it has tried to write), or its partitions (it has
    // thrown its rows away).
    wait_for("the frozen one knows that it was replaced", SOON, || {
        let output = frozen.output();
        (output.contains("the destination is elsewhere") || output.contains("assigned=false")).then_some(())
    });
    wait_for("the frozen one holds nothing any more", SOON, || {
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
    wait_for("the row", SOON, || (task.rows("blocked") == "1|old").then_some(()));
    let mut reader = task.hold(&format!("SELECT count(*) FROM \"{}\".blocked", task.name));
    task.advance(&mut blocked, Cause::Truncate);
    // While it is waited for, nobody needs to wait for the bookkeeping.
    let locked = format!(
        "WITH w AS MATERIALIZED (SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = '\"{0}\".blocked'::regclass), \
         t AS (SELECT 1 FROM bk_{0}.targets FOR UPDATE SKIP LOCKED), o AS (SELECT 1 FROM bk_{0}.offsets FOR UPDATE SKIP LOCKED) \
         SELECT (SELECT n FROM w), (SELECT count(*) FROM t), (SELECT count(*) FROM o)",
        task.name
    );
    let found =
        wait_for("the TRUNCATE waits", SOON, || task.query(&locked).filter(|row| !row.starts_with('0')));
    assert_eq!(found, "1|2|8", "waiting, rows of targets and of offsets that are free");
    wait_for("the TRUNCATE is tried again", SOON, || {
        (apply.output().matches("tried again").count() > 2).then_some(())
    });
    task.transaction(|task| task.write(&free, Create, (2, &[Some("new")])));
    let rows = |table: &str, expected: &str| {
        wait_for(table, SOON, || (task.rows(table) == expected).then_some(()));
    };
    rows("free", "1|old\n2|new");
    wait_for("the status says who holds it", SOON, || {
        apply.status()?["retrying"].to_string().contains(&task.name).then_some(())
    });
    reader.kill().unwrap();
    reader.wait().unwrap();
    rows("blocked", "");
    apply.stop();
}

#[test]
fn ddl_that_waits_leaves_connections_to_the_others_and_readers_of_the_table_go_on() {
    let mut task = Task::new("waits");
    let mut blocked: Vec<_> = ["a", "b", "c"].iter().map(|name| task.table(name)).collect();
    let free = task.table("free");
    for table in blocked.iter().chain([&free]) {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("old")])));
    }
    // Whoever waited for a lock by the rule would do so for longer than this test.
    task.configure("connections = 2\nlock_timeout_ms = 600000\n", "");
    let mut apply = task.start(&["run"]);
    for table in ["a", "b", "c", "free"] {
        wait_for(table, SOON, || (task.rows(table) == "1|old").then_some(()));
    }
    let schema = task.name.clone();
    let read = |name: &str| format!("SELECT count(*) FROM \"{schema}\".{name}");
    let mut reader = task.hold(&["a", "b", "c"].map(read).join("; "));
    for table in &mut blocked {
        table.add_column("more", None);
        task.advance(table, Cause::Alter);
    }
    wait_for("each is tried again", SOON, || {
        let output = apply.output();
        ["shop.a", "shop.b", "shop.c"]
            .iter()
            .all(|name| output.contains(&format!("tried again table={name}")))
            .then_some(())
    });
    task.transaction(|task| task.write(&free, Create, (2, &[Some("new")])));
    wait_for("free", SOON, || (task.rows("free") == "1|old\n2|new").then_some(()));
    let analyst = format!("SET statement_timeout = '20s'; {}", read("a"));
    wait_for("an analyst", SOON, || task.query(&analyst).filter(|answer| answer.ends_with('1')));
    reader.kill().unwrap();
    reader.wait().unwrap();
    for table in ["a", "b", "c"] {
        wait_for(table, SOON, || (task.rows(table) == "1|old|").then_some(()));
    }
    apply.stop();
}

#[test]
fn a_session_of_an_instance_that_hangs_is_ended_by_its_heir() {
    let mut task = Task::new("hangs");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.configure("lock_timeout_ms = 500\n", "");
    task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
    let frozen = task.start(&["run"]);
    wait_for("the row", SOON, || (task.rows("t") == "1|old").then_some(()));
    // It waits for a lock while it is stopped, and gets it when nobody is there to go on.
    let mut holder = task.hold(&format!("SELECT FROM \"{}\".t WHERE id = 1 FOR UPDATE", task.name));
    task.transaction(|task| task.write(&t, Update, (1, &[Some("new")])));
    let session = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tributary apply%' AND ";
    let merge = format!("query LIKE '%{}%' AND ", task.name);
    wait_for("the merge waits", SOON, || {
        frozen.signal("STOP");
        let waits = format!("{session}{merge}wait_event_type = 'Lock'");
        let found = task.query(&waits).filter(|count| count == "1").map(drop);
        if found.is_none() {
            frozen.signal("CONT");
        }
        found
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    let hangs = format!("{session}{merge}state = 'idle in transaction'");
    wait_for("the session hangs in its transaction", SOON, || {
        task.query(&hangs).filter(|count| count == "1")
    });
    let mut heir = task.start(&["run"]);
    wait_for("the heir", SOON, || (task.rows("t") == "1|new").then_some(()));
    assert!(heir.output().contains("hangs in a transaction was ended"), "{}", heir.output());
    heir.stop();
}

/// What `/status` says that is waited for.
fn waits(apply: &Process) -> String {
    apply.status().map(|status| status["waits"].to_string()).unwrap_or_default()
}

#[test]
fn an_instance_whose_connections_are_all_taken_still_says_that_it_lives() {
    let mut task = Task::new("busy");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.configure("connections = 1\n", "");
    task.transaction(|task| task.write(&t, Create, (1, &[Some("old")])));
    let mut apply = task.start(&["run"]);
    wait_for("the row", SOON, || (task.rows("t") == "1|old").then_some(()));
    let schema = task.name.clone();
    task.query(&format!(
        "CREATE FUNCTION \"{schema}\".slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(9); RETURN NULL; END $$; \
         CREATE TRIGGER slow AFTER UPDATE ON \"{schema}\".t FOR EACH STATEMENT EXECUTE FUNCTION \"{schema}\".slow()"
    ))
    .unwrap();
    task.transaction(|task| task.write(&t, Update, (1, &[Some("new")])));
    let works = format!("query LIKE '%{schema}%' AND wait_event = 'PgSleep'");
    let merging = format!(
        "SELECT application_name, clock_timestamp() FROM pg_stat_activity WHERE application_name LIKE 'tributary apply%' AND {works}"
    );
    let found = wait_for("the merge", SOON, || task.query(&merging).filter(|row| !row.is_empty()));
    let (instance, now) = found.split_once('|').unwrap();
    let alive = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{instance}' AND state_change > \
         '{now}'::timestamptz + interval '3 seconds' HAVING EXISTS (SELECT 1 FROM pg_stat_activity WHERE {works})"
    );
    wait_for("a sign of life", SOON, || task.query(&alive).filter(|count| count == "1"));
    // A look at the bookkeeping waits for the connection.
    let taken = format!("the only one is taken (\\\"{schema}\\\".\\\"t\\\" for ");
    wait_for("who has it", SOON, || waits(&apply).contains(&taken).then_some(()));
    wait_for("the row", SOON, || (task.rows("t") == "1|new").then_some(()));
    apply.stop();
}

#[test]
fn tables_whose_rows_are_locked_leave_a_connection_to_the_others() {
    let mut task = Task::new("locked");
    let [a, b, free] = ["a", "b", "free"].map(|name| task.table(name));
    for table in [&a, &b, &free] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("old")])));
    }
    // Whoever waited for a lock by the rule would do so for longer than this test.
    task.configure("connections = 2\nlock_timeout_ms = 600000\n", "");
    let mut apply = task.start(&["run"]);
    for table in ["a", "b", "free"] {
        wait_for(table, SOON, || (task.rows(table) == "1|old").then_some(()));
    }
    let schema = task.name.clone();
    let lock = |name: &str| format!("SELECT FROM \"{schema}\".{name} WHERE id = 1 FOR UPDATE");
    let mut holder = task.hold(&["a", "b"].map(lock).join("; "));
    for table in [&a, &b] {
        task.transaction(|task| task.write(table, Update, (1, &[Some("new")])));
    }
    // Each is known to be locked, and one of them waits for the turn of the other.
    wait_for("a turn is waited for", SOON, || {
        waits(&apply).contains("a turn to wait for locks at the destination").then_some(())
    });
    for table in ["a", "b"] {
        let again = format!("tried again table=shop.{table} error=waiting for");
        assert!(apply.output().contains(&again), "{}", apply.output());
    }
    let began = std::time::Instant::now();
    task.transaction(|task| task.write(&free, Create, (2, &[Some("new")])));
    wait_for("free", SOON, || (task.rows("free") == "1|old\n2|new").then_some(()));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    holder.kill().unwrap();
    holder.wait().unwrap();
    for table in ["a", "b"] {
        wait_for(table, SOON, || (task.rows(table) == "1|new").then_some(()));
    }
    apply.stop();
}

#[test]
fn targets_that_are_cleared_or_taken_over_are_waited_for_like_those_that_ddl_changes() {
    let mut task = Task::new("cleared");
    task.configure("connections = 2\nlock_timeout_ms = 600000\n", "existing_data = \"clear\"\n");
    let mut moved = task.table("moved");
    task.load(&moved, 1, true);
    task.transaction(|task| task.write(&moved, Create, (7, &[Some("old")])));
    task.catch_up();
    let schema = task.name.clone();
    for name in ["a", "b"] {
        task.query(&format!(
            "CREATE TABLE \"{schema}\".{name} (id int PRIMARY KEY, name varchar(50)); INSERT INTO \"{schema}\".{name} VALUES (7)"
        ))
        .unwrap();
    }
    let read = |name: &str| format!("SELECT count(*) FROM \"{schema}\".{name}");
    let mut reader = task.hold(&["a", "b", "moved"].map(read).join("; "));
    task.succeed(&mut moved);
    let [a, b, free] = ["a", "b", "free"].map(|name| task.table(name));
    for table in [&moved, &a, &b, &free] {
        task.load(table, 1, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("new")])));
    }
    let mut apply = task.start(&["run"]);
    wait_for("each is tried again", SOON, || {
        let output = apply.output();
        let again = |name: &&str| output.contains(&format!("tried again table=shop.{name}"));
        ["a", "b", "moved"].iter().all(again).then_some(())
    });
    wait_for("free", SOON, || (task.rows("free") == "1|new").then_some(()));
    for name in ["a", "b", "moved"] {
        let analyst = format!("SET statement_timeout = '20s'; {}", read(name));
        wait_for("an analyst", SOON, || task.query(&analyst).filter(|answer| answer.ends_with('1')));
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
    for name in ["a", "b", "moved"] {
        wait_for(name, SOON, || (task.rows(name) == "1|new").then_some(()));
    }
    apply.stop();
}
