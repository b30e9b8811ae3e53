//! What a statement of the binlog means for tables.

use super::alter::AlterStep;
use crate::binlog::query::Xid;
use tributary_schemas::table::TableId;

/// A QUERY event's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// BEGIN or START TRANSACTION.
    Begin,
    Commit,
    /// ROLLBACK of the whole transaction.
    Rollback,
    Savepoint {
        name: String,
    },
    /// ROLLBACK TO SAVEPOINT: rows since then did not happen, except in tables without transactions.
    RollbackTo {
        /// The savepoint's name.
        name: String,
    },
    /// XA START: rows follow, decided later.
    XaStart {
        /// Which.
        xid: Xid,
    },
    XaEnd {
        /// Which.
        xid: Xid,
    },
    /// XA PREPARE as text (MySQL 5.7 and later write an event of its own instead).
    XaPrepare {
        /// Which.
        xid: Xid,
    },
    XaCommit {
        /// Which.
        xid: Xid,
        /// Was never prepared apart: the rows are in this very transaction.
        one_phase: bool,
    },
    XaRollback {
        /// Which.
        xid: Xid,
    },
    /// Effects on tables, in order.
    Ddl(Vec<TableEffect>),
    /// DROP DATABASE: all tables in it are gone.
    DropDatabase {
        /// Which.
        database: String,
    },
    /// CREATE or ALTER DATABASE: from now new tables have this charset; `None` where it does not say.
    DatabaseCharset {
        /// Which.
        database: String,
        /// Character set.
        charset: Option<String>,
        collation: Option<String>,
    },
    /// Rows changed in statement format, so that there are no row events.
    Dml {
        /// Every table that the statement names where it may write; triggers may write others. `None` if it could
        /// not be told.
        tables: Option<Vec<TableId>>,
    },
    /// Must be understood but is not: which tables it concerns cannot be told, or which transaction.
    Unreadable {
        /// What could not be read.
        reason: String,
    },
    /// Changes no table and no row.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEffect {
    /// As the statement spells it, with the default database filled in.
    pub table: TableId,
    /// What happened to it.
    pub effect: Effect,
}

/// What happens to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// CREATE TABLE: its definition is the server's to state.
    Create {
        /// IF NOT EXISTS: nothing happened if the table was there.
        if_not_exists: bool,
    },
    /// ALTER TABLE, CREATE INDEX, DROP INDEX.
    Alter(Vec<AlterStep>),
    /// TRUNCATE TABLE.
    Truncate,
    /// DROP TABLE.
    Drop,
    /// RENAME TABLE, ALTER TABLE … RENAME.
    RenameTo(TableId),
    /// Concerns this table in a way that could not be read.
    Unknown {
        /// What could not be read.
        reason: String,
    },
}

impl Statement {
    /// The statement with the names of databases and tables in lower case, as a server with
    /// `lower_case_table_names` other than 0 compares them and, with 1, stores them.
    #[must_use]
    pub fn with_lowercase_names(self) -> Self {
        let lower = |id: TableId| TableId::new(id.database.to_lowercase(), id.table.to_lowercase());
        match self {
            Self::Ddl(effects) => Self::Ddl(
                effects
                    .into_iter()
                    .map(|TableEffect { table, effect }| TableEffect {
                        table: lower(table),
                        effect: match effect {
                            Effect::RenameTo(new) => Effect::RenameTo(lower(new)),
                            other => other,
                        },
                    })
                    .collect(),
            ),
            Self::DropDatabase { database } => Self::DropDatabase { database: database.to_lowercase() },
            Self::DatabaseCharset { database, charset, collation } => {
                Self::DatabaseCharset { database: database.to_lowercase(), charset, collation }
            }
            Self::Dml { tables } => {
                Self::Dml { tables: tables.map(|tables| tables.into_iter().map(lower).collect()) }
            }
            other => other,
        }
    }
}
