//! The record on Kafka: Debezium's envelope (`before`, `after`, `source`, `op`, `ts_ms`) as an Avro schema, and the
//! parts of its encoding that do not depend on the table.
//!
//! The key is a record of the key's columns. Its schema carries no generation, so its bytes stay the same through
//! every change of other columns. The value's schema carries the generation as a property, so that each generation
//! has an id of its own.

use crate::avro::{NULL_BRANCH, VALUE_BRANCH, put_bytes, put_long};
use crate::table::{Column, Table};
use crate::topic::mangle;
use crate::types::{AvroType, UnsupportedType};
use serde_json::{Value, json};

/// What happened to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `c`: INSERT, or the second half of an update that changed the key.
    Create,
    /// `u`.
    Update,
    /// `d`: DELETE, or the first half of an update that changed the key.
    Delete,
    /// `r`: read from the table.
    Read,
}

impl Operation {
    /// The letter in the envelope.
    #[must_use]
    pub const fn letter(self) -> &'static [u8] {
        match self {
            Self::Create => b"c",
            Self::Update => b"u",
            Self::Delete => b"d",
            Self::Read => b"r",
        }
    }

    /// From the letter in the envelope.
    #[must_use]
    pub const fn from_letter(letter: &[u8]) -> Option<Self> {
        match letter {
            b"c" => Some(Self::Create),
            b"u" => Some(Self::Update),
            b"d" => Some(Self::Delete),
            b"r" => Some(Self::Read),
            _ => None,
        }
    }
}

/// Where a record came from: the fields of the envelope's `source`, in the order they are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Time of the event on the source (its second), or of the read; milliseconds since 1970.
    pub ts_ms: i64,
    /// Read from the table, not from the binlog.
    pub snapshot: bool,
    pub database: &'a str,
    pub table: &'a str,
    /// `server_id` of the server that wrote the event.
    pub server_id: u32,
    /// GTID of the transaction; `None` for rows that were read and for sources without GTID.
    pub gtid: Option<&'a str>,
    /// Binlog file.
    pub file: &'a str,
    /// Offset in bytes of the event in the file.
    pub offset: u64,
    /// Index of the row in the event.
    pub row: u32,
}

impl Source<'_> {
    /// Appends the fields up to and including `file`, which are the same for all rows of a table in a transaction.
    pub fn put_shared(&self, out: &mut Vec<u8>) {
        put_long(out, self.ts_ms);
        put_bytes(out, if self.snapshot { b"true" } else { b"false" });
        put_bytes(out, self.database.as_bytes());
        put_bytes(out, self.table.as_bytes());
        put_long(out, i64::from(self.server_id));
        match self.gtid {
            Some(gtid) => {
                out.push(VALUE_BRANCH);
                put_bytes(out, gtid.as_bytes());
            }
            None => out.push(NULL_BRANCH),
        }
        put_bytes(out, self.file.as_bytes());
    }
}

/// Appends the last two fields of `source`: `pos` (bytes) and `row`.
pub fn put_source_place(out: &mut Vec<u8>, offset: u64, row: u32) {
    put_long(out, i64::try_from(offset).unwrap_or(i64::MAX));
    put_long(out, i64::from(row));
}

/// Appends the fields behind `source`: `op` and `ts_ms`, when capture handled the row.
pub fn put_tail(out: &mut Vec<u8>, operation: Operation, ts_ms: i64) {
    put_bytes(out, operation.letter());
    out.push(VALUE_BRANCH);
    put_long(out, ts_ms);
}

/// The Avro schema of a topic's keys, as JSON text.
///
/// # Errors
/// [`UnsupportedType`] if a column's type is not supported yet.
pub fn key_schema(topic: &str, table: &Table) -> Result<String, UnsupportedType> {
    let fields = table.key_columns().map(|column| field(table, column)).collect::<Result<Vec<_>, _>>()?;
    let schema = json!({"type": "record", "name": "Key", "namespace": topic, "fields": fields});
    Ok(schema.to_string())
}

/// The Avro schema of a topic's values in one generation, as JSON text.
///
/// # Errors
/// [`UnsupportedType`] if a column's type is not supported yet.
pub fn value_schema(topic: &str, table: &Table, generation: u32) -> Result<String, UnsupportedType> {
    let fields = table.columns.iter().map(|column| field(table, column)).collect::<Result<Vec<_>, _>>()?;
    let row = json!({"type": "record", "name": "Value", "fields": fields});
    let source = json!({"type": "record", "name": "Source", "fields": [
        {"name": "ts_ms", "type": "long"},
        {"name": "snapshot", "type": "string"},
        {"name": "db", "type": "string"},
        {"name": "table", "type": "string"},
        {"name": "server_id", "type": "long"},
        {"name": "gtid", "type": ["null", "string"], "default": null},
        {"name": "file", "type": "string"},
        {"name": "pos", "type": "long"},
        {"name": "row", "type": "int"},
    ]});
    let schema = json!({
        "type": "record", "name": "Envelope", "namespace": topic,
        "tributary.generation": generation,
        "tributary.database": table.id.database,
        "tributary.table": table.id.table,
        "fields": [
            {"name": "before", "type": ["null", row], "default": null},
            {"name": "after", "type": ["null", "Value"], "default": null},
            {"name": "source", "type": source},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": null},
        ],
    });
    Ok(schema.to_string())
}

/// A column as a field of the row's record; the original name and type are kept as properties.
fn field(table: &Table, column: &Column) -> Result<Value, UnsupportedType> {
    let avro = match column.column_type.avro()? {
        AvroType::Int => json!("int"),
        AvroType::Long => json!("long"),
        AvroType::Float => json!("float"),
        AvroType::Double => json!("double"),
        AvroType::String => json!("string"),
        AvroType::Bytes => json!("bytes"),
        AvroType::Decimal { precision, scale } => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        AvroType::Date => json!({"type": "int", "logicalType": "date"}),
        AvroType::LocalTimestampMicros => json!({"type": "long", "logicalType": "local-timestamp-micros"}),
        AvroType::TimestampMicros => json!({"type": "long", "logicalType": "timestamp-micros"}),
        AvroType::DurationMicros => json!({"type": "long", "tributary.unit": "microseconds"}),
    };
    let mut field = json!({
        "name": mangle(&column.name),
        "tributary.column": column.name,
        "tributary.type": column.column_type.to_string(),
    });
    if let Some(object) = field.as_object_mut() {
        if table.avro_nullable(column) {
            object.insert("type".into(), json!(["null", avro]));
            object.insert("default".into(), Value::Null);
        } else {
            object.insert("type".into(), avro);
        }
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::Reader;
    use crate::table::TableId;
    use apache_avro::Schema;

    fn table() -> Table {
        let column = |id: u32, name: &str, text: &str, nullable| Column {
            nullable,
            ..Column::new(id, name, text.parse().unwrap())
        };
        Table {
            id: TableId::new("shop", "orders"),
            columns: vec![
                column(1, "id", "bigint unsigned", false),
                column(2, "när", "datetime(6)", false),
                column(3, "amount", "decimal(12,2)", true),
            ],
            key: vec![1],
            ..Table::default()
        }
    }

    #[test]
    fn schemas_are_valid_avro_and_generations_differ() {
        let table = table();
        let key = key_schema("t.shop.orders", &table).unwrap();
        Schema::parse_str(&key).unwrap();
        let (one, two) = (value_schema("t.shop.orders", &table, 1), value_schema("t.shop.orders", &table, 2));
        assert_ne!(one, two);
        let schema = Schema::parse_str(&one.unwrap()).unwrap();
        assert!(schema.canonical_form().contains("t.shop.orders.Envelope"));
    }

    #[test]
    fn the_fixed_parts_read_back() {
        let source = Source {
            ts_ms: 1_700_000_000_000,
            snapshot: false,
            database: "shop",
            table: "orders",
            server_id: 1,
            gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:5"),
            file: "binlog.000001",
            offset: 5 << 32,
            row: 3,
        };
        let mut out = Vec::new();
        source.put_shared(&mut out);
        put_source_place(&mut out, source.offset, source.row);
        put_tail(&mut out, Operation::Delete, 17);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.long(), Ok(1_700_000_000_000));
        for expected in ["false", "shop", "orders"] {
            assert_eq!(reader.bytes(), Ok(expected.as_bytes()));
        }
        assert_eq!((reader.long(), reader.some()), (Ok(1), Ok(true)));
        assert_eq!(reader.bytes().map(<[u8]>::len), Ok(38));
        assert_eq!(reader.bytes(), Ok(&b"binlog.000001"[..]));
        assert_eq!((reader.long(), reader.long()), (Ok(5 << 32), Ok(3)));
        assert_eq!(reader.bytes().map(Operation::from_letter), Ok(Some(Operation::Delete)));
        assert_eq!(reader.some(), Ok(true));
        assert_eq!(reader.long(), Ok(17));
        reader.finish().unwrap();
    }
}
