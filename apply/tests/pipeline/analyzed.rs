//! What follows a load: statistics and indexes, also of a run that ends once it has caught up.

use crate::support::{SOON, Task, eventually};
use tributary_schemas::envelope::Operation::Read;
use tributary_schemas::history::Cause;

#[test]
fn statistics_follow_each_load_before_a_run_that_catches_up_ends() {
    let mut task = Task::new("analyzed");
    let mut t = task.table("t");
    let rows = |task: &Task, t: &_, count: i32| {
        task.transaction(|task| (0..count).for_each(|id| task.write(t, Read, (id, &[Some("x")]))));
        task.load(t, 0, true);
    };
    let statistics = format!(
        "SELECT c.reltuples, t.loaded FROM pg_class c, \"bk_{0}\".targets t WHERE c.oid = '\"{0}\".t'::regclass",
        task.name
    );
    rows(&task, &t, 20);
    task.catch_up();
    assert_eq!(task.query(&statistics).as_deref(), Some("20|t"));
    // Read anew, with fewer rows.
    task.advance(&mut t, Cause::Reset);
    rows(&task, &t, 7);
    task.catch_up();
    assert_eq!(task.query(&statistics).as_deref(), Some("7|t"));
    // And while a run goes on.
    let mut apply = task.start(&["run"]);
    eventually("it runs", SOON, || apply.table("shop.t").filter(|(state, _)| state == "synchronizing"));
    task.advance(&mut t, Cause::Reset);
    rows(&task, &t, 9);
    eventually("statistics of the third load", SOON, || {
        task.query(&statistics).filter(|found| found == "9|t")
    });
    apply.stop();
}
