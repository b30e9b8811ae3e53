//! Building the bytes of records around an encoded row: wire header, envelope, key.

use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH};
use tributary_schemas::envelope::{Operation, put_source_place, put_tail};
use tributary_schemas::wire;

/// Buffers of one record, reused from row to row.
#[derive(Debug, Default)]
pub struct RecordBuffer {
    /// Wire-format key.
    pub key: Vec<u8>,
    /// Wire-format value.
    pub value: Vec<u8>,
}

/// The parts of an envelope that differ from row to row.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Offset in bytes of the event in its binlog file.
    pub offset: u64,
    /// Index of the row in its event.
    pub row: u32,
    /// What happened.
    pub operation: Operation,
    /// When capture handled the row, milliseconds since 1970.
    pub handled_ms: i64,
}

impl RecordBuffer {
    /// Writes the key: header and the key record's datum.
    pub fn put_key(&mut self, schema_id: u32, datum: &[u8]) {
        self.key.clear();
        wire::put_header(&mut self.key, schema_id);
        self.key.extend_from_slice(datum);
    }

    /// Writes the value. `row` is the datum of the row after the change; `None` for a delete. `source` is the shared
    /// part of the envelope's `source`.
    pub fn put_value(&mut self, schema_id: u32, row: Option<&[u8]>, source: &[u8], place: Place) {
        self.value.clear();
        wire::put_header(&mut self.value, schema_id);
        self.value.push(NULL_BRANCH);
        match row {
            Some(row) => {
                self.value.push(VALUE_BRANCH);
                self.value.extend_from_slice(row);
            }
            None => self.value.push(NULL_BRANCH),
        }
        self.value.extend_from_slice(source);
        put_source_place(&mut self.value, place.offset, place.row);
        put_tail(&mut self.value, place.operation, place.handled_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::types::Value;
    use apache_avro::{Schema, from_avro_datum};
    use tributary_schemas::envelope::{Source, value_schema};
    use tributary_schemas::table::{Column, Table, TableId};

    fn table() -> Table {
        let column = Column {
            id: 1,
            ordinal: 0,
            name: "id".into(),
            column_type: "int".parse().unwrap(),
            nullable: false,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            auto_increment: false,
        };
        let id = TableId::new("shop", "t");
        Table { id, columns: vec![column], key: vec![1], indexes: vec![], comment: String::new() }
    }

    #[test]
    fn the_envelope_is_what_the_schema_says() {
        let schema = Schema::parse_str(&value_schema("task.shop.t", &table(), 3).unwrap()).unwrap();
        let source = Source {
            ts_ms: 1000,
            snapshot: true,
            database: "shop",
            table: "t",
            server_id: 7,
            gtid: None,
            file: "binlog.000009",
            offset: 0,
            row: 0,
        };
        let mut shared = Vec::new();
        source.put_shared(&mut shared);
        let mut record = RecordBuffer::default();
        for (row, operation, letter) in
            [(Some(&[0x54_u8][..]), Operation::Read, "r"), (None, Operation::Delete, "d")]
        {
            let place = Place { offset: 5 << 33, row: 2, operation, handled_ms: 99 };
            record.put_value(8, row, &shared, place);
            let (id, mut datum) = wire::split(&record.value).unwrap();
            assert_eq!(id, 8);
            let Value::Record(fields) = from_avro_datum(&schema, &mut datum, None).unwrap() else {
                panic!("not a record")
            };
            assert!(datum.is_empty());
            let field = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
            assert_eq!(field("op"), Value::String(letter.into()));
            assert_eq!(field("before"), Value::Union(0, Box::new(Value::Null)));
            assert_eq!(matches!(field("after"), Value::Union(1, _)), row.is_some());
            let Value::Record(source) = field("source") else { panic!("source is not a record") };
            assert!(source.contains(&("pos".into(), Value::Long(5 << 33))));
        }
    }
}
