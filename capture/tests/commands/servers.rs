//! The servers, and an administrator's session on MySQL.

use std::sync::LazyLock;
use tributary_source::connect::SourceOptions;
use tributary_tests::servers::Servers;

/// The checkout's own, started on the first call.
pub(crate) static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["mysql", "kafka"]));

/// Runs statements as an administrator of MySQL.
pub(crate) fn sql(servers: &Servers, statements: &[&str]) {
    let options = SourceOptions::new(&serde_json::from_value(servers.source("root")).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            connection.execute("preparing a test", statement).await.unwrap();
        }
        connection.close().await.unwrap();
    });
}

/// A new, empty database.
pub(crate) fn database(servers: &Servers, name: &str, tables: &[&str]) {
    let (drop, create) = (format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"));
    let using = format!("USE {name}");
    sql(servers, &[&[drop.as_str(), &create, &using], tables].concat());
}
