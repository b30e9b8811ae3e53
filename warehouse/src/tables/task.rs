//! One table as the destination's side sees it: what the history says of its topic and what the config wants done
//! with it. Pure; rebuilt whenever the history grows.

use super::barriers::{Barrier, Barriers, Passage};
use crate::bookkeeping::Share;
use crate::destination::TableError;
use crate::merge::changes::{Change, changes};
use crate::merge::defaults::of_older_rows;
use crate::merge::layout::ColumnRule;
use crate::merge::names::TargetName;
use crate::merge::operations::Operations;
use crate::merge::slice::Slice;
use crate::merge::union::written;
use crate::remedies;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tributary_config::{AllowedOperation, Config, ExistingData, Indexes, Storage, TableRules, TaskName};
use tributary_schemas::history::{Cause, GenerationRecord, Run, SelectedTable};
use tributary_schemas::table::{Table, TableId};
use tributary_service::codes::Code;
use tributary_topics::history::History;

/// Everything a job on a table needs to know. `rule` says whether others share the target.
#[derive(Debug, Clone)]
pub struct TableTask {
    /// What people call it: its name on the source, with the task in front where several are read.
    pub name: String,
    /// The task whose capture writes the topic.
    pub origin: TaskName,
    pub topic: String,
    /// Which of the topics that had this name, one after the other, it is.
    pub incarnation: String,
    /// Name on the source.
    pub id: TableId,
    /// Partitions of the topic, as the history says.
    pub partitions: u32,
    /// Table of the destination.
    pub target: TargetName,
    /// Columns and policies.
    pub rule: ColumnRule,
    /// Which changes of rows are taken.
    pub operations: Operations,
    /// Whether changes of the definition are taken.
    pub alter: bool,
    /// What to do with rows of before.
    pub existing: ExistingData,
    /// Distribution key by names in the destination.
    pub distributed_by: Option<Vec<String>>,
    /// Secondary indexes.
    pub indexes: Indexes,
    pub storage: Storage,
    /// Generations by number.
    pub generations: BTreeMap<u32, Arc<GenerationRecord>>,
    /// Those of the topics that the table had before, by number.
    pub former: BTreeMap<u32, Arc<GenerationRecord>>,
    /// Generations that have no record any more.
    pub retired: Vec<Run>,
    /// The initial load has not ended.
    pub loading: bool,
    /// How long a delete stays in the topic: `min.compaction.lag.ms`, and the same again as `delete.retention.ms`.
    pub retention: Duration,
}

/// Why a selected table is not applied here, though capture publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableRefusal {
    /// No `[[table]]` names it.
    Unmatched,
    /// It cannot be applied.
    Error(TableError),
}

/// A table that capture publishes, and what the configuration makes of it.
pub type Planned = (String, Result<TableTask, TableRefusal>);

/// The tables that are replicated.
pub fn planned(config: &Config, rules: &TableRules, histories: &[History]) -> Vec<Planned> {
    let of_task = |history: &History| {
        let tables = history.replicated().map(|selected| {
            (config.label(history.task(), &selected.id), TableTask::new(config, rules, history, selected))
        });
        tables.filter(|(_, task)| !matches!(task, Err(TableRefusal::Unmatched))).collect::<Vec<_>>()
    };
    histories.iter().flat_map(of_task).collect()
}

impl TableTask {
    /// The task of a selected table.
    ///
    /// # Errors
    /// [`TableRefusal`] if the config does not want it, or contradicts itself about it.
    pub fn new(
        config: &Config,
        rules: &TableRules,
        history: &History,
        table: &SelectedTable,
    ) -> Result<Self, TableRefusal> {
        let wrong = |code: Code, message: String, remedy: &str| {
            TableRefusal::Error(TableError::new(
                code,
                message,
                config.label(history.task(), &table.id),
                remedy,
            ))
        };
        let rule = rules
            .select(history.task(), &table.id)
            .map_err(|conflict| wrong(Code::RuleConflict, conflict.to_string(), remedies::rule_conflict()))?
            .ok_or(TableRefusal::Unmatched)?;
        let (target_schema, target_table) = rule
            .target(history.task(), &table.id)
            .map_err(|error| wrong(Code::TargetName, error.to_string(), remedies::target_name()))?;
        let constants = rules.constants(history.task(), &table.id).map_err(|error| {
            let name = config.label(history.task(), &table.id);
            wrong(Code::ConstantValue, error.to_string(), &remedies::constant_value(&name))
        })?;
        let operations = rule.operations(&config.apply);
        let generations: BTreeMap<u32, Arc<GenerationRecord>> =
            history.generations(&table.topic).map(|record| (record.generation, Arc::clone(record))).collect();
        // A table that was renamed goes by its newest name.
        let id = generations.values().next_back().map_or(&table.id, |record| &record.table.id).clone();
        let stated = Duration::from_millis(config.topics.retention_ms());
        Ok(Self {
            name: config.label(history.task(), &id),
            origin: history.task().clone(),
            retention: history.retention().unwrap_or(stated),
            topic: table.topic.clone(),
            incarnation: history.incarnation(&table.topic).unwrap_or_default().to_owned(),
            partitions: table.partitions,
            target: TargetName::new(&target_schema, &target_table),
            rule: ColumnRule {
                drop: rule.columns.drop.clone(),
                rename: rule.columns.rename.clone().into_iter().collect(),
                constants,
                primary_key: (!rule.primary_key.is_empty()).then(|| rule.primary_key.clone()),
                zero_dates: config.apply.on_zero_date,
                nul_bytes: config.apply.on_nul_byte,
            },
            operations: Operations::of(operations),
            alter: operations.contains(&AllowedOperation::Alter),
            existing: rule.existing_data(&config.apply),
            distributed_by: rule.distributed_by.clone(),
            indexes: rule.indexes(&config.apply),
            storage: rule.storage,
            former: history.former(&id, &table.topic),
            retired: history.retired(&id).to_vec(),
            loading: history.load(&id).is_none_or(|load| !load.complete),
            id,
            generations,
        })
    }

    /// The rows of the target that are its own.
    #[must_use]
    pub fn slice(&self) -> Slice {
        Slice::of(&self.rule)
    }

    /// What it has in a target that it may share, with the definition of `generation`.
    #[must_use]
    pub fn share(&self, generation: u32) -> Share {
        let record = self.record(generation).filter(|record| record.cause != Cause::Drop);
        let columns = record.and_then(|record| written(&record.table, &self.rule).ok());
        Share { slice: self.slice(), columns: columns.unwrap_or_default() }
    }

    /// Its staging table in `schema` for the writer of this number. Topics that share a target each have their own.
    #[must_use]
    pub fn stage(&self, schema: &str, writer: u32) -> TargetName {
        let topic = self.rule.is_shared().then_some(self.topic.as_str());
        self.target.stage(schema, topic, writer)
    }

    /// The barriers of its generations.
    #[must_use]
    pub fn barriers(&self) -> Barriers {
        let mut barriers = Barriers::default();
        let mut before: Option<&GenerationRecord> = None;
        for record in self.generations.values() {
            barriers.insert(Barrier {
                generation: record.generation,
                offsets: record.barrier.clone(),
                passage: self.passage(before, record),
                empties: record.cause.empties() && self.operations.delete,
            });
            before = Some(record);
        }
        barriers
    }

    /// Only a generation that adds columns may come before older rows; not where the target is shared: there a column that
    /// is added has no default, and rows that are there get it by an UPDATE.
    fn passage(&self, before: Option<&GenerationRecord>, record: &GenerationRecord) -> Passage {
        match before {
            Some(before) if record.cause == Cause::Alter && !self.rule.is_shared() => {
                let changes = changes(&before.table, &record.table);
                if changes.iter().all(Change::is_idempotent) { Passage::First } else { Passage::Last }
            }
            _ => Passage::Last,
        }
    }

    /// True if the table is emptied and read anew with `generation`.
    #[must_use]
    pub fn is_reset(&self, generation: u32) -> bool {
        let record = self.generations.get(&generation);
        self.operations.delete && record.is_some_and(|record| record.cause == Cause::Reset)
    }

    /// True if no row of before lives on in `generation`, in the target either.
    #[must_use]
    pub fn is_emptied(&self, generation: u32) -> bool {
        let record = self.generations.get(&generation);
        self.operations.delete && record.is_some_and(|record| record.cause.empties())
    }

    /// True if the table is emptied behind `generation`: whatever was missed of that one does not matter any more.
    #[must_use]
    pub fn is_emptied_after(&self, generation: u32) -> bool {
        self.generations.range(generation + 1..).any(|(later, _)| self.is_emptied(*later))
    }

    /// True if the table is read anew behind `generation`: whatever that one changes does not matter any more, either.
    #[must_use]
    pub fn is_reset_after(&self, generation: u32) -> bool {
        self.generations.range(generation + 1..).any(|(later, _)| self.is_reset(*later))
    }

    /// The generation that value schema `id` belongs to; for one that has no record any more, that which has its
    /// definition: a later one has emptied the table.
    #[must_use]
    pub fn generation_of(&self, id: u32) -> Option<u32> {
        let found = self.generations.values().find(|record| record.value_schema_id == id);
        let retired = || self.retired.iter().find(|run| run.has_schema(id)).map(|run| run.same_as);
        found
            .map(|record| record.generation)
            .or_else(retired)
            .filter(|held| self.generations.contains_key(held))
    }

    /// What a generation is; for one that has no record any more, that which has its definition.
    #[must_use]
    pub fn record(&self, generation: u32) -> Option<&Arc<GenerationRecord>> {
        self.generations.get(&generation).or_else(|| {
            let run = self.retired.iter().find(|run| run.has(generation))?;
            self.generations.get(&run.same_as)
        })
    }

    /// True if keys may be written with this schema.
    #[must_use]
    pub fn has_key_schema(&self, id: u32) -> bool {
        self.generations.values().any(|record| record.key_schema_id == id)
    }

    /// True if a column may carry its original text in a header.
    #[must_use]
    pub fn may_have_raw_values(&self) -> bool {
        let mut columns = self.generations.values().flat_map(|record| &record.table.columns);
        columns.any(|column| column.column_type.may_be_zero_date())
    }

    /// The same of the topics that the table had before.
    #[must_use]
    pub fn former_record(&self, generation: u32) -> Option<&Arc<GenerationRecord>> {
        self.former.get(&generation).or_else(|| {
            let run = self.retired.iter().find(|run| run.has(generation))?;
            self.former.get(&run.same_as)
        })
    }

    /// What the columns that were added between generations `rows` and `target` hold in rows of before: by name in the
    /// destination, as SQL. Each by the definition that it was added with, whatever has become of its default since.
    #[must_use]
    pub fn fills(&self, rows: u32, target: u32) -> Vec<(String, String)> {
        let (Some(old), Some(new)) = (self.record(rows), self.record(target)) else {
            return Vec::new();
        };
        let added = new.table.columns.iter().filter(|column| old.table.column(column.id).is_none());
        let wanted = added.filter(|column| !self.rule.drops(column));
        wanted
            .filter_map(|column| {
                let mut between = self.generations.range(rows + 1..=target);
                let first = between.find_map(|(_, record)| record.table.column(column.id))?;
                Some((self.rule.target_name(column), of_older_rows(first, &self.rule)?))
            })
            .collect()
    }

    /// The rule by which rows of `old` go into a target that has the definition of `new`: columns are the same if
    /// their ids are; one that `new` does not have any more is left out.
    #[must_use]
    pub(crate) fn rule_between(&self, old: &Table, new: &Table) -> ColumnRule {
        let mut rule = self.rule.clone();
        for column in &old.columns {
            match new.column(column.id) {
                None => rule.drop.push(column.name.clone()),
                Some(now) if now.name != column.name => {
                    rule.drop.retain(|name| *name != column.name);
                    rule.rename.retain(|(name, _)| *name != column.name);
                    if self.rule.drops(now) {
                        rule.drop.push(column.name.clone());
                    } else {
                        rule.rename.push((column.name.clone(), self.rule.target_name(now)));
                    }
                }
                Some(_) => {}
            }
        }
        rule
    }
}
