//! XA transactions: prepared in one group of the binlog, decided in another. The events of a prepared group are kept
//! until XA COMMIT, and published then, for only then do the rows exist.
//!
//! Invariant: a group that is kept here is not in the checkpoint's GTID set, so that the server sends it again.

use crate::binlog::batch::{BatchedEvent, EventBatch};
use crate::events::ddl::Xid;
use std::collections::HashMap;
use tributary_schemas::gtid::Gtid;

/// A prepared transaction whose outcome is not known.
#[derive(Debug, Default)]
pub struct Group {
    /// GTID of the group that ended in XA PREPARE.
    pub gtid: Option<Gtid>,
    /// TABLE_MAP and ROWS events, in order.
    pub events: EventBatch,
    /// A part of it was rolled back in the binlog: some of the rows did not happen.
    pub rolled_back: bool,
}

/// Every prepared transaction, by its xid.
#[derive(Debug)]
pub struct Prepared {
    groups: HashMap<Xid, Group>,
    collecting: Option<Group>,
    bytes: usize,
    limit_bytes: usize,
}

impl Prepared {
    /// Keeps at most `limit_bytes` of events.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { groups: HashMap::new(), collecting: None, bytes: 0, limit_bytes }
    }

    /// XA START: the events that follow belong to the transaction.
    pub fn start(&mut self) {
        self.bytes -= self.collecting.take().map_or(0, |group| group.events.size_bytes());
        self.collecting = Some(Group::default());
    }

    /// True between XA START and XA PREPARE.
    #[must_use]
    pub const fn is_collecting(&self) -> bool {
        self.collecting.is_some()
    }

    /// Keeps an event. False if there is no room: the transaction cannot be followed.
    #[must_use]
    pub fn keep(&mut self, event: BatchedEvent<'_>) -> bool {
        let Some(group) = &mut self.collecting else { return false };
        let before = group.events.size_bytes();
        group.events.push(event);
        self.bytes += group.events.size_bytes() - before;
        self.bytes <= self.limit_bytes
    }

    /// XA PREPARE: the group waits for its outcome under `xid`.
    pub fn prepare(&mut self, xid: Xid, gtid: Option<Gtid>) {
        if let Some(mut group) = self.collecting.take() {
            group.gtid = gtid;
            group.events.shrink();
            self.groups.insert(xid, group);
        }
    }

    /// A part of the group being collected was rolled back.
    pub fn roll_back_part(&mut self) {
        if let Some(group) = &mut self.collecting {
            group.rolled_back = true;
        }
    }

    /// The group being collected, which ends without XA PREPARE: committed in one phase, or rolled back.
    #[must_use]
    pub fn take_collected(&mut self) -> Option<Group> {
        let group = self.collecting.take()?;
        self.bytes -= group.events.size_bytes();
        Some(group)
    }

    /// XA COMMIT or XA ROLLBACK; `None` for an xid that was never seen.
    #[must_use]
    pub fn decide(&mut self, xid: &Xid) -> Option<Group> {
        let group = self.groups.remove(xid)?;
        self.bytes -= group.events.size_bytes();
        Some(group)
    }
}
