use super::*;
use crate::merge::dialect::Probe;
use tributary_config::{Constant, ConstantValue, ZeroDatePolicy};
use tributary_schemas::table::{ColumnDefault, IndexPart, TableId};

fn column(id: u32, name: &str, declaration: &str, nullable: bool) -> Column {
    Column { nullable, ..Column::new(id, name, declaration.parse().unwrap()) }
}

fn index(name: &str, kind: &str, parts: &[(Option<&str>, Option<u32>)]) -> Index {
    let parts =
        parts.iter().map(|(column, prefix)| IndexPart { column: column.map(Into::into), prefix: *prefix });
    Index { name: name.into(), unique: true, kind: kind.into(), parts: parts.collect() }
}

fn table() -> Table {
    let mut columns = vec![
        column(1, "id", "bigint", false),
        column(2, "Name", "varchar(1000)", false),
        column(3, "day", "date", false),
        column(4, "ssn", "char(9)", true),
        column(5, "n", "int", false),
    ];
    columns[1].comment = "it's".into();
    columns[4].default = Some(ColumnDefault::Constant("7".into()));
    Table {
        id: TableId::new("shop", "orders"),
        columns,
        key: vec![1],
        indexes: vec![
            index("by_n", "BTREE", &[(Some("n"), None)]),
            index("by_name", "BTREE", &[(Some("name"), None)]),
            index("prefix", "BTREE", &[(Some("Name"), Some(10))]),
            index("f", "BTREE", &[(None, None)]),
            index("words", "FULLTEXT", &[(Some("Name"), None)]),
            index("secret", "BTREE", &[(Some("ssn"), None)]),
        ],
        comment: "orders".into(),
    }
}

fn dialect(version: &str, on_conflict: bool, distributed: bool) -> Dialect {
    Dialect::of(&Probe { version: version.into(), on_conflict, merge: false, distributed })
}

#[test]
fn a_table_is_created_with_its_key_comments_and_plain_indexes() {
    let rule = ColumnRule {
        drop: vec!["SSN".into(), "no_such_column".into()],
        rename: vec![("n".into(), "count".into())],
        constants: vec![Constant { column: "shard".into(), value: ConstantValue::Text("a".into()) }],
        ..ColumnRule::default()
    };
    let target = TargetName::new("dw", "orders");
    let creation = Creation {
        dialect: dialect("PostgreSQL 15.1", true, false),
        table: &table(),
        rule: &rule,
        target: &target,
        distributed_by: None,
        storage: Storage::Heap,
        indexes: Indexes::Plain,
    };
    let created = creation.statements().unwrap();
    let statements: Vec<String> =
        created.statements.iter().map(|sql| sql.replace(&target.key_name(), "KEY")).collect();
    assert_eq!(
        statements,
        [
            "CREATE SCHEMA IF NOT EXISTS \"dw\"",
            "CREATE TABLE IF NOT EXISTS \"dw\".\"orders\" (\"id\" bigint NOT NULL, \
             \"Name\" varchar(1000) NOT NULL, \"day\" date, \"count\" integer DEFAULT 7 NOT NULL, \
             \"shard\" text NOT NULL, CONSTRAINT \"KEY\" PRIMARY KEY (\"id\")) USING heap",
            "COMMENT ON TABLE \"dw\".\"orders\" IS 'orders'",
            "COMMENT ON COLUMN \"dw\".\"orders\".\"Name\" IS 'it''s'",
        ]
    );
    let index = |name: &str, column: &str| NewIndex {
        names: [target.index(name), format!("orders.{name}")],
        sql: format!("CREATE INDEX \"{}\" ON \"dw\".\"orders\" (\"{column}\")", target.index(name)),
    };
    assert_eq!(created.indexes, [index("by_n", "count"), index("by_name", "Name")]);
    // One that may be too long, and four that are not created.
    assert_eq!(created.notes.len(), 5, "{:?}", created.notes);
    let none = Creation { indexes: Indexes::None, ..creation }.statements().unwrap();
    assert!(none.indexes.is_empty());
    assert_eq!(rule.unknown_columns(&table()), ["no_such_column"]);
}

#[test]
fn clusters_distribute_by_columns_of_the_key() {
    let (table, rule, target) = (table(), ColumnRule::default(), TargetName::new("dw", "orders"));
    let creation = Creation {
        dialect: dialect("PostgreSQL 9.4.24 (Greenplum Database 6.6.0)", true, true),
        table: &table,
        rule: &rule,
        target: &target,
        distributed_by: None,
        storage: Storage::Heap,
        indexes: Indexes::None,
    };
    let create = |creation: Creation<'_>| creation.statements().map(|created| created.statements[1].clone());
    let heap = "PRIMARY KEY (\"id\")) WITH (appendonly = false) DISTRIBUTED BY (\"id\")";
    assert!(create(creation).unwrap().ends_with(heap));
    let columns = create(Creation { storage: Storage::Column, ..creation }).unwrap();
    assert!(columns.ends_with(") WITH (appendonly = true, orientation = column) DISTRIBUTED BY (\"id\")"));
    assert!(!columns.contains("PRIMARY KEY"));
    let by_day = ["day".to_owned()];
    assert!(matches!(
        create(Creation { distributed_by: Some(&by_day), ..creation }),
        Err(DdlError::DistributionNotInKey { .. })
    ));
    let single = dialect("PostgreSQL 15.1", true, false);
    assert!(matches!(
        create(Creation { dialect: single, storage: Storage::Column, ..creation }),
        Err(DdlError::Storage { .. })
    ));
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    let target = TargetName::new("dw", "orders");
    let refused = |table: &Table, rule: &ColumnRule| {
        let creation = Creation {
            dialect: dialect("PostgreSQL 15.1", true, false),
            table,
            rule,
            target: &target,
            distributed_by: None,
            storage: Storage::Heap,
            indexes: Indexes::None,
        };
        match creation.statements() {
            Err(DdlError::Layout(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let rule = ColumnRule { drop: vec!["id".into()], ..ColumnRule::default() };
    assert!(matches!(refused(&table(), &rule), LayoutError::KeyDropped { .. }));
    let rule = ColumnRule { rename: vec![("n".into(), "day".into())], ..ColumnRule::default() };
    assert!(matches!(refused(&table(), &rule), LayoutError::Duplicate { .. }));
    let rule = ColumnRule { rename: vec![("n".into(), "xmin".into())], ..ColumnRule::default() };
    assert!(matches!(refused(&table(), &rule), LayoutError::Reserved { .. }));
    for key in [&["day"][..], &["id", "day"], &["id", "id"]] {
        let primary_key = Some(key.iter().map(|name| (*name).to_owned()).collect());
        let rule = ColumnRule { primary_key, zero_dates: ZeroDatePolicy::Clamp, ..ColumnRule::default() };
        assert!(matches!(refused(&table(), &rule), LayoutError::BadPrimaryKey { .. }), "{key:?}");
    }
    let mut spatial = table();
    spatial.columns[4].column_type = "point".parse().unwrap();
    assert!(matches!(refused(&spatial, &ColumnRule::default()), LayoutError::Unsupported { .. }));
    let keyless = Table { key: vec![], ..table() };
    assert!(matches!(refused(&keyless, &ColumnRule::default()), LayoutError::NoKey { .. }));
}
