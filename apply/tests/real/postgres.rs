//! A session on the real PostgreSQL in a schema of its own, and what the catalog says of a table there.

use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use std::sync::LazyLock;
use tokio_postgres::{Client, NoTls};
use tributary_apply::destination::{Connection, Connector};
use tributary_apply::merge::names::{TargetName, quote};
use tributary_apply::merge::target::{TargetColumn, TargetShape};
use tributary_config::DestinationConfig;
use tributary_tests::servers::Servers;

/// The server, started on the first call.
static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["postgres"]));

/// A session of the product's own.
pub(crate) async fn connection() -> Connection {
    let config: DestinationConfig = serde_json::from_value(SERVERS.destination()).unwrap();
    Connector::new(&config).unwrap().connect().await.unwrap()
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

    /// What the catalog says of a table.
    pub(crate) async fn shape(&self, name: &TargetName) -> TargetShape {
        let columns = self
            .client
            .query(
                "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                 a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', coalesce(c.collisdeterministic, true) \
                 FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation \
                 WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                &[&name.to_string()],
            )
            .await
            .unwrap();
        let keys = self
            .client
            .query(
                "SELECT array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND \
                 a.attnum = ANY (i.indkey)) FROM pg_index i WHERE i.indrelid = $1::text::regclass AND i.indisunique",
                &[&name.to_string()],
            )
            .await
            .unwrap();
        TargetShape {
            name: name.clone(),
            columns: columns
                .iter()
                .map(|row| TargetColumn {
                    name: row.get(0),
                    type_name: row.get(1),
                    not_null: row.get(2),
                    has_default: row.get(3),
                    generated: row.get(4),
                    deterministic: row.get(5),
                    identity_always: false,
                })
                .collect(),
            unique_keys: keys.iter().map(|row| row.get(0)).collect(),
            append_optimized: false,
            distributed_by: vec![],
            hazards: Default::default(),
        }
    }

    /// Takes the schema away. A test that fails leaves it for people to look at.
    pub(crate) async fn done(self) {
        self.run(&[format!("DROP SCHEMA {} CASCADE", self.schema)]).await;
    }
}
