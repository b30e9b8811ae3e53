//! Two destinations under one task's name: one works, the other ends, and no row is split between them.

use crate::support::{SOON, Task, Topic};
use tributary_schemas::envelope::Operation::Create;
use tributary_tests::wait_for;

fn write(task: &Task, t: &Topic, ids: std::ops::Range<i32>) {
    task.transaction(|task| ids.for_each(|id| task.write(t, Create, (id, &[Some("x")]))));
}

/// Points the configuration at another warehouse: bookkeeping and targets of its own.
fn elsewhere(task: &Task) {
    task.edit("schema = \"bk_", "schema = \"bk2_");
    task.edit("target = \"", "target = \"two_");
}

fn rows(task: &Task, schema: &str) -> usize {
    let rows = task.query(&format!("SELECT count(*) FROM \"{schema}{}\".t", task.name));
    rows.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_second_destination_under_a_tasks_name_is_refused_and_the_first_has_every_row() {
    let mut task = Task::new("shared");
    let t = task.table("t");
    task.load(&t, 0, true);
    write(&task, &t, 0..100);
    let mut first = task.start(&["run"]);
    wait_for("the first has them", SOON, || (rows(&task, "") == 100).then_some(()));
    elsewhere(&task);
    let mut second = task.start(&["run"]);
    write(&task, &t, 100..200);
    second.expect_exit(1);
    let output = second.output();
    assert!(output.contains("another destination works under the name"), "{output}");
    write(&task, &t, 200..300);
    wait_for("the first has all of them", SOON, || (rows(&task, "") == 300).then_some(()));
    assert_eq!(rows(&task, "two_"), 0);
    first.stop();
    // The name is free now, and everything is in the topics.
    task.catch_up();
    assert_eq!(rows(&task, "two_"), 300);
    // A copy of the bookkeeping is another destination than its original.
    let identity = format!("SELECT identity FROM bk2_{}.identities", task.name);
    let before = task.query(&identity).unwrap();
    task.query(&format!("UPDATE bk2_{}.identities SET origin = '1.1'", task.name)).unwrap();
    task.catch_up();
    assert_ne!(task.query(&identity).unwrap(), before);
}

#[test]
fn of_two_destinations_that_start_together_one_goes_on_with_every_row() {
    let mut task = Task::new("together");
    let t = task.table("t");
    task.load(&t, 0, true);
    write(&task, &t, 0..100);
    task.catch_up();
    let mut one = task.start(&["run"]);
    wait_for("it has read its configuration", SOON, || one.output().contains("http://").then_some(()));
    elsewhere(&task);
    let mut two = task.start(&["run"]);
    let first_ends = wait_for("one of them ends", SOON, || {
        let ended = [&mut one, &mut two].map(|process| !process.is_running());
        ended.contains(&true).then_some(ended[0])
    });
    let (mut ended, mut works, schema) = if first_ends { (one, two, "two_") } else { (two, one, "") };
    ended.expect_exit(1);
    assert!(ended.output().contains("another destination works under the name"), "{}", ended.output());
    write(&task, &t, 100..300);
    wait_for("the other has all of them", SOON, || (rows(&task, schema) == 300).then_some(()));
    works.stop();
}
