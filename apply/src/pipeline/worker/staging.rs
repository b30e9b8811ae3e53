//! The staging table of a writer, from flush to flush: made and truncated between the transactions that fill it.
//!
//! TRUNCATE gives an unlogged table a new file, and PostgreSQL 15 whose postmaster dies while a transaction that did
//! so is open refuses its next start once ("could not create file …: File exists"): the backend takes the new file's
//! init fork away as it ends, its abort record is lost with the WAL writer, and recovery makes the fork anew beside a
//! main fork that is still there. A flush is open for as long as a row is locked; so it deletes what the one before it
//! has left, and TRUNCATE comes behind the COMMIT of one that has made the table large.
//!
//! Invariant: between [`Staging::take`] and COMMIT the staging table holds this flush's rows and no others, whoever
//! else has the same number and whatever was left behind.

use tokio_postgres::error::SqlState;
use tributary_warehouse::destination::{Connection, DestinationError, describe};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::{StageColumn, TransferPlan};
use tributary_warehouse::merge::sql::{drop_stage, stage_table_ddl, take_stage, truncate_stage};

/// Bytes that are sent into a staging table before it is truncated: to pass over so many deleted rows takes 1 to 3 ms where
/// TRUNCATE, two fsyncs and a change of the catalog, takes 6 (20,000 rows of 190 bytes, psql).
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// What this process knows of the staging table of one target.
#[derive(Default)]
pub(super) struct Staging {
    made: Option<Made>,
}

struct Made {
    stage: TargetName,
    columns: Vec<StageColumn>,
    deleted_column: String,
    /// Sent into it since it was empty.
    bytes: u64,
}

impl Made {
    fn fits(&self, plan: &TransferPlan, stage: &TargetName) -> bool {
        self.stage == *stage
            && self.deleted_column == plan.deleted_column()
            && plan.columns().iter().all(|column| self.columns.contains(column))
    }
}

impl Staging {
    /// Sees to it that the staging table has the plan's columns. Outside of transactions.
    pub(super) async fn prepare(
        &mut self,
        connection: &Connection,
        dialect: Dialect,
        plan: &TransferPlan,
        stage: &TargetName,
    ) -> Result<(), DestinationError> {
        if self.made.as_ref().is_some_and(|made| made.fits(plan, stage)) {
            return Ok(());
        }
        let sql = format!("{}; {}", drop_stage(stage), stage_table_ddl(dialect, plan, stage));
        connection.batch_execute(&sql).await.map_err(preparing(stage))?;
        self.made = Some(Made {
            stage: stage.clone(),
            columns: plan.columns().to_vec(),
            deleted_column: plan.deleted_column().to_owned(),
            bytes: 0,
        });
        Ok(())
    }

    /// Takes the staging table for this transaction, empty; false if someone has removed it: then the transaction is
    /// over, and [`Self::prepare`] makes it anew.
    pub(super) async fn take(
        &mut self,
        connection: &Connection,
        stage: &TargetName,
    ) -> Result<bool, DestinationError> {
        match connection.batch_execute(&take_stage(stage)).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                tracing::warn!(%stage, "someone has dropped a staging table; it is made anew");
                self.made = None;
                connection.batch_execute("ROLLBACK").await.map_err(preparing(stage))?;
                Ok(false)
            }
            Err(error) => Err(preparing(stage)(error)),
        }
    }

    /// Truncates the staging table behind a flush that was committed and sent `bytes` into it, if it has become large.
    /// Outside of transactions.
    pub(super) async fn leave(&mut self, connection: &Connection, stage: &TargetName, bytes: u64) {
        let Some(made) = &mut self.made else { return };
        made.bytes += bytes;
        if made.bytes < KEPT_BYTES {
            return;
        }
        match connection.batch_execute(&truncate_stage(stage)).await {
            Ok(()) => made.bytes = 0,
            Err(error) => {
                let why = describe(&error);
                tracing::warn!(%stage, error = why, "a staging table was not emptied; the rows in it are merged and committed");
                if error.code() == Some(&SqlState::UNDEFINED_TABLE) {
                    self.made = None;
                }
            }
        }
    }
}

fn preparing(stage: &TargetName) -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    DestinationError::during(format!("preparing the staging table {stage}"))
}
