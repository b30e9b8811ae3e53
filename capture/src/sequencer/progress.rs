//! Where the stream stands: transactions are counted, their rows are counted, and what has been published of them is
//! turned into a checkpoint.
//!
//! Invariant: the checkpoint of a moment, given to a new [`StreamProgress`], makes it skip exactly the row events that
//! were published before that moment, whatever events the rows come in.

use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Checkpoint, Partial};
use tributary_schemas::gtid::{Gtid, GtidSet};
use tributary_schemas::position::Position;

/// A source transaction that the stream is in the middle of.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its GTID; `None` for a source without.
    pub gtid: Option<Gtid>,
    /// The same as text, for the envelope.
    pub gtid_text: Option<String>,
    /// Row events of selected tables passed so far.
    pub rows: u64,
    /// How many of them were published by a predecessor.
    skip: u64,
    /// Leaves its GTID out of the set when it ends: an undecided XA PREPARE.
    undecided: bool,
}

/// The stream's place, transaction by transaction.
#[derive(Debug, Clone)]
pub struct StreamProgress {
    /// Behind the last transaction that ended.
    position: Position,
    /// Transactions begun.
    transaction: u64,
    open: Option<Open>,
    /// What a predecessor published of a transaction that has not come again yet.
    partial: Option<Partial>,
    /// File and offset of the event being handled, in 64 bits.
    file: String,
    offset: u64,
}

impl StreamProgress {
    /// Goes on from `checkpoint`.
    #[must_use]
    pub fn resume(checkpoint: &Checkpoint) -> Self {
        let position = checkpoint.position.clone();
        Self {
            file: position.file.clone(),
            offset: position.offset,
            position,
            transaction: checkpoint.transaction,
            open: None,
            partial: checkpoint.partial.clone(),
        }
    }

    /// What to store now: everything before it is published, of the open transaction the rows passed so far.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let (transaction, partial) = match &self.open {
            Some(open) if open.rows > 0 || open.skip > 0 => {
                let rows = open.rows.max(open.skip);
                (self.transaction - 1, Some(Partial { gtid: open.gtid_text.clone(), rows }))
            }
            Some(_) => (self.transaction - 1, self.partial.clone()),
            None => (self.transaction, self.partial.clone()),
        };
        Checkpoint { format: FORMAT_VERSION, position: self.position.clone(), transaction, partial }
    }

    /// Transactions begun since the task did.
    #[must_use]
    pub const fn transaction(&self) -> u64 {
        self.transaction
    }

    /// The transaction being read.
    #[must_use]
    pub const fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Behind the last transaction that ended.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// The binlog file being read.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Offset in bytes behind the event being handled.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Every transaction the stream has reached, the open one included: S_w of DESIGN.md section 2. So is one that a
    /// predecessor published in part and that has not come again: its rows are skipped when it does, so a chunk that
    /// was read without them would stay outdated (`snapshot::simulation`, `WaitWithoutPartTransaction`).
    #[must_use]
    pub fn reached(&self) -> GtidSet {
        let mut set = self.position.gtid_set.clone();
        let partial = self.partial.as_ref().and_then(|partial| partial.gtid.as_deref());
        if let Some(gtid) = partial.and_then(|text| text.parse().ok()) {
            set.insert(&gtid);
        }
        if let Some(gtid) = self.open.as_ref().and_then(|open| open.gtid.as_ref()) {
            set.insert(gtid);
        }
        set
    }

    /// The stream goes on in `file` at `offset`.
    pub fn rotate(&mut self, file: String, offset: u64) {
        self.file = file;
        self.offset = offset;
        if self.open.is_none() {
            self.position.file.clone_from(&self.file);
            self.position.offset = offset;
        }
    }

    /// An event ends at `next_offset`, the header's 32 bits; 0 in events that have no place of their own. Past 4 GiB
    /// the header wraps, so the high half is counted here.
    pub fn advance(&mut self, next_offset: u32) {
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

    /// A transaction begins.
    pub fn begin(&mut self, gtid: Option<Gtid>) {
        self.transaction += 1;
        let skip = match &self.partial {
            Some(partial) if partial.is(gtid.as_ref()) => partial.rows,
            _ => 0,
        };
        if skip > 0 {
            self.partial = None;
        }
        let gtid_text = gtid.as_ref().map(ToString::to_string);
        self.open = Some(Open { gtid, gtid_text, rows: 0, skip, undecided: false });
    }

    /// A row event of a selected table passes: its index in the transaction, and whether it is to be published
    /// (a predecessor may have).
    pub fn row(&mut self) -> (u64, bool) {
        match &mut self.open {
            Some(open) => {
                let index = open.rows;
                open.rows += 1;
                (index, index >= open.skip)
            }
            None => (0, true),
        }
    }

    /// The open transaction is an XA PREPARE whose outcome is not known: its GTID stays out of the position, so that
    /// the server sends it again after a restart.
    pub fn leave_undecided(&mut self) {
        if let Some(open) = &mut self.open {
            open.undecided = true;
        }
    }

    /// An XA transaction prepared earlier is decided.
    pub fn decided(&mut self, prepared: Option<&Gtid>) {
        if let Some(gtid) = prepared {
            self.position.gtid_set.insert(gtid);
        }
    }

    /// The open transaction ends with the event being handled.
    pub fn end(&mut self) {
        if let Some(open) = self.open.take()
            && let Some(gtid) = open.gtid.filter(|_| !open.undecided)
        {
            self.position.gtid_set.insert(&gtid);
        }
        self.position.file.clone_from(&self.file);
        self.position.offset = self.offset;
    }

    /// The server that the file and offset belong to.
    pub fn set_server(&mut self, server_uuid: &str) {
        server_uuid.clone_into(&mut self.position.server_uuid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn start() -> Checkpoint {
        let position = Position { file: "binlog.000001".into(), offset: 4, ..Position::default() };
        Checkpoint { format: FORMAT_VERSION, position, transaction: 0, partial: None }
    }

    fn gtid(number: u64) -> Option<Gtid> {
        Some(format!("{UUID}:{number}").parse().unwrap())
    }

    /// Streams transactions of the given sizes from `checkpoint`, the ones before it left out as the server would,
    /// and stops after `rows` rows. Returns what was published, and the checkpoint then.
    fn run(sizes: &[u64], checkpoint: &Checkpoint, rows: usize) -> (Vec<(u64, u64, u64)>, Checkpoint) {
        let mut progress = StreamProgress::resume(checkpoint);
        let (mut published, mut passed) = (Vec::new(), 0);
        for (index, size) in sizes.iter().enumerate() {
            let id = gtid(index as u64 + 1);
            if checkpoint.position.gtid_set.contains(id.as_ref().unwrap()) {
                continue;
            }
            progress.begin(id);
            for _ in 0..*size {
                if passed == rows {
                    return (published, progress.checkpoint());
                }
                passed += 1;
                let (row, publish) = progress.row();
                if publish {
                    published.push((index as u64 + 1, progress.transaction(), row));
                }
            }
            progress.end();
        }
        (published, progress.checkpoint())
    }

    proptest! {
        #[test]
        fn crashes_anywhere_publish_each_row_once(sizes in prop::collection::vec(0_u64..6, 1..12),
                                                  stops in prop::collection::vec(0_usize..20, 0..8)) {
            let mut checkpoint = start();
            let mut all = Vec::new();
            for rows in stops {
                let (published, next) = run(&sizes, &checkpoint, rows);
                all.extend(published);
                checkpoint = next;
            }
            let (published, last) = run(&sizes, &checkpoint, usize::MAX);
            all.extend(published);
            let (expected, finish) = run(&sizes, &start(), usize::MAX);
            prop_assert_eq!(all, expected);
            prop_assert_eq!(last, finish);
        }
    }

    #[test]
    fn a_transaction_published_in_part_counts_as_reached() {
        let (_, checkpoint) = run(&[3], &start(), 2);
        assert_eq!(checkpoint.partial.as_ref().map(|partial| partial.rows), Some(2));
        let progress = StreamProgress::resume(&checkpoint);
        assert!(progress.reached().contains(&gtid(1).unwrap()));
    }

    #[test]
    fn offsets_go_on_past_four_gibibytes() {
        let mut progress = StreamProgress::resume(&start());
        progress.advance(u32::MAX - 10);
        progress.advance(0);
        progress.advance(20);
        assert_eq!(progress.offset(), (1 << 32) + 20);
        progress.rotate("binlog.000002".into(), 4);
        assert_eq!((progress.file(), progress.offset()), ("binlog.000002", 4));
    }

    #[test]
    fn an_undecided_prepare_stays_out_of_the_position_until_it_is_decided() {
        let mut progress = StreamProgress::resume(&start());
        progress.begin(gtid(1));
        progress.leave_undecided();
        progress.end();
        progress.begin(gtid(2));
        progress.end();
        assert_eq!(progress.position().gtid_set.to_string(), format!("{UUID}:2"));
        progress.decided(gtid(1).as_ref());
        assert_eq!(progress.position().gtid_set.to_string(), format!("{UUID}:1-2"));
    }

    #[test]
    fn the_open_transaction_is_reached_but_not_passed() {
        let mut progress = StreamProgress::resume(&start());
        progress.begin(gtid(1));
        assert!(progress.position().gtid_set.is_empty());
        assert_eq!(progress.reached().to_string(), format!("{UUID}:1"));
    }
}
