//! A target that belongs to another role: what is printed to be granted is what the chosen operations need, and is enough.

use crate::support::Task;
use tributary_schemas::envelope::Operation::{Create, Delete, Read, Update};

const PASSWORD: &str = "granted";

/// A task with a role that has nothing but its bookkeeping, and a target that belongs to the administrator.
fn prepared(name: &str, key: &str, operations: &str) -> Task {
    let task = Task::new(name);
    let role = &task.name;
    task.administer(&format!(
        "CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA \"bk_{role}\" AUTHORIZATION \"{role}\"; \
         CREATE SCHEMA \"{role}\"; CREATE TABLE \"{role}\".t (id int{key}, name varchar(50))"
    ))
    .unwrap();
    task.configure_role(role, PASSWORD, &format!("operations = [{operations}]\n"));
    task
}

#[test]
fn what_is_granted_follows_from_the_operations_that_are_chosen() {
    const KEYED: &str = " PRIMARY KEY";
    for (name, key, operations, granted, expected) in [
        ("gi", KEYED, "\"insert\"", "SELECT, INSERT, UPDATE", "1|old\n2|two\n3|new"),
        // Without a unique index a merge locks the table first.
        ("gk", "", "\"insert\"", "SELECT, INSERT, UPDATE", "1|old\n2|two\n3|new"),
        ("giu", KEYED, "\"insert\", \"update\"", "SELECT, INSERT, UPDATE", "1|changed\n2|two\n3|new"),
        ("gid", KEYED, "\"insert\", \"delete\"", "SELECT, INSERT, DELETE, TRUNCATE", "1|old\n3|new"),
        (
            "gall",
            KEYED,
            "\"insert\", \"update\", \"delete\"",
            "SELECT, INSERT, UPDATE, DELETE, TRUNCATE",
            "1|changed\n3|new",
        ),
    ] {
        let mut task = prepared(name, key, operations);
        let t = task.table("t");
        task.load(&t, 2, true);
        task.transaction(|task| {
            task.write(&t, Read, (1, &[Some("old")]));
            task.write(&t, Read, (2, &[Some("two")]));
        });
        let mut check = task.start(&["check"]);
        check.expect_exit(1);
        let rows: Vec<&str> = granted.split(", ").filter(|privilege| *privilege != "TRUNCATE").collect();
        assert!(check.output().contains(&format!("it lacks {}", rows.join(", "))), "{}", check.output());
        let mut printed = task.start(&["check", "--print-grants"]);
        printed.expect_exit(0);
        let printed = printed.output();
        let line = printed.lines().find(|line| line.contains("shop.t: GRANT")).unwrap();
        assert!(line.contains(&format!("GRANT {granted} ON ")), "{line}");
        task.administer(line.split_once("shop.t: ").unwrap().1).unwrap();
        task.administer(&format!("GRANT USAGE ON SCHEMA \"{0}\" TO \"{0}\"", task.name)).unwrap();
        task.start(&["check"]).expect_exit(0);
        task.catch_up();
        task.transaction(|task| task.write(&t, Create, (3, &[Some("new")])));
        task.transaction(|task| task.write(&t, Update, (1, &[Some("changed")])));
        task.transaction(|task| task.write(&t, Delete, (2, &[None])));
        task.catch_up();
        let rows = format!("SELECT * FROM \"{}\".t ORDER BY 1", task.name);
        assert_eq!(task.administer(&rows).as_deref(), Some(expected), "{operations}");
        task.administer(&format!(
            "DROP OWNED BY \"{0}\" CASCADE; DROP SCHEMA \"{0}\" CASCADE; DROP ROLE \"{0}\"",
            task.name
        ))
        .unwrap();
    }
}
