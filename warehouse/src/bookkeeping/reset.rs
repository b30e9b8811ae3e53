//! Taking a topic back, and forgetting a task: what `replay` and `drop` do to the bookkeeping.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError, describe};
use crate::merge::names::TargetName;

impl Bookkeeping {
    /// Sets the offset of a partition whatever it was. `generation`: what the partition has arrived at from now on.
    /// `emptied`: the target is empty, and what the partition has missed before does not matter any more. Where rows
    /// stay it does; the partition begins anew only if it was at its end since it last began.
    pub async fn set_offset(
        &self,
        connection: &mut Connection,
        topic: &str,
        partition: i32,
        next_offset: i64,
        generation: u32,
        emptied: bool,
    ) -> Result<(), DestinationError> {
        let sql = format!(
            "UPDATE {}.offsets SET next_offset = $4, generation = $5, \
             begun_at = CASE WHEN $6 OR at_end_at >= begun_at THEN now() ELSE begun_at END, \
             at_end_at = CASE WHEN $6 THEN NULL ELSE at_end_at END \
             WHERE task = $1 AND topic = $2 AND \"partition\" = $3",
            self.schema
        );
        let number = i32::try_from(generation).unwrap_or(i32::MAX);
        let changed = connection
            .execute(&sql, &[&self.task, &topic, &partition, &next_offset, &number, &emptied])
            .await
            .map_err(DestinationError::during(format!("taking the offsets of {topic} back")))?;
        // One that somebody has removed comes back. The others are not deleted first: who waits for them would find none.
        if changed == 0 {
            self.insert_offset(connection, topic, partition, next_offset, generation).await?;
        }
        Ok(())
    }

    /// Takes a topic's target back to a generation of the topic as it is now: done marks are removed, and the initial
    /// load begins anew.
    pub async fn reset_target(
        &self,
        connection: &mut Connection,
        topic: &str,
        incarnation: &str,
        target: &TargetName,
        generation: u32,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("taking the target of {topic} back"));
        let generation = i32::try_from(generation).unwrap_or(i32::MAX);
        let sql = format!(
            "UPDATE {}.targets SET target_schema = $3, target_table = $4, applied_generation = $5, loaded = false, \
             incarnation = $6, changed_at = now() WHERE task = $1 AND topic = $2",
            self.schema
        );
        connection
            .execute(&sql, &[&self.task, &topic, &target.schema, &target.table, &generation, &incarnation])
            .await
            .map_err(during())?;
        let sql = format!("DELETE FROM {}.generations WHERE task = $1 AND topic = $2", self.schema);
        connection.execute(&sql, &[&self.task, &topic]).await.map_err(during())?;
        Ok(())
    }

    /// `topic` takes the place of `former`: it has the owner's record, and the rest is forgotten. An instance that still
    /// writes from the former one finds no offset to move.
    pub async fn succeed(
        &self,
        connection: &mut Connection,
        former: &str,
        topic: &str,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("handing the target of {former} on"));
        let sql = format!("UPDATE {}.owners SET topic = $3 WHERE task = $1 AND topic = $2", self.schema);
        connection.execute(&sql, &[&self.task, &former, &topic]).await.map_err(during())?;
        let sql = format!("UPDATE {}.slices SET topic = $3 WHERE task = $1 AND topic = $2", self.schema);
        connection.execute(&sql, &[&self.task, &former, &topic]).await.map_err(during())?;
        let sql = format!("DELETE FROM {}.targets WHERE task = $1 AND topic = $2", self.schema);
        connection.execute(&sql, &[&self.task, &former]).await.map_err(during())?;
        self.forget_refusal(connection, topic).await?;
        self.forget_offsets(connection, former).await?;
        Ok(())
    }

    /// Tells running instances to read every offset again.
    pub async fn bump_epoch(&self, connection: &mut Connection) -> Result<(), DestinationError> {
        let sql = format!("UPDATE {}.tasks SET epoch = epoch + 1 WHERE task = $1", self.schema);
        connection
            .execute(&sql, &[&self.task])
            .await
            .map_err(DestinationError::during("telling running instances"))?;
        Ok(())
    }

    /// Removes everything about the task; the tables and the schema too if no other task uses them. True if they are
    /// gone.
    pub async fn forget_task(
        &self,
        connection: &mut Connection,
        stages: &[TargetName],
    ) -> Result<bool, DestinationError> {
        let during = || DestinationError::during("removing the bookkeeping");
        let (schema, key) = (&self.schema, self.lock_key("bookkeeping"));
        connection
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({key})"))
            .await
            .map_err(during())?;
        for stage in stages {
            let sql = crate::merge::sql::drop_stage(stage);
            connection.batch_execute(&sql).await.map_err(during())?;
        }
        let mut tables = self.tables(connection).await?;
        // In the order of every transaction.
        let order = ["owners", "slices", "targets", "refusals", "generations", "offsets", "tasks"];
        tables.sort_by_key(|table| order.iter().position(|name| name == table).unwrap_or(order.len()));
        for table in &tables {
            let sql = format!("DELETE FROM {schema}.{table} WHERE task = $1");
            connection.execute(&sql, &[&self.task]).await.map_err(during())?;
        }
        let others = connection
            .query_one(&format!("SELECT count(*) FROM {schema}.tasks"), &[])
            .await
            .map_err(during())?;
        let last = others.get::<_, i64>(0) == 0;
        if last {
            let tables: Vec<String> = tables.iter().map(|table| format!("{schema}.{table}")).collect();
            let sql = format!("DROP TABLE {}", tables.join(", "));
            connection.batch_execute(&sql).await.map_err(during())?;
        }
        connection.commit().await?;
        if last {
            // Somebody else's objects may be in it, or the role may not own it: then the schema stays.
            let sql = format!("DROP SCHEMA {schema}");
            if let Err(error) = connection.batch_execute(&sql).await {
                tracing::info!(schema, error = describe(&error), "the schema stays");
            }
        }
        Ok(last)
    }
}
