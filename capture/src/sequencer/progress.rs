//! Where the stream stands: transactions are counted, their rows are counted, and what has been published of them is
//! turned into a checkpoint.
//!
//! Invariant: the checkpoint of a moment, given to a new [`StreamProgress`], makes it skip exactly the row events that
//! were published before that moment, whatever events the rows come in.

use super::tables::TableIndex;
use std::collections::BTreeMap;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{BinlogPlace, Checkpoint, Partial, PublishedRows, Undecided};
use tributary_schemas::gtid::{Gtid, GtidSet};
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;

/// A source transaction that the stream is in the middle of.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// Its GTID; `None` for a source without.
    pub gtid: Option<Gtid>,
    /// The same as text, for the envelope.
    pub gtid_text: Option<String>,
    /// Row events of selected tables passed so far.
    pub rows: u64,
    /// The same by table, by the sequencer's index.
    passed: BTreeMap<TableIndex, u64>,
    /// How many of them a predecessor published.
    skip: BTreeMap<TableIndex, u64>,
    /// Leaves its GTID out of the set when it ends: an undecided XA PREPARE.
    undecided: bool,
}

/// The stream's place, transaction by transaction.
#[derive(Debug, Clone)]
pub(crate) struct StreamProgress {
    /// Behind the last transaction that ended.
    position: Position,
    /// Transactions begun.
    transaction: u64,
    open: Option<Open>,
    /// What predecessors published of transactions that have not come again yet.
    partials: Vec<Partial>,
    /// File and offset of the event being handled, in 64 bits.
    file: String,
    offset: u64,
    /// When `file` was created, once its FORMAT_DESCRIPTION has come.
    file_created: Option<u32>,
    /// When the server was started.
    source_started: Option<u64>,
    /// XA transactions before `position` that are missing in its GTID set.
    undecided: Vec<Gtid>,
    /// Every XA transaction that is not decided, also those that a predecessor passed.
    prepared: Vec<Undecided>,
    /// The stream was asked for by GTIDs alone.
    searched: bool,
}

impl StreamProgress {
    /// Goes on from `checkpoint`.
    #[must_use]
    pub(crate) fn resume(checkpoint: &Checkpoint) -> Self {
        let position = checkpoint.position.clone();
        Self {
            file: position.file.clone(),
            offset: position.offset,
            position,
            transaction: checkpoint.transaction,
            open: None,
            partials: checkpoint.partials.clone(),
            file_created: checkpoint.file_created,
            source_started: checkpoint.source_started,
            undecided: Vec::new(),
            prepared: checkpoint.undecided.clone(),
            searched: checkpoint.file_created.is_none(),
        }
    }

    /// What to store now: everything before it is published, of the open transaction the rows passed so far. `name`
    /// gives the table at an index.
    #[must_use]
    pub(crate) fn checkpoint(&self, name: impl Fn(TableIndex) -> TableId) -> Checkpoint {
        let Some(open) = &self.open else {
            return self.stored(self.transaction, self.partials.clone());
        };
        let mut published = open.skip.clone();
        for (table, rows) in &open.passed {
            let most = published.entry(*table).or_default();
            *most = (*most).max(*rows);
        }
        let tables: Vec<PublishedRows> =
            published.into_iter().map(|(table, rows)| PublishedRows { table: name(table), rows }).collect();
        let mut partials = self.partials.clone();
        if !tables.is_empty() {
            partials.push(Partial { gtid: open.gtid_text.clone(), tables });
        }
        self.stored(self.transaction - 1, partials)
    }

    fn stored(&self, transaction: u64, partials: Vec<Partial>) -> Checkpoint {
        let whole = self.undecided.is_empty() && self.position.file == self.file;
        Checkpoint {
            format: FORMAT_VERSION,
            position: self.position.clone(),
            file_created: self.file_created.filter(|_| whole),
            source_started: self.source_started,
            transaction,
            partials,
            undecided: self.prepared.clone(),
        }
    }

    /// Transactions begun since the task did.
    #[must_use]
    pub(crate) const fn transaction(&self) -> u64 {
        self.transaction
    }

    /// The transaction being read.
    #[must_use]
    pub(crate) const fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Behind the last transaction that ended.
    #[must_use]
    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    /// The binlog file being read.
    #[must_use]
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Offset in bytes behind the event being handled.
    #[must_use]
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Every transaction the stream has reached, the open one included: the set a chunk waits for before it is read. So is one that a
    /// predecessor published in part and that has not come again: its rows are skipped when it does, so a chunk that
    /// was read without them would stay outdated (`snapshot::simulation`, `WaitWithoutPartTransaction`).
    #[must_use]
    pub(crate) fn reached(&self) -> GtidSet {
        let mut set = self.position.gtid_set.clone();
        self.partials.iter().filter_map(Partial::gtid).for_each(|gtid| set.insert(&gtid));
        if let Some(gtid) = self.open.as_ref().and_then(|open| open.gtid.as_ref()) {
            set.insert(gtid);
        }
        set
    }

    /// Adds the prepared XA transactions that the stream has passed and the position leaves out.
    pub(crate) fn add_undecided(&self, set: &mut GtidSet) {
        self.undecided.iter().for_each(|gtid| set.insert(gtid));
    }

    /// True if a stream that began at an offset has not brought each of the transactions before a file, as its
    /// PREVIOUS_GTIDS names them. One that was searched by GTID leaves out only what it was not asked for.
    #[must_use]
    pub(crate) fn misses(&self, before: &GtidSet) -> bool {
        let mut seen = self.reached();
        self.add_undecided(&mut seen);
        !self.searched && !seen.contains_all(before)
    }

    /// The next stream is to be searched by GTID.
    pub(crate) const fn forget_file(&mut self) {
        self.file_created = None;
    }

    /// The stream goes on in `file` at `offset`.
    pub(crate) fn rotate(&mut self, file: String, offset: u64) {
        self.file = file;
        self.offset = offset;
        self.file_created = None;
        if self.open.is_none() {
            self.position.file.clone_from(&self.file);
            self.position.offset = offset;
        }
    }

    /// The FORMAT_DESCRIPTION of the file has come: when the file was created, seconds since 1970.
    pub(crate) fn describe(&mut self, created_seconds: u32) {
        self.file_created = Some(created_seconds).filter(|seconds| *seconds > 0);
        self.settle();
    }

    /// An event ends at `next_offset`, the header's 32 bits; 0 in events that have no place of their own. Past 4 GiB
    /// the header wraps, so the high half is counted here.
    pub(crate) fn advance(&mut self, next_offset: u32) {
        if next_offset == 0 {
            return;
        }
        let high = self.offset & !u64::from(u32::MAX);
        let mut offset = high | u64::from(next_offset);
        if offset < self.offset {
            offset += 1 << 32;
        }
        self.offset = offset;
    }

    /// A transaction begins. `find` gives the index of a table.
    pub(crate) fn begin(&mut self, gtid: Option<Gtid>, find: impl Fn(&TableId) -> Option<TableIndex>) {
        self.transaction += 1;
        let again = self.partials.iter().position(|partial| partial.is(gtid.as_ref()));
        let skip = match again.map(|place| self.partials.remove(place)) {
            Some(partial) => {
                let indexed = |part: PublishedRows| find(&part.table).map(|table| (table, part.rows));
                partial.tables.into_iter().filter_map(indexed).collect()
            }
            None => BTreeMap::new(),
        };
        let gtid_text = gtid.as_ref().map(ToString::to_string);
        self.open = Some(Open { gtid, gtid_text, rows: 0, passed: BTreeMap::new(), skip, undecided: false });
    }

    /// A row event of the table at this index passes: its index in the transaction, and whether it is to be published
    /// (a predecessor may have).
    pub(crate) fn row(&mut self, table: TableIndex) -> (u64, bool) {
        let Some(open) = &mut self.open else { return (0, true) };
        let index = open.rows;
        open.rows += 1;
        let passed = open.passed.entry(table).or_default();
        *passed += 1;
        let published = open.skip.get(&table).copied().unwrap_or(0);
        (index, *passed > published)
    }

    /// The open transaction is an XA PREPARE whose outcome is not known: its GTID stays out of the position, so that
    /// the server sends it again after a restart; without one its place is kept, from which it is sent again. One that has
    /// rows of no selected table needs no place.
    pub(crate) fn leave_undecided(&mut self, xid: &str, tables: impl Iterator<Item = TableId>) {
        let gtid = self.open.as_ref().and_then(|open| open.gtid_text.clone());
        if let Some(open) = &mut self.open {
            open.undecided = true;
        }
        // Behind the transaction before it.
        let Position { file, offset, .. } = &self.position;
        let tables: Vec<TableId> = tables.collect();
        let needed = gtid.is_none() && !tables.is_empty();
        let place = needed.then(|| BinlogPlace { file: file.clone(), offset: *offset });
        self.prepared.retain(|undecided| undecided.xid != xid);
        self.prepared.push(Undecided { xid: xid.to_owned(), gtid, place, tables });
    }

    /// True for an XA transaction that is prepared before the position and not decided.
    #[must_use]
    pub(crate) fn is_undecided(&self, xid: &str) -> bool {
        self.prepared.iter().any(|undecided| undecided.xid == xid)
    }

    /// An XA transaction prepared earlier is decided; its tables, if it was ever seen. `prepared` is the GTID of its group
    /// if the group is at hand.
    pub(crate) fn decided(&mut self, xid: &str, prepared: Option<&Gtid>) -> Option<Vec<TableId>> {
        if let Some(gtid) = prepared {
            self.position.gtid_set.insert(gtid);
            self.undecided.retain(|undecided| undecided != gtid);
        }
        let place = self.prepared.iter().position(|undecided| undecided.xid == xid)?;
        Some(self.prepared.remove(place).tables)
    }

    /// The open transaction ends with the event being handled.
    pub(crate) fn end(&mut self) {
        if let Some(open) = self.open.take()
            && let Some(gtid) = open.gtid
        {
            if !open.undecided {
                self.position.gtid_set.insert(&gtid);
            } else if !self.undecided.contains(&gtid) {
                self.undecided.push(gtid);
            }
        }
        self.position.file.clone_from(&self.file);
        self.position.offset = self.offset;
    }

    /// An event that belongs to no transaction ends: a source that writes nothing is at its end all the same.
    pub(crate) fn settle(&mut self) {
        if self.open.is_none() {
            self.position.file.clone_from(&self.file);
            self.position.offset = self.offset;
        }
    }

    /// When the server that the stream comes from was started.
    pub(crate) const fn set_server_start(&mut self, started: Option<u64>) {
        self.source_started = started;
    }

    /// The server that the stream comes from. File and offset of another one say nothing here.
    pub(crate) fn set_server(&mut self, server_uuid: &str) {
        if self.position.server_uuid != server_uuid {
            server_uuid.clone_into(&mut self.position.server_uuid);
            self.position.file.clear();
            self.position.offset = 0;
            self.file_created = None;
        }
    }
}

#[cfg(test)]
mod tests;
