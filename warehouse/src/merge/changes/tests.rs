use super::*;
use crate::merge::dialect::Probe;
use tributary_schemas::table::{ColumnDefault, TableId};

fn column(id: u32, name: &str, declaration: &str, nullable: bool) -> Column {
    Column { nullable, ..Column::new(id, name, declaration.parse().unwrap()) }
}

fn table(columns: Vec<Column>) -> Table {
    Table { id: TableId::new("s", "t"), columns, key: vec![1], ..Table::default() }
}

/// The destination as Tributary would have created it.
fn shape(table: &Table, rule: &ColumnRule) -> TargetShape {
    TargetShape::planned(TargetName::new("s", "t"), Layout::of(table, rule).unwrap())
}

fn dialect(version: &str) -> Dialect {
    Dialect::of(&Probe { version: version.into(), on_conflict: true, merge: false, distributed: false })
}

fn statements(from: &Table, to: &Table, rule: &ColumnRule) -> Result<Vec<String>, DdlError> {
    alter_statements(&changes(from, to), to, rule, dialect("PostgreSQL 15.1"), &shape(from, rule))
}

#[test]
fn added_columns_carry_the_default_that_old_rows_get() {
    let from = table(vec![column(1, "id", "int", false)]);
    let mut to = from.clone();
    to.columns.push(column(2, "a", "int", false));
    to.columns.push(column(3, "b", "varchar(3)", true));
    to.columns.push(column(4, "c", "datetime", false));
    to.columns.push(Column {
        default: Some(ColumnDefault::Constant("b'1'".into())),
        ..column(5, "d", "bit(2)", true)
    });
    to.columns.push(Column {
        default: Some(ColumnDefault::Expression("uuid()".into())),
        comment: "x".into(),
        ..column(6, "e", "varchar(36)", false)
    });
    let found = changes(&from, &to);
    assert!(found.iter().all(|change| change.is_idempotent() && change.supported()));
    let beside: Vec<String> =
        found.iter().filter(|change| !change.excludes_readers()).map(ToString::to_string).collect();
    assert_eq!(beside, ["the comment of column e"], "what readers are not waited for");
    let expected = [
        "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"a\" integer DEFAULT 0 NOT NULL",
        "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"b\" varchar(3)",
        "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"c\" timestamp(0)",
        "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"d\" bit(2) DEFAULT B'01'",
        "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"e\" varchar(36) DEFAULT '' NOT NULL",
        "COMMENT ON COLUMN \"s\".\"t\".\"e\" IS 'x'",
    ];
    assert_eq!(statements(&from, &to, &ColumnRule::default()).unwrap(), expected);
    // A 9.4 kernel takes the plain form, and only for what is not there yet.
    let old = dialect("PostgreSQL 9.4.24 (Greenplum Database 6.6.0)");
    let rule = ColumnRule { drop: vec!["e".into()], ..ColumnRule::default() };
    let mut half = to.clone();
    half.columns.truncate(3);
    let again = alter_statements(&found, &to, &rule, old, &shape(&half, &rule)).unwrap();
    assert_eq!(
        again,
        [
            "ALTER TABLE \"s\".\"t\" ADD COLUMN \"c\" timestamp(0)",
            "ALTER TABLE \"s\".\"t\" ADD COLUMN \"d\" bit(2) DEFAULT B'01'",
        ]
    );
}

#[test]
fn a_column_that_is_wider_than_its_source_keeps_what_others_wrote() {
    let amount =
        |declaration: &str| table(vec![column(1, "id", "int", false), column(2, "a", declaration, true)]);
    let (from, to) = (amount("decimal(10,2)"), amount("decimal(14,2)"));
    let mut shape = shape(&from, &ColumnRule::default());
    shape.columns[1].type_name = "numeric(12,4)".into();
    let planned = alter_statements(
        &changes(&from, &to),
        &to,
        &ColumnRule::default(),
        dialect("PostgreSQL 15.1"),
        &shape,
    );
    assert_eq!(planned.unwrap(), ["ALTER TABLE \"s\".\"t\" ALTER COLUMN \"a\" TYPE numeric(16,4)"]);
}

#[test]
fn columns_are_followed_by_id_through_swaps_of_names() {
    let from = table(vec![
        column(1, "id", "int", false),
        column(2, "a", "int", true),
        column(3, "b", "int", true),
        column(4, "gone", "int", true),
    ]);
    let to = table(vec![
        column(1, "id", "int", false),
        column(3, "a", "int", true),
        column(2, "b", "int", true),
        column(5, "gone", "text", true),
    ]);
    assert!(changes(&from, &to).iter().any(|change| !change.is_idempotent()));
    assert_eq!(
        statements(&from, &to, &ColumnRule::default()).unwrap(),
        [
            "ALTER TABLE \"s\".\"t\" DROP COLUMN \"gone\"",
            "ALTER TABLE \"s\".\"t\" RENAME COLUMN \"b\" TO \"tributary_rename_3\"",
            "ALTER TABLE \"s\".\"t\" RENAME COLUMN \"a\" TO \"tributary_rename_2\"",
            "ALTER TABLE \"s\".\"t\" RENAME COLUMN \"tributary_rename_3\" TO \"a\"",
            "ALTER TABLE \"s\".\"t\" RENAME COLUMN \"tributary_rename_2\" TO \"b\"",
            "ALTER TABLE \"s\".\"t\" ADD COLUMN IF NOT EXISTS \"gone\" text",
        ]
    );
    // Under a rule that keeps the destination's name, a rename is nothing there.
    let from = table(vec![column(1, "id", "int", false), column(2, "a", "int", true)]);
    let to = table(vec![column(1, "id", "int", false), column(2, "b", "int", true)]);
    let rename = ["a", "b"].map(|name| (name.to_owned(), "x".to_owned())).to_vec();
    let rule = ColumnRule { rename, ..ColumnRule::default() };
    assert_eq!(statements(&from, &to, &rule).unwrap(), Vec::<String>::new());
    let rule = ColumnRule { drop: vec!["a".into()], ..ColumnRule::default() };
    assert!(matches!(statements(&from, &to, &rule), Err(DdlError::Unsupported { .. })));
}

#[test]
fn a_name_that_a_drop_or_a_rename_sets_free_can_be_added() {
    let from = table(vec![column(1, "id", "int", false), column(2, "a", "int", true)]);
    let added = column(3, "a", "text", true);
    let dropped = table(vec![column(1, "id", "int", false), added.clone()]);
    let renamed = table(vec![column(1, "id", "int", false), column(2, "b", "int", true), added]);
    let rule = ColumnRule::default();
    let old = dialect("PostgreSQL 9.4.24 (Greenplum Database 6.6.0)");
    for (to, first) in [(dropped, "DROP COLUMN \"a\""), (renamed, "RENAME COLUMN \"a\" TO \"b\"")] {
        let found = alter_statements(&changes(&from, &to), &to, &rule, old, &shape(&from, &rule)).unwrap();
        let expected = [first, "ADD COLUMN \"a\" text"];
        assert_eq!(found, expected.map(|what| format!("ALTER TABLE \"s\".\"t\" {what}")));
    }
}

#[test]
fn only_what_loses_nothing_is_modified() {
    let one = |declaration: &str, nullable| {
        table(vec![column(1, "id", "int", false), column(2, "a", declaration, nullable)])
    };
    let modify = |from: &str, to: &str| statements(&one(from, true), &one(to, true), &ColumnRule::default());
    for (from, to, wanted) in [
        ("int", "bigint", Some("bigint")),
        ("bigint", "bigint unsigned", Some("numeric(20,0)")),
        ("varchar(3)", "varchar(9)", Some("varchar(9)")),
        ("varchar(3)", "longtext", Some("text")),
        ("decimal(5,2)", "decimal(7,3)", Some("numeric(7,3)")),
        ("float", "double", Some("double precision")),
        ("datetime", "datetime(6)", Some("timestamp(6)")),
        // The destination stays wider than it need be.
        ("bigint", "int", None),
        ("varchar(9)", "varchar(3)", None),
        ("enum('a')", "enum('a','b')", None),
        ("blob", "varbinary(3)", None),
        ("datetime", "date", None),
    ] {
        let expected: Vec<_> = wanted
            .iter()
            .map(|wanted| format!("ALTER TABLE \"s\".\"t\" ALTER COLUMN \"a\" TYPE {wanted}"))
            .collect();
        assert_eq!(modify(from, to).unwrap(), expected, "{from} → {to}");
        assert!(changes(&one(from, true), &one(to, true)).iter().all(Change::supported), "{from} → {to}");
    }
    for (from, to) in [("int", "varchar(20)"), ("varchar(20)", "int"), ("bit(2)", "bit(3)")] {
        assert!(matches!(modify(from, to), Err(DdlError::Unsupported { .. })), "{from} → {to}");
        assert!(!changes(&one(from, true), &one(to, true)).iter().all(Change::supported), "{from} → {to}");
    }
    let mut to = one("int", true);
    to.columns[1].default = Some(ColumnDefault::Constant("5".into()));
    assert_eq!(
        statements(&one("int", false), &to, &ColumnRule::default()).unwrap(),
        [
            "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"a\" DROP NOT NULL",
            "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"a\" SET DEFAULT 5",
        ]
    );
    // NOT NULL is never set: zero dates and rows still to come may break it.
    assert_eq!(
        statements(&one("int", true), &one("int", false), &ColumnRule::default()).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn a_key_stays_as_it_is() {
    let from = table(vec![column(1, "id", "int", false), column(2, "a", "int", false)]);
    let to = Table { key: vec![1, 2], ..from.clone() };
    assert_eq!(changes(&from, &to), [Change::Key]);
    assert!(matches!(statements(&from, &to, &ColumnRule::default()), Err(DdlError::Unsupported { .. })));
    let wider = table(vec![column(1, "id", "bigint", false), column(2, "a", "int", false)]);
    assert!(matches!(statements(&from, &wider, &ColumnRule::default()), Err(DdlError::Unsupported { .. })));
    let text = |declaration: &str| table(vec![column(1, "id", declaration, false)]);
    assert_eq!(
        statements(&text("varchar(3)"), &text("varchar(9)"), &ColumnRule::default()).unwrap(),
        ["ALTER TABLE \"s\".\"t\" ALTER COLUMN \"id\" TYPE varchar(9)"]
    );
}

/// The types between which columns are changed, in every size that matters.
const TYPES: &[&str] = &[
    "tinyint",
    "tinyint unsigned",
    "smallint",
    "smallint unsigned",
    "mediumint",
    "mediumint unsigned",
    "int",
    "int unsigned",
    "bigint",
    "bigint unsigned",
    "decimal(1,0)",
    "decimal(5,0)",
    "decimal(7,2)",
    "decimal(10,0)",
    "decimal(10,2)",
    "decimal(12,4)",
    "decimal(12,5)",
    "decimal(20,0)",
    "decimal(23,3)",
    "decimal(65,30)",
    "float",
    "double",
    "bit(1)",
    "bit(8)",
    "char(3)",
    "char(20)",
    "varchar(3)",
    "varchar(20)",
    "varchar(16000)",
    "tinytext",
    "text",
    "longtext",
    "binary(3)",
    "varbinary(3)",
    "varbinary(20)",
    "tinyblob",
    "longblob",
    "enum('a','b')",
    "enum('a','b','ccc')",
    "enum('b','a')",
    "set('a','b')",
    "set('a','b','c')",
    "json",
    "date",
    "datetime",
    "datetime(6)",
    "timestamp",
    "timestamp(3)",
    "time",
    "time(6)",
    "year",
];

#[test]
fn whatever_capture_makes_an_alter_can_be_carried_out() {
    let mut carried = 0;
    for (old, new) in TYPES.iter().flat_map(|old| TYPES.iter().map(move |new| (old, new))) {
        let of =
            |declaration: &str| table(vec![column(1, "id", "int", false), column(2, "a", declaration, true)]);
        let (from, to) = (of(old), of(new));
        let listed = kept(&from.columns[1].column_type, &to.columns[1].column_type) != Kept::Unsure;
        let found = changes(&from, &to);
        let made = alter_statements(
            &found,
            &to,
            &ColumnRule::default(),
            dialect("PostgreSQL 15.1"),
            &shape(&from, &ColumnRule::default()),
        );
        if listed {
            assert!(found.iter().all(Change::supported), "{old} to {new}");
            assert!(made.is_ok(), "{old} to {new}: {made:?}");
            carried += usize::from(old != new);
        }
    }
    assert!(carried > 200, "{carried}");
}
