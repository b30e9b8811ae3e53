use super::*;
use crate::merge::dialect::Probe;
use crate::merge::layout::ColumnRule;
use crate::merge::target::{TargetColumn, TargetShape};
use tributary_schemas::table::{Column, Table, TableId};

fn column(id: u32, name: &str, declaration: &str) -> Column {
    Column::new(id, name, declaration.parse().unwrap())
}

fn plan(extra: bool) -> TransferPlan {
    plan_into(extra, &[])
}

/// Into a target that is distributed by these of its columns.
fn plan_into(extra: bool, distributed_by: &[&str]) -> TransferPlan {
    let table = Table {
        id: TableId::new("shop", "orders"),
        columns: vec![column(1, "id", "int"), column(2, "Name", "varchar(9)")],
        key: vec![1],
        ..Table::default()
    };
    let mut columns = vec![TargetColumn::new("id", "integer"), TargetColumn::new("Name", "text")];
    if extra {
        columns.push(TargetColumn::new("note", "text"));
    }
    let shape = TargetShape {
        unique_keys: vec![vec!["id".into()]],
        distributed_by: distributed_by.iter().map(|name| (*name).to_owned()).collect(),
        ..TargetShape::new(TargetName::new("shop", "orders"), columns)
    };
    TransferPlan::compile(&table, &ColumnRule::default(), &shape).unwrap()
}

fn statements(strategy: Strategy, operations: Operations, extra: bool) -> Vec<String> {
    let plan = plan(extra);
    let stage = TargetName::new("w", "stage");
    Merge::of(&plan, &stage, operations).statements(strategy)
}

const fn only(insert: bool, update: bool, delete: bool) -> Operations {
    Operations { insert, update, delete }
}

#[test]
fn rows_of_before_a_column_are_written_with_what_it_was_added_with() {
    let stage = TargetName::new("w", "stage");
    let (columns, key) =
        ([StageColumn { name: "id".into(), type_name: "integer".into() }], ["id".to_owned()]);
    let fills = [Fill { name: "c".into(), value: "CAST(5 AS integer)".into() }];
    let merge = Merge {
        target: &TargetName::new("s", "t"),
        stage: &stage,
        columns: &columns,
        fills: &fills,
        key: &key,
        deleted_column: "_deleted",
        extra_columns: false,
        operations: Operations::ALL,
    };
    let insert = "INSERT INTO \"s\".\"t\" (\"id\", \"c\") SELECT s.\"id\", CAST(5 AS integer) FROM \"w\".\"stage\" AS s";
    assert!(merge.statements(Strategy::LockDeleteInsert)[2].starts_with(insert));
    let conflict = &merge.statements(Strategy::OnConflict)[1];
    assert!(conflict.starts_with(insert) && conflict.ends_with("DO UPDATE SET \"c\" = CAST(5 AS integer)"));
    let merged = &merge.statements(Strategy::Merge)[1];
    assert!(merged.contains("UPDATE SET \"c\" = CAST(5 AS integer)"), "{merged}");
    assert!(merged.ends_with("INSERT (\"id\", \"c\") VALUES (s.\"id\", CAST(5 AS integer))"), "{merged}");
}

#[test]
fn merges_of_every_operation() {
    assert_eq!(
        statements(Strategy::Merge, Operations::ALL, false),
        [
            INDEX_JOINS,
            "MERGE INTO \"shop\".\"orders\" AS t USING \"w\".\"stage\" AS s ON t.\"id\" = s.\"id\" \
          WHEN MATCHED AND s.\"_deleted\" THEN DELETE \
          WHEN MATCHED AND NOT s.\"_deleted\" THEN UPDATE SET \"Name\" = s.\"Name\" \
          WHEN NOT MATCHED AND NOT s.\"_deleted\" THEN INSERT (\"id\", \"Name\") VALUES (s.\"id\", s.\"Name\")"
        ]
    );
    let delete = "DELETE FROM \"shop\".\"orders\" AS t USING \"w\".\"stage\" AS s WHERE \
                  s.\"_deleted\" AND t.\"id\" = s.\"id\"";
    let insert = "INSERT INTO \"shop\".\"orders\" (\"id\", \"Name\") SELECT s.\"id\", s.\"Name\" FROM \
                  \"w\".\"stage\" AS s WHERE NOT s.\"_deleted\"";
    let update = "UPDATE \"shop\".\"orders\" AS t SET \"Name\" = s.\"Name\" FROM \"w\".\"stage\" AS s WHERE \
                  NOT s.\"_deleted\" AND t.\"id\" = s.\"id\"";
    let missing =
        format!("{insert} AND NOT EXISTS (SELECT 1 FROM \"shop\".\"orders\" AS t WHERE t.\"id\" = s.\"id\")");
    assert_eq!(
        statements(Strategy::OnConflict, Operations::ALL, false),
        [
            delete.to_owned(),
            format!("{insert} ON CONFLICT (\"id\") DO UPDATE SET \"Name\" = EXCLUDED.\"Name\"")
        ]
    );
    let lock = "LOCK TABLE \"shop\".\"orders\" IN EXCLUSIVE MODE";
    let delete_all = delete.replace("s.\"_deleted\" AND ", "");
    assert_eq!(
        statements(Strategy::LockDeleteInsert, Operations::ALL, false),
        [lock, delete_all.as_str(), insert]
    );
    // Columns that are not written must live on in rows that change: they are not deleted and inserted anew.
    assert_eq!(
        statements(Strategy::LockDeleteInsert, Operations::ALL, true),
        [lock, delete, update, missing.as_str()]
    );
    for strategy in [Strategy::Merge, Strategy::OnConflict] {
        let restricted = statements(strategy, only(true, false, true), false);
        assert_eq!(
            restricted,
            [delete.to_owned(), format!("{insert} ON CONFLICT (\"id\") DO NOTHING")],
            "a key may stand in the stage twice"
        );
    }
    assert_eq!(statements(Strategy::OnConflict, only(false, true, true), false), [delete, update]);
    assert_eq!(
        statements(Strategy::LockDeleteInsert, only(true, false, false), false),
        [lock.to_owned(), missing.clone()]
    );
    assert_eq!(
        statements(Strategy::LockDeleteInsert, only(true, true, false), false),
        [lock, update, missing.as_str()],
        "nothing is deleted where deletes are not chosen"
    );
}

#[test]
fn staging_tables_follow_the_destination() {
    let plan = plan(false);
    let stage = plan.target().stage("tributary", None, 2);
    let probe = |version: &str, distributed| Probe {
        version: version.into(),
        on_conflict: true,
        merge: false,
        distributed,
    };
    let single = Dialect::of(&probe("PostgreSQL 15.1", false));
    let cluster = Dialect::of(&probe("PostgreSQL 9.4.24 (Greenplum Database 6.6.0)", true));
    let columns = "CREATE UNLOGGED TABLE IF NOT EXISTS \"tributary\".\"shop.orders.2\" \
                   (\"id\" integer, \"Name\" text, \"_deleted\" boolean NOT NULL)";
    assert_eq!(
        stage_table_ddl(single, &plan, &stage),
        format!("{columns} USING heap WITH (autovacuum_enabled = false)")
    );
    let on_cluster = format!("{columns} WITH (appendonly = false) DISTRIBUTED BY (\"id\")");
    assert_eq!(stage_table_ddl(cluster, &plan, &stage), on_cluster);
    // As the target is, or by the key where the staging table has not all of its columns.
    for (distributed_by, by) in [(&["Name"][..], "Name"), (&["note"], "id"), (&["id", "note"], "id")] {
        let staged = stage_table_ddl(cluster, &plan_into(true, distributed_by), &stage);
        assert!(staged.ends_with(&format!(" DISTRIBUTED BY (\"{by}\")")), "{distributed_by:?}: {staged}");
    }
    // By nested loops where few keys are merged, and never on a single server, whose MERGE has its own rule.
    assert!(plan_of_merge(cluster, true, 1).is_some_and(|sql| sql.contains("enable_hashjoin = off")));
    for (dialect, unique_key, keys) in [(cluster, true, 100_000), (cluster, false, 1), (single, true, 1)] {
        assert_eq!(plan_of_merge(dialect, unique_key, keys), None);
    }
    assert_eq!(
        copy_statement(&plan, &stage, Shape::Stage),
        "COPY \"tributary\".\"shop.orders.2\" (\"id\", \"Name\", \"_deleted\") FROM STDIN WITH (FORMAT binary)"
    );
    assert_eq!(
        copy_statement(&plan, &stage, Shape::Direct),
        "COPY \"shop\".\"orders\" (\"id\", \"Name\") FROM STDIN WITH (FORMAT binary)"
    );
    assert_eq!(clear_target(plan.target(), &Slice::default()), "TRUNCATE TABLE \"shop\".\"orders\"");
    assert_eq!(
        clear_target(plan.target(), &Slice::from_stored(r#"{"shard": "o'1", "x": "2"}"#).unwrap()),
        "DELETE FROM \"shop\".\"orders\" WHERE \"shard\" = 'o''1' AND \"x\" = '2'"
    );
}
