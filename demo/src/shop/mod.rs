//! The sample shop: five tables whose columns use every type, and rows that are pure functions of their index, so
//! that any part can be made anywhere, in any order, and always comes out the same.

mod facts;
mod literal;
mod row;
mod rows;
mod words;

pub use facts::{ORDER_STATUSES, line_count, payment_id, sku};
pub use rows::insert;

/// The database that the demo makes anew.
pub const DATABASE: &str = "shop";
/// The first rows of each table hold the types' smallest and largest values, and NULL wherever it is allowed.
pub const EDGE_ROWS: u64 = 3;

const SCHEMA: &str = include_str!("schema.sql");

/// The tables' definitions, one statement each.
pub fn definitions() -> impl Iterator<Item = &'static str> {
    SCHEMA.split(';').map(str::trim).filter(|statement| !statement.is_empty())
}

/// A table of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// People and companies.
    Customers,
    /// Keyed by a text that the live writer changes.
    Products,
    /// One row an order.
    Orders,
    /// One to four rows an order, with a key of two columns.
    OrderLines,
    /// One row an order, with keys beyond 2^63.
    Payments,
}

impl Table {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Customers, Self::Products, Self::Orders, Self::OrderLines, Self::Payments];

    /// The table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::OrderLines => "order_lines",
            Self::Payments => "payments",
        }
    }
}

/// How many of each there are before the live writer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of customers.
    pub customers: u64,
    /// Rows of products.
    pub products: u64,
    /// Rows of orders and of payments.
    pub orders: u64,
}

impl Size {
    /// The full shop, of more than 400,000 rows, at 100 percent.
    pub fn percent(percent: u32) -> Self {
        let part = |rows: u64| (rows * u64::from(percent) / 100).max(100);
        Self { customers: part(40_000), products: part(10_000), orders: part(90_000) }
    }

    /// The indexes that [`insert`] takes for `table`; those of order lines are orders'.
    pub const fn indexes(self, table: Table) -> u64 {
        match table {
            Table::Customers => self.customers,
            Table::Products => self.products,
            Table::Orders | Table::OrderLines | Table::Payments => self.orders,
        }
    }

    /// The rows that are in `table` after the load.
    pub fn rows(self, table: Table) -> u64 {
        match table {
            Table::OrderLines => (0..self.orders).map(line_count).sum(),
            other => self.indexes(other),
        }
    }

    /// The rows of all tables.
    pub fn all_rows(self) -> u64 {
        Table::ALL.iter().map(|table| self.rows(*table)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_shop_has_what_the_demo_promises() {
        let size = Size::percent(100);
        assert!(size.all_rows() >= 300_000, "{}", size.all_rows());
        assert!(size.rows(Table::OrderLines) > size.rows(Table::Orders));
    }

    #[test]
    fn every_table_is_defined_and_every_type_is_used() {
        let definitions: Vec<&str> = definitions().collect();
        assert_eq!(definitions.len(), Table::ALL.len());
        for (definition, table) in definitions.iter().zip(Table::ALL) {
            assert!(definition.starts_with(&format!("CREATE TABLE {} (", table.name())));
        }
        for column_type in [
            " TINYINT NOT",
            " TINYINT UNSIGNED",
            " SMALLINT N",
            " SMALLINT UNSIGNED",
            " MEDIUMINT N",
            " MEDIUMINT UNSIGNED",
            " INT N",
            " INT UNSIGNED",
            " BIGINT N",
            " BIGINT UNSIGNED",
            " DECIMAL(",
            " FLOAT",
            " DOUBLE",
            " CHAR(",
            " VARCHAR(",
            " TEXT",
            " CHARACTER SET latin1",
            " BINARY(",
            " VARBINARY(",
            " BLOB",
            " DATE ",
            " DATETIME(6)",
            " TIMESTAMP ",
            " TIMESTAMP(6)",
            " TIME ",
            " YEAR",
            " ENUM(",
            " SET(",
            " JSON",
            " BIT(",
        ] {
            assert!(SCHEMA.contains(column_type), "no column of type{column_type}");
        }
    }
}
