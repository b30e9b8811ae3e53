//! Why a destination does not work under the name of its task: another one does, or Kafka did not say who is there.

use crate::remedies;
use std::collections::BTreeSet;
use tributary_config::Config;
use tributary_service::exit::Failure;
use tributary_service::transient::Transient;
use tributary_topics::error::TopicError;

/// Why a look at the group does not let this destination in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Look {
    /// Another destination works under the task's name.
    #[error("{}: {}", .0.what, .0.why)]
    Taken(Failure),
    /// Kafka did not say.
    #[error("{0}")]
    Failed(TopicError),
}

impl Transient for Look {
    fn is_transient(&self) -> bool {
        true
    }
}

/// Why this destination does not work under the task's name: others do.
pub(super) fn shared_name(config: &Config, strangers: &BTreeSet<&str>) -> Failure {
    let name = &config.name;
    let others = strangers.iter().copied().collect::<Vec<_>>().join(", ");
    Failure::new(
        format!("another destination works under the name {name}"),
        format!(
            "the consumer group {name} has members that write into another destination (identity {others}): each of the two \
             would get a part of the rows only"
        ),
    )
    .at(format!("consumer group {name} at {}", config.kafka.brokers))
    .remedy(remedies::another_destination())
}
