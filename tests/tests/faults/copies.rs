//! Tasks that read another one's topics, killed with it under load: each ends equal, whatever became of the others.

use super::kills::seed;
use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

const TABLES: [&str; 2] = ["a", "b"];
const COPIES: usize = 3;
const ROUNDS: u32 = 12;

/// Copies that work, one that is dropped and begun anew, and what feeds them: any of it dies at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn copies_and_their_capture_die_under_load() {
    let mut random = fastrand::Rng::with_seed(seed());
    let servers = Servers::up("faults-copies", &[]);
    let origin = Task::with("copied", &servers, |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    });
    for table in TABLES {
        create(&origin, table, 10_000).await;
    }
    let database = format!("copies_of_{}", origin.name);
    let mut copies = Vec::new();
    for number in 0..COPIES {
        let rules =
            format!("[[table]]\nsource = \"{}.*\"\ntarget = \"copy_{number}.{{table}}\"\n", origin.name);
        copies.push(Task::reading(&format!("reader{number}"), &[&origin], &database, &rules).await);
    }
    let writers = TABLES.map(|table| Writer::start(&servers, &origin.name, table, 12_000, 1, random.u64(..)));
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", origin.name)).await.unwrap();
    let mut capture = origin.capture();
    let mut applies: Vec<[Process; 2]> = copies.iter().map(|copy| [copy.apply(), copy.apply()]).collect();
    for round in 0..ROUNDS {
        let until = writers[0].transactions() + random.u64(100..600);
        eventually("the writers go on", RUN, || async { writers[0].transactions() >= until }).await;
        let (copy, table) = (random.usize(0..COPIES), TABLES[random.usize(0..2)]);
        let choice = random.u32(0..9);
        println!("round {round}: choice {choice}, copy {copy}, table {table}");
        match choice {
            0..2 => {
                capture.kill();
                capture = origin.capture();
            }
            2..5 => {
                let apply = &mut applies[copy][random.usize(0..2)];
                apply.kill();
                *apply = copies[copy].apply();
            }
            5 => {
                let sql = format!("ALTER TABLE {table} ADD COLUMN c{round} INT NOT NULL DEFAULT {round}");
                mysql.query_drop(sql).await.unwrap();
                applies[copy][0].kill();
                applies[copy][0] = copies[copy].apply();
            }
            6 => {
                mysql.query_drop(format!("TRUNCATE TABLE {table}")).await.unwrap();
                applies[copy][1].kill();
                applies[copy][1] = copies[copy].apply();
            }
            7 => {
                // One forgets all that it knows, and begins anew beside the others.
                applies[copy].iter_mut().for_each(Process::kill);
                copies[copy].start("apply", &["drop", "--yes"]).expect_exit(0, RUN);
                let warehouse = copies[copy].servers.postgres().await;
                warehouse.batch_execute(&format!("DROP SCHEMA IF EXISTS copy_{copy} CASCADE")).await.unwrap();
                applies[copy] = [copies[copy].apply(), copies[copy].apply()];
            }
            _ => {
                servers.control(&["kill", "postgres"]);
                servers.control(&["up", "postgres"]);
            }
        }
    }
    for writer in writers {
        writer.stop().await;
    }
    capture.kill();
    applies.iter_mut().flatten().for_each(Process::kill);
    origin.catch_up();
    assert_equal(&origin).await;
    for (number, copy) in copies.iter().enumerate() {
        copy.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
        let (warehouse, own) = (copy.servers.postgres().await, servers.postgres().await);
        for table in TABLES {
            // Two databases cannot be asked at once: the rows of each are put into one number, whatever their order is.
            let sum = |from: String| {
                format!("SELECT count(*), sum(hashtext(r::text)::numeric)::text FROM {from} r")
            };
            let copied = warehouse.query_one(&sum(format!("copy_{number}.{table}")), &[]).await.unwrap();
            let original = own.query_one(&sum(format!("\"{}\".{table}", origin.name)), &[]).await.unwrap();
            let pair = |row: &tokio_postgres::Row| (row.get::<_, i64>(0), row.get::<_, Option<String>>(1));
            assert_eq!(pair(&copied), pair(&original), "{table} of copy {number}");
        }
    }
    servers.discard();
}
