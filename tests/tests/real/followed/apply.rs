//! What parks a table in apply: one task, a table for each remedy, all of them followed to the letter, and one comparison
//! of every row at the end.

use super::words::{commands, setting, statement};
use mysql_async::prelude::Queryable;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::oracle::assert_table_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// What is done about a fault.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The statement that is printed.
    Statement,
    /// The first command that is printed.
    Command,
    /// The statement that is printed, and then the last command.
    StatementThenCommand,
    /// A statement of the destination that the remedy says in words.
    ByHand(&'static str),
    /// A statement of the source.
    OnTheSource(&'static str),
    /// Keys of the table's `[[table]]`, by the remedy.
    Configure(fn(&str) -> String),
}
use Way::{ByHand, Command, Configure, OnTheSource, Statement, StatementThenCommand};

struct Fault {
    table: &'static str,
    /// What makes it: statements with `S.` for the schema; of the destination unless they begin with `source:`.
    made_by: &'static str,
    code: &'static str,
    way: Way,
}

const fn fault(table: &'static str, made_by: &'static str, code: &'static str, way: Way) -> Fault {
    Fault { table, made_by, code, way }
}

/// Targets that are there before the table is: what is wrong with them is met at the first time.
const AT_FIRST: &[Fault] = &[
    fault(
        "existing",
        "CREATE TABLE S.existing (COLUMNS); INSERT INTO S.existing VALUES (7)",
        "existing-data",
        Statement,
    ),
    fault(
        "lacking",
        "CREATE TABLE S.lacking (id integer PRIMARY KEY, n numeric(10,4))",
        "target-definition",
        Statement,
    ),
    fault(
        "alike",
        "CREATE TABLE S.alike (id integer PRIMARY KEY, n numeric(10,4), \"S\" varchar(60))",
        "target-definition",
        Configure(|remedy| setting(remedy, "columns")),
    ),
    fault(
        "narrow",
        "CREATE TABLE S.narrow (id integer PRIMARY KEY, n numeric(10,4), s varchar(3))",
        "target-definition",
        Statement,
    ),
    fault(
        "computed",
        "CREATE TABLE S.computed (id integer PRIMARY KEY, n numeric(10,4), s varchar(60) GENERATED ALWAYS AS ('x') STORED)",
        "target-definition",
        Statement,
    ),
    fault(
        "numbered",
        "CREATE TABLE S.numbered (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n numeric(10,4), s varchar(60))",
        "target-definition",
        Statement,
    ),
    fault("required", "CREATE TABLE S.required (COLUMNS, x text NOT NULL)", "target-definition", Statement),
    fault(
        "notnull",
        "CREATE TABLE S.notnull (id integer PRIMARY KEY, n numeric(10,4), s varchar(60) NOT NULL)",
        "target-definition",
        Statement,
    ),
    fault(
        "coarse",
        "CREATE COLLATION S.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE S.coarse (id varchar(20) COLLATE S.folded PRIMARY KEY, n numeric(10,4), s varchar(60))",
        "target-definition",
        Statement,
    ),
    fault("unlogged", "CREATE UNLOGGED TABLE S.unlogged (COLUMNS)", "target-unsafe", Statement),
    fault(
        "below",
        "CREATE TABLE S.below (COLUMNS) PARTITION BY RANGE (id); CREATE UNLOGGED TABLE S.below_all PARTITION OF S.below DEFAULT",
        "target-unsafe",
        Statement,
    ),
    fault(
        "outside",
        "CREATE TABLE S.outside (id integer NOT NULL, n numeric(10,4), s varchar(60)) PARTITION BY RANGE (id); \
         CREATE TABLE S.outside_all PARTITION OF S.outside DEFAULT; CREATE FOREIGN TABLE S.outside_far PARTITION OF S.outside FOR VALUES FROM (0) TO (100) SERVER \"TASK\"",
        "target-unsafe",
        Statement,
    ),
    fault(
        "ruled",
        "CREATE TABLE S.ruled (COLUMNS); CREATE RULE away AS ON INSERT TO S.ruled DO INSTEAD NOTHING",
        "target-unsafe",
        Statement,
    ),
    fault(
        "secured",
        "CREATE TABLE S.secured (COLUMNS); ALTER TABLE S.secured ENABLE ROW LEVEL SECURITY; \
         ALTER TABLE S.secured FORCE ROW LEVEL SECURITY",
        "target-unsafe",
        Statement,
    ),
    fault(
        "viewed",
        "CREATE VIEW S.viewed AS SELECT 1 AS id",
        "target-kind",
        ByHand("ALTER VIEW S.viewed RENAME TO viewed_away"),
    ),
    fault("reserved", "", "42939", Configure(|_| "target = \"{database}.{table}\"".to_owned())),
    fault("named", "", "target-name", Configure(|_| "target = \"{database}.{table}\"".to_owned())),
];

/// What somebody does to a target that has rows.
const LATER: &[Fault] = &[
    fault("dropped", "ALTER TABLE S.dropped DROP COLUMN s", "target-definition", Command),
    fault(
        "dropped_kept",
        "ALTER TABLE S.dropped_kept DROP COLUMN s",
        "target-definition",
        StatementThenCommand,
    ),
    fault("cut", "ALTER TABLE S.cut ALTER COLUMN n TYPE numeric(10,2)", "target-definition", Command),
    fault(
        "cut_kept",
        "ALTER TABLE S.cut_kept ALTER COLUMN n TYPE numeric(10,2)",
        "target-definition",
        StatementThenCommand,
    ),
    fault(
        "counted",
        "ALTER TABLE S.counted DROP COLUMN s; ALTER TABLE S.counted ADD COLUMN s varchar(60) GENERATED ALWAYS AS ('x') STORED",
        "target-definition",
        StatementThenCommand,
    ),
    fault("gone", "DROP TABLE S.gone", "target-gone", Command),
    fault(
        "checked",
        "ALTER TABLE S.checked ADD CONSTRAINT small CHECK (n < 100)",
        "23514",
        ByHand("ALTER TABLE S.checked DROP CONSTRAINT small"),
    ),
    fault(
        "divided",
        "CREATE INDEX divided_x ON S.divided ((1 / (n - 101.5)))",
        "22012",
        ByHand("DROP INDEX S.divided_x"),
    ),
    fault(
        "called",
        "CREATE TABLE S.audit (id integer); CREATE FUNCTION S.called_f() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$; \
         CREATE TRIGGER t AFTER INSERT OR UPDATE ON S.called FOR EACH ROW EXECUTE FUNCTION S.called_f()",
        "42P01",
        ByHand("ALTER FUNCTION S.called_f() SET search_path = S"),
    ),
    fault(
        "pointed",
        "CREATE FUNCTION S.pointed_f() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM nothing FROM S.pointed; RETURN NEW; END $$; \
         CREATE TRIGGER t AFTER INSERT OR UPDATE ON S.pointed FOR EACH ROW EXECUTE FUNCTION S.pointed_f()",
        "42703",
        ByHand(
            "CREATE OR REPLACE FUNCTION S.pointed_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        ),
    ),
    fault(
        "raised",
        "CREATE FUNCTION S.raised_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER t BEFORE INSERT OR UPDATE ON S.raised FOR EACH ROW EXECUTE FUNCTION S.raised_f()",
        "P0001",
        ByHand("DROP TRIGGER t ON S.raised"),
    ),
    fault("indexed", "CREATE INDEX indexed_s ON S.indexed (s)", "54000", ByHand("DROP INDEX S.indexed_s")),
    fault("appended", "source: TRUNCATE TABLE appended", "target-not-alone", Statement),
    fault("strange", "", "foreign-record", Command),
    fault(
        "offsetless",
        "DELETE FROM tributary.offsets WHERE topic = 'TOPIC.offsetless' AND \"partition\" < 2",
        "bookkeeping-incomplete",
        Command,
    ),
    fault(
        "forgotten",
        "UPDATE tributary.offsets SET begun_at = now() - interval '90 days', at_end_at = now() - interval '60 days' \
         WHERE topic = 'TOPIC.forgotten'",
        "retention-exceeded",
        Command,
    ),
    fault(
        "generationless",
        "UPDATE tributary.targets SET applied_generation = 99 WHERE topic = 'TOPIC.generationless'",
        "unknown-generation",
        Command,
    ),
    fault("second", "", "target-shared", Configure(|_| "target = \"{database}.{table}\"".to_owned())),
    fault(
        "zero",
        "source: INSERT INTO zero (id, d) VALUES (8, '0000-00-00')",
        "unwritable-record",
        OnTheSource("UPDATE zero SET d = '2024-01-01' WHERE id = 8"),
    ),
    fault(
        "nul",
        "source: INSERT INTO nul VALUES (8, 1, 'a\\0b')",
        "unwritable-record",
        OnTheSource("UPDATE nul SET s = 'ab' WHERE id = 8"),
    ),
];

/// Its target changes in the configuration only, once everything else is mended.
const MOVED: &str = "moved";

/// Every table.
pub(super) fn tables() -> Vec<&'static str> {
    AT_FIRST.iter().chain(LATER).map(|fault| fault.table).chain([MOVED]).collect()
}

const COLUMNS: &str = "id integer PRIMARY KEY, n numeric(10,4), s varchar(60)";

fn definition(table: &str) -> &'static str {
    match table {
        "coarse" => "id VARCHAR(20) PRIMARY KEY, n DECIMAL(10,4), s VARCHAR(60)",
        "indexed" => "id INT PRIMARY KEY, n DECIMAL(10,4), s MEDIUMTEXT",
        "zero" => "id INT PRIMARY KEY, n DECIMAL(10,4), d DATE",
        _ => "id INT PRIMARY KEY, n DECIMAL(10,4), s VARCHAR(60)",
    }
}

/// The keys of a table's own `[[table]]`, if it has one.
fn rule(task: &Task, table: &str) -> Option<String> {
    Some(match table {
        "reserved" => "target = \"pg_mine.{table}\"".to_owned(),
        "named" => format!("target = \"{{database}}.{}\"", "n".repeat(64)),
        "second" => format!("target = \"{}.raised\"", task.name),
        "appended" => "existing_data = \"append\"".to_owned(),
        _ => return None,
    })
}

fn configure(task: &Task, rules: &BTreeMap<&'static str, String>) {
    let text = std::fs::read_to_string(&task.config).unwrap();
    let (before, _) = text.split_once("# Rules of tables\n").unwrap_or((&text, ""));
    let mut text = format!("{}\n# Rules of tables\n", before.trim_end());
    for (table, keys) in rules {
        text += &format!("[[table]]\nsource = \"{}.{table}\"\n{keys}\n", task.name);
    }
    std::fs::write(&task.config, text).unwrap();
}

/// Code and remedy of each table that is parked or left out.
fn parked(process: &Process) -> BTreeMap<String, (String, String)> {
    let status = process.status().unwrap_or_default();
    let tables = status["tables"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let stands = tables.iter().filter(|table| matches!(table["state"].as_str(), Some("parked" | "excluded")));
    stands
        .map(|table| {
            let name = text(&table["name"]).split('.').next_back().unwrap_or_default().to_owned();
            (name, (text(&table["error"]["code"]), text(&table["error"]["remedy"])))
        })
        .collect()
}

async fn expect_codes(
    apply: &Process,
    expected: &BTreeMap<&str, &str>,
) -> BTreeMap<String, (String, String)> {
    let deadline = std::time::Instant::now() + RUN / 2;
    loop {
        let found = parked(apply);
        let unlike: Vec<String> = expected
            .iter()
            .filter(|(table, code)| found.get(**table).is_none_or(|(found, _)| found != **code))
            .map(|(table, code)| format!("{table}: {code}, not {:?}", found.get(*table)))
            .collect();
        if unlike.is_empty() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "{}\n{}", unlike.join("\n"), apply.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Hands<'a> {
    task: &'a Task,
    mysql: mysql_async::Conn,
    postgres: tokio_postgres::Client,
    rules: BTreeMap<&'static str, String>,
}

impl Hands<'_> {
    async fn destination(&self, sql: &str) {
        let name = &self.task.name;
        let sql = sql
            .replace("COLUMNS", COLUMNS)
            .replace("TOPIC.", &format!("{name}.{name}."))
            .replace("TASK", name)
            .replace("'S.", &format!("'\"{name}\"."))
            .replace(" S.", &format!(" \"{name}\"."))
            .replace("search_path = S", &format!("search_path = \"{name}\""));
        self.postgres.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }

    async fn source(&mut self, sql: &str) {
        self.mysql.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    fn command(&self, words: &[&str]) {
        self.task.start("apply", words).expect_exit(0, RUN);
    }

    async fn make(&mut self, fault: &Fault) {
        match fault.made_by.strip_prefix("source: ") {
            Some(sql) => self.source(sql).await,
            None => self.destination(fault.made_by).await,
        }
    }

    /// Does what the remedy says.
    async fn follow(&mut self, fault: &Fault, remedy: &str) {
        match fault.way {
            Statement => self.destination(&statement(remedy)).await,
            Command => self.command(&commands(remedy)[0]),
            StatementThenCommand => {
                self.destination(&statement(remedy)).await;
                self.command(commands(remedy).last().unwrap());
            }
            ByHand(sql) => self.destination(sql).await,
            OnTheSource(sql) => self.source(sql).await,
            Configure(keys) => {
                self.rules.insert(fault.table, keys(remedy));
            }
        }
    }
}

/// What only an administrator of the destination may do.
async fn administer(task: &Task, sql: &str) {
    let mut config = tokio_postgres::Config::new();
    config
        .host(task.servers.get("PG_HOST"))
        .port(task.servers.get("PG_PORT").parse().unwrap())
        .dbname(task.servers.get("PG_DATABASE"))
        .user("postgres")
        .password(task.servers.get("PG_SUPERUSER_PASSWORD"));
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
}

fn write_foreign_record(task: &Task) {
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", task.servers.get("KAFKA_BROKERS"))
        .create()
        .unwrap();
    let topic = format!("{0}.{0}.strange", task.name);
    let record = BaseRecord::to(&topic).partition(0).key("hello").payload("world");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}

async fn assert_equal(task: &Task) {
    task.start("apply", &["verify"]).expect_exit(0, RUN);
    for table in tables() {
        // Of these the names are not those of the source.
        if !matches!(table, MOVED | "alike") {
            assert_table_equal(task, table).await;
        }
    }
}

fn verify(task: &Task) -> String {
    let mut verify = task.start("apply", &["verify"]);
    verify.expect_exit(3, RUN);
    verify.output()
}

/// What `verify` says about each kind of difference.
async fn differences(task: &Task, hands: &mut Hands<'_>, mut capture: Process) -> Process {
    hands.destination("UPDATE S.cut SET n = 0 WHERE id = 2").await;
    hands.destination("DELETE FROM S.gone WHERE id = 2").await;
    hands.destination("INSERT INTO S.checked VALUES (99)").await;
    hands.destination("INSERT INTO S.outside SELECT * FROM S.outside WHERE id = 2").await;
    for sql in ["SET sql_log_bin = 0", "UPDATE raised SET n = 9 WHERE id = 2", "SET sql_log_bin = 1"] {
        hands.source(sql).await;
    }
    let found = verify(task);
    let todo: Vec<&str> = found.lines().filter_map(|line| line.strip_prefix("    to do: apply ")).collect();
    assert_eq!(todo.len(), 5, "{found}");
    assert_eq!(todo.iter().filter(|command| command.ends_with("--clear")).count(), 2, "{found}");
    for command in todo {
        let command = command.replace("--config FILE ", "");
        hands.command(&command.split_whitespace().collect::<Vec<_>>());
    }
    assert!(found.contains("by the statement that `apply check` prints"), "{found}");
    let mut check = task.start("apply", &["check"]);
    check.wait(RUN);
    let (said, key) = (check.output(), "\"outside\" ADD PRIMARY KEY");
    let line = said.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{said}"));
    hands.destination(&statement(line)).await;
    // What the binlog does not have is in no topic.
    let found = verify(task);
    assert_eq!(found.matches("    to do: apply ").count(), 1, "{found}");
    let (_, said) = found.split_once("have capture read the table anew: ").unwrap();
    let config = std::fs::read_to_string(&task.config).unwrap();
    let excluded =
        said.split_once("add ").and_then(|(_, rest)| rest.split_once(" to capture.tables")).unwrap().0;
    let tables = format!("[capture]\ntables = [{excluded}]\n");
    std::fs::write(&task.config, config.replace("[capture]\n", &tables)).unwrap();
    capture.stop();
    task.start("capture", &commands(said)[0]).expect_exit(0, RUN);
    std::fs::write(&task.config, config).unwrap();
    task.capture()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apply_says_of_a_parked_table_is_done_and_ends_in_equality() {
    let task = Task::with("followed", Servers::shared(), |config| {
        let apply = "[apply]\nretry_parked_ms = 1000\non_zero_date = \"fail\"\non_nul_byte = \"fail\"\n";
        config.replace("[apply]\n", apply)
    });
    let (mysql, postgres) = (task.servers.mysql().await, task.servers.postgres().await);
    let mut hands = Hands { task: &task, mysql, postgres, rules: BTreeMap::new() };
    hands.source(&format!("CREATE DATABASE `{0}`", task.name)).await;
    hands.source(&format!("USE `{0}`", task.name)).await;
    hands.destination("CREATE SCHEMA \"TASK\"").await;
    hands.destination("CREATE TABLE S.appended (COLUMNS); INSERT INTO S.appended VALUES (7)").await;
    for table in tables() {
        hands.rules.extend(rule(&task, table).map(|rule| (table, rule)));
        if table != "second" {
            hands.source(&format!("CREATE TABLE {table} ({})", definition(table))).await;
            hands
                .source(&format!("INSERT INTO {table} (id, n) VALUES (1, 1.2345), (2, 2.3456), (3, 3.4567)"))
                .await;
        }
    }
    configure(&task, &hands.rules);
    administer(
        &task,
        &format!(
            "CREATE FOREIGN DATA WRAPPER \"{0}\"; CREATE SERVER \"{0}\" FOREIGN DATA WRAPPER \"{0}\"; \
             GRANT USAGE ON FOREIGN SERVER \"{0}\" TO PUBLIC",
            task.name
        ),
    )
    .await;
    for fault in AT_FIRST {
        hands.make(fault).await;
    }
    let (capture, mut apply) = (task.capture(), task.apply());
    let first = AT_FIRST.iter().map(|fault| (fault.table, fault.code)).collect();
    let mut said = expect_codes(&apply, &first).await;
    eventually("the others have their rows", RUN, || async {
        let status = apply.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        let others =
            tables.iter().filter(|table| !matches!(table["state"].as_str(), Some("parked" | "excluded")));
        tables.len() == self::tables().len() - 1
            && others.clone().all(|table| table["state"] == "synchronizing")
    })
    .await;

    hands.source(&format!("CREATE TABLE second ({})", definition("second"))).await;
    for fault in LATER {
        hands.make(fault).await;
    }
    write_foreign_record(&task);
    let long: String = (0..20_000).map(|_| char::from(fastrand::u8(b'a'..=b'z'))).collect();
    hands.source(&format!("UPDATE indexed SET s = '{long}'")).await;
    for fault in LATER.iter().filter(|fault| !matches!(fault.table, "indexed" | "appended")) {
        hands.source(&format!("UPDATE {} SET n = 101.5 WHERE id = 1", fault.table)).await;
        hands.source(&format!("INSERT INTO {} (id, n) VALUES (4, 101.5)", fault.table)).await;
    }
    hands.source("INSERT INTO appended (id, n) VALUES (5, 5.5)").await;
    let later = LATER.iter().map(|fault| (fault.table, fault.code)).collect();
    said.extend(expect_codes(&apply, &later).await);

    for fault in AT_FIRST.iter().chain(LATER) {
        let (_, remedy) = &said[fault.table];
        hands.follow(fault, remedy).await;
    }
    // What is said of the configuration wants a restart.
    hands.rules.insert(MOVED, "target = \"{database}.{table}_on\"".to_owned());
    configure(&task, &hands.rules);
    apply.stop();
    let mut apply = task.apply();
    let said = expect_codes(&apply, &BTreeMap::from([(MOVED, "target-changed")])).await;
    hands.command(&commands(&said[MOVED].1)[0]);
    eventually("every table goes on", RUN, || async { parked(&apply).is_empty() }).await;

    assert_equal(&task).await;
    let mut capture = differences(&task, &mut hands, capture).await;
    assert_equal(&task).await;
    apply.stop();
    capture.stop();
    administer(&task, &format!("DROP FOREIGN DATA WRAPPER \"{}\" CASCADE", task.name)).await;
}
