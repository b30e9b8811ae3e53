//! Many-to-one: tables of one or several sources in one target, each with its own rows.

use super::followed::words::commands;
use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{TABLE, Writer};
use tributary_tests::oracle::assert_slice_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

pub(crate) fn run(task: &Task, command: &[&str], status: i32) -> String {
    let mut process = task.start("apply", command);
    process.expect_exit(status, RUN);
    process.output()
}

/// A task that merges `<its name>_<shard>.orders` into one target.
pub(crate) fn merging(test: &str) -> Task {
    Task::with(test, Servers::shared(), |text| {
        let name = text.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
        let rule = format!(
            "source = \"{name}_*.orders\"\ntarget = \"{name}.orders\"\nconstants = {{ shard = \"{{database:_(\\\\d+)$}}:int\" }}\n\
             primary_key = [\"shard\", \"id\"]\n"
        );
        text.replace(&format!("source = \"{name}.*\"\n"), &rule)
    })
}

pub(crate) fn rules(task: &Task) -> String {
    std::fs::read_to_string(&task.config).unwrap()
}

pub(crate) fn write(task: &Task, text: &str) {
    std::fs::write(&task.config, text).unwrap();
}

/// What each shard goes through, in an order of its own.
const CHANGES: [&str; 7] = [
    "ADD COLUMN x INT NOT NULL DEFAULT 5",
    "ADD COLUMN y VARCHAR(9) NOT NULL, MODIFY b VARCHAR(60)",
    "RENAME COLUMN a TO z",
    "MODIFY e BIGINT",
    "RENAME COLUMN p TO q, RENAME COLUMN q TO p",
    "DROP COLUMN r",
    // Its rows are read anew: fractions of a second go.
    "MODIFY at DATETIME",
];

pub(crate) async fn shard(task: &Task, number: usize, rows: u64) -> String {
    let (mut mysql, database) = (task.servers.mysql().await, format!("{}_{number:02}", task.name));
    for sql in [
        format!("CREATE DATABASE `{database}`"),
        format!(
            "CREATE TABLE `{database}`.orders ({TABLE}, a INT, b VARCHAR(20) DEFAULT 'b', e INT DEFAULT 7, p INT DEFAULT 1, \
             q INT DEFAULT 2, r INT DEFAULT 3)"
        ),
        format!(
            "INSERT INTO `{database}`.orders (id, n, s, at, a) WITH RECURSIVE c AS (SELECT 0 AS id UNION ALL SELECT id + 1 FROM c \
             WHERE id < {rows}) SELECT id, id, 'start', NOW(6), {number} FROM c"
        ),
    ] {
        mysql.query_drop("SET cte_max_recursion_depth = 100000").await.unwrap();
        mysql.query_drop(sql).await.unwrap();
    }
    database
}

pub(crate) async fn columns(task: &Task) -> Vec<String> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1";
    let target = format!("\"{}\".orders", task.name);
    let rows = task.servers.postgres().await.query(sql, &[&target]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_tables_of_one_source_go_into_one_target() {
    let (task, mut random) = (merging("sixteen"), fastrand::Rng::with_seed(16));
    let mut databases = Vec::new();
    for number in 0..15 {
        databases.push(shard(&task, number, 300).await);
    }
    let pace = Some(Duration::from_millis(40));
    let writer = |database: &String| Writer::paced(&task.servers, database, "orders", 400, (1, pace), 3);
    let mut writers: Vec<Writer> = databases.iter().map(writer).collect();
    let mut capture = task.capture();
    let mut applies = [task.apply(), task.apply()];
    // While these load: one more comes, larger than the others.
    databases.push(shard(&task, 15, 8_000).await);
    writers.push(writer(&databases[15]));
    let mut steps: Vec<(usize, usize)> =
        (0..16).flat_map(|shard| (0..CHANGES.len()).map(move |change| (shard, change))).collect();
    random.shuffle(&mut steps);
    let mut mysql = task.servers.mysql().await;
    for (step, (shard, change)) in steps.into_iter().enumerate() {
        // One column stays with one source; one table is only emptied.
        if (shard, change) == (6, 5) {
            continue;
        }
        let sql = format!("ALTER TABLE `{}`.orders {}", databases[shard], CHANGES[change]);
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        if step % 20 == 10 {
            mysql
                .query_drop(format!("TRUNCATE TABLE `{}`.orders", databases[random.usize(0..16)]))
                .await
                .unwrap();
        }
        if step == 50 {
            applies[0].kill();
            applies[0] = task.apply();
        }
    }
    for writer in writers {
        writer.stop().await;
    }
    capture.stop();
    applies.iter_mut().for_each(Process::stop);
    task.catch_up();
    let target = format!("\"{}\".orders", task.name);
    for (number, database) in databases.iter().enumerate() {
        assert_slice_equal(&task, (database, "orders"), (&target, &format!("shard = {number}"))).await;
    }
    let all = ["at", "b", "e", "id", "n", "p", "q", "r", "s", "shard", "x", "y", "z"];
    assert_eq!(columns(&task).await, all, "a is nobody's any more, r is still one's");
    // The last one to have a column takes it along; who has none any more keeps the others' rows as they are.
    for sql in [
        format!("ALTER TABLE `{}`.orders DROP COLUMN r, DROP COLUMN b", databases[6]),
        format!("TRUNCATE TABLE `{}`.orders", databases[7]),
        format!("DROP TABLE `{}`.orders", databases[8]),
    ] {
        mysql.query_drop(sql).await.unwrap();
    }
    task.catch_up();
    let rest: Vec<&str> = all.into_iter().filter(|name| *name != "r").collect();
    assert_eq!(columns(&task).await, rest);
    for (number, database) in databases.iter().enumerate().filter(|(number, _)| *number != 8) {
        assert_slice_equal(&task, (database, "orders"), (&target, &format!("shard = {number}"))).await;
    }
    let left =
        format!("SELECT count(*) FROM {target} WHERE shard IN (7, 8) OR (shard = 6 AND b IS NOT NULL)");
    assert_eq!(task.servers.postgres().await.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let _capture = task.capture();
    run(&task, &["verify"], 0);
    // A value where its own table has no column is seen, too.
    let by_hand = format!("UPDATE {target} SET b = 'hers' WHERE shard = 6 AND id < 3");
    let changed = task.servers.postgres().await.execute(&by_hand, &[]).await.unwrap();
    let red = run(&task, &["verify"], 3);
    let expected = format!("{changed} rows with values in columns that only other tables have (b)");
    assert!(changed > 1 && red.contains(&expected), "{red}");
    let table = format!("{}.orders", databases[6]);
    assert!(red.contains(&format!("--table {table} --from beginning --clear")), "{red}");
    run(&task, &["replay", "--table", &table, "--from", "beginning", "--clear"], 0);
    run(&task, &["run", "--until-caught-up"], 0);
    run(&task, &["verify"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_cannot_be_told_apart_are_parked() {
    let task = merging("alike");
    let name = &task.name;
    for number in 1..3 {
        shard(&task, number, 20).await;
    }
    let apart = rules(&task);
    write(&task, &apart.replace("{database:_(\\\\d+)$}", "{database:_(0)}"));
    assert_ne!(apart, rules(&task));
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let check = run(&task, &["check"], 1);
    assert!(check.contains("nothing tells the rows of both apart"), "{check}");
    let refused = run(&task, &["run", "--until-caught-up"], 1);
    assert!(refused.contains("its rows with shard = 0 would be mixed with those"), "{refused}");
    let target = format!("\"{name}\".orders");
    let found = task.servers.postgres().await;
    let count = format!("SELECT count(*), max(shard) FROM {target}");
    let row = found.query_one(&count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (21, 0), "the one that came first");
    // Told apart now, the one whose rows were written before says what to do with them.
    write(&task, &apart);
    let changed = run(&task, &["run", "--until-caught-up"], 1);
    let remedy = changed.lines().find(|line| line.contains("written with shard = 0")).unwrap();
    for command in commands(remedy) {
        run(&task, &command, 0);
    }
    run(&task, &["run", "--until-caught-up"], 0);
    for number in 1..3 {
        let slice = format!("shard = {number}");
        assert_slice_equal(&task, (&format!("{name}_{number:02}"), "orders"), (&target, &slice)).await;
    }
    // The name of a column that both have left, with another type: what each table has now counts.
    let mut mysql = task.servers.mysql().await;
    for sql in [
        "_01`.orders RENAME COLUMN a TO z",
        "_02`.orders DROP COLUMN a",
        "_02`.orders ADD COLUMN a VARCHAR(9)",
    ] {
        mysql.query_drop(format!("ALTER TABLE `{name}{sql}")).await.unwrap();
    }
    task.catch_up();
    run(&task, &["check"], 0);
    // The same columns with other columns' values in them are a change, too.
    let kept = rules(&task);
    write(&task, &(kept.clone() + "columns = { rename = { p = \"q\", q = \"p\" } }\n"));
    let changed = run(&task, &["run", "--until-caught-up"], 1);
    assert!(changed.contains("with something else in the columns p, q"), "{changed}");
    write(&task, &kept);
    run(&task, &["run", "--until-caught-up"], 0);
    let _capture = task.capture();
    run(&task, &["verify"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shared_target_holds_is_judged_before_its_first_table() {
    let task = merging("judged");
    let name = &task.name;
    for number in 1..3 {
        shard(&task, number, 20).await;
    }
    let refusing = rules(&task);
    let clearing = refusing.clone() + "existing_data = \"clear\"\n";
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let warehouse = task.servers.postgres().await;
    let by_hand = format!(
        "CREATE SCHEMA \"{name}\"; CREATE TABLE \"{name}\".orders (shard smallint, id bigint, n bigint NOT NULL DEFAULT 9, \
         note text, PRIMARY KEY (shard, id)); INSERT INTO \"{name}\".orders VALUES (5, 1, 1, 'old'), (1, 1, 1, 'old')"
    );
    warehouse.batch_execute(&by_hand).await.unwrap();
    let refused = run(&task, &["run", "--until-caught-up"], 1);
    assert_eq!(refused.matches("holds rows already").count() % 2, 0, "{refused}");
    // Emptied once, for the first of them; the other finds what it wrote.
    write(&task, &clearing);
    run(&task, &["run", "--until-caught-up"], 0);
    let target = format!("\"{name}\".orders");
    let slices = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let slice = format!("shard = {number}");
            assert_slice_equal(&task, (&format!("{name}_{number:02}"), "orders"), (&target, &slice)).await;
        }
    };
    slices(1..3).await;
    let old = format!("SELECT count(*) FROM {target} WHERE note = 'old' OR shard = 5");
    assert_eq!(warehouse.query_one(&old, &[]).await.unwrap().get::<_, i64>(0), 0);
    // One that joins later empties what it finds of its own, and nothing else.
    warehouse.batch_execute(&format!("INSERT INTO {target} (shard, id) VALUES (3, 7777)")).await.unwrap();
    shard(&task, 3, 30).await;
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    write(&task, &refusing);
    let refused = run(&task, &["run", "--until-caught-up"], 1);
    assert!(refused.contains("holds rows with shard = 3 already"), "{refused}");
    write(&task, &clearing);
    run(&task, &["run", "--until-caught-up"], 0);
    slices(1..4).await;
    let _capture = task.capture();
    run(&task, &["verify"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_captures_of_two_servers_go_into_one_target() {
    let shared = Servers::shared();
    let second = Servers::named("second-merged");
    second.control(&["up", "mysql"]);
    let second = second.read_variables();
    let elsewhere = shared.with_source_of(&second);
    let database = Task::new("joined").name;
    let [east, west] = [("east", shared), ("west", &elsewhere)].map(|(name, servers)| {
        Task::with(name, servers, |text| {
            let own = text.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
            text.replace(&format!("{own}.*"), &format!("{database}.*"))
        })
    });
    // Equal keys on both sides.
    for (task, rows) in [(&east, 300), (&west, 500)] {
        let mut mysql = task.servers.mysql().await;
        for sql in [
            format!("CREATE DATABASE `{database}`"),
            // It stays, so that there is something to be captured when the other is dropped.
            format!("CREATE TABLE `{database}`.kept (id INT PRIMARY KEY)"),
            format!("INSERT INTO `{database}`.kept VALUES (1)"),
            format!(
                "CREATE TABLE `{database}`.t (id INT PRIMARY KEY, s VARCHAR(40)) AS WITH RECURSIVE n AS (SELECT 1 AS id \
                 UNION ALL SELECT id + 1 FROM n WHERE id < {rows}) SELECT id, concat('{}', id) AS s FROM n",
                task.name
            ),
        ] {
            mysql.query_drop(sql).await.unwrap();
        }
    }
    let rule = format!(
        "[[table]]\nsource = \"{database}.*\"\ntarget = \"all.{{table}}\"\nconstants = {{ region = \"{{task}}\" }}\n\
         primary_key = [\"region\", \"id\"]\n"
    );
    let both = Task::reading("both", &[&east, &west], &format!("joined_{database}"), &rule).await;
    let mut captures = [east.capture(), west.capture()];
    let apply = both.apply();
    let regions = async |sql: &str| {
        let sql = format!("SELECT region, count(*), max(s), {sql} FROM \"all\".t GROUP BY 1 ORDER BY 1");
        let found = both.servers.postgres().await.query(&sql, &[]).await;
        let rows = found.iter().flatten();
        rows.map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1), row.get::<_, Option<i64>>(3)))
            .collect::<Vec<_>>()
    };
    let expect = async |what: &str, sql: &str, expected: &[(&Task, i64, Option<i64>)]| {
        let expected: Vec<_> =
            expected.iter().map(|(task, rows, sum)| (task.name.clone(), *rows, *sum)).collect();
        eventually(what, RUN, || async { regions(sql).await == expected }).await;
    };
    expect("both are there", "NULL::bigint", &[(&east, 300, None), (&west, 500, None)]).await;
    let mut mysql = west.servers.mysql().await;
    mysql.query_drop(format!("USE `{database}`")).await.unwrap();
    for sql in ["ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 5", "DELETE FROM t WHERE id > 10"] {
        mysql.query_drop(sql).await.unwrap();
    }
    expect("the column is the west's", "sum(w)", &[(&east, 300, None), (&west, 10, Some(50))]).await;
    // The east goes on while the west's capture is away, and what it does is its own.
    captures[1].kill();
    let mut other = east.servers.mysql().await;
    other.query_drop(format!("TRUNCATE TABLE `{database}`.t")).await.unwrap();
    other.query_drop(format!("INSERT INTO `{database}`.t VALUES (1, 'one')")).await.unwrap();
    expect("the east is emptied", "sum(w)", &[(&east, 1, None), (&west, 10, Some(50))]).await;
    mysql.query_drop("DROP TABLE t").await.unwrap();
    captures[1] = west.capture();
    expect("the west is gone", "sum(w)", &[(&east, 1, None)]).await;
    let sources = format!("{},{}", east.config.display(), west.config.display());
    let green = run(&both, &["verify", "--source", &sources], 0);
    assert!(green.contains("3 tables compared, 3 rows: no differences; 1 table left out"), "{green}");
    both.servers
        .postgres()
        .await
        .execute("INSERT INTO \"all\".t VALUES (1, 'x', 'north')", &[])
        .await
        .unwrap();
    let red = run(&both, &["verify", "--source", &sources], 3);
    assert!(red.contains("1 row with region = north"), "{red}");
    captures.iter_mut().for_each(Process::stop);
    drop(apply);
    second.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_into_one_target_is_told_with_the_way_out() {
    let task = merging("unlike");
    let name = &task.name;
    let mut mysql = task.servers.mysql().await;
    for (shard, columns) in [
        ("1", "id INT PRIMARY KEY, a INT"),
        ("2", "id INT PRIMARY KEY, a VARCHAR(20)"),
        ("3", "no INT PRIMARY KEY, a INT"),
        ("4", "id INT, a INT, PRIMARY KEY (id, a)"),
        ("x", "id INT PRIMARY KEY, a INT"),
    ] {
        for sql in [
            format!("CREATE DATABASE `{name}_{shard}`"),
            format!("CREATE TABLE `{name}_{shard}`.orders ({columns})"),
            format!("INSERT INTO `{name}_{shard}`.orders VALUES (1, 10), (2, 20)"),
        ] {
            mysql.query_drop(sql).await.unwrap();
        }
    }
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let rule = |shard: &str, target: &str, keys: &str| {
        format!("[[table]]\nsource = \"{name}_{shard}.orders\"\ntarget = \"{name}.{target}\"\n{keys}\n")
    };
    let keyed = |shard: &str, key: &str, keys: &str| {
        rule(
            shard,
            "orders",
            &format!("constants = {{ shard = \"{shard}:int\" }}\nprimary_key = {key}\n{keys}"),
        )
    };
    // One of the tables makes the target, and the others say what is in the way, before anything of them is written.
    let first = rules(&task);
    write(&task, &first.replace("_*.orders", "_1.orders"));
    run(&task, &["run", "--until-caught-up"], 0);
    write(&task, &(first.clone() + &keyed("4", "[\"shard\", \"id\", \"a\"]", "")));
    let told = [
        ("2", "column a is integer, and rows of this table need varchar(20)"),
        ("3", "must be the source's (no)"),
        ("4", "is unique by (shard, id), and the key of this table would be (shard, id, a)"),
        ("x", "its pattern does not match"),
    ];
    for output in [run(&task, &["check"], 1), run(&task, &["run", "--until-caught-up"], 1)] {
        for (shard, text) in told {
            let table = format!("{name}_{shard}.orders");
            let found = output.lines().any(|line| line.contains(&table) && line.contains(text));
            assert!(found, "{table}: {text}: {output}");
        }
    }
    // What each says is done.
    let (usual, of_x) =
        ("[\"shard\", \"id\"]", keyed("x", "[\"shard\", \"id\"]", "").replace("x:int", "24:int"));
    let mended = [
        first,
        keyed("2", usual, "columns = { rename = { a = \"of_another_type\" } }"),
        keyed("3", usual, "columns = { rename = { no = \"id\" } }"),
        rule("4", "with_another_key", ""),
        of_x,
    ];
    write(&task, &mended.concat());
    run(&task, &["run", "--until-caught-up"], 0);
    let _capture = task.capture();
    let green = run(&task, &["verify"], 0);
    assert!(green.contains("5 tables compared, 10 rows: no differences"), "{green}");

    // A change that the target cannot follow stops its table alone, and the table can leave.
    let (table, apply) = (format!("{name}_1.orders"), task.apply());
    let alter = format!("ALTER TABLE `{name}_1`.orders DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)");
    mysql.query_drop(alter).await.unwrap();
    eventually("the table is parked", RUN, || async {
        apply.table(&table).is_some_and(|table| table["error"]["code"] == "target-definition")
    })
    .await;
    drop(apply);
    write(&task, &(mended.concat() + &rule("1", "alone", "")));
    run(&task, &["replay", "--from", "beginning", "--clear", "--table", &table], 0);
    run(&task, &["run", "--until-caught-up"], 0);
    let red = run(&task, &["verify"], 3);
    assert!(red.contains("2 rows with shard = 1") && red.contains("2 differences in 1 table"), "{red}");
    let removal = red.split("look where they come from, and ").nth(1).unwrap().lines().next().unwrap();
    task.servers.postgres().await.batch_execute(removal).await.unwrap();
    run(&task, &["verify"], 0);
}

/// The rows of a target, by shard: how many, and their sums.
async fn shards(task: &Task, target: &str) -> Vec<(i64, i64, Option<i64>)> {
    let sql = format!("SELECT shard::bigint, count(*), sum(n)::bigint FROM {target} GROUP BY 1 ORDER BY 1");
    let rows = task.servers.postgres().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_their_own_feed_one_target_beside_each_other() {
    let target = format!("\"{}\".t", Task::new("common").name);
    let sharing = |test: &str, constants: &str| {
        Task::with(test, Servers::shared(), |text| {
            let keys = format!("constants = {{ {constants} }}\nprimary_key = [\"shard\", \"id\"]\n");
            text + &format!("target = {:?}\n{keys}", target.replace('"', ""))
        })
    };
    // What is an integer for the one is a text for the other: the column takes both.
    let [one, two, third] =
        [("one", "shard = \"1:int\""), ("two", "shard = \"2\""), ("third", "shard = \"01\"")]
            .map(|(test, constants)| sharing(test, constants));
    let mut mysql = one.servers.mysql().await;
    for (task, columns) in
        [(&one, "n INT, s VARCHAR(9) DEFAULT 'x'"), (&two, "n BIGINT, s VARCHAR(20)"), (&third, "n INT")]
    {
        for sql in [
            format!("CREATE DATABASE `{}`", task.name),
            format!("CREATE TABLE `{}`.t (id INT PRIMARY KEY, {columns})", task.name),
            format!("INSERT INTO `{}`.t (id, n) VALUES (1, 10), (2, 20), (3, 30)", task.name),
        ] {
            mysql.query_drop(sql).await.unwrap();
        }
    }
    one.catch_up();
    two.catch_up();
    third.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    let refused = run(&third, &["run", "--until-caught-up"], 1);
    assert!(refused.contains("its rows with shard = 01 would be mixed with those"), "{refused}");
    assert_eq!(shards(&one, &target).await, [(1, 3, Some(60)), (2, 3, Some(60))]);
    // Each empties, alters and reads anew what is its own.
    for sql in [
        format!("TRUNCATE TABLE `{}`.t", one.name),
        format!("INSERT INTO `{}`.t (id, n) VALUES (7, 70)", one.name),
        format!("ALTER TABLE `{}`.t DROP COLUMN s, ADD COLUMN d INT NOT NULL DEFAULT 4", one.name),
        format!("UPDATE `{}`.t SET s = 'longer than nine', n = 5000000000 WHERE id = 1", two.name),
    ] {
        mysql.query_drop(sql).await.unwrap();
    }
    one.catch_up();
    two.catch_up();
    assert_eq!(shards(&one, &target).await, [(1, 1, Some(70)), (2, 3, Some(5_000_000_050))]);
    let postgres = one.servers.postgres().await;
    let sql =
        format!("SELECT string_agg(concat_ws('/', shard, id, s, d), ' ' ORDER BY shard, id) FROM {target}");
    let rows: String = postgres.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(rows, "1/7/4 2/1/longer than nine 2/2 2/3");
    run(&one, &["replay", "--from", "beginning", "--clear"], 0);
    assert_eq!(shards(&one, &target).await, [(2, 3, Some(5_000_000_050))]);
    one.catch_up();
    for task in [&one, &two] {
        let capture = task.capture();
        run(task, &["verify"], 0);
        drop(capture);
    }
    run(&one, &["drop", "--yes"], 0);
    assert_eq!(shards(&one, &target).await, [(1, 1, Some(70)), (2, 3, Some(5_000_000_050))], "its rows stay");
    // What nobody keeps in step any more is told.
    let capture = two.capture();
    let red = run(&two, &["verify"], 3);
    assert!(red.contains("1 row with shard = 1"), "{red}");
    drop(capture);
}
