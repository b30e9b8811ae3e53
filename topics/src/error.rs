//! What goes wrong between a reader of topics and Kafka.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::Duration;
use thiserror::Error;
use tributary_schemas::record::RecordError;
use tributary_service::transient::Transient;

/// Why a topic cannot be read.
#[derive(Debug, Error)]
pub enum TopicError {
    /// The client or the broker failed.
    #[error("Kafka failed while {doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: KafkaError,
    },
    /// The topic is not there.
    #[error("topic {topic} does not exist yet: it is created when `capture run` starts for the first time")]
    Missing { topic: String },
    /// The history does not say yet which tables there are, or what they look like.
    #[error("topic {topic} does not define every selected table yet: capture is still starting")]
    Incomplete {
        /// History topic.
        topic: String,
    },
    /// What the history names stays away.
    #[error("{reason}; the history names it, but it was not there for {} s", waited.as_secs())]
    Gone {
        /// What the client said.
        reason: String,
        /// How long it was looked for.
        waited: Duration,
    },
    /// The thread that asked is gone.
    #[error("a question to Kafka was interrupted: {reason}")]
    Interrupted {
        /// How.
        reason: String,
    },
    /// An answer did not come in time.
    #[error("Kafka did not answer in time while {doing}")]
    Timeout {
        /// What was being done.
        doing: String,
    },
    /// A record of one of the task's own topics cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl TopicError {
    /// Wraps what `doing` met.
    pub fn during(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing: doing.into(), source }
    }

    /// True if the brokers do not know the topic or the partition that was asked about. It may have been created a moment
    /// ago, or it may be gone.
    #[must_use]
    pub fn is_unknown_place(&self) -> bool {
        let Self::Kafka { source, .. } = self else { return false };
        matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition
            )
        )
    }
}

impl Transient for TopicError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Kafka { source, .. } => is_transient(source),
            Self::Missing { .. } | Self::Incomplete { .. } | Self::Timeout { .. } => true,
            Self::Record(_) | Self::Interrupted { .. } | Self::Gone { .. } => false,
        }
    }
}

/// True unless the broker has refused us: the client itself goes on trying whatever may come back.
#[must_use]
pub fn is_transient(error: &KafkaError) -> bool {
    !matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::InvalidArgument
                | RDKafkaErrorCode::UnsupportedVersion
        )
    ) && !matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_))
}
