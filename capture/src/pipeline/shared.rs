//! What the sessions of a process share, and what is the same for each.

use crate::groups::watch::GroupWatch;
use crate::topics::admin::TopicSettings;
use rdkafka::ClientConfig;
use std::time::Duration;
use tributary_config::{Config, SourceConfig};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::Leader;
use tributary_service::kafka;
use tributary_service::registry::Registry;
use tributary_service::shutdown::Shutdown;
use tributary_service::status::Status;
use tributary_source::connect::SourceOptions;

/// How often another instance is looked for.
pub(super) const RIVAL_BEAT: Duration = Duration::from_millis(500);
/// For how long every look must find one of the task's own topics gone: what follows from it is for good, and the brokers of
/// a cluster that is being restarted learn of their topics one after the other.
pub(super) const OWN_TOPIC_GONE: Duration = Duration::from_secs(10);

/// What every session of a process shares.
pub(crate) struct Shared {
    /// The configuration.
    pub config: Config,
    /// Its `[source]`.
    pub source_config: SourceConfig,
    /// Connects to the source.
    pub source: SourceOptions,
    /// What HTTP shows.
    pub status: Status,
    /// Who reads the task's topics.
    pub groups: GroupWatch,
    /// The schemas that HTTP serves.
    pub registry: Registry,
    /// Where HTTP answers.
    pub address: String,
    /// Asks for the end.
    pub shutdown: Shutdown,
    /// Where blocking calls are made from.
    pub runtime: tokio::runtime::Handle,
    /// End once everything that exists now is published.
    pub until_caught_up: bool,
    /// Items of the check whose failure does not end the run.
    pub ignore: Vec<String>,
    /// Tables that the configuration leaves out on purpose.
    pub deselect: Vec<String>,
}

/// This instance, as the first record of a session names it.
pub(super) fn leader(shared: &Shared) -> Leader {
    Leader {
        format: FORMAT_VERSION,
        instance: shared.status.instance().to_owned(),
        address: shared.address.clone(),
        beat: None,
    }
}

/// Settings of the task's producer.
pub(super) fn producer_config(config: &Config) -> ClientConfig {
    kafka::transactional_producer_config(
        &config.kafka,
        &config.topics,
        &config.name,
        config.capture.transaction_timeout_ms,
    )
}

/// Settings of the task's own topics.
pub(super) fn own_settings(config: &Config) -> TopicSettings {
    TopicSettings {
        partitions: 1,
        replication_factor: u32::from(config.topics.replication_factor),
        max_message_bytes: usize::try_from(config.topics.max_message_bytes).unwrap_or(usize::MAX),
        // Compaction may run at once: a replaced checkpoint is of no use to anybody.
        min_compaction_lag_ms: 0,
        delete_retention_ms: config.topics.retention_ms(),
    }
}

/// False if the end is asked for meanwhile.
pub(super) fn pause(runtime: &tokio::runtime::Handle, shutdown: &Shutdown, delay: Duration) -> bool {
    runtime.block_on(async {
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = shutdown.wait() => false,
        }
    })
}
