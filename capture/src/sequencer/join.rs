//! How a table comes into the stream: selected at the start, created or renamed into the selection, or returning from
//! a gap. Its definition is read at a place that the stream may not have reached; until then its events count for
//! nothing, for the table is read whole behind that place.

use super::Sequencer;
use super::halt::Halt;
use super::lineage::Lineage;
use super::names::ColumnNames;
use super::park::{MESSAGE_BYTES, ParkReason, REREAD, cut};
use super::table::{Origin, SchemaTexts, SequencedTable, Standing};
use crate::remedies;
use crate::snapshot::planner::is_past;
use crate::topics::admin::{REQUEST_TIMEOUT, TopicError};
use crate::topics::names::field_clash;
use crate::topics::state::StoredCatalog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Parked, StateKey};
use tributary_schemas::config::TableSelection;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::position::Position;
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::table_topic;
use tributary_source::catalog::{CatalogTable, read_table};
use tributary_source::charset::Charset;
use tributary_source::connect::SourceOptions;
use tributary_source::dialect::gtid_executed;
use tributary_source::error::SourceError;
use tributary_source::publish::Wishes;

/// A definition is read until two reads around a position agree; each round costs three short statements.
const CATALOG_ROUNDS: usize = 50;

/// How often a table is asked for again that was locked when its definition was read: each time may cost seconds.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// A table that waits for the stream to reach the place where its definition holds.
#[derive(Debug, Clone)]
pub struct Joining {
    /// All columns.
    pub catalog: CatalogTable,
    /// Where that holds.
    pub after: Position,
    /// Why it is read; empty for a table that was not replicated before.
    pub why: String,
}

/// What to do about a topic that Kafka refuses.
const TOPIC_REMEDY: &str =
    "delete the topic if nobody needs it, or grant Create and Describe on the task's topics";

/// A table that is about to join, with its topic.
struct Placed {
    joining: Joining,
    definition: Table,
    topic: String,
    partitions: u32,
}

impl Sequencer {
    /// Takes up a table whose definition was read at `joining.after`.
    pub fn add_joining(&mut self, joining: Joining) {
        self.joining.retain(|other| other.catalog.id != joining.catalog.id);
        self.joining.push(joining);
    }

    /// True if no table waits to join.
    #[must_use]
    pub const fn all_joined(&self) -> bool {
        self.joining.is_empty()
    }

    /// Reads the table's definition and has it read whole from where that holds. Its events count for nothing until
    /// then.
    pub(super) fn schedule_join(&mut self, id: &TableId, why: &str) -> Result<(), Halt> {
        self.absent.forget(id);
        let shadowed = self.shadowed(id);
        let read = self.ask_definition(id, &shadowed)?;
        let known = self.tables.find(id).and_then(|index| self.tables.get(index));
        // Dropped, and the source has none of that name: there is nothing that a re-read would end with.
        if read.is_none() && known.is_some_and(|table| table.standing == Standing::Dropped) {
            return Ok(());
        }
        if let Some(index) = self.tables.find(id) {
            if let Some(table) = self.tables.get_mut(index) {
                table.standing = Standing::Parked;
            }
            self.maps.ignore(index);
            self.snapshot.discard(index);
            self.put_reread(id.clone(), why)?;
            if read.is_none() {
                let place = self.source_position()?;
                self.absent.add(id.clone(), place);
            }
        }
        self.expected.forget(id);
        tracing::info!(table = %id, why, "table will be read anew");
        if let Some((catalog, after)) = read {
            self.add_joining(Joining { catalog, after, why: why.to_owned() });
        }
        Ok(())
    }

    /// A checkpoint behind this place must not forget that the table has a gap.
    pub(super) fn put_reread(&mut self, id: TableId, why: &str) -> Result<(), Halt> {
        let parked = Parked {
            format: FORMAT_VERSION,
            code: REREAD.to_owned(),
            message: cut(why, MESSAGE_BYTES).into_owned(),
            remedy: remedies::re_read().to_owned(),
            active: true,
        };
        self.put_state(&StateKey::Parked(id.clone()), &parked)?;
        self.parked.insert(id, parked);
        Ok(())
    }

    /// Begins the re-reads that were asked for inside of the transaction that has just ended.
    pub(super) fn begin_rereads(&mut self) -> Result<(), Halt> {
        for (index, why) in std::mem::take(&mut self.rereads) {
            if let Some(id) = self.tables.get(index).map(|table| table.id.clone()) {
                self.schedule_join(&id, &why)?;
            }
        }
        self.join_arrived()
    }

    /// Brings in every table whose place the stream has reached, and gives up those that are not there any more.
    pub fn join_arrived(&mut self) -> Result<(), Halt> {
        self.ask_again()?;
        self.park_absent()?;
        let here = self.passed();
        let (arrived, waiting) = std::mem::take(&mut self.joining)
            .into_iter()
            .partition(|joining: &Joining| !joining.catalog.unasked && is_past(&here, &joining.after));
        self.joining = waiting;
        if arrived.is_empty() {
            return Ok(());
        }
        let ready = self.place(arrived)?;
        // Everything before has its offset now, so that the watermarks are barriers.
        self.commit()?;
        let partitioned: Vec<(&str, u32)> =
            ready.iter().map(|placed| (placed.topic.as_str(), placed.partitions)).collect();
        let barriers = self.topics.ends(&partitioned)?;
        for (placed, barrier) in ready.into_iter().zip(barriers) {
            self.join(placed, barrier)?;
        }
        self.put_selection()?;
        self.commit()
    }

    /// Reads the definition again of a table that was locked; of one at a time, for everything else stands still meanwhile.
    fn ask_again(&mut self) -> Result<(), Halt> {
        if self.last_asked.elapsed() < ASK_AGAIN {
            return Ok(());
        }
        let Some(place) = self.joining.iter().position(|joining| joining.catalog.unasked) else {
            return Ok(());
        };
        let Joining { catalog, why, .. } = self.joining.remove(place);
        // Back in the line it is the last.
        self.schedule_join(&catalog.id, &why)?;
        self.last_asked = Instant::now();
        Ok(())
    }

    /// Finds or makes the topic of each table that arrived. One that can have none is left out; the others go on.
    fn place(&mut self, arrived: Vec<Joining>) -> Result<Vec<Placed>, Halt> {
        // A name that is new may clash with one that somebody has made since the last look.
        let cluster =
            self.topics.cluster(REQUEST_TIMEOUT).map_err(|error| Halt::Restart(error.to_string()))?;
        cluster.keys().for_each(|topic| self.names.see(topic));
        let mut defined: Vec<Placed> = Vec::new();
        for joining in arrived {
            let id = joining.catalog.id.clone();
            if self.previous(&id).is_some_and(|table| cluster.get(&*table.topic) != Some(&table.partitions)) {
                // Made anew under the same name it would be taken for the one that is gone.
                self.lost.insert(id.clone());
            }
            let unusable = self.lost.contains(&id);
            let topic = if unusable { self.names.claim_another(&id) } else { self.names.claim(&id) };
            match topic.and_then(|topic| Ok((self.define(&joining.catalog)?, topic))) {
                Ok((definition, topic)) => {
                    defined.push(Placed { joining, definition, topic, partitions: 0 });
                }
                Err(problem) => self.exclude(&id, &problem)?,
            }
        }
        let topics: Vec<&str> = defined.iter().map(|placed| placed.topic.as_str()).collect();
        let found = self.topics.ensure(&topics, &self.setup.topic)?;
        let mut ready = Vec::new();
        for (placed, found) in defined.into_iter().zip(found) {
            let id = placed.joining.catalog.id.clone();
            let recorded = self.selected.get(&id).filter(|selected| selected.topic == placed.topic);
            let recorded = recorded.filter(|selected| selected.excluded.is_none());
            let expected = recorded.map_or(self.setup.topic.partitions, |selected| selected.partitions);
            let judged = found.and_then(|partitions| {
                check_partitions(&placed.topic, partitions, expected, recorded.is_some()).map(|()| partitions)
            });
            match judged {
                Ok(partitions) if partitions != self.setup.topic.partitions => {
                    let (topic, origin) = (placed.topic, "topics.partitions in the config");
                    let expected = self.setup.topic.partitions;
                    return Err(TopicError::Partitions { topic, found: partitions, expected, origin }.into());
                }
                Ok(partitions) => ready.push(Placed { partitions, ..placed }),
                Err(refused) => {
                    if self.previous(&id).is_none() {
                        self.names.release(&id);
                    }
                    self.exclude(&id, &format!("{refused}; {TOPIC_REMEDY}"))?;
                }
            }
        }
        Ok(ready)
    }

    /// The table is not parked any more.
    pub(super) fn unpark(&mut self, index: usize) -> Result<(), Halt> {
        let Some(id) = self.tables.get(index).map(|table| table.id.clone()) else { return Ok(()) };
        match self.parked.remove(&id) {
            Some(parked) => self.put_state(&StateKey::Parked(id), &Parked { active: false, ..parked }),
            None => Ok(()),
        }
    }

    /// The table, if it was replicated before.
    fn previous(&self, id: &TableId) -> Option<&SequencedTable> {
        self.tables.find(id).and_then(|index| self.tables.get(index)).filter(|table| table.generation > 0)
    }

    /// What is published of a table that joins, or why nothing can be.
    fn define(&self, catalog: &CatalogTable) -> Result<Table, String> {
        let previous = self.previous(&catalog.id);
        let empty = placeholder(catalog).table;
        let columns = previous.map_or(&empty, |table| &table.table);
        self.publishable(catalog, previous, columns)
    }

    /// The table begins, or begins anew, behind `barrier`, the ends of its topic's partitions. The caller commits.
    fn join(&mut self, placed: Placed, barrier: Vec<i64>) -> Result<(), Halt> {
        let Placed { joining, definition, topic, partitions } = placed;
        let id = joining.catalog.id.clone();
        let known = self.tables.find(&id);
        let returning = self.previous(&id).is_some() || barrier.iter().any(|offset| *offset > 0);
        let mut table = match known.and_then(|index| self.tables.get(index)) {
            Some(table) => table.clone(),
            None => placeholder(&joining.catalog),
        };
        if *table.topic != *topic {
            // The subjects of another topic begin with their first versions.
            table.schemas = SchemaTexts::default();
            table.lineage.leave_topic();
        }
        table.topic = topic.as_str().into();
        table.partitions = partitions;
        table.catalog = joining.catalog.clone();
        table.standing = Standing::Running;
        let origin = Origin {
            cause: if returning { Cause::Reset } else { Cause::Initial },
            statement: joining.why,
            barrier,
            written_ms: self.output.handled_ms,
            transaction: self.progress.transaction(),
            position: self.progress.position().clone(),
        };
        let history = match self.advance(&mut table, definition, origin, &joining.catalog) {
            Ok(history) => history,
            Err(reason) => {
                return match known {
                    Some(index) => self.park(index, &reason),
                    None => self.exclude(&id, &format!("{}; {}", reason.message, reason.remedy)),
                };
            }
        };
        let index = self.tables.insert(table);
        self.maps.clear();
        self.put_history(history)?;
        self.put_state(&StateKey::Catalog(id.clone()), &StoredCatalog::proven(joining.catalog))?;
        self.unpark(index)?;
        self.lost.remove(&id);
        self.selected.insert(id.clone(), SelectedTable { id, topic, partitions, excluded: None });
        self.begin_reading(index)?;
        self.retire(index)
    }

    /// The published part of a definition, or why there is none. `columns` has the columns whose ids live on, under the
    /// names they have now.
    pub(super) fn publishable(
        &self,
        catalog: &CatalogTable,
        previous: Option<&SequencedTable>,
        columns: &Table,
    ) -> Result<Table, String> {
        let highest_id = previous.map_or(0, |table| table.highest_column_id);
        publishable(&self.setup.selection, &self.setup.key_indexes, catalog, highest_id, columns)
    }

    /// A table that cannot be replicated as it is: shown with its remedy, nothing of it is published. The caller writes
    /// the selection.
    fn exclude(&mut self, id: &TableId, problem: &str) -> Result<(), Halt> {
        if let Some(index) = self.tables.find(id) {
            return self.park(index, &ParkReason::definition(problem));
        }
        if self.setup.strict {
            let remedy = remedies::table_not_replicable_strictly();
            return Err(Halt::stop("a table cannot be replicated (strict = true)", id, problem, remedy));
        }
        tracing::warn!(table = %id, "table excluded: {problem}");
        let topic = table_topic(&self.setup.task, id);
        let partitions = self.selected.get(id).map_or(self.setup.topic.partitions, |table| table.partitions);
        let excluded = Some(problem.to_owned());
        self.selected.insert(id.clone(), SelectedTable { id: id.clone(), topic, partitions, excluded });
        Ok(())
    }

    /// The place of a GTID set or of file and offset behind everything that is committed on the source by now.
    pub(super) fn source_position(&self) -> Result<Position, Halt> {
        let source = self.setup.source.clone();
        self.ask_source("reading the position", async {
            let mut connection = source.connect().await?;
            let position = executed(&mut connection).await;
            connection.close().await?;
            position
        })
    }

    /// Waits for an answer of the source. Everything else stands still meanwhile, so that one that does not come is an
    /// outage.
    pub(super) fn ask_source<T>(
        &self,
        during: &str,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, Halt> {
        let _wait = self.setup.status.wait_within(&format!("the source: {during}"), ANSWER);
        let answer = self.setup.runtime.block_on(async { tokio::time::timeout(ANSWER, answer).await });
        answer.unwrap_or_else(|_| Err(unanswered(during, &self.setup.source, ANSWER))).map_err(Halt::from)
    }
}

/// How long the source may take to answer a question; commits are waited for inside of it.
const ANSWER: Duration = Duration::from_secs(60);

/// No answer came in time.
#[must_use]
pub fn unanswered(during: &str, source: &SourceOptions, waited: Duration) -> SourceError {
    let reason = format!("no answer for {} s", waited.as_secs());
    SourceError::transient(during, source.address(), reason, "the connection is opened again")
}

/// A table nothing is known of but its catalog.
fn placeholder(catalog: &CatalogTable) -> SequencedTable {
    let table = Table {
        id: catalog.id.clone(),
        columns: Vec::new(),
        key: Vec::new(),
        indexes: Vec::new(),
        comment: String::new(),
    };
    SequencedTable {
        id: catalog.id.clone(),
        topic: "".into(),
        partitions: 0,
        catalog: catalog.clone(),
        table: Arc::new(table),
        highest_column_id: 0,
        names: ColumnNames::default(),
        lineage: Lineage::default(),
        generation: 0,
        key_schema_id: 0,
        value_schema_id: 0,
        schemas: SchemaTexts::default(),
        standing: Standing::Running,
    }
}

/// Keys would move between partitions, or somebody else has made the topic.
fn check_partitions(topic: &str, found: u32, expected: u32, recorded: bool) -> Result<(), TopicError> {
    if found == expected {
        return Ok(());
    }
    let origin =
        if recorded { "as recorded when the topic was created" } else { "topics.partitions in the config" };
    Err(TopicError::Partitions { topic: topic.to_owned(), found, expected, origin })
}

/// What the source has committed: `gtid_executed`, and file and offset for sources without GTID.
pub async fn executed(
    connection: &mut tributary_source::connect::Connection,
) -> Result<Position, SourceError> {
    let dialect = tributary_source::dialect::Dialect::probe(connection).await?;
    let mut position = dialect.current_position(connection).await?;
    if dialect.has_gtid() {
        // Not the set of the binlog's end: a transaction there may not be visible to readers yet.
        position.gtid_set = gtid_executed(connection).await?;
    }
    Ok(position)
}

/// The part of a definition that the configuration has published, or why there is none. `columns` has the columns whose
/// ids live on; no id up to `highest_id` is given again.
pub fn publishable(
    selection: &TableSelection,
    key_indexes: &BTreeMap<String, String>,
    catalog: &CatalogTable,
    highest_id: u32,
    columns: &Table,
) -> Result<Table, String> {
    let excluded: Vec<String> = catalog
        .columns
        .iter()
        .filter(|column| selection.excludes_column(&catalog.id, &column.name))
        .map(|column| column.name.clone())
        .collect();
    let wishes = Wishes {
        excluded: &excluded,
        previous: Some(columns),
        highest_id,
        key_index: key_indexes.get(&catalog.id.to_string()).map(String::as_str),
        charset_supported: |name| Charset::named(name).is_some(),
    };
    let table = catalog.published(&wishes).map_err(|problem| problem.to_string())?;
    field_clash(&table).map_or(Ok(table), Err)
}

/// Waits until everything in `set` is committed and visible; false if that takes longer than a commit ever should.
pub async fn wait_until_committed(
    connection: &mut tributary_source::connect::Connection,
    set: &GtidSet,
) -> Result<bool, SourceError> {
    const SECONDS: u32 = 30;
    if set.is_empty() {
        return Ok(true);
    }
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {SECONDS})");
    let timed_out: Option<u64> = connection.first("waiting for the source to commit", &sql).await?;
    Ok(timed_out == Some(0))
}

/// The table's definition and a place where it holds: the same before and after the place was taken, so that no DDL
/// can lie between. `None` if there is no such table.
pub async fn stable_definition(
    connection: &mut tributary_source::connect::Connection,
    id: &TableId,
) -> Result<Option<(CatalogTable, Position)>, SourceError> {
    for _ in 0..CATALOG_ROUNDS {
        let before = read_table(connection, id).await?;
        let place = executed(connection).await?;
        let after = read_table(connection, id).await?;
        match (before, after) {
            (None, None) => return Ok(None),
            (Some(before), Some(after)) if before.same_definition(&after) => return Ok(Some((after, place))),
            _ => {}
        }
    }
    let remedy = "wait until the ALTER statements are over";
    Err(SourceError::transient(
        "reading the catalog",
        connection.address(),
        format!("{id} keeps changing"),
        remedy,
    ))
}
