//! The Kafka of the simulation: topics, transactions of one producer, and what a consumer of committed records is told.

use crate::topics::outbox::Outbox;
use std::collections::BTreeMap;
use tributary_service::kafka::Record;

/// A record and what became of its transaction.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) sequence: String,
    written_ms: i64,
    /// A later record has its key, and compaction has removed it. Who checks sees it still.
    compacted: bool,
}

/// What a consumer of committed records meets at an offset.
#[derive(Debug)]
pub(super) enum Met<'a> {
    /// Nothing is behind it, or nothing that is committed.
    End,
    /// A marker, or what was aborted or removed.
    Gap,
    Record(&'a Stored),
}

/// What is at an offset.
#[derive(Debug, Clone)]
enum Slot {
    Open(Stored),
    Committed(Stored),
    /// A marker, or what an aborted transaction left.
    Nothing,
}

type Partition = Vec<Slot>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kafka {
    topics: BTreeMap<String, Vec<Partition>>,
    is_open: bool,
    /// Where each topic ended before the last transaction.
    before: BTreeMap<String, Vec<i64>>,
}

impl Kafka {
    pub(super) fn ensure(&mut self, topic: &str, partitions: u32) -> u32 {
        let known = self.topics.entry(topic.to_owned());
        let made = known.or_insert_with(|| vec![Partition::new(); usize::try_from(partitions).unwrap()]);
        u32::try_from(made.len()).unwrap()
    }

    pub(super) fn cluster(&self) -> BTreeMap<String, u32> {
        self.topics.iter().map(|(name, all)| (name.clone(), u32::try_from(all.len()).unwrap())).collect()
    }

    /// Takes records in, into the open transaction.
    pub(super) fn send(&mut self, outbox: &Outbox, written_ms: i64) {
        for record in outbox.records() {
            if !self.is_open {
                self.before = self.topics.keys().map(|topic| (topic.clone(), self.ends(topic))).collect();
            }
            self.is_open = true;
            let topic = self.topics.get_mut(record.topic).expect("a topic that was made");
            let partition = &mut topic[usize::try_from(record.partition).unwrap()];
            partition.push(Slot::Open(Stored {
                key: record.key.to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                sequence: String::from_utf8(record.sequence.to_vec()).unwrap(),
                written_ms,
                compacted: false,
            }));
        }
    }

    /// Ends the open transaction. A marker is behind its records in each partition.
    pub(super) fn end(&mut self, committed: bool) {
        self.end_each(|_| committed);
    }

    /// What no Kafka does: of a transaction the task's own records are committed, the rows are not.
    pub(super) fn end_in_part(&mut self) {
        self.end_each(|topic| topic == "t.state" || topic == "t.history");
    }

    fn end_each(&mut self, commits: impl Fn(&str) -> bool) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let partitions = self.topics.iter_mut().flat_map(|(topic, partitions)| {
            let committed = commits(topic);
            partitions.iter_mut().map(move |partition| (committed, partition))
        });
        for (committed, partition) in partitions {
            let mut touched = false;
            for slot in partition.iter_mut() {
                if let Slot::Open(record) = slot {
                    touched = true;
                    *slot = if committed { Slot::Committed(record.clone()) } else { Slot::Nothing };
                }
            }
            if touched {
                partition.push(Slot::Nothing);
            }
        }
    }

    /// The offset that the next record gets in each partition.
    pub(super) fn ends(&self, topic: &str) -> Vec<i64> {
        let ends = self.topics[topic].iter().map(|partition| i64::try_from(partition.len()).unwrap());
        ends.collect()
    }

    /// The same before the last transaction; a topic that was not there then begins at 0.
    pub(super) fn ends_before(&self, topic: &str) -> Vec<i64> {
        self.before.get(topic).cloned().unwrap_or_else(|| vec![0; self.partitions(topic)])
    }

    pub(super) fn committed(&self, topic: &str, partition: usize) -> impl Iterator<Item = (i64, &Stored)> {
        let slots = self.topics.get(topic).map_or(&[][..], |partitions| &partitions[partition]);
        slots.iter().enumerate().filter_map(|(offset, slot)| match slot {
            Slot::Committed(record) => Some((i64::try_from(offset).unwrap(), record)),
            _ => None,
        })
    }

    pub(super) fn at(&self, topic: &str, partition: usize, offset: i64) -> Met<'_> {
        let slots = self.topics.get(topic).map_or(&[][..], |partitions| &partitions[partition]);
        match slots.get(usize::try_from(offset).unwrap()) {
            None | Some(Slot::Open(_)) => Met::End,
            Some(Slot::Committed(record)) if !record.compacted => Met::Record(record),
            Some(_) => Met::Gap,
        }
    }

    /// The first offset that is not committed yet.
    pub(super) fn stable_end(&self, topic: &str, partition: usize) -> i64 {
        let slots = &self.topics[topic][partition];
        let open = slots.iter().position(|slot| matches!(slot, Slot::Open(_)));
        i64::try_from(open.unwrap_or(slots.len())).unwrap()
    }

    /// Compaction comes by a partition of a table. It may leave any record behind that it could remove.
    pub(super) fn compact(&mut self, random: &mut fastrand::Rng) {
        let tables = self.topics.iter_mut().filter(|(name, _)| name.starts_with("t.shop"));
        let Some(slots) = random.choice(tables.flat_map(|(_, partitions)| partitions).collect::<Vec<_>>())
        else {
            return;
        };
        let mut later = std::collections::BTreeSet::new();
        for slot in slots.iter_mut().rev() {
            let Slot::Committed(record) = slot else { continue };
            if !later.insert(record.key.clone()) && random.bool() {
                record.compacted = true;
            }
        }
    }

    pub(super) fn partitions(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, Vec::len)
    }

    /// The committed records of one of the task's own topics from an offset on.
    pub(super) fn read_from(&self, topic: &str, from: i64) -> Vec<Record> {
        let behind = self.committed(topic, 0).skip_while(|(offset, _)| *offset < from);
        behind.map(|(offset, stored)| record(offset, stored)).collect()
    }

    /// The last committed record of every key of one of the task's own topics.
    pub(super) fn read_to_end(&self, topic: &str) -> Vec<Record> {
        let mut last: BTreeMap<&[u8], Record> = BTreeMap::new();
        for (offset, stored) in self.committed(topic, 0) {
            last.insert(&stored.key, record(offset, stored));
        }
        let mut records: Vec<Record> = last.into_values().collect();
        records.sort_by_key(|record| record.offset);
        records
    }
}

fn record(offset: i64, stored: &Stored) -> Record {
    let (key, value) = (stored.key.clone(), stored.value.clone());
    Record { key, value, offset, written_ms: stored.written_ms }
}
