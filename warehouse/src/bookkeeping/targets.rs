//! One row a topic: which table it goes into, which generation that table has, and what keeps it from going on.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError, TableError};
use crate::merge::names::TargetName;
use std::collections::BTreeSet;

/// What the destination holds of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    pub topic: String,
    /// Table of the source, as `database.table`.
    pub source: String,
    /// Table of the destination.
    pub target: TargetName,
    /// Which of the topics of this name the offsets belong to.
    pub incarnation: String,
    /// Partitions of the topic, as counted when the target was set up.
    pub partitions: i32,
    /// Newest generation whose DDL has been carried out.
    pub applied: u32,
    /// What follows the initial load (statistics, secondary indexes) is done.
    pub loaded: bool,
    /// Why it stands still; `None` if it does not.
    pub parked: Option<TableError>,
}

/// A target that is about to be set up.
#[derive(Debug, Clone, Copy)]
pub struct NewTarget<'a> {
    pub topic: &'a str,
    /// Table of the source, as `database.table`.
    pub source: &'a str,
    /// Table of the destination.
    pub target: &'a TargetName,
    /// Which of the topics of this name it is.
    pub incarnation: &'a str,
    /// Generation that the target is created with.
    pub generation: u32,
    /// First offset of each partition.
    pub next_offsets: &'a [i64],
}

/// The task at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskView {
    /// Grows with every `replay`.
    pub epoch: i64,
    /// The task has a row of its own. Without one nobody could tell it of a replay.
    pub known: bool,
    /// Every topic that has been set up.
    pub targets: Vec<TargetRow>,
}

const COLUMNS: &str = "topic, source_table, target_schema, target_table, partitions, applied_generation, \
                       loaded, state, error_code, error_message, error_place, error_remedy, incarnation";

fn target_row(row: &tokio_postgres::Row) -> TargetRow {
    let text = |column: usize| row.get::<_, Option<String>>(column).unwrap_or_default();
    let parked = (text(7) == "parked").then(|| TableError {
        code: text(8),
        message: text(9),
        place: text(10),
        remedy: text(11),
    });
    TargetRow {
        topic: text(0),
        source: text(1),
        target: TargetName { schema: text(2), table: text(3) },
        incarnation: row.get(12),
        partitions: row.get(4),
        applied: u32::try_from(row.get::<_, i32>(5)).unwrap_or(0),
        loaded: row.get(6),
        parked,
    }
}

impl Bookkeeping {
    /// Epoch and targets.
    pub async fn view(&self, connection: &mut Connection) -> Result<TaskView, DestinationError> {
        let during = || DestinationError::during("reading the bookkeeping");
        let sql = format!("SELECT epoch FROM {}.tasks WHERE task = $1", self.schema);
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let epoch = connection.query_opt(&statement, &[&self.task]).await.map_err(during())?;
        let sql = format!("SELECT {COLUMNS} FROM {}.targets WHERE task = $1 ORDER BY topic", self.schema);
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let rows = connection.query(&statement, &[&self.task]).await.map_err(during())?;
        Ok(TaskView {
            known: epoch.is_some(),
            epoch: epoch.map_or(0, |row| row.get(0)),
            targets: rows.iter().map(target_row).collect(),
        })
    }

    /// The row of a topic; `lock` holds it until the transaction ends: arrivals queue up behind one another.
    pub async fn target(
        &self,
        connection: &mut Connection,
        topic: &str,
        lock: bool,
    ) -> Result<Option<TargetRow>, DestinationError> {
        let during = || DestinationError::during(format!("reading the target of {topic}"));
        let sql = format!(
            "SELECT {COLUMNS} FROM {}.targets WHERE task = $1 AND topic = $2{}",
            self.schema,
            if lock { " FOR UPDATE" } else { "" }
        );
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let row = connection.query_opt(&statement, &[&self.task, &topic]).await.map_err(during())?;
        Ok(row.as_ref().map(target_row))
    }

    /// What another topic of the same task has put of the same source's table into this target: the topic that `topic` takes
    /// the place of.
    pub async fn former(
        &self,
        connection: &mut Connection,
        source: &str,
        target: &TargetName,
        topic: &str,
    ) -> Result<Option<TargetRow>, DestinationError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {}.targets WHERE task = $1 AND source_table = $2 AND target_schema = $3 \
             AND target_table = $4 AND topic <> $5 AND split_part(topic, '.', 1) = split_part($5, '.', 1)",
            self.schema
        );
        let row = connection
            .query_opt(&sql, &[&self.task, &source, &target.schema, &target.table, &topic])
            .await
            .map_err(DestinationError::during(format!("looking for {target} in the bookkeeping")))?;
        Ok(row.as_ref().map(target_row))
    }

    /// The first rows of a topic; how many were left of it though somebody had removed the row of its target.
    pub async fn insert_target(
        &self,
        connection: &mut Connection,
        new: &NewTarget<'_>,
    ) -> Result<u64, DestinationError> {
        let sql = format!(
            "INSERT INTO {}.targets (task, topic, source_table, target_schema, target_table, incarnation, \
             partitions, applied_generation, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'applying')",
            self.schema
        );
        let partitions = i32::try_from(new.next_offsets.len()).unwrap_or(i32::MAX);
        let generation = i32::try_from(new.generation).unwrap_or(i32::MAX);
        connection
            .execute(
                &sql,
                &[
                    &self.task,
                    &new.topic,
                    &new.source,
                    &new.target.schema,
                    &new.target.table,
                    &new.incarnation,
                    &partitions,
                    &generation,
                ],
            )
            .await
            .map_err(DestinationError::during(format!("writing the first row of {}", new.topic)))?;
        self.forget_refusal(connection, new.topic).await?;
        let left = self.forget_offsets(connection, new.topic).await?;
        self.insert_offsets(connection, new.topic, new.generation, new.next_offsets).await?;
        Ok(left)
    }

    /// Marks a generation done, in the transaction that carried out its DDL.
    pub async fn mark_done(
        &self,
        connection: &mut Connection,
        topic: &str,
        generation: u32,
        statements: &[String],
    ) -> Result<(), DestinationError> {
        let during =
            || DestinationError::during(format!("marking generation {generation} of {topic} as done"));
        let number = i32::try_from(generation).unwrap_or(i32::MAX);
        let sql = format!(
            "UPDATE {}.targets SET applied_generation = $3, changed_at = now() WHERE task = $1 AND topic = $2",
            self.schema
        );
        connection.execute(&sql, &[&self.task, &topic, &number]).await.map_err(during())?;
        let sql = format!(
            "INSERT INTO {}.generations (task, topic, generation, statements) VALUES ($1, $2, $3, $4)",
            self.schema
        );
        let text = statements.join(";\n");
        connection.execute(&sql, &[&self.task, &topic, &number, &text]).await.map_err(during())?;
        Ok(())
    }

    /// Marks that the table is read anew: what follows a load is to be done once more.
    pub async fn mark_unloaded(
        &self,
        connection: &mut Connection,
        topic: &str,
    ) -> Result<(), DestinationError> {
        let sql = format!("UPDATE {}.targets SET loaded = false WHERE task = $1 AND topic = $2", self.schema);
        connection
            .execute(&sql, &[&self.task, &topic])
            .await
            .map_err(DestinationError::during(format!("storing the state of {topic}")))?;
        Ok(())
    }

    /// Marks that what follows the initial load is done.
    pub async fn mark_loaded(
        &self,
        connection: &mut Connection,
        topic: &str,
        generation: u32,
    ) -> Result<bool, DestinationError> {
        let sql = format!(
            "UPDATE {}.targets SET loaded = true WHERE task = $1 AND topic = $2 AND applied_generation = $3",
            self.schema
        );
        let generation = i32::try_from(generation).unwrap_or(i32::MAX);
        let marked = connection
            .execute(&sql, &[&self.task, &topic, &generation])
            .await
            .map_err(DestinationError::during(format!("storing the state of {topic}")))?;
        Ok(marked == 1)
    }

    /// Stores why the topic of a table of the source stands still. False if the topic has no row yet: it is among the
    /// refusals then.
    pub async fn mark_parked(
        &self,
        connection: &mut Connection,
        (topic, source): (&str, &str),
        error: &TableError,
    ) -> Result<bool, DestinationError> {
        let sql = format!(
            "UPDATE {}.targets SET state = 'parked', error_code = $3, error_message = $4, error_place = $5, \
             error_remedy = $6, changed_at = now() WHERE task = $1 AND topic = $2",
            self.schema
        );
        let TableError { code, message, place, remedy } = error;
        let changed = connection
            .execute(&sql, &[&self.task, &topic, code, message, place, remedy])
            .await
            .map_err(DestinationError::during(format!("storing the state of {topic}")))?;
        if changed == 0 {
            self.refuse(connection, (topic, source), error).await?;
        }
        Ok(changed > 0)
    }

    /// Forgets what stopped tables of the task, or one of its topics: each is tried again. The topics that were parked.
    pub async fn unpark(
        &self,
        connection: &mut Connection,
        topic: Option<&str>,
    ) -> Result<BTreeSet<String>, DestinationError> {
        let sql = format!(
            "UPDATE {}.targets SET state = 'applying', error_code = NULL, error_message = NULL, error_place = NULL, \
             error_remedy = NULL, changed_at = now() WHERE task = $1 AND ($2::text IS NULL OR topic = $2) \
             AND state = 'parked' RETURNING topic",
            self.schema
        );
        let rows = connection
            .query(&sql, &[&self.task, &topic])
            .await
            .map_err(DestinationError::during("trying parked tables again"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
