//! What a session is set to, whatever the server's defaults are.

use crate::{config, connect, database, run};
use tributary_source::connect::SourceConnection;

async fn ask(connection: &mut SourceConnection, expression: &str) -> String {
    let sql = format!("SELECT CONCAT({expression})");
    let rows = connection.query("asking", &sql).await.unwrap();
    rows.into_iter().next().unwrap().take::<String, _>(0).unwrap()
}

#[tokio::test]
async fn a_servers_defaults_change_neither_rows_nor_catalog() {
    let mut root = database("session").await;
    let variables = ["max_sort_length", "sql_auto_is_null", "sql_big_selects", "transaction_isolation"];
    let unlike = ["4", "1", "0", "'READ-UNCOMMITTED'"];
    let mut before = Vec::new();
    for (variable, value) in variables.iter().zip(unlike) {
        before.push(ask(&mut root, &format!("QUOTE(@@GLOBAL.{variable})")).await);
        run(&mut root, &[&format!("SET GLOBAL {variable} = {value}")]).await;
    }
    let mut reader = connect(&config("reader")).await.unwrap();
    let mut found = Vec::new();
    for variable in variables {
        found.push(ask(&mut reader, &format!("@@SESSION.{variable}")).await);
    }
    for (variable, value) in variables.iter().zip(before) {
        let value = if value.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            value
        } else {
            value.replace('\'', "")
        };
        run(&mut root, &[&format!("SET GLOBAL {variable} = {value}")]).await;
    }
    assert_eq!(found, ["4096", "0", "1", "REPEATABLE-READ"]);
    run(&mut root, &["DROP DATABASE session"]).await;
}
