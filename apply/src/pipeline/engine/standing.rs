//! Where a table stands; `transition.rs` has the one way from there to elsewhere.
//!
//! | standing | begins with | in the bookkeeping |
//! |---|---|---|
//! | running | an assignment, a generation that empties the table, a replay | |
//! | tried | the time to try a parked table again, or a mark that another instance has taken away | taken away by the next load |
//! | closing | a record that cannot be taken | |
//! | parked | what the destination, or a topic, refuses; a mark that another instance has made | the reason |
//!
//! Invariant: a table that is tried counts as parked until it has written something, or has nothing left to write; one is
//! tried without anyone's saying so only for a reason that a person may take away on the destination's side.

use std::time::{Duration, Instant};
use tributary_warehouse::destination::TableError;

/// Where a table stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Records are taken.
    Running,
    /// Records are taken, to see whether what parked the table is mended.
    Tried(TableError),
    /// No record is taken any more: the table is parked once what was taken before is in the destination.
    Closing {
        /// Why it is to be parked.
        error: TableError,
        /// What it was tried for.
        tried: Option<TableError>,
    },
    /// Nothing is taken, and nothing written.
    Parked(Parked),
}

/// A table that is parked.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) error: TableError,
    /// When it is tried again; `None` for a reason that only a command, capture or another configuration takes away.
    pub(super) retry: Option<Instant>,
    /// The bookkeeping has a mark: the last view that was asked for when that was known. If a later one does not show the
    /// mark, it was taken away.
    pub(super) marked_at: Option<u64>,
}

impl Parked {
    /// `marked_at` is the view that shows the mark, if one does.
    pub(super) fn new(error: TableError, marked_at: Option<u64>, now: Instant, interval: Duration) -> Self {
        let retry = error.may_be_mended().then(|| now + interval);
        Self { error, retry, marked_at }
    }
}

/// Marks that this instance makes itself: a view that may show one says nothing new of a table that was taken up
/// meanwhile.
#[derive(Debug, Default)]
pub(super) struct OwnMarks {
    under_way: usize,
    /// The last view that was asked for when the last of them ended.
    ended_at: Option<u64>,
}

impl OwnMarks {
    pub(super) const fn begun(&mut self) {
        self.under_way += 1;
    }

    pub(super) const fn ended(&mut self, view: u64) {
        self.under_way -= 1;
        self.ended_at = Some(view);
    }

    pub(super) fn may_show(&self, view: u64) -> bool {
        self.under_way > 0 || self.ended_at.is_some_and(|ended| view <= ended)
    }
}
