//! The crate against a real MySQL server, which `deploy/local/servers` starts if it does not run. Each test has a
//! database of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attended;
mod catalog;
mod chunk;
mod replication;
mod rows;
mod session;

use std::process::Command;
use std::sync::OnceLock;
use tributary_schemas::config::SourceConfig;
use tributary_source::connect::{Connection, SourceOptions};
use tributary_source::error::SourceError;

/// Address and password of the server, started on the first call.
fn server() -> &'static (String, u16, String, String) {
    static SERVER: OnceLock<(String, u16, String, String)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/local/servers");
        let run = |arguments: &[&str]| {
            let output = Command::new(script).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["up", "mysql"]);
        let text = run(&["env"]);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
            line.trim_matches('\'').to_owned()
        };
        let port = value("MYSQL_PORT").parse().unwrap();
        (value("MYSQL_HOST"), port, value("MYSQL_ROOT_PASSWORD"), value("MYSQL_READER_PASSWORD"))
    })
}

fn config(user: &str) -> SourceConfig {
    let (host, port, root, reader) = server();
    let password = if user == "root" { root } else { reader };
    serde_json::from_value(
        serde_json::json!({"host": host, "port": port, "user": user, "password": password}),
    )
    .unwrap()
}

async fn connect(config: &SourceConfig) -> Result<Connection, SourceError> {
    SourceOptions::new(config).unwrap().connect().await
}

/// A session of root in a new, empty database.
async fn database(name: &str) -> Connection {
    let mut connection = connect(&config("root")).await.unwrap();
    run(&mut connection, &[&format!("DROP DATABASE IF EXISTS {name}"), &format!("CREATE DATABASE {name}")])
        .await;
    run(&mut connection, &[&format!("USE {name}")]).await;
    connection
}

async fn run(connection: &mut Connection, statements: &[&str]) {
    for statement in statements {
        connection.execute(statement, statement).await.unwrap();
    }
}

/// A session of the account that Tributary is given.
async fn reader() -> Connection {
    connect(&config("reader")).await.unwrap()
}
