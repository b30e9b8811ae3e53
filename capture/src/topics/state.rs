//! What a new leader goes on from: the state and history topics, read to their last stable offset after
//! `init_transactions` has ended what a predecessor left open.

use super::names::TopicNames;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tributary_schemas::checkpoint::{Checkpoint, Leader, Parked, TableProgress};
use tributary_schemas::history::{
    Cause, DerivedSchema, GenerationRecord, LoadRecord, RegisteredSchema, RetiredRecord, SchemaRecord,
    SelectionRecord,
};
use tributary_schemas::record::{HistoryRecord, RecordError, StateRecord};
use tributary_schemas::table::TableId;
use tributary_service::kafka::Record;
use tributary_source::catalog::CatalogTable;

/// What a [`StateRecord::Catalog`] holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCatalog {
    #[serde(flatten)]
    pub table: CatalogTable,
    /// A part of it is the server's word at a place that the stream had not reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl StoredCatalog {
    /// A table with nothing left open.
    #[must_use]
    pub(crate) const fn proven(table: CatalogTable) -> Self {
        Self { table, unproven: false }
    }
}

/// The state topic's content.
#[derive(Debug, Default)]
pub(crate) struct TaskState {
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
pub(crate) struct TaskHistory {
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
    /// Reads the records of `topic`.
    pub(crate) fn parse(topic: &str, records: &[Record]) -> Result<Self, RecordError> {
        let mut state = Self::default();
        for raw in records.iter().map(|record| record.of(topic)) {
            match raw.state()? {
                StateRecord::Leader(leader) => state.leader = Some(leader),
                StateRecord::Checkpoint(checkpoint) => state.checkpoint = Some(checkpoint),
                StateRecord::Progress(table, progress) => drop(state.progress.insert(table, progress)),
                StateRecord::Catalog(table, stored) => {
                    let stored: StoredCatalog =
                        serde_json::from_slice(stored).map_err(|error| raw.foreign(&error))?;
                    if stored.unproven {
                        state.unproven.insert(table.clone());
                    }
                    state.catalog.insert(table, stored.table);
                }
                StateRecord::Parked(table, parked) if parked.active => {
                    state.parked.insert(table, parked);
                }
                StateRecord::Parked(..) | StateRecord::Removed(_) => {}
            }
        }
        Ok(state)
    }
}

impl TaskHistory {
    /// Reads the records of `topic`.
    pub(crate) fn parse(topic: &str, records: &[Record]) -> Result<Self, RecordError> {
        let mut history = Self::default();
        for record in records {
            let raw = record.of(topic);
            match raw.history()? {
                HistoryRecord::Schema(schema) => drop(history.schemas.insert(schema.id, schema)),
                HistoryRecord::Selection(selection) => history.selection = Some(selection),
                HistoryRecord::Load(id, load) => drop(history.loads.insert(id, load)),
                HistoryRecord::Generation(id, stored) => {
                    let known = history.generations.entry(id.clone()).or_default();
                    let record_of = |holder| known.get(&holder).map(|record| record.table.clone());
                    let generation = stored.resolve(record_of).map_err(|error| raw.foreign(&error))?;
                    let dated = history.written_ms.entry(id).or_default();
                    dated.insert(generation.generation, record.written_ms);
                    known.insert(generation.generation, Arc::new(generation));
                }
                HistoryRecord::Retired(id, retired) => drop(history.retired.insert(id, retired)),
                HistoryRecord::Removed(_) => {}
            }
        }
        Ok(history)
    }

    /// The id that the next schema gets.
    #[must_use]
    pub(crate) fn next_schema_id(&self) -> u32 {
        let stored = self.schemas.keys().copied();
        let derived =
            self.generations.values().flat_map(BTreeMap::values).map(|record| record.value_schema_id);
        stored.chain(derived).max().unwrap_or(0) + 1
    }

    /// Every schema, for a registry.
    pub(crate) fn registered(&self) -> impl Iterator<Item = RegisteredSchema> {
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
    pub(crate) fn names(&self, task: &str) -> TopicNames {
        let mut names = TopicNames::new(task);
        for (id, generations) in &self.generations {
            generations.values().for_each(|record| names.record(id, &record.topic));
        }
        names
    }

    /// The newest generation of a table.
    #[must_use]
    pub(crate) fn latest(&self, table: &TableId) -> Option<&GenerationRecord> {
        self.generations
            .get(table)
            .and_then(|generations| generations.values().next_back())
            .map(AsRef::as_ref)
    }

    /// The tables that are replicated, those left out that are gone from the source.
    #[must_use]
    pub(crate) fn followed(&self) -> BTreeSet<TableId> {
        let selected = self.selection.iter().flat_map(|selection| &selection.tables);
        let followed = selected.filter(|table| {
            let latest = self.latest(&table.id);
            table.excluded.is_none() && latest.is_some_and(|latest| latest.cause != Cause::Drop)
        });
        followed.map(|table| table.id.clone()).collect()
    }
}
