//! The binlog decoder against a real MySQL server, which `deploy/local/servers` starts if it does not run: what a
//! table's binlog replays to must be what a SELECT gives, byte for byte as Avro and column for column as text. Each test
//! has a database of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod charsets;
mod events;
mod replay;
mod text;
mod types;

use mysql_async::prelude::FromRow;
use replay::Replay;
use std::sync::LazyLock;
use tributary_schemas::table::{Table, TableId};
use tributary_source::catalog::read_table;
use tributary_source::charset::Charset;
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::publish::Wishes;
use tributary_tests::servers::Servers;

/// `binlog_row_metadata` is a setting of the whole server: tests that set it take turns.
static METADATA: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How to reach the server as root; it is started on the first call.
fn options() -> SourceOptions {
    static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["mysql"]));
    SourceOptions::new(&serde_json::from_value(SERVERS.source("root")).unwrap()).unwrap()
}

/// A session of root in the new, empty database `name`, in which zero dates and other oddities are allowed.
async fn database(name: &str) -> SourceConnection {
    let mut connection = options().connect().await.unwrap();
    run(
        &mut connection,
        &[
            &format!("DROP DATABASE IF EXISTS {name}"),
            &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
            &format!("USE {name}"),
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        ],
    )
    .await;
    connection
}

async fn run(connection: &mut SourceConnection, statements: &[&str]) {
    for statement in statements {
        connection
            .execute("running", statement)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", statement.chars().take(200).collect::<String>()));
    }
}

async fn rows<R: FromRow + Send + 'static>(connection: &mut SourceConnection, statement: &str) -> Vec<R> {
    let rows = connection.query("asking", statement).await;
    rows.unwrap_or_else(|error| panic!("{statement}: {error}"))
        .into_iter()
        .map(mysql_async::from_row)
        .collect()
}

/// The table as the catalog has it, but for the columns `excluded`, and how many columns it has in all.
async fn published(
    connection: &mut SourceConnection,
    database: &str,
    table: &str,
    excluded: &[String],
) -> (Table, u32) {
    let id = TableId::new(database, table);
    let catalog = read_table(connection, &id).await.unwrap().unwrap_or_else(|| panic!("{id} is not there"));
    let wishes = Wishes { excluded, ..Wishes::new(|name| Charset::named(name).is_some()) };
    let count = u32::try_from(catalog.columns.len()).unwrap();
    (catalog.published(&wishes).unwrap(), count)
}

/// The place in the binlog that the next event is written to.
async fn place(connection: &mut SourceConnection) -> (String, u64) {
    type Status = (String, u64, Option<String>, Option<String>, Option<String>);
    let status: Vec<Status> = rows(connection, "SHOW BINARY LOG STATUS").await;
    let (file, offset, ..) = status.into_iter().next().unwrap();
    (file, offset)
}

/// Runs statements, replays what they left in the binlog of `tables`, and compares each with what it holds now.
async fn check(connection: &mut SourceConnection, tables: &[(Table, u32)], statements: &[&str]) -> Replay {
    let (file, offset) = place(connection).await;
    run(connection, statements).await;
    let replay = Replay::read(&file, offset, tables).await;
    for (table, _) in tables {
        text::compare(connection, table, replay.rows(table)).await;
    }
    replay
}
