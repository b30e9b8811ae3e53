//! Random tables and rows, as Avro by apache-avro and as the text PostgreSQL prints for the same value.

use apache_avro::types::Value;
use apache_avro::{Decimal, Schema, to_avro_datum};
use fastrand::Rng;
use tributary_schemas::decimal::parse_unscaled;
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::table::{Column, Table, TableId};
use tributary_schemas::types::ColumnType;

/// When the source wrote every row.
pub(crate) const SOURCE_MS: i64 = 1_700_000_000_000;

/// Every kind of column; those that can be keys first.
pub(crate) const DECLARATIONS: [&str; 45] = [
    "tinyint",
    "tinyint unsigned",
    "smallint",
    "smallint unsigned",
    "mediumint",
    "mediumint unsigned",
    "int",
    "int unsigned",
    "bigint",
    "bigint unsigned",
    "decimal(5,2)",
    "decimal(18,18)",
    "decimal(65,30)",
    "decimal(65,0)",
    "bit(1)",
    "bit(11)",
    "bit(64)",
    "char(5)",
    "varchar(40)",
    "binary(4)",
    "varbinary(30)",
    "enum('a','it''s','')",
    "set('x','y','z')",
    "date",
    "datetime",
    "datetime(6)",
    "timestamp",
    "timestamp(3)",
    "time",
    "time(6)",
    "year",
    // No keys from here on.
    "decimal(1,0)",
    "decimal(30,30)",
    "decimal(20,16)",
    "decimal(22,17)",
    "float",
    "double",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "tinyblob",
    "longblob",
    "json",
    "datetime(1)",
];
const KEYS: usize = 31;

/// A value: in Avro, and as PostgreSQL prints it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub avro: Value,
    pub text: Option<String>,
}

impl Cell {
    const NULL: Self = Self { avro: Value::Null, text: None };

    fn new(avro: Value, text: impl Into<String>) -> Self {
        Self { avro, text: Some(text.into()) }
    }
}

pub(crate) fn column(id: u32, name: &str, declaration: &str, nullable: bool) -> Column {
    Column { nullable, ..Column::new(id, name, declaration.parse().unwrap()) }
}

/// A table with one column of every kind in random order, and a key of one to three columns in another.
pub(crate) fn table(rng: &mut Rng) -> Table {
    let mut columns: Vec<Column> = (1..)
        .zip(DECLARATIONS)
        .map(|(id, declaration)| column(id, &format!("c \"{id}\""), declaration, rng.bool()))
        .collect();
    let mut key: Vec<u32> = (1..=u32::try_from(KEYS).unwrap()).collect();
    rng.shuffle(&mut key);
    key.truncate(rng.usize(1..=3));
    rng.shuffle(&mut columns);
    for column in &mut columns {
        column.nullable &= !key.contains(&column.id);
    }
    Table { id: TableId::new("db", "random"), columns, key, ..Table::default() }
}

/// A row of `table`, in the order of its columns.
pub(crate) fn row(rng: &mut Rng, table: &Table) -> Vec<Cell> {
    table
        .columns
        .iter()
        .map(
            |column| {
                if column.nullable && rng.u8(..4) == 0 { Cell::NULL } else { cell(rng, &column.column_type) }
            },
        )
        .collect()
}

fn integer(rng: &mut Rng, low: i64, high: i64) -> i64 {
    match rng.u8(..6) {
        0 => low,
        1 => high,
        2 => 0,
        _ => rng.i64(low..=high),
    }
}

fn decimal(rng: &mut Rng, precision: usize, scale: usize, signed: bool, most: Option<u64>) -> Cell {
    let digits: String = match most {
        Some(most) => format!("{:020}", if rng.bool() { rng.u64(..=most) } else { most }),
        None => {
            let zeros = rng.usize(..=precision);
            (0..precision).map(|place| if place < zeros { '0' } else { rng.digit(10) }).collect()
        }
    };
    let (whole, fraction) = digits.split_at(precision - scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let zero = digits.bytes().all(|digit| digit == b'0');
    let sign = if signed && !zero && rng.bool() { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    let text = format!("{sign}{whole}{point}{fraction}");
    let (negative, magnitude) = parse_unscaled(text.as_bytes(), u8::try_from(scale).unwrap()).unwrap();
    let mut bytes = Vec::new();
    magnitude.put_twos_complement(negative, &mut bytes);
    Cell::new(Value::Decimal(Decimal::from(bytes)), text)
}

fn text(rng: &mut Rng, characters_max: usize) -> Cell {
    let count = rng.usize(..=characters_max.min(400));
    let text: String = (0..count)
        .map(|_| if rng.u8(..5) == 0 { rng.char('\u{80}'..='\u{10ffff}') } else { rng.char(' '..='~') })
        .collect();
    Cell::new(Value::String(text.clone()), text)
}

fn bytes(rng: &mut Rng, length: usize) -> Cell {
    let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Cell::new(Value::Bytes(bytes), format!("\\x{digits}"))
}

/// `.5` for 500,000 microseconds, nothing for none.
fn fraction(micros: i64) -> String {
    let digits = format!(".{micros:06}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn clock(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}{}", fraction(micros % 1_000_000))
}

fn day(days: i64) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().days(days)).unwrap().to_string()
}

/// Microseconds with so many digits of fraction.
fn micros(rng: &mut Rng, low_seconds: i64, high_seconds: i64, fsp: u8) -> i64 {
    let step = 10_i64.pow(6 - u32::from(fsp));
    integer(rng, low_seconds, high_seconds) * 1_000_000 + rng.i64(0..1_000_000) / step * step
}

fn instant(rng: &mut Rng, low_seconds: i64, fsp: u8) -> (i64, String) {
    let micros = micros(rng, low_seconds, 253_402_300_799, fsp);
    let of_day = micros.rem_euclid(86_400_000_000);
    (micros, format!("{} {}", day(micros.div_euclid(86_400_000_000)), clock(of_day)))
}

fn int(value: i64) -> Cell {
    Cell::new(Value::Int(i32::try_from(value).unwrap()), value.to_string())
}

fn cell(rng: &mut Rng, column_type: &ColumnType) -> Cell {
    match column_type {
        ColumnType::TinyInt { unsigned: false } => int(integer(rng, -128, 127)),
        ColumnType::TinyInt { unsigned: true } => int(integer(rng, 0, 255)),
        ColumnType::SmallInt { unsigned: false } => int(integer(rng, -32_768, 32_767)),
        ColumnType::SmallInt { unsigned: true } => int(integer(rng, 0, 65_535)),
        ColumnType::MediumInt { unsigned: false } => int(integer(rng, -8_388_608, 8_388_607)),
        ColumnType::MediumInt { unsigned: true } => int(integer(rng, 0, 16_777_215)),
        ColumnType::Int { unsigned: false } => int(integer(rng, i32::MIN.into(), i32::MAX.into())),
        ColumnType::Int { unsigned: true } => {
            let value = integer(rng, 0, u32::MAX.into());
            Cell::new(Value::Long(value), value.to_string())
        }
        ColumnType::BigInt { unsigned: false } => {
            let value = integer(rng, i64::MIN, i64::MAX);
            Cell::new(Value::Long(value), value.to_string())
        }
        ColumnType::BigInt { unsigned: true } => decimal(rng, 20, 0, false, Some(u64::MAX)),
        ColumnType::Decimal { precision, scale } => {
            decimal(rng, usize::from(*precision), usize::from(*scale), true, None)
        }
        ColumnType::Float => {
            let value = f32::from_bits(rng.u32(..));
            let value = if value.is_finite() { value } else { 0.5 };
            Cell::new(Value::Float(value), value.to_string())
        }
        ColumnType::Double => {
            let value = f64::from_bits(rng.u64(..));
            let value = if value.is_finite() { value } else { -0.1 };
            Cell::new(Value::Double(value), value.to_string())
        }
        ColumnType::Bit { width } => {
            let value = rng.u64(..) >> (64 - u32::from(*width));
            let start = 8 - usize::from(width.div_ceil(8));
            let text = format!("{value:0width$b}", width = usize::from(*width));
            Cell::new(Value::Bytes(value.to_be_bytes()[start..].to_vec()), text)
        }
        ColumnType::Char { length } | ColumnType::VarChar { length } => {
            text(rng, usize::try_from(*length).unwrap())
        }
        ColumnType::Text(_) => text(rng, 255),
        ColumnType::Enum { labels } | ColumnType::Set { labels } => {
            let label = rng.choice(labels).unwrap().clone();
            Cell::new(Value::String(label.clone()), label)
        }
        ColumnType::Binary { length } => bytes(rng, usize::try_from(*length).unwrap()),
        ColumnType::VarBinary { .. } | ColumnType::Blob(_) => {
            let length = rng.usize(..30);
            bytes(rng, length)
        }
        ColumnType::Json => {
            let document =
                serde_json::json!({"a": rng.i64(..), "b": [null, "é\n\"", rng.bool()]}).to_string();
            Cell::new(Value::String(document.clone()), document)
        }
        ColumnType::Date => {
            let days = integer(rng, -719_162, 2_932_896);
            Cell::new(Value::Date(i32::try_from(days).unwrap()), day(days))
        }
        ColumnType::DateTime { fsp } => {
            let (micros, text) = instant(rng, -62_135_596_800, *fsp);
            Cell::new(Value::LocalTimestampMicros(micros), text)
        }
        ColumnType::Timestamp { fsp } => {
            let (micros, text) = instant(rng, 1, *fsp);
            Cell::new(Value::TimestampMicros(micros), format!("{text}+00"))
        }
        ColumnType::Time { fsp } => {
            let value = micros(rng, 0, 3_020_398, *fsp);
            let negative = value != 0 && rng.bool();
            let text = format!("{}{}", if negative { "-" } else { "" }, clock(value));
            Cell::new(Value::Long(if negative { -value } else { value }), text)
        }
        ColumnType::Year => int(if rng.bool() { 0 } else { integer(rng, 1901, 2155) }),
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => panic!("not replicated"),
    }
}

/// The oracle's schemas of a table.
pub(crate) struct Schemas {
    key: Schema,
    value: Schema,
}

impl Schemas {
    pub(crate) fn of(table: &Table) -> Self {
        let parse = |text: String| Schema::parse_str(&text).unwrap();
        Self {
            key: parse(key_schema("t.db.random", table).unwrap()),
            value: parse(value_schema("t.db.random", table, 1).unwrap()),
        }
    }

    /// The datum of a row's key.
    pub(crate) fn key(&self, table: &Table, row: &[Cell]) -> Vec<u8> {
        let fields = table.key.iter().map(|id| {
            let index = table.columns.iter().position(|column| column.id == *id).unwrap();
            (tributary_schemas::topic::mangle(&table.columns[index].name), row[index].avro.clone())
        });
        to_avro_datum(&self.key, Value::Record(fields.collect())).unwrap()
    }

    /// The datum of an envelope.
    pub(crate) fn envelope(
        &self,
        table: &Table,
        before: Option<&[Cell]>,
        after: Option<&[Cell]>,
        op: &str,
    ) -> Vec<u8> {
        let image = |row: Option<&[Cell]>| match row {
            None => Value::Union(0, Box::new(Value::Null)),
            Some(row) => Value::Union(1, Box::new(record(table, row))),
        };
        let text = |text: &str| Value::String(text.to_owned());
        let source = Value::Record(vec![
            ("ts_ms".into(), Value::Long(SOURCE_MS)),
            ("snapshot".into(), text("false")),
            ("db".into(), text("db")),
            ("table".into(), text("random")),
            ("server_id".into(), Value::Long(1)),
            ("gtid".into(), Value::Union(0, Box::new(Value::Null))),
            ("file".into(), text("binlog.000001")),
            ("pos".into(), Value::Long(4)),
            ("row".into(), Value::Int(0)),
        ]);
        let envelope = Value::Record(vec![
            ("before".into(), image(before)),
            ("after".into(), image(after)),
            ("source".into(), source),
            ("op".into(), text(op)),
            ("ts_ms".into(), Value::Union(1, Box::new(Value::Long(SOURCE_MS + 5)))),
        ]);
        to_avro_datum(&self.value, envelope).unwrap()
    }
}

fn record(table: &Table, row: &[Cell]) -> Value {
    let fields = table.columns.iter().zip(row).map(|(column, cell)| {
        let value = match (&cell.avro, table.avro_nullable(column)) {
            (Value::Null, _) => Value::Union(0, Box::new(Value::Null)),
            (value, true) => Value::Union(1, Box::new(value.clone())),
            (value, false) => value.clone(),
        };
        (tributary_schemas::topic::mangle(&column.name), value)
    });
    Value::Record(fields.collect())
}
