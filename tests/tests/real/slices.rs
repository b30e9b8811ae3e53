//! Many-to-one, value by value: what happens to one table of a target changes no row of another, and leaves nothing of its own behind.

use super::followed::words::commands;
use super::merged::{columns, merging, rules, run, shard, write};
use super::topics::{admin, delete};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::Writer;
use tributary_tests::oracle::{assert_rest_is_null, assert_slice_equal};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// Shards that nobody writes while one of them is changed.
const QUIET: usize = 8;
const ALL: usize = 16;

/// What one shard after the other goes through.
const STEPS: [(usize, &str); 14] = [
    (0, "ALTER TABLE {} ADD COLUMN x INT NOT NULL DEFAULT 5"),
    // The column is there: it becomes wider.
    (1, "ALTER TABLE {} ADD COLUMN x BIGINT NOT NULL DEFAULT 5000000000"),
    (2, "ALTER TABLE {} ADD COLUMN y VARCHAR(9) NOT NULL"),
    (0, "ALTER TABLE {} RENAME COLUMN a TO z"),
    (1, "ALTER TABLE {} RENAME COLUMN a TO z"),
    (2, "ALTER TABLE {} RENAME COLUMN p TO q, RENAME COLUMN q TO p"),
    (3, "ALTER TABLE {} MODIFY e BIGINT, MODIFY b VARCHAR(60)"),
    (3, "ALTER TABLE {} DROP COLUMN e, ADD COLUMN e INT DEFAULT 8"),
    (4, "ALTER TABLE {} DROP COLUMN r"),
    (4, "ALTER TABLE {} ADD COLUMN r INT DEFAULT 44"),
    // One takes the name of another that goes.
    (5, "ALTER TABLE {} DROP COLUMN a, CHANGE COLUMN e a INT DEFAULT 7"),
    // Its rows are read anew: fractions of a second go.
    (6, "ALTER TABLE {} MODIFY at DATETIME"),
    (7, "TRUNCATE TABLE {}"),
    (
        0,
        "DROP TABLE {}; CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, s VARCHAR(60) NOT NULL, \
         fresh INT DEFAULT 1)",
    ),
];

fn target(task: &Task) -> String {
    format!("\"{}\".orders", task.name)
}

fn table(database: &str) -> String {
    format!("{database}.orders")
}

async fn count(task: &Task, sql: &str) -> i64 {
    task.servers.postgres().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// What each shard has in the target: how many rows, and one number for their values. What is NULL does not count, nor how wide a
/// column is, so that neither changes when another shard adds a column or widens one.
async fn sums(task: &Task) -> BTreeMap<i64, String> {
    let sql = format!(
        "SELECT shard::bigint, concat(count(*), '/', sum(hashtext(jsonb_strip_nulls(to_jsonb(o))::text)::bigint)) \
         FROM {} o GROUP BY 1",
        target(task)
    );
    let rows = task.servers.postgres().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until the target has all rows of a shard, and with them one that is written now: whatever was done to the table before is
/// done to the target.
async fn settled(task: &Task, database: &str, number: usize, marker: usize) {
    let mut mysql = task.servers.mysql().await;
    let insert = format!("INSERT INTO `{database}`.orders (id, n, s) VALUES ({marker}, 1, 'marker')");
    mysql.query_drop(insert).await.unwrap();
    let rows = mysql.query_first::<i64, _>(format!("SELECT count(*) FROM `{database}`.orders")).await;
    let rows = rows.unwrap().unwrap();
    let found = format!(
        "SELECT CASE WHEN bool_or(id = {marker}) THEN count(*) ELSE -1 END FROM {} WHERE shard = {number}",
        target(task)
    );
    let what = format!("{database} has its {rows} rows, {marker} among them");
    eventually(&what, RUN, || async { count(task, &found).await == rows }).await;
}

/// Expects a shard to have the rows of its source, and nothing in columns that its source does not have.
async fn assert_shard(task: &Task, database: &str, number: usize) {
    let (target, slice) = (target(task), format!("shard = {number}"));
    assert_slice_equal(task, (database, "orders"), (&target, &slice)).await;
    assert_rest_is_null(task, (database, "orders"), (&target, &slice), &["shard"]).await;
}

/// Expects the rows of one shard, and of no other, to be others than before.
fn assert_only_changed(mut before: BTreeMap<i64, String>, mut after: BTreeMap<i64, String>, changed: i64) {
    let (was, is) = (before.remove(&changed), after.remove(&changed));
    assert_ne!(was, is, "rows with shard = {changed}");
    assert_eq!(before, after, "rows of others than shard = {changed}");
}

/// Carries out [`STEPS`], and compares all quiet shards after each.
async fn go_through_steps(task: &Task, databases: &[String]) {
    let mut mysql = task.servers.mysql().await;
    for (step, (changed, sql)) in STEPS.into_iter().enumerate() {
        let before = sums(task).await;
        let sql = sql.replace("{}", &format!("`{}`.orders", databases[changed]));
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        settled(task, &databases[changed], changed, 900_000 + step).await;
        let after = sums(task).await;
        for number in (0..QUIET).filter(|number| *number != changed) {
            let number = i64::try_from(number).unwrap();
            assert_eq!(before[&number], after[&number], "rows with shard = {number}, after {sql}");
        }
        assert_shard(task, &databases[changed], changed).await;
    }
}

/// Makes `verify` red in each way, and follows what it says.
async fn differ_and_mend(task: &Task, databases: &[String]) {
    let (postgres, target) = (task.servers.postgres().await, target(task));
    let before = sums(task).await;
    for sql in [
        format!("INSERT INTO {target} (shard, id, n, s) VALUES (99, 1, 1, 'x'), (3, 7777777, 1, 'x')"),
        format!("UPDATE {target} SET n = n + 1 WHERE shard = 5 AND id = 1"),
    ] {
        postgres.batch_execute(&sql).await.unwrap();
    }
    let red = run(task, &["verify"], 3);
    for told in ["1 row with shard = 99", "id=7777777", "differs in n: id=1", "3 differences in 3 tables"] {
        assert!(red.contains(told), "{told}: {red}");
    }
    for (number, database) in databases.iter().enumerate() {
        let name = table(database);
        let word = if [3, 5].contains(&number) { "different" } else { "equal" };
        let found = red.lines().any(|line| line.starts_with(word) && line.contains(&name));
        assert!(found, "{name} is {word}: {red}");
    }
    let removal = red.split("look where they come from, and ").nth(1).unwrap().lines().next().unwrap();
    postgres.batch_execute(removal).await.unwrap();
    let remedies: Vec<&str> =
        red.lines().filter_map(|line| line.trim().strip_prefix("to do: apply ")).collect();
    assert_eq!(remedies.len(), 2, "{red}");
    for remedy in remedies {
        let words = remedy.split_whitespace().filter(|word| !matches!(*word, "--config" | "FILE"));
        run(task, &words.collect::<Vec<_>>(), 0);
    }
    // One more from its topic alone, through all of its definitions.
    run(task, &["replay", "--from", "beginning", "--clear", "--table", &table(&databases[4])], 0);
    eventually("the rows are back", RUN, || async { sums(task).await == before }).await;
    run(task, &["verify"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_of_sixteen_tables_does_changes_no_row_of_another() {
    let task = merging("aside");
    let mut databases = Vec::new();
    for number in 0..ALL {
        databases.push(shard(&task, number, 150).await);
    }
    task.catch_up();
    let pace = Some(Duration::from_millis(40));
    let written = databases.iter().skip(QUIET);
    let writers: Vec<Writer> =
        written.map(|database| Writer::paced(&task.servers, database, "orders", 200, (1, pace), 5)).collect();
    let mut capture = task.capture();
    let mut applies = [task.apply(), task.apply()];
    go_through_steps(&task, &databases).await;
    for writer in writers {
        writer.stop().await;
    }
    run(&task, &["verify"], 0);
    for (number, database) in databases.iter().enumerate() {
        assert_shard(&task, database, number).await;
    }
    let mut found = columns(&task).await;
    found.sort();
    let all = ["a", "at", "b", "e", "fresh", "id", "n", "p", "q", "r", "s", "shard", "x", "y", "z"];
    assert_eq!(found, all);
    differ_and_mend(&task, &databases).await;
    capture.stop();
    applies.iter_mut().for_each(Process::stop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_begins_anew_takes_its_own_rows_with_it_and_no_others() {
    let task = merging("anew");
    let mut databases = Vec::new();
    for number in 0..4 {
        databases.push(shard(&task, number, 50).await);
    }
    task.catch_up();
    let mut mysql = task.servers.mysql().await;
    // What is read anew has another definition than it began with.
    for (number, change) in
        [(0, "DROP COLUMN r"), (1, "RENAME COLUMN a TO z"), (2, "ADD COLUMN x INT DEFAULT 5")]
    {
        let sql = format!("ALTER TABLE `{}`.orders {change}", databases[number]);
        mysql.query_drop(sql).await.unwrap();
    }
    task.catch_up();
    let before = sums(&task).await;
    // Its topic is deleted while nobody runs: it goes on in another.
    delete(&admin(&task), &format!("{}.{}.orders", task.name, databases[0])).await;
    mysql.query_drop(format!("DELETE FROM `{}`.orders WHERE id = 3", databases[0])).await.unwrap();
    task.catch_up();
    assert_only_changed(before, sums(&task).await, 0);
    assert_shard(&task, &databases[0], 0).await;
    let before = sums(&task).await;
    // One leaves, is changed while nobody follows it, and returns.
    let (text, left) = (rules(&task), table(&databases[1]));
    write(&task, &text.replace("[capture]\n", &format!("[capture]\ntables = [\"!{left}\"]\n")));
    task.start("capture", &["run", "--until-caught-up", "--deselect", &left]).expect_exit(0, RUN);
    for change in
        ["DELETE FROM {} WHERE id < 10", "ALTER TABLE {} ADD COLUMN later INT DEFAULT 9, DROP COLUMN e"]
    {
        let sql = change.replace("{}", &format!("`{}`.orders", databases[1]));
        mysql.query_drop(sql).await.unwrap();
    }
    write(&task, &text);
    task.catch_up();
    assert_shard(&task, &databases[1], 1).await;
    assert_only_changed(before, sums(&task).await, 1);
    // The whole task begins anew: each table says what is to be done, also the one that has gone into another topic.
    task.start("capture", &["drop", "--yes"]).expect_exit(0, RUN);
    for database in &databases {
        mysql.query_drop(format!("DELETE FROM `{database}`.orders WHERE id = 20")).await.unwrap();
    }
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let refused = run(&task, &["run", "--until-caught-up"], 1);
    assert!(refused.contains("topic-recreated"), "{refused}");
    for database in &databases {
        run(&task, &["replay", "--from", "beginning", "--clear", "--table", &table(database)], 0);
    }
    run(&task, &["run", "--until-caught-up"], 0);
    for (number, database) in databases.iter().enumerate() {
        assert_shard(&task, database, number).await;
    }
    let _capture = task.capture();
    run(&task, &["verify"], 0);
}

/// The code of a table that apply shows an error of; empty if it shows none.
fn code(apply: &Process, table: &str) -> String {
    let found = apply.table(table).unwrap_or_default();
    found["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Runs apply with a rule that has changed, and follows what is said of the rows that were written as `was`.
fn follow(task: &Task, was: &str) {
    let refused = run(task, &["run", "--until-caught-up"], 1);
    assert!(refused.contains("rule-changed"), "{refused}");
    let remedy =
        refused.lines().find(|line| line.contains(was)).unwrap_or_else(|| panic!("{was}: {refused}"));
    let commands = commands(remedy);
    assert!(!commands.is_empty(), "{remedy}");
    for command in commands {
        run(task, &command, 0);
    }
    run(task, &["run", "--until-caught-up"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_changes_stops_its_table_and_the_other_goes_on() {
    let task = merging("rules");
    let (one, two) = (shard(&task, 1, 20).await, shard(&task, 2, 20).await);
    let (apart, target) = (rules(&task), target(&task));
    let is_key = |line: &&str| line.starts_with("constants") || line.starts_with("primary_key");
    let without: String =
        apart.lines().filter(|line| !is_key(line)).map(|line| format!("{line}\n")).collect();
    write(&task, &without);
    let _capture = task.capture();
    // Nothing at all tells them apart: one has the target, whichever came first.
    let apply = task.apply();
    let tables = [table(&one), table(&two)];
    let parked = |apply: &Process| tables.iter().filter(|name| code(apply, name) == "target-shared").count();
    eventually("one of both is parked", RUN, || async { parked(&apply) == 1 }).await;
    let all = format!("SELECT count(*) FROM {target}");
    eventually("the other is there", RUN, || async { count(&task, &all).await == 21 }).await;
    drop(apply);
    // The key of the target becomes another one with the rule.
    write(&task, &apart);
    follow(&task, "written with no constants in the key");
    for (database, number) in [(&one, 1), (&two, 2)] {
        assert_shard(&task, database, number).await;
    }
    run(&task, &["verify"], 0);

    // Another value for one of them: it waits for a person, with its rows as they are, and the other goes on.
    let exact = format!(
        "[[table]]\nsource = \"{}\"\ntarget = \"{}.orders\"\nconstants = {{ shard = \"11:int\" }}\n\
         primary_key = [\"shard\", \"id\"]\n",
        tables[0], task.name
    );
    let before = sums(&task).await;
    write(&task, &format!("{apart}{exact}"));
    let apply = task.apply();
    eventually("one is parked", RUN, || async { code(&apply, &tables[0]) == "rule-changed" }).await;
    settled(&task, &two, 2, 1_000).await;
    assert_eq!(sums(&task).await[&1], before[&1], "its rows are as they were");
    drop(apply);
    // The old rule again, and it goes on as if nothing had been.
    write(&task, &apart);
    let apply = task.apply();
    settled(&task, &one, 1, 1_001).await;
    assert_eq!(code(&apply, &tables[0]), "");
    drop(apply);
    let before = sums(&task).await;
    write(&task, &format!("{apart}{exact}"));
    follow(&task, "written with shard = 1, and the configuration says shard = 11");
    assert_slice_equal(&task, (&one, "orders"), (&target, "shard = 11")).await;
    assert_eq!(count(&task, &format!("SELECT count(*) FROM {target} WHERE shard = 1")).await, 0);
    assert_eq!(sums(&task).await[&2], before[&2], "the other's rows are as they were");
    run(&task, &["verify"], 0);

    // Fewer columns of one: they stay for the other.
    write(&task, &format!("{apart}{exact}columns = {{ drop = [\"s\"] }}\n"));
    follow(&task, "with something else in the columns s than");
    let left = format!("SELECT count(*) FROM {target} WHERE shard = 11 AND s IS NOT NULL");
    assert_eq!(count(&task, &left).await, 0);
    assert_eq!(sums(&task).await[&2], before[&2], "the other's rows are as they were");
    run(&task, &["verify"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_one_table_was_appended_to_keep_only_that_one_from_being_emptied() {
    let task = merging("appending");
    let text = rules(&task).replace("[apply]\n", "[apply]\nretry_parked_ms = 1000\n");
    write(&task, &format!("{text}existing_data = \"append\"\n"));
    let (one, two) = (shard(&task, 1, 20).await, shard(&task, 2, 20).await);
    let (target, postgres) = (target(&task), task.servers.postgres().await);
    // A row that a source has, one of its shard that it has not, one of nobody.
    let by_hand = format!(
        "CREATE SCHEMA \"{}\"; CREATE TABLE {target} (shard bigint, id bigint, n bigint, note text, PRIMARY KEY (shard, id)); \
         INSERT INTO {target} VALUES (1, 5, -1, 'old'), (1, 7777, -1, 'old'), (5, 1, -1, 'old')",
        task.name
    );
    postgres.batch_execute(&by_hand).await.unwrap();
    task.catch_up();
    assert_slice_equal(&task, (&one, "orders"), (&target, "shard = 1 AND id <> 7777")).await;
    assert_shard(&task, &two, 2).await;
    let old = format!("SELECT count(*) FROM {target} WHERE note = 'old' AND id <> 5");
    assert_eq!(count(&task, &old).await, 2);

    let (_capture, apply) = (task.capture(), task.apply());
    let mut mysql = task.servers.mysql().await;
    for database in [&one, &two] {
        mysql.query_drop(format!("TRUNCATE TABLE `{database}`.orders")).await.unwrap();
    }
    let name = table(&one);
    eventually("one is parked", RUN, || async { code(&apply, &name) == "target-not-alone" }).await;
    settled(&task, &two, 2, 2_000).await;
    assert_eq!(count(&task, &format!("SELECT count(*) FROM {target} WHERE shard = 1")).await, 22);
    let error = apply.table(&name).unwrap()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("would remove every row of it with shard = 1"), "{message}");
    let remedy = error["remedy"].as_str().unwrap();
    let begin = remedy.find("DELETE FROM ").unwrap_or_else(|| panic!("{remedy}"));
    postgres.batch_execute(remedy[begin..].split(';').next().unwrap()).await.unwrap();
    settled(&task, &one, 1, 2_001).await;
    assert_eq!(count(&task, &old).await, 1, "that of nobody");
    // Its rows are its own from now on.
    mysql.query_drop(format!("TRUNCATE TABLE `{one}`.orders")).await.unwrap();
    settled(&task, &one, 1, 2_002).await;
    assert_eq!(code(&apply, &name), "");
}

/// Names that are texts in the target, and parts of conditions.
const AWKWARD: [&str; 6] = ["o'clock", "say \"so\"", "{task}", "back\\slash", "ünï", "E'x"];

#[tokio::test(flavor = "multi_thread")]
async fn a_constant_may_be_any_text_that_a_name_can_be() {
    let task = Task::with("spelled", Servers::shared(), |text| {
        let name = text.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
        let rule = format!(
            "source = \"{name}.*\"\ntarget = \"{name}.every\"\nconstants = {{ origin = \"{{table}}\" }}\n\
             primary_key = [\"origin\", \"id\"]\n"
        );
        text.replace(&format!("source = \"{name}.*\"\n"), &rule)
    });
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    for (number, name) in AWKWARD.into_iter().enumerate() {
        for sql in [
            format!("CREATE TABLE `{name}` (id INT PRIMARY KEY, v INT, s VARCHAR(9) DEFAULT 'x')"),
            format!("INSERT INTO `{name}` (id, v) VALUES (1, {number}), (2, 1{number})"),
        ] {
            mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }
    task.catch_up();
    for sql in [
        "TRUNCATE TABLE `o'clock`",
        "INSERT INTO `o'clock` (id, v) VALUES (1, 100)",
        "ALTER TABLE `say \"so\"` DROP COLUMN s",
        "DROP TABLE `{task}`",
        "ALTER TABLE `back\\slash` RENAME COLUMN v TO w",
        "ALTER TABLE `ünï` ADD COLUMN d INT NOT NULL DEFAULT 4",
        "DELETE FROM `E'x` WHERE id = 1",
    ] {
        mysql.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
    task.catch_up();
    let target = format!("\"{}\".every", task.name);
    for name in AWKWARD.into_iter().filter(|name| *name != "{task}") {
        let slice = format!("origin = $q${name}$q$");
        assert_slice_equal(&task, (&task.name, name), (&target, &slice)).await;
        assert_rest_is_null(&task, (&task.name, name), (&target, &slice), &["origin"]).await;
    }
    // One, two, two, two and one: the dropped one has none.
    assert_eq!(count(&task, &format!("SELECT count(*) FROM {target}")).await, 8);
    let (_capture, postgres) = (task.capture(), task.servers.postgres().await);
    run(&task, &["verify"], 0);
    let stray = format!("INSERT INTO {target} (origin, id) VALUES ($q$it's \\ nobody's$q$, 1)");
    postgres.batch_execute(&stray).await.unwrap();
    let red = run(&task, &["verify"], 3);
    assert!(red.contains("1 row with origin = it's \\ nobody's"), "{red}");
    let removal = red.split("look where they come from, and ").nth(1).unwrap().lines().next().unwrap();
    postgres.batch_execute(removal).await.unwrap();
    run(&task, &["verify"], 0);
}
