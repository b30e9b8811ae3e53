//! What a task has left on Kafka, as the commands and the check read it: the state and history topics up to their last stable
//! offsets, parsed. Nothing is written.

use super::state::{TaskHistory, TaskState};
use std::collections::BTreeMap;
use std::time::Duration;
use tributary_config::Config;
use tributary_schemas::history::Cause;
use tributary_schemas::record::RecordError;
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::kafka::{ReadError, Record, read_to_end};
use tributary_service::transient::Transient;

/// How long each topic may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Both topics.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// What a new leader goes on from.
    pub state: TaskState,
    /// The tables and their definitions.
    pub history: TaskHistory,
}

/// Why the task's topics could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    /// Kafka's side.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What stands in them.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Transient for StoredError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Read(error) => error.is_transient(),
            Self::Record(_) => false,
        }
    }
}

impl Stored {
    /// Reads both; a topic that does not exist is empty. Blocks.
    pub(crate) fn read(config: &Config) -> Result<Self, StoredError> {
        let (state, history) = (state_topic(&config.name), history_topic(&config.name));
        Ok(Self {
            state: TaskState::parse(&state, &records(config, &state)?)?,
            history: TaskHistory::parse(&history, &records(config, &history)?)?,
        })
    }

    /// The last definition of each table that was not dropped.
    #[must_use]
    pub(crate) fn definitions(&self) -> BTreeMap<TableId, Table> {
        let latest = self.history.generations.keys().filter_map(|id| self.history.latest(id));
        let living = latest.filter(|record| record.cause != Cause::Drop);
        living.map(|record| (record.table.id.clone(), record.table.clone())).collect()
    }
}

fn records(config: &Config, topic: &str) -> Result<Vec<Record>, ReadError> {
    match read_to_end(&config.kafka, &capture_group(&config.name), topic, LIMIT) {
        Ok(contents) => Ok(contents.records),
        Err(ReadError::NoTopic(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
