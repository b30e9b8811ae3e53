//! Random batches of changes, merged by every strategy and under every choice of operations, against a model that
//! applies the records one by one.

use crate::postgres::{Session, dialect};
use crate::random_rows::{Cell, Schemas, column};
use apache_avro::types::Value;
use fastrand::Rng;
use std::collections::BTreeMap;
use tributary_apply::batches::compact::Batch;
use tributary_config::{Constant, ConstantValue, Indexes, Storage};
use tributary_schemas::table::{Table, TableId};
use tributary_warehouse::merge::copy::{put_header, put_trailer};
use tributary_warehouse::merge::ddl::Creation;
use tributary_warehouse::merge::dialect::Strategy;
use tributary_warehouse::merge::encode::Shape;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::operations::Operations;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::sql::{
    Merge, UNIQUE_VIOLATION, clear_target, copy_statement, drop_stage, stage_table_ddl, take_stage,
    truncate_stage,
};

/// Key, then (value, or none) as text.
type Model = BTreeMap<(i32, String), Option<String>>;

fn table() -> Table {
    Table {
        id: TableId::new("db", "random"),
        columns: vec![
            column(1, "name", "varchar(10)", false),
            column(2, "v", "varchar(20)", true),
            column(3, "id", "int", false),
        ],
        // In another order than the columns.
        key: vec![3, 1],
        ..Table::default()
    }
}

fn cells(id: i32, name: &str, value: Option<&str>) -> Vec<Cell> {
    let text = |text: &str| Cell { avro: Value::String(text.into()), text: Some(text.into()) };
    vec![
        text(name),
        value.map_or(Cell { avro: Value::Null, text: None }, text),
        Cell { avro: Value::Int(id), text: Some(id.to_string()) },
    ]
}

struct Target {
    session: Session,
    table: Table,
    schemas: Schemas,
    plan: TransferPlan,
    stage: TargetName,
}

impl Target {
    async fn new(schema: &str, rule: &ColumnRule) -> Self {
        let session = Session::new(schema).await;
        let dialect = dialect().await;
        let (table, name) = (table(), TargetName::new(&session.schema, "target"));
        let creation = Creation {
            dialect,
            table: &table,
            rule,
            target: &name,
            distributed_by: None,
            storage: Storage::Heap,
            indexes: Indexes::None,
        };
        session.run(&creation.statements().unwrap().statements).await;
        // Whoever comes second changes nothing.
        session.run(&creation.statements().unwrap().statements).await;
        let plan = TransferPlan::compile(&table, rule, &session.shape(&name).await).unwrap();
        let stage = name.stage(&session.schema, None, 0);
        for _ in 0..2 {
            session.run(&[stage_table_ddl(dialect, &plan, &stage)]).await;
        }
        Self { session, schemas: Schemas::of(&table), table, plan, stage }
    }

    fn encode(&self, batch: &Batch, shape: Shape) -> Vec<u8> {
        let mut copy = Vec::new();
        put_header(&mut copy);
        for survivor in batch.survivors() {
            self.plan.encode(shape, survivor.key, survivor.value, survivor.raw, &mut copy).unwrap();
        }
        put_trailer(&mut copy);
        copy
    }

    /// A flush, as one transaction; its rows stay in the staging table for the next one to find.
    async fn merge(&self, batch: &Batch, strategy: Strategy, operations: Operations) {
        self.session.run(&["BEGIN".to_owned(), take_stage(&self.stage)]).await;
        self.stage(batch, strategy, operations).await;
        self.session.run(&["COMMIT"]).await;
    }

    async fn stage(&self, batch: &Batch, strategy: Strategy, operations: Operations) {
        let statement = copy_statement(&self.plan, &self.stage, Shape::Stage);
        self.session.copy(&statement, self.encode(batch, Shape::Stage)).await.unwrap();
        self.session.run(&Merge::of(&self.plan, &self.stage, operations).statements(strategy)).await;
    }

    async fn rows(&self) -> Vec<Vec<Option<String>>> {
        self.session.rows(&["id".into(), "name".into(), "v".into()], self.plan.target()).await
    }
}

fn expected(model: &Model) -> Vec<Vec<Option<String>>> {
    let rows =
        model.iter().map(|((id, name), value)| vec![Some(id.to_string()), Some(name.clone()), value.clone()]);
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

/// One random record into the batch and, if its operation is taken, into the model.
fn step(
    rng: &mut Rng,
    target: &Target,
    offset: i64,
    operations: Operations,
    batch: &mut Batch,
    model: &mut Model,
) {
    let key = (rng.i32(0..12), ["a", "B", "é "][rng.usize(..3)].to_owned());
    let value = (rng.u8(..5) > 0).then(|| format!("v{offset}"));
    let row = cells(key.0, &key.1, value.as_deref());
    let (op, taken) = match rng.u8(..7) {
        0 => ("r", operations.insert),
        1 | 2 => ("c", operations.insert),
        3 | 4 => ("u", operations.update),
        _ => ("d", operations.delete),
    };
    let key_datum = target.schemas.key(&target.table, &row);
    let after = (op != "d").then_some(row.as_slice());
    let envelope = target.schemas.envelope(&target.table, None, after, op);
    batch.push(0, offset, &key_datum, Some(&envelope), &[]).unwrap();
    if op == "d" && rng.bool() {
        batch.push(0, offset + 1, &key_datum, None, &[]).unwrap();
    }
    match op {
        _ if !taken => {}
        "d" => {
            model.remove(&key);
        }
        _ if if model.contains_key(&key) { operations.update } else { operations.insert } => {
            model.insert(key, value);
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_merge_equals_the_model() {
    let target = Target::new("merge_model", &ColumnRule::default()).await;
    for bits in 1..8_u8 {
        let operations = Operations { insert: bits & 1 != 0, update: bits & 2 != 0, delete: bits & 4 != 0 };
        for strategy in [Strategy::Merge, Strategy::OnConflict, Strategy::LockDeleteInsert] {
            let mut rng = Rng::with_seed(u64::from(bits));
            target.session.run(&[clear_target(target.plan.target(), &Slice::default())]).await;
            let mut model = Model::new();
            // Rows for updates and deletes to find, where inserts are not taken.
            for id in 0..6 {
                let sql =
                    format!("INSERT INTO {} (id, name, v) VALUES ({id}, 'a', 'old')", target.plan.target());
                target.session.run(&[sql]).await;
                model.insert((id, "a".into()), Some("old".into()));
            }
            let (mut batch, mut offset) = (Batch::new(operations), 0);
            for _ in 0..12 {
                for _ in 0..rng.i64(1..30) {
                    step(&mut rng, &target, offset, operations, &mut batch, &mut model);
                    offset += 2;
                }
                target.merge(&batch, strategy, operations).await;
                batch.clear();
                assert_eq!(target.rows().await, expected(&model), "{operations:?} {strategy:?}");
            }
        }
    }
    target.session.done().await;
}

#[tokio::test]
async fn columns_that_are_not_written_live_on() {
    let target = Target::new("merge_extra", &ColumnRule::default()).await;
    let name = target.plan.target().clone();
    target
        .session
        .run(&[
            format!("ALTER TABLE {name} ADD COLUMN note text DEFAULT 'new'"),
            format!(
                "INSERT INTO {name} (id, name, v, note) VALUES (1, 'a', 'x', 'mine'), (2, 'a', 'x', 'gone')"
            ),
        ])
        .await;
    let shape = target.session.shape(&name).await;
    let plan = TransferPlan::compile(&target.table, &ColumnRule::default(), &shape).unwrap();
    assert!(plan.has_extra_columns());
    let target = Target { plan, ..target };
    for (round, strategy) in (0..).zip([Strategy::Merge, Strategy::OnConflict, Strategy::LockDeleteInsert]) {
        let mut batch = Batch::new(Operations::ALL);
        for (offset, id) in (0..).zip([1, 2, 3 + round]) {
            let row = cells(id, "a", Some("y"));
            let key = target.schemas.key(&target.table, &row);
            let value = target.schemas.envelope(&target.table, None, Some(&row), "u");
            batch.push(0, offset, &key, (id != 2).then_some(value.as_slice()), &[]).unwrap();
        }
        target.merge(&batch, strategy, Operations::ALL).await;
        let rows = target.session.rows(&["id".into(), "v".into(), "note".into()], &name).await;
        let (ours, theirs) = rows.split_first().unwrap();
        assert_eq!(ours, &["1", "y", "mine"].map(|text| Some(text.to_owned())));
        assert_eq!(i32::try_from(theirs.len()), Ok(round + 1));
        assert!(theirs.iter().all(|row| row[2].as_deref() == Some("new")));
    }
    target.session.done().await;
}

/// A second writer with the same staging table: its rows, made visible by its COMMIT, must not be merged by the first.
#[tokio::test]
async fn a_staging_table_is_one_writers_until_its_commit() {
    let target = Target::new("merge_shared", &ColumnRule::default()).await;
    let other = Session::new("merge_shared_other").await;
    let take = take_stage(&target.stage);
    let insert = format!("INSERT INTO {} (id, name, _deleted) VALUES (1, 'a', false)", target.stage);
    target.session.run(&["BEGIN", &take, &insert]).await;
    other.run(&["SET lock_timeout = 50"]).await;
    for statement in [truncate_stage(&target.stage), drop_stage(&target.stage), insert.clone()] {
        let refused = other.client.batch_execute(&statement).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55P03", "{statement}");
    }
    target.session.run(&["COMMIT"]).await;
    other.run(&["BEGIN", &take]).await;
    let sql = format!("SELECT count(*) FROM {}", target.stage);
    assert_eq!(other.client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    other.run(&["COMMIT"]).await;
    target.session.done().await;
    other.done().await;
}

#[tokio::test]
async fn a_direct_load_falls_back_to_a_merge() {
    let target = Target::new("merge_direct", &ColumnRule::default()).await;
    let mut offset = 0;
    let mut batch_of = |ids: std::ops::Range<i32>, text: &str| {
        let mut batch = Batch::new(Operations::ALL);
        for id in ids {
            let row = cells(id, "a", Some(text));
            let value = target.schemas.envelope(&target.table, None, Some(&row), "r");
            batch.push(0, offset, &target.schemas.key(&target.table, &row), Some(&value), &[]).unwrap();
            offset += 1;
        }
        batch
    };
    for (batch, violates) in [(batch_of(0..5, "x"), false), (batch_of(3..8, "y"), true)] {
        target.session.run(&["BEGIN"]).await;
        let statement = copy_statement(&target.plan, &target.stage, Shape::Direct);
        match target.session.copy(&statement, target.encode(&batch, Shape::Direct)).await {
            Ok(rows) => {
                assert_eq!((rows, violates), (5, false));
                target.session.run(&["COMMIT"]).await;
            }
            Err(error) => {
                assert_eq!((error.code().unwrap().code(), violates), (UNIQUE_VIOLATION, true));
                target.session.run(&["ROLLBACK"]).await;
                target.merge(&batch, Strategy::Merge, Operations::ALL).await;
            }
        }
    }
    let rows = target.session.rows(&["id".into(), "v".into()], target.plan.target()).await;
    let seen: Vec<_> = rows.iter().map(|row| row[1].as_deref().unwrap()).collect();
    assert_eq!(seen, ["x", "x", "x", "y", "y", "y", "y", "y"]);
    target.session.done().await;
}

#[tokio::test]
async fn topics_that_share_a_table_are_told_apart_by_their_constants() {
    let rule = |shard: &str| ColumnRule {
        constants: vec![Constant { column: "shard".into(), value: ConstantValue::Text(shard.into()) }],
        primary_key: Some(vec!["shard".into(), "id".into(), "name".into()]),
        ..ColumnRule::default()
    };
    let one = Target::new("merge_shared", &rule("o'1")).await;
    let name = one.plan.target().clone();
    let shape = one.session.shape(&name).await;
    let two = TransferPlan::compile(&one.table, &rule("2"), &shape).unwrap();
    let row = cells(7, "a", Some("x"));
    let (key, value) =
        (one.schemas.key(&one.table, &row), one.schemas.envelope(&one.table, None, Some(&row), "c"));
    let mut insert = Batch::new(Operations::ALL);
    insert.push(0, 0, &key, Some(&value), &[]).unwrap();
    let mut delete = Batch::new(Operations::ALL);
    delete.push(0, 1, &key, None, &[]).unwrap();

    one.merge(&insert, Strategy::Merge, Operations::ALL).await;
    let one = Target { plan: two, ..one };
    one.merge(&insert, Strategy::OnConflict, Operations::ALL).await;
    let shards = async || {
        let rows = one.session.rows(&["shard".into(), "id".into()], &name).await;
        rows.into_iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(shards().await, ["2", "o'1"]);
    one.merge(&delete, Strategy::Merge, Operations::ALL).await;
    assert_eq!(shards().await, ["o'1"], "only its own row");
    one.merge(&insert, Strategy::LockDeleteInsert, Operations::ALL).await;
    one.session.run(&[clear_target(&name, &Slice::of(&rule("o'1")))]).await;
    assert_eq!(shards().await, ["2"]);
    one.session.done().await;
}
