//! Rows that apache-avro wrote, through the plan, read back: by a decoder of our own and by the real server.

use crate::decoder;
use crate::postgres::{Session, dialect};
use crate::random_rows::{Cell, SOURCE_MS, Schemas, row, table};
use fastrand::Rng;
use tributary_config::{Indexes, Storage};
use tributary_schemas::table::Table;
use tributary_schemas::types::ColumnType;
use tributary_warehouse::merge::copy::{put_header, put_trailer};
use tributary_warehouse::merge::ddl::Creation;
use tributary_warehouse::merge::dialect::Product;
use tributary_warehouse::merge::encode::{Encoded, Shape};
use tributary_warehouse::merge::layout::{ColumnRule, Layout};
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::raw::RawValues;
use tributary_warehouse::merge::sql::copy_statement;
use tributary_warehouse::merge::target::TargetShape;

/// The destination that Tributary would create, without a server.
fn shape(table: &Table, rule: &ColumnRule) -> TargetShape {
    TargetShape::planned(TargetName::new("s", "t"), Layout::of(table, rule).unwrap())
}

/// Texts that mean the same value are made the same text.
fn normal(column_type: &ColumnType, text: Option<&str>) -> Option<String> {
    let text = text?;
    Some(match column_type {
        ColumnType::Float => text.parse::<f32>().unwrap().to_bits().to_string(),
        ColumnType::Double => text.parse::<f64>().unwrap().to_bits().to_string(),
        ColumnType::Json => serde_json::from_str::<serde_json::Value>(text).unwrap().to_string(),
        _ => text.to_owned(),
    })
}

fn expected(table: &Table, row: &[Cell]) -> Vec<Option<String>> {
    table
        .columns
        .iter()
        .zip(row)
        .map(|(column, cell)| normal(&column.column_type, cell.text.as_deref()))
        .collect()
}

#[test]
fn random_rows_read_back_through_our_own_decoder() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let table = table(&mut rng);
        let schemas = Schemas::of(&table);
        let shape = shape(&table, &ColumnRule::default());
        let plan = TransferPlan::compile(&table, &ColumnRule::default(), &shape).unwrap();
        let rows: Vec<_> = (0..20).map(|_| row(&mut rng, &table)).collect();
        let mut copy = Vec::new();
        put_header(&mut copy);
        for (index, row) in rows.iter().enumerate() {
            let before = (index % 2 == 1).then(|| rows[index - 1].as_slice());
            let (key, value) = (schemas.key(&table, row), schemas.envelope(&table, before, Some(row), "u"));
            let encoded = plan.encode(Shape::Stage, &key, Some(&value), RawValues::NONE, &mut copy).unwrap();
            assert_eq!(encoded, Encoded::default());
            let deletion = schemas.envelope(&table, Some(row), None, "d");
            let value = (index % 3 == 0).then_some(deletion.as_slice());
            let encoded = plan.encode(Shape::Stage, &key, value, RawValues::NONE, &mut copy).unwrap();
            assert!(encoded.deleted);
        }
        put_trailer(&mut copy);
        let decoded = decoder::rows(&copy);
        assert_eq!(decoded.len(), 40);
        for (row, pair) in rows.iter().zip(decoded.as_chunks::<2>().0) {
            for (tuple, deleted) in pair.iter().zip([0_u8, 1]) {
                let (flag, fields) = tuple.split_last().unwrap();
                assert_eq!(*flag, Some(&[deleted][..]));
                for ((column, cell), (field, there)) in
                    table.columns.iter().zip(row).zip(fields.iter().zip(&shape.columns))
                {
                    let text = field.map(|field| decoder::text(&there.type_name, field));
                    let wanted =
                        (deleted == 0 || table.is_key(column)).then_some(cell.text.as_deref()).flatten();
                    assert_eq!(
                        normal(&column.column_type, text.as_deref()),
                        normal(&column.column_type, wanted),
                        "seed {seed}, {}",
                        column.column_type
                    );
                }
            }
        }
    }
}

#[test]
fn damaged_input_is_refused_or_read_but_never_a_panic() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let table = table(&mut rng);
        let schemas = Schemas::of(&table);
        let plan =
            TransferPlan::compile(&table, &ColumnRule::default(), &shape(&table, &ColumnRule::default()))
                .unwrap();
        let row = row(&mut rng, &table);
        let (key, value) = (schemas.key(&table, &row), schemas.envelope(&table, Some(&row), Some(&row), "u"));
        assert_eq!(plan.source_ms(&value), Some(SOURCE_MS));
        let mut refused = 0;
        for _ in 0..500 {
            let (mut key, mut value) = (key.clone(), value.clone());
            for bytes in [&mut key, &mut value] {
                for _ in 0..rng.usize(1..4) {
                    let place = rng.usize(..bytes.len());
                    bytes[place] = rng.u8(..);
                }
                if rng.bool() {
                    bytes.truncate(rng.usize(..=bytes.len()));
                }
            }
            let mut out = b"kept".to_vec();
            for value in [Some(value.as_slice()), None] {
                let length = out.len();
                if plan.encode(Shape::Stage, &key, value, RawValues::NONE, &mut out).is_err() {
                    refused += 1;
                    assert_eq!(out.len(), length, "an error leaves the buffer as it was");
                }
            }
        }
        assert!(refused > 100, "seed {seed}: {refused}");
    }
}

/// Asks the server what it is, as apply does.
#[tokio::test]
async fn random_rows_read_back_from_the_server() {
    let session = Session::new("transcode").await;
    let dialect = dialect().await;
    assert_eq!((dialect.product, dialect.on_conflict), (Product::PostgreSql, true));
    assert_eq!(dialect.merge, dialect.kernel >= 15);
    for seed in 0..6 {
        let mut rng = Rng::with_seed(seed);
        let table = table(&mut rng);
        let schemas = Schemas::of(&table);
        let (rule, name) = (ColumnRule::default(), TargetName::new(&session.schema, &format!("rows {seed}")));
        let creation = Creation {
            dialect,
            table: &table,
            rule: &rule,
            target: &name,
            distributed_by: None,
            storage: Storage::Heap,
            indexes: Indexes::Plain,
        };
        session.run(&creation.statements().unwrap().statements).await;
        let plan = TransferPlan::compile(&table, &rule, &session.shape(&name).await).unwrap();
        assert!(plan.has_unique_key());
        let mut copy = Vec::new();
        put_header(&mut copy);
        let mut wanted = std::collections::BTreeMap::new();
        for _ in 0..400 {
            let row = row(&mut rng, &table);
            let key = schemas.key(&table, &row);
            if wanted.contains_key(&key) {
                continue;
            }
            let value = schemas.envelope(&table, None, Some(&row), "c");
            plan.encode(Shape::Direct, &key, Some(&value), RawValues::NONE, &mut copy).unwrap();
            wanted.insert(key, expected(&table, &row));
        }
        put_trailer(&mut copy);
        let mut wanted: Vec<_> = wanted.into_values().collect();
        wanted.sort();
        let copied = session.copy(&copy_statement(&plan, &name, Shape::Direct), copy).await.unwrap();
        assert_eq!(copied, u64::try_from(wanted.len()).unwrap());
        let names: Vec<String> = plan.columns().iter().map(|column| column.name.clone()).collect();
        let normalized = |row: Vec<Option<String>>| -> Vec<Option<String>> {
            let cells = table.columns.iter().zip(&row);
            cells.map(|(column, text)| normal(&column.column_type, text.as_deref())).collect()
        };
        let mut actual: Vec<_> = session.rows(&names, &name).await.into_iter().map(normalized).collect();
        actual.sort();
        assert_eq!(actual, wanted, "seed {seed}");
    }
    session.done().await;
}
