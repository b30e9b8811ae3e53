//! The first time a topic meets its target: schema, table, `existing_data`, first offsets, all in one transaction
//! under an advisory lock, by whichever instance comes first. And every later time: reading the offsets.

use super::anew::Touched;
use super::claim::Done;
use super::locks::Hold;
use super::refused::{
    check_identity, existing_data, incomplete, missed, partitions_changed, recreated, rule_changed, shared,
    undefined,
};
use super::{TableMemory, WorkError, Worker};
use crate::batches::compact::Batch;
use crate::pipeline::job::{JobOutcome, Loaded};
use crate::remedies;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tributary_config::ExistingData;
use tributary_schemas::history::GenerationRecord;
use tributary_schemas::table::Table;
use tributary_service::codes::Code;
use tributary_service::kafka::TopicPartition;
use tributary_service::waits::Waits;
use tributary_topics::error::TopicError;
use tributary_warehouse::bookkeeping::{NewTarget, OffsetRow, Ownership, TargetRow};
use tributary_warehouse::destination::{Connection, DestinationError, TableError, catalog};
use tributary_warehouse::merge::ddl::{Created, Creation};
use tributary_warehouse::merge::target::TargetShape;
use tributary_warehouse::merge::union::unite;
use tributary_warehouse::tables::fit::{check_hazards, compile, warnings};
use tributary_warehouse::tables::ownership::{Act, refusal};
use tributary_warehouse::tables::sharing::{changed, confused, judged, moved, not_united};
use tributary_warehouse::tables::task::TableTask;

impl Worker {
    /// Reads the offsets of partitions, waiting out transactions in doubt; sets the target up if nobody has.
    pub(super) async fn load(
        &self,
        task: &TableTask,
        memory: &TableMemory,
        partitions: &[(i32, u64)],
    ) -> Result<JobOutcome<Batch>, WorkError> {
        let numbers: Vec<i32> = partitions.iter().map(|(number, _)| *number).collect();
        let conflicts = memory.conflicts();
        let waiting = self.pool.turn_to_wait(&task.target, conflicts).await;
        let mut lease = self.begin(task, Hold::Writer(&task.target), conflicts).await?;
        let _defining;
        let target = match self.bookkeeping.target(&mut lease, &task.topic, false).await? {
            Some(target) => {
                self.watch_owners(&mut lease, task).await?;
                target
            }
            None => {
                lease.commit().await?;
                lease.release();
                drop(waiting);
                _defining = self.pool.turn_to_define(&task.target, conflicts).await;
                lease = self.begin(task, Hold::Target(&task.target), conflicts).await?;
                self.set_up(&mut lease, task).await?
            }
        };
        check_identity(task, &target).map_err(DestinationError::Table)?;
        self.check_share(&mut lease, task, target.applied).await?;
        self.look_at_target(&mut lease, task).await?;
        if target.parked.is_some() {
            self.bookkeeping.unpark(&mut lease, Some(&task.topic)).await?;
        }
        let rows = self.bookkeeping.offsets(&mut lease, &task.topic, &numbers, self.locks_rows()).await?;
        let missing =
            |row: &&OffsetRow| row.may_have_missed(task.retention) && !task.is_emptied_after(row.generation);
        if let Some(number) = numbers.iter().find(|number| !rows.iter().any(|row| row.partition == **number))
        {
            return Err(DestinationError::Table(incomplete(task, *number)).into());
        }
        if let Some(row) = rows.iter().find(missing) {
            return Err(DestinationError::Table(missed(task, row)).into());
        }
        lease.commit().await?;
        lease.release();
        memory.fresh.store(!target.loaded, Ordering::Relaxed);
        let epoch_of =
            |number: i32| partitions.iter().find(|(known, _)| *known == number).map(|(_, epoch)| *epoch);
        let offsets = rows
            .iter()
            .filter_map(|row| {
                Some(Loaded {
                    partition: row.partition,
                    epoch: epoch_of(row.partition)?,
                    next_offset: row.next_offset,
                    generation: row.generation,
                })
            })
            .collect();
        Ok(JobOutcome::Loaded { done: target.applied, offsets })
    }

    /// The topic's rows were written as the configuration says now; `applied`: the generation that the target has.
    async fn check_share(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        applied: u32,
    ) -> Result<(), DestinationError> {
        let recorded = self.bookkeeping.share(connection, &task.topic).await?;
        if changed(task, recorded.as_ref(), applied).is_none() {
            return Ok(());
        }
        // Another instance may have carried out a definition between the two looks.
        self.lock_target(connection, &task.target).await?;
        let row = self.bookkeeping.target(connection, &task.topic, false).await?;
        let recorded = self.bookkeeping.share(connection, &task.topic).await?;
        let found = row.and_then(|row| changed(task, recorded.as_ref(), row.applied));
        found.map_or(Ok(()), |found| Err(DestinationError::Table(rule_changed(task, found))))
    }

    /// Sees at each start what the target is and carries: what loses rows in silence stops the table before its first row,
    /// also where nothing comes for it; what a person should know is logged.
    async fn look_at_target(
        &self,
        connection: &mut Connection,
        task: &TableTask,
    ) -> Result<(), DestinationError> {
        // One that is gone is told of by the first flush: a re-read may make it anew before.
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(());
        };
        check_hazards(task, &shape).map_err(DestinationError::Table)?;
        for warning in warnings(task, &shape) {
            tracing::warn!(table = %task.name, "{warning}");
        }
        Ok(())
    }

    /// Under the advisory lock of the target.
    async fn set_up(&self, connection: &mut Connection, task: &TableTask) -> Result<TargetRow, WorkError> {
        // Another instance may have done it while this one waited.
        if let Some(target) = self.bookkeeping.target(connection, &task.topic, false).await? {
            return Ok(target);
        }
        let barriers = task.barriers();
        let beginning = barriers.beginning().ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let generation = beginning.generation;
        let definition = task.record(generation).ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let source = task.id.to_string();
        // Kafka is asked before anything is written: nobody waits for rows of the bookkeeping meanwhile.
        let lows = self.beginnings(task).await?;
        match self.bookkeeping.former(connection, &source, &task.target, &task.topic).await? {
            // One that knows of a later topic than this instance does stays what it is.
            Some(former) if former.applied < generation => {
                let was = self.bookkeeping.share(connection, &former.topic).await?.unwrap_or_default();
                if let Some(found) = moved(task, &was.slice) {
                    return Err(DestinationError::Table(rule_changed(task, found)).into());
                }
                self.take_over(connection, task, &former, definition).await?;
            }
            // The task began anew after the table had gone into another topic.
            Some(former) => return Err(DestinationError::Table(recreated(task, &former)).into()),
            None => self.prepare_target(connection, task, &definition.table, generation, false).await?,
        }
        let share = task.share(generation);
        self.bookkeeping.record_share(connection, &task.topic, &task.target, &share).await?;
        let next_offsets: Vec<i64> =
            (0_i32..).zip(lows).map(|(partition, low)| low.max(beginning.offset(partition))).collect();
        let new = NewTarget {
            topic: &task.topic,
            source: &source,
            target: &task.target,
            incarnation: &task.incarnation,
            generation,
            next_offsets: &next_offsets,
        };
        let left = self.bookkeeping.insert_target(connection, &new).await?;
        if left > 0 {
            tracing::warn!(
                table = %task.name, rows = left,
                "somebody has removed the row of this table from the bookkeeping: its target is judged as at the first time"
            );
        }
        tracing::info!(table = %task.name, target = %task.target, generation, "target set up");
        let target = self.bookkeeping.target(connection, &task.topic, false).await?;
        Ok(target.ok_or_else(|| DestinationError::Table(undefined(task)))?)
    }

    /// This topic takes the place of the one before, which has become unusable: capture reads the table anew into it. The
    /// target is emptied and gets the definition of `record`, as at any re-read.
    async fn take_over(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        former: &TargetRow,
        record: &GenerationRecord,
    ) -> Result<(), DestinationError> {
        let before = task.former_record(former.applied).map_or(record, Arc::as_ref);
        let exists = catalog::shape(connection, self.dialect, &task.target).await?.is_some();
        let mut done = Done::default();
        if !exists {
            self.create_target(connection, task, &record.table).await?;
            done.became_sole = true;
        } else if record.cause.empties() && task.operations.delete {
            // Rows of the topic before are void, whichever generation of this one has emptied the table last.
            let how = format!("reading {} anew, from topic {}", task.name, task.topic);
            let slice = task.slice();
            self.lock_rows(connection, task, &slice).await?;
            let act = Act::Empty { how, slice };
            done.became_sole = self.claim(connection, task, &former.topic, &act).await?;
            self.reset(connection, (task, &former.topic), before, record).await?;
        } else {
            self.follow(connection, task, &former.topic, (before, record), &mut done).await?;
        }
        self.hand_over(connection, task, former, done.became_sole).await?;
        tracing::info!(
            table = %task.name, topic = task.topic, before = former.topic,
            "the table goes on in another topic, from its beginning"
        );
        Ok(())
    }

    /// Writes down that the target is the topic's from now on, once no table is waited for any more. Whose rows it holds does
    /// not change with the topic.
    pub(super) async fn hand_over(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        former: &TargetRow,
        became_sole: bool,
    ) -> Result<(), DestinationError> {
        if became_sole {
            self.bookkeeping.record_owner(connection, &former.topic, &task.target, false).await?;
        }
        self.bookkeeping.succeed(connection, &former.topic, &task.topic).await
    }

    /// Creates the table, or judges the one that is there: what the topic is to have in it if `own_only`.
    pub(super) async fn prepare_target(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        table: &Table,
        generation: u32,
        own_only: bool,
    ) -> Result<(), DestinationError> {
        let there = catalog::shape(connection, self.dialect, &task.target).await?;
        let (shape, foreign) = match there {
            Some(shape) => {
                // Its rows are asked for only where an answer means something: policies hide some, a foreign table has none.
                check_hazards(task, &shape).map_err(DestinationError::Table)?;
                let foreign = self.judge_rows(connection, task, own_only).await?;
                (self.unite(connection, task, table, shape).await?, foreign)
            }
            None => {
                self.create_target(connection, task, table).await?;
                let shape = catalog::shape(connection, self.dialect, &task.target).await?;
                (shape.ok_or_else(|| DestinationError::Table(undefined(task)))?, false)
            }
        };
        compile(task, generation, generation, &shape, false).map_err(DestinationError::Table)?;
        if task.existing == ExistingData::Append {
            self.bookkeeping.tell_owners(connection, &task.topic, (&task.target, &task.slice())).await?;
        }
        self.bookkeeping.record_owner(connection, &task.topic, &task.target, foreign).await
    }

    /// Gives a target that is to be shared what rows of `table` need beside those it has; as it is then.
    async fn unite(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        table: &Table,
        shape: TargetShape,
    ) -> Result<TargetShape, DestinationError> {
        if !task.rule.is_shared() || !task.alter {
            return Ok(shape);
        }
        let united = unite(table, &task.rule, &shape)
            .map_err(|error| DestinationError::Table(not_united(task, &error, false)))?;
        if united.statements.is_empty() {
            return Ok(shape);
        }
        self.lock_definition(connection, task).await?;
        // Another task may have changed it before the lock was had.
        let shape = catalog::shape(connection, self.dialect, &task.target).await?;
        let shape = shape.ok_or_else(|| DestinationError::Table(undefined(task)))?;
        let united = unite(table, &task.rule, &shape)
            .map_err(|error| DestinationError::Table(not_united(task, &error, false)))?;
        let generation = task.barriers().beginning().map_or(0, |beginning| beginning.generation);
        self.carry_out(connection, task, generation, &united.statements, &Touched::default()).await?;
        Ok(united.shape)
    }

    /// Creates schema and table.
    pub(super) async fn create_target(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        table: &Table,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("setting up {}", task.target));
        let created = self.creation(task, table).map_err(DestinationError::Table)?;
        let (mut exists, _) = catalog::may_use_schema(connection, &task.target.schema).await?;
        if !exists {
            // IF NOT EXISTS does not keep two sessions from creating one schema at the same time.
            let key = self.bookkeeping.lock_key(&format!("schema {}", task.target.schema));
            let lock = format!("SELECT pg_advisory_xact_lock({key})");
            connection.batch_execute(&lock).await.map_err(during())?;
            (exists, _) = catalog::may_use_schema(connection, &task.target.schema).await?;
        }
        // The first statement creates the schema, which wants a privilege even where there is one.
        for sql in created.statements.iter().skip(usize::from(exists)) {
            connection.batch_execute(sql).await.map_err(during())?;
        }
        Ok(())
    }

    /// Does with the rows of a target that is taken over what the configuration says. True if it may hold rows from now
    /// on that this topic does not write.
    async fn judge_rows(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        own_only: bool,
    ) -> Result<bool, DestinationError> {
        let slice = task.slice();
        let ownership = self.bookkeeping.ownership(connection, &task.topic, (&task.target, &slice)).await?;
        let (schema, own) = (self.bookkeeping.schema_name(), self.bookkeeping.task());
        if let Some(other) = confused(&ownership, &slice, schema, own) {
            return Err(DestinationError::Table(shared(task, other)));
        }
        if task.existing == ExistingData::Append {
            let others = !ownership.feeders.is_empty();
            return Ok(others || catalog::has_rows(connection, &task.target, &slice).await?);
        }
        let judged = if own_only { slice.clone() } else { judged(&slice, &ownership) };
        if !ownership.feeders.is_empty() {
            let ownership = Ownership { foreign_rows: Some(false), ..ownership };
            return Err(DestinationError::Table(refusal(task, &ownership, &Act::TakeOver)));
        }
        if task.existing == ExistingData::Clear {
            let generation = task.barriers().beginning().map_or(0, |beginning| beginning.generation);
            self.lock_rows(connection, task, &judged).await?;
            self.empty(connection, task, generation, &judged).await?;
        } else if catalog::has_rows(connection, &task.target, &judged).await? {
            return Err(DestinationError::Table(existing_data(task, &judged)));
        }
        Ok(false)
    }

    /// Where each partition of the topic begins.
    pub(super) async fn beginnings(&self, task: &TableTask) -> Result<Vec<i64>, WorkError> {
        let partitions = i32::try_from(task.partitions).unwrap_or(i32::MAX);
        let places: Vec<TopicPartition> =
            (0..partitions).map(|number| (task.topic.clone(), number)).collect();
        let (ends, topic, expected) = (Arc::clone(&self.ends), task.topic.clone(), task.partitions);
        let _wait = Waits::of_process().answer("Kafka: the beginnings of partitions", None);
        let asked = tokio::task::spawn_blocking(move || {
            let (count, lows) = (ends.partitions(&topic)?, ends.low(&places)?);
            Ok((count, places.iter().map(|place| lows.get(place).copied().unwrap_or(0)).collect()))
        });
        let asked = asked.await.unwrap_or_else(|e| Err(TopicError::Interrupted { reason: e.to_string() }));
        match asked? {
            (Some(count), lows) if count == expected => Ok(lows),
            (Some(count), _) => Err(DestinationError::Table(partitions_changed(task, count)).into()),
            (None, _) => Err(TopicError::Missing { topic: task.topic.clone() }.into()),
        }
    }

    /// What creating the target from a definition takes.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub(super) fn creation(&self, task: &TableTask, table: &Table) -> Result<Created, TableError> {
        let creation = Creation {
            dialect: self.dialect,
            table,
            rule: &task.rule,
            target: &task.target,
            distributed_by: task.distributed_by.as_deref(),
            storage: task.storage,
            indexes: task.indexes,
        };
        creation.statements().map_err(|error| {
            TableError::new(Code::TargetDefinition, error.to_string(), &task.target, remedies::FOLLOW)
        })
    }
}
