//! The one reader of a task's own topics, state and history. Pure: the bytes of a record enter, what it says leaves; whoever
//! reads a topic folds over that.
//!
//! Invariant: a record that a newer version wrote is refused, never skipped and never guessed at.

use crate::FORMAT_VERSION;
use crate::checkpoint::{Checkpoint, Leader, Parked, StateKey, TableProgress};
use crate::history::{
    HistoryKey, LoadRecord, RETIRED_FORMAT, RetiredRecord, SchemaRecord, SelectionRecord, StoredGeneration,
};
use crate::table::TableId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A record as Kafka holds it.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    pub topic: &'a str,
    /// Offset in its only partition.
    pub offset: i64,
    /// JSON.
    pub key: &'a [u8],
    /// JSON; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Written by a newer version.
    #[error(
        "the record at offset {offset} of topic {topic} has format {found}, and this version knows {known}: update it to the \
         version that wrote the record, or newer"
    )]
    Newer {
        topic: String,
        /// Offset of the record.
        offset: i64,
        /// Its format.
        found: u32,
        /// The newest format of records of its kind that this version reads.
        known: u32,
    },
    /// Not one of ours.
    #[error(
        "the record at offset {offset} of topic {topic} cannot be read ({reason}): either a newer version wrote it, or \
         something that is not Tributary did"
    )]
    Foreign {
        topic: String,
        /// Offset of the record.
        offset: i64,
        /// What the parser said.
        reason: String,
    },
}

/// What a record of the state topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateRecord<'a> {
    /// Who leads the task.
    Leader(Leader),
    /// How far the stream is published.
    Checkpoint(Checkpoint),
    /// How far a table is read.
    Progress(TableId, TableProgress),
    /// The full table at the checkpoint, in capture's own layout.
    Catalog(TableId, &'a [u8]),
    /// That a table stopped, or goes on again.
    Parked(TableId, Parked),
    /// There is nothing under this key any more; `None` for a key that this version does not know.
    Removed(Option<StateKey>),
}

/// What a record of the history topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryRecord {
    /// A schema whose text is stored.
    Schema(SchemaRecord),
    Generation(TableId, Box<StoredGeneration>),
    /// Generations of a table that have no record any more.
    Retired(TableId, RetiredRecord),
    /// How far a table's initial load is.
    Load(TableId, LoadRecord),
    /// The selected tables.
    Selection(SelectionRecord),
    /// There is nothing under this key any more; `None` for a key that this version does not know.
    Removed(Option<HistoryKey>),
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    format: u32,
}

impl<'a> RawRecord<'a> {
    /// Reads a record of the state topic.
    pub fn state(&self) -> Result<StateRecord<'a>, RecordError> {
        let Some(value) = self.value else {
            return Ok(StateRecord::Removed(serde_json::from_slice(self.key).ok()));
        };
        let key: StateKey = self.key(value, FORMAT_VERSION)?;
        Ok(match key {
            StateKey::Leader => StateRecord::Leader(self.versioned(value, FORMAT_VERSION)?),
            StateKey::Checkpoint => StateRecord::Checkpoint(self.versioned(value, FORMAT_VERSION)?),
            StateKey::Progress(id) => StateRecord::Progress(id, self.versioned(value, FORMAT_VERSION)?),
            StateKey::Catalog(id) => StateRecord::Catalog(id, value),
            StateKey::Parked(id) => StateRecord::Parked(id, self.versioned(value, FORMAT_VERSION)?),
        })
    }

    /// Reads a record of the history topic.
    pub fn history(&self) -> Result<HistoryRecord, RecordError> {
        let Some(value) = self.value else {
            return Ok(HistoryRecord::Removed(serde_json::from_slice(self.key).ok()));
        };
        let key: HistoryKey = self.key(value, RETIRED_FORMAT)?;
        let known = key.format();
        Ok(match key {
            HistoryKey::Schema { .. } => HistoryRecord::Schema(self.versioned(value, known)?),
            HistoryKey::Selection => HistoryRecord::Selection(self.versioned(value, known)?),
            HistoryKey::Table { database, table, .. } => HistoryRecord::Generation(
                TableId::new(database, table),
                Box::new(self.versioned(value, known)?),
            ),
            HistoryKey::Retired { database, table } => {
                HistoryRecord::Retired(TableId::new(database, table), self.versioned(value, known)?)
            }
            HistoryKey::Load { database, table } => {
                HistoryRecord::Load(TableId::new(database, table), self.versioned(value, known)?)
            }
        })
    }

    /// The key. A newer version may write keys that this one does not know, with a value of a format that no record has that
    /// this one does.
    fn key<K: DeserializeOwned>(&self, value: &[u8], newest: u32) -> Result<K, RecordError> {
        serde_json::from_slice(self.key)
            .or_else(|error| self.check_format(value, newest).and(Err(self.foreign(&error))))
    }

    /// The format is looked at before the rest: a newer layout need not parse.
    fn versioned<T: DeserializeOwned>(&self, value: &[u8], known: u32) -> Result<T, RecordError> {
        self.check_format(value, known)?;
        serde_json::from_slice(value).map_err(|error| self.foreign(&error))
    }

    fn check_format(&self, value: &[u8], known: u32) -> Result<(), RecordError> {
        let Versioned { format: found } =
            serde_json::from_slice(value).map_err(|error| self.foreign(&error))?;
        if found <= known {
            return Ok(());
        }
        Err(RecordError::Newer { topic: self.topic.to_owned(), offset: self.offset, found, known })
    }

    /// This record does not fit the others.
    #[must_use]
    pub fn foreign(&self, reason: &impl ToString) -> RecordError {
        let (topic, offset) = (self.topic.to_owned(), self.offset);
        RecordError::Foreign { topic, offset, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<'a>(key: &'a str, value: &'a str) -> RawRecord<'a> {
        let value = Some(value.as_bytes()).filter(|value| !value.is_empty());
        RawRecord { topic: "t.x", offset: 7, key: key.as_bytes(), value }
    }

    fn newer(found: u32, known: u32) -> RecordError {
        RecordError::Newer { topic: "t.x".into(), offset: 7, found, known }
    }

    #[test]
    fn a_newer_format_is_refused_before_its_layout_is_read() {
        let value = r#"{"format":99,"shape":"unknown"}"#;
        let checkpoint = raw(r#"{"kind":"checkpoint"}"#, value).state();
        assert_eq!(checkpoint.unwrap_err(), newer(99, FORMAT_VERSION));
        let selection = raw(r#"{"keytype":"SELECTION"}"#, value).history();
        assert_eq!(selection.unwrap_err(), newer(99, FORMAT_VERSION));
        let retired = r#"{"keytype":"RETIRED","database":"a","table":"b"}"#;
        assert_eq!(raw(retired, r#"{"format":4}"#).history().unwrap_err(), newer(4, RETIRED_FORMAT));
    }

    #[test]
    fn a_key_of_a_newer_version_is_told_from_one_of_a_stranger() {
        let key = r#"{"keytype":"NOVELTY"}"#;
        assert_eq!(raw(key, r#"{"format":99}"#).history().unwrap_err(), newer(99, RETIRED_FORMAT));
        for value in [r#"{"format":1}"#, "world"] {
            let error = raw(key, value).history().unwrap_err();
            assert!(matches!(error, RecordError::Foreign { offset: 7, .. }), "{error}");
        }
        let error = raw("hello", "world").state().unwrap_err();
        assert!(error.to_string().contains("offset 7 of topic t.x"), "{error}");
    }

    #[test]
    fn a_tombstone_names_what_is_gone() {
        let removed = raw(r#"{"keytype":"SELECTION"}"#, "").history();
        assert_eq!(removed, Ok(HistoryRecord::Removed(Some(HistoryKey::Selection))));
        let novelty = raw(r#"{"keytype":"NOVELTY"}"#, "").history();
        assert_eq!(novelty, Ok(HistoryRecord::Removed(None)), "nothing is missed");
        let removed = raw(r#"{"kind":"leader"}"#, "").state();
        assert_eq!(removed, Ok(StateRecord::Removed(Some(StateKey::Leader))));
    }

    #[test]
    fn the_catalog_is_left_to_capture() {
        let key = r#"{"kind":"catalog","database":"a","table":"b"}"#;
        let read = raw(key, r#"{"anything":1}"#);
        assert_eq!(
            read.state(),
            Ok(StateRecord::Catalog(TableId::new("a", "b"), br#"{"anything":1}"#.as_slice()))
        );
    }
}
