//! What the demo looks up in both databases: rows of the warehouse and of the source, counted.

use crate::error::DemoError;
use crate::load;
use crate::servers::Addresses;
use crate::shop::{self, Table};
use mysql_async::prelude::Queryable;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// A connection to the warehouse, as the account that `apply` has.
pub struct Warehouse {
    client: Client,
}

impl Warehouse {
    /// Connects.
    pub async fn connect(addresses: &Addresses) -> Result<Self, DemoError> {
        let (client, connection) = tokio_postgres::Config::new()
            .host(&addresses.warehouse_host)
            .port(addresses.warehouse_port)
            .dbname(&addresses.warehouse_database)
            .user(&addresses.warehouse_user)
            .password(&addresses.warehouse_password)
            .application_name("tributary demo")
            .connect(NoTls)
            .await
            .map_err(DemoError::warehouse("connecting"))?;
        // It ends with the client, and what goes wrong with it is the client's next error.
        tokio::spawn(connection);
        Ok(Self { client })
    }

    /// True if `orders` has the column.
    pub async fn has_column(&self, column: &str) -> Result<bool, DemoError> {
        let sql = "SELECT count(*) FROM information_schema.columns \
                   WHERE table_schema = $1 AND table_name = $2 AND column_name = $3";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&shop::DATABASE, &Table::Orders.name(), &column];
        let row = self.client.query_one(sql, &parameters).await;
        row.and_then(|row| row.try_get::<_, i64>(0))
            .map(|found| found > 0)
            .map_err(DemoError::warehouse("looking for a column"))
    }

    /// Orders whose gift note is not the default.
    pub async fn gift_notes(&self) -> Result<u64, DemoError> {
        self.count("orders WHERE gift_note <> 'none'").await
    }

    /// Rows of every table, in the order of [`Table::ALL`].
    pub async fn rows(&self) -> Result<Vec<u64>, DemoError> {
        let mut rows = Vec::new();
        for table in Table::ALL {
            rows.push(self.count(table.name()).await?);
        }
        Ok(rows)
    }

    async fn count(&self, what: &str) -> Result<u64, DemoError> {
        let sql = format!("SELECT count(*) FROM {}.{what}", shop::DATABASE);
        match self.client.query_one(&sql, &[]).await.and_then(|row| row.try_get::<_, i64>(0)) {
            Ok(rows) => Ok(rows.cast_unsigned()),
            // Not made yet.
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
            Err(error) => Err(DemoError::warehouse("counting rows")(error)),
        }
    }
}

/// Rows of every table of the source, in the order of [`Table::ALL`].
pub async fn source_rows(addresses: &Addresses) -> Result<Vec<u64>, DemoError> {
    const ACTION: &str = "counting rows";
    let mut conn = load::connect(addresses, Some(shop::DATABASE)).await.map_err(DemoError::mysql(ACTION))?;
    let mut rows = Vec::new();
    for table in Table::ALL {
        let counted: Option<u64> = conn
            .query_first(format!("SELECT COUNT(*) FROM {}", table.name()))
            .await
            .map_err(DemoError::mysql(ACTION))?;
        rows.push(counted.unwrap_or_default());
    }
    conn.disconnect().await.map_err(DemoError::mysql(ACTION))?;
    Ok(rows)
}

/// Adds the column that comes in the middle, while the live writer goes on.
pub async fn add_gift_note(addresses: &Addresses) -> Result<(), DemoError> {
    const ACTION: &str = "adding orders.gift_note";
    let mut conn = load::connect(addresses, Some(shop::DATABASE)).await.map_err(DemoError::mysql(ACTION))?;
    conn.query_drop("ALTER TABLE orders ADD COLUMN gift_note VARCHAR(80) NOT NULL DEFAULT 'none'")
        .await
        .map_err(DemoError::mysql(ACTION))?;
    conn.disconnect().await.map_err(DemoError::mysql(ACTION))
}
