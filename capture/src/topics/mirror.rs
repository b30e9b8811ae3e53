//! What the task's own topics hold, as this process has read and written it: so that a topic that somebody deletes can
//! be written again. Pure.
//!
//! Invariant: the mirror is what is committed, or says that it may not be. A Kafka transaction whose outcome is not known
//! makes it worthless: rows may be there that its checkpoint does not cover.

use std::collections::BTreeMap;
use tributary_schemas::checkpoint::StateKey;
use tributary_schemas::history::{GENERATION_FORMAT, GenerationRecord, HistoryKey, StoredGeneration};
use tributary_service::kafka::TopicContents;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// Its place among the others.
    place: u64,
    value: Vec<u8>,
    /// When Kafka says that it was written; `None` for what this process has written itself.
    written_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct HeldTopic {
    records: BTreeMap<Vec<u8>, Held>,
    /// Where the topic ended when it was read.
    end: i64,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mirror {
    topics: BTreeMap<String, HeldTopic>,
    places: u64,
    /// Sent in the open transaction.
    pending: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    in_doubt: bool,
}

impl Mirror {
    /// Takes in a topic as it was read to its end.
    pub(crate) fn load(&mut self, topic: &str, contents: &TopicContents) {
        let mut held = HeldTopic { records: BTreeMap::new(), end: contents.next_offset };
        for record in &contents.records {
            let Some(value) = record.value.clone() else { continue };
            self.places += 1;
            let held_record = Held { place: self.places, value, written_ms: Some(record.written_ms) };
            held.records.insert(record.key.clone(), held_record);
        }
        self.topics.insert(topic.to_owned(), held);
    }

    /// A record was sent in the open transaction.
    pub(crate) fn sent(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) {
        self.pending.push((topic.to_owned(), key.to_vec(), value.map(<[u8]>::to_vec)));
    }

    /// The open transaction is committed.
    pub(crate) fn committed(&mut self) {
        for (topic, key, value) in std::mem::take(&mut self.pending) {
            let held = self.topics.entry(topic).or_default();
            match value {
                Some(value) => {
                    self.places += 1;
                    held.records.insert(key, Held { place: self.places, value, written_ms: None });
                }
                None => drop(held.records.remove(&key)),
            }
        }
    }

    /// The open transaction is not committed, for certain.
    pub(crate) fn aborted(&mut self) {
        self.pending.clear();
    }

    /// Nobody knows whether the open transaction is committed.
    pub(crate) fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// True if it is not known to be what is committed.
    #[must_use]
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Where a topic ended when it was read; it never ends before that again.
    #[must_use]
    pub(crate) fn end(&self, topic: &str) -> i64 {
        self.topics.get(topic).map_or(0, |held| held.end)
    }

    /// The records of a topic in their order, as they are to be written into one of the same name: the first generation of
    /// each topic says what Kafka's time said of it.
    #[must_use]
    pub(crate) fn records(&self, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(held) = self.topics.get(topic) else { return Vec::new() };
        let mut ordered: Vec<(&Vec<u8>, &Held)> = held.records.iter().collect();
        ordered.sort_by_key(|(_, held)| held.place);
        let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
        for stored in ordered.iter().filter_map(|(key, held)| generation(key, &held.value)) {
            let first = firsts.entry(stored.topic).or_insert(stored.generation);
            *first = stored.generation.min(*first);
        }
        let written = |(key, held): (&Vec<u8>, &Held)| {
            let named = generation(key, &held.value)
                .filter(|stored| firsts.get(&stored.topic) == Some(&stored.generation))
                .and_then(|stored| with_incarnation(stored, held.written_ms));
            (key.clone(), named.unwrap_or_else(|| held.value.clone()))
        };
        ordered.into_iter().map(written).collect()
    }

    /// True if a topic, as it was read, holds what this mirror says of it, or has written there again; the leader's own
    /// word aside.
    #[must_use]
    pub(crate) fn agrees(&self, topic: &str, contents: &TopicContents) -> bool {
        let is_leader = |key: &[u8]| matches!(serde_json::from_slice(key), Ok(StateKey::Leader));
        let found: BTreeMap<&[u8], &[u8]> = contents
            .records
            .iter()
            .filter_map(|record| Some((record.key.as_slice(), record.value.as_deref()?)))
            .filter(|(key, _)| !is_leader(key))
            .collect();
        let held = self.topics.get(topic).into_iter().flat_map(|held| &held.records);
        let held = held.map(|(key, held)| (key.as_slice(), held.value.as_slice()));
        let again = self.records(topic);
        let again = again.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let of_task = |(key, _): &(&[u8], &[u8])| !is_leader(key);
        found == held.filter(of_task).collect() || found == again.filter(of_task).collect()
    }
}

fn generation(key: &[u8], value: &[u8]) -> Option<StoredGeneration> {
    match serde_json::from_slice(key) {
        Ok(HistoryKey::Table { .. }) => serde_json::from_slice(value).ok(),
        _ => None,
    }
}

/// A first generation that says what until now Kafka's time of its record said.
fn with_incarnation(stored: StoredGeneration, written_ms: Option<i64>) -> Option<Vec<u8>> {
    if stored.incarnation.is_some() {
        return None;
    }
    let record = stored.resolve(|_| None).ok()?;
    let incarnation = Some(record.incarnation(written_ms?));
    let record = GenerationRecord { format: GENERATION_FORMAT, incarnation, ..record };
    serde_json::to_vec(&record.stored()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_service::kafka::Record;

    const STATE: &str = "t.state";

    fn contents(records: &[(&str, &str)]) -> TopicContents {
        let record = |(offset, (key, value)): (i64, &(&str, &str))| Record {
            key: (*key).into(),
            value: Some((*value).into()),
            offset,
            written_ms: 1_700,
        };
        let records: Vec<Record> = (0..).zip(records).map(record).collect();
        let next_offset = i64::try_from(records.len()).unwrap();
        TopicContents { records, next_offset }
    }

    fn texts(mirror: &Mirror, topic: &str) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        mirror.records(topic).into_iter().map(|(key, value)| (text(key), text(value))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_is_committed_is_held_in_the_order_it_was_written() {
        let mut mirror = Mirror::default();
        mirror.load(STATE, &contents(&[("b", "1"), ("a", "2"), ("c", "3")]));
        mirror.sent(STATE, b"b", Some(b"4"));
        mirror.sent(STATE, b"c", None);
        assert_eq!(texts(&mirror, STATE), pairs(&[("b", "1"), ("a", "2"), ("c", "3")]));
        mirror.committed();
        assert_eq!(texts(&mirror, STATE), pairs(&[("a", "2"), ("b", "4")]));
        mirror.sent(STATE, b"a", Some(b"5"));
        mirror.aborted();
        mirror.committed();
        assert_eq!(texts(&mirror, STATE), pairs(&[("a", "2"), ("b", "4")]));
        assert!(mirror.agrees(STATE, &contents(&[("b", "4"), ("a", "2"), (r#"{"kind":"leader"}"#, "me")])));
        assert!(!mirror.agrees(STATE, &contents(&[("b", "4")])));
        assert_eq!((mirror.end(STATE), mirror.is_in_doubt()), (3, false));
    }

    #[test]
    fn a_first_generation_keeps_its_identity() {
        let golden = include_str!("../../../schemas/tests/golden/generation.json");
        let (key, value) = golden.split_once('\n').unwrap();
        let mut mirror = Mirror::default();
        mirror.load("t.history", &contents(&[(key, value)]));
        let stored: StoredGeneration = serde_json::from_str(value).unwrap();
        let before = stored.clone().resolve(|_| None).unwrap().incarnation(1_700);
        let (_, written) = texts(&mirror, "t.history").remove(0);
        let written: StoredGeneration = serde_json::from_str(&written).unwrap();
        assert_eq!((written.format, written.incarnation.as_deref()), (2, Some(before.as_str())));
        assert_eq!(StoredGeneration { format: 1, incarnation: None, ..written }, stored);
    }
}
