//! The sample shop on the source: five tables whose columns use every type (`sql/`), and a writer that changes them. Addresses
//! enter, rows are made and changed, and what was done is counted.

use crate::servers::Addresses;
use fastrand::Rng;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, TxOpts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tributary_service::exit::Failure;

/// The database that the demo makes anew.
pub(crate) const DATABASE: &str = "shop";
/// Its tables, in the order in which they are shown.
pub(crate) const TABLES: [&str; 5] = ["customers", "products", "orders", "order_lines", "payments"];

const SCHEMA: &str = include_str!("../sql/schema.sql");
const EDGES: &str = include_str!("../sql/edges.sql");
const ROWS: &str = include_str!("../sql/rows.sql");
/// Rows with numbers up to this are the edges, which stay as they are.
const LAST_EDGE: u64 = 3;
/// Payments have numbers beyond what a signed 64-bit number holds.
const FIRST_PAYMENT: u64 = 9_300_000_000_000_000_000;
/// Rows of customers, of products and of orders at 100 percent. An order has 2.5 lines in the mean, and a payment.
const ROWS_AT_100: [u64; 3] = [40_000, 10_000, 90_000];
/// Customers and products that orders name and the writer changes: as many as the smallest shop has.
const BUSY: u64 = 100;
/// Numbers in one statement of the filling.
const STATEMENT_ROWS: u64 = 2_000;
/// Connections that fill the shop.
const FILLERS: usize = 2;

/// About as many rows as a shop of so many percent has.
pub(crate) fn rows_at(percent: u64) -> u64 {
    let [customers, products, orders] = ROWS_AT_100;
    (customers + products + orders * 9 / 2) * percent / 100
}

/// For `map_err` of what MySQL answers.
fn failed(what: &str) -> impl Fn(Error) -> Failure {
    move |error| Failure::new(what, error).at("the demo's MySQL")
}

async fn connect(addresses: &Addresses) -> Result<Conn, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(addresses.get("MYSQL_HOST"))
        .tcp_port(addresses.get("MYSQL_PORT").parse().unwrap_or_default())
        .user(Some("root"))
        .pass(Some(addresses.get("MYSQL_ROOT_PASSWORD")))
        .prefer_socket(false)
        .tcp_nodelay(true)
        .init(vec![
            "SET time_zone = '+00:00', transaction_isolation = 'READ-COMMITTED'",
            "SET cte_max_recursion_depth = 1000000",
        ]);
    Conn::new(options).await
}

/// The statements of a file, with the numbers of the rows put in.
fn statements(file: &str, from: u64, to: u64) -> Vec<String> {
    let filled = file.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
    filled.split(";\n").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Makes the database anew and fills it; `filled` counts rows while it goes on.
pub(crate) async fn fill(
    addresses: &Addresses,
    percent: u64,
    filled: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    let failed = failed("the sample shop cannot be made");
    let mut conn = connect(addresses).await.map_err(&failed)?;
    let database = [
        format!("DROP DATABASE IF EXISTS {DATABASE}"),
        format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"),
        format!("USE {DATABASE}"),
    ];
    for statement in database.into_iter().chain(statements(SCHEMA, 0, 0)).chain(statements(EDGES, 0, 0)) {
        conn.query_drop(statement).await.map_err(&failed)?;
        filled.fetch_add(conn.affected_rows(), Ordering::Relaxed);
    }
    let work = Arc::new(tokio::sync::Mutex::new(fillings(percent).into_iter()));
    let mut fillers = JoinSet::new();
    for _ in 0..FILLERS {
        let (addresses, work, filled) = (addresses.clone(), Arc::clone(&work), Arc::clone(filled));
        fillers.spawn(async move {
            let mut conn = connect(&addresses).await?;
            conn.query_drop(format!("USE {DATABASE}")).await?;
            loop {
                let Some(statements) = work.lock().await.next() else { return Ok(()) };
                for statement in statements {
                    conn.query_drop(statement).await?;
                    filled.fetch_add(conn.affected_rows(), Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(filler) = fillers.join_next().await {
        filler.unwrap_or(Ok(())).map_err(&failed)?;
    }
    Ok(())
}

/// Statements that belong together: an order's total is that of its lines, its payment is of the total.
fn fillings(percent: u64) -> Vec<Vec<String>> {
    let mut fillings = Vec::new();
    for (rows, of) in ROWS_AT_100.into_iter().zip([0..1, 1..2, 2..5]) {
        let last = (rows * percent / 100).max(BUSY);
        for from in (LAST_EDGE + 1..=last).step_by(usize::try_from(STATEMENT_ROWS).unwrap_or(1)) {
            let all = statements(ROWS, from, last.min(from + STATEMENT_ROWS - 1));
            fillings.push(all.get(of.clone()).unwrap_or_default().to_vec());
        }
    }
    fillings
}

/// Rows of every table, in the order of [`TABLES`].
pub(crate) async fn rows(addresses: &Addresses) -> Result<Vec<u64>, Failure> {
    let failed = failed("the rows of the shop cannot be counted");
    let mut conn = connect(addresses).await.map_err(&failed)?;
    let mut rows = Vec::new();
    for table in TABLES {
        let counted =
            conn.query_first(format!("SELECT COUNT(*) FROM {DATABASE}.{table}")).await.map_err(&failed)?;
        rows.push(counted.unwrap_or_default());
    }
    Ok(rows)
}

/// Adds the column that comes in the middle, while the writer goes on.
pub(crate) async fn add_gift_note(addresses: &Addresses) -> Result<(), Failure> {
    let failed = failed("orders.gift_note cannot be added");
    let mut conn = connect(addresses).await.map_err(&failed)?;
    let alter =
        format!("ALTER TABLE {DATABASE}.orders ADD COLUMN gift_note VARCHAR(80) NOT NULL DEFAULT 'none'");
    conn.query_drop(alter).await.map_err(&failed)
}

/// What has been committed: transactions, rows inserted, updated, deleted, and moved to another key.
#[derive(Debug, Default)]
pub(crate) struct Written([AtomicU64; 5]);

impl Written {
    /// In a line: `+` inserted, `~` updated, `−` deleted.
    pub(crate) fn line(&self) -> String {
        let [transactions, inserted, updated, deleted, moved] =
            self.0.each_ref().map(|count| indicatif::HumanCount(count.load(Ordering::Relaxed)));
        format!("{transactions} transactions: +{inserted} ~{updated} −{deleted} rows, {moved} key changes")
    }
}

/// How the rows that a statement touches are counted: a place in [`Written`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Insert = 1,
    Update = 2,
    Delete = 3,
    Move = 4,
}

/// The live writer while it runs: a connection of its own that writes at a steady rate.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What it has done.
    pub written: Arc<Written>,
    gift_notes: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    task: JoinHandle<Result<(), Error>>,
}

impl Writer {
    /// Starts writing.
    pub(crate) fn start(addresses: &Addresses, transactions_per_second: u32) -> Self {
        let (written, gift_notes) = (Arc::<Written>::default(), Arc::<AtomicBool>::default());
        let stopping = Arc::<AtomicBool>::default();
        let (counted, notes, stop) = (Arc::clone(&written), Arc::clone(&gift_notes), Arc::clone(&stopping));
        let addresses = addresses.clone();
        let task = tokio::spawn(async move {
            let mut conn = connect(&addresses).await?;
            conn.query_drop(format!("USE {DATABASE}")).await?;
            let mut shopping = Shopping::new(&mut conn).await?;
            let mut beat = tokio::time::interval(Duration::from_secs(1) / transactions_per_second.max(1));
            while !stop.load(Ordering::Relaxed) {
                beat.tick().await;
                let statements = shopping.next(notes.load(Ordering::Relaxed));
                let mut rows = Vec::with_capacity(statements.len());
                let mut transaction = conn.start_transaction(TxOpts::default()).await?;
                for (statement, effect) in statements {
                    transaction.query_drop(statement).await?;
                    rows.push((effect, transaction.affected_rows()));
                }
                transaction.commit().await?;
                counted.0[0].fetch_add(1, Ordering::Relaxed);
                for (effect, rows) in rows {
                    counted.0[effect as usize].fetch_add(rows, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Self { written, gift_notes, stopping, task }
    }

    /// From now on `orders.gift_note` exists, and is written.
    pub(crate) fn begin_gift_notes(&self) {
        self.gift_notes.store(true, Ordering::Relaxed);
    }

    /// True if it failed: nobody asked it to end, and [`Writer::stop`] says why it did.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it behind its last transaction.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.stopping.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or(Ok(())).map_err(failed("the live writer failed"))
    }
}

/// What customers do, as far as a database sees it; orders are placed at one end and deleted at the other.
#[derive(Debug)]
struct Shopping {
    rng: Rng,
    next_order: u64,
    oldest_order: u64,
}

impl Shopping {
    async fn new(conn: &mut Conn) -> Result<Self, Error> {
        let ends = format!("SELECT MIN(id), MAX(id) + 1 FROM orders WHERE id > {LAST_EDGE}");
        let (oldest_order, next_order) =
            conn.query_first(ends).await?.unwrap_or((LAST_EDGE + 1, LAST_EDGE + 2));
        Ok(Self { rng: Rng::with_seed(next_order), next_order, oldest_order })
    }

    /// The statements of the next transaction.
    fn next(&mut self, gift_notes: bool) -> Vec<(String, Effect)> {
        let order = self.rng.u64(self.oldest_order..self.next_order);
        let busy = self.rng.u64(LAST_EDGE + 1..=BUSY);
        let number = self.rng.u8(1..9);
        match self.rng.u8(0..100) {
            0..40 => self.place_order(gift_notes),
            40..65 => {
                let status = format!("UPDATE orders SET status = 1 + {number} % 6 WHERE id = {order}");
                vec![(status, Effect::Update)]
            }
            65..82 => {
                let sold = format!(
                    "UPDATE products SET stock = stock - {number}, sold = sold + {number}, \
                     attributes = JSON_SET(attributes, '$.views', {order}) WHERE {}",
                    of_product(busy)
                );
                vec![(sold, Effect::Update)]
            }
            82..90 => {
                let nickname =
                    if number.is_multiple_of(2) { "NULL".to_owned() } else { format!("'🐝 {order}'") };
                let seen = format!("page_views = page_views + 1, nickname = {nickname}");
                vec![(format!("UPDATE customers SET {seen} WHERE id = {busy}"), Effect::Update)]
            }
            90..97 => self.delete_oldest_order(),
            // There and back, so that a key that was left is taken again.
            _ => {
                let moved =
                    format!("UPDATE products SET sku = IF(sku = 'SKU-{busy}', 'SKU-{busy}/1', 'SKU-{busy}')");
                vec![(format!("{moved} WHERE {}", of_product(busy)), Effect::Move)]
            }
        }
    }

    fn place_order(&mut self, gift_notes: bool) -> Vec<(String, Effect)> {
        let order = self.next_order;
        self.next_order += 1;
        let inserts = statements(ROWS, order, order).into_iter().skip(2);
        let mut all: Vec<(String, Effect)> = inserts.map(|sql| (sql, Effect::Insert)).collect();
        if gift_notes && self.rng.bool() {
            all.push((format!("UPDATE orders SET gift_note = '谢谢 🎂' WHERE id = {order}"), Effect::Update));
        }
        all
    }

    fn delete_oldest_order(&mut self) -> Vec<(String, Effect)> {
        let order = self.oldest_order;
        if order + 1 >= self.next_order {
            return self.place_order(false);
        }
        self.oldest_order += 1;
        let payment = FIRST_PAYMENT + order;
        [
            format!("DELETE FROM payments WHERE id = {payment}"),
            format!("DELETE FROM order_lines WHERE order_id = {order}"),
            format!("DELETE FROM orders WHERE id = {order}"),
        ]
        .map(|sql| (sql, Effect::Delete))
        .into()
    }
}

/// A product, whichever of its two keys it has at the moment.
fn of_product(number: u64) -> String {
    format!("sku IN ('SKU-{number}', 'SKU-{number}/1')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_defined_and_every_type_is_used() {
        for (definition, table) in statements(SCHEMA, 0, 0).iter().zip(TABLES) {
            assert!(definition.starts_with(&format!("CREATE TABLE {table} (")), "{definition}");
        }
        for column_type in [
            "TINYINT NOT",
            "TINYINT UNSIGNED",
            "SMALLINT N",
            "SMALLINT UNSIGNED",
            "MEDIUMINT N",
            "MEDIUMINT UNSIGNED",
            "INT N",
            "INT UNSIGNED",
            "BIGINT N",
            "BIGINT UNSIGNED",
            "DECIMAL(65,30)",
            "FLOAT",
            "DOUBLE",
            "CHAR(",
            "VARCHAR(",
            "TEXT",
            "CHARACTER SET latin1",
            "BINARY(",
            "VARBINARY(",
            "BLOB",
            "DATE ",
            "DATETIME(6)",
            "TIMESTAMP ",
            "TIMESTAMP(6)",
            "TIME ",
            "YEAR",
            "ENUM(",
            "SET(",
            "JSON",
            "BIT(",
        ] {
            assert!(SCHEMA.contains(&format!(" {column_type}")), "no column of type {column_type}");
        }
    }

    #[test]
    fn the_filling_covers_every_number_once() {
        assert_eq!(statements(ROWS, 4, 9).len(), TABLES.len());
        for percent in [1, 7, 100] {
            let fillings = fillings(percent);
            let mut orders = fillings.iter().filter(|statements| statements.len() == 3);
            let last = (90_000 * percent / 100).max(BUSY);
            assert!(orders.next().unwrap()[0].contains("SELECT 4 AS n"));
            assert!(fillings.last().unwrap()[0].contains(&format!("WHERE n < {last})")));
            assert!(fillings.iter().flatten().all(|sql| !sql.contains('{')));
        }
    }

    #[test]
    fn every_kind_of_change_comes_up_and_gift_notes_only_with_their_column() {
        let mut shopping = Shopping { rng: Rng::with_seed(1), next_order: 101, oldest_order: 4 };
        let before: Vec<_> = (0..300).flat_map(|_| shopping.next(false)).collect();
        for effect in [Effect::Insert, Effect::Update, Effect::Delete, Effect::Move] {
            assert!(before.iter().any(|(_, of)| *of == effect), "no {effect:?}");
        }
        assert!(before.iter().all(|(sql, _)| !sql.contains("gift_note")));
        assert!((0..300).flat_map(|_| shopping.next(true)).any(|(sql, _)| sql.contains("gift_note")));
    }

    #[test]
    fn the_last_order_stays() {
        let mut shopping = Shopping { rng: Rng::with_seed(1), next_order: 5, oldest_order: 4 };
        assert!(shopping.delete_oldest_order().iter().all(|(_, effect)| *effect == Effect::Insert));
    }
}
