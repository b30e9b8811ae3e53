//! Keys and values of a table's topic, as capture would write them.

use crate::support::{Row, Topic, column};
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH, put_bytes, put_long};
use tributary_schemas::envelope::{Operation, Source, put_source_place, put_tail};
use tributary_schemas::table::ColumnDefault;
use tributary_schemas::wire::put_header;

impl Topic {
    pub(crate) fn key(&self, id: i32) -> Vec<u8> {
        let mut key = Vec::new();
        put_header(&mut key, self.key_schema_id);
        put_long(&mut key, i64::from(id));
        key
    }

    pub(crate) fn value(&self, operation: Operation, (id, texts): Row<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put_header(&mut out, self.value_schema_id);
        out.push(NULL_BRANCH);
        if operation == Operation::Delete {
            out.push(NULL_BRANCH);
        } else {
            out.push(VALUE_BRANCH);
            put_long(&mut out, i64::from(id));
            for (column, text) in self.table.columns.iter().skip(1).zip(texts) {
                match (column.nullable, text) {
                    (true, None) => out.push(NULL_BRANCH),
                    (true, Some(text)) => {
                        out.push(VALUE_BRANCH);
                        put_bytes(&mut out, text.as_bytes());
                    }
                    (false, text) => put_bytes(&mut out, text.unwrap_or_default().as_bytes()),
                }
            }
        }
        let source = Source {
            ts_ms: 0,
            snapshot: operation == Operation::Read,
            database: "shop",
            table: &self.table.id.table,
            server_id: 1,
            gtid: None,
            file: "binlog.000001",
            offset: 4,
            row: 0,
        };
        source.put_shared(&mut out);
        put_source_place(&mut out, source.offset, source.row);
        put_tail(&mut out, operation, 0);
        out
    }

    /// Adds a VARCHAR column; `default` for NOT NULL.
    pub(crate) fn add_column(&mut self, name: &str, default: Option<&str>) {
        let id = self.table.columns.iter().map(|column| column.id).max().unwrap() + 1;
        let mut added = column(id, name, "varchar(50)", default.is_none());
        added.default = default.map(|text| ColumnDefault::Constant(text.to_owned()));
        self.table.columns.push(added);
    }
}
