//! How a table comes into the stream: selected at the start, created or renamed into the selection, or returning from
//! a gap. Its definition is read at a place that the stream may not have reached; until then its events count for
//! nothing, for the table is read whole behind that place.

use super::Sequencer;
use super::halt::Halt;
use super::lineage::Lineage;
use super::names::ColumnNames;
use super::park::{MESSAGE_BYTES, ParkReason, REREAD, cut};
use super::port::Action;
use super::table::{Origin, SchemaTexts, SequencedTable, Standing};
use super::tables::TableIndex;
use crate::remedies;
use crate::snapshot::planner::is_past;
use crate::topics::admin::TopicError;
use crate::topics::names::field_clash;
use crate::topics::state::StoredCatalog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Parked, StateKey};
use tributary_schemas::config::TableSelection;
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::position::Position;
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::table_topic;
use tributary_source::catalog::CatalogTable;
use tributary_source::charset::Charset;
use tributary_source::publish::Wishes;

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

    /// Reads the table's definition and has it read whole from where that holds. Its events count for nothing until
    /// then.
    pub(super) async fn schedule_join(&mut self, id: &TableId, why: &str) {
        self.absent.forget(id);
        let shadowed = self.shadowed(id);
        let read = self.ask_definition(id, shadowed).await;
        let known = self.tables.named(id);
        // Dropped, and the source has none of that name: there is nothing that a re-read would end with.
        if read.is_none() && known.is_some_and(|table| table.standing == Standing::Dropped) {
            return;
        }
        if let Some(index) = self.tables.find(id) {
            self.tables[index].standing = Standing::Parked;
            self.maps.ignore(index);
            self.snapshot.discard(index);
            self.put_reread(id.clone(), why);
            if read.is_none() {
                let place = self.port.ask((), Action::SourcePosition).await;
                self.absent.add(id.clone(), place);
            }
        }
        self.expected.forget(id);
        tracing::info!(table = %id, why, "table will be read anew");
        if let Some((catalog, after)) = read {
            self.add_joining(Joining { catalog, after, why: why.to_owned() });
        }
    }

    /// A checkpoint behind this place must not forget that the table has a gap.
    pub(super) fn put_reread(&mut self, id: TableId, why: &str) {
        let parked = Parked {
            format: FORMAT_VERSION,
            code: REREAD.to_owned(),
            message: cut(why, MESSAGE_BYTES).into_owned(),
            remedy: remedies::re_read().to_owned(),
            active: true,
        };
        self.put_state(&StateKey::Parked(id.clone()), &parked);
        self.parked.insert(id, parked);
    }

    /// Begins the re-reads that were asked for inside of the transaction that has just ended.
    pub(super) async fn begin_rereads(&mut self) -> Result<(), Halt> {
        for (index, why) in std::mem::take(&mut self.rereads) {
            let id = self.tables[index].id.clone();
            self.schedule_join(&id, &why).await;
        }
        self.join_arrived().await
    }

    /// Brings in every table whose place the stream has reached, and gives up those that are not there any more.
    ///
    /// # Errors
    /// Any end of the session.
    pub async fn join_arrived(&mut self) -> Result<(), Halt> {
        self.ask_again().await;
        self.park_absent()?;
        let here = self.passed();
        let (arrived, waiting) = std::mem::take(&mut self.joining)
            .into_iter()
            .partition(|joining: &Joining| !joining.catalog.unasked && is_past(&here, &joining.after));
        self.joining = waiting;
        if arrived.is_empty() {
            return Ok(());
        }
        let ready = self.place(arrived).await?;
        // Everything before has its offset now, so that the watermarks are barriers.
        self.commit().await;
        let partitioned: Vec<(Arc<str>, u32)> =
            ready.iter().map(|placed| (placed.topic.as_str().into(), placed.partitions)).collect();
        let barriers = self.port.ask(partitioned, Action::Ends).await;
        for (placed, barrier) in ready.into_iter().zip(barriers) {
            self.join(placed, barrier)?;
        }
        self.put_selection();
        self.commit().await;
        Ok(())
    }

    /// Reads the definition again of a table that was locked; of one at a time, for everything else stands still meanwhile.
    async fn ask_again(&mut self) {
        if self.output.now.saturating_duration_since(self.last_asked) < ASK_AGAIN {
            return;
        }
        let Some(place) = self.joining.iter().position(|joining| joining.catalog.unasked) else { return };
        let Joining { catalog, why, .. } = self.joining.remove(place);
        // Back in the line it is the last.
        self.schedule_join(&catalog.id, &why).await;
        self.last_asked = self.output.now;
    }

    /// Finds or makes the topic of each table that arrived. One that can have none is left out; the others go on.
    async fn place(&mut self, arrived: Vec<Joining>) -> Result<Vec<Placed>, Halt> {
        // A name that is new may clash with one that somebody has made since the last look.
        let cluster = self.port.ask((), Action::Cluster).await;
        cluster.keys().for_each(|topic| self.names.see(topic));
        let mut defined: Vec<Placed> = Vec::new();
        for joining in arrived {
            let id = joining.catalog.id.clone();
            if self.previous(&id).is_some_and(|table| cluster.get(&*table.topic) != Some(&table.partitions)) {
                // Made anew under the same name it would be taken for the one that is gone.
                self.names.lose(&id);
            }
            match self.names.claim(&id).and_then(|topic| Ok((self.define(&joining.catalog)?, topic))) {
                Ok((definition, topic)) => {
                    defined.push(Placed { joining, definition, topic, partitions: 0 });
                }
                Err(problem) => self.exclude(&id, &problem)?,
            }
        }
        let topics: Vec<String> = defined.iter().map(|placed| placed.topic.clone()).collect();
        let found = self.port.ask(topics, Action::Ensure).await;
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
    pub(super) fn unpark(&mut self, index: TableIndex) {
        let id = self.tables[index].id.clone();
        if let Some(parked) = self.parked.remove(&id) {
            self.put_state(&StateKey::Parked(id), &Parked { active: false, ..parked });
        }
    }

    /// The table, if it was replicated before.
    fn previous(&self, id: &TableId) -> Option<&SequencedTable> {
        self.tables.named(id).filter(|table| table.generation > 0)
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
        let mut table = match known {
            Some(index) => self.tables[index].clone(),
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
        self.put_history(history);
        self.put_state(&StateKey::Catalog(id.clone()), &StoredCatalog::proven(joining.catalog));
        self.unpark(index);
        self.names.settle(&id);
        self.selected.insert(id.clone(), SelectedTable { id, topic, partitions, excluded: None });
        self.begin_reading(index)?;
        self.retire(index);
        Ok(())
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
