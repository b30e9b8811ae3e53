//! XA transactions: prepared in one group of the binlog, decided in another. The events of a prepared group are kept
//! until XA COMMIT, and published then, for only then do the rows exist.
//!
//! Invariant: a group that is kept here is not in the checkpoint's GTID set, so that the server sends it again.

use super::Sequencer;
use super::halt::Halt;
use super::stream::{PUBLISH_BYTES, ROLLED_BACK};
use crate::binlog::batch::{BatchedEvent, EventBatch};
use crate::binlog::query::Xid;
use crate::binlog::{EventBody, parse};
use std::collections::{BTreeSet, HashMap, HashSet};
use tributary_schemas::gtid::Gtid;
use tributary_schemas::table::TableId;

/// A prepared transaction whose outcome is not known.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// GTID of the group that ended in XA PREPARE.
    pub gtid: Option<Gtid>,
    /// TABLE_MAP and ROWS events of selected tables, in order.
    pub events: EventBatch,
    /// The selected tables that they are about.
    pub tables: BTreeSet<TableId>,
    /// There was no room for the events: once it is committed, the tables are read anew.
    pub dropped: bool,
    /// The table ids of the selected tables.
    ids: HashSet<u64>,
    /// A part of it was rolled back in the binlog: some of the rows did not happen.
    pub rolled_back: bool,
}

/// Every prepared transaction, by its xid.
#[derive(Debug)]
pub(super) struct Prepared {
    groups: HashMap<Xid, Group>,
    collecting: Option<Group>,
    bytes: usize,
    limit_bytes: usize,
}

impl Prepared {
    /// Keeps at most `limit_bytes` of events.
    #[must_use]
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { groups: HashMap::new(), collecting: None, bytes: 0, limit_bytes }
    }

    /// XA START: the events that follow belong to the transaction.
    pub(super) fn start(&mut self) {
        self.bytes -= self.collecting.take().map_or(0, |group| group.events.size_bytes());
        self.collecting = Some(Group::default());
    }

    /// True between XA START and XA PREPARE.
    #[must_use]
    pub(super) const fn is_collecting(&self) -> bool {
        self.collecting.is_some()
    }

    /// A TABLE_MAP: what the row events of `table_id` are about; `None` for a table that is not selected.
    pub(super) fn keep_map(&mut self, table_id: u64, table: Option<TableId>, event: BatchedEvent<'_>) {
        let Some(group) = &mut self.collecting else { return };
        match table {
            Some(table) => {
                group.ids.insert(table_id);
                group.tables.insert(table);
                self.keep(event);
            }
            None => drop(group.ids.remove(&table_id)),
        }
    }

    /// A row event of `table_id`: kept if its table is selected.
    pub(super) fn keep_rows(&mut self, table_id: u64, event: BatchedEvent<'_>) {
        if self.collecting.as_ref().is_some_and(|group| group.ids.contains(&table_id)) {
            self.keep(event);
        }
    }

    /// Where there is no room, the group at hand goes without its events.
    fn keep(&mut self, event: BatchedEvent<'_>) {
        let Some(group) = self.collecting.as_mut().filter(|group| !group.dropped) else { return };
        let before = group.events.size_bytes();
        group.events.push(event);
        self.bytes += group.events.size_bytes() - before;
        if self.bytes > self.limit_bytes {
            self.bytes -= group.events.size_bytes();
            group.events = EventBatch::default();
            group.dropped = true;
        }
    }

    /// XA PREPARE: the group waits for its outcome under `xid`.
    pub(super) fn prepare(&mut self, xid: Xid, gtid: Option<Gtid>) {
        if let Some(mut group) = self.collecting.take() {
            group.gtid = gtid;
            group.events.shrink();
            self.groups.insert(xid, group);
        }
    }

    /// The selected tables of the group being collected.
    #[must_use]
    pub(super) fn collected_tables(&self) -> BTreeSet<TableId> {
        self.collecting.as_ref().map(|group| group.tables.clone()).unwrap_or_default()
    }

    /// A part of the group being collected was rolled back.
    pub(super) fn roll_back_part(&mut self) {
        if let Some(group) = &mut self.collecting {
            group.rolled_back = true;
        }
    }

    /// The group being collected, which ends without XA PREPARE: committed in one phase, or rolled back.
    #[must_use]
    pub(super) fn take_collected(&mut self) -> Option<Group> {
        let group = self.collecting.take()?;
        self.bytes -= group.events.size_bytes();
        Some(group)
    }

    /// XA COMMIT or XA ROLLBACK; `None` for an xid that was never seen.
    #[must_use]
    pub(super) fn decide(&mut self, xid: &Xid) -> Option<Group> {
        let group = self.groups.remove(xid)?;
        self.bytes -= group.events.size_bytes();
        Some(group)
    }
}

impl Sequencer {
    /// True if the event is part of an XA transaction that is being collected, and kept with it as far as its table is selected.
    pub(super) fn collect(&mut self, event: BatchedEvent<'_>, body: &EventBody<'_>) -> bool {
        if !self.prepared.is_collecting() {
            return false;
        }
        match body {
            EventBody::TableMap(map) => {
                let table = TableId::new(map.database, map.table);
                let selected = Some(table).filter(|table| self.setup.selection.selects(table));
                self.prepared.keep_map(map.table_id, selected, event);
                true
            }
            EventBody::Rows(rows) => {
                self.prepared.keep_rows(rows.table_id, event);
                true
            }
            _ => false,
        }
    }

    pub(super) async fn on_xa_prepare(&mut self, xid: Xid, one_phase: bool) -> Result<(), Halt> {
        if one_phase {
            match self.prepared.take_collected() {
                Some(group) if group.dropped => {
                    let tables: Vec<TableId> = group.tables.into_iter().collect();
                    let why = format!(
                        "XA transaction {xid} took more memory than there is for prepared transactions"
                    );
                    self.reread_tables(Some(&tables), &why);
                }
                Some(group) => self.replay(group).await?,
                None => {}
            }
            return self.end().await;
        }
        let gtid = self.progress.open().and_then(|open| open.gtid.clone());
        let tables = self.prepared.collected_tables();
        self.progress.leave_undecided(&xid.to_string(), tables.into_iter());
        self.prepared.prepare(xid, gtid);
        self.end().await
    }

    pub(super) async fn on_xa_commit(&mut self, xid: &Xid) -> Result<(), Halt> {
        let group = self.prepared.decide(xid);
        let known =
            self.progress.decided(&xid.to_string(), group.as_ref().and_then(|group| group.gtid.as_ref()));
        match group {
            Some(group) if group.dropped => {
                let tables: Vec<TableId> = group.tables.into_iter().collect();
                let why = format!(
                    "XA transaction {xid} was committed, and its rows took more memory than capture.memory_bytes leaves for \
                     prepared transactions"
                );
                self.reread_tables(Some(&tables), &why);
            }
            Some(group) => self.replay(group).await?,
            None => {
                let why = match &known {
                    Some(_) => "its rows were in a part of the binlog that is not read again",
                    None => {
                        "it was prepared before this task began, so that its rows, and their tables, are not known"
                    }
                };
                let why = format!("XA transaction {xid} was committed: {why}");
                self.reread_tables(known.as_deref(), &why);
            }
        }
        self.end().await
    }

    /// The row events of an XA transaction, now that they happened.
    async fn replay(&mut self, group: Group) -> Result<(), Halt> {
        for BatchedEvent { header, data, .. } in group.events.iter() {
            match parse(header.kind, data, &self.format)? {
                EventBody::Rows(rows) => self.on_rows(&header, &rows)?,
                EventBody::TableMap(map) => self.on_table_map(&map)?,
                _ => unreachable!("only row events are kept of an XA transaction"),
            }
            self.publish(PUBLISH_BYTES).await;
        }
        if group.rolled_back {
            self.rolled_back();
        }
        Ok(())
    }

    /// An XA transaction was rolled back before it was prepared. Only one that mixes engines is logged at all, for the
    /// sake of the rows that cannot be rolled back: which they are does not show.
    pub(super) fn abandon(&mut self, events: &EventBatch) -> Result<(), Halt> {
        for BatchedEvent { header, data, .. } in events.iter() {
            if let EventBody::TableMap(map) = parse(header.kind, data, &self.format)?
                && let Some(index) = self.tables.find(&TableId::new(map.database, map.table))
                && self.tables[index].is_published()
            {
                self.tables.reread(index, ROLLED_BACK);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventHeader;

    fn event(data: &[u8]) -> BatchedEvent<'_> {
        let header = EventHeader {
            timestamp_seconds: 1,
            kind: 30,
            server_id: 1,
            size_bytes: 9,
            next_offset: 0,
            flags: 0,
        };
        BatchedEvent { header, data, inside_payload: false }
    }

    fn xid(name: &str) -> Xid {
        Xid { format: 1, gtrid: name.into(), bqual: Vec::new() }
    }

    #[test]
    fn only_events_of_selected_tables_are_kept() {
        let mut prepared = Prepared::new(1000);
        prepared.start();
        prepared.keep_map(1, Some(TableId::new("shop", "orders")), event(b"map"));
        prepared.keep_map(2, None, event(b"map"));
        for _ in 0..100 {
            prepared.keep_rows(2, event(&[0; 1000]));
        }
        prepared.keep_rows(1, event(b"rows"));
        // An id may come to stand for another table.
        prepared.keep_map(1, None, event(b"map"));
        prepared.keep_rows(1, event(b"more"));
        prepared.prepare(xid("a"), None);
        let group = prepared.decide(&xid("a")).unwrap();
        assert_eq!((group.events.iter().count(), group.dropped), (2, false));
        assert_eq!(group.tables.len(), 1);
        assert_eq!(prepared.bytes, 0);
    }

    #[test]
    fn a_group_that_does_not_fit_names_its_tables_and_leaves_room_for_the_others() {
        let mut prepared = Prepared::new(1000);
        for (name, bytes) in [("small", 100), ("large", 10_000), ("another", 100)] {
            prepared.start();
            prepared.keep_map(1, Some(TableId::new("shop", name)), event(b"map"));
            prepared.keep_rows(1, event(&vec![0; bytes]));
            prepared.keep_rows(1, event(b"rows"));
            prepared.prepare(xid(name), None);
        }
        let mut decide = |name: &str| {
            let group = prepared.decide(&xid(name)).unwrap();
            (group.dropped, group.events.iter().count(), group.tables.len())
        };
        assert_eq!(decide("large"), (true, 0, 1));
        assert_eq!((decide("small"), decide("another")), ((false, 3, 1), (false, 3, 1)));
        assert_eq!(prepared.bytes, 0);
    }
}
