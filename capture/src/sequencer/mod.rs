//! The sequencer decides what becomes of binlog events and of rows read from tables: these enter, records leave in one order;
//! what was published and where the stream stands leave in the same Kafka transactions. It has no IO and no clock: what it
//! needs of the world leaves as an action ([`port`]), and whoever carries that out answers it.
//!
//! Invariants: nothing is published but here; a record and the checkpoint that covers it are in one Kafka transaction;
//! between a row that was read and its publication, every event of its key that the stream passed is known.

pub(crate) mod bootstrap;
mod commit;
mod definitions;
mod follows;
mod freshness;
pub(crate) mod halt;
mod join;
pub(crate) mod lineage;
mod load;
mod maps;
pub(crate) mod names;
mod open;
mod output;
mod park;
mod passing;
pub(crate) mod port;
pub(crate) mod progress;
mod rows;
mod snapshot;
mod statements;
mod stream;
pub(crate) mod table;
mod tables;
mod topics;
mod xa;

pub(crate) use join::publishable;
pub(crate) use load::READING;
pub(crate) use output::{Now, Output};
pub(crate) use park::{ParkReason, REREAD};
pub(crate) use passing::resume_from;
pub(crate) use snapshot::{Snapshot, SnapshotSettings};
pub(crate) use tables::{Joining, Standing, TableIndex, Tables};
pub(crate) use topics::own_topic_gone;

use crate::binlog::FormatContext;
use crate::topics::names::TopicNames;
use definitions::Expectations;
use freshness::Freshness;
use maps::TableMaps;
use passing::Passing;
use port::Port;
use progress::StreamProgress;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use topics::WatchedTopics;
use tributary_config::TableSelection;
use tributary_schemas::checkpoint::{Checkpoint, Leader};
use tributary_schemas::history::SelectedTable;
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::TableId;
use tributary_service::registry::Registry;
use tributary_service::status::Status;
use xa::Prepared;

/// What a session of the sequencer is given and never changes.
pub(crate) struct Setup {
    /// The task's name.
    pub task: String,
    /// This instance, as the state topic names it.
    pub leader: Leader,
    pub history_topic: Arc<str>,
    pub state_topic: Arc<str>,
    /// Which tables and columns are published.
    pub selection: TableSelection,
    /// Unique indexes that serve as keys instead of the primary key, by table.
    pub key_indexes: BTreeMap<String, String>,
    /// What DDL statements leave out.
    pub session: crate::ddl::Session,
    /// `explicit_defaults_for_timestamp` where a statement does not carry it.
    pub explicit_timestamps: bool,
    /// True if the source folds names to lower case.
    pub lowercase_names: bool,
    /// True if rows of a table without a primary key may have one column more: PolarDB's hidden key.
    pub hidden_row_ids: bool,
    /// A Kafka transaction is committed when it is this old.
    pub commit_interval: Duration,
    /// A Kafka transaction is committed when it holds this much, bytes.
    pub commit_bytes: usize,
    /// Bound on what is kept in memory, bytes.
    pub memory_bytes: usize,
    /// A table that cannot go on stops the task.
    pub strict: bool,
    /// Partitions of new topics.
    pub topic: crate::topics::admin::TopicSettings,
    /// What HTTP shows.
    pub status: Status,
    /// The schemas that HTTP serves.
    pub registry: Registry,
}

/// See the module.
pub(crate) struct Sequencer {
    setup: Setup,
    port: Port,
    output: Output,
    progress: StreamProgress,
    format: FormatContext,
    prepared: Prepared,
    /// What is passed over before anything new comes.
    passing: Option<Passing>,
    /// Between BEGIN and COMMIT.
    explicit: bool,
    tables: Tables,
    maps: TableMaps,
    snapshot: Snapshot,
    /// What the server stated of tables at places that the stream has not reached.
    expected: Expectations,
    /// Tables with rows in the open transaction.
    transaction_tables: BTreeSet<TableIndex>,
    /// The topics that tables have, and those that are taken.
    names: TopicNames,
    /// What is known of the topics.
    watched: WatchedTopics,
    /// What the history says is selected.
    selected: BTreeMap<TableId, SelectedTable>,
    next_schema_id: u32,
    /// Tables whose progress is newer than the state topic's.
    dirty: BTreeSet<TableIndex>,
    last_checkpoint: Option<Checkpoint>,
    last_commit: Instant,
    /// How long the last commit took.
    commit_cost: Duration,
    last_shown: Instant,
    last_beat: Instant,
    /// When a table that was locked was asked for last.
    last_asked: Instant,
    freshness: Freshness,
    before: EncodedRow,
    after: EncodedRow,
}
