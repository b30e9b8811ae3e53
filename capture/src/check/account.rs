//! What the account may do and what else on the source may bite: facts enter, an [`Item`] each leaves. Pure.

use super::grants::Grants;
use super::item::{Item, fail, pass, warn};
use std::collections::BTreeSet;
use tributary_schemas::printed::counted;
use tributary_schemas::table::TableId;
use tributary_source::dialect::numbers;
use tributary_source::facts::{Cascades, Prepared};

/// Why a task needs certain privileges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs<'a> {
    /// Tables that are read.
    pub tables: &'a [TableId],
    /// The server has GTIDs, so that chunks are read without locks.
    pub has_gtid: bool,
    /// `version()`.
    pub version: &'a str,
}

/// `privileges`.
#[must_use]
pub(super) fn privileges(grants: &Grants, needs: Needs<'_>) -> Item {
    const NAME: &str = "privileges";
    let mut missing: Vec<String> = ["REPLICATION SLAVE", "REPLICATION CLIENT"]
        .iter()
        .filter(|privilege| !grants.globally(privilege))
        .map(|privilege| format!("{privilege} ON *.* is missing"))
        .collect();
    let unreadable: Vec<&TableId> =
        needs.tables.iter().filter(|table| !grants.on_table("SELECT", table)).collect();
    missing.extend(unreadable.iter().map(|table| format!("SELECT ON {table} is missing")));
    // Before 8.0.22 a locking read wants a privilege that writes.
    if !needs.has_gtid && numbers(needs.version) < [8, 0, 22] {
        let may_lock = |table: &&TableId| {
            ["DELETE", "LOCK TABLES", "UPDATE"].iter().any(|privilege| grants.on_table(privilege, table))
        };
        let unlockable = needs.tables.iter().filter(|table| !may_lock(table));
        missing.extend(unlockable.map(|table| {
            format!(
                "LOCK TABLES ON {table}'s database is missing: without GTID this server reads with row locks"
            )
        }));
    }
    if missing.is_empty() {
        return pass(NAME, "REPLICATION SLAVE, REPLICATION CLIENT, and SELECT on every selected table");
    }
    fail(
        NAME,
        missing.join("\n"),
        "run what `capture check --print-grants` prints; roles count only while they are active",
    )
}

/// `xa-prepared`: a transaction that was prepared before the task began is not in its stream, and what it writes is not known.
#[must_use]
pub(super) fn xa_prepared(prepared: &Prepared) -> Item {
    const NAME: &str = "xa-prepared";
    match prepared {
        Prepared::Count(0) => pass(NAME, "no XA transaction is prepared"),
        Prepared::Count(number) => warn(
            NAME,
            format!(
                "{} prepared and undecided: if one that was prepared before the task began is committed, every selected \
                 table is read anew, for its rows are not known; those prepared since then are followed",
                counted(*number, "XA transaction")
            ),
            "end them before the first run: XA RECOVER CONVERT XID lists them, then XA COMMIT or XA ROLLBACK with gtrid, \
             bqual and format id, such as XA ROLLBACK X'6131',X'',1",
        ),
        Prepared::Unknown => {
            pass(NAME, "not examined: the account lacks XA_RECOVER_ADMIN, which is not needed otherwise")
        }
    }
}

/// `foreign-key-cascades`: rows that a cascade changes are missing from the binlog.
#[must_use]
pub(crate) fn foreign_key_cascades(cascades: &Cascades, selected: &BTreeSet<TableId>) -> Item {
    const NAME: &str = "foreign-key-cascades";
    let Cascades::Silent(children) = cascades else {
        return pass(NAME, "the server logs what cascading foreign keys change");
    };
    let bitten: Vec<String> =
        children.iter().filter(|table| selected.contains(table)).map(ToString::to_string).collect();
    if bitten.is_empty() {
        return pass(NAME, "no selected table has a foreign key that cascades");
    }
    warn(
        NAME,
        format!(
            "this server does not log the rows that ON DELETE or ON UPDATE CASCADE and SET NULL change; they stay \
             behind in: {}",
            bitten.join(", ")
        ),
        "delete and update children explicitly, or use MySQL 9.6 or later; `apply verify` finds what differs",
    )
}

#[cfg(test)]
mod tests {
    use super::super::item::Outcome;
    use super::*;

    fn judge(lines: &[&str], has_gtid: bool, version: &str) -> Item {
        let tables = [TableId::new("shop", "orders")];
        let needs = Needs { tables: &tables, has_gtid, version };
        privileges(&Grants::parse(lines.iter().copied()), needs)
    }

    #[test]
    fn each_privilege_counts() {
        let replication = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `r`@`%`";
        let select = "GRANT SELECT ON `shop`.`orders` TO `r`@`%`";
        assert_eq!(judge(&[replication, select], true, "8.0.18").outcome, Outcome::Pass);
        assert!(judge(&[replication], true, "8.0.18").found.contains("SELECT ON shop.orders"));
        assert!(judge(&[select], true, "8.0.18").found.contains("REPLICATION CLIENT"));
        let old = judge(&[replication, select], false, "5.7.28-log");
        assert!(old.found.contains("LOCK TABLES ON shop.orders"), "{old:?}");
        assert_eq!(judge(&[replication, select], false, "8.0.22").outcome, Outcome::Pass);
        let lock = "GRANT LOCK TABLES ON `shop`.* TO `r`@`%`";
        assert_eq!(judge(&[replication, select, lock], false, "5.7.28").outcome, Outcome::Pass);
    }

    #[test]
    fn what_is_not_in_the_binlog_is_warned_of() {
        assert_eq!(xa_prepared(&Prepared::Count(0)).outcome, Outcome::Pass);
        assert_eq!(xa_prepared(&Prepared::Count(2)).outcome, Outcome::Warn);
        let child = TableId::new("shop", "items");
        let selected: BTreeSet<TableId> = [child.clone()].into();
        let silent = Cascades::Silent(vec![child, TableId::new("crm", "x")]);
        assert!(foreign_key_cascades(&silent, &selected).found.ends_with("in: shop.items"));
        assert_eq!(foreign_key_cascades(&silent, &BTreeSet::new()).outcome, Outcome::Pass);
        assert_eq!(foreign_key_cascades(&Cascades::Logged, &selected).outcome, Outcome::Pass);
    }
}
