//! What several commands begin with: the history read to its end, the tables it means for this configuration, and a
//! worker on the destination.

use crate::bookkeeping::Bookkeeping;
use crate::destination::{Connector, Pool};
use crate::pipeline::run::{destination_failure, kafka_failure};
use crate::pipeline::table::{Left, TableTask};
use crate::pipeline::worker::Worker;
use crate::topics::ends::Ends;
use crate::topics::error::TopicError;
use crate::topics::history::History;
use crate::topics::reader::HistoryReader;
use std::sync::Arc;
use std::time::Duration;
use tributary_schemas::config::{Config, TableRules};
use tributary_schemas::table::TableId;
use tributary_schemas::topic::history_topic;
use tributary_service::exit::Failure;
use tributary_service::kafka::consumer_config;
use tributary_service::load::destination;

/// A table that capture publishes, and what the configuration makes of it.
pub(super) type Planned = (TableId, Result<TableTask, Left>);

/// Reads the history to its end. Blocks.
pub(super) fn history(config: &Config) -> Result<History, TopicError> {
    let client = consumer_config(&config.kafka, &config.name);
    let mut reader = HistoryReader::open(&client, &history_topic(&config.name))?;
    reader.read_to_end(|| false)?;
    Ok(reader.history().clone())
}

/// The tables that are replicated.
pub(super) fn planned(config: &Config, rules: &TableRules, history: &History) -> Vec<Planned> {
    history
        .replicated()
        .map(|selected| (selected.id.clone(), TableTask::new(config, rules, history, selected)))
        .filter(|(_, task)| !matches!(task, Err(Left::Unmatched)))
        .collect()
}

/// A worker for a command that ends by itself: no server is waited for.
pub(super) async fn worker(config: &Config) -> Result<(Worker, Arc<Ends>), Failure> {
    let destination = destination(config)?;
    let client = consumer_config(&config.kafka, &config.name);
    let ends = Arc::new(Ends::new(&client).map_err(kafka_failure(config))?);
    let pool = Pool::new(Connector::new(destination)?, destination.connections);
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    let retention = Duration::from_millis(config.topics.retention_ms());
    let worker = Worker::start(pool, bookkeeping, Arc::clone(&ends), retention)
        .await
        .map_err(|error| destination_failure(config, &error))?;
    Ok((worker, ends))
}
