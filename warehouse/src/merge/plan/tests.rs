use super::*;
use tributary_config::{Constant, ConstantValue};
use tributary_schemas::table::TableId;

fn table() -> Table {
    let column = |id: u32, name: &str, declaration: &str| Column {
        nullable: id == 3,
        ..Column::new(id, name, declaration.parse().unwrap())
    };
    Table {
        id: TableId::new("s", "t"),
        columns: vec![column(1, "id", "int"), column(2, "c", "varchar(9)"), column(3, "_deleted", "tinyint")],
        key: vec![1],
        ..Table::default()
    }
}

fn shape() -> TargetShape {
    let columns = [("id", "integer"), ("c", "text"), ("_deleted", "smallint")];
    let columns = columns.map(|(name, type_name)| TargetColumn::new(name, type_name)).to_vec();
    TargetShape {
        unique_keys: vec![vec!["id".into()]],
        ..TargetShape::new(TargetName::new("s", "t"), columns)
    }
}

#[test]
fn a_destination_that_does_not_fit_is_refused_with_a_remedy() {
    let rule = ColumnRule::default();
    let refused = |change: &dyn Fn(&mut TargetShape)| {
        let mut shape = shape();
        change(&mut shape);
        TransferPlan::compile(&table(), &rule, &shape).map(|plan| plan.columns().len()).unwrap_err()
    };
    let remedy = |error: &PlanError, begun: bool| crate::remedies::target_definition(error, "s.t", begun);
    let missing = refused(&|shape| shape.columns[1].name = "C".into());
    assert!(remedy(&missing, true).contains("columns = { rename = { \"c\" = \"C\" } }"), "{missing}");
    let missing = refused(&|shape| drop(shape.columns.remove(1)));
    let narrow = refused(&|shape| shape.columns[1].type_name = "character varying(8)".into());
    let generated = refused(&|shape| shape.columns[1].generated = true);
    for (error, statement) in [
        (&missing, "ADD COLUMN \"c\" varchar(9)"),
        (&narrow, "ALTER COLUMN \"c\" TYPE varchar(9)"),
        (&generated, "ALTER COLUMN \"c\" DROP EXPRESSION"),
    ] {
        // Where rows were written, the statement alone would leave them as they are.
        let (first, later) = (remedy(error, false), remedy(error, true));
        assert!(first.starts_with(&format!("ALTER TABLE \"s\".\"t\" {statement}")), "{first}");
        assert!(later.starts_with("`apply replay --from beginning --clear --table s.t`"), "{later}");
        assert!(
            later.contains(statement) && later.contains("--from beginning --merge --table s.t`"),
            "{later}"
        );
        assert!(!first.contains("replay"), "{first}");
    }
    let required = refused(&|shape| {
        shape.columns.push(TargetColumn { not_null: true, ..TargetColumn::new("x", "text") })
    });
    assert_eq!(required, PlanError::RequiredColumn { target: "\"s\".\"t\"".into(), column: "x".into() });
    assert!(matches!(refused(&|shape| shape.columns[2].not_null = true), PlanError::NotNull { .. }));
    assert!(matches!(refused(&|shape| shape.columns[1].generated = true), PlanError::Generated { .. }));
    assert!(matches!(refused(&|shape| shape.columns[0].deterministic = false), PlanError::CoarseKey { .. }));
    for (key_type, fits) in [("character(9)", false), ("citext", false), ("text", true)] {
        let mut table = table();
        table.columns[0].column_type = "varchar(9)".parse().unwrap();
        let mut shape = shape();
        shape.columns[0].type_name = key_type.into();
        assert_eq!(TransferPlan::compile(&table, &rule, &shape).is_ok(), fits, "{key_type}");
    }
}

#[test]
fn what_a_plan_says_of_its_table() {
    let rule = ColumnRule {
        constants: vec![Constant { column: "n".into(), value: ConstantValue::Text("7".into()) }],
        ..ColumnRule::default()
    };
    let mut shape = shape();
    shape.columns.push(TargetColumn::new("n", "bigint"));
    shape.columns.push(TargetColumn {
        not_null: true,
        has_default: true,
        ..TargetColumn::new("filled", "text")
    });
    let plan = TransferPlan::compile(&table(), &rule, &shape).unwrap();
    let names: Vec<_> = plan.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "c", "_deleted", "n"]);
    assert_eq!((plan.deleted_column(), plan.key()), ("__deleted", &["id".to_owned()][..]));
    assert!(plan.has_unique_key() && plan.has_extra_columns());
    for (type_name, fits) in [("text", true), ("smallint", true), ("numeric(1,0)", true), ("date", false)] {
        let mut shape = shape.clone();
        shape.columns[3].type_name = type_name.into();
        assert_eq!(TransferPlan::compile(&table(), &rule, &shape).is_ok(), fits, "{type_name}");
    }
}

#[test]
fn a_fill_of_bits_is_written_where_the_type_takes_it() {
    let filled = |value: &str, type_name: &str| {
        let mut shape = shape();
        shape.columns.push(TargetColumn::new("flag", type_name));
        let plan = TransferPlan::compile(&table(), &ColumnRule::default(), &shape).unwrap();
        let plan = plan.with_fills(vec![("flag".to_owned(), value.to_owned())], &shape);
        plan.fills().first().map(|fill| fill.value.clone())
    };
    assert_eq!(filled("B'0'", "bit(1)").as_deref(), Some("CAST(B'0' AS bit(1))"));
    assert_eq!(filled("B'10'", "bit varying").as_deref(), Some("CAST(B'10' AS bit varying)"));
    assert_eq!(filled("B'0'", "boolean").as_deref(), Some("CAST(false AS boolean)"));
    assert_eq!(filled("B'1'", "boolean").as_deref(), Some("CAST(true AS boolean)"));
    assert_eq!(filled("B'101'", "bytea").as_deref(), Some("CAST(E'\\\\x05' AS bytea)"));
    assert_eq!([filled("B'10'", "boolean"), filled("B'0'", "numeric")], [None, None]);
    assert_eq!(filled("'B'", "text").as_deref(), Some("CAST('B' AS text)"));
    assert_eq!(filled("NULL", "bytea").as_deref(), Some("CAST(NULL AS bytea)"));
}

#[test]
fn bits_become_bytes_where_the_column_has_those() {
    let cast = |bits: &str, kind| castable(format!("B'{bits}'"), &kind);
    assert_eq!(cast("101", TargetKind::Bytea).as_deref(), Some("E'\\\\x05'"));
    assert_eq!(cast("1000000011", TargetKind::Bytea).as_deref(), Some("E'\\\\x0203'"));
    assert_eq!(cast("1", TargetKind::Boolean).as_deref(), Some("true"));
    assert_eq!(cast("101", TargetKind::Integer), None);
}
