//! A selected table as the sequencer holds it: its definition at the stream's position, and what a new generation of
//! it writes to the history.

use super::lineage::{Kept, Lineage};
use super::names::ColumnNames;
use super::park::cut;
use serde::Serialize;
use std::sync::Arc;
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::history::{
    Cause, DerivedSchema, GENERATION_FORMAT, GenerationRecord, HistoryKey, RegisteredSchema, SchemaRecord,
};
use tributary_schemas::position::Position;
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::key_subject;
use tributary_schemas::types::UnsupportedType;
use tributary_source::catalog::CatalogTable;

/// One selected table.
#[derive(Debug, Clone)]
pub(crate) struct SequencedTable {
    /// Name on the source.
    pub id: TableId,
    pub topic: Arc<str>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// All columns, published or not, at the stream's position.
    pub catalog: CatalogTable,
    /// The published part of it.
    pub table: Arc<Table>,
    /// Highest column id ever given.
    pub highest_column_id: u32,
    /// What its names stood for, in all generations.
    pub names: ColumnNames,
    /// Its generations, as far as the history has a record of each.
    pub lineage: Lineage,
    /// Number of the definition; 0 before the first one is published.
    pub generation: u32,
    pub key_schema_id: u32,
    /// Schema id of the values of this generation.
    pub value_schema_id: u32,
    /// The schemas' texts and versions, to tell what is new.
    pub schemas: SchemaTexts,
    /// How the definition was at odds with the rows last, until rows can be read again.
    pub disagreed: Option<String>,
}

/// What the registry holds for a table's subjects.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaTexts {
    /// Text of the key's schema.
    pub key: String,
    /// Versions under the key's subject.
    pub key_versions: u32,
    /// Versions under the value's subject.
    pub value_versions: u32,
}

/// As much of a statement as a generation's record holds: it is there to be read by people.
const STATEMENT_BYTES: usize = 16 * 1024;

/// What made a generation, as far as the table itself does not say it.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Kind of change.
    pub cause: Cause,
    /// The DDL; empty where none did it.
    pub statement: String,
    /// Barrier offset of each partition.
    pub barrier: Vec<i64>,
    /// When the record is written, milliseconds since 1970.
    pub written_ms: i64,
    /// Ordinal of the source transaction.
    pub transaction: u64,
    /// Where it is.
    pub position: Position,
}

/// Records for the history topic, keys and values; and the schemas among them, for the registry.
#[derive(Debug, Default)]
pub(crate) struct HistoryRecords {
    /// JSON key and value; no value removes what the key had.
    pub records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The new schemas.
    pub schemas: Vec<RegisteredSchema>,
}

/// A record of the task's own topics as JSON. None of these types has a map with keys that are not strings, nor a place where
/// encoding could fail.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record)
        .unwrap_or_else(|error| unreachable!("a record of the task cannot be encoded: {error}"))
}

impl HistoryRecords {
    /// Adds a record.
    pub(crate) fn push<V: Serialize>(&mut self, key: &HistoryKey, value: &V) {
        self.records.push((encode(key), Some(encode(value))));
    }

    /// Removes the record of this key.
    pub(crate) fn remove(&mut self, key: &HistoryKey) {
        self.records.push((encode(key), None));
    }

    /// Adds what another table wrote.
    pub(crate) fn append(&mut self, other: Self) {
        self.records.extend(other.records);
        self.schemas.extend(other.schemas);
    }

    /// Bytes of the largest record.
    #[must_use]
    pub(crate) fn largest(&self) -> usize {
        let size = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        self.records.iter().map(size).max().unwrap_or(0)
    }

    fn push_schema(&mut self, subject: String, version: u32, id: u32, schema: String) {
        let record = SchemaRecord { subject: subject.clone(), version, id, schema, deleted: false };
        self.push(&HistoryKey::Schema { subject, version, magic: 1 }, &record);
        self.schemas.push(record.into());
    }
}

impl SequencedTable {
    /// A table of which nothing is known but its name.
    #[must_use]
    pub(crate) fn unpublished(id: TableId) -> Self {
        Self {
            topic: "".into(),
            partitions: 0,
            catalog: CatalogTable { id: id.clone(), ..CatalogTable::default() },
            table: Arc::new(Table { id: id.clone(), ..Table::default() }),
            id,
            highest_column_id: 0,
            names: ColumnNames::default(),
            lineage: Lineage::default(),
            generation: 0,
            key_schema_id: 0,
            value_schema_id: 0,
            schemas: SchemaTexts::default(),
            disagreed: None,
        }
    }

    /// True once the history has a generation of it.
    #[must_use]
    pub(crate) const fn is_published(&self) -> bool {
        self.generation > 0
    }

    /// Moves to the generation after this one (from 0: to the first), with `table` as its definition, and adds what
    /// the history must hold of it. `next_schema_id` is moved past the ids that are given.
    ///
    /// # Errors
    /// [`UnsupportedType`]; nothing has changed then.
    pub(crate) fn advance(
        &mut self,
        table: Table,
        origin: Origin,
        next_schema_id: &mut u32,
        out: &mut HistoryRecords,
    ) -> Result<(), UnsupportedType> {
        let generation = self.generation + 1;
        let key = key_schema(&self.topic, &table)?;
        // Readers derive the schema of the values from the definition: one that has none is found here.
        value_schema(&self.topic, &table, generation)?;
        if key != self.schemas.key {
            self.schemas.key_versions += 1;
            self.key_schema_id = take(next_schema_id);
            self.schemas.key.clone_from(&key);
            out.push_schema(key_subject(&self.topic), self.schemas.key_versions, self.key_schema_id, key);
        }
        self.schemas.value_versions += 1;
        self.value_schema_id = take(next_schema_id);
        self.generation = generation;
        let highest = table.columns.iter().map(|column| column.id).max().unwrap_or(0);
        self.highest_column_id = self.highest_column_id.max(highest);
        self.names.record(generation, &table);
        let holder = self.lineage.holder();
        let same_as = holder.filter(|_| *self.table == table);
        let mut record = GenerationRecord {
            format: GENERATION_FORMAT,
            topic: self.topic.to_string(),
            generation,
            table: table.clone(),
            same_as,
            cause: origin.cause,
            statement: cut(&origin.statement, STATEMENT_BYTES).into_owned(),
            barrier: origin.barrier,
            key_schema_id: self.key_schema_id,
            value_schema_id: self.value_schema_id,
            value_version: Some(self.schemas.value_versions),
            incarnation: None,
            transaction: origin.transaction,
            position: origin.position,
        };
        if holder.is_none() {
            record.incarnation = Some(record.incarnation(origin.written_ms));
        }
        self.lineage.record(Kept {
            generation,
            holder: record.holder(),
            cause: record.cause,
            written_ms: origin.written_ms,
            version: self.schemas.value_versions,
            id: self.value_schema_id,
            stored_schema: None,
            derivable: true,
        });
        let (database, name) = (self.id.database.clone(), self.id.table.clone());
        let key = HistoryKey::Table { database, table: name, generation };
        let record = Arc::new(record);
        out.schemas.extend(DerivedSchema::of(&record).map(RegisteredSchema::from));
        out.push(&key, &GenerationRecord::clone(&record).stored());
        self.table = Arc::new(table);
        Ok(())
    }

    /// The records that leave the history, behind what stays of them: a reader may stop between two, and has to know what it
    /// does not find. `None` if one has more than `most_bytes`: nothing leaves then. See [`Lineage::retire`].
    pub(crate) fn retire(
        &mut self,
        horizon_ms: i64,
        loading_since: Option<u32>,
        most_bytes: usize,
    ) -> Option<HistoryRecords> {
        let (mut lineage, mut out) = (self.lineage.clone(), HistoryRecords::default());
        let gone = lineage.retire(horizon_ms, loading_since);
        if gone.is_empty() {
            return Some(out);
        }
        let (database, table) = (self.id.database.clone(), self.id.table.clone());
        let key = HistoryKey::Retired { database: database.clone(), table: table.clone() };
        out.push(&key, &lineage.retired);
        for kept in gone {
            let (database, table) = (database.clone(), table.clone());
            out.remove(&HistoryKey::Table { database, table, generation: kept.generation });
            if let Some(subject) = kept.stored_schema {
                out.remove(&HistoryKey::Schema { subject, version: kept.version, magic: 1 });
            }
        }
        if out.largest() > most_bytes {
            return None;
        }
        self.lineage = lineage;
        Some(out)
    }
}

fn take(next: &mut u32) -> u32 {
    let id = *next;
    *next += 1;
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::Column;

    fn definition(columns: u32) -> Table {
        let column = |id: u32| Column {
            nullable: id > 1,
            ..Column::new(id, format!("c{id}"), "int".parse().unwrap())
        };
        let id = TableId::new("shop", "orders");
        Table { id, columns: (1..=columns).map(column).collect(), key: vec![1], ..Table::default() }
    }

    fn origin(cause: Cause) -> Origin {
        let (position, written_ms) = (Position::default(), 5);
        Origin { cause, statement: String::new(), barrier: vec![0], written_ms, transaction: 1, position }
    }

    #[test]
    fn the_key_keeps_its_schema_while_every_generation_has_its_own_for_values() {
        let mut table = SequencedTable {
            topic: "t.shop.orders".into(),
            partitions: 1,
            ..SequencedTable::unpublished(TableId::new("shop", "orders"))
        };
        let (mut next, mut out) = (7, HistoryRecords::default());
        table.advance(definition(1), origin(Cause::Initial), &mut next, &mut out).unwrap();
        assert_eq!((table.key_schema_id, table.value_schema_id, out.records.len()), (7, 8, 2));
        table.advance(definition(2), origin(Cause::Alter), &mut next, &mut out).unwrap();
        assert_eq!((table.key_schema_id, table.value_schema_id, out.records.len()), (7, 9, 3));
        table.advance(definition(2), origin(Cause::Truncate), &mut next, &mut out).unwrap();
        assert_eq!((table.key_schema_id, table.value_schema_id, next), (7, 10, 11));
        assert_eq!((table.generation, table.highest_column_id), (3, 2));
        let stored = |place: usize| {
            let text = String::from_utf8(out.records[place].1.clone().unwrap()).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        assert!(stored(1)["incarnation"].is_string() && stored(2)["incarnation"].is_null());
        assert_eq!((&stored(3)["same_as"], &stored(3)["table"]), (&2.into(), &serde_json::Value::Null));
        assert!(out.records[3].1.as_ref().unwrap().len() < 400);
        assert_eq!(out.schemas.len(), 4, "each has its schema, wherever its text is");
        table.advance(definition(2), origin(Cause::Reset), &mut next, &mut out).unwrap();
        assert!(table.retire(5, None, 100).is_none(), "what would stay does not fit");
        let left = table.retire(5, None, 1000).unwrap().records;
        let values: Vec<bool> = left.iter().map(|(_, value)| value.is_some()).collect();
        assert_eq!(values, [true, false], "the number stays, and only then the TRUNCATE goes");
        assert!(String::from_utf8_lossy(&left[0].0).contains("RETIRED"));
        assert!(table.retire(5, None, 1000).unwrap().records.is_empty());
    }
}
