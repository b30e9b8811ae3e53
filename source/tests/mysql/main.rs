//! The crate against a real MySQL server, which `deploy/local/servers` starts if it does not run. Each test has a
//! database of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attended;
mod catalog;
mod chunk;
mod replication;
mod rows;
mod session;

use std::sync::LazyLock;
use tributary_config::SourceConfig;
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::error::SourceError;
use tributary_tests::servers::Servers;

/// The server, started on the first call.
static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["mysql"]));

fn config(user: &str) -> SourceConfig {
    serde_json::from_value(SERVERS.source(user)).unwrap()
}

async fn connect(config: &SourceConfig) -> Result<SourceConnection, SourceError> {
    SourceOptions::new(config).unwrap().connect().await
}

/// A session of root in a new, empty database.
async fn database(name: &str) -> SourceConnection {
    let mut connection = connect(&config("root")).await.unwrap();
    run(&mut connection, &[&format!("DROP DATABASE IF EXISTS {name}"), &format!("CREATE DATABASE {name}")])
        .await;
    run(&mut connection, &[&format!("USE {name}")]).await;
    connection
}

async fn run(connection: &mut SourceConnection, statements: &[&str]) {
    for statement in statements {
        connection.execute(statement, statement).await.unwrap();
    }
}

/// A session of the account that Tributary is given.
async fn reader() -> SourceConnection {
    connect(&config("reader")).await.unwrap()
}
