//! Compaction: what enters is the records of one table and generation in the order of their partitions; what
//! leaves is the last record of each key, and for each partition the offset behind the last record seen.
//!
//! Keys and values are copied into one arena; a hash table of indices finds a key's entry again. A value that is
//! superseded is overwritten in place if the new one fits, else left behind as garbage, and the arena is rewritten
//! when more than half of it is garbage: memory stays a small multiple of what the survivors need. In steady state
//! nothing is allocated.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;
use thiserror::Error;
use tributary_schemas::envelope::Operation;
use tributary_warehouse::merge::operations::{NotAnEnvelope, Operations, envelope_operation};
use tributary_warehouse::merge::raw::{RawValues, put_raw};

/// Garbage below this is not worth a rewrite, bytes. Tests must come past it.
const GARBAGE_FLOOR_BYTES: usize = if cfg!(test) { 256 } else { 1 << 20 };

/// What an entry costs in the hash table at its usual load, bytes.
const INDEX_BYTES: usize = 16;

/// Why a record cannot be added. The batch is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PushError {
    /// The kind of change cannot be told.
    #[error("partition {partition} offset {offset}: {source}")]
    Envelope {
        /// Partition of the record.
        partition: i32,
        /// Offset of the record.
        offset: i64,
        /// What is wrong.
        source: NotAnEnvelope,
    },
    /// Offsets of a partition only grow within a batch; the consumer did not discard the batch before it sought.
    #[error("partition {partition}: offset {offset} came after the batch had reached {next_offset}")]
    OffsetWentBack {
        /// Partition of the record.
        partition: i32,
        /// Offset of the record.
        offset: i64,
        /// What the batch expected at the least.
        next_offset: i64,
    },
}

/// What a batch holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSpan {
    /// Partition of the table's topic.
    pub partition: i32,
    /// Offset of the first record seen.
    pub first_offset: i64,
    /// Offset behind the last record seen: what the destination stores once the batch is merged.
    pub next_offset: i64,
    /// Records seen, those that were left out included.
    pub records: u64,
}

/// The last state of a key.
#[derive(Debug, Clone, Copy)]
pub struct Survivor<'a> {
    /// Key bytes, as they were pushed.
    pub key: &'a [u8],
    /// Value bytes, as they were pushed; `None` for a tombstone. A value may still be a delete (`after` is null)
    /// when the tombstone behind it has not come yet.
    pub value: Option<&'a [u8]>,
    /// Original texts of values that stand as null in `value`.
    pub raw: RawValues<'a>,
}

/// What an entry does to the row of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Tombstone, or (if operations are restricted) a delete's envelope.
    Delete,
    /// Value.
    Upsert,
    /// Delete, then value: only where updates are not taken, so that the row cannot simply be changed.
    Replace,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    key_at: usize,
    key_length: usize,
    value_at: usize,
    value_length: usize,
    raw_length: usize,
    /// Bytes of the arena that value and raw texts may use in place.
    capacity: usize,
    partition: i32,
    action: Action,
}

/// A batch of one table and one generation.
#[derive(Debug, Default)]
pub struct Batch {
    operations: Operations,
    arena: Vec<u8>,
    /// Bytes of the arena that belong to survivors.
    live: usize,
    entries: Vec<Entry>,
    index: HashTable<usize>,
    partitions: Vec<PartitionSpan>,
    records: u64,
}

impl Batch {
    /// An empty batch that takes the given kinds of change.
    #[must_use]
    pub fn new(operations: Operations) -> Self {
        Self { operations, ..Self::default() }
    }

    /// Adds a record. `key` and `value` may be with or without the wire header, as long as the caller stays with
    /// one way; `raw` holds its `tributary.raw.<column>` headers, by column. Records of a kind that is not taken
    /// only advance the partition.
    ///
    /// # Errors
    /// [`PushError`], with the batch unchanged.
    pub fn push(
        &mut self,
        partition: i32,
        offset: i64,
        key: &[u8],
        value: Option<&[u8]>,
        raw: &[(&str, &[u8])],
    ) -> Result<(), PushError> {
        let operation = match value {
            None => Some(Operation::Delete),
            Some(_) if self.operations.is_all() => None,
            Some(datum) => Some(envelope_operation(datum).map_err(|source| PushError::Envelope {
                partition,
                offset,
                source,
            })?),
        };
        self.pass(partition, offset)?;
        if operation.is_some_and(|operation| !self.operations.admits(operation)) {
            return Ok(());
        }
        self.records += 1;
        let action = if operation == Some(Operation::Delete) { Action::Delete } else { Action::Upsert };
        let hash = hash_of(key);
        let (arena, entries) = (&self.arena, &self.entries);
        let held = self.index.find(hash, |index| {
            entries.get(*index).is_some_and(|entry| entry.hash == hash && key_of(arena, entry) == key)
        });
        match held.copied() {
            Some(index) => self.supersede(index, action, value, raw),
            None => self.insert(hash, partition, key, action, value, raw),
        }
        Ok(())
    }

    /// Notes that a record was seen without keeping it.
    pub fn pass(&mut self, partition: i32, offset: i64) -> Result<(), PushError> {
        match self.partitions.iter_mut().find(|span| span.partition == partition) {
            Some(span) if offset < span.next_offset => {
                Err(PushError::OffsetWentBack { partition, offset, next_offset: span.next_offset })
            }
            Some(span) => {
                span.next_offset = offset.saturating_add(1);
                span.records += 1;
                Ok(())
            }
            None => {
                let next_offset = offset.saturating_add(1);
                self.partitions.push(PartitionSpan {
                    partition,
                    first_offset: offset,
                    next_offset,
                    records: 1,
                });
                Ok(())
            }
        }
    }

    fn insert(
        &mut self,
        hash: u64,
        partition: i32,
        key: &[u8],
        action: Action,
        value: Option<&[u8]>,
        raw: &[(&str, &[u8])],
    ) {
        let place = self.entries.len();
        let key_at = self.arena.len();
        self.arena.extend_from_slice(key);
        let value_at = self.arena.len();
        let (value_length, raw_length) = put_value(&mut self.arena, action, value, raw);
        let capacity = value_length + raw_length;
        self.live += key.len() + capacity;
        let key_length = key.len();
        self.entries.push(Entry {
            hash,
            key_at,
            key_length,
            value_at,
            value_length,
            raw_length,
            capacity,
            partition,
            action,
        });
        let entries = &self.entries;
        self.index.insert_unique(hash, place, |index| entries.get(*index).map_or(0, |entry| entry.hash));
    }

    /// Decides what two records of one key come to. Where every kind is taken the later one wins. Where some are
    /// not, the outcome must be that of applying the records one by one: without updates the first insert behind
    /// the last delete wins, and a delete before it stays; without inserts nothing follows a delete.
    fn supersede(&mut self, index: usize, action: Action, value: Option<&[u8]>, raw: &[(&str, &[u8])]) {
        let operations = self.operations;
        let Some(entry) = self.entries.get_mut(index) else { return };
        let action = match (entry.action, action) {
            (_, Action::Delete) => Action::Delete,
            (Action::Delete, _) if !operations.insert => return,
            (Action::Delete, _) if !operations.update => Action::Replace,
            (Action::Upsert | Action::Replace, _) if !operations.update => return,
            _ => Action::Upsert,
        };
        entry.action = action;
        self.live -= entry.value_length + entry.raw_length;
        let value = if action == Action::Delete { None } else { value };
        let place = entry.value_at..entry.value_at + value.map_or(0, <[u8]>::len);
        if let Some(bytes) = value
            && raw.is_empty()
            && bytes.len() <= entry.capacity
            && let Some(slot) = self.arena.get_mut(place)
        {
            slot.copy_from_slice(bytes);
            (entry.value_length, entry.raw_length) = (bytes.len(), 0);
        } else if value.is_none() {
            (entry.value_length, entry.raw_length) = (0, 0);
        } else {
            entry.value_at = self.arena.len();
            (entry.value_length, entry.raw_length) = put_value(&mut self.arena, action, value, raw);
            entry.capacity = entry.value_length + entry.raw_length;
        }
        self.live += entry.value_length + entry.raw_length;
        let garbage = self.arena.len() - self.live;
        if garbage > GARBAGE_FLOOR_BYTES && garbage > self.live {
            self.rewrite();
        }
    }

    /// Copies what lives into an arena of its size.
    fn rewrite(&mut self) {
        let mut arena = Vec::with_capacity(self.live);
        for entry in &mut self.entries {
            let value_end = entry.value_at + entry.value_length + entry.raw_length;
            let key = self.arena.get(entry.key_at..entry.key_at + entry.key_length).unwrap_or_default();
            let value = self.arena.get(entry.value_at..value_end).unwrap_or_default();
            entry.key_at = arena.len();
            arena.extend_from_slice(key);
            entry.value_at = arena.len();
            arena.extend_from_slice(value);
            entry.capacity = value.len();
        }
        self.arena = arena;
    }

    /// The last state of every key, in the order in which the keys were first seen. A key is given twice, first as
    /// a delete, where updates are not taken and the batch deletes and inserts it.
    pub fn survivors(&self) -> impl Iterator<Item = Survivor<'_>> {
        self.entries.iter().flat_map(|entry| {
            let key = key_of(&self.arena, entry);
            let delete = Survivor { key, value: None, raw: RawValues::NONE };
            let raw_at = entry.value_at + entry.value_length;
            let upsert = Survivor {
                key,
                value: Some(self.arena.get(entry.value_at..raw_at).unwrap_or_default()),
                raw: RawValues::new(self.arena.get(raw_at..raw_at + entry.raw_length).unwrap_or_default()),
            };
            let (first, second) = match entry.action {
                Action::Delete => (Some(delete), None),
                Action::Upsert => (None, Some(upsert)),
                Action::Replace => (Some(delete), Some(upsert)),
            };
            first.into_iter().chain(second)
        })
    }

    /// Forgets everything of the given partitions, because they were revoked or are about to be read again.
    pub fn discard(&mut self, partitions: &[i32]) {
        self.partitions.retain(|span| !partitions.contains(&span.partition));
        self.entries.retain(|entry| !partitions.contains(&entry.partition));
        self.records = self.partitions.iter().map(|span| span.records).sum();
        self.live = 0;
        self.index.clear();
        for (place, entry) in self.entries.iter().enumerate() {
            self.live += entry.key_length + entry.value_length + entry.raw_length;
            let entries = &self.entries;
            self.index
                .insert_unique(entry.hash, place, |index| entries.get(*index).map_or(0, |entry| entry.hash));
        }
        self.rewrite();
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.index.clear();
        self.partitions.clear();
        (self.live, self.records) = (0, 0);
    }

    /// Offsets by partition, in the order in which the partitions were first seen.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionSpan] {
        &self.partitions
    }

    /// Records taken, superseded ones included.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Keys held.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// True if neither a row nor an offset is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Bytes that the records held occupy, garbage and the hash table included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * (size_of::<Entry>() + INDEX_BYTES)
    }
}

fn hash_of(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish()
}

fn key_of<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    arena.get(entry.key_at..entry.key_at + entry.key_length).unwrap_or_default()
}

/// Appends value and raw texts; their lengths.
fn put_value(
    arena: &mut Vec<u8>,
    action: Action,
    value: Option<&[u8]>,
    raw: &[(&str, &[u8])],
) -> (usize, usize) {
    let Some(value) = value.filter(|_| action != Action::Delete) else { return (0, 0) };
    arena.extend_from_slice(value);
    let raw_at = arena.len();
    for (column, text) in raw {
        put_raw(arena, column, text);
    }
    (value.len(), arena.len() - raw_at)
}

#[cfg(test)]
mod tests;
