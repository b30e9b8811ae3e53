//! Which tables there are to compare, when each is ready for it, and what of it can be judged: the history topic, the
//! configuration and the destination's bookkeeping enter.

use super::compare::Subject;
use super::error::VerifyError;
use super::judge::Judged;
use super::lag::{SILENCE, STALL};
use super::remedies;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tributary_config::{Config, ExistingData, TableRules, TableSelector, TaskName};
use tributary_schemas::history::{Cause, SelectedTable};
use tributary_schemas::table::TableId;
use tributary_service::cli::write_out;
use tributary_service::kafka::consumer_config;
use tributary_topics::history::History;
use tributary_topics::reader::HistoryReader;
use tributary_warehouse::bookkeeping::{Bookkeeping, TaskView};
use tributary_warehouse::destination::Connection;
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::operations::Operations;
use tributary_warehouse::tables::examine::obstacle;
use tributary_warehouse::tables::task::{TableRefusal, TableTask};

/// How often a table that is not ready is looked at again.
const BEAT: Duration = Duration::from_millis(200);

/// A table that is selected.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Newest name on the source.
    pub id: TableId,
    /// What people call it.
    pub name: String,
    /// Name in the destination, for people; empty if it has none.
    pub target: String,
    /// Why the task does not carry it over; `None` if it does.
    pub left: Option<String>,
    selected: SelectedTable,
}

/// A table that can be compared.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What to compare.
    pub subject: Subject,
    /// What is not judged, and why.
    pub notes: Vec<String>,
}

/// The history and the bookkeeping.
pub(crate) struct Catalog {
    reader: HistoryReader,
    bookkeeping: Bookkeeping,
    dialect: Dialect,
}

impl Catalog {
    /// Reads the history. Blocks.
    pub(crate) fn open(
        config: &Config,
        task: &TaskName,
        bookkeeping: Bookkeeping,
        dialect: Dialect,
    ) -> Result<Self, VerifyError> {
        let client = consumer_config(&config.kafka, &config.name);
        let mut reader = HistoryReader::open(&client, task)?;
        reader.read_to_end(|| false)?;
        Ok(Self { reader, bookkeeping, dialect })
    }

    /// The selected tables that `only` matches, by name.
    #[must_use]
    pub(crate) fn wanted(
        &self,
        config: &Config,
        rules: &TableRules,
        only: Option<&TableSelector>,
    ) -> Vec<Wanted> {
        let history = self.reader.history();
        let mut all: Vec<Wanted> = history
            .selected()
            .unwrap_or_default()
            .iter()
            .map(|selected| wanted(config, rules, history, selected))
            .filter(|wanted| only.is_none_or(|only| only.is_of(history.task()) && only.matches(&wanted.id)))
            .collect();
        all.sort_by(|left, right| left.id.cmp(&right.id));
        all
    }

    /// The newest generation of a topic, after reading the history to its end. Blocks.
    pub(crate) fn newest(&mut self, topic: &str) -> Result<Option<u32>, VerifyError> {
        self.reader.read_to_end(|| false)?;
        Ok(self.reader.history().generations(topic).next_back().map(|record| record.generation))
    }

    async fn is_begun(&self, connection: &mut Connection, topic: &str) -> Result<bool, VerifyError> {
        let view = self.bookkeeping.view(connection).await?;
        Ok(view.targets.iter().any(|row| row.topic == topic))
    }

    /// Waits until the table has been loaded and its newest definition carried out; `None` if it was dropped.
    ///
    /// # Errors
    /// [`VerifyError::Stalled`] if that makes no progress, [`VerifyError::Parked`] if it cannot.
    pub(crate) async fn ready(
        &mut self,
        connection: &mut Connection,
        config: &Config,
        rules: &TableRules,
        wanted: &Wanted,
    ) -> Result<Option<Ready>, VerifyError> {
        let topic = &wanted.selected.topic;
        let (mut moved, mut last, mut said) = (Instant::now(), None, false);
        loop {
            block_in_place(|| self.newest(topic))?;
            let view = self.bookkeeping.view(connection).await?;
            let history = self.reader.history();
            let Ok(task) = TableTask::new(config, rules, history, &wanted.selected) else {
                return Err(VerifyError::Changed);
            };
            let progress = match stage(&task, history, &view) {
                Stage::Dropped => return Ok(None),
                Stage::Ready(ready) => return Ok(Some(*ready)),
                Stage::Parked(error) => return Err(error),
                Stage::Waiting(progress) => progress,
                Stage::NotBegun(task) => {
                    // What keeps apply from beginning a table is in no bookkeeping: it is looked for, once nobody can
                    // have begun meanwhile.
                    if let Some((found, remedy)) =
                        obstacle((connection, self.dialect), &self.bookkeeping, &task).await?
                        && !self.is_begun(connection, &task.topic).await?
                    {
                        return Err(VerifyError::NotBegun { found, remedy });
                    }
                    "apply has not begun the table".to_owned()
                }
            };
            if last.as_ref() != Some(&progress) {
                (last, moved, said) = (Some(progress), Instant::now(), false);
            } else if moved.elapsed() > STALL {
                return Err(VerifyError::Stalled {
                    what: format!("{progress}, and in {} s nothing moved", STALL.as_secs()),
                    remedy: remedies::stalled(),
                });
            } else if moved.elapsed() > SILENCE && !std::mem::replace(&mut said, true) {
                write_out(&format!("waiting       {}: {progress}\n", wanted.name));
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}

fn wanted(config: &Config, rules: &TableRules, history: &History, selected: &SelectedTable) -> Wanted {
    let (mut id, mut target) = (selected.id.clone(), String::new());
    let left = match (&selected.excluded, TableTask::new(config, rules, history, selected)) {
        (Some(why), _) => Some(format!("capture leaves it out: {why}")),
        (None, Err(TableRefusal::Unmatched)) => Some("no [[table]] names it".to_owned()),
        (None, Err(TableRefusal::Error(error))) => Some(format!("{}; {}", error.message, error.remedy)),
        (None, Ok(task)) => {
            target = format!("{}.{}", task.target.schema, task.target.table);
            id = task.id;
            None
        }
    };
    let name = config.label(history.task(), &id);
    Wanted { id, name, target, left, selected: selected.clone() }
}

enum Stage {
    Dropped,
    /// Apply has written nothing of the table yet.
    NotBegun(Box<TableTask>),
    Ready(Box<Ready>),
    Parked(VerifyError),
    /// What has been reached, in words.
    Waiting(String),
}

/// Where a table is between selected and ready.
fn stage(task: &TableTask, history: &History, view: &TaskView) -> Stage {
    let Some((number, generation)) = task.generations.last_key_value() else {
        return Stage::Waiting("capture has not begun to read the table".to_owned());
    };
    let Some(row) = view.targets.iter().find(|row| row.topic == task.topic) else {
        return Stage::NotBegun(Box::new(task.clone()));
    };
    if let Some(error) = &row.parked {
        return Stage::Parked(VerifyError::Parked {
            by: "apply",
            code: error.code.clone(),
            message: error.message.clone(),
            remedy: error.remedy.clone(),
        });
    }
    if generation.cause == Cause::Drop {
        return Stage::Dropped;
    }
    if let Some(load) = history.load(&task.id).filter(|load| !load.complete) {
        let (read, estimated) = (load.rows_read, load.rows_estimated);
        return Stage::Waiting(format!("its initial load has read {read} of about {estimated} rows"));
    }
    if row.applied < *number {
        return Stage::Waiting(format!("apply has carried out generation {} of {number}", row.applied));
    }
    // In a target that is to be shared only the table's own rows are looked at.
    let shared =
        !task.rule.is_shared() && view.targets.iter().filter(|other| other.target == row.target).count() > 1;
    let (judged, notes) = judged(task.operations, task.existing, shared);
    Stage::Ready(Box::new(Ready {
        subject: Subject {
            generation: Arc::clone(generation),
            rule: task.rule.clone(),
            target: row.target.clone(),
            partitions: task.partitions,
            judged,
            alter: task.alter,
        },
        notes,
    }))
}

/// What of a table can be judged, and why the rest cannot.
fn judged(operations: Operations, existing: ExistingData, shared: bool) -> (Judged, Vec<String>) {
    let mut judged = Judged::ALL;
    let mut notes = Vec::new();
    if !operations.insert {
        judged.missing = false;
        notes.push("the task does not take inserts: missing rows are no differences".to_owned());
    }
    if !operations.update {
        judged.values = false;
        notes.push("the task does not take updates: rows with other values are no differences".to_owned());
    }
    if !operations.delete {
        judged.surplus = false;
        notes.push("the task does not take deletes: surplus rows are no differences".to_owned());
    }
    if existing == ExistingData::Append && judged.surplus {
        judged.surplus = false;
        notes.push("existing_data is \"append\": surplus rows may be those of before".to_owned());
    }
    if shared && judged.surplus {
        judged.surplus = false;
        notes.push("other tables are merged into the same target: surplus rows may be theirs".to_owned());
    }
    (judged, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_task_leaves_is_not_judged_and_said() {
        assert_eq!(judged(Operations::ALL, ExistingData::Refuse, false), (Judged::ALL, vec![]));
        let (all, notes) =
            judged(Operations { insert: false, update: false, delete: false }, ExistingData::Append, true);
        assert_eq!(all, Judged { missing: false, surplus: false, values: false });
        assert_eq!(notes.len(), 3);
        for (existing, shared) in [(ExistingData::Append, false), (ExistingData::Clear, true)] {
            let (found, notes) = judged(Operations::ALL, existing, shared);
            assert_eq!(found, Judged { surplus: false, ..Judged::ALL });
            assert_eq!(notes.len(), 1);
        }
    }
}
