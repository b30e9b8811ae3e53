//! The staging table of a writer, from flush to flush: made and emptied between the transactions that fill it.
//!
//! TRUNCATE gives an unlogged table a new file, and PostgreSQL 15 whose postmaster dies while a transaction that did
//! so is open refuses its next start once ("could not create file …: File exists"): the backend takes the new file's
//! init fork away as it ends, its abort record is lost with the WAL writer, and recovery makes the fork anew beside a
//! main fork that is still there. So the flush itself does neither. Invariant: between [`take`] and COMMIT the staging
//! table holds this flush's rows and no others, whoever else has the same number and whatever was left behind.

use crate::destination::{Connection, DestinationError};
use crate::merge::dialect::Dialect;
use crate::merge::names::TargetName;
use crate::merge::plan::{StageColumn, TransferPlan};
use crate::merge::sql::{drop_stage, stage_table_ddl, take_stage, truncate_stage};
use tokio_postgres::SimpleQueryMessage;

/// What this process knows of the staging table of one target.
#[derive(Default)]
pub(super) struct Staging {
    made: Option<Made>,
}

struct Made {
    stage: TargetName,
    columns: Vec<StageColumn>,
    deleted_column: String,
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
    ///
    /// # Errors
    /// What the server says.
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
        });
        Ok(())
    }

    /// Empties the staging table behind a flush that was committed. Outside of transactions; false if the connection is
    /// not to be used again. What stays behind costs the next flush a TRUNCATE, and no more.
    pub(super) async fn empty(&mut self, connection: &Connection, stage: &TargetName) -> bool {
        let emptied = connection.batch_execute(&truncate_stage(stage)).await;
        if let Err(error) = &emptied {
            tracing::debug!(%stage, %error, "a staging table was not emptied");
            // It may be gone.
            self.made = None;
        }
        emptied.is_ok()
    }
}

/// Takes the staging table for this transaction, empty.
///
/// # Errors
/// What the server says.
pub(super) async fn take(connection: &Connection, stage: &TargetName) -> Result<(), DestinationError> {
    let answer = connection.simple_query(&take_stage(stage)).await.map_err(preparing(stage))?;
    let size = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if size != Some("0") {
        // A flush that did not come to its end has left rows, or the instance that had this number before.
        connection.batch_execute(&truncate_stage(stage)).await.map_err(preparing(stage))?;
    }
    Ok(())
}

fn preparing(stage: &TargetName) -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    DestinationError::during(format!("preparing the staging table {stage}"))
}
