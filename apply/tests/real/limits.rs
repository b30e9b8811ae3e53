//! What `check` says of rows and keys that may not fit, against what the server does with the widest of them.

use crate::postgres::Session;
use tributary_config::{Indexes, Storage};
use tributary_schemas::table::{Column, Table, TableId};
use tributary_warehouse::merge::ddl::Creation;
use tributary_warehouse::merge::dialect::{Dialect, Probe};
use tributary_warehouse::merge::layout::{ColumnRule, Layout};
use tributary_warehouse::merge::limits::{notes, notes_on};
use tributary_warehouse::merge::names::TargetName;

fn table(key: &str, count: u32, declaration: &str) -> Table {
    let column = |id: u32, declaration: &str| Column::new(id, format!("c{id}"), declaration.parse().unwrap());
    let columns = std::iter::once(column(1, key)).chain((2..count + 2).map(|id| column(id, declaration)));
    Table { id: TableId::new("shop", "t"), columns: columns.collect(), key: vec![1], ..Table::default() }
}

fn noted(table: &Table) -> bool {
    let rule = ColumnRule::default();
    !notes(table, &rule, &Layout::of(table, &rule).unwrap(), true).is_empty()
}

/// The largest number below `end` whose table is not warned of.
fn largest(end: u32, table: impl Fn(u32) -> Table) -> u32 {
    let (mut fits, mut warned) = (0, end);
    while fits + 1 < warned {
        let middle = fits.midpoint(warned);
        if noted(&table(middle)) { warned = middle } else { fits = middle }
    }
    fits
}

/// Creates the table and inserts a row of these values; `None` if it takes the row, else the SQLSTATE.
async fn refused(session: &Session, table: &Table, key: &str, value: &str) -> Option<String> {
    let target = TargetName::new(&session.schema, "t");
    let dialect = Dialect::of(&Probe {
        version: "PostgreSQL 15.1".into(),
        on_conflict: true,
        merge: true,
        distributed: false,
    });
    let rule = ColumnRule::default();
    let creation = Creation {
        dialect,
        table,
        rule: &rule,
        target: &target,
        distributed_by: None,
        storage: Storage::Heap,
        indexes: Indexes::None,
    };
    session.run(&[format!("DROP TABLE IF EXISTS {target}")]).await;
    session.run(&creation.statements().unwrap().statements[1..]).await;
    let shape = session.shape(&target).await;
    assert_eq!(!notes_on(&shape, table, &rule).is_empty(), noted(table), "as for a table that is created");
    let values: Vec<&str> =
        std::iter::once(key).chain(std::iter::repeat_n(value, table.columns.len() - 1)).collect();
    let insert = format!("INSERT INTO {target} VALUES ({})", values.join(", "));
    session.client.batch_execute(&insert).await.err().map(|error| error.code().unwrap().code().to_owned())
}

#[tokio::test]
async fn the_widest_row_that_is_not_warned_of_fits_and_one_column_more_does_not() {
    let session = Session::new("row_limit").await;
    for (declaration, value) in [
        ("bigint", "1"),
        ("varchar(50)", "repeat('x', 23)"),
        ("decimal(40,0)", "repeat('9', 40)::numeric"),
        ("decimal(9,2)", "9999999.99"),
        ("bit(64)", "B'1'::bit(64)"),
        ("longblob", "repeat('x', 23)::bytea"),
    ] {
        let widest = largest(1_599, |count| table("int", count, declaration));
        assert_eq!(
            refused(&session, &table("int", widest, declaration), "1", value).await,
            None,
            "{declaration}"
        );
        let wider = table("int", widest + 1, declaration);
        let found = refused(&session, &wider, "1", value).await;
        assert_eq!(found.as_deref(), Some("54000"), "{declaration}");
    }
    session.done().await;
}

#[tokio::test]
async fn the_longest_key_that_is_not_warned_of_fits_and_a_longer_one_does_not() {
    let session = Session::new("key_limit").await;
    // What does not compress.
    session
        .run(&[format!(
            "CREATE FUNCTION {0}.noise(n int) RETURNS bytea LANGUAGE sql AS $$ SELECT substr(string_agg(sha512(i::text::bytea), \
             ''), 1, n) FROM generate_series(1, 100) i $$",
            session.schema
        )])
        .await;
    let longest = largest(3_000, |length| table(&format!("varbinary({length})"), 1, "int"));
    for (length, expected) in [(longest, None), (longest + 1, Some("54000".to_owned()))] {
        let table = table(&format!("varbinary({length})"), 1, "int");
        let key = format!("{}.noise({length})", session.schema);
        assert_eq!(refused(&session, &table, &key, "1").await, expected, "{length}");
    }
    // Characters of four bytes each.
    let longest = largest(3_000, |length| table(&format!("varchar({length})"), 1, "int"));
    assert_eq!(longest, 673);
    let table = table("varchar(674)", 1, "int");
    let key = "(SELECT string_agg(chr(65536 + abs(hashint4(i) % 60000)), '') FROM generate_series(1, 674) i)";
    assert_eq!(refused(&session, &table, key, "1").await.as_deref(), Some("54000"));
    session.done().await;
}
