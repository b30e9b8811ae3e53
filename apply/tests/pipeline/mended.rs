//! What a person mends on the destination while apply runs: the table goes on by itself.

use crate::support::{SOON, Task};
use tributary_schemas::envelope::Operation::Create;
use tributary_schemas::history::Cause;
use tributary_tests::wait_for;

const PASSWORD: &str = "mended";

#[test]
fn what_was_parked_goes_on_by_itself_once_a_person_has_mended_it() {
    let mut task = Task::new("mended");
    // A role as a DBA makes it: it may connect, and has the bookkeeping's schema.
    let role = task.name.clone();
    let role_sql = format!(
        "CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA \"bk_{role}\" AUTHORIZATION \"{role}\""
    );
    task.administer(&role_sql).unwrap();
    task.configure_role(&role, PASSWORD, "retry_parked_ms = 1000\n");
    // The grants are printed before there is any history.
    let mut printed = task.start(&["check", "--print-grants"]);
    printed.expect_exit(0);
    let printed = printed.output();

    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("first")])));
    let mut apply = task.start(&["run"]);
    let parked = |name: &str, code: &str| {
        wait_for(name, SOON, || apply.table(name).filter(|found| *found == ("parked".into(), code.into())))
    };
    parked("shop.t", "42501");
    // Each statement of the destination's part, as the administrator; the role and its schema are there.
    let sql = printed.split("\n# Kafka").next().unwrap();
    let statements = sql.lines().filter(|line| !line.starts_with("--") && !line.starts_with("CREATE ROLE"));
    for statement in statements {
        task.administer(statement).unwrap_or_else(|| panic!("{statement}"));
    }
    let follows =
        |name: &str| wait_for(name, SOON, || apply.table(name).filter(|(state, _)| state == "synchronizing"));
    follows("shop.t");
    assert_eq!(task.administer(&format!("SELECT * FROM \"{role}\".t")).unwrap(), "1|first");

    // A target that has rows, and one that is a view.
    let own = |sql: &str| task.query_as((&role, PASSWORD), sql);
    own(&format!("CREATE TABLE \"{role}\".u (id int PRIMARY KEY, name varchar(50)); INSERT INTO \"{role}\".u VALUES (7)"))
        .unwrap();
    own(&format!("CREATE VIEW \"{role}\".v AS SELECT 1 AS id")).unwrap();
    let (u, v) = (task.table("u"), task.table("v"));
    for table in [&u, &v] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("first")])));
    }
    parked("shop.u", "existing-data");
    parked("shop.v", "target-kind");
    let own = |sql: &str| task.query_as((&role, PASSWORD), sql);
    own(&format!("DELETE FROM \"{role}\".u; DROP VIEW \"{role}\".v")).unwrap();
    for table in ["u", "v"] {
        follows(&format!("shop.{table}"));
        assert_eq!(task.administer(&format!("SELECT * FROM \"{role}\".{table}")).unwrap(), "1|first");
    }
    // One that an administrator has made: for rows a grant will do, for its definition it wants the owner.
    task.administer(&format!("CREATE TABLE \"{role}\".w (id int PRIMARY KEY, name varchar(50))")).unwrap();
    let mut w = task.table("w");
    task.load(&w, 0, true);
    task.transaction(|task| task.write(&w, Create, (1, &[Some("first")])));
    parked("shop.w", "42501");
    let check = |expected: &str| {
        let mut check = task.start(&["check"]);
        check.expect_exit(i32::from(expected.contains("may not")));
        assert!(check.output().contains(expected), "{}", check.output());
    };
    check("may not write into");
    let mut printed = task.start(&["check", "--print-grants"]);
    printed.expect_exit(0);
    let printed = printed.output();
    let grant = |task: &Task, word: &str| {
        let line = printed.lines().find(|line| line.contains(word) && line.contains("\"w\"")).unwrap();
        task.administer(line.split_once("shop.w: ").unwrap().1).unwrap_or_else(|| panic!("{line}"));
    };
    grant(&task, "GRANT");
    follows("shop.w");
    check("belongs to another role");
    w.table.columns[1].column_type = "varchar(90)".parse().unwrap();
    task.advance(&mut w, Cause::Alter);
    parked("shop.w", "42501");
    grant(&task, "OWNER TO");
    follows("shop.w");
    let typed = format!(
        "SELECT atttypmod - 4 FROM pg_attribute WHERE attrelid = '\"{role}\".w'::regclass AND attname = 'name'"
    );
    wait_for("the wider column", SOON, || task.administer(&typed).filter(|width| width == "90"));
    apply.stop();
    // However often they were tried, each reason is told once: between two of the grants there may be one more.
    let output = apply.output();
    let said: Vec<&str> = output.split("parked: ").skip(1).filter_map(|rest| rest.lines().next()).collect();
    let reasons: std::collections::BTreeSet<&&str> = said.iter().collect();
    assert!(said.len() == reasons.len() && (5..=6).contains(&said.len()), "{output}");
}

#[test]
fn a_column_that_was_dropped_by_hand_is_back_with_its_values_once_the_remedy_is_followed() {
    let mut task = Task::new("dropped");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("first")])));
    task.catch_up();
    task.query(&format!("ALTER TABLE \"{}\".t DROP COLUMN name", task.name)).unwrap();
    let mut apply = task.start(&["run"]);
    task.transaction(|task| task.write(&t, Create, (2, &[Some("second")])));
    let error = wait_for("parked", SOON, || {
        let table = apply.status()?["tables"][0].clone();
        (table["state"] == "parked").then(|| table["error"].to_string())
    });
    let command = ["replay", "--from", "beginning", "--clear", "--table", "shop.t"];
    assert!(error.contains(&format!("apply {}", command.join(" "))), "{error}");
    task.start(&command).expect_exit(0);
    let rows = format!("SELECT id, name FROM \"{}\".t ORDER BY 1", task.name);
    wait_for("both rows with their names", SOON, || {
        task.query(&rows).filter(|rows| rows == "1|first\n2|second")
    });
    apply.stop();
}
