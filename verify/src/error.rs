//! Why a table could not be compared, and what to do about it.

use super::remedies;
use thiserror::Error;
use tributary_schemas::row::RowError;
use tributary_service::kafka::ReadError;
use tributary_source::chunk::ChunkError;
use tributary_source::error::SourceError;
use tributary_source::rows::{ColumnMismatch, CompileError};
use tributary_topics::error::TopicError;
use tributary_warehouse::destination::DestinationError;
use tributary_warehouse::merge::encode::EncodeError;
use tributary_warehouse::merge::plan::PlanError;

/// What stopped the comparison of a table.
#[derive(Debug, Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Kafka.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Capture's state topic.
    #[error(transparent)]
    State(#[from] ReadError),
    /// The table is not on the source any more.
    #[error("{0} is not on the source any more")]
    Gone(String),
    /// The source's definition is another one than the history's.
    #[error("the table's definition changed on the source: {0}")]
    Mismatch(#[from] ColumnMismatch),
    /// The source's key is another one than the history's.
    #[error(
        "the table has no index over its key on the source any more: compare it again once capture has come to that change"
    )]
    NoKey,
    /// A new generation began meanwhile.
    #[error("the table was altered, truncated or read anew while it was compared")]
    Changed,
    /// The definition cannot be read in chunks.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The definition cannot be encoded.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The definition does not fit the target.
    #[error(transparent)]
    Plan(Box<PlanError>),
    /// The destination has no such table.
    #[error("{0} does not exist in the destination")]
    NoTarget(String),
    /// A row of the source that capture cannot publish.
    #[error("a row of the source cannot be published: {0}")]
    Row(#[from] RowError),
    /// A row of the source that the destination cannot hold.
    #[error("a row of the source cannot be written to the destination: {0}")]
    Encode(#[from] EncodeError),
    /// A key that does not lead back to its row.
    #[error("a key of the table cannot be written as a condition on the source")]
    Key,
    /// What was waited for does not come.
    #[error("the lag does not pass: {what}")]
    Stalled {
        /// What has not moved, and for how long.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The table stands still.
    #[error("{by} has parked the table ({code}): {message}")]
    Parked {
        /// `capture` or `apply`.
        by: &'static str,
        /// Code in the operations guide.
        code: String,
        /// What happened.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// Apply has written nothing of the table, and could not.
    #[error("apply cannot begin the table: {found}")]
    NotBegun {
        /// What is in the way.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// More keys changed than could be looked at again.
    #[error("{0} rows changed while the table was read, more than memory has room for")]
    TooMany(u64),
    /// Keys that were never seen at rest.
    #[error("{0} keys changed in every round, so that they could not be compared; the others are equal")]
    Restless(usize),
}

impl From<PlanError> for VerifyError {
    fn from(error: PlanError) -> Self {
        Self::Plan(Box::new(error))
    }
}

impl VerifyError {
    /// What to do; empty where the error says it.
    #[must_use]
    pub(crate) fn remedy(&self) -> &str {
        match self {
            Self::Mismatch(_) | Self::NoKey | Self::Changed | Self::Gone(_) => {
                remedies::definition_is_changing()
            }
            Self::State(ReadError::NoTopic(_)) => remedies::state_missing(),
            Self::NoTarget(_) => remedies::target_missing(),
            Self::Row(_) => remedies::unpublishable_row(),
            Self::Encode(_) | Self::Plan(_) => remedies::unwritable_row(),
            Self::TooMany(_) => remedies::too_many_changes(),
            Self::Restless(_) => remedies::restless_keys(),
            Self::Stalled { remedy, .. } => remedy,
            Self::Parked { remedy, .. } | Self::NotBegun { remedy, .. } => remedy,
            Self::Key => remedies::key_without_condition(),
            Self::Source(_)
            | Self::Destination(_)
            | Self::Topic(_)
            | Self::State(_)
            | Self::Chunk(_)
            | Self::Compile(_) => "",
        }
    }
}
