use super::*;
use crate::merge::layout::ColumnRule;
use crate::merge::names::TargetName;
use crate::merge::raw::put_raw;
use crate::merge::target::{TargetColumn, TargetShape};
use proptest::prelude::*;
use tributary_config::NulBytePolicy;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH, put_bytes, put_long};
use tributary_schemas::table::{Column, Table, TableId};

/// A plan of key `id int` and one more column, into a destination column of this type.
fn plan(declaration: &str, target: &str, rule: &ColumnRule) -> TransferPlan {
    let column = |id: u32, name: &str, declaration: &str| Column::new(id, name, declaration.parse().unwrap());
    let there = |name: &str, type_name: &str| TargetColumn {
        not_null: name == "id",
        ..TargetColumn::new(name, type_name)
    };
    let table = Table {
        id: TableId::new("s", "t"),
        columns: vec![column(1, "id", "int"), column(2, "c", declaration)],
        key: vec![1],
        ..Table::default()
    };
    let shape = TargetShape::new(TargetName::new("s", "t"), vec![there("id", "integer"), there("c", target)]);
    TransferPlan::compile(&table, rule, &shape).unwrap()
}

/// An envelope with `after` of id 1 and this encoded value.
fn envelope(value: &[u8]) -> Vec<u8> {
    let mut datum = vec![NULL_BRANCH, VALUE_BRANCH, 2];
    datum.extend_from_slice(value);
    datum
}

fn long(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_long(&mut out, value);
    out
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, value.as_bytes());
    out
}

/// The second field of the row, length included, and what was counted.
fn field(plan: &TransferPlan, value: &[u8], raw: RawValues<'_>) -> Result<(Vec<u8>, Encoded), EncodeError> {
    let mut out = Vec::new();
    let encoded = plan.encode_upsert(Shape::Direct, &envelope(value), raw, &mut out)?;
    assert_eq!(out[..10], [0, 2, 0, 0, 0, 4, 0, 0, 0, 1]);
    Ok((out.split_off(10), encoded))
}

const NULL: [u8; 4] = [0xff; 4];

#[test]
fn zero_dates_follow_the_policy() {
    let mut raw = Vec::new();
    assert!(put_raw(&mut raw, "c", b"2024-02-31 00:00:00"));
    let raw = RawValues::new(&raw);
    let rule = |zero_dates| ColumnRule { zero_dates, ..ColumnRule::default() };
    let timestamp = "timestamp without time zone";

    let nulled = plan("datetime", timestamp, &rule(ZeroDatePolicy::Null));
    let (bytes, encoded) = field(&nulled, &[NULL_BRANCH], raw).unwrap();
    assert_eq!((bytes.as_slice(), encoded.zero_dates), (&NULL[..], 1));
    // A NULL without a header is a NULL.
    let (bytes, encoded) = field(&nulled, &[NULL_BRANCH], RawValues::NONE).unwrap();
    assert_eq!((bytes.as_slice(), encoded.zero_dates), (&NULL[..], 0));

    let clamped = plan("datetime", timestamp, &rule(ZeroDatePolicy::Clamp));
    let (bytes, encoded) = field(&clamped, &[NULL_BRANCH], raw).unwrap();
    // 2024-02-29 in microseconds since 2000-01-01.
    assert_eq!(bytes[4..], (8825 * 86_400_000_000_i64).to_be_bytes());
    assert_eq!(encoded.zero_dates, 1);
    for (target, expected) in [("date", 8825_i32.to_be_bytes().to_vec()), (timestamp, bytes[4..].to_vec())] {
        let (bytes, _) =
            field(&plan("date", target, &rule(ZeroDatePolicy::Clamp)), &[NULL_BRANCH], raw).unwrap();
        assert_eq!(bytes[4..], expected, "{target}");
    }

    let failed = field(&plan("datetime", timestamp, &rule(ZeroDatePolicy::Fail)), &[NULL_BRANCH], raw);
    assert_eq!(failed, Err(EncodeError::ZeroDate { column: "c".into() }));
}

#[test]
fn nul_characters_follow_the_policy() {
    let rule = |nul_bytes| ColumnRule { nul_bytes, ..ColumnRule::default() };
    for (declaration, target, value, removed, replaced) in [
        ("varchar(3)", "character varying(3)", "a\0b", "ab", "a\u{fffd}b"),
        ("json", "jsonb", r#"["\u0000"]"#, "\u{1}[\"\"]", "\u{1}[\"\u{fffd}\"]"),
    ] {
        let failing =
            field(&plan(declaration, target, &rule(NulBytePolicy::Fail)), &text(value), RawValues::NONE);
        assert_eq!(failing, Err(EncodeError::NulByte { column: "c".into() }));
        for (policy, expected) in [(NulBytePolicy::Remove, removed), (NulBytePolicy::Replace, replaced)] {
            let (bytes, encoded) =
                field(&plan(declaration, target, &rule(policy)), &text(value), RawValues::NONE).unwrap();
            assert_eq!((&bytes[4..], encoded.stripped), (expected.as_bytes(), 1));
        }
    }
    // Two members never become one.
    let twins = text(r#"{"a":2,"a\u0000":1}"#);
    let merged = field(&plan("json", "jsonb", &rule(NulBytePolicy::Remove)), &twins, RawValues::NONE);
    assert_eq!(merged, Err(EncodeError::NulMember { column: "c".into() }));
    assert!(field(&plan("json", "jsonb", &rule(NulBytePolicy::Replace)), &twins, RawValues::NONE).is_ok());
    // json and text hold the escape as it is.
    let (bytes, _) =
        field(&plan("json", "json", &rule(NulBytePolicy::Fail)), &text(r#"["\u0000"]"#), RawValues::NONE)
            .unwrap();
    assert_eq!(&bytes[4..], br#"["\u0000"]"#);
}

#[test]
fn a_key_is_never_changed() {
    let rule = ColumnRule { nul_bytes: NulBytePolicy::Remove, ..ColumnRule::default() };
    let mut table = Table { id: TableId::new("s", "t"), columns: vec![], key: vec![7], ..Table::default() };
    table.columns.push(Column { ordinal: 0, ..Column::new(7, "k", "varchar(9)".parse().unwrap()) });
    let shape = TargetShape::new(
        TargetName::new("s", "t"),
        vec![TargetColumn { not_null: true, ..TargetColumn::new("k", "text") }],
    );
    let plan = TransferPlan::compile(&table, &rule, &shape).unwrap();
    let mut datum = vec![NULL_BRANCH, VALUE_BRANCH];
    datum.extend(text("a\0b"));
    let refused = EncodeError::NulByte { column: "k".into() };
    let mut out = vec![9];
    assert_eq!(
        plan.encode_upsert(Shape::Stage, &datum, RawValues::NONE, &mut out),
        Err(refused.clone()),
        "'a\\0b' and 'ab' would be one row"
    );
    assert_eq!(plan.encode_delete(&text("a\0b"), &mut out), Err(refused));
    assert_eq!(plan.encode_delete(&[text("a"), vec![0]].concat(), &mut out), Err(EncodeError::Key));
    assert_eq!(out, [9]);
}

#[test]
fn values_outside_of_the_target_name_their_column() {
    let rule = ColumnRule::default();
    let outside = |declaration: &str, target: &str, value: &[u8]| {
        field(&plan(declaration, target, &rule), value, RawValues::NONE).unwrap_err()
    };
    let column = || "c".to_owned();
    for (declaration, target, value) in [
        ("tinyint", "smallint", long(40_000)),
        ("tinyint", "boolean", long(2)),
        ("int", "integer", long(1 << 31)),
        ("int unsigned", "double precision", long(1 << 32)),
        ("varchar(3)", "character varying(3)", text("éééé")),
        ("bit(3)", "bit(3)", text("\u{8}")),
        ("bit(1)", "boolean", text("\u{2}")),
        ("decimal(3,0)", "numeric(3,0)", text("\u{7}\u{7}")),
        ("decimal(3,0)", "smallint", text("\u{7}\u{7}\u{7}")),
        ("time", "time without time zone", long(-1)),
        ("time", "interval", long(i64::MAX)),
        ("date", "date", [vec![VALUE_BRANCH], long(1 << 40)].concat()),
        ("datetime", "timestamp without time zone", [vec![VALUE_BRANCH], long(i64::MAX)].concat()),
    ] {
        let error = outside(declaration, target, &value);
        assert_eq!(error, EncodeError::OutOfRange { column: column() }, "{declaration} → {target}");
    }
    assert_eq!(outside("text", "text", &[4, 0xc3, 0x28]), EncodeError::NotUtf8 { column: column() });
    assert_eq!(
        outside("int", "integer", &[]),
        EncodeError::Avro { column: column(), source: AvroError::UnexpectedEnd }
    );
    assert_eq!(
        outside("date", "date", &[8]),
        EncodeError::Avro { column: column(), source: AvroError::BadBranch }
    );
}

#[test]
fn wider_targets_hold_the_same_value() {
    let rule = ColumnRule::default();
    let wide = |declaration: &str, target: &str, value: &[u8]| {
        field(&plan(declaration, target, &rule), value, RawValues::NONE).unwrap().0.split_off(4)
    };
    assert_eq!(wide("tinyint", "boolean", &long(1)), [1]);
    assert_eq!(wide("int", "bigint", &long(-5)), (-5_i64).to_be_bytes());
    assert_eq!(wide("int", "double precision", &long(-5)), (-5_f64).to_be_bytes());
    assert_eq!(wide("int", "numeric", &long(-5)), [0, 1, 0, 0, 0x40, 0, 0, 0, 0, 5]);
    assert_eq!(wide("decimal(9,0)", "bigint", &text("\u{5}")), 5_i64.to_be_bytes());
    assert_eq!(wide("float", "double precision", &0.1_f32.to_le_bytes()), f64::from(0.1_f32).to_be_bytes());
    assert_eq!(wide("bit(3)", "bytea", &text("\u{5}")), [5]);
    assert_eq!(wide("bit(3)", "bit varying", &text("\u{5}")), [0, 0, 0, 3, 0b1010_0000]);
    assert_eq!(wide("time", "time without time zone", &long(1)), 1_i64.to_be_bytes());
    let day = [vec![VALUE_BRANCH], long(10_958)].concat();
    assert_eq!(wide("date", "timestamp without time zone", &day), 86_400_000_000_i64.to_be_bytes());
    assert_eq!(wide("json", "text", &text("{}")), b"{}");
}

/// Every branch of the encoding.
const TYPES: [(&str, &str); 12] = [
    ("int", "integer"),
    ("bigint unsigned", "numeric"),
    ("decimal(65,30)", "numeric"),
    ("varchar(20)", "character varying"),
    ("blob", "bytea"),
    ("datetime(6)", "timestamp without time zone"),
    ("timestamp", "timestamp with time zone"),
    ("date", "date"),
    ("time(6)", "interval"),
    ("bit(9)", "bit(9)"),
    ("json", "jsonb"),
    ("double", "double precision"),
];

proptest! {
    /// Whatever a record holds: a row or an error, never a panic, and no more than a few bytes for each that came.
    #[test]
    fn damaged_records_never_panic(which in 0..TYPES.len(), bytes in prop::collection::vec(any::<u8>(), 0..80), head: bool) {
        let (declaration, target) = TYPES[which];
        let plan = plan(declaration, target, &ColumnRule::default());
        let datum = if head { envelope(&bytes) } else { bytes };
        for shape in [Shape::Direct, Shape::Stage] {
            let mut out = Vec::new();
            let _ = plan.encode_upsert(shape, &datum, RawValues::new(&datum), &mut out);
            prop_assert!(out.capacity() <= 64 * datum.len() + 1024, "{} bytes of {}", out.capacity(), datum.len());
        }
    }
}
