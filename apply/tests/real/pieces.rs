//! A table read in pieces: every row once, in whatever order the server keeps its keys; and nobody waits for the reader.

use crate::postgres::{Session, connection};
use std::sync::mpsc::channel;
use std::time::Duration;
use tributary_warehouse::destination::pieces::Pieces;
use tributary_warehouse::merge::names::TargetName;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn every_row_is_read_once_whatever_orders_the_keys() {
    let session = Session::new("pieces").await;
    let schema = &session.schema;
    session
        .run(&[
            format!(
                "CREATE TABLE {schema}.t (id integer NOT NULL, s varchar(9) COLLATE \"und-x-icu\" NOT NULL, \
                 n numeric(9,2) NOT NULL, b bit(9) NOT NULL, at timestamptz NOT NULL, x text)"
            ),
            format!(
                "INSERT INTO {schema}.t SELECT i, chr(40 + i % 90) || i % 3, i % 7 - 3, (i % 5)::bit(9), \
                 timestamptz '2020-01-01' + i % 11 * interval '1 day', nullif(i % 2, 0)::text \
                 FROM generate_series(1, 1001) i"
            ),
            format!("CREATE UNIQUE INDEX ON {schema}.t (at, n DESC, s, b, id)"),
        ])
        .await;
    let target = TargetName { schema: schema.clone(), table: "t".to_owned() };
    let shape = session.shape(&target).await;
    assert_eq!(shape.unique_keys, [names(&["at", "n", "s", "b", "id"])], "in the order of the index");
    let columns = names(&["x", "id", "s", "n", "b", "at"]);
    let mut connection = connection().await;
    for rows in [1, 7, 1001, 5000] {
        let pieces = Pieces::new(&shape, &columns, (&names(&["id", "s", "n", "b", "at"]), None), rows);
        assert!(!pieces.is_whole());
        let mut ids = Vec::new();
        let take = |mut fields: tributary_warehouse::destination::pieces::Fields<'_>| {
            let id = fields.nth(1).flatten().unwrap();
            ids.push(i32::from_be_bytes(id.try_into().unwrap()));
        };
        pieces.read(&mut connection, take).await.unwrap();
        ids.sort_unstable();
        assert_eq!(ids, (1..=1001).collect::<Vec<_>>(), "in pieces of {rows}");
    }
    session.done().await;
}

#[tokio::test]
async fn a_column_that_an_index_only_includes_is_no_part_of_a_key() {
    let session = Session::new("included").await;
    let target = TargetName { schema: session.schema.clone(), table: "t".to_owned() };
    session
        .run(&[
            format!("CREATE TABLE {target} (id integer NOT NULL, n integer NOT NULL)"),
            format!("CREATE UNIQUE INDEX ON {target} (id) INCLUDE (n)"),
        ])
        .await;
    assert_eq!(session.shape(&target).await.unique_keys, [names(&["id"])]);
    session.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_alter_waits_for_one_piece_and_not_for_the_reader() {
    let session = Session::new("pieces_lock").await;
    let schema = &session.schema;
    session
        .run(&[
            format!("CREATE TABLE {schema}.t (id integer PRIMARY KEY, x text)"),
            // More than sockets hold: a reader of everything in one statement would keep its lock.
            format!("INSERT INTO {schema}.t SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i"),
        ])
        .await;
    let target = TargetName { schema: schema.clone(), table: "t".to_owned() };
    let pieces =
        Pieces::new(&session.shape(&target).await, &names(&["id", "x"]), (&names(&["id"]), None), 100);
    let mut connection = connection().await;
    let (begun, first) = channel();
    let (go_on, gate) = channel::<()>();
    let reading = tokio::spawn(async move {
        let (mut count, mut gate) = (0, Some((begun, gate)));
        let read = pieces.read(&mut connection, |_| {
            if let Some((begun, gate)) = gate.take() {
                begun.send(()).unwrap();
                tokio::task::block_in_place(|| gate.recv().unwrap());
            }
            count += 1;
        });
        read.await.map(|()| count)
    });
    tokio::task::block_in_place(|| first.recv_timeout(Duration::from_secs(30)).unwrap());
    session
        .run(&["SET lock_timeout = '10s'".to_owned(), format!("ALTER TABLE {schema}.t ADD COLUMN y integer")])
        .await;
    go_on.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 60_000);
    session.done().await;
}
