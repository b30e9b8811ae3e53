//! What a job of the worker fails with.

use thiserror::Error;
use tributary_topics::error::TopicError;
use tributary_warehouse::destination::DestinationError;

/// Why a job could not be done.
#[derive(Debug, Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Kafka, which is asked for the beginnings of partitions.
    #[error(transparent)]
    Kafka(#[from] TopicError),
}

impl WorkError {
    /// True if trying again may help without anyone's doing. What Kafka refuses may be granted, and topics come.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Destination(error) => error.is_transient(),
            Self::Kafka(_) => true,
        }
    }

    /// True if another session stood in the way.
    #[must_use]
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Destination(error) if error.is_conflict())
    }
}
