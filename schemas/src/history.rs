//! Records of the history topic `<task>.history`: JSON keys and JSON values. What an empty table, or a rebuild with the
//! source switched off, needs to know is here.
//!
//! Schemas of keys lie here in the layout of Confluent's registry (its `_schemas` topic): a key of `keytype` `SCHEMA`, a
//! value with `subject`, `version`, `id` and `schema`. A schema of values follows from the definition; only what wrote
//! format 1 wrote its text, too.
//!
//! Invariant: a generation that holds a definition stays for ever, and so does the first one of each topic. One that
//! only refers to another's may be replaced by its number in a [`RetiredRecord`]; its key then gets a tombstone.

mod generation;
mod registered;
mod retired;
mod steps;

pub use generation::{GenerationRecord, StoredGeneration, Unresolved};
pub use registered::{DerivedSchema, RegisteredSchema};
pub use retired::{RetiredRecord, Run};
pub use steps::{NotAStep, Steps};

use crate::FORMAT_VERSION;
use crate::table::TableId;
use serde::{Deserialize, Serialize};

/// The layout of records of generations, and of those that are retired: 2 since a definition may be named instead of
/// written, and the schema of the values follows from it.
pub const GENERATION_FORMAT: u32 = 2;

/// The layout of the records of retired generations whose schema ids do not go up evenly.
pub const RETIRED_FORMAT: u32 = 3;

/// Key of a history record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "keytype", rename_all = "UPPERCASE")]
pub enum HistoryKey {
    /// A schema, as Confluent's registry writes it.
    Schema {
        /// `<topic>-key` or `<topic>-value`.
        subject: String,
        /// Version under the subject, from 1.
        version: u32,
        /// Layout of the key; always 1.
        magic: u32,
    },
    /// One generation of a table.
    Table {
        /// Database on the source.
        database: String,
        /// Table on the source.
        table: String,
        /// From 1.
        generation: u32,
    },
    /// The generations of a table that have no record of their own any more.
    Retired {
        /// Database on the source.
        database: String,
        /// Table on the source.
        table: String,
    },
    /// How far the table's initial load is.
    Load {
        /// Database on the source.
        database: String,
        /// Table on the source.
        table: String,
    },
    /// Which tables are selected.
    Selection,
}

impl HistoryKey {
    /// The newest format of the records of this kind that this version reads.
    #[must_use]
    pub const fn format(&self) -> u32 {
        match self {
            Self::Table { .. } => GENERATION_FORMAT,
            Self::Retired { .. } => RETIRED_FORMAT,
            Self::Schema { .. } | Self::Load { .. } | Self::Selection => FORMAT_VERSION,
        }
    }
}

/// Value under [`HistoryKey::Schema`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRecord {
    /// `<topic>-key` or `<topic>-value`.
    pub subject: String,
    /// Version under the subject, from 1.
    pub version: u32,
    /// Id in the wire format; a task's own, from 1.
    pub id: u32,
    /// Avro schema as JSON text.
    pub schema: String,
    /// Always false.
    #[serde(default)]
    pub deleted: bool,
}

/// What made a generation; column changes are told by comparing column ids with the generation before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The table was selected.
    Initial,
    /// ALTER TABLE, or another statement that changed its definition.
    Alter,
    /// Every row is gone: TRUNCATE TABLE.
    Truncate,
    /// Every row is gone because the table is being read anew.
    Reset,
    /// DROP TABLE; no record follows in this generation.
    Drop,
}

impl Cause {
    /// True if the rows of earlier generations do not live on in this one.
    #[must_use]
    pub const fn empties(self) -> bool {
        match self {
            Self::Truncate | Self::Reset | Self::Drop => true,
            Self::Initial | Self::Alter => false,
        }
    }
}

/// Value under [`HistoryKey::Load`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// The server's estimate when the load began, rows.
    pub rows_estimated: u64,
    /// Rows read; the final number once `complete`.
    pub rows_read: u64,
    /// The table is consistent: every row is published and the stream has passed the source's position behind the
    /// last chunk.
    pub complete: bool,
}

/// Value under [`HistoryKey::Selection`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Every selected table, in name order.
    pub tables: Vec<SelectedTable>,
    /// How long every change, and every delete, stays in the tables' topics. Readers without a configuration of the writer's
    /// know it from here. Older writers do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
}

/// One table of a [`SelectionRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedTable {
    /// Name on the source.
    pub id: TableId,
    pub topic: String,
    /// Partitions of the topic, as counted when it was created. Never changes.
    pub partitions: u32,
    /// Why it is not replicated, with the remedy; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_of_an_older_writer_says_nothing_of_retention() {
        let old: SelectionRecord = serde_json::from_str(r#"{"format":1,"tables":[]}"#).unwrap();
        assert_eq!(old, SelectionRecord { format: 1, tables: Vec::new(), retention_ms: None });
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"format":1,"tables":[]}"#);
    }

    #[test]
    fn schema_records_have_the_registry_layout() {
        let key = HistoryKey::Schema { subject: "t.a.b-value".into(), version: 1, magic: 1 };
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, r#"{"keytype":"SCHEMA","subject":"t.a.b-value","version":1,"magic":1}"#);
        assert_eq!(serde_json::from_str::<HistoryKey>(&text).unwrap(), key);
        assert_eq!(serde_json::to_string(&HistoryKey::Selection).unwrap(), r#"{"keytype":"SELECTION"}"#);
    }
}
