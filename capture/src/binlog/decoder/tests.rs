//! The decoder with apache-avro as the oracle: random tables, random rows, images packed by hand.

use super::*;
use crate::binlog::rows::{RowsEvent, RowsKind};
use crate::binlog::table_map::{ImageType, TableMap};
use crate::binlog::testing::{column, map_column, table};
use apache_avro::Schema;
use apache_avro::types::Value;
use proptest::prelude::*;
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::table::Table;

/// A value of a column: its bytes in the image and what apache-avro must read.
type Cell = (Vec<u8>, Value);

/// A column's type in the catalog, its layout, and a way to make values from random bytes.
struct Kind {
    text: &'static str,
    image_type: ImageType,
    cell: fn(&[u8; 8]) -> Cell,
}

fn number(value: i64) -> Value {
    Value::Int(i32::try_from(value).unwrap())
}

fn prefixed(width: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_le_bytes()[..width], bytes].concat()
}

/// Lower-case letters in place of random bytes.
fn letters(seed: &[u8; 8]) -> String {
    let length = usize::from(seed[0] % 8);
    seed[..length].iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

const KINDS: &[Kind] = &[
    Kind {
        text: "tinyint",
        image_type: ImageType::Tiny,
        cell: |s| (s[..1].to_vec(), number(i8::from_le_bytes([s[0]]).into())),
    },
    Kind {
        text: "tinyint unsigned",
        image_type: ImageType::Tiny,
        cell: |s| (s[..1].to_vec(), number(s[0].into())),
    },
    Kind {
        text: "smallint unsigned",
        image_type: ImageType::Short,
        cell: |s| (s[..2].to_vec(), number(u16::from_le_bytes([s[0], s[1]]).into())),
    },
    Kind {
        text: "mediumint",
        image_type: ImageType::Int24,
        cell: |s| {
            let value = i64::from(s[0]) | i64::from(s[1]) << 8 | i64::from(s[2]) << 16;
            (s[..3].to_vec(), number(if value < 1 << 23 { value } else { value - (1 << 24) }))
        },
    },
    Kind {
        text: "int unsigned",
        image_type: ImageType::Long,
        cell: |s| (s[..4].to_vec(), Value::Long(u32::from_le_bytes([s[0], s[1], s[2], s[3]]).into())),
    },
    Kind {
        text: "bigint",
        image_type: ImageType::LongLong,
        cell: |s| (s.to_vec(), Value::Long(i64::from_le_bytes(*s))),
    },
    Kind {
        text: "bigint unsigned",
        image_type: ImageType::LongLong,
        cell: |s| {
            let wide = [&[0], &u64::from_le_bytes(*s).to_be_bytes()[..]].concat();
            (s.to_vec(), Value::Decimal(wide.into()))
        },
    },
    Kind {
        text: "double",
        image_type: ImageType::Double,
        // Small enough to be a number for sure: NaN is not equal to itself.
        cell: |s| {
            let value = f64::from(i32::from_le_bytes([s[0], s[1], s[2], s[3]])) / 64.0;
            (value.to_le_bytes().to_vec(), Value::Double(value))
        },
    },
    Kind {
        text: "varchar(10)",
        image_type: ImageType::VarChar { max_bytes: 40 },
        cell: |s| (prefixed(1, letters(s).as_bytes()), Value::String(letters(s))),
    },
    Kind {
        text: "varchar(200)",
        image_type: ImageType::VarChar { max_bytes: 800 },
        cell: |s| (prefixed(2, letters(s).as_bytes()), Value::String(letters(s))),
    },
    Kind {
        text: "mediumblob",
        image_type: ImageType::Blob { length_width: 3 },
        cell: |s| (prefixed(3, s), Value::Bytes(s.to_vec())),
    },
    Kind {
        text: "binary(5)",
        image_type: ImageType::String { max_bytes: 5 },
        cell: |s| (prefixed(1, &s[..2]), Value::Bytes(vec![s[0], s[1], 0, 0, 0])),
    },
    Kind {
        text: "bit(12)",
        image_type: ImageType::Bit { width_bits: 12 },
        cell: |s| (vec![s[0] & 0x0f, s[1]], Value::Bytes(vec![s[0] & 0x0f, s[1]])),
    },
    Kind {
        text: "enum('x','y','z')",
        image_type: ImageType::Enum { width: 1 },
        cell: |s| {
            let label = ["", "x", "y", "z"][usize::from(s[0] % 4)];
            (vec![s[0] % 4], Value::String(label.to_owned()))
        },
    },
    Kind {
        text: "set('x','y')",
        image_type: ImageType::Set { width: 1 },
        cell: |s| {
            let labels = ["", "x", "y", "x,y"][usize::from(s[0] % 4)];
            (vec![s[0] % 4], Value::String(labels.to_owned()))
        },
    },
    Kind {
        text: "timestamp(3)",
        image_type: ImageType::Timestamp { fsp: 3 },
        cell: |s| {
            let (seconds, millis) = (u32::from_be_bytes([0, s[1], s[2], s[3]]) + 1, u16::from(s[4]) * 3);
            let bytes = [&seconds.to_be_bytes()[..], &(millis * 10).to_be_bytes()].concat();
            (bytes, Value::TimestampMicros(i64::from(seconds) * 1_000_000 + i64::from(millis) * 1000))
        },
    },
    Kind {
        text: "json",
        image_type: ImageType::Json { length_width: 4 },
        cell: |s| {
            let text = letters(s);
            let document = [&[12, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            (prefixed(4, &document), Value::String(format!("\"{text}\"")))
        },
    },
];

/// A column: which kind, whether it is published, its value (`None` for NULL).
type Choice = (usize, bool, Option<[u8; 8]>);

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    prop::collection::vec((0..KINDS.len(), any::<bool>(), any::<Option<[u8; 8]>>()), 1..24)
}

/// The table of a choice, after two key columns whose order in the key is the other way round.
fn build(choices: &[Choice], key: [[u8; 8]; 2]) -> (Table, TableMap, Vec<u8>, Vec<Value>) {
    let mut columns = vec![column(1, "k1", "bigint", false), column(2, "k2", "varchar(10)", false)];
    let mut maps =
        vec![map_column(ImageType::LongLong, false), map_column(ImageType::VarChar { max_bytes: 40 }, false)];
    let name = letters(&key[1]);
    let mut body = [&key[0][..], &prefixed(1, name.as_bytes())].concat();
    let mut expected = vec![Value::Long(i64::from_le_bytes(key[0])), Value::String(name)];
    let mut nulls = vec![0_u8; (choices.len() + 2).div_ceil(8)];
    for (at, (kind, published, seed)) in (2..).zip(choices) {
        let kind = &KINDS[*kind];
        maps.push(map_column(kind.image_type, true));
        let cell = seed.as_ref().map(kind.cell);
        if *published {
            columns.push(column(u32::try_from(at).unwrap() + 1, &format!("c{at}"), kind.text, true));
            expected.push(match &cell {
                Some((_, value)) => Value::Union(1, Box::new(value.clone())),
                None => Value::Union(0, Box::new(Value::Null)),
            });
        }
        match cell {
            Some((bytes, _)) => body.extend(bytes),
            None => nulls[at / 8] |= 1 << (at % 8),
        }
    }
    let map = TableMap { columns: maps, primary_key: vec![] };
    (table(columns, &[2, 1]), map, [nulls, body].concat(), expected)
}

/// Reads the row's record with apache-avro, as `after` of an envelope whose other fields are empty.
fn read(table: &Table, value: &[u8]) -> Vec<Value> {
    let schema = Schema::parse_str(&value_schema("t.d.t", table, 1).unwrap()).unwrap();
    let datum = [&[0, 2], value, &[0; 11]].concat();
    let Value::Record(envelope) = apache_avro::from_avro_datum(&schema, &mut &datum[..], None).unwrap()
    else {
        panic!()
    };
    let Value::Union(1, row) = envelope.into_iter().nth(1).unwrap().1 else { panic!() };
    let Value::Record(fields) = *row else { panic!() };
    fields.into_iter().map(|(_, value)| value).collect()
}

/// Decimals by value: apache-avro keeps the bytes as they came.
fn same(ours: &Value, expected: &Value) -> bool {
    match (ours, expected) {
        (Value::Union(a, ours), Value::Union(b, expected)) => a == b && same(ours, expected),
        (Value::Decimal(ours), Value::Decimal(expected)) => {
            let wide = |decimal: &apache_avro::Decimal| {
                let bytes = Vec::<u8>::try_from(decimal.clone()).unwrap();
                let filler = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
                [vec![filler; 16 - bytes.len()], bytes].concat()
            };
            wide(ours) == wide(expected)
        }
        _ => ours == expected,
    }
}

proptest! {
    #[test]
    fn apache_avro_reads_what_was_in_the_image(choices in choices(), key: [[u8; 8]; 2]) {
        let (table, map, image, expected) = build(&choices, key);
        map.agrees(&table, u32::try_from(map.columns.len()).unwrap(), true).unwrap();
        let decoder = RowDecoder::compile(&table, &map).unwrap();
        let present = vec![0xff; map.columns.len().div_ceil(8)];
        let (mut out, mut only_key) = (EncodedRow::default(), EncodedRow::default());
        let two_images = [&image[..], &image].concat();
        let mut rest = &two_images[..];
        decoder.encode_key(&mut rest, Bitmap(&present), &mut only_key).unwrap();
        decoder.encode(&mut rest, Bitmap(&present), &mut out).unwrap();
        prop_assert!(rest.is_empty());
        let read = read(&table, &out.value);
        prop_assert_eq!(read.len(), expected.len());
        for (ours, expected) in read.iter().zip(&expected) {
            prop_assert!(same(ours, expected), "{:?} {:?}", ours, expected);
        }
        let schema = Schema::parse_str(&key_schema("t.d.t", &table).unwrap()).unwrap();
        let key = apache_avro::from_avro_datum(&schema, &mut &out.key[..], None).unwrap();
        let swapped = Value::Record(vec![("k2".into(), expected[1].clone()), ("k1".into(), expected[0].clone())]);
        prop_assert_eq!(key, swapped);
        prop_assert_eq!(&only_key.key, &out.key);
        prop_assert!(only_key.value.is_empty());
    }

    #[test]
    fn damaged_images_never_panic(
        choices in choices(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (table, map, mut image, _) = build(&choices, [[1; 8]; 2]);
        for (at, value) in flips {
            let at = at.index(image.len());
            image[at] = value;
        }
        image.truncate(cut.index(image.len() + 1));
        let decoder = RowDecoder::compile(&table, &map).unwrap();
        let present = vec![0xff; map.columns.len().div_ceil(8)];
        let (mut before, mut after) = (EncodedRow::default(), EncodedRow::default());
        let _ = decoder.encode(&mut &image[..], Bitmap(&present), &mut after);
        let _ = decoder.encode_key(&mut &image[..], Bitmap(&present), &mut after);
        let event = RowsEvent {
            kind: RowsKind::PartialUpdate,
            table_id: 1,
            column_count: map.columns.len(),
            present: Bitmap(&present),
            after_present: Bitmap(&present),
            images: &image,
        };
        let pair = [&image[..], &[1, 0xff, 0xff], &image].concat();
        let _ = decoder.encode_update(&event, &mut &pair[..], &mut before, &mut after);
    }
}

#[test]
fn a_key_whose_text_is_not_its_own_is_named() {
    let mut keyed = table(vec![column(1, "id", "int", false), column(2, "k", "varchar(9)", false)], &[1, 2]);
    keyed.columns[1].charset = Some("cp1250".to_owned());
    let columns =
        vec![map_column(ImageType::Long, false), map_column(ImageType::VarChar { max_bytes: 9 }, false)];
    let decoder = RowDecoder::compile(&keyed, &TableMap { columns, primary_key: vec![] }).unwrap();
    let mut out = EncodedRow::default();
    let image = |key: &[u8]| [&[0, 1, 0, 0, 0, 2][..], key].concat();
    decoder.encode(&mut &image(b"\x8a?")[..], Bitmap(&[0xff]), &mut out).unwrap();
    assert_eq!(out.key, [&[2, 6][..], "Š?".as_bytes()].concat());
    for wanted in [Wanted::Key, Wanted::Row] {
        let refused = decoder.run(wanted, &mut &image(b"a\x81")[..], Bitmap(&[0xff]), &[], &mut out);
        let (column, charset) = ("k".to_owned(), "cp1250".to_owned());
        assert_eq!(refused, Err(RowError::LossyKey { column, charset, bytes: b"a\x81".to_vec() }));
    }
}

#[test]
fn a_key_has_one_zero() {
    let keyed = table(vec![column(1, "k", "double", false), column(2, "f", "float", false)], &[1, 2]);
    let columns = vec![map_column(ImageType::Double, false), map_column(ImageType::Float, false)];
    let decoder = RowDecoder::compile(&keyed, &TableMap { columns, primary_key: vec![] }).unwrap();
    let mut out = EncodedRow::default();
    let image = [&[0][..], &(-0.0_f64).to_le_bytes(), &(-0.0_f32).to_le_bytes()].concat();
    decoder.encode(&mut &image[..], Bitmap(&[0xff]), &mut out).unwrap();
    assert_eq!((&out.key[..], &out.value[..]), (&[0; 12][..], &[0; 12][..]));
}

/// A decoder of one key and one nullable column of `text`.
fn decoder(text: &str, image_type: ImageType) -> RowDecoder {
    let table = table(vec![column(1, "id", "int", false), column(2, "c", text, true)], &[1]);
    let columns = vec![map_column(ImageType::Long, false), map_column(image_type, true)];
    RowDecoder::compile(&table, &TableMap { columns, primary_key: vec![] }).unwrap()
}

#[test]
fn errors_name_the_column() {
    let decoder = decoder("set('x','y')", ImageType::Set { width: 1 });
    let mut out = EncodedRow::default();
    let mut encode =
        |image: &[u8], present: u8| decoder.encode(&mut &image[..], Bitmap(&[present]), &mut out);
    assert_eq!(encode(&[0, 1, 0, 0, 0, 3], 0xff), Ok(()));
    assert_eq!(encode(&[0, 1, 0, 0, 0], 0xff), Err(RowError::Truncated { column: "c".into() }));
    assert_eq!(encode(&[1, 3], 0xff), Err(RowError::BadKey { column: "id".into() }));
    assert_eq!(encode(&[0, 1, 0, 0, 0, 3], 0b01), Err(RowError::PartialImage { column: "c".into() }));
    assert_eq!(
        encode(&[0, 1, 0, 0, 0, 4], 0xff),
        Err(RowError::Invalid { column: "c".into(), column_type: "set('x','y')".into() })
    );
    // Its key is readable all the same, and says which row it is.
    decoder.encode_key(&mut &[0, 5, 0, 0, 0, 4][..], Bitmap(&[0xff]), &mut out).unwrap();
    let of = table(vec![column(1, "id", "int", false)], &[1]);
    assert_eq!(tributary_schemas::key::describe(&of, &out.key), "id=5");
}

#[test]
fn null_where_the_definition_has_none_is_refused() {
    let table = table(vec![column(1, "id", "int", false), column(2, "d", "date", false)], &[1]);
    let columns = vec![map_column(ImageType::Long, false), map_column(ImageType::Date, false)];
    let decoder = RowDecoder::compile(&table, &TableMap { columns, primary_key: vec![] }).unwrap();
    let mut out = EncodedRow::default();
    // The field is a union, for a zero date; but NULL it cannot be.
    let null = decoder.encode(&mut &[2, 1, 0, 0, 0][..], Bitmap(&[0xff]), &mut out);
    assert_eq!(null, Err(RowError::UnexpectedNull { column: "d".into() }));
    decoder.encode(&mut &[0, 1, 0, 0, 0, 0, 0, 0][..], Bitmap(&[0xff]), &mut out).unwrap();
    assert_eq!(out.value, [2, 0]);
    assert_eq!((out.raw[0].column, out.raw[0].text.as_str()), (1, "0000-00-00"));
}

#[test]
fn a_zero_date_cannot_be_a_key() {
    let table = table(vec![column(1, "d", "date", false)], &[1]);
    let columns = vec![map_column(ImageType::Date, false)];
    let decoder = RowDecoder::compile(&table, &TableMap { columns, primary_key: vec![] }).unwrap();
    let mut out = EncodedRow::default();
    let bad = Err(RowError::BadKey { column: "d".into() });
    assert_eq!(decoder.encode(&mut &[0, 0, 0, 0][..], Bitmap(&[0xff]), &mut out), bad);
    assert_eq!(decoder.encode_key(&mut &[0, 0, 0, 0][..], Bitmap(&[0xff]), &mut out), bad);
}

#[test]
fn what_cannot_be_decoded_does_not_compile() {
    let compile = |text: &str, charset: Option<&str>, image_type| {
        let mut odd = column(2, "c", text, true);
        odd.charset = charset.map(str::to_owned);
        let table = table(vec![column(1, "id", "int", false), odd], &[1]);
        let columns = vec![map_column(ImageType::Long, false), map_column(image_type, true)];
        RowDecoder::compile(&table, &TableMap { columns, primary_key: vec![] }).map(drop)
    };
    let text = ImageType::VarChar { max_bytes: 40 };
    assert_eq!(compile("varchar(10)", Some("utf8mb4"), text), Ok(()));
    assert!(matches!(compile("varchar(10)", Some("swe7"), text), Err(CompileError::UnknownCharset { .. })));
    assert!(matches!(compile("bigint", None, ImageType::Long), Err(CompileError::Disagreement { .. })));
    let point = ImageType::Geometry { length_width: 4 };
    assert!(matches!(compile("point", None, point), Err(CompileError::Unsupported { .. })));
}
