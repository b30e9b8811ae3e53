//! What follows a load: statistics and indexes, also of a run that ends once it has caught up.

use crate::support::{SOON, Task};
use tributary_schemas::envelope::Operation::Read;
use tributary_schemas::history::Cause;
use tributary_schemas::table::{Index, IndexPart};
use tributary_tests::wait_for;

#[test]
fn statistics_follow_each_load_before_a_run_that_catches_up_ends() {
    let mut task = Task::new("analyzed");
    task.configure("", "indexes = \"plain\"\n");
    let mut t = task.table("t");
    let rows = |task: &Task, t: &_, count: i32| {
        task.transaction(|task| (0..count).for_each(|id| task.write(t, Read, (id, &[Some("x")]))));
        task.load(t, 0, true);
    };
    // A table of the source may be called what an index was called by versions before.
    let by_name = task.table("t.by_name");
    rows(&task, &by_name, 1);
    let index = |name: &str| Index {
        name: name.into(),
        unique: false,
        kind: "BTREE".into(),
        parts: vec![IndexPart { column: Some("name".into()), prefix: None }],
    };
    let indexes = format!(
        "SELECT string_agg(indexname, ',') FROM pg_indexes WHERE schemaname = '{}' AND tablename = 't' AND indexname NOT LIKE '%_pkey'",
        task.name
    );
    let statistics = format!(
        "SELECT c.reltuples, t.loaded FROM pg_class c, \"bk_{0}\".targets t WHERE c.oid = '\"{0}\".t'::regclass AND t.target_table = 't'",
        task.name
    );
    rows(&task, &t, 20);
    task.catch_up();
    assert_eq!(task.query(&statistics).as_deref(), Some("20|t"));
    assert_eq!(task.query(&indexes).as_deref(), Some(""));
    // Read anew, with fewer rows.
    t.table.indexes = vec![index("by_name")];
    task.advance(&mut t, Cause::Reset);
    rows(&task, &t, 7);
    task.catch_up();
    assert_eq!(task.query(&statistics).as_deref(), Some("7|t"));
    let made = task.query(&indexes).unwrap();
    assert!(made.starts_with("t.by_name_") && !made.contains(','), "{made}");
    // One that a version before has made is not made again.
    task.query(&format!("ALTER INDEX \"{}\".\"{made}\" RENAME TO \"t.by_day\"", task.name)).unwrap();
    t.table.indexes = vec![index("by_day")];
    // And while a run goes on.
    let mut apply = task.start(&["run"]);
    wait_for("it runs", SOON, || apply.table("shop.t").filter(|(state, _)| state == "synchronizing"));
    task.advance(&mut t, Cause::Reset);
    rows(&task, &t, 9);
    wait_for("statistics of the third load", SOON, || task.query(&statistics).filter(|found| found == "9|t"));
    assert_eq!(task.query(&indexes).as_deref(), Some("t.by_day"));
    apply.stop();
}
