//! One generation of a table: as the topic stores it, where a definition may be named instead of written, and as
//! everybody uses it, with the definition.

use super::Cause;
use crate::position::Position;
use crate::table::Table;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The definition that records with `value_schema_id` follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationRecord {
    /// [`super::GENERATION_FORMAT`] of the writer.
    pub format: u32,
    /// Topic of the table.
    pub topic: String,
    /// From 1.
    pub generation: u32,
    /// Columns, key, indexes.
    pub table: Table,
    /// The earlier generation of this topic whose record holds `table`; `None` if this one's does.
    pub same_as: Option<u32>,
    /// What made this generation.
    pub cause: Cause,
    /// The DDL as the source wrote it; empty where none did.
    pub statement: String,
    /// Barrier offset of each partition: every record of an earlier generation is before it, every record of this
    /// one at or behind it.
    pub barrier: Vec<i64>,
    pub key_schema_id: u32,
    /// Schema id of the values; the generation of a record follows from it.
    pub value_schema_id: u32,
    /// Version of the schema of the values under its subject, if its text follows from the definition; `None` if a
    /// [`super::SchemaRecord`] has it.
    pub value_version: Option<u32>,
    /// In the first generation of a topic: what tells this topic from others that had, or get, its name.
    pub incarnation: Option<String>,
    /// Ordinal of the source transaction that changed the table.
    pub transaction: u64,
    /// Where that transaction is.
    pub position: Position,
}

/// Value under [`super::HistoryKey::Table`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGeneration {
    /// As in [`GenerationRecord`], like all that has its name.
    pub format: u32,
    /// Topic of the table.
    pub topic: String,
    /// From 1.
    pub generation: u32,
    /// The definition, if it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// The generation of this topic that has it, if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u32>,
    /// What made this generation.
    pub cause: Cause,
    /// The DDL.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub statement: String,
    /// Barrier offset of each partition.
    pub barrier: Vec<i64>,
    pub key_schema_id: u32,
    pub value_schema_id: u32,
    /// Version of the schema of the values, if its text is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_version: Option<u32>,
    /// Of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// Ordinal of the source transaction.
    pub transaction: u64,
    /// Where that is.
    pub position: Position,
}

/// A record names a definition that is not in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "generation {generation} of topic {topic} has the definition of generation {same_as:?}, which is not there"
)]
pub struct Unresolved {
    /// Topic of the table.
    pub topic: String,
    pub generation: u32,
    /// The one that it names, if it names any.
    pub same_as: Option<u32>,
}

impl StoredGeneration {
    /// With its definition; `held` finds that of another generation of the same topic, which lies before this one.
    pub fn resolve(self, held: impl FnOnce(u32) -> Option<Table>) -> Result<GenerationRecord, Unresolved> {
        let found = match (self.table, self.same_as) {
            (Some(table), _) => Some((table, None)),
            (None, Some(number)) => held(number).map(|table| (table, Some(number))),
            (None, None) => None,
        };
        let Some((table, same_as)) = found else {
            return Err(Unresolved { topic: self.topic, generation: self.generation, same_as: self.same_as });
        };
        Ok(GenerationRecord {
            format: self.format,
            topic: self.topic,
            generation: self.generation,
            table,
            same_as,
            cause: self.cause,
            statement: self.statement,
            barrier: self.barrier,
            key_schema_id: self.key_schema_id,
            value_schema_id: self.value_schema_id,
            value_version: self.value_version,
            incarnation: self.incarnation,
            transaction: self.transaction,
            position: self.position,
        })
    }
}

impl GenerationRecord {
    /// As the topic stores it.
    #[must_use]
    pub fn stored(self) -> StoredGeneration {
        StoredGeneration {
            format: self.format,
            topic: self.topic,
            generation: self.generation,
            table: self.same_as.is_none().then_some(self.table),
            same_as: self.same_as,
            cause: self.cause,
            statement: self.statement,
            barrier: self.barrier,
            key_schema_id: self.key_schema_id,
            value_schema_id: self.value_schema_id,
            value_version: self.value_version,
            incarnation: self.incarnation,
            transaction: self.transaction,
            position: self.position,
        }
    }

    /// The generation whose record holds the definition.
    #[must_use]
    pub fn holder(&self) -> u32 {
        self.same_as.unwrap_or(self.generation)
    }

    /// What tells the topic of this first generation from another of its name; `written_ms` is when Kafka says that the
    /// record was written. The position alone would not: it stands still while nothing is written on the source.
    #[must_use]
    pub fn incarnation(&self, written_ms: i64) -> String {
        self.incarnation.clone().unwrap_or_else(|| {
            format!(
                "generation {} with schema {} written at {written_ms} on {} {}:{}",
                self.generation,
                self.value_schema_id,
                self.position.server_uuid,
                self.position.file,
                self.position.offset
            )
        })
    }
}
