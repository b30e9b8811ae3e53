//! How a table comes into the stream: selected at the start, created or renamed into the selection, or returning from
//! a gap. Its definition is read at a place that the stream may not have reached; until then its events count for
//! nothing, for the table is read whole behind that place.
//!
//! A table that is to be read anew may not be there. A statement that the stream has yet to pass may say what became of it:
//! dropped, renamed, or made again. Behind the place where the source had none, nothing will.
//!
//! Invariant: no table waits for a re-read that cannot come.

use super::Sequencer;
use super::halt::Halt;
use super::park::ParkReason;
use super::port::Action;
use super::table::{Origin, SchemaTexts, SequencedTable};
use super::tables::{Joining, Standing, TableIndex};
use crate::remedies;
use crate::topics::admin::TopicError;
use crate::topics::names::field_clash;
use crate::topics::state::StoredCatalog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tributary_config::TableSelection;
use tributary_schemas::checkpoint::StateKey;
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::position::Position;
use tributary_schemas::table::Table;
use tributary_schemas::topic::table_topic;
use tributary_source::catalog::CatalogTable;
use tributary_source::charset::Charset;
use tributary_source::publish::Wishes;

/// How often a table is asked for again that was locked when its definition was read: each time may cost seconds.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// What to do about a topic that Kafka refuses.
const TOPIC_REMEDY: &str =
    "delete the topic if nobody needs it, or grant Create and Describe on the task's topics";

/// A table that is about to join, with its topic.
struct Placed {
    index: TableIndex,
    definition: Table,
    topic: String,
    partitions: u32,
}

impl Sequencer {
    /// Reads the table's definition and has it read whole from where that holds. Its events count for nothing until
    /// then.
    async fn schedule_join(&mut self, index: TableIndex, why: String) {
        let id = self.tables[index].id.clone();
        let shadowed = self.shadowed(&id);
        let to = match self.ask_definition(&id, shadowed).await {
            Some((catalog, after)) => {
                let gap = self.tables[index].is_published();
                Standing::Joining(Box::new(Joining { catalog, after, why, gap }))
            }
            // Nothing of it is in its target: there is nothing that a re-read would end with.
            None if !self.tables[index].is_published() || !self.tables.standing(index).is_followed() => {
                Standing::Gone
            }
            None => Standing::Absent { place: self.port.ask((), Action::SourcePosition).await, why },
        };
        self.transition(index, to);
    }

    /// Begins the re-reads that were asked for inside of the transaction that has just ended.
    pub(super) async fn begin_rereads(&mut self) -> Result<(), Halt> {
        for (index, why) in self.tables.take_due() {
            self.schedule_join(index, why).await;
        }
        self.join_arrived().await
    }

    /// Brings in every table whose place the stream has reached, and gives up those that are not there any more.
    pub(crate) async fn join_arrived(&mut self) -> Result<(), Halt> {
        self.ask_again().await;
        let here = self.passed();
        self.park_absent(&here)?;
        let joining = self.tables.all_joining();
        let arrived: Vec<TableIndex> = joining
            .filter(|(_, joining)| !joining.catalog.unasked && here.covers(&joining.after))
            .map(|(index, _)| index)
            .collect();
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

    /// Parks the tables that are gone without a word of the stream, which is `here`.
    fn park_absent(&mut self, here: &Position) -> Result<(), Halt> {
        let waiting = self.tables.waiting();
        let passed: Vec<TableIndex> = waiting
            .filter(|(_, standing)| matches!(standing, Standing::Absent { place, .. } if here.covers(place)))
            .map(|(index, _)| index)
            .collect();
        passed.into_iter().try_for_each(|index| self.park(index, &ParkReason::absent()))
    }

    /// Reads the definition again of a table that was locked; of one at a time, for everything else stands still meanwhile.
    async fn ask_again(&mut self) {
        if self.output.now.saturating_duration_since(self.last_asked) < ASK_AGAIN {
            return;
        }
        let unasked = self.tables.all_joining().find(|(_, joining)| joining.catalog.unasked);
        let Some((index, why)) = unasked.map(|(index, joining)| (index, joining.why.clone())) else { return };
        // Back in the line it is the last.
        self.schedule_join(index, why).await;
        self.last_asked = self.output.now;
    }

    /// Finds or makes the topic of each table that arrived. One that can have none is left out; the others go on.
    async fn place(&mut self, arrived: Vec<TableIndex>) -> Result<Vec<Placed>, Halt> {
        // A name that is new may clash with one that somebody has made since the last look.
        let cluster = self.port.ask((), Action::Cluster).await;
        cluster.keys().for_each(|topic| self.names.see(topic));
        let mut defined: Vec<Placed> = Vec::new();
        for index in arrived {
            let table = &self.tables[index];
            let id = table.id.clone();
            if table.is_published() && cluster.get(&*table.topic) != Some(&table.partitions) {
                // Made anew under the same name it would be taken for the one that is gone.
                self.names.lose(&id);
            }
            match self.names.claim(&id).and_then(|topic| Ok((self.define(index)?, topic))) {
                Ok((definition, topic)) => {
                    defined.push(Placed { index, definition, topic, partitions: 0 });
                }
                Err(problem) => self.exclude(index, &problem)?,
            }
        }
        let topics: Vec<String> = defined.iter().map(|placed| placed.topic.clone()).collect();
        let found = self.port.ask(topics, Action::Ensure).await;
        let mut ready = Vec::new();
        for (placed, found) in defined.into_iter().zip(found) {
            let id = self.tables[placed.index].id.clone();
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
                    if !self.tables[placed.index].is_published() {
                        self.names.release(&id);
                    }
                    self.exclude(placed.index, &format!("{refused}; {TOPIC_REMEDY}"))?;
                }
            }
        }
        Ok(ready)
    }

    /// What is published of a table that joins, or why nothing can be.
    fn define(&self, index: TableIndex) -> Result<Table, String> {
        let table = &self.tables[index];
        let mut previous = table.table.clone();
        let mut key_index = table.catalog.index_of_key(&table.table).map(|index| index.name.as_str());
        if table.lineage.is_dropped() {
            // Another table of the name: nothing says that its key is the same.
            Arc::make_mut(&mut previous).key.clear();
            key_index = None;
        }
        self.publishable(&self.tables.joining(index).catalog, table, (&previous, key_index))
    }

    /// The table begins, or begins anew, behind `barrier`, the ends of its topic's partitions. The caller commits.
    fn join(&mut self, placed: Placed, barrier: Vec<i64>) -> Result<(), Halt> {
        let Placed { index, definition, topic, partitions } = placed;
        let Joining { catalog, why, .. } = self.tables.joining(index).clone();
        let mut table = self.tables[index].clone();
        let id = table.id.clone();
        let returning = table.is_published() || barrier.iter().any(|offset| *offset > 0);
        if *table.topic != *topic {
            // The subjects of another topic begin with their first versions.
            table.schemas = SchemaTexts::default();
            table.lineage.leave_topic();
        }
        table.topic = topic.as_str().into();
        table.partitions = partitions;
        table.catalog = catalog.clone();
        let origin = Origin {
            cause: if returning { Cause::Reset } else { Cause::Initial },
            statement: why,
            barrier,
            written_ms: self.output.handled_ms,
            transaction: self.progress.transaction(),
            position: self.progress.position().clone(),
        };
        let history = match self.advance(&mut table, definition, origin, &catalog) {
            Ok(history) => history,
            Err(reason) if table.is_published() => return self.park(index, &reason),
            Err(reason) => return self.exclude(index, &format!("{}; {}", reason.message, reason.remedy)),
        };
        self.tables[index] = table;
        self.transition(index, Standing::Streaming);
        self.maps.clear();
        self.put_history(history);
        self.put_state(&StateKey::Catalog(id.clone()), &StoredCatalog::proven(catalog));
        self.names.settle(&id);
        self.selected.insert(id.clone(), SelectedTable { id, topic, partitions, excluded: None });
        self.begin_reading(index)?;
        self.retire(index);
        Ok(())
    }

    /// The published part of a definition, or why there is none. `previous` has the columns whose ids live on, under the
    /// names they have now, and the index that was the key.
    pub(super) fn publishable(
        &self,
        catalog: &CatalogTable,
        table: &SequencedTable,
        previous: (&Table, Option<&str>),
    ) -> Result<Table, String> {
        let highest_id = table.highest_column_id;
        publishable(&self.setup.selection, &self.setup.key_indexes, catalog, highest_id, previous)
    }

    /// A table that cannot be replicated as it is: shown with its remedy, nothing of it is published. The caller writes
    /// the selection.
    fn exclude(&mut self, index: TableIndex, problem: &str) -> Result<(), Halt> {
        if self.tables[index].is_published() {
            return self.park(index, &ParkReason::definition(problem));
        }
        let id = self.tables[index].id.clone();
        if self.setup.strict {
            let remedy = remedies::table_not_replicable_strictly();
            return Err(Halt::stop("a table cannot be replicated (strict = true)", &id, problem, remedy));
        }
        tracing::warn!(table = %id, "table excluded: {problem}");
        self.transition(index, Standing::Excluded);
        let topic = table_topic(&self.setup.task, &id);
        let partitions = self.selected.get(&id).map_or(self.setup.topic.partitions, |table| table.partitions);
        let excluded = Some(problem.to_owned());
        self.selected.insert(id.clone(), SelectedTable { id, topic, partitions, excluded });
        Ok(())
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

/// The part of a definition that the configuration has published, or why there is none. `previous` has the columns whose
/// ids live on, and the index that was the key; no id up to `highest_id` is given again.
pub(crate) fn publishable(
    selection: &TableSelection,
    key_indexes: &BTreeMap<String, String>,
    catalog: &CatalogTable,
    highest_id: u32,
    (previous, previous_index): (&Table, Option<&str>),
) -> Result<Table, String> {
    let excluded: Vec<String> = catalog
        .columns
        .iter()
        .filter(|column| selection.excludes_column(&catalog.id, &column.name))
        .map(|column| column.name.clone())
        .collect();
    let wishes = Wishes {
        excluded: &excluded,
        previous: Some(previous),
        previous_index,
        highest_id,
        key_index: key_indexes.get(&catalog.id.to_string()).map(String::as_str),
        charset_supported: |name| Charset::named(name).is_some(),
    };
    let table = catalog.published(&wishes).map_err(|problem| problem.to_string())?;
    field_clash(&table).map_or(Ok(table), Err)
}
