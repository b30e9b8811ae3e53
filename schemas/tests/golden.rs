//! The formats on Kafka, as files: what an earlier version wrote must be read for ever, and what this version writes must
//! be what the files say. A file here is never changed; a new layout is a new `FORMAT_VERSION` with files of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::Path;
use tributary_schemas::checkpoint::{
    Beat, Checkpoint, KeyRange, KeyValue, Leader, Parked, Partial, PublishedRows, ReadPhase, SeenTopic,
    StateKey, TableProgress,
};
use tributary_schemas::envelope::{Operation, Source, key_schema, put_source_place, put_tail, value_schema};
use tributary_schemas::history::{
    Cause, HistoryKey, LoadRecord, RetiredRecord, SchemaRecord, SelectedTable, SelectionRecord,
    StoredGeneration,
};
use tributary_schemas::position::Position;
use tributary_schemas::record::RawRecord;
use tributary_schemas::sequence::SourceSequence;
use tributary_schemas::table::{Column, ColumnDefault, Index, IndexPart, Table, TableId};
use tributary_schemas::{FORMAT_VERSION, avro, topic, wire};

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// The text of a golden file; written if it is not there and `TRIBUTARY_GOLDEN=write` is set.
fn golden(name: &str, written: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var("TRIBUTARY_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, format!("{written}\n")).unwrap();
    }
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim_end()
        .to_owned()
}

/// What the reader of a task's own topics makes of a record.
type Reading = fn(RawRecord<'_>) -> String;
const STATE: Reading = |raw| format!("{:?}", raw.state().unwrap());
const HISTORY: Reading = |raw| format!("{:?}", raw.history().unwrap());

fn check<K, V>(name: &str, read: Reading, key: &K, value: &V)
where
    K: Serialize + DeserializeOwned + PartialEq + Debug,
    V: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let written =
        format!("{}\n{}", serde_json::to_string(key).unwrap(), serde_json::to_string_pretty(value).unwrap());
    let file = golden(name, &written);
    assert_eq!(written, file, "{name}: what is written changed");
    let (read_key, read_value) = file.split_once('\n').unwrap();
    assert_eq!(&serde_json::from_str::<K>(read_key).unwrap(), key, "{name}");
    assert_eq!(&serde_json::from_str::<V>(read_value).unwrap(), value, "{name}");
    let (key, json) = (read_key.as_bytes(), Some(read_value.as_bytes()));
    let record = read(RawRecord { topic: "t", offset: 0, key, value: json });
    assert!(record.contains(&format!("{value:?}")), "{name}: {record}");
}

fn table() -> Table {
    let column = |id: u32, name: &str, text: &str| Column {
        nullable: id > 1,
        auto_increment: id == 1,
        ..Column::new(id, name, text.parse().unwrap())
    };
    let status = Column {
        default: Some(ColumnDefault::Constant("new".to_owned())),
        charset: Some("utf8mb4".to_owned()),
        collation: Some("utf8mb4_0900_ai_ci".to_owned()),
        comment: "where it is".to_owned(),
        ..column(2, "status", "enum('new','it''s')")
    };
    Table {
        id: TableId::new("shop", "orders"),
        columns: vec![column(1, "id", "bigint unsigned"), status, column(3, "när-2", "datetime(6)")],
        key: vec![1],
        indexes: vec![Index {
            name: "by_status".to_owned(),
            unique: false,
            kind: "BTREE".to_owned(),
            parts: vec![IndexPart { column: Some("status".to_owned()), prefix: Some(4) }],
        }],
        comment: "orders of the shop".to_owned(),
    }
}

fn position() -> Position {
    Position {
        gtid_set: format!("{UUID}:1-5:9,{UUID}:blue:1").parse().unwrap(),
        file: "binlog.000007".to_owned(),
        offset: 5_000_000_000,
        server_uuid: UUID.to_owned(),
    }
}

#[test]
fn state_records() {
    let orders = TableId::new("shop", "orders");
    let leader =
        Leader { format: 1, instance: "a1".to_owned(), address: "127.0.0.1:8081".to_owned(), beat: None };
    check("leader.json", STATE, &StateKey::Leader, &leader);
    let beat = Some(Beat { written_ms: 1_700_000_000_123, behind_ms: Some(250) });
    check("leader_beat.json", STATE, &StateKey::Leader, &Leader { beat, ..leader });
    let partial = Partial {
        gtid: Some(format!("{UUID}:10")),
        tables: vec![PublishedRows { table: orders.clone(), rows: 12_345 }],
    };
    let mut checkpoint = Checkpoint {
        format: 1,
        position: position(),
        file_created: None,
        source_started: None,
        transaction: 77,
        partials: vec![partial],
        undecided: Vec::new(),
    };
    check("checkpoint.json", STATE, &StateKey::Checkpoint, &checkpoint);
    checkpoint.file_created = Some(1_700_000_000);
    checkpoint.source_started = Some(1_699_000_000);
    check("checkpoint_in_file.json", STATE, &StateKey::Checkpoint, &checkpoint);
    let mut progress = TableProgress {
        format: 1,
        generation: 2,
        phase: ReadPhase::Reading,
        rows_read: 10,
        rows_estimated: 100,
        remaining: vec![KeyRange {
            after: Some(vec![KeyValue::UInt(u64::MAX), KeyValue::Text("ä".to_owned()), KeyValue::Int(-3)]),
            through: Some(vec![KeyValue::Double(0.1), KeyValue::Hex("00ff".to_owned()), KeyValue::Int(0)]),
        }],
        consistent_after: Some(position()),
        seen: None,
    };
    check("progress.json", STATE, &StateKey::Progress(orders.clone()), &progress);
    progress.seen = Some(SeenTopic { topic: "task.shop.orders".to_owned(), ends: vec![7, 0] });
    check("progress_seen.json", STATE, &StateKey::Progress(orders.clone()), &progress);
    let parked = Parked {
        format: 1,
        code: "bad-key".to_owned(),
        message: "why".to_owned(),
        remedy: "what to do".to_owned(),
        active: true,
    };
    check("parked.json", STATE, &StateKey::Parked(orders), &parked);
}

#[test]
fn history_records() {
    let (database, name) = ("shop".to_owned(), "orders".to_owned());
    let generation = StoredGeneration {
        format: 1,
        topic: "task.shop.orders".to_owned(),
        generation: 3,
        table: Some(table()),
        same_as: None,
        cause: Cause::Alter,
        statement: "ALTER TABLE orders ADD COLUMN x INT".to_owned(),
        barrier: vec![0, 17, 5],
        key_schema_id: 1,
        value_schema_id: 4,
        value_version: None,
        incarnation: None,
        transaction: 77,
        position: position(),
    };
    let key = HistoryKey::Table { database: database.clone(), table: name.clone(), generation: 3 };
    check("generation.json", HISTORY, &key, &generation);
    // Format 2: what follows from the definition is not stored, and a definition only once.
    let first = StoredGeneration {
        format: 2,
        value_version: Some(1),
        incarnation: Some("generation 3 with schema 4 written at 1700000000000 on u f:4".to_owned()),
        ..generation.clone()
    };
    check("generation_2.json", HISTORY, &key, &first);
    let truncated = StoredGeneration {
        format: 2,
        generation: 4,
        table: None,
        same_as: Some(3),
        cause: Cause::Truncate,
        statement: "TRUNCATE orders".to_owned(),
        value_schema_id: 5,
        value_version: Some(2),
        ..generation
    };
    let key = HistoryKey::Table { database: database.clone(), table: name.clone(), generation: 4 };
    check("generation_2_same.json", HISTORY, &key, &truncated);
    let mut retired = RetiredRecord { format: 2, runs: Vec::new() };
    retired.push(3, (4, 2, 5));
    retired.push(3, (5, 3, 9));
    check(
        "retired.json",
        HISTORY,
        &HistoryKey::Retired { database: database.clone(), table: name.clone() },
        &retired,
    );
    [(6, 4, 10), (7, 5, 11), (8, 6, 12)].into_iter().for_each(|numbers| retired.push(3, numbers));
    let key = HistoryKey::Retired { database: database.clone(), table: name.clone() };
    check("retired_3.json", HISTORY, &key, &retired);
    let load = LoadRecord { format: 1, rows_estimated: 100, rows_read: 101, complete: true };
    check("load.json", HISTORY, &HistoryKey::Load { database, table: name }, &load);
    let selected = SelectedTable {
        id: TableId::new("shop", "orders"),
        topic: "task.shop.orders".to_owned(),
        partitions: 4,
        excluded: Some("no primary key".to_owned()),
    };
    check(
        "selection.json",
        HISTORY,
        &HistoryKey::Selection,
        &SelectionRecord { format: 1, tables: vec![selected], retention_ms: Some(604_800_000) },
    );
    let subject = topic::value_subject("task.shop.orders");
    let schema = SchemaRecord {
        subject: subject.clone(),
        version: 2,
        id: 4,
        schema: "\"string\"".to_owned(),
        deleted: false,
    };
    check("schema.json", HISTORY, &HistoryKey::Schema { subject, version: 2, magic: 1 }, &schema);
}

/// Key and value schemas, and one record in bytes: what every consumer of the topics depends on.
#[test]
fn a_record_of_a_table_topic() {
    let table = table();
    let key = key_schema("task.shop.orders", &table).unwrap();
    let value = value_schema("task.shop.orders", &table, 3).unwrap();
    assert_eq!(golden("key_schema.json", &key), key);
    assert_eq!(golden("value_schema.json", &value), value);
    let source = Source {
        ts_ms: 1_700_000_000_000,
        snapshot: false,
        database: "shop",
        table: "orders",
        server_id: 7,
        gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:10"),
        file: "binlog.000007",
        offset: 0,
        row: 0,
    };
    let mut bytes = Vec::new();
    wire::put_header(&mut bytes, 4);
    bytes.extend([avro::NULL_BRANCH, avro::VALUE_BRANCH]);
    avro::put_bytes(&mut bytes, &[0x05]);
    bytes.push(avro::VALUE_BRANCH);
    avro::put_bytes(&mut bytes, "new".as_bytes());
    bytes.push(avro::VALUE_BRANCH);
    avro::put_long(&mut bytes, 1_700_000_000_000_001);
    source.put_shared(&mut bytes);
    put_source_place(&mut bytes, 5_000_000_000, 2);
    put_tail(&mut bytes, Operation::Update, 1_700_000_000_123);
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(golden("record.hex", &hexadecimal), hexadecimal);
    let sequence = SourceSequence { transaction: 77, row: 12, part: 1, read: false };
    assert_eq!(sequence.to_string(), "77:12:1");
    assert_eq!(FORMAT_VERSION, 1, "a new version has golden files of its own");
}
