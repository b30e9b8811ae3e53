//! From what is stored and what the source says to the tables a session begins with. Pure: records and catalogs
//! enter; tables that run, tables that join, and the checkpoint leave, or the reason why the task cannot go on.

use super::lineage::Lineage;
use super::names::ColumnNames;
use super::table::{SchemaTexts, SequencedTable};
use super::{Joining, REREAD, Standing, publishable};
use crate::remedies;
use crate::topics::names::TopicNames;
use crate::topics::state::{TaskHistory, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tributary_config::TableSelection;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Checkpoint, TableProgress};
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;
use tributary_schemas::topic::{key_subject, value_subject};
use tributary_service::exit::Failure;
use tributary_source::catalog::CatalogTable;

/// What a session begins with.
pub(crate) struct Beginning {
    /// Where the stream begins.
    pub checkpoint: Checkpoint,
    /// The tables, with where each stood when the last session ended.
    pub tables: Vec<(SequencedTable, Standing, Resumed)>,
    /// Where the source was asked for its tables.
    pub place: Position,
    /// What the history says is selected, deselected tables left out.
    pub selected: BTreeMap<TableId, SelectedTable>,
    /// The topics that tables have, and had.
    pub names: TopicNames,
    /// The history says otherwise, and must be told.
    pub selection_changed: bool,
    /// What the history says of the topics' retention, milliseconds; `None` if it does not.
    pub retention_ms: Option<u64>,
    /// The id that the next schema gets.
    pub next_schema_id: u32,
    /// When the server was started, seconds since 1970 by its clock.
    pub source_started: Option<u64>,
}

/// What becomes of a table.
pub(crate) enum Resumed {
    /// It goes on.
    GoesOn {
        /// How far it is read.
        read: TableProgress,
        /// What the server states of it, as far as that may be compared.
        catalog: Option<Box<CatalogTable>>,
    },
    /// It stands where it stood.
    Stays,
    /// It comes in, or is read anew.
    Moves(Standing),
}

/// The selected tables of the source, at `place`.
pub(crate) struct Found {
    /// Their definitions.
    pub catalogs: Vec<CatalogTable>,
    /// Where these hold.
    pub place: Position,
    /// When the server was started, seconds since 1970 by its clock.
    pub started: Option<u64>,
}

/// What the configuration wants now.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Tables and columns.
    pub selection: &'a TableSelection,
    /// Unique indexes that serve as keys, by table.
    pub key_indexes: &'a BTreeMap<String, String>,
    /// Tables whose topic is not the one that was written any more, with the reason.
    pub lost: &'a BTreeMap<TableId, String>,
    /// Parked tables are read anew. Otherwise only those are that were about to be.
    pub retry_parked: bool,
}

/// True if a table of the source is to be captured, `all` being there. What looks like the table of a tool, but was
/// replicated before the table it seems to belong to was there, goes on.
#[must_use]
pub(crate) fn is_wanted(
    selection: &TableSelection,
    followed: &BTreeSet<TableId>,
    id: &TableId,
    all: &BTreeSet<TableId>,
) -> bool {
    selection.selects_beside(id, |other| all.contains(other))
        || followed.contains(id) && selection.selects(id)
}

/// Puts the pieces together.
///
/// # Errors
/// A [`Failure`] if the stored records contradict each other.
pub(crate) fn begin(
    task: &str,
    state: &TaskState,
    history: &TaskHistory,
    found: Found,
    wanted: Wanted<'_>,
) -> Result<Beginning, Failure> {
    let mut checkpoint = begin_at(task, state, history, &found.place)?;
    let previously: BTreeMap<TableId, SelectedTable> = history
        .selection
        .iter()
        .flat_map(|selection| &selection.tables)
        .map(|table| (table.id.clone(), table.clone()))
        .collect();
    let emptied = may_have_restarted(&checkpoint, &found);
    let Found { catalogs, place, started } = found;
    let stored = Stored { state, history, previously: &previously, emptied, place: &place, wanted };
    let (mut tables, mut selected, mut known) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for catalog in &catalogs {
        let id = &catalog.id;
        known.insert(id.clone());
        selected.extend(previously.get(id).map(|before| (id.clone(), before.clone())));
        let (table, resumed) = stored.found(catalog)?;
        if let Resumed::Moves(_) = resumed {
            checkpoint.may_be_written(id);
        }
        tables.push((table, stored.stood(id), resumed));
    }
    // A table that is gone from the source by now may still have events before its DROP. One that is not wanted any more
    // is simply left: if it is wanted again, it is read anew.
    for (id, before) in &previously {
        if wanted.selection.selects(id)
            && before.excluded.is_none()
            && !known.contains(id)
            && let Some(catalog) = state.catalog.get(id)
            && let Some(table) = stored.restore(catalog)?
        {
            known.insert(id.clone());
            selected.insert(id.clone(), before.clone());
            tables.push((table, stored.stood(id), stored.missing(id)));
        }
    }
    // What stopped a table that is neither here nor there says nothing of one that may get its name. What was published of it,
    // before it was deselected, is what such a one goes on from.
    let others: BTreeSet<&TableId> = state.parked.keys().chain(history.generations.keys()).collect();
    for id in others.into_iter().filter(|id| wanted.selection.selects(id) && !known.contains(*id)) {
        let nowhere = CatalogTable { id: id.clone(), ..CatalogTable::default() };
        let table = stored.restore(&nowhere)?.unwrap_or_else(|| SequencedTable::unpublished(id.clone()));
        tables.push((table, stored.stood(id), Resumed::Moves(Standing::Gone)));
    }
    let selection_changed = !previously.keys().eq(selected.keys());
    let next_schema_id = history.next_schema_id();
    let mut names = history.names(task);
    wanted.lost.keys().for_each(|id| names.lose(id));
    Ok(Beginning {
        checkpoint,
        tables,
        place,
        selected,
        names,
        selection_changed,
        retention_ms: history.selection.as_ref().and_then(|selection| selection.retention_ms),
        next_schema_id,
        source_started: started,
    })
}

/// Where the stream begins: at the checkpoint, or in a task that never ran at `place`.
fn begin_at(
    task: &str,
    state: &TaskState,
    history: &TaskHistory,
    place: &Position,
) -> Result<Checkpoint, Failure> {
    match &state.checkpoint {
        Some(_) if history.generations.is_empty() && !state.catalog.is_empty() => Err(Failure::new(
            "the task's checkpoint is there but its history is not",
            format!(
                "{task}.state names tables, {task}.history defines none: what their records mean is not known"
            ),
        )
        .remedy(remedies::state_lost())),
        Some(checkpoint) => Ok(checkpoint.clone()),
        None if history.generations.is_empty() => Ok(Checkpoint {
            format: FORMAT_VERSION,
            position: place.clone(),
            file_created: None,
            source_started: None,
            transaction: 0,
            partials: Vec::new(),
            undecided: Vec::new(),
        }),
        None => Err(Failure::new(
            "the task's history is there but its checkpoint is not",
            format!(
                "{task}.history names tables, {task}.state holds no position: where to go on is not known"
            ),
        )
        .remedy(remedies::state_lost())),
    }
}

/// Why a table is read anew that has no progress.
const UNREAD: &str = "nothing says how far it was read";

/// True unless the server is known to have run through since the checkpoint.
fn may_have_restarted(checkpoint: &Checkpoint, found: &Found) -> bool {
    /// Two answers of one run differ by a second or two.
    const SLACK_SECONDS: u64 = 3;
    let same_server = checkpoint.position.server_uuid == found.place.server_uuid;
    let same_run = checkpoint
        .source_started
        .zip(found.started)
        .is_some_and(|(then, now)| now <= then.saturating_add(SLACK_SECONDS));
    !(same_server && same_run)
}

/// What is stored of the tables, what became of the source meanwhile, and what is wanted now.
struct Stored<'a> {
    state: &'a TaskState,
    history: &'a TaskHistory,
    previously: &'a BTreeMap<TableId, SelectedTable>,
    /// The server may have been started anew.
    emptied: bool,
    /// Where the source was asked for its tables.
    place: &'a Position,
    wanted: Wanted<'a>,
}

impl Stored<'_> {
    /// Where the table stood when the last session ended.
    fn stood(&self, id: &TableId) -> Standing {
        self.state.parked.get(id).cloned().map_or(Standing::Streaming, Standing::Parked)
    }

    /// A table that the source has.
    fn found(&self, catalog: &CatalogTable) -> Result<(SequencedTable, Resumed), Failure> {
        let id = &catalog.id;
        let joins = |why, gap| {
            let (catalog, after) = (catalog.clone(), self.place.clone());
            Resumed::Moves(Standing::Joining(Box::new(Joining { catalog, after, why, gap })))
        };
        let Some(table) = self.restore(catalog)? else {
            return Ok((SequencedTable::unpublished(id.clone()), joins(String::new(), false)));
        };
        let parked = self.state.parked.get(id).filter(|parked| parked.code != REREAD);
        let resumed = match (self.gap(&table), self.state.progress.get(id)) {
            _ if parked.is_some() && !self.wanted.retry_parked => Resumed::Stays,
            (Some(why), _) => joins(why, true),
            // One that could not be asked states nothing that could be compared.
            (None, Some(read)) => {
                let catalog = Some(catalog.clone()).filter(|catalog| !catalog.unasked);
                Resumed::GoesOn { read: read.clone(), catalog: catalog.map(Box::new) }
            }
            (None, None) => joins(UNREAD.to_owned(), true),
        };
        Ok((table, resumed))
    }

    /// A table that was replicated, and that the source does not have any more.
    fn missing(&self, id: &TableId) -> Resumed {
        let absent = |why: &str| Standing::Absent { place: self.place.clone(), why: why.to_owned() };
        match (self.state.parked.get(id), self.wanted.lost.get(id), self.state.progress.get(id)) {
            _ if self.is_dropped(id) => Resumed::Moves(Standing::Gone),
            (Some(parked), ..) if parked.code == REREAD => Resumed::Moves(absent(&parked.message)),
            (Some(_), ..) => Resumed::Stays,
            (None, Some(why), _) => Resumed::Moves(absent(why)),
            (None, None, Some(read)) => Resumed::GoesOn { read: read.clone(), catalog: None },
            (None, None, None) => Resumed::Moves(absent(UNREAD)),
        }
    }

    /// True if the last that was published of the table is that it was dropped.
    fn is_dropped(&self, id: &TableId) -> bool {
        self.history.latest(id).is_some_and(|latest| latest.cause == Cause::Drop)
    }

    /// Why a table cannot simply go on from the checkpoint; `None` if it can.
    fn gap(&self, table: &SequencedTable) -> Option<String> {
        if let Some(parked) = self.state.parked.get(&table.id) {
            // What names a row is in the status, not in what the history and the log say of the re-read.
            let why = || format!("it was parked ({})", parked.code);
            return Some(if parked.code == REREAD { parked.message.clone() } else { why() });
        }
        if self.emptied && table.catalog.engine.eq_ignore_ascii_case("MEMORY") {
            return Some("the server was started anew, which empties a MEMORY table".to_owned());
        }
        if self.state.unproven.contains(&table.id) {
            return Some(
                "a statement left a default or labels open that nothing could prove before the restart"
                    .to_owned(),
            );
        }
        if self.is_dropped(&table.id) {
            return Some("the table was dropped and created again".to_owned());
        }
        if let Some(why) = self.wanted.lost.get(&table.id) {
            return Some(why.clone());
        }
        let now = publishable(
            self.wanted.selection,
            self.wanted.key_indexes,
            &table.catalog,
            table.highest_column_id,
            (&table.table, None),
        );
        match now {
            Ok(now) if now.columns == table.table.columns && now.key == table.table.key => {}
            Ok(_) => {
                return Some(
                    "the configuration publishes other columns of the table, or another key".to_owned(),
                );
            }
            // What must not be published any more is taken up, and refused, where it joins.
            Err(problem) => return Some(problem),
        }
        match self.previously.get(&table.id) {
            Some(SelectedTable { excluded: None, .. }) => None,
            Some(_) => Some("the table was excluded".to_owned()),
            None => Some("the table was not selected for a while".to_owned()),
        }
    }

    /// The table as its newest generation has it; `None` if it has none.
    fn restore(&self, found: &CatalogTable) -> Result<Option<SequencedTable>, Failure> {
        let Some(latest) = self.history.latest(&found.id) else { return Ok(None) };
        let partitions = match self.previously.get(&found.id) {
            Some(selected) => selected.partitions,
            None => u32::try_from(latest.barrier.len()).unwrap_or(0),
        };
        let versions = |subject: &str| {
            let of_subject = self.history.schemas.values().filter(|schema| schema.subject == subject);
            of_subject.map(|schema| schema.version).max().unwrap_or(0)
        };
        // Every generation of a topic has the next version, so that the newest has the highest.
        let value_versions = latest.value_version.unwrap_or_else(|| versions(&value_subject(&latest.topic)));
        let key = key_schema(&latest.topic, &latest.table).map_err(|error| {
            Failure::new("the history holds a table that this version cannot read", error)
        })?;
        let schemas =
            SchemaTexts { key, key_versions: versions(&key_subject(&latest.topic)), value_versions };
        let generations = self.history.generations.get(&found.id);
        let (mut names, mut highest_column_id) = (ColumnNames::default(), 0);
        for generation in generations.into_iter().flat_map(BTreeMap::values) {
            names.record(generation.generation, &generation.table);
            let ids = generation.table.columns.iter().map(|column| column.id);
            highest_column_id = ids.max().unwrap_or(0).max(highest_column_id);
        }
        Ok(Some(SequencedTable {
            id: found.id.clone(),
            topic: latest.topic.as_str().into(),
            partitions,
            catalog: self.state.catalog.get(&found.id).unwrap_or(found).clone(),
            table: Arc::new(latest.table.clone()),
            highest_column_id,
            names,
            lineage: lineage(self.history, &found.id),
            generation: latest.generation,
            key_schema_id: latest.key_schema_id,
            value_schema_id: latest.value_schema_id,
            schemas,
            disagreed: None,
        }))
    }
}

/// The generations of a table as the history has them.
fn lineage(history: &TaskHistory, id: &TableId) -> Lineage {
    let mut lineage = Lineage::new(history.retired.get(id));
    let written_ms = history.written_ms.get(id);
    let mut previous = None;
    for record in history.generations.get(id).into_iter().flat_map(BTreeMap::values) {
        let schema = || history.schemas.get(&record.value_schema_id);
        let text = if record.value_version.is_some() { None } else { schema() }.map(|stored| {
            let derived = value_schema(&record.topic, &record.table, record.generation);
            (stored.subject.clone(), stored.version, derived.is_ok_and(|derived| derived == stored.schema))
        });
        let written_ms = written_ms.and_then(|all| all.get(&record.generation)).copied().unwrap_or(i64::MAX);
        lineage.restore(previous, record, written_ms, text);
        previous = Some(record.as_ref());
    }
    lineage
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
