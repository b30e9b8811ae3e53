//! Changes of a table's definition, carried out on the real server.

use crate::postgres::{Session, connection, dialect};
use crate::random_rows::{DECLARATIONS, column};
use tributary_config::{Indexes, Storage, ZeroDatePolicy};
use tributary_schemas::table::{Column, ColumnDefault, Index, IndexPart, Table, TableId};
use tributary_warehouse::destination::catalog;
use tributary_warehouse::merge::changes::{alter_statements, changes};
use tributary_warehouse::merge::ddl::Creation;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::TransferPlan;

fn create<'a>(
    dialect: tributary_warehouse::merge::dialect::Dialect,
    table: &'a Table,
    rule: &'a ColumnRule,
    target: &'a TargetName,
) -> Creation<'a> {
    Creation {
        dialect,
        table,
        rule,
        target,
        distributed_by: None,
        storage: Storage::Heap,
        indexes: Indexes::Plain,
    }
}

#[tokio::test]
async fn definitions_are_followed_and_old_rows_get_mysqls_defaults() {
    let session = Session::new("alter").await;
    let dialect = dialect().await;
    let (rule, name) = (ColumnRule::default(), TargetName::new(&session.schema, "t"));
    let mut one = Table {
        id: TableId::new("s", "t"),
        columns: vec![
            column(1, "id", "int", false),
            column(2, "a", "varchar(3)", false),
            column(3, "b", "int", true),
            column(4, "gone", "int", true),
        ],
        key: vec![1],
        indexes: vec![Index {
            name: "by_b".into(),
            unique: true,
            kind: "BTREE".into(),
            parts: vec![IndexPart { column: Some("b".into()), prefix: None }],
        }],
        comment: "it's".into(),
    };
    one.columns[1].comment = "a \\ comment".into();
    let created = create(dialect, &one, &rule, &name).statements().unwrap();
    session.run(&created.statements).await;
    session.run(&created.indexes.iter().map(|index| &index.sql).collect::<Vec<_>>()).await;
    let there = catalog::indexes(&connection().await, &name).await.unwrap();
    assert!(there.contains(&created.indexes[0].names[0]), "{there:?}");
    session.run(&[format!("INSERT INTO {name} VALUES (1, 'x', 5, 6)")]).await;

    let mut two = one.clone();
    two.columns.retain(|column| column.name != "gone");
    two.columns[1] = Column { name: "b".into(), ..column(2, "b", "varchar(9)", true) };
    two.columns[2] = Column { name: "a".into(), ..column(3, "a", "bigint", true) };
    for (id, declaration) in (10..).zip(DECLARATIONS) {
        two.columns.push(column(id, &format!("n{id}"), declaration, false));
    }
    two.columns.push(Column {
        default: Some(ColumnDefault::Constant("0x6162".into())),
        ..column(99, "constant", "binary(4)", false)
    });
    two.comment = String::new();
    let found = changes(&one, &two);
    assert!(found.iter().all(|change| change.supported()));
    let statements = alter_statements(&found, &two, &rule, dialect, &session.shape(&name).await).unwrap();
    session.run(&["BEGIN"]).await;
    session.run(&statements).await;
    session.run(&["COMMIT"]).await;

    let shape = session.shape(&name).await;
    TransferPlan::compile(&two, &rule, &shape).unwrap();
    let columns: Vec<String> = shape.columns.iter().map(|column| column.name.clone()).collect();
    assert_eq!(columns[..3], ["id", "b", "a"]);
    let row = session.rows(&columns, &name).await.remove(0);
    assert_eq!(row[..3], ["1", "x", "5"].map(|text| Some(text.to_owned())));
    for (declaration, (column, value)) in DECLARATIONS.iter().zip(shape.columns[3..].iter().zip(&row[3..])) {
        let nulled = ["date", "datetime", "timestamp"].iter().any(|kind| declaration.starts_with(kind));
        assert_eq!((value.is_none(), column.not_null), (nulled, !nulled), "{declaration}");
        let expected = match *declaration {
            "bit(11)" => "00000000000".to_owned(),
            "decimal(5,2)" => "0.00".to_owned(),
            "binary(4)" => "\\x00000000".to_owned(),
            "enum('a','it''s','')" => "a".to_owned(),
            "time(6)" => "00:00:00".to_owned(),
            "json" => "null".to_owned(),
            "year" => "0".to_owned(),
            "text" => String::new(),
            _ => continue,
        };
        assert_eq!(value.as_deref(), Some(expected.as_str()), "{declaration}");
    }
    assert_eq!(row.last().unwrap().as_deref(), Some("\\x61620000"));

    // What may be repeated is, without harm.
    let adds: Vec<_> = found.into_iter().filter(|change| change.is_idempotent()).collect();
    session.run(&alter_statements(&adds, &two, &rule, dialect, &shape).unwrap()).await;
    assert_eq!(session.shape(&name).await, shape);
    let comment = session
        .client
        .query_one("SELECT obj_description($1::text::regclass, 'pg_class')", &[&name.to_string()])
        .await
        .unwrap();
    assert_eq!(comment.get::<_, Option<String>>(0), None);
    session.done().await;
}

#[tokio::test]
async fn constant_defaults_mean_the_same_on_the_server() {
    let session = Session::new("defaults").await;
    let dialect = dialect().await;
    let rule = ColumnRule { zero_dates: ZeroDatePolicy::Clamp, ..ColumnRule::default() };
    let name = TargetName::new(&session.schema, "t");
    let cases = [
        ("int", "-5", "-5"),
        ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
        ("decimal(5,2)", "1.50", "1.50"),
        ("float", "10000000000", "1e+10"),
        ("bit(5)", "b'101'", "00101"),
        ("varchar(9)", "it's \\ ok", "it's \\ ok"),
        ("set('x','y')", "x,y", "x,y"),
        ("varbinary(9)", "0x00FF", "\\x00ff"),
        ("date", "0000-00-00", "0001-01-01"),
        ("datetime(3)", "2020-01-01 00:00:00.500", "2020-01-01 00:00:00.5"),
        ("timestamp", "2020-06-01 12:00:00", "2020-06-01 12:00:00+00"),
        ("time", "-838:59:59", "-838:59:59"),
        ("year", "2020", "2020"),
        ("tinyint", "1", "1"),
    ];
    let mut columns = vec![column(1, "id", "int", false)];
    for (id, (declaration, text, _)) in (2..).zip(cases) {
        let default = Some(ColumnDefault::Constant(text.into()));
        columns.push(Column { default, ..column(id, &format!("c{id}"), declaration, false) });
    }
    let table = Table { id: TableId::new("s", "t"), columns, key: vec![1], ..Table::default() };
    session.run(&create(dialect, &table, &rule, &name).statements().unwrap().statements).await;
    session.run(&["SET timezone = 'Asia/Tokyo'".to_owned(), format!("INSERT INTO {name} VALUES (1)")]).await;
    session.run(&["SET timezone = 'UTC'"]).await;
    let names: Vec<String> = table.columns.iter().skip(1).map(|column| column.name.clone()).collect();
    let row = session.rows(&names, &name).await.remove(0);
    for ((declaration, _, expected), actual) in cases.iter().zip(row) {
        assert_eq!(actual.as_deref(), Some(*expected), "{declaration}");
    }
    session.done().await;
}
