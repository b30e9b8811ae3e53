//! How a session's sequencer begins, what it is asked while it runs, and what it shows.

use super::bootstrap::{Beginning, Resumed};
use super::freshness::Freshness;
use super::halt::Halt;
use super::load::READING;
use super::output::Now;
use super::port::Port;
use super::progress::StreamProgress;
use super::topics::WatchedTopics;
use super::xa::Prepared;
use super::{Expectations, Output, Sequencer, Setup, Snapshot};
use crate::binlog::FormatContext;
use crate::remedies;
use crate::sequencer::maps::TableMaps;
use crate::sequencer::tables::{Tables, document};
use crate::snapshot::reader::ReaderOrder;
use std::collections::BTreeSet;
use std::time::Duration;
use tributary_schemas::checkpoint::ReadPhase;
use tributary_schemas::position::Position;
use tributary_schemas::row::EncodedRow;
use tributary_service::codes::Code;
use tributary_service::status::{ErrorDocument, State, TableState};

/// A stream that is less behind than this counts as in step.
const IN_STEP: Duration = Duration::from_secs(5);

impl Sequencer {
    /// Goes on from what is stored. `join_arrived` and the first batch of events come next.
    ///
    /// # Errors
    /// A table whose rows cannot be read where `strict` is set.
    pub(crate) fn new(
        setup: Setup,
        snapshot: Snapshot,
        beginning: Beginning,
        (server_uuid, now): (&str, Now),
    ) -> Result<Self, Halt> {
        let mut progress = StreamProgress::resume(&beginning.checkpoint);
        progress.set_server(server_uuid);
        progress.set_server_start(beginning.source_started);
        let output = Output::new(setup.topic.max_message_bytes, now);
        let now = now.instant;
        let selection_changed =
            beginning.selection_changed || beginning.retention_ms != Some(setup.topic.min_compaction_lag_ms);
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
            expected: Expectations::default(),
            transaction_tables: BTreeSet::new(),
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
        let mut stated = Vec::new();
        for (table, stood, resumed) in beginning.tables {
            let partitions = table.partitions;
            let index = sequencer.tables.add(table);
            sequencer.tables.restore(index, stood);
            match resumed {
                Resumed::GoesOn { read, catalog } => {
                    if let Some(seen) = &read.seen {
                        sequencer.watched.recall(seen, partitions, now);
                    }
                    stated.extend(catalog.map(|catalog| (index, *catalog)));
                    sequencer.take_up(index, read)?;
                }
                Resumed::Stays => {}
                // The first checkpoint may hide why a table that was replicated before joins: the reason is written with it.
                Resumed::Moves(to) => sequencer.transition(index, to),
            }
            sequencer.retire(index);
        }
        stated.retain(|(index, _)| sequencer.tables.is_streaming(*index));
        sequencer.expected = Expectations::at(beginning.place, stated);
        if selection_changed {
            sequencer.put_selection();
        }
        sequencer.show_status();
        Ok(sequencer)
    }

    /// Takes up what holds where the stream begins.
    pub(crate) async fn take_bearings(&mut self) -> Result<(), Halt> {
        // Whatever becomes of this session, the next one is to know which tables this one has read anew.
        if self.output.outbox().opened_at().is_some() {
            self.commit().await;
        }
        self.prove_definitions();
        self.begin_rereads().await
    }

    /// What the stream has passed: the position, and the prepared XA transactions that it leaves out.
    #[must_use]
    pub(crate) fn passed(&self) -> Position {
        let mut position = self.progress.position().clone();
        self.progress.add_undecided(&mut position.gtid_set);
        position
    }

    /// True once every selected table that can be replicated is consistent.
    #[must_use]
    pub(crate) fn is_loaded(&self) -> bool {
        !self.tables.is_waiting() && !self.tables.is_reread_due() && self.snapshot.all_complete()
    }

    /// Where actions leave.
    #[must_use]
    pub(crate) fn port(&self) -> Port {
        self.port.clone()
    }

    /// Orders for readers that have none, by the readers' numbers; to be delivered after each input.
    pub(crate) fn take_orders(&mut self) -> Vec<(usize, ReaderOrder)> {
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
        if self.snapshot.all_complete() {
            // The table that could not be read may be gone, or parked.
            status.retried(READING);
        }
        let last = self.freshness.last();
        if let Some((at, _)) = last {
            status.heard(status.task(), at, Some(Duration::ZERO));
        }
        let lag = last.map(|(_, lag)| lag);
        let behind = lag.is_none_or(|lag| lag > IN_STEP);
        let mut loading = self.tables.all_joining().next().is_some();
        for (index, table) in self.tables.iter().filter(|(_, table)| table.is_published()) {
            let shown = status.table(&table.id.to_string());
            shown.set_generation(table.generation);
            // Until this session's stream is heard, what the one before it said grows older.
            if lag.is_some() {
                shown.set_lag(lag);
            }
            let standing = self.tables.standing(index);
            if let Some(parked) = standing.record() {
                shown.park(document(&parked));
                continue;
            }
            if !standing.is_streaming() {
                shown.set_state(TableState::Dropped);
                continue;
            }
            let (phase, read, total) = self.snapshot.numbers(index);
            shown.set_rows_read(read);
            shown.set_rows_total(total);
            shown.set_state(match phase {
                ReadPhase::Reading | ReadPhase::Published => {
                    loading = true;
                    TableState::Loading
                }
                ReadPhase::Complete if behind => TableState::CatchingUp,
                ReadPhase::Complete => TableState::Synchronizing,
            });
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
