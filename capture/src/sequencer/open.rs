//! How a session's sequencer begins, what it is asked while it runs, and what it shows.

use super::freshness::Freshness;
use super::halt::Halt;
use super::output::Now;
use super::port::Port;
use super::progress::StreamProgress;
use super::table::Standing;
use super::topics::WatchedTopics;
use super::xa::Prepared;
use super::{Output, Sequencer, Setup, Snapshot};
use crate::binlog::FormatContext;
use crate::pipeline::bootstrap::Beginning;
use crate::remedies;
use crate::sequencer::maps::TableMaps;
use crate::sequencer::tables::{TableIndex, Tables};
use crate::snapshot::reader::ReaderOrder;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tributary_schemas::checkpoint::{Parked, ReadPhase};
use tributary_schemas::position::Position;
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::TableId;
use tributary_service::codes::Code;
use tributary_service::status::{ErrorDocument, State, TableState};

/// A stream that is less behind than this counts as in step.
const IN_STEP: Duration = Duration::from_secs(5);

impl Sequencer {
    /// Goes on from what is stored. `join_arrived` and the first batch of events come next.
    ///
    /// # Errors
    /// A table whose rows cannot be read where `strict` is set.
    pub fn new(
        setup: Setup,
        snapshot: Snapshot,
        beginning: Beginning,
        parked: BTreeMap<TableId, Parked>,
        (server_uuid, now): (&str, Now),
    ) -> Result<Self, Halt> {
        let gaps = beginning.gaps(&parked);
        let mut progress = StreamProgress::resume(&beginning.checkpoint);
        progress.set_server(server_uuid);
        progress.set_server_start(beginning.source_started);
        let output = Output::new(setup.topic.max_message_bytes, now);
        let now = now.instant;
        let mut sequencer = Self {
            prepared: Prepared::new(setup.memory_bytes / 4),
            passing: None,
            setup,
            port: Port::default(),
            output,
            progress,
            format: FormatContext::default(),
            explicit: false,
            tables: Tables::default(),
            maps: TableMaps::default(),
            snapshot,
            joining: beginning.joining,
            absent: beginning.absent,
            expected: beginning.expected,
            rereads: BTreeMap::new(),
            disagreed: BTreeMap::new(),
            transaction_tables: BTreeSet::new(),
            parked,
            names: beginning.names,
            watched: WatchedTopics::default(),
            selected: beginning.selected,
            next_schema_id: beginning.next_schema_id,
            dirty: BTreeSet::new(),
            last_checkpoint: None,
            last_commit: now,
            commit_cost: Duration::ZERO,
            last_shown: now,
            last_beat: now,
            last_asked: now,
            freshness: Freshness::new(),
            before: EncodedRow::default(),
            after: EncodedRow::default(),
        };
        for (table, read) in beginning.running {
            let running = table.standing == Standing::Running;
            if let Some(seen) = read.as_ref().and_then(|read| read.seen.as_ref()) {
                sequencer.watched.recall(seen, table.partitions, now);
            }
            let index = sequencer.tables.insert(table);
            if let (true, Some(read)) = (running, read) {
                sequencer.take_up(index, read)?;
            }
        }
        let all: Vec<TableIndex> = sequencer.tables.iter().map(|(index, _)| index).collect();
        for index in all {
            sequencer.retire(index);
        }
        if beginning.selection_changed {
            sequencer.put_selection();
        }
        // The first checkpoint may hide why a table that was replicated before joins: the reason is written with it.
        for (id, why) in gaps {
            sequencer.put_reread(id, &why);
        }
        sequencer.show_status();
        Ok(sequencer)
    }

    /// Takes up what holds where the stream begins.
    ///
    /// # Errors
    /// Any end of the session.
    pub async fn take_bearings(&mut self) -> Result<(), Halt> {
        self.prove_definitions();
        self.begin_rereads().await
    }

    /// What the stream has passed: the position, and the prepared XA transactions that it leaves out.
    #[must_use]
    pub fn passed(&self) -> Position {
        let mut position = self.progress.position().clone();
        self.progress.add_undecided(&mut position.gtid_set);
        position
    }

    /// True once every selected table that can be replicated is consistent.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.joining.is_empty() && self.rereads.is_empty() && self.snapshot.all_complete()
    }

    /// Where actions leave.
    #[must_use]
    pub fn port(&self) -> Port {
        self.port.clone()
    }

    /// Orders for readers that have none, by the readers' numbers; to be delivered after each input.
    pub fn take_orders(&mut self) -> Vec<(usize, ReaderOrder)> {
        self.snapshot.take_orders()
    }

    /// The published columns of the table that an order is for.
    #[cfg(test)]
    pub(crate) fn table_of(
        &self,
        order: crate::snapshot::planner::OrderId,
    ) -> Option<std::sync::Arc<tributary_schemas::table::Table>> {
        let outstanding = self.snapshot.outstanding.get(&order)?;
        Some(std::sync::Arc::clone(&self.tables[outstanding.table].table))
    }

    /// A safeguard left out: the keys that the stream passes are not known.
    #[cfg(test)]
    pub(crate) fn forget_touched(&mut self) {
        self.snapshot.windows.forget_keys();
    }

    /// Puts what changed into the status that HTTP shows.
    pub(super) fn show_status(&mut self) {
        let status = &self.setup.status;
        status.set_position(self.progress.position());
        let last = self.freshness.last();
        if let Some((at, _)) = last {
            status.heard(at, Some(Duration::ZERO));
        }
        let lag = last.map(|(_, lag)| lag);
        let behind = lag.is_none_or(|lag| lag > IN_STEP);
        let mut loading = !self.joining.is_empty();
        for (index, table) in self.tables.iter() {
            let shown = status.table(&table.id.to_string());
            shown.set_generation(table.generation);
            // Until this session's stream is heard, what the one before it said grows older.
            if lag.is_some() {
                shown.set_lag(lag);
            }
            if let Some(parked) = self.parked.get(&table.id) {
                shown.park(ErrorDocument::new(&*parked.code, &*parked.message, &*parked.remedy));
                continue;
            }
            let phase = self.snapshot.numbers(index).map(|(phase, read, total)| {
                shown.set_rows_read(read);
                shown.set_rows_total(total);
                phase
            });
            let state = match (&table.standing, phase) {
                (Standing::Dropped, _) => TableState::Dropped,
                (Standing::Parked, _) => TableState::Waiting,
                (Standing::Running, Some(ReadPhase::Reading | ReadPhase::Published)) => {
                    loading = true;
                    TableState::Loading
                }
                (Standing::Running, _) if behind => TableState::CatchingUp,
                (Standing::Running, _) => TableState::Synchronizing,
            };
            shown.set_state(state);
        }
        for selected in self.selected.values() {
            if let Some(problem) = &selected.excluded {
                let error = ErrorDocument::new(
                    Code::TableNotReplicable.name(),
                    problem.as_str(),
                    remedies::table_not_replicable(),
                );
                status.table(&selected.id.to_string()).exclude(error);
            }
        }
        status.set_state(match (loading, behind) {
            (true, _) => State::Loading,
            (false, true) => State::CatchingUp,
            (false, false) => State::Synchronizing,
        });
    }
}
