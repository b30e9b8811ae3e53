//! Many-to-one: tables of one or several sources in one target, each with its own rows.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

fn run(task: &Task, command: &[&str], status: i32) -> String {
    let mut process = task.start("apply", command);
    process.expect_exit(status, RUN);
    process.output()
}

/// A task that merges `<its name>_<shard>.orders` into one target.
fn merging(test: &str) -> Task {
    Task::with(test, Servers::shared(), |text| {
        let name = text.lines().next().unwrap_or_default().replace("name = ", "").replace('"', "");
        let rule = format!(
            "source = \"{name}_*.orders\"\ntarget = \"{name}.orders\"\nconstants = {{ shard = \"{{database:_(\\\\d+)$}}:int\" }}\n\
             primary_key = [\"shard\", \"id\"]\n"
        );
        text.replace(&format!("source = \"{name}.*\"\n"), &rule)
    })
}

fn rules(task: &Task) -> String {
    std::fs::read_to_string(&task.config).unwrap()
}

fn write(task: &Task, text: &str) {
    std::fs::write(&task.config, text).unwrap();
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
