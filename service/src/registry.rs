//! The task's schemas in memory, as Confluent's registry looks them up. Filled from the history topic; ids and
//! versions are given by whoever writes that topic, never here.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tributary_schemas::history::{RegisteredSchema, SchemaRecord};
use tributary_schemas::topic::task_of;

/// A handle that the follower of the history topic and HTTP share.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<RwLock<Inner>>);

/// What an id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaOfId {
    None,
    One(SchemaRecord),
    /// Tasks whose topics are read have given it to schemas of their own.
    Several,
}

#[derive(Debug, Default)]
struct Inner {
    by_subject: BTreeMap<(String, u32), RegisteredSchema>,
    /// A schema may stand under several subjects with one id.
    by_id: BTreeMap<u32, Vec<(String, u32)>>,
}

impl Registry {
    /// Adds a schema, or replaces the one of the same subject and version.
    pub fn insert(&self, schema: impl Into<RegisteredSchema>) {
        let schema = schema.into();
        let (subject, version, id) = schema.place();
        let place = (subject, version);
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = inner.by_subject.get(&place).map(|old| old.place().2)
            && let Some(places) = inner.by_id.get_mut(&old)
        {
            places.retain(|known| *known != place);
        }
        inner.by_id.entry(id).or_default().push(place.clone());
        inner.by_subject.insert(place, schema);
    }

    /// The schema of this id, under `subject` if one is named.
    #[must_use]
    pub fn by_id(&self, id: u32, subject: Option<&str>) -> SchemaOfId {
        let inner = self.inner();
        let places = inner.by_id.get(&id).into_iter().flatten();
        let mut places = places.filter(|(known, _)| subject.is_none_or(|subject| subject == known));
        let Some(first) = places.next() else { return SchemaOfId::None };
        // Ids are a task's own, and an apply-only task has the schemas of several.
        if places.any(|(other, _)| task_of(other) != task_of(&first.0)) {
            return SchemaOfId::Several;
        }
        inner
            .by_subject
            .get(first)
            .and_then(RegisteredSchema::record)
            .map_or(SchemaOfId::None, SchemaOfId::One)
    }

    /// Subjects and versions that have this id, in order.
    #[must_use]
    pub fn places(&self, id: u32) -> Vec<(String, u32)> {
        let mut places = self.inner().by_id.get(&id).cloned().unwrap_or_default();
        places.sort();
        places
    }

    /// Every subject, in order.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<String> =
            self.inner().by_subject.keys().map(|(subject, _)| subject.clone()).collect();
        subjects.dedup();
        subjects
    }

    /// Every version under `subject`, ascending; empty for an unknown subject.
    #[must_use]
    pub fn versions(&self, subject: &str) -> Vec<u32> {
        let inner = self.inner();
        let from = Bound::Included((subject.to_owned(), 0));
        let to = Bound::Included((subject.to_owned(), u32::MAX));
        inner.by_subject.range((from, to)).map(|((_, version), _)| *version).collect()
    }

    /// The schema of this subject and version.
    #[must_use]
    pub fn version(&self, subject: &str, version: u32) -> Option<SchemaRecord> {
        self.inner().by_subject.get(&(subject.to_owned(), version))?.record()
    }

    fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subject: &str, version: u32, id: u32) -> SchemaRecord {
        let schema = format!("{{\"v\":{version}}}");
        SchemaRecord { subject: subject.to_owned(), version, id, schema, deleted: false }
    }

    #[test]
    fn schemas_are_found_by_id_and_by_subject() {
        let registry = Registry::default();
        for (subject, version, id) in [("a-value", 1, 1), ("a-value", 2, 3), ("a-key", 1, 2), ("b-key", 1, 2)]
        {
            registry.insert(record(subject, version, id));
        }
        assert_eq!(registry.subjects(), ["a-key", "a-value", "b-key"]);
        assert_eq!(registry.by_id(3, None), SchemaOfId::One(record("a-value", 2, 3)));
        assert_eq!(registry.by_id(3, Some("b-key")), SchemaOfId::None);
        assert_eq!(registry.by_id(9, None), SchemaOfId::None);
        assert_eq!(registry.places(2), [("a-key".to_owned(), 1), ("b-key".to_owned(), 1)]);
        assert_eq!(registry.versions("a-value"), [1, 2]);
        assert!(registry.versions("a").is_empty());
        assert_eq!(registry.version("a-value", 1).map(|record| record.id), Some(1));
    }

    #[test]
    fn an_id_of_two_tasks_is_told_by_its_subject() {
        let registry = Registry::default();
        for subject in ["eu.shop.a-value", "us.shop.a-value"] {
            registry.insert(SchemaRecord { schema: format!("\"{subject}\""), ..record(subject, 1, 4) });
        }
        assert_eq!(registry.by_id(4, None), SchemaOfId::Several);
        let SchemaOfId::One(of_us) = registry.by_id(4, Some("us.shop.a-value")) else {
            panic!("there is one")
        };
        assert_eq!(of_us.schema, "\"us.shop.a-value\"");
    }

    #[test]
    fn a_replaced_record_leaves_its_old_id() {
        let registry = Registry::default();
        registry.insert(record("a", 1, 1));
        registry.insert(record("a", 1, 2));
        registry.insert(record("a", 1, 2));
        assert_eq!(registry.by_id(1, None), SchemaOfId::None);
        assert_eq!(registry.places(2), [("a".to_owned(), 1)]);
    }
}
