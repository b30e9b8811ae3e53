//! What reaches the loop from other threads, and what it asks of them.

use super::index::TableIndex;
use crate::batches::compact::Batch;
use crate::pipeline::job::JobOutcome;
use crate::pipeline::worker::{Failed, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use tributary_schemas::history::RegisteredSchema;
use tributary_service::exit::Failure;
use tributary_service::kafka::TopicPartition;
use tributary_topics::history::History;
use tributary_warehouse::bookkeeping::TaskView;
use tributary_warehouse::destination::DestinationError;

/// Something happened elsewhere.
pub(crate) enum Event {
    /// The history grew, or was read to the end it had when a request came.
    History {
        /// All of it.
        history: Arc<History>,
        /// Schemas that are new.
        schemas: Vec<RegisteredSchema>,
        /// The request that this answers.
        token: Option<u64>,
    },
    /// A job has ended.
    Done {
        table: TableIndex,
        /// What came of it.
        result: Result<(JobOutcome<Batch>, Report), Failed>,
    },
    /// Position as it was when it was asked, and last stable offset, of partitions.
    Ends(BTreeMap<TopicPartition, (i64, i64)>),
    /// Beginnings of partitions.
    Lows(BTreeMap<TopicPartition, i64>),
    /// Client ids of the members of the task's group; `None` if Kafka did not say.
    Members(Option<Vec<String>>),
    /// How many partitions topics have; `None` for one that does not exist.
    Topics(Vec<(String, Option<u32>)>),
    /// Nothing lies between `position` and `next`.
    Probed {
        /// Partition.
        place: TopicPartition,
        /// Where the probe began.
        position: i64,
        /// The next record, or the end.
        next: i64,
    },
    /// The bookkeeping at a glance; `None` if it could not be read.
    View(Option<TaskView>),
    /// What parked a table here is stored, or could not be.
    Marked {
        table: TableIndex,
        /// The row of its topic has the mark; `None` if that is not known.
        marked: Option<bool>,
    },
    /// Statistics and indexes of a table that was loaded.
    AfterLoad {
        table: TableIndex,
        /// Number of the attempt.
        attempt: u64,
        /// False if the table was emptied or altered meanwhile.
        result: Result<bool, DestinationError>,
    },
    /// A question to the brokers was not answered.
    KafkaFailed(String),
    /// Everything must end.
    Fatal(Failure),
}

impl Ask {
    /// For people.
    pub(crate) const fn in_words(&self) -> &'static str {
        match self {
            Self::Ends(_) => "Kafka: the ends of partitions",
            Self::Lows(_) => "Kafka: the beginnings of partitions",
            Self::Members => "Kafka: who is in the consumer group",
            Self::Topics(_) => "Kafka: which topics there are",
            Self::Probe { .. } => "Kafka: what lies before the end of a partition",
        }
    }
}

/// A question to the brokers.
pub(crate) enum Ask {
    /// The last stable offset of each, with the position it is asked at.
    Ends(Vec<(TopicPartition, i64)>),
    /// The beginning of each.
    Lows(Vec<TopicPartition>),
    /// The members of the task's group.
    Members,
    /// How many partitions each topic has.
    Topics(Vec<String>),
    /// What lies between a position and an end that is known.
    Probe {
        /// Partition.
        place: TopicPartition,
        position: i64,
        /// A last stable offset.
        end: i64,
    },
}
