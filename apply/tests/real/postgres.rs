//! A session on the real PostgreSQL in a schema of its own, and what the catalog says of a table there.

use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use std::sync::LazyLock;
use tokio_postgres::{Client, NoTls};
use tributary_config::DestinationConfig;
use tributary_tests::servers::Servers;
use tributary_warehouse::destination::{Connection, Connector, catalog};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::names::{TargetName, quote};
use tributary_warehouse::merge::target::TargetShape;

/// The server, started on the first call.
static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["postgres"]));

/// A session of the product's own.
pub(crate) async fn connection() -> Connection {
    let config: DestinationConfig = serde_json::from_value(SERVERS.destination()).unwrap();
    Connector::new(&config).unwrap().connect().await.unwrap()
}

/// What the product finds the server to be.
pub(crate) async fn dialect() -> Dialect {
    catalog::probe(&mut connection().await).await.unwrap().0
}

/// A session whose schema is empty, and goes with [`Session::done`].
pub(crate) struct Session {
    pub client: Client,
    pub schema: String,
}

impl Session {
    /// In the schema `<name>_<process>`.
    pub(crate) async fn new(name: &str) -> Self {
        let (client, connection) = SERVERS.postgres_config().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let schema = format!("{name}_{}", std::process::id());
        client
            .batch_execute(&format!(
                "SET timezone = 'UTC'; SET client_min_messages = warning; \
                 DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"
            ))
            .await
            .unwrap();
        Self { client, schema }
    }

    /// Runs statements one by one.
    pub(crate) async fn run<S: AsRef<str>>(&self, statements: &[S]) {
        for statement in statements {
            let result = self.client.batch_execute(statement.as_ref()).await;
            result.unwrap_or_else(|error| panic!("{}: {error:?}", statement.as_ref()));
        }
    }

    /// Sends a COPY; the number of rows it took.
    pub(crate) async fn copy(&self, statement: &str, bytes: Vec<u8>) -> Result<u64, tokio_postgres::Error> {
        let mut sink = pin!(self.client.copy_in::<_, Bytes>(statement).await?);
        sink.send(Bytes::from(bytes)).await?;
        sink.finish().await
    }

    /// Every row as the server prints it, sorted.
    pub(crate) async fn rows(&self, columns: &[String], table: &TargetName) -> Vec<Vec<Option<String>>> {
        let columns: Vec<_> = columns.iter().map(|column| format!("{}::text", quote(column))).collect();
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let rows = self.client.query(&sql, &[]).await.unwrap();
        let mut rows: Vec<Vec<Option<String>>> =
            rows.iter().map(|row| (0..row.len()).map(|index| row.get(index)).collect()).collect();
        rows.sort();
        rows
    }

    /// What the product finds of a table.
    pub(crate) async fn shape(&self, name: &TargetName) -> TargetShape {
        catalog::shape(&mut connection().await, dialect().await, name).await.unwrap().unwrap()
    }

    /// Takes the schema away. A test that fails leaves it for people to look at.
    pub(crate) async fn done(self) {
        self.run(&[format!("DROP SCHEMA {} CASCADE", self.schema)]).await;
    }
}
