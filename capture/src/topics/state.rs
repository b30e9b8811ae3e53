//! What a new leader goes on from: the state and history topics, read to their last stable offset after
//! `init_transactions` has ended what a predecessor left open. Bytes enter, typed records leave; a record of a newer
//! format is refused, not guessed at.

use super::names::TopicNames;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Checkpoint, Leader, Parked, StateKey, TableProgress};
use tributary_schemas::history::{
    Cause, DerivedSchema, GenerationRecord, HistoryKey, LoadRecord, RegisteredSchema, RetiredRecord,
    SchemaRecord, SelectionRecord, StoredGeneration,
};
use tributary_schemas::table::TableId;
use tributary_service::kafka::Record;
use tributary_source::catalog::CatalogTable;

/// A record of the state or history topic that this binary cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Written by a newer version.
    #[error("topic {topic} holds format version {found}, this binary knows {known}: upgrade it")]
    Newer {
        /// Topic.
        topic: String,
        /// Version of the record.
        found: u32,
        /// The newest version of records of its kind that this binary reads.
        known: u32,
    },
    /// Not one of ours.
    #[error("topic {topic} offset {offset} holds a record that Tributary did not write: {reason}")]
    Foreign {
        /// Topic.
        topic: String,
        /// Offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Value under [`StateKey::Catalog`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredCatalog {
    /// The table.
    #[serde(flatten)]
    pub table: CatalogTable,
    /// A part of it is the server's word at a place that the stream had not reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl StoredCatalog {
    /// A table with nothing left open.
    #[must_use]
    pub const fn proven(table: CatalogTable) -> Self {
        Self { table, unproven: false }
    }
}

/// The state topic's content.
#[derive(Debug, Default)]
pub struct TaskState {
    /// The last leader.
    pub leader: Option<Leader>,
    /// How far the stream is published; `None` for a task that never ran.
    pub checkpoint: Option<Checkpoint>,
    /// How far each table is read.
    pub progress: BTreeMap<TableId, TableProgress>,
    /// Full tables at the checkpoint.
    pub catalog: BTreeMap<TableId, CatalogTable>,
    /// Those of them that stand on an unproven word of the server.
    pub unproven: BTreeSet<TableId>,
    /// Tables that stopped.
    pub parked: BTreeMap<TableId, Parked>,
}

/// The history topic's content.
#[derive(Debug, Default)]
pub struct TaskHistory {
    /// The selected tables.
    pub selection: Option<SelectionRecord>,
    /// Generations by table, in order.
    pub generations: BTreeMap<TableId, BTreeMap<u32, Arc<GenerationRecord>>>,
    /// When the record of each was written, milliseconds since 1970.
    pub written_ms: BTreeMap<TableId, BTreeMap<u32, i64>>,
    /// Generations that have no record any more.
    pub retired: BTreeMap<TableId, RetiredRecord>,
    /// Every schema whose text is stored, by its id.
    pub schemas: BTreeMap<u32, SchemaRecord>,
    /// Initial loads.
    pub loads: BTreeMap<TableId, LoadRecord>,
}

impl TaskState {
    /// Parses the records of `topic`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn parse(topic: &str, records: &[Record]) -> Result<Self, StateError> {
        let mut state = Self::default();
        for Record { key, value, offset, .. } in records {
            let Some(value) = value else { continue };
            let read = Read { topic, offset: *offset, value, known: FORMAT_VERSION };
            match read.key(key)? {
                StateKey::Leader => state.leader = Some(read.versioned()?),
                StateKey::Checkpoint => state.checkpoint = Some(read.versioned()?),
                StateKey::Progress(table) => {
                    state.progress.insert(table, read.versioned()?);
                }
                StateKey::Catalog(table) => {
                    let stored: StoredCatalog = read.json()?;
                    if stored.unproven {
                        state.unproven.insert(table.clone());
                    }
                    state.catalog.insert(table, stored.table);
                }
                StateKey::Parked(table) => {
                    let parked: Parked = read.versioned()?;
                    if parked.active {
                        state.parked.insert(table, parked);
                    }
                }
            }
        }
        Ok(state)
    }
}

impl TaskHistory {
    /// Parses the records of `topic`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn parse(topic: &str, records: &[Record]) -> Result<Self, StateError> {
        let mut history = Self::default();
        for Record { key, value, offset, written_ms } in records {
            let Some(value) = value else { continue };
            let read = Read { topic, offset: *offset, value, known: FORMAT_VERSION };
            let key: HistoryKey = read.key(key)?;
            let read = Read { known: key.format(), ..read };
            match key {
                HistoryKey::Schema { .. } => {
                    let schema: SchemaRecord = read.json()?;
                    history.schemas.insert(schema.id, schema);
                }
                HistoryKey::Selection => history.selection = Some(read.versioned()?),
                HistoryKey::Load { database, table } => {
                    history.loads.insert(TableId::new(database, table), read.versioned()?);
                }
                HistoryKey::Table { database, table, generation } => {
                    let id = TableId::new(database, table);
                    let stored: StoredGeneration = read.versioned()?;
                    let known = history.generations.entry(id.clone()).or_default();
                    let record = stored
                        .resolve(|holder| known.get(&holder).map(|record| record.table.clone()))
                        .map_err(|error| read.foreign(&error))?;
                    known.insert(generation, Arc::new(record));
                    history.written_ms.entry(id).or_default().insert(generation, *written_ms);
                }
                HistoryKey::Retired { database, table } => {
                    history.retired.insert(TableId::new(database, table), read.versioned()?);
                }
            }
        }
        Ok(history)
    }

    /// The id that the next schema gets.
    #[must_use]
    pub fn next_schema_id(&self) -> u32 {
        let stored = self.schemas.keys().copied();
        let derived =
            self.generations.values().flat_map(BTreeMap::values).map(|record| record.value_schema_id);
        stored.chain(derived).max().unwrap_or(0) + 1
    }

    /// Every schema, for a registry.
    pub fn registered(&self) -> impl Iterator<Item = RegisteredSchema> {
        let stored = self.schemas.values().cloned().map(RegisteredSchema::from);
        let live = self.generations.values().flat_map(BTreeMap::values).filter_map(DerivedSchema::of);
        let retired = self.retired.iter().flat_map(|(id, retired)| {
            let holders = self.generations.get(id);
            let held = retired.runs.iter().filter_map(move |run| Some((holders?.get(&run.same_as)?, run)));
            held.flat_map(|(holder, run)| DerivedSchema::of_run(holder, run))
        });
        stored.chain(live.chain(retired).map(RegisteredSchema::from))
    }

    /// The topics that its tables have, and had, as names of `task`.
    #[must_use]
    pub fn names(&self, task: &str) -> TopicNames {
        let mut names = TopicNames::new(task);
        for (id, generations) in &self.generations {
            generations.values().for_each(|record| names.record(id, &record.topic));
        }
        names
    }

    /// The newest generation of a table.
    #[must_use]
    pub fn latest(&self, table: &TableId) -> Option<&GenerationRecord> {
        self.generations
            .get(table)
            .and_then(|generations| generations.values().next_back())
            .map(AsRef::as_ref)
    }

    /// The tables that are replicated, those left out that are gone from the source.
    #[must_use]
    pub fn followed(&self) -> BTreeSet<TableId> {
        let selected = self.selection.iter().flat_map(|selection| &selection.tables);
        let followed = selected.filter(|table| {
            let latest = self.latest(&table.id);
            table.excluded.is_none() && latest.is_some_and(|latest| latest.cause != Cause::Drop)
        });
        followed.map(|table| table.id.clone()).collect()
    }
}

/// One record being read.
struct Read<'a> {
    topic: &'a str,
    offset: i64,
    value: &'a [u8],
    /// The newest format that can be read.
    known: u32,
}

impl Read<'_> {
    fn key<K: DeserializeOwned>(&self, key: &[u8]) -> Result<K, StateError> {
        serde_json::from_slice(key).map_err(|error| self.foreign(&error))
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, StateError> {
        serde_json::from_slice(self.value).map_err(|error| self.foreign(&error))
    }

    /// Looks at the format version before the rest: a newer layout need not parse.
    fn versioned<T: DeserializeOwned>(&self) -> Result<T, StateError> {
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = self.json()?;
        if format > self.known {
            return Err(StateError::Newer { topic: self.topic.to_owned(), found: format, known: self.known });
        }
        self.json()
    }

    fn foreign(&self, error: &impl ToString) -> StateError {
        StateError::Foreign { topic: self.topic.to_owned(), offset: self.offset, reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Record {
        Record { key: key.into(), value: Some(value.into()), offset: 7, written_ms: 0 }
    }

    #[test]
    fn a_newer_format_is_refused_before_its_layout_is_read() {
        let records = [record(r#"{"kind":"checkpoint"}"#, r#"{"format":99,"shape":"unknown"}"#)];
        let error = TaskState::parse("t.state", &records).unwrap_err();
        assert_eq!(error, StateError::Newer { topic: "t.state".into(), found: 99, known: FORMAT_VERSION });
    }

    #[test]
    fn a_foreign_record_is_named_by_its_offset() {
        let records = [record("hello", "world")];
        let error = TaskHistory::parse("t.history", &records).unwrap_err();
        assert!(matches!(error, StateError::Foreign { offset: 7, .. }), "{error}");
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_is_written() {
        let checkpoint = Checkpoint {
            format: FORMAT_VERSION,
            position: tributary_schemas::position::Position {
                gtid_set: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap(),
                file: "binlog.000002".into(),
                offset: 4,
                server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(),
            },
            file_created: Some(1_700_000_000),
            source_started: Some(1_699_000_000),
            transaction: 9,
            partials: Vec::new(),
            undecided: Vec::new(),
        };
        let records = [record(r#"{"kind":"checkpoint"}"#, &serde_json::to_string(&checkpoint).unwrap())];
        assert_eq!(TaskState::parse("t.state", &records).unwrap().checkpoint, Some(checkpoint));
    }
}
