//! Building the bytes of records around an encoded row: wire header, envelope, key.

use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH};
use tributary_schemas::envelope::{Operation, put_source_place, put_tail};
use tributary_schemas::wire;

/// The parts of an envelope that differ from row to row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPlace {
    /// Offset in bytes of the event in its binlog file.
    pub offset: u64,
    /// Index of the row in its event.
    pub row: u32,
    /// What happened.
    pub operation: Operation,
    /// When capture handled the row, milliseconds since 1970.
    pub handled_ms: i64,
}

/// Appends a key: header and the key record's datum.
pub(crate) fn put_key(out: &mut Vec<u8>, schema_id: u32, datum: &[u8]) {
    wire::put_header(out, schema_id);
    out.extend_from_slice(datum);
}

/// Appends a value. `row` is the datum of the row after the change; `None` for a delete. `source` is the shared part of the
/// envelope's `source`.
pub(crate) fn put_value(
    out: &mut Vec<u8>,
    schema_id: u32,
    row: Option<&[u8]>,
    source: &[u8],
    place: RecordPlace,
) {
    wire::put_header(out, schema_id);
    out.push(NULL_BRANCH);
    match row {
        Some(row) => {
            out.push(VALUE_BRANCH);
            out.extend_from_slice(row);
        }
        None => out.push(NULL_BRANCH),
    }
    out.extend_from_slice(source);
    put_source_place(out, place.offset, place.row);
    put_tail(out, place.operation, place.handled_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::types::Value;
    use apache_avro::{Schema, from_avro_datum};
    use tributary_schemas::envelope::{Source, value_schema};
    use tributary_schemas::table::{Column, Table, TableId};

    fn table() -> Table {
        let column = Column::new(1, "id", "int".parse().unwrap());
        let id = TableId::new("shop", "t");
        Table { id, columns: vec![column], key: vec![1], ..Table::default() }
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
        for (row, operation, letter) in
            [(Some(&[0x54_u8][..]), Operation::Read, "r"), (None, Operation::Delete, "d")]
        {
            let place = RecordPlace { offset: 5 << 33, row: 2, operation, handled_ms: 99 };
            let mut value = Vec::new();
            put_value(&mut value, 8, row, &shared, place);
            let (id, mut datum) = wire::split(&value).unwrap();
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
