//! The order of locks that `bookkeeping` states, looked for in every statement that an `apply` of these tests has said to its
//! server: of each transaction in which something is held and something wanted that comes before it.

use std::collections::{BTreeMap, BTreeSet};

/// What to log for it.
pub(crate) const FILTER: &str = "info,tributary_warehouse::destination::attended=trace";
const MARK: &str = " TRACE tributary_warehouse::destination::attended: ";

const ORDER: [&str; 11] = [
    "advisory lock",
    "staging table",
    "table",
    "owners",
    "slices",
    "targets",
    "refusals",
    "generations",
    "offsets",
    "tasks",
    "identities",
];
const STAGING: usize = 1;
const TABLE: usize = 2;

/// Something that a statement waits for, unless the transaction has it: its place in the order, its name, and whether it is
/// wanted alone.
type Wanted = (usize, String, bool);

#[derive(Default)]
struct Transaction {
    statements: Vec<String>,
    held: BTreeSet<Wanted>,
}

impl Transaction {
    /// False if `statement` waits for something that comes before what is held.
    fn take(&mut self, statement: &str) -> bool {
        self.statements.push(statement.to_owned());
        let mut in_order = true;
        for wanted in wanted(statement) {
            let (place, name, alone) = &wanted;
            let has =
                self.held.contains(&wanted) || (!alone && self.held.contains(&(*place, name.clone(), true)));
            in_order &= has || self.held.last().is_none_or(|(last, ..)| last <= place);
            self.held.insert(wanted);
        }
        in_order
    }
}

/// What a statement locks, of tables and of rows of the bookkeeping. Reading a catalog, or a row without FOR UPDATE, is nothing
/// that anybody waits for.
fn wanted(statement: &str) -> Vec<Wanted> {
    if statement.contains("pg_advisory_xact_lock") {
        return vec![(0, String::new(), false)];
    }
    let verb = statement.split_whitespace().next().unwrap_or_default();
    let writes = ["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"].contains(&verb);
    let alone = !writes && verb != "SELECT" && verb != "WITH";
    let mut found = Vec::new();
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once("\".") {
        let is_name = before.contains('"');
        rest = after;
        if !is_name {
            continue;
        }
        if let Some(table) = after.strip_prefix('"').and_then(|name| name.split('"').next()) {
            let number = table.rsplit_once('.').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
            found.push((if number { STAGING } else { TABLE }, table.to_owned(), alone));
            rest = after.get(table.len() + 2..).unwrap_or_default();
        } else if found.is_empty() {
            let name: String = after.chars().take_while(char::is_ascii_lowercase).collect();
            let place = ORDER.iter().position(|known| *known == name);
            // What else a statement names of them is read, and nobody has one that is created.
            if let Some(place) = place.filter(|_| writes || statement.ends_with("FOR UPDATE")) {
                return vec![(place, name, false)];
            }
        }
    }
    found
}

/// The transactions of a log, each with the statement that broke the order, if one has.
fn transactions(log: &str) -> Vec<(Transaction, Option<String>)> {
    let mut open: BTreeMap<&str, (Transaction, Option<String>)> = BTreeMap::new();
    let mut ended = Vec::new();
    for line in log.lines() {
        let Some((statements, session)) =
            line.split_once(MARK).and_then(|(_, told)| told.rsplit_once(" pid="))
        else {
            continue;
        };
        for statement in statements.split(';').map(str::trim) {
            match statement {
                "BEGIN" => drop(open.insert(session, Default::default())),
                "COMMIT" | "ROLLBACK" => ended.extend(open.remove(session)),
                _ => {
                    if let Some((transaction, broken)) = open.get_mut(session)
                        && !transaction.take(statement)
                    {
                        broken.get_or_insert(statement.to_owned());
                    }
                }
            }
        }
    }
    ended.extend(open.into_values());
    ended
}

/// Panics if a transaction of the log has broken the order.
pub(crate) fn check(log: &str) {
    for (transaction, broken) in transactions(log) {
        if let Some(statement) = broken {
            panic!(
                "out of order: {statement}\nin the transaction:\n  {}",
                transaction.statements.join("\n  ")
            );
        }
    }
}

/// How many transactions of the log have locked all of these, tables by their names.
pub(crate) fn count(log: &str, locked: &[&str]) -> usize {
    let has =
        |held: &BTreeSet<Wanted>| locked.iter().all(|name| held.iter().any(|(_, known, _)| known == name));
    transactions(log).iter().filter(|(transaction, _)| has(&transaction.held)).count()
}

#[test]
fn a_transaction_out_of_order_is_found() {
    let log = |statements: &[&str]| -> String {
        statements.iter().map(|sql| format!("12:00{MARK}{sql} pid=7\n")).collect()
    };
    let broken = |statements: &[&str]| {
        transactions(&log(statements)).into_iter().filter_map(|(_, broken)| broken).collect::<Vec<_>>()
    };
    let in_order = [
        "BEGIN; SELECT pg_advisory_xact_lock(1); SET LOCAL lock_timeout = 1",
        "SELECT a FROM \"bk\".offsets WHERE b",
        "LOCK TABLE \"bk\".\"s.t.0\" IN EXCLUSIVE MODE; DELETE FROM \"bk\".\"s.t.0\"",
        "LOCK TABLE \"s\".\"t\" IN ACCESS EXCLUSIVE MODE",
        "UPDATE \"bk\".owners SET x = $1",
        "ALTER TABLE \"s\".\"t\" ADD COLUMN c int",
        "INSERT INTO \"bk\".refusals SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM \"bk\".targets)",
        "SELECT a FROM \"bk\".offsets WHERE b FOR UPDATE",
        "COMMIT",
    ];
    assert!(broken(&in_order).is_empty());
    assert_eq!(count(&log(&in_order), &["t", "owners", "offsets"]), 1);
    assert_eq!(count(&log(&in_order), &["targets"]), 0);
    let [rows, row, table] =
        ["DELETE FROM \"bk\".offsets", "DELETE FROM \"bk\".targets", "ALTER TABLE \"s\".\"t\" x"];
    for disorder in [[rows, row], [rows, table], [row, "SELECT pg_advisory_xact_lock(2)"]] {
        assert_eq!(broken(&["BEGIN", disorder[0], disorder[1]]), [disorder[1]]);
        assert!(broken(&["BEGIN", disorder[0], "COMMIT", "BEGIN", disorder[1]]).is_empty());
    }
    assert_eq!(broken(&["BEGIN", "SELECT 1 FROM \"s\".\"t\"", row, table]), [table], "it was not had alone");
}
