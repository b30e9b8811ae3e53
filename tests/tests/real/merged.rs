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
