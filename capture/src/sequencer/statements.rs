//! DDL in the stream: a barrier between what was before and what comes after, written to the history in one Kafka
//! transaction with the checkpoint behind the statement. What a statement did to rows without
//! row events, or what cannot be followed, leads to a re-read of the table.

use super::Sequencer;
use super::follows::Names;
use super::halt::Halt;
use super::park::{ParkReason, RENAMED};
use super::port::Action;
use super::table::{HistoryRecords, Origin};
use super::tables::{Standing, TableIndex};
use crate::ddl::{AlterStep, Change, Effect, Next, TableEffect};
use crate::topics::state::StoredCatalog;
use std::sync::Arc;
use tributary_schemas::checkpoint::StateKey;
use tributary_schemas::envelope::key_schema;
use tributary_schemas::history::Cause;
use tributary_schemas::table::{Table, TableId};

/// The step of a DDL that a run with faults can end at.
const BARRIER: &str = "ddl-barrier";

/// A new generation that a statement makes.
struct Step {
    index: TableIndex,
    cause: Cause,
    table: Table,
    catalog: Option<StoredCatalog>,
}

impl Sequencer {
    /// The effects of one statement, in order; then its transaction is over.
    pub(super) async fn on_ddl(&mut self, effects: Vec<TableEffect>, statement: &str) -> Result<(), Halt> {
        let names = Names::of(&effects);
        let concerned: Vec<TableEffect> =
            effects.into_iter().filter(|effect| self.is_concerned(effect, &names)).collect();
        if concerned.is_empty() {
            return self.end_implicit().await;
        }
        tracing::info!(statement, position = %self.progress.position(), "DDL");
        let mut steps = Vec::new();
        for effect in concerned {
            // In a swap (gh-ost, pt-online-schema-change) the name comes back in the same statement.
            if matches!(&effect.effect, Effect::RenameTo(to) if names.arrives(&effect.table) && !self.follows(to, &names))
            {
                continue;
            }
            self.on_effect(effect, statement, &names, &mut steps).await?;
        }
        if steps.is_empty() {
            self.end_implicit().await
        } else {
            self.new_generations(steps, statement).await
        }
    }

    /// DROP DATABASE takes its tables with it.
    pub(super) async fn on_drop_database(&mut self, database: &str, statement: &str) -> Result<(), Halt> {
        let gone: Vec<TableId> = self
            .tables
            .iter()
            .filter(|(_, table)| table.is_published() && table.id.database == database)
            .map(|(_, table)| table.id.clone())
            .collect();
        let effects = gone.into_iter().map(|table| TableEffect { table, effect: Effect::Drop }).collect();
        self.on_ddl(effects, statement).await
    }

    fn is_concerned(&self, effect: &TableEffect, names: &Names) -> bool {
        let follows = |id: &TableId| self.follows(id, names);
        follows(&effect.table) || matches!(&effect.effect, Effect::RenameTo(to) if follows(to))
    }

    async fn on_effect(
        &mut self,
        TableEffect { table: id, effect }: TableEffect,
        statement: &str,
        names: &Names,
        steps: &mut Vec<Step>,
    ) -> Result<(), Halt> {
        // A table that waits to join is read behind this statement; one that is not known yet may be replicable now.
        let streaming = self.tables.find(&id).filter(|index| self.tables.is_streaming(*index));
        match (effect, streaming) {
            (Effect::Alter(clauses), Some(index)) => {
                return self.on_alter(index, &clauses, statement, steps).await;
            }
            (Effect::Truncate, Some(index)) => {
                steps.push(self.emptied(index, Cause::Truncate));
            }
            (Effect::Drop, _) => steps.extend(self.gone(&id)?),
            (Effect::RenameTo(to), _) => {
                if self.follows(&to, names) {
                    // Its rows live on under the new name. Where another table takes the old one, that is read anew.
                    if !names.arrives(&id) {
                        steps.extend(self.gone(&id)?);
                    }
                    self.later(&to, statement);
                } else {
                    self.renamed_away(&id, &to)?;
                }
            }
            (Effect::Create { if_not_exists: true }, _) if self.exists(&id) => {}
            (Effect::Unknown { reason }, Some(_)) => self.later(&id, &reason),
            (Effect::Truncate, None) => {}
            (Effect::Alter(_) | Effect::Create { .. } | Effect::Unknown { .. }, _) => {
                self.later(&id, statement)
            }
        }
        Ok(())
    }

    /// True if the source has the table at this place, as far as is known: it runs, is parked for another reason than
    /// that it was renamed away, or waits to join. Of one that the source did not have when it was asked nothing is known.
    pub(super) fn exists(&self, id: &TableId) -> bool {
        self.tables.find(id).is_some_and(|index| match self.tables.standing(index) {
            Standing::Parked(parked) => parked.code != RENAMED,
            Standing::Absent { .. } => false,
            other => other.is_followed(),
        })
    }

    /// The name stands for no table any more: what its target holds goes.
    fn gone(&mut self, id: &TableId) -> Result<Option<Step>, Halt> {
        match self.tables.find(id) {
            None => Ok(None),
            // A statement that says IF EXISTS is in the binlog also where there is none.
            Some(index) if matches!(self.tables.standing(index), Standing::Gone) => Ok(None),
            Some(index) if !self.tables[index].is_published() => {
                // It waited to be read; now there is nothing to read.
                self.transition(index, Standing::Gone);
                Ok(None)
            }
            // There is no topic that could tell of it.
            Some(index) if self.names.is_lost(id) => self.park(index, &ParkReason::absent()).map(|()| None),
            Some(index) => Ok(Some(self.emptied(index, Cause::Drop))),
        }
    }

    /// The name stands for no table any more; its rows live on where they are not followed.
    fn renamed_away(&mut self, id: &TableId, to: &TableId) -> Result<(), Halt> {
        match self.tables.find(id).filter(|index| self.tables.standing(*index).is_followed()) {
            None => {}
            Some(index) if self.tables[index].is_published() => {
                self.park(index, &ParkReason::renamed(&to.to_string()))?;
            }
            // It waited to be read; now there is nothing to read.
            Some(index) => self.transition(index, Standing::Gone),
        }
        Ok(())
    }

    /// Has the table read anew from a place behind this statement. Inside of a transaction there may be rows to come; they
    /// count for nothing either way.
    fn later(&mut self, id: &TableId, why: &str) {
        let index = self.tables.find_or_add(id);
        self.tables.reread(index, why);
    }

    /// Every row is gone, the definition is the same.
    fn emptied(&self, index: TableIndex, cause: Cause) -> Step {
        Step { index, cause, table: (*self.tables[index].table).clone(), catalog: None }
    }

    async fn on_alter(
        &mut self,
        index: TableIndex,
        clauses: &[AlterStep],
        statement: &str,
        steps: &mut Vec<Step>,
    ) -> Result<(), Halt> {
        if self.overtakes_expectation(index) {
            let why = format!("what a statement before it left open cannot be told any more: {statement}");
            self.tables.reread(index, why);
            return Ok(());
        }
        let table = &self.tables[index];
        let next = match crate::ddl::apply(&table.catalog, clauses, &self.setup.session) {
            Ok(next) => next,
            Err(unknown) => {
                self.tables.reread(index, unknown.to_string());
                return Ok(());
            }
        };
        let load = self.snapshot.loading(index);
        let reordered = load.as_ref().and_then(|_| next.reorders_readers(&table.catalog, &table.table));
        if let Some(why) = next.rereads.clone().or(reordered) {
            self.tables.reread(index, why);
            return Ok(());
        }
        let Some((next, unproven)) = self.stated(index, next).await else { return Ok(()) };
        let Next { table: catalog, change, .. } = &next;
        if *change == Change::Unchanged && !unproven {
            return Ok(());
        }
        let table = &self.tables[index];
        let previous = next.previous(&table.table);
        let definition = match self.publishable(catalog, table, (&previous, None)) {
            Ok(definition) => definition,
            Err(problem) => return self.park(index, &ParkReason::definition(&problem)),
        };
        let moved = load.and_then(|load| table.names.moved(load.generation, &definition));
        let misread =
            moved.map(|name| format!("while the table was read, the name {name} went to another column"));
        if let Some(why) = misread.or_else(|| next.reveals(&table.table, &definition)) {
            self.tables.reread(index, why);
            return Ok(());
        }
        // Other key bytes would move rows to other partitions and miss their tombstones.
        let same_key = key_schema(&table.topic, &definition).is_ok_and(|schema| schema == table.schemas.key);
        if !same_key || definition.key != table.table.key {
            let why = format!("the key changed by {statement}");
            self.tables.reread(index, why);
            return Ok(());
        }
        let catalog = Some(StoredCatalog { table: next.table, unproven });
        steps.push(Step { index, cause: Cause::Alter, table: definition, catalog });
        Ok(())
    }

    /// Ends the Kafka transaction so that every earlier record has its offset, takes the barriers, and writes the
    /// generations with a checkpoint behind the statement: a restart finds all of it or none.
    async fn new_generations(&mut self, steps: Vec<Step>, statement: &str) -> Result<(), Halt> {
        self.commit().await;
        self.port.ask(BARRIER, Action::Reach).await;
        let (mut history, mut changed) = (HistoryRecords::default(), Vec::new());
        let partitioned = |step: &Step| {
            let table = &self.tables[step.index];
            (Arc::clone(&table.topic), table.partitions)
        };
        let topics: Vec<(Arc<str>, u32)> = steps.iter().map(partitioned).collect();
        let barriers = self.port.ask(topics, Action::Ends).await;
        for (Step { index, cause, table: definition, catalog }, barrier) in steps.into_iter().zip(barriers) {
            let origin = Origin {
                cause,
                statement: statement.to_owned(),
                barrier,
                written_ms: self.output.handled_ms,
                transaction: self.progress.transaction(),
                position: self.progress.position().clone(),
            };
            let mut table = self.tables[index].clone();
            let known = catalog.as_ref().map_or(&table.catalog, |stored| &stored.table).clone();
            match self.advance(&mut table, definition, origin, &known) {
                Ok(records) => history.append(records),
                Err(reason) => {
                    self.park(index, &reason)?;
                    continue;
                }
            }
            let id = table.id.clone();
            table.catalog = known;
            if let Some(catalog) = catalog {
                self.put_state(&StateKey::Catalog(id), &catalog);
            }
            self.tables[index] = table;
            changed.push(index);
            if cause == Cause::Drop {
                self.transition(index, Standing::Gone);
            } else if self.tables.is_streaming(index) {
                self.redefine_reading(index)?;
            }
        }
        self.put_history(history);
        changed.into_iter().for_each(|index| self.retire(index));
        self.maps.clear();
        self.end_implicit().await?;
        self.publish(0).await;
        self.port.ask(BARRIER, Action::Reach).await;
        self.commit().await;
        self.port.ask(BARRIER, Action::Reach).await;
        Ok(())
    }
}
