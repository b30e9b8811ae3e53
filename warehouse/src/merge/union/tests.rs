use super::*;
use crate::merge::ddl::Creation;
use crate::merge::dialect::{Dialect, Probe};
use crate::merge::names::TargetName;
use tributary_config::{Constant, ConstantValue, Indexes, Storage};
use tributary_schemas::table::{ColumnDefault, TableId};

fn source(id: u32, name: &str, declaration: &str) -> Column {
    Column { nullable: id != 1, ..Column::new(id, name, declaration.parse().unwrap()) }
}

fn table(columns: Vec<Column>) -> Table {
    Table { id: TableId::new("s", "t"), columns, key: vec![1], ..Table::default() }
}

fn rule(shard: i64) -> ColumnRule {
    ColumnRule {
        constants: vec![Constant { column: "shard".into(), value: ConstantValue::Integer(shard) }],
        primary_key: Some(vec!["shard".into(), "id".into()]),
        ..ColumnRule::default()
    }
}

/// The target that the first of its tables makes.
fn made(table: &Table) -> TargetShape {
    TargetShape::planned(TargetName::new("s", "t"), Layout::of(table, &rule(1)).unwrap())
}

/// Statements without the target's name.
fn followed(before: &Table, after: &Table, others: &[&str]) -> Result<Vec<String>, DdlError> {
    let others = others.iter().map(|name| (*name).to_owned()).collect();
    let Followed { mut statements, orphans } =
        follow((before, after), &rule(1), &made(before), &others, false)?;
    statements.extend(orphans.iter().map(|column| drop_column(&TargetName::new("s", "t"), column)));
    Ok(statements.iter().map(|sql| sql.replace("\"s\".\"t\"", "T").replace('"', "")).collect())
}

fn base() -> Table {
    table(vec![source(1, "id", "int"), source(2, "a", "int"), source(3, "b", "varchar(9)")])
}

#[test]
fn the_target_is_made_for_tables_that_lack_columns() {
    let mut orders = base();
    orders.columns[1] = Column {
        nullable: false,
        default: Some(ColumnDefault::Constant("7".into())),
        ..source(2, "a", "int")
    };
    let probe =
        Probe { version: "PostgreSQL 15.1".into(), on_conflict: true, merge: true, distributed: false };
    let (name, rule) = (TargetName::new("s", "t"), rule(1));
    let creation = Creation {
        dialect: Dialect::of(&probe),
        table: &orders,
        rule: &rule,
        target: &name,
        distributed_by: None,
        storage: Storage::Heap,
        indexes: Indexes::None,
    };
    let created = creation.statements().unwrap().statements[1].replace(&name.key_name(), "KEY");
    let columns = "(\"id\" integer NOT NULL, \"a\" integer, \"b\" varchar(9), \"shard\" bigint NOT NULL, ";
    let key = "CONSTRAINT \"KEY\" PRIMARY KEY (\"shard\", \"id\")) USING heap";
    assert_eq!(created, format!("CREATE TABLE IF NOT EXISTS \"s\".\"t\" {columns}{key}"));
}

#[test]
fn a_newcomer_adds_and_widens_and_takes_nothing_away() {
    let newcomer =
        table(vec![source(1, "id", "bigint"), source(2, "b", "varchar(30)"), source(3, "c", "datetime(3)")]);
    let united = unite(&newcomer, &rule(2), &made(&base())).unwrap();
    let statements: Vec<String> = united.statements.iter().map(|sql| sql.replace('"', "")).collect();
    assert_eq!(
        statements,
        [
            "ALTER TABLE s.t ALTER COLUMN id TYPE bigint",
            "ALTER TABLE s.t ALTER COLUMN b TYPE varchar(30)",
            "ALTER TABLE s.t ADD COLUMN c timestamp(3)",
        ]
    );
    assert_eq!(
        unite(&newcomer, &rule(2), &united.shape).unwrap().statements,
        [""; 0],
        "behind them nothing is left to do"
    );
    assert_eq!(
        unite(&base(), &rule(1), &united.shape).unwrap().statements,
        [""; 0],
        "it takes the first one as before"
    );
    let text = table(vec![source(1, "id", "int"), source(2, "a", "varchar(9)")]);
    let refused = unite(&text, &rule(2), &made(&base()));
    assert!(matches!(refused, Err(DdlError::UnionType { ref column, .. }) if column == "a"), "{refused:?}");
    let mut keyed = rule(2);
    keyed.constants.push(Constant { column: "region".into(), value: ConstantValue::Text("x".into()) });
    keyed.primary_key.as_mut().unwrap().push("region".into());
    assert!(matches!(unite(&base(), &keyed, &made(&base())), Err(DdlError::UnionKey { .. })));
}

#[test]
fn columns_come_with_what_the_source_put_into_its_rows() {
    let mut after = base();
    after.columns.push(source(4, "c", "int"));
    after.columns.push(Column { nullable: false, ..source(5, "d", "varchar(3)") });
    after
        .columns
        .push(Column { default: Some(ColumnDefault::Constant("5".into())), ..source(6, "e", "int") });
    assert_eq!(
        followed(&base(), &after, &[]).unwrap(),
        [
            "ALTER TABLE T ADD COLUMN c integer",
            "ALTER TABLE T ADD COLUMN d varchar(3)",
            "ALTER TABLE T ADD COLUMN e integer",
            "UPDATE T SET d = CAST('' AS varchar(3)), e = CAST(5 AS integer) WHERE shard = '1'",
        ]
    );
}

#[test]
fn renamed_and_dropped_columns_leave_those_of_others_alone() {
    let mut renamed = base();
    renamed.columns[1].name = "z".into();
    let expected = [
        "ALTER TABLE T ADD COLUMN z integer",
        "UPDATE T SET z = CAST(a AS integer), a = NULL WHERE shard = '1'",
        "ALTER TABLE T DROP COLUMN a",
    ];
    assert_eq!(followed(&base(), &renamed, &[]).unwrap(), expected);
    assert_eq!(followed(&base(), &renamed, &["id", "a"]).unwrap(), expected[..2], "others have it");
    let dropped = table(base().columns[..2].to_vec());
    assert_eq!(followed(&base(), &dropped, &["b"]).unwrap(), ["UPDATE T SET b = NULL WHERE shard = '1'"]);
    let mut swapped = table(vec![source(1, "id", "int"), source(2, "a", "int"), source(3, "b", "int")]);
    let before = swapped.clone();
    swapped.columns[1].name = "b".into();
    swapped.columns[2].name = "a".into();
    assert_eq!(
        followed(&before, &swapped, &[]).unwrap(),
        ["UPDATE T SET b = CAST(a AS integer), a = CAST(b AS integer) WHERE shard = '1'"]
    );
    // Another column of the name of one that goes has nothing of its values.
    let mut again = base();
    again.columns[1] = source(4, "a", "int");
    assert_eq!(
        followed(&base(), &again, &[]).unwrap(),
        ["UPDATE T SET a = CAST(NULL AS integer) WHERE shard = '1'"]
    );
    let emptied = follow((&base(), &dropped), &rule(1), &made(&base()), &BTreeSet::new(), true).unwrap();
    assert_eq!((emptied.statements.len(), emptied.orphans.as_slice()), (0, &["b".to_owned()][..]));
}

#[test]
fn a_type_only_becomes_wider() {
    let mut wider = base();
    wider.columns[1] = source(2, "a", "bigint");
    assert_eq!(followed(&base(), &wider, &["a"]).unwrap(), ["ALTER TABLE T ALTER COLUMN a TYPE bigint"]);
    assert_eq!(followed(&wider, &base(), &["a"]).unwrap(), [""; 0]);
    let of = |statement: &str| Followed { statements: vec![statement.to_owned()], orphans: vec![] };
    assert!(of("ALTER TABLE").alters() && !of("UPDATE").alters());
    assert!(Followed { orphans: vec!["a".to_owned()], ..of("UPDATE") }.alters());
}
