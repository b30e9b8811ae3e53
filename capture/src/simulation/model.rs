//! What must be true of the topics whenever something was committed: what an apply that has read all of them has, is what the
//! source had at the checkpoint; each row event is there once.

use super::kafka::{Kafka, Stored};
use super::source::{Change, ORIGIN, RowChange, Source, State, Table, gtid};
use crate::sequencer::REREAD;
use crate::topics::state::{TaskHistory, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::avro::{Reader, VALUE_BRANCH};
use tributary_schemas::checkpoint::{Checkpoint, ReadPhase};
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::history::{Cause, GenerationRecord, RetiredRecord};
use tributary_schemas::sequence::SourceSequence;
use tributary_schemas::table::{ColumnDefault, TableId};
use tributary_schemas::wire;

/// What went wrong.
pub(super) type Violation = String;

/// A row's values by column id.
pub(super) type Values = BTreeMap<u32, Option<i32>>;
/// Rows by key.
pub(super) type Rows = BTreeMap<i32, Values>;

/// What the task's own topics say.
pub(super) struct Own {
    pub(super) state: TaskState,
    pub(super) history: TaskHistory,
}

impl Own {
    pub(super) fn read(kafka: &Kafka) -> Self {
        Self {
            state: TaskState::parse("t.state", &kafka.read_to_end("t.state")).unwrap(),
            history: TaskHistory::parse("t.history", &kafka.read_to_end("t.history")).unwrap(),
        }
    }
}

/// Compares everything that is committed.
pub(super) fn check(kafka: &Kafka, source: &Source) -> Result<(), Violation> {
    let Own { state, history } = Own::read(kafka);
    let Some(checkpoint) = &state.checkpoint else { return Ok(()) };
    let expected = source_at(source, checkpoint);
    for (id, generations) in &history.generations {
        let latest = generations.values().next_back().unwrap();
        let events = once(kafka, &latest.topic)?;
        let progress = state.progress.get(id);
        let whole = progress.is_some_and(|progress| progress.phase == ReadPhase::Complete);
        if latest.cause == Cause::Drop || state.parked.contains_key(id) || !whole {
            continue;
        }
        let found = fold(kafka, generations, history.retired.get(id))?;
        let Some(table) = expected.tables.get(id) else {
            return Err(format!(
                "{id}: the topic goes on, the source has no such table at {}",
                checkpoint.position
            ));
        };
        compare(id, table, latest, &found).map_err(|why| format!("{why}; at {}", checkpoint.position))?;
        let begun =
            generations.values().rfind(|record| matches!(record.cause, Cause::Initial | Cause::Reset));
        let before = &begun.expect("a first generation").position.gtid_set;
        all_there(source, checkpoint, (id, before), &events)?;
    }
    Ok(())
}

/// Once all is quiet every table of the source is there, whole, and nothing else is.
pub(super) fn check_quiet(kafka: &Kafka, source: &Source) -> Result<(), Violation> {
    let Own { state, history } = Own::read(kafka);
    for id in source.visible.tables.keys().filter(|id| id.database == "shop") {
        let latest = history.latest(id).ok_or_else(|| format!("{id} was never published"))?;
        let progress = state.progress.get(id).map(|progress| progress.phase);
        if let Some(parked) = state.parked.get(id) {
            return Err(format!("{id} is parked: {}: {}", parked.code, parked.message));
        }
        if latest.cause == Cause::Drop || progress != Some(ReadPhase::Complete) {
            return Err(format!("{id} is not loaded: {:?}, {progress:?}", latest.cause));
        }
    }
    for (id, latest) in history.generations.keys().map(|id| (id, history.latest(id).unwrap())) {
        let gone = !source.visible.tables.contains_key(id);
        let away = state.parked.get(id).is_some_and(|parked| parked.code != REREAD);
        if gone && latest.cause != Cause::Drop && !away {
            return Err(format!("{id} is gone from the source, and its target keeps its rows"));
        }
    }
    check(kafka, source)
}

/// The source's tables at a checkpoint: the transactions that it has, and of those behind it what was published of them.
fn source_at(source: &Source, checkpoint: &Checkpoint) -> State {
    let mut state = source.at(&checkpoint.position.gtid_set);
    for partial in &checkpoint.partials {
        let transaction =
            (0..source.log.len()).find(|index| partial.is(Some(&gtid(*index)))).expect("a GTID of the log");
        let rows: &[RowChange] = match &source.log[transaction].change {
            Change::Rows(rows) => rows,
            Change::Decide(xid, true) => prepared(source, *xid),
            other => panic!("a part of {other:?}"),
        };
        for published in &partial.tables {
            let of_table = rows.iter().filter(|row| row.table == published.table);
            of_table.take(usize::try_from(published.rows).unwrap()).for_each(|row| state.change(row));
        }
    }
    state
}

fn prepared(source: &Source, xid: u32) -> &[RowChange] {
    let prepare = source.log.iter().find_map(|transaction| match &transaction.change {
        Change::Prepare(prepared, rows) if *prepared == xid => Some(rows),
        _ => None,
    });
    prepare.expect("an XA transaction is prepared before it is decided")
}

/// Row events of a topic: how many rows of each transaction, by its GTID.
type Events = BTreeMap<String, usize>;

/// Every row event since the table was begun is in its topic. (Those of before may be, too.)
fn all_there(
    source: &Source,
    checkpoint: &Checkpoint,
    (id, before): (&TableId, &GtidSet),
    events: &Events,
) -> Result<(), Violation> {
    for (index, transaction) in source.log.iter().enumerate() {
        let gtid = gtid(index);
        if before.contains(&gtid) || !checkpoint.position.gtid_set.contains(&gtid) {
            continue;
        }
        let rows: &[RowChange] = match &transaction.change {
            Change::Rows(rows) => rows,
            Change::Decide(xid, true) => prepared(source, *xid),
            _ => continue,
        };
        let expected = rows.iter().filter(|row| row.table == *id).count();
        let found = events.get(&gtid.to_string()).copied().unwrap_or(0);
        if expected != found {
            return Err(format!("{id}: {found} of {expected} row events of {gtid} are there"));
        }
    }
    Ok(())
}

/// No row event is in a topic twice, and a tombstone follows each delete. A sequence names a row event within one server, the
/// GTID of its transaction within all.
fn once(kafka: &Kafka, topic: &str) -> Result<Events, Violation> {
    let (mut seen, mut events) = (BTreeSet::new(), Events::new());
    for partition in 0..kafka.partitions(topic) {
        let mut deleted: Option<&Stored> = None;
        for (offset, record) in kafka.committed(topic, partition) {
            if let Some(delete) = deleted.take()
                && (record.value.is_some()
                    || (&record.key, &record.sequence) != (&delete.key, &delete.sequence))
            {
                return Err(format!("{topic}-{partition} at {offset}: no tombstone behind a delete"));
            }
            deleted = record
                .value
                .as_ref()
                .filter(|value| wire::split(value).is_some_and(|(_, datum)| datum[1] != VALUE_BRANCH))
                .map(|_| record);
            let SourceSequence { row, part, read, .. } = record.sequence.parse().unwrap();
            let Some(value) = record.value.as_deref().filter(|_| !read) else { continue };
            let gtid = gtid_of(value);
            if !seen.insert((gtid.clone(), row, part)) {
                return Err(format!(
                    "{topic}-{partition} at {offset}: row event {row}.{part} of {gtid} a second time"
                ));
            }
            if part == 0 {
                *events.entry(gtid).or_default() += 1;
            }
        }
    }
    Ok(events)
}

/// The GTID in an envelope: a text behind its length.
fn gtid_of(value: &[u8]) -> String {
    let place = value.windows(ORIGIN.len()).position(|part| part == ORIGIN.as_bytes()).expect("a GTID");
    let length = usize::from(value[place - 1]) / 2;
    String::from_utf8(value[place..place + length].to_vec()).unwrap()
}

/// What an apply has that has read a table's topic, from the generations' barriers and the records between them.
fn fold(
    kafka: &Kafka,
    generations: &BTreeMap<u32, std::sync::Arc<GenerationRecord>>,
    retired: Option<&RetiredRecord>,
) -> Result<Rows, Violation> {
    let latest = generations.values().next_back().unwrap();
    let of_topic: Vec<&GenerationRecord> =
        generations.values().map(AsRef::as_ref).filter(|record| record.topic == latest.topic).collect();
    let mut all = Rows::new();
    for partition in 0..kafka.partitions(&latest.topic) {
        let (mut rows, mut next, mut current) = (Rows::new(), of_topic.iter().copied().peekable(), None);
        let ends = kafka.committed(&latest.topic, partition).map(|(offset, record)| (offset, Some(record)));
        for (offset, record) in ends.chain([(i64::MAX, None)]) {
            while let Some(arrived) = next.next_if(|record| record.barrier[partition] <= offset) {
                enter(&mut rows, current, arrived);
                current = Some(arrived);
            }
            let Some(record) = record else { break };
            let place = format!("{}-{partition} at {offset}", latest.topic);
            let generation = current.ok_or_else(|| format!("{place}: before the first generation"))?;
            put(&mut rows, (generation, retired), &record.key, record.value.as_deref())
                .map_err(|why| format!("{place}: {why}"))?;
        }
        all.extend(rows);
    }
    Ok(all)
}

/// A partition arrives at a generation.
fn enter(rows: &mut Rows, before: Option<&GenerationRecord>, now: &GenerationRecord) {
    if matches!(now.cause, Cause::Truncate | Cause::Reset | Cause::Drop) {
        rows.clear();
    }
    let known: BTreeSet<u32> =
        before.iter().flat_map(|record| &record.table.columns).map(|column| column.id).collect();
    for column in &now.table.columns {
        if !known.contains(&column.id) {
            let default = match &column.default {
                Some(ColumnDefault::Constant(text)) => Some(text.parse().unwrap()),
                // MySQL fills rows with the type's own zero, and so does apply.
                _ => (!column.nullable).then_some(0),
            };
            for row in rows.values_mut() {
                row.insert(column.id, default);
            }
        }
    }
    let left: BTreeSet<u32> = now.table.columns.iter().map(|column| column.id).collect();
    rows.values_mut().for_each(|row| row.retain(|id, _| left.contains(id)));
}

fn put(
    rows: &mut Rows,
    (generation, retired): (&GenerationRecord, Option<&RetiredRecord>),
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), Violation> {
    let (key_id, key) = wire::split(key).ok_or("a key without a header")?;
    if key_id != generation.key_schema_id {
        return Err(format!(
            "key schema {key_id}, generation {} has {}",
            generation.generation, generation.key_schema_id
        ));
    }
    let key = self::key(key);
    let Some(value) = value else {
        rows.remove(&key);
        return Ok(());
    };
    let (id, datum) = wire::split(value).ok_or("a value without a header")?;
    // A generation of the same definition may have no record any more.
    let is_retired = retired.is_some_and(|retired| retired.runs.iter().any(|run| run.has_schema(id)));
    if id != generation.value_schema_id && !is_retired {
        return Err(format!(
            "value schema {id}, generation {} has {}",
            generation.generation, generation.value_schema_id
        ));
    }
    match decode(generation, datum) {
        Some(row) => drop(rows.insert(key, row)),
        None => drop(rows.remove(&key)),
    }
    Ok(())
}

/// The key of a record.
pub(super) fn key(datum: &[u8]) -> i32 {
    i32::try_from(Reader::new(datum).long().unwrap()).unwrap()
}

/// The row of an envelope of this generation; `None` for a delete.
pub(super) fn decode(generation: &GenerationRecord, datum: &[u8]) -> Option<Values> {
    // `before` is null; then `after`.
    let mut reader = Reader::new(&datum[2..]);
    if datum[1] != VALUE_BRANCH {
        return None;
    }
    let columns = generation.table.columns.iter().map(|column| {
        let some = !column.nullable || reader.some().unwrap();
        (column.id, some.then(|| i32::try_from(reader.long().unwrap()).unwrap()))
    });
    Some(columns.collect())
}

/// The rows that `found` holds must be the table's.
pub(super) fn compare(
    id: &TableId,
    table: &Table,
    latest: &GenerationRecord,
    found: &Rows,
) -> Result<(), Violation> {
    let names = |columns: Vec<&String>| columns.into_iter().cloned().collect::<Vec<String>>().join(", ");
    let published: Vec<&String> = latest.table.columns.iter().map(|column| &column.name).collect();
    let declared: Vec<&String> = table.columns.iter().map(|column| &column.name).collect();
    if published != declared {
        return Err(format!(
            "{id} has the columns {}, the source's are {}",
            names(published),
            names(declared)
        ));
    }
    let found: BTreeMap<i32, Vec<Option<i32>>> = found
        .iter()
        .map(|(key, row)| (*key, latest.table.columns.iter().map(|column| row[&column.id]).collect()))
        .collect();
    if found == table.rows {
        return Ok(());
    }
    let keys: BTreeSet<&i32> = found.keys().chain(table.rows.keys()).collect();
    let wrong = keys.into_iter().find(|key| found.get(key) != table.rows.get(key)).unwrap();
    let (topic, source) = (found.get(wrong), table.rows.get(wrong));
    Err(format!(
        "{id}, key {wrong}: the topic has {topic:?}, the source {source:?} ({} columns)",
        latest.table.columns.len()
    ))
}
