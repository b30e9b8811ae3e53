//! A schema as a registry serves it: its text is in the topic, or follows from a definition.

use super::{GenerationRecord, Run, SchemaRecord};
use crate::envelope::value_schema;
use crate::topic::value_subject;
use std::sync::Arc;

/// A schema under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisteredSchema {
    /// With its text.
    Stored(SchemaRecord),
    /// That of a generation's values, whose text is made when somebody asks for it.
    Derived(DerivedSchema),
}

/// The schema of a generation's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedSchema {
    /// Has the definition, and names the topic.
    pub holder: Arc<GenerationRecord>,
    pub generation: u32,
    /// Version under the topic's subject.
    pub version: u32,
    /// Its id.
    pub id: u32,
}

impl DerivedSchema {
    /// That of a generation that is retired, or of several.
    pub fn of_run(holder: &Arc<GenerationRecord>, run: &Run) -> impl Iterator<Item = Self> + use<> {
        let holder = Arc::clone(holder);
        run.each().map(move |(generation, version, id)| Self {
            holder: Arc::clone(&holder),
            generation,
            version,
            id,
        })
    }

    /// That of this generation, if its text is not stored.
    #[must_use]
    pub fn of(record: &Arc<GenerationRecord>) -> Option<Self> {
        let version = record.value_version?;
        let (generation, id) = (record.generation, record.value_schema_id);
        Some(Self { holder: Arc::clone(record), generation, version, id })
    }

    /// With its text; `None` if the definition has a type that this version does not know.
    #[must_use]
    pub fn record(&self) -> Option<SchemaRecord> {
        let holder = &self.holder;
        Some(SchemaRecord {
            subject: value_subject(&holder.topic),
            version: self.version,
            id: self.id,
            schema: value_schema(&holder.topic, &holder.table, self.generation).ok()?,
            deleted: false,
        })
    }
}

impl RegisteredSchema {
    /// Subject, version and id.
    #[must_use]
    pub fn place(&self) -> (String, u32, u32) {
        match self {
            Self::Stored(record) => (record.subject.clone(), record.version, record.id),
            Self::Derived(derived) => (value_subject(&derived.holder.topic), derived.version, derived.id),
        }
    }

    /// With its text; `None` if there is none.
    #[must_use]
    pub fn record(&self) -> Option<SchemaRecord> {
        match self {
            Self::Stored(record) => Some(record.clone()),
            Self::Derived(derived) => derived.record(),
        }
    }
}

impl From<SchemaRecord> for RegisteredSchema {
    fn from(record: SchemaRecord) -> Self {
        Self::Stored(record)
    }
}

impl From<DerivedSchema> for RegisteredSchema {
    fn from(derived: DerivedSchema) -> Self {
        Self::Derived(derived)
    }
}
