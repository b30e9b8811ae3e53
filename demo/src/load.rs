//! The sample data's way into MySQL: a size enters, five full tables leave. Several connections share one list of
//! statements, since one would leave the server's other core idle.

use crate::error::DemoError;
use crate::servers::Addresses;
use crate::shop::{self, Size, Table};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// Connections that load.
const LOADERS: usize = 3;
/// Indexes of one statement: several hundred kilobytes, well under `max_allowed_packet`.
const STATEMENT_INDEXES: u64 = 1000;

/// Opens a connection as `root`, in UTC.
pub async fn connect(addresses: &Addresses, database: Option<&str>) -> Result<Conn, mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(addresses.mysql_host.clone())
        .tcp_port(addresses.mysql_port)
        .user(Some("root"))
        .pass(Some(addresses.mysql_root_password.clone()))
        .db_name(database)
        .prefer_socket(false)
        .tcp_nodelay(true)
        // Without gap locks writers do not meet where they touch different rows.
        .init(vec!["SET time_zone = '+00:00'", "SET SESSION transaction_isolation = 'READ-COMMITTED'"]);
    Conn::new(options).await
}

/// Makes the database and its empty tables.
pub async fn create(addresses: &Addresses) -> Result<(), DemoError> {
    const ACTION: &str = "making the sample database";
    let mut conn = connect(addresses, None).await.map_err(DemoError::mysql(ACTION))?;
    let database = shop::DATABASE;
    let mut statements = vec![
        format!("DROP DATABASE IF EXISTS {database}"),
        format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"),
        format!("USE {database}"),
    ];
    statements.extend(shop::definitions().map(str::to_owned));
    for statement in statements {
        conn.query_drop(statement).await.map_err(DemoError::mysql(ACTION))?;
    }
    conn.disconnect().await.map_err(DemoError::mysql(ACTION))
}

/// Fills the tables. `loaded` counts rows while it goes on.
pub async fn fill(addresses: &Addresses, size: Size, loaded: &Arc<AtomicU64>) -> Result<(), DemoError> {
    let statements: Arc<[(Table, Range<u64>)]> = statements(size).into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut loaders = JoinSet::new();
    for _ in 0..LOADERS {
        let (addresses, statements) = (addresses.clone(), Arc::clone(&statements));
        let (next, loaded) = (Arc::clone(&next), Arc::clone(loaded));
        loaders.spawn(async move {
            let mut conn = connect(&addresses, Some(shop::DATABASE)).await?;
            let mut sql = String::new();
            while let Some((table, indexes)) = statements.get(next.fetch_add(1, Ordering::Relaxed)) {
                let rows = shop::insert(*table, indexes.clone(), size, &mut sql);
                conn.query_drop(sql.as_str()).await?;
                loaded.fetch_add(rows, Ordering::Relaxed);
            }
            conn.disconnect().await
        });
    }
    while let Some(loader) = loaders.join_next().await {
        match loader {
            Ok(result) => result.map_err(DemoError::mysql("loading the sample data"))?,
            Err(error) => return Err(DemoError::Writer(error.to_string())),
        }
    }
    Ok(())
}

fn statements(size: Size) -> Vec<(Table, Range<u64>)> {
    let mut statements = Vec::new();
    for table in Table::ALL {
        let end = size.indexes(table);
        let mut from = 0;
        while from < end {
            let to = (from + STATEMENT_INDEXES).min(end);
            statements.push((table, from..to));
            from = to;
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_cover_every_index_once() {
        let size = Size { customers: 2500, products: 1000, orders: 1 };
        for table in Table::ALL {
            let mut expected = 0;
            for (_, indexes) in statements(size).iter().filter(|(of, _)| *of == table) {
                assert_eq!(indexes.start, expected);
                assert!(indexes.end > indexes.start && indexes.end - indexes.start <= STATEMENT_INDEXES);
                expected = indexes.end;
            }
            assert_eq!(expected, size.indexes(table));
        }
    }
}
