//! A target that is made anew keeps what hung on it; one that others depend on waits for a person, and goes on once the
//! statements that it gives have been run.

use crate::process::Process;
use crate::support::{SOON, Task, env};
use std::cell::Cell;
use tributary_schemas::envelope::Operation::{Create, Read};
use tributary_schemas::history::Cause;
use tributary_tests::wait_for;

/// In the target's schema for `S`.
fn run(task: &Task, sql: &str) {
    task.query(&sql.replace("S.", &format!("\"{}\".", task.name))).unwrap_or_else(|| panic!("{sql}"));
}

#[test]
fn a_target_that_is_made_anew_has_what_it_had() {
    let mut task = Task::new("anew");
    let role = format!("role_{}", task.name);
    task.administer(&format!("CREATE ROLE {role}")).unwrap();
    let mut t = task.table("t");
    t.table.columns[1].comment = "of the source".into();
    task.advance(&mut t, Cause::Alter);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("x")])));
    task.catch_up();
    run(
        &task,
        &format!(
            "ALTER TABLE S.t ADD COLUMN mine text DEFAULT 'm', ADD CONSTRAINT positive CHECK (id > 0), SET (fillfactor = 70); \
             CREATE INDEX by_name ON S.t (name); CREATE UNIQUE INDEX by_mine ON S.t (lower(mine), id) WHERE id > 5; \
             CREATE INDEX by_text ON S.t (name varchar_pattern_ops); CREATE STATISTICS S.st ON id, name FROM S.t; \
             ALTER TABLE S.t ALTER COLUMN id SET STATISTICS 321; COMMENT ON TABLE S.t IS 'it''s ours'; \
             COMMENT ON COLUMN S.t.id IS 'ours, too'; GRANT SELECT ON S.t TO PUBLIC; \
             GRANT UPDATE (name), INSERT ON S.t TO {role} WITH GRANT OPTION; ALTER TABLE S.t ADD COLUMN aaa text GENERATED ALWAYS AS \
             (mine || '!') STORED, ADD COLUMN counted bigserial, ADD COLUMN stepped int GENERATED ALWAYS AS IDENTITY (INCREMENT BY 5), \
             ENABLE ROW LEVEL SECURITY; CREATE PUBLICATION {role} FOR TABLE S.t (id, name) WHERE (id > 3); \
             ALTER DEFAULT PRIVILEGES IN SCHEMA \"{}\" GRANT SELECT ON TABLES TO {role}",
            task.name
        ),
    );
    let hung = format!(
        "SELECT string_agg(what, E'\\n' ORDER BY what) FROM (SELECT indexdef AS what FROM pg_indexes WHERE schemaname = '{0}' \
         UNION ALL SELECT stxname || stxkeys::text FROM pg_statistic_ext WHERE stxrelid = '\"{0}\".t'::regclass \
         UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '\"{0}\".t'::regclass \
         UNION ALL SELECT attname || attstattarget || coalesce(attacl::text, '') || coalesce(col_description(attrelid, attnum), '') \
         FROM pg_attribute WHERE attrelid = '\"{0}\".t'::regclass AND attnum > 0 AND NOT attisdropped UNION ALL \
         SELECT concat(pubname, attnames, rowfilter) FROM pg_publication_tables WHERE schemaname = '{0}' UNION ALL \
         SELECT concat(reloptions, relrowsecurity, pg_get_serial_sequence('\"{0}\".t', 'counted'), (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(relacl) AS a), obj_description(oid)) FROM pg_class WHERE oid = '\"{0}\".t'::regclass) AS w",
        task.name
    );
    let before = task.query(&hung).unwrap();
    // To a type that no ALTER leads to.
    t.table.columns[1].column_type = "varbinary(50)".parse().unwrap();
    t.table.columns[1].name = "bytes".into();
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (7, &[Some("y")])));
    let mut apply = task.start(&["run", "--until-caught-up"]);
    apply.expect_exit(0);
    assert_eq!(task.rows("t"), "7|\\x79|m|2|6|m!");
    // An operator class that the new type does not have is told with its statement; everything else is there.
    let output = apply.output();
    assert!(output.contains("made anew without") && output.contains("CREATE INDEX by_text"), "{output}");
    let expected: Vec<String> = before
        .lines()
        .filter(|line| !line.contains("by_text"))
        .map(|line| {
            line.replace("(name)", "(bytes)").replace("name-1", "bytes-1").replace("{id,name}", "{id,bytes}")
        })
        .collect();
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let after = task.query(&hung).unwrap();
    let mut after: Vec<&str> = after.lines().collect();
    expected.sort_unstable();
    after.sort_unstable();
    assert_eq!(after, expected);
    run(&task, "DROP TABLE S.t");
    task.administer(&format!("DROP PUBLICATION {role}; DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[test]
fn what_cannot_be_given_back_surely_keeps_the_target_as_it_is() {
    let mut task = Task::new("kept");
    task.configure("", "retry_parked_ms = 1000\n");
    let (role, user) = (format!("role_{}", task.name), env("PG_USER"));
    task.administer(&format!("CREATE ROLE {role}; GRANT {role} TO {user}")).unwrap();
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("x")])));
    task.catch_up();
    run(&task, "CREATE TABLE S.parent (id int NOT NULL); ALTER TABLE S.t INHERIT S.parent");
    task.administer(&format!(
        "ALTER TABLE \"{0}\".t OWNER TO {role}; ALTER TABLE \"{0}\".parent OWNER TO {role}; \
         GRANT SELECT, INSERT ON \"{0}\".t TO {user}",
        task.name
    ))
    .unwrap();
    t.table.columns[1].column_type = "varbinary(50)".parse().unwrap();
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (7, &[Some("y")])));
    let mut apply = task.start(&["run"]);
    let (grant, parked) =
        (format!("GRANT USAGE, CREATE ON SCHEMA \"{}\" TO {role}", task.name), Cell::new(false));
    let message = follow_remedy(&task, &apply, || {
        let error = apply.status().map(|status| status["tables"][0]["error"].clone()).unwrap_or_default();
        let of_owner = error["message"].as_str().is_some_and(|message| message.contains("OWNER TO"));
        if of_owner && error["code"] == "42501" && !parked.replace(true) {
            // The old one is there.
            assert_eq!(task.rows("t"), "1|x");
            run(&task, &grant);
        }
        task.rows("t") == "7|\\x79"
    });
    assert!(parked.get(), "the owner is not given back in silence");
    assert!(message.contains("parent table"), "{message}");
    let rights = format!(
        "SELECT concat(relowner::regrole, relacl) FROM pg_class WHERE oid = '\"{}\".t'::regclass",
        task.name
    );
    assert!(task.query(&rights).unwrap().contains(&format!("{user}=ar/{role}")), "{:?}", task.query(&rights));
    apply.stop();
    run(&task, "DROP TABLE S.t, S.parent");
    task.administer(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

/// Waits until the table is parked by its dependents, and runs what it says: what removes them, and after `followed` what
/// brings them back.
fn follow_remedy(task: &Task, apply: &Process, followed: impl Fn() -> bool) -> String {
    let error = wait_for("parked", SOON, || {
        let table = apply.status()?["tables"][0].clone();
        (table["state"] == "parked" && table["error"]["code"] == "target-dependents")
            .then(|| table["error"].clone())
    });
    let remedy = error["remedy"].as_str().unwrap();
    let (_, remedy) = remedy.split_once("as the owner:\n").unwrap();
    let (removal, rest) = remedy.split_once("\napply tries again by itself").unwrap();
    let (_, creation) = rest.split_once(":\n").unwrap();
    task.query(removal).unwrap_or_else(|| panic!("{removal}"));
    wait_for("goes on", SOON, || followed().then_some(()));
    task.query(creation).unwrap_or_else(|| panic!("{creation}"));
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn views_that_a_change_stumbles_over_are_named_with_what_to_run_and_the_table_goes_on() {
    let mut task = Task::new("views");
    task.configure("", "retry_parked_ms = 1000\n");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("one")])));
    task.catch_up();
    run(
        &task,
        "CREATE VIEW S.low WITH (security_barrier) AS SELECT id, name FROM S.t; GRANT SELECT ON S.low TO PUBLIC; \
         CREATE RULE low_rule AS ON DELETE TO S.low DO INSTEAD NOTHING; \
         CREATE VIEW S.\"Hi gh\" AS SELECT upper(name) AS name FROM S.low; \
         CREATE MATERIALIZED VIEW S.kept AS SELECT name FROM S.\"Hi gh\"; CREATE UNIQUE INDEX kept_name ON S.kept (name); \
         CREATE FUNCTION S.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER note AFTER UPDATE OF name ON S.t FOR EACH ROW EXECUTE FUNCTION S.note(); \
         CREATE TABLE S.other (id int REFERENCES S.t)",
    );
    task.query(&format!(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA \"{}\" GRANT INSERT ON TABLES TO PUBLIC",
        task.name
    ))
    .unwrap();
    let mut check = task.start(&["check"]);
    check.expect_exit(0);
    assert!(
        check.output().contains("is used by others") && check.output().contains("low"),
        "{}",
        check.output()
    );
    let mut apply = task.start(&["run"]);
    t.table.columns[1].column_type = "varchar(100)".parse().unwrap();
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (2, &[Some("two")])));
    let message = follow_remedy(&task, &apply, || task.rows("t") == "1|one\n2|two");
    for name in ["low", "\"Hi gh\"", "kept", "trigger note"] {
        assert!(message.contains(name), "{name} is not in {message}");
    }
    assert!(!message.contains("foreign key"), "{message}");
    let seen = format!(
        "SELECT string_agg(v.name, ',' ORDER BY id), (SELECT count(*) FROM \"{0}\".kept), (SELECT count(*) FROM pg_trigger \
         WHERE tgname = 'note' AND tgrelid = '\"{0}\".t'::regclass), has_table_privilege('pg_monitor', '\"{0}\".low', 'SELECT'), \
         (SELECT array_to_string(reloptions, ',') FROM pg_class WHERE oid = '\"{0}\".low'::regclass), \
         (SELECT count(*) FROM pg_indexes WHERE indexname = 'kept_name' AND schemaname = '{0}') + (SELECT count(*) FROM \
         pg_rules WHERE rulename = 'low_rule' AND schemaname = '{0}'), \
         has_table_privilege('pg_monitor', '\"{0}\".low', 'INSERT') \
         FROM \"{0}\".t JOIN \"{0}\".\"Hi gh\" v ON v.name = upper(t.name::text)",
        task.name
    );
    assert_eq!(task.query(&seen).as_deref(), Some("ONE,TWO|2|1|t|security_barrier=true|2|f"));

    // A TRUNCATE stumbles over the foreign key alone.
    task.advance(&mut t, Cause::Truncate);
    task.transaction(|task| task.write(&t, Create, (3, &[Some("three")])));
    let message = follow_remedy(&task, &apply, || task.rows("t") == "3|three");
    assert!(message.contains("foreign key") && !message.contains("view "), "{message}");

    // Made anew, it would take everything along.
    run(&task, "ALTER TABLE S.other DROP CONSTRAINT other_id_fkey");
    t.table.columns[0].column_type = "bigint unsigned".parse().unwrap();
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    let typed = format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '\"{}\".t'::regclass AND attname = 'id'",
        task.name
    );
    let message =
        follow_remedy(&task, &apply, || task.query(&typed).is_some_and(|found| found.contains("numeric")));
    assert!(message.contains("low") && message.contains("trigger note"), "{message}");
    assert_eq!(task.query(&seen).as_deref(), Some("|0|1|t|security_barrier=true|2|f"));
    apply.stop();
}

#[test]
fn what_passes_by_itself_while_a_target_is_made_anew_undoes_all_of_it_and_is_tried_again() {
    let mut task = Task::new("busy");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("x")])));
    task.catch_up();
    run(&task, "CREATE INDEX by_name ON S.t (name); COMMENT ON TABLE S.t IS 'ours'; CREATE SEQUENCE S.tries");
    // The server is busy for the first two attempts at the index. A sequence counts on, whatever is rolled back.
    let (name, trigger) = (&task.name, format!("busy_{}", task.name));
    task.administer(&format!(
        "CREATE FUNCTION \"{name}\".busy() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF position('{name}.t ' IN replace(current_query(), '\"', '')) > 0 AND nextval('\"{name}\".tries') <= 2 THEN \
         RAISE EXCEPTION 'busy' USING ERRCODE = '55P03'; END IF; END $$; \
         CREATE EVENT TRIGGER \"{trigger}\" ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION \"{name}\".busy(); \
         GRANT ALL ON SEQUENCE \"{name}\".tries TO PUBLIC"
    ))
    .unwrap();
    t.table.columns[1].column_type = "varbinary(50)".parse().unwrap();
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (7, &[Some("y")])));
    let mut apply = task.start(&["run", "--until-caught-up"]);
    apply.expect_exit(0);
    task.administer(&format!("DROP EVENT TRIGGER \"{trigger}\"")).unwrap();
    let tries = format!("SELECT last_value FROM \"{}\".tries", task.name);
    assert_eq!((task.rows("t").as_str(), task.query(&tries).as_deref()), ("7|\\x79", Some("3")));
    // What a busy server refuses is not left out.
    assert!(!apply.output().contains("made anew without"), "{}", apply.output());
    let there = format!(
        "SELECT concat(to_regclass('\"{0}\".by_name') IS NOT NULL, obj_description('\"{0}\".t'::regclass))",
        task.name
    );
    assert_eq!(task.query(&there).as_deref(), Some("tours"));
}

#[test]
fn foreign_keys_that_a_change_does_not_concern_stand_in_nobodys_way() {
    let mut task = Task::new("unrelated");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("x")])));
    task.catch_up();
    run(
        &task,
        "CREATE TABLE S.parent (id int PRIMARY KEY); ALTER TABLE S.t ADD COLUMN p int REFERENCES S.parent; \
         ALTER TABLE S.t ADD COLUMN code int UNIQUE; CREATE TABLE S.child (id int REFERENCES S.t (id), code int REFERENCES S.t (code))",
    );
    t.add_column("added", Some("a"));
    task.advance(&mut t, Cause::Alter);
    task.transaction(|task| task.write(&t, Create, (2, &[Some("y"), Some("b")])));
    task.catch_up();
    assert_eq!(task.rows("t"), "1|x|||a\n2|y|||b");
    // Of those that refer to the table, only the one that names the key stands in the way of another key.
    run(
        &task,
        "DELETE FROM S.child; ALTER TABLE S.child DROP CONSTRAINT child_id_fkey, DROP CONSTRAINT child_code_fkey",
    );
    t.table.columns[1].nullable = false;
    t.table.key = vec![1, 2];
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    task.catch_up();
    let constraints = format!(
        "SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY contype) FROM pg_constraint \
         WHERE conrelid = '\"{}\".t'::regclass AND contype IN ('p', 'f')",
        task.name
    );
    let found = task.query(&constraints).unwrap();
    assert!(found.contains("FOREIGN KEY (p)") && found.contains("PRIMARY KEY (id, name)"), "{found}");
}

#[test]
fn a_partition_is_detached_made_anew_and_attached_again() {
    let mut task = Task::new("attached");
    task.configure("", "retry_parked_ms = 1000\n");
    let mut t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("x")])));
    task.catch_up();
    run(
        &task,
        "CREATE TABLE S.whole (id int NOT NULL, name varchar(50)) PARTITION BY RANGE (id); \
         ALTER TABLE S.whole ATTACH PARTITION S.t FOR VALUES FROM (0) TO (1000)",
    );
    t.table.columns[1].column_type = "varbinary(50)".parse().unwrap();
    task.advance(&mut t, Cause::Reset);
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Read, (7, &[Some("y")])));
    let mut apply = task.start(&["run"]);
    let message = follow_remedy(&task, &apply, || {
        let followed = task.rows("t") == "7|\\x79";
        if followed {
            // As the remedy says: the columns that the partition has now.
            run(&task, "ALTER TABLE S.whole ALTER COLUMN name TYPE bytea USING NULL");
        }
        followed
    });
    assert!(message.contains("partitioned table"), "{message}");
    task.transaction(|task| task.write(&t, Create, (8, &[Some("z")])));
    wait_for("a row of the whole", SOON, || (task.rows("whole") == "7|\\x79\n8|\\x7a").then_some(()));
    apply.stop();
}
