//! Why topics stand still that have no row in `targets` yet: what `run --until-caught-up` and `status` know of other instances.
//! A reason stays until the topic is begun; one of a table that another topic has is none.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError, TableError};

/// A topic that could not be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub topic: String,
    /// Table of the source, as `database.table`.
    pub source: String,
    /// Why.
    pub error: TableError,
}

impl Bookkeeping {
    /// What of the task could not be begun. Nothing where an older version has made the tables.
    pub async fn refusals(&self, connection: &mut Connection) -> Result<Vec<Refusal>, DestinationError> {
        if !self.has(connection, &["refusals"]).await? {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT topic, source_table, error_code, error_message, error_place, error_remedy FROM {0}.refusals r \
             WHERE task = $1 AND NOT EXISTS (SELECT 1 FROM {0}.targets t WHERE t.task = r.task \
             AND (t.topic = r.topic OR t.source_table = r.source_table AND split_part(t.topic, '.', 1) = split_part(r.topic, '.', 1)))",
            self.schema
        );
        let rows = connection
            .query(&sql, &[&self.task])
            .await
            .map_err(DestinationError::during("reading what could not be begun"))?;
        let refusal = |row: &tokio_postgres::Row| Refusal {
            topic: row.get(0),
            source: row.get(1),
            error: TableError {
                code: row.get(2),
                message: row.get(3),
                place: row.get(4),
                remedy: row.get(5),
            },
        };
        Ok(rows.iter().map(refusal).collect())
    }

    /// Stores why a topic without a row cannot be begun. Of two instances that do so at one moment one is enough.
    pub(super) async fn refuse(
        &self,
        connection: &mut Connection,
        (topic, source): (&str, &str),
        error: &TableError,
    ) -> Result<(), DestinationError> {
        self.forget_refusal(connection, topic).await?;
        let sql = format!(
            "INSERT INTO {0}.refusals (task, topic, source_table, error_code, error_message, error_place, error_remedy) \
             SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS (SELECT 1 FROM {0}.refusals WHERE task = $1 AND topic = $2) \
             AND NOT EXISTS (SELECT 1 FROM {0}.targets WHERE task = $1 AND topic = $2)",
            self.schema
        );
        let TableError { code, message, place, remedy } = error;
        connection
            .execute(&sql, &[&self.task, &topic, &source, code, message, place, remedy])
            .await
            .map_err(DestinationError::during(format!("storing the state of {topic}")))?;
        Ok(())
    }

    /// A topic is begun, or refused for another reason.
    pub(super) async fn forget_refusal(
        &self,
        connection: &mut Connection,
        topic: &str,
    ) -> Result<(), DestinationError> {
        let sql = format!("DELETE FROM {}.refusals WHERE task = $1 AND topic = $2", self.schema);
        connection
            .execute(&sql, &[&self.task, &topic])
            .await
            .map_err(DestinationError::during("forgetting what could not be begun"))?;
        Ok(())
    }
}
