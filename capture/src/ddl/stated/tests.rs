//! Text against server: at the same place, further on, and in conflict.

use super::super::apply_tests::{alter, session, table};
use super::*;

const OLD: &str = "id INT PRIMARY KEY, a INT";

fn stated(columns: &str) -> CatalogTable {
    table(columns)
}

fn judged(clauses: &str, server: Option<&str>, here: bool) -> StatedVerdict {
    let old = table(OLD);
    let server = server.map(stated);
    let next = alter(&old, clauses, &session()).unwrap();
    follow(&old, next, Stated { table: server.as_ref(), here }, &session())
}

fn followed(verdict: StatedVerdict) -> (CatalogTable, bool) {
    match verdict {
        StatedVerdict::Follow { next, unproven } => (next.table, unproven),
        StatedVerdict::Reread(why) => panic!("{why}"),
    }
}

fn default_of(table: &CatalogTable, name: &str) -> Option<String> {
    match table.column(name).unwrap().1.default.clone() {
        Some(ColumnDefault::Constant(text)) => Some(text),
        other => other.map(|_| "an expression".to_owned()),
    }
}

#[test]
fn the_server_decides_where_the_stream_is() {
    let (table, unproven) = followed(judged(
        "ADD c VARCHAR(9) DEFAULT 007",
        Some("id INT PRIMARY KEY, a INT, c VARCHAR(9) DEFAULT '7'"),
        true,
    ));
    assert_eq!((default_of(&table, "c").as_deref(), unproven), (Some("7"), false));
    // Even against what the text says for certain.
    let (table, _) =
        followed(judged("ADD c INT DEFAULT 5", Some("id INT PRIMARY KEY, a INT, c BIGINT DEFAULT 6"), true));
    assert_eq!(table.columns[2].declared_type, "bigint");
    let reread = judged("ADD c INT", Some("id INT PRIMARY KEY, a INT"), true);
    assert!(matches!(reread, StatedVerdict::Reread(why) if why.contains("(id, a)")));
    // What the server says is judged, too.
    let now = judged("ADD c DATETIME", Some("id INT PRIMARY KEY, a INT, c DATETIME DEFAULT NOW()"), true);
    assert!(matches!(now, StatedVerdict::Reread(why) if why.contains("CURRENT_TIMESTAMP")));
    let nul =
        judged("ADD c VARCHAR(9)", Some("id INT PRIMARY KEY, a INT, c VARCHAR(9) DEFAULT 'a\\0b'"), true);
    assert!(matches!(nul, StatedVerdict::Reread(why) if why.contains("NUL")));
}

#[test]
fn a_server_that_has_gone_on_confirms_completes_or_leaves_open() {
    const LATER: &str = "id INT PRIMARY KEY, b INT, c VARCHAR(9) DEFAULT 'x', d INT";
    // The text is certain: the server may have changed the column since, or dropped it.
    for server in [Some(LATER), Some("id INT PRIMARY KEY"), None] {
        let (table, unproven) = followed(judged("ADD c VARCHAR(9) DEFAULT 'y'", server, false));
        assert_eq!((default_of(&table, "c").as_deref(), unproven), (Some("y"), false));
        assert_eq!(table.columns.len(), 3);
    }
    // The text is in doubt, and the server says the same.
    let same = "id INT PRIMARY KEY, z INT, c DECIMAL(8,3) DEFAULT 1.001";
    assert!(!followed(judged("ADD c DECIMAL(8,3) DEFAULT 1.0005", Some(same), false)).1);
    // It says something else: that is taken until it is proven.
    let (table, unproven) = followed(judged("ADD c VARCHAR(9) DEFAULT 0x79", Some(LATER), false));
    assert_eq!((default_of(&table, "c").as_deref(), unproven), (Some("x"), true));
    // It cannot be taken.
    for server in [Some("id INT PRIMARY KEY, c INT"), Some("id INT PRIMARY KEY"), None] {
        let verdict = judged("ADD c VARCHAR(9) DEFAULT 0x79", server, false);
        assert!(matches!(verdict, StatedVerdict::Reread(why) if why.contains("its default")), "{server:?}");
    }
    let labels = judged(r"ADD c ENUM('a\_b')", Some("id INT PRIMARY KEY, c ENUM('x','y')"), false);
    assert!(matches!(labels, StatedVerdict::Reread(why) if why.contains("its labels")));
    let labels = judged(r"ADD c ENUM('a\_b')", Some("id INT PRIMARY KEY, c ENUM('x')"), false);
    assert!(followed(labels).1);
}

#[test]
fn an_inexact_default_fills_no_row() {
    let old = table(OLD);
    let mut server = stated("id INT PRIMARY KEY, a INT, c VARCHAR(9) DEFAULT '?'");
    server.columns[2].inexact_default = true;
    let next = alter(&old, "ADD c VARCHAR(9) DEFAULT '?'", &session()).unwrap();
    let verdict = follow(&old, next, Stated { table: Some(&server), here: true }, &session());
    assert!(matches!(verdict, StatedVerdict::Reread(why) if why.contains("exactly")));
}

#[test]
fn definitions_are_unlike_in_what_bears_on_rows() {
    let base = "id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'x', f FLOAT DEFAULT 0";
    for (other, difference) in [
        (base, None),
        ("id INT(11) PRIMARY KEY COMMENT 'c', a VARCHAR(9) DEFAULT 'x', f FLOAT DEFAULT 0, KEY (a)", None),
        ("id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'y', f FLOAT DEFAULT 0", Some("DEFAULT \"y\"")),
        ("id INT PRIMARY KEY, a VARCHAR(8) DEFAULT 'x', f FLOAT DEFAULT 0", Some("varchar(8)")),
        ("id INT PRIMARY KEY, f FLOAT DEFAULT 0, a VARCHAR(9) DEFAULT 'x'", Some("the column f")),
        ("id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'x', f FLOAT DEFAULT 0, z INT", Some("the column z")),
        ("id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'x'", Some("no column f")),
        ("id INT, a VARCHAR(9) DEFAULT 'x', f FLOAT DEFAULT 0", Some("column id is int on")),
    ] {
        let found = unlike(&table(base), &stated(other), &["id"]);
        match difference {
            None => assert_eq!(found, None, "{other}"),
            Some(words) => {
                assert!(found.as_ref().is_some_and(|why| why.contains(words)), "{other}: {found:?}")
            }
        }
    }
    let keyed = |collation: &str| {
        let keyed = format!("k VARCHAR(9) COLLATE {collation} PRIMARY KEY, a VARCHAR(9) COLLATE utf8mb4_bin");
        unlike(
            &table(&keyed),
            &stated("k VARCHAR(9) COLLATE utf8mb3_bin PRIMARY KEY, a VARCHAR(9) COLLATE utf8mb4_general_ci"),
            &["k"],
        )
    };
    assert_eq!((keyed("utf8_bin"), keyed("utf8mb3_bin")), (None, None), "one collation, of no key another");
    assert!(keyed("utf8_general_ci").is_some_and(|why| why.contains("key column k in another collation")));
    let (mut left, mut right) = (table(base), table(base));
    let constant = |text: &str| Some(ColumnDefault::Constant(text.to_owned()));
    (left.columns[2].default, right.columns[2].default) = (constant("1.1"), constant("1.10000002384185790"));
    assert_eq!(unlike(&left, &right, &["id"]), None);
    let by_another = unlike(&table("a INT NOT NULL UNIQUE"), &stated("a INT NOT NULL, KEY (a)"), &["a"]);
    assert!(by_another.is_some_and(|why| why.contains("no key over a")));
}
