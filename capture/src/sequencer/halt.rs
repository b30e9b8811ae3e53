//! Why the sequencer stops, in the ways the loop around it tells apart.

use crate::binlog::DecodeError;
use crate::topics::admin::TopicError;
use crate::topics::producer::RefusedRecord;
use tributary_service::exit::Failure;
use tributary_source::error::SourceError;

/// The end of a session.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Goes away by itself: a new session starts from the checkpoint.
    Restart(String),
    /// The broker knows another producer of this task, or gave up on the open transaction.
    Fenced(String),
    /// A session that sends the record again comes to the same end.
    Refused(RefusedRecord),
    /// A person must act.
    Stop(Box<Failure>),
}

impl Halt {
    /// A person must act.
    pub(crate) fn stop(
        what: &str,
        place: impl std::fmt::Display,
        why: impl std::fmt::Display,
        remedy: &str,
    ) -> Self {
        Self::Stop(Box::new(Failure::new(what, why).at(place).remedy(remedy)))
    }
}

impl From<TopicError> for Halt {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Unavailable { .. } => Self::Restart(error.to_string()),
            TopicError::Refused { .. } => Self::stop(
                "a topic cannot be used",
                "Kafka",
                error,
                "create the topic by hand with cleanup.policy=compact, or grant Create and Describe on the task's topics",
            ),
            TopicError::Partitions { .. } => Self::stop(
                "the number of partitions of a topic changed",
                "Kafka",
                error,
                "keys would move between partitions: set topics.partitions back, or begin anew with `capture drop`",
            ),
        }
    }
}

impl From<SourceError> for Halt {
    fn from(error: SourceError) -> Self {
        if error.is_transient() {
            Self::Restart(error.to_string())
        } else {
            Self::Stop(Box::new(Failure::new("the source refused", error)))
        }
    }
}

impl From<DecodeError> for Halt {
    fn from(error: DecodeError) -> Self {
        Self::stop(
            "the binlog cannot be decoded",
            "the source's binlog",
            error,
            "capture stays where it is; if a restart does not help, the task must begin anew behind the damage: \
             `capture drop`, then `capture run`",
        )
    }
}
