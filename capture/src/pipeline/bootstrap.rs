//! From what is stored and what the source says to the tables a session begins with. Pure: records and catalogs
//! enter; tables that run, tables that join, and the checkpoint leave, or the reason why the task cannot go on.

use crate::remedies;
use crate::sequencer::lineage::Lineage;
use crate::sequencer::names::ColumnNames;
use crate::sequencer::table::{SchemaTexts, SequencedTable, Standing};
use crate::sequencer::{Absent, Expectations, Joining, REREAD, publishable};
use crate::topics::names::TopicNames;
use crate::topics::state::{TaskHistory, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Checkpoint, Parked, TableProgress};
use tributary_schemas::config::TableSelection;
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;
use tributary_schemas::topic::{key_subject, value_subject};
use tributary_service::exit::Failure;
use tributary_source::catalog::CatalogTable;

/// What a session begins with.
pub struct Beginning {
    /// Where the stream begins.
    pub checkpoint: Checkpoint,
    /// Tables that go on, with how far they are read.
    pub running: Vec<(SequencedTable, Option<TableProgress>)>,
    /// Tables that come in, or return from a gap.
    pub joining: Vec<Joining>,
    /// Tables to be read anew that the source does not have any more.
    pub absent: Absent,
    /// What the server states of the tables that go on.
    pub expected: Expectations,
    /// What the history says is selected, deselected tables left out.
    pub selected: BTreeMap<TableId, SelectedTable>,
    /// The topics that tables have, and had.
    pub names: TopicNames,
    /// The history says otherwise, and must be told.
    pub selection_changed: bool,
    /// The id that the next schema gets.
    pub next_schema_id: u32,
    /// When the server was started, seconds since 1970 by its clock.
    pub source_started: Option<u64>,
}

/// The selected tables of the source, at `place`.
pub struct Found {
    /// Their definitions.
    pub catalogs: Vec<CatalogTable>,
    /// Where these hold.
    pub place: Position,
    /// When the server was started, seconds since 1970 by its clock.
    pub started: Option<u64>,
}

/// What the configuration wants now.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
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
pub fn is_wanted(
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
pub fn begin(
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
    let (mut running, mut joining, mut selected) = (Vec::new(), Vec::new(), BTreeMap::new());
    let (mut expected, mut absent) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for catalog in &found.catalogs {
        let id = catalog.id.clone();
        seen.insert(id.clone());
        if let Some(before) = previously.get(&id) {
            selected.insert(id.clone(), before.clone());
        }
        let table = restore(history, &previously, state, catalog)?;
        let gap = gap(state, &previously, table.as_ref(), emptied, wanted);
        let parked = state.parked.get(&id).filter(|parked| parked.code != REREAD);
        if let Some(mut table) = table {
            if parked.is_some() && !wanted.retry_parked {
                table.standing = Standing::Parked;
                running.push((table, None));
                continue;
            }
            if gap.is_none() {
                let progress = state.progress.get(&id).cloned();
                running.push((table, progress));
                // One that could not be asked states nothing that could be compared.
                if !catalog.unasked {
                    expected.push(catalog.clone());
                }
                continue;
            }
            table.standing = Standing::Parked;
            running.push((table, None));
        }
        let (catalog, after) = (catalog.clone(), found.place.clone());
        joining.push(Joining { catalog, after, why: gap.unwrap_or_default() });
    }
    // A table that is gone from the source by now may still have events before its DROP. One that is not wanted any more
    // is simply left: if it is wanted again, it is read anew.
    for (id, before) in &previously {
        if wanted.selection.selects(id)
            && !seen.contains(id)
            && before.excluded.is_none()
            && let Some(catalog) = state.catalog.get(id)
            && let Some(mut table) = restore(history, &previously, state, catalog)?
        {
            selected.insert(id.clone(), before.clone());
            let parked = state.parked.get(id);
            if parked.is_some_and(|parked| parked.code == REREAD) {
                absent.push(id.clone());
            }
            if parked.is_some() && table.standing == Standing::Running {
                table.standing = Standing::Parked;
            }
            running.push((table, state.progress.get(id).filter(|_| parked.is_none()).cloned()));
        }
    }
    let selection_changed = !previously.keys().eq(selected.keys());
    joining.iter().for_each(|joining: &Joining| checkpoint.may_be_written(&joining.catalog.id));
    let next_schema_id = history.next_schema_id();
    let mut names = history.names(task);
    wanted.lost.keys().for_each(|id| names.lose(id));
    let absent = Absent::at(&found.place, absent);
    let expected = Expectations::at(found.place, expected);
    Ok(Beginning {
        checkpoint,
        running,
        joining,
        absent,
        expected,
        selected,
        names,
        selection_changed,
        next_schema_id,
        source_started: found.started,
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

impl Beginning {
    /// The tables whose reason to be read anew is not in the state topic yet, though they were replicated before: if the
    /// session ends before they join, the next one must know of it. `parked` is what the state topic says.
    #[must_use]
    pub fn gaps(&self, parked: &BTreeMap<TableId, Parked>) -> Vec<(TableId, String)> {
        let known = |id: &TableId| self.running.iter().any(|(table, _)| table.id == *id);
        gaps(&self.joining, known, parked)
    }
}

fn gaps(
    joining: &[Joining],
    known: impl Fn(&TableId) -> bool,
    parked: &BTreeMap<TableId, Parked>,
) -> Vec<(TableId, String)> {
    let stored = |id: &TableId| parked.get(id).is_some_and(|parked| parked.code == REREAD);
    let gaps = joining.iter().filter(|joining| known(&joining.catalog.id) && !stored(&joining.catalog.id));
    gaps.map(|joining| (joining.catalog.id.clone(), joining.why.clone())).collect()
}

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

/// Why a table cannot simply go on from the checkpoint; `None` if it can.
fn gap(
    state: &TaskState,
    previously: &BTreeMap<TableId, SelectedTable>,
    table: Option<&SequencedTable>,
    emptied: bool,
    wanted: Wanted<'_>,
) -> Option<String> {
    let Some(table) = table else { return Some(String::new()) };
    if let Some(parked) = state.parked.get(&table.id) {
        // What names a row is in the status, not in what the history and the log say of the re-read.
        let why = || format!("it was parked ({})", parked.code);
        return Some(if parked.code == REREAD { parked.message.clone() } else { why() });
    }
    if emptied && table.catalog.engine.eq_ignore_ascii_case("MEMORY") {
        return Some("the server was started anew, which empties a MEMORY table".to_owned());
    }
    if state.unproven.contains(&table.id) {
        return Some(
            "a statement left a default or labels open that nothing could prove before the restart"
                .to_owned(),
        );
    }
    if table.standing == Standing::Dropped {
        return Some("the table was dropped and created again".to_owned());
    }
    if let Some(why) = wanted.lost.get(&table.id) {
        return Some(why.clone());
    }
    let now = publishable(
        wanted.selection,
        wanted.key_indexes,
        &table.catalog,
        table.highest_column_id,
        &table.table,
    );
    match now {
        Ok(now) if now.columns == table.table.columns && now.key == table.table.key => {}
        Ok(_) => {
            return Some("the configuration publishes other columns of the table, or another key".to_owned());
        }
        // What must not be published any more is taken up, and refused, where it joins.
        Err(problem) => return Some(problem),
    }
    match previously.get(&table.id) {
        Some(SelectedTable { excluded: None, .. }) => None,
        Some(_) => Some("the table was excluded".to_owned()),
        None => Some("the table was not selected for a while".to_owned()),
    }
}

/// The table as its newest generation has it; `None` if it has none.
fn restore(
    history: &TaskHistory,
    previously: &BTreeMap<TableId, SelectedTable>,
    state: &TaskState,
    found: &CatalogTable,
) -> Result<Option<SequencedTable>, Failure> {
    let Some(latest) = history.latest(&found.id) else { return Ok(None) };
    let partitions = match previously.get(&found.id) {
        Some(selected) => selected.partitions,
        None => u32::try_from(latest.barrier.len()).unwrap_or(0),
    };
    let versions = |subject: &str| {
        let of_subject = history.schemas.values().filter(|schema| schema.subject == subject);
        of_subject.map(|schema| schema.version).max().unwrap_or(0)
    };
    // Every generation of a topic has the next version, so that the newest has the highest.
    let value_versions = latest.value_version.unwrap_or_else(|| versions(&value_subject(&latest.topic)));
    let key = key_schema(&latest.topic, &latest.table)
        .map_err(|error| Failure::new("the history holds a table that this version cannot read", error))?;
    let schemas = SchemaTexts { key, key_versions: versions(&key_subject(&latest.topic)), value_versions };
    let generations = history.generations.get(&found.id);
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
        catalog: state.catalog.get(&found.id).unwrap_or(found).clone(),
        table: Arc::new(latest.table.clone()),
        highest_column_id,
        names,
        lineage: lineage(history, &found.id),
        generation: latest.generation,
        key_schema_id: latest.key_schema_id,
        value_schema_id: latest.value_schema_id,
        schemas,
        standing: if latest.cause == Cause::Drop { Standing::Dropped } else { Standing::Running },
    }))
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
