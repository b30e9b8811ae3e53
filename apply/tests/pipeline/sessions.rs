//! What a role's own settings, strangers in its search path and the server's details come to.

use crate::support::{SOON, Task, env};
use tributary_schemas::envelope::Operation::{Create, Delete, Read, Update};
use tributary_tests::wait_for;

fn administer(task: &Task, sql: &str) -> String {
    task.administer(sql).unwrap_or_else(|| panic!("{sql}"))
}

/// Each of them changes something for a session that does not set it itself.
const SETTINGS: [&str; 22] = [
    "statement_timeout = '20s'",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = '1s'",
    "idle_session_timeout = '1s'",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_read_only = on",
    "default_transaction_deferrable = on",
    "row_security = on",
    "session_replication_role = replica",
    "bytea_output = escape",
    "extra_float_digits = -15",
    "\"TimeZone\" = 'Asia/Tokyo'",
    "\"DateStyle\" = 'German, DMY'",
    "\"IntervalStyle\" = sql_standard",
    "standard_conforming_strings = off",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "array_nulls = off",
    "enable_nestloop = off",
    "enable_indexscan = off",
    "client_connection_check_interval = 1",
    "client_min_messages = debug5",
];

#[test]
fn a_roles_settings_and_operators_in_its_search_path_change_nothing() {
    let mut task = Task::new("hostile");
    let (role, evil) = (format!("role_{}", task.name), format!("evil_{}", task.name));
    administer(
        &task,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE {} TO {role}; CREATE SCHEMA {evil}; \
         CREATE TABLE {evil}.taken (by name); GRANT USAGE ON SCHEMA {evil} TO PUBLIC; GRANT ALL ON {evil}.taken TO PUBLIC",
            env("PG_DATABASE")
        ),
    );
    for (kind, code) in [("int4", "int4eq"), ("text", "texteq"), ("varchar", "texteq")] {
        administer(
            &task,
            &format!(
                "CREATE FUNCTION {evil}.equal(a {kind}, b {kind}) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO {evil}.taken VALUES (current_user); RETURN pg_catalog.{code}(a, b); END $$; \
             CREATE OPERATOR {evil}.= (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = {evil}.equal)"
            ),
        );
    }
    administer(&task, &format!("ALTER ROLE {role} SET search_path = {evil}, pg_catalog, public"));
    for setting in SETTINGS {
        administer(&task, &format!("ALTER ROLE {role} SET {setting}"));
    }
    task.configure_role(&role, "x", "");
    let t = task.table("t");
    task.load(&t, 2, false);
    task.transaction(|task| {
        task.write(&t, Read, (1, &[Some("one")]));
        task.write(&t, Read, (2, &[Some("a\\b'c")]));
    });
    let mut apply = task.start(&["run"]);
    let rows = |expected: &str| {
        let select = format!("SELECT * FROM \"{}\".t ORDER BY 1", task.name);
        wait_for(expected, SOON, || (task.query_as((&role, "x"), &select)? == expected).then_some(()));
    };
    rows("1|one\n2|a\\b'c");
    task.load(&t, 2, true);
    task.transaction(|task| {
        task.write(&t, Update, (1, &[Some("two")]));
        task.write(&t, Delete, (2, &[]));
        task.write(&t, Create, (3, &[None]));
    });
    rows("1|two\n3|");
    assert_eq!(administer(&task, &format!("SELECT count(*) FROM {evil}.taken")), "0", "called by the loader");
    let output = apply.output();
    assert!(output.contains("session_replication_role"), "what it may not change is told: {output}");
    apply.stop();
    administer(&task, &format!("DROP SCHEMA {evil} CASCADE; DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn values_that_the_server_quotes_are_in_the_status_and_not_in_the_log() {
    let mut task = Task::new("quoted");
    let (unique, raised, audited) = (task.table("twice"), task.table("raised"), task.table("audited"));
    for table in [&unique, &raised, &audited] {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("first")])));
    }
    let mut apply = task.start(&["run"]);
    for table in ["twice", "raised", "audited"] {
        wait_for(table, SOON, || (task.rows(table) == "1|first").then_some(()));
    }
    task.query(&format!(
        "CREATE UNIQUE INDEX ON \"{0}\".twice (name); CREATE FUNCTION \"{0}\".refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'not %', NEW.name; END $$; CREATE TRIGGER refuse BEFORE INSERT ON \"{0}\".raised \
         FOR EACH ROW EXECUTE FUNCTION \"{0}\".refuse(); CREATE FUNCTION \"{0}\".audit() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO audit VALUES (1); RETURN NULL; END $$; CREATE TRIGGER audit AFTER INSERT ON \"{0}\".audited \
         FOR EACH ROW EXECUTE FUNCTION \"{0}\".audit()",
        task.name
    ))
    .unwrap();
    task.transaction(|task| {
        for table in [&unique, &raised] {
            task.write(table, Create, (2, &[Some("s3cret")]));
        }
        task.write(&unique, Create, (3, &[Some("s3cret")]));
        task.write(&audited, Create, (2, &[Some("x")]));
    });
    for (table, code) in [("shop.twice", "23505"), ("shop.raised", "P0001"), ("shop.audited", "42P01")] {
        let parked = ("parked".to_owned(), code.to_owned());
        wait_for(table, SOON, || (apply.table(table)? == parked).then_some(()));
    }
    let status = apply.status().unwrap().to_string();
    assert_eq!(status.matches("s3cret").count(), 2, "{status}");
    assert!(
        status.contains("ALTER FUNCTION") && !status.contains("--clear"),
        "the remedy is the function's: {status}"
    );
    let output = apply.output();
    assert!(output.contains("23505") && !output.contains("s3cret"), "{output}");
    apply.stop();
}

#[test]
fn a_server_without_a_connection_to_spare_is_waited_for_and_named() {
    let mut task = Task::new("full");
    let role = format!("role_{}", task.name);
    administer(
        &task,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 0; GRANT CREATE ON DATABASE {} TO {role}",
            env("PG_DATABASE")
        ),
    );
    task.configure_role(&role, "x", "");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("one")])));
    let mut apply = task.start(&["run"]);
    let refused = || {
        let status = apply.status()?;
        let told = status["retrying"].to_string().contains("53300");
        (told && status["state"] == "retrying").then_some(())
    };
    let rows = |expected: &str| {
        let select = format!("SELECT * FROM \"{}\".t ORDER BY 1", task.name);
        wait_for(expected, SOON, || (task.administer(&select)? == expected).then_some(()));
    };
    wait_for("refused at the start", SOON, refused);
    administer(&task, &format!("ALTER ROLE {role} CONNECTION LIMIT -1"));
    rows("1|one");
    // And in the middle of the work.
    administer(&task, &format!("ALTER ROLE {role} CONNECTION LIMIT 0"));
    let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE usename =";
    assert_eq!(administer(&task, &format!("{end} '{role}'")), "t");
    task.transaction(|task| task.write(&t, Create, (2, &[Some("two")])));
    wait_for("refused in the middle", SOON, refused);
    administer(&task, &format!("ALTER ROLE {role} CONNECTION LIMIT -1"));
    rows("1|one\n2|two");
    apply.stop();
    administer(&task, &format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}
