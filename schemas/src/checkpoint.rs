//! Records of the state topic `<task>.state`: what capture needs to go on, written in the same Kafka transaction as
//! the rows it stands for. JSON keys and values.

use crate::gtid::{Gtid, GtidSet};
use crate::position::Position;
use crate::table::TableId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Key of a state record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StateKey {
    /// [`Leader`].
    Leader,
    /// [`Checkpoint`].
    Checkpoint,
    /// [`TableProgress`].
    Progress(TableId),
    /// The full table at the checkpoint, with the columns that are not published; capture's own layout.
    Catalog(TableId),
    /// [`Parked`].
    Parked(TableId),
}

/// Why a table is not replicated any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Code that names a section of docs/OPERATIONS.md.
    pub code: String,
    /// What happened, and where in the binlog.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// False once the table has returned.
    pub active: bool,
}

/// The instance that leads the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Random for each start of a process.
    pub instance: String,
    /// Where its HTTP answers.
    pub address: String,
    /// How it is; none in the first record of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<Beat>,
}

/// A leader writes its record anew this often.
pub const LEADER_BEAT: Duration = Duration::from_secs(5);

/// That a leader works, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When this was written, by the leader's clock: milliseconds since 1970.
    pub written_ms: u64,
    /// How far the stream is behind the source, milliseconds; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_ms: Option<u64>,
}

/// How far the stream has been published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Every row event of every transaction before this place is published.
    pub position: Position,
    /// Timestamp of the FORMAT_DESCRIPTION of the file of `position`, seconds since 1970. With GTIDs it is only there if
    /// every transaction before `position` in that file is in its GTID set, so that the stream may begin at the offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_created: Option<u32>,
    /// When the source's server was started, seconds since 1970 by its clock; a second more or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_started: Option<u64>,
    /// Source transactions begun since the task did, up to `position`.
    pub transaction: u64,
    /// Transactions behind `position` of which a part is published already. More than one only after failovers: the new
    /// source may send another transaction first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<Partial>,
    /// XA transactions that are prepared before `position` and not decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<Undecided>,
}

impl Checkpoint {
    /// The transactions that are published, wholly or in part.
    #[must_use]
    pub fn published(&self) -> GtidSet {
        let mut set = self.position.gtid_set.clone();
        self.partials.iter().filter_map(Partial::gtid).for_each(|gtid| set.insert(&gtid));
        set
    }

    /// True if everything that the source shows at `place` is published. An XA transaction that is prepared and not decided
    /// shows nothing yet.
    #[must_use]
    pub fn covers(&self, place: &Position) -> bool {
        let mut here = self.position.clone();
        self.prepared().for_each(|gtid| here.gtid_set.insert(&gtid));
        here.covers(place)
    }

    /// GTIDs of the XA transactions that are prepared and not decided.
    pub fn prepared(&self) -> impl Iterator<Item = Gtid> {
        self.undecided.iter().filter_map(|undecided| undecided.gtid.as_deref()?.parse().ok())
    }

    /// `table` is selected now, and the undecided transactions may write it: those whose rows are read again say so
    /// themselves.
    pub fn may_be_written(&mut self, table: &TableId) {
        for undecided in self.undecided.iter_mut().filter(|undecided| !undecided.tables.contains(table)) {
            undecided.tables.push(table.clone());
        }
    }
}

/// An XA transaction whose outcome is not known. If its rows cannot be had any more when it is committed, its tables are
/// read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// Its xid, as the server writes it in the binlog.
    pub xid: String,
    /// GTID of the group that ended in XA PREPARE, as text; `None` for a source without GTID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Where the stream of a source without GTID must be resumed to get its rows again: before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<BinlogPlace>,
    /// The selected tables that it writes; and those that were selected later, for what it writes of them is not known
    /// unless it is read again.
    pub tables: Vec<TableId>,
}

/// A place in the binlog of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPlace {
    /// Binlog file.
    pub file: String,
    /// Offset in it, bytes.
    pub offset: u64,
}

/// A transaction that was published in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Its GTID as text; `None` for a source without GTID, where it is the transaction at `position`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Row events already published, by table; rows, not binlog events. By table, for a table that is parked or
    /// deselected before the restart is not counted again, and must not shift the others.
    pub tables: Vec<PublishedRows>,
}

/// A part of a [`Partial`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRows {
    pub table: TableId,
    /// Its row events in this transaction that are published.
    pub rows: u64,
}

impl Partial {
    /// Its GTID; `None` for a source without.
    #[must_use]
    pub fn gtid(&self) -> Option<Gtid> {
        self.gtid.as_deref().and_then(|text| text.parse().ok())
    }

    /// True if this is the transaction `gtid`.
    #[must_use]
    pub fn is(&self, gtid: Option<&Gtid>) -> bool {
        self.gtid.as_deref() == gtid.map(ToString::to_string).as_deref()
    }
}

/// How far a table has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// The generation that the read began with.
    pub generation: u32,
    /// How far it is.
    pub phase: ReadPhase,
    /// Rows read so far.
    pub rows_read: u64,
    /// The server's estimate when the read began, rows.
    pub rows_estimated: u64,
    /// What has not been read yet: disjoint, in key order. Empty in the later phases.
    #[serde(default)]
    pub remaining: Vec<KeyRange>,
    /// In [`ReadPhase::Published`]: the table is consistent once the stream has passed this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_after: Option<Position>,
    /// The table's topic as it was seen last; absent before the first look, and where an older version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenTopic>,
}

/// How far a topic is known to reach. One of the same name that ends before that is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTopic {
    pub topic: String,
    /// The end of each partition: the offset that its next record gets.
    pub ends: Vec<i64>,
}

/// The phases of a table's read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPhase {
    /// Chunks remain.
    Reading,
    /// Every chunk is published; the stream has yet to pass `consistent_after`.
    Published,
    /// Consistent.
    Complete,
}

/// The rows behind `after`, up to and including `through`, in the order of the source's primary key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Exclusive lower bound; `None` for the table's beginning.
    pub after: Option<Vec<KeyValue>>,
    /// Inclusive upper bound; `None` for the table's end, which only a table that is being opened has.
    pub through: Option<Vec<KeyValue>>,
}

impl Eq for KeyRange {}

/// A key column's value as it is bound into a boundary comparison. The source compares; this is never ordered here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyValue {
    /// Signed integers and YEAR; also ENUM and SET, by number.
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// FLOAT and DOUBLE.
    Double(f64),
    /// Text, decimals, dates and times, in UTF-8.
    Text(String),
    /// Binary strings and BIT, in hexadecimal.
    Hex(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prepared_hides_nothing_and_what_is_published_in_part_does() {
        const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let at = |gtids: &str| Position {
            gtid_set: format!("{UUID}:{gtids}").parse().unwrap(),
            ..Position::default()
        };
        let gtid = |number: u32| Some(format!("{UUID}:{number}"));
        let undecided =
            Undecided { xid: "X'61',X'',1".to_owned(), gtid: gtid(3), place: None, tables: Vec::new() };
        let checkpoint = Checkpoint {
            format: crate::FORMAT_VERSION,
            position: at("1-2:4-8"),
            file_created: None,
            source_started: None,
            transaction: 8,
            partials: vec![Partial { gtid: gtid(9), tables: Vec::new() }],
            undecided: vec![undecided],
        };
        assert!(!checkpoint.position.covers(&at("1-8")) && checkpoint.covers(&at("1-8")));
        assert!(!checkpoint.covers(&at("1-9")));
        assert!(checkpoint.published().contains_all(&at("1-2:4-9").gtid_set));
    }
}
