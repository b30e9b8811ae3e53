//! The source of the simulation: one table, transactions that lock what they touch, a binlog that shows them before
//! they are committed.

use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::checkpoint::{KeyRange, KeyValue};
use tributary_schemas::gtid::{Gtid, GtidSet, GtidSource};
use tributary_schemas::position::Position;

pub(super) type Key = i64;
/// Versions of the rows; no two writes have the same.
pub(super) type Rows = BTreeMap<Key, u64>;

/// Keys a table can have.
const KEYS: Key = 14;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// A row event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Key of the old row.
    pub(super) before: Option<Key>,
    /// The new row.
    pub(super) after: Option<(Key, u64)>,
}

/// Carries an event out.
pub(super) fn apply(rows: &mut Rows, event: Event) {
    if let Some(before) = event.before {
        rows.remove(&before);
    }
    if let Some((key, version)) = event.after {
        rows.insert(key, version);
    }
}

/// The position behind the first `count` transactions.
pub(super) fn numbers(count: usize) -> Position {
    let text = if count == 0 { String::new() } else { format!("{UUID}:1-{count}") };
    Position { gtid_set: text.parse().unwrap(), ..Position::default() }
}

fn gtid(index: usize) -> Gtid {
    let source = GtidSource { uuid: UUID.into(), tag: String::new() };
    Gtid { source, number: u64::try_from(index).unwrap() + 1 }
}

/// A key as a bound.
pub(super) fn key(number: Key) -> Vec<KeyValue> {
    vec![KeyValue::Int(number)]
}

/// True if the range holds the key.
pub(super) fn inside(range: &KeyRange, candidate: Key) -> bool {
    let number = |bound: &[KeyValue]| match bound {
        [KeyValue::Int(number)] => *number,
        other => panic!("{other:?}"),
    };
    range.after.as_deref().is_none_or(|after| number(after) < candidate)
        && range.through.as_deref().is_none_or(|through| candidate <= number(through))
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The binlog.
    pub(super) log: Vec<Vec<Event>>,
    /// What a SELECT sees.
    pub(super) visible: Rows,
    /// `gtid_executed`.
    pub(super) executed: GtidSet,
    /// With the transactions that are in the binlog but not committed.
    written: Rows,
    /// Those transactions, and the keys each has locked.
    pending: Vec<(usize, BTreeSet<Key>)>,
    versions: u64,
}

impl Source {
    pub(super) fn step(&mut self, random: &mut fastrand::Rng) {
        if random.bool() { self.begin(random) } else { self.commit(random) }
    }

    /// A transaction runs and is written to the binlog. It touches no key that one before it has locked.
    pub(super) fn begin(&mut self, random: &mut fastrand::Rng) {
        let locked: BTreeSet<Key> = self.pending.iter().flat_map(|(_, keys)| keys).copied().collect();
        let mut free: Vec<Key> = (0..KEYS).filter(|key| !locked.contains(key)).collect();
        random.shuffle(&mut free);
        free.truncate(random.usize(1..6));
        let mut events = Vec::new();
        for _ in 0..random.usize(1..5) {
            let Some(key) = random.choice(&free).copied() else { return };
            let other = random.choice(&free).copied().unwrap_or(key);
            self.versions += 1;
            let present = |key: Key| self.written.contains_key(&key);
            let event = match (present(key), random.u8(0..4)) {
                (false, _) => Event { before: None, after: Some((key, self.versions)) },
                (true, 0) => Event { before: Some(key), after: None },
                (true, 1) if !present(other) => {
                    Event { before: Some(key), after: Some((other, self.versions)) }
                }
                (true, _) => Event { before: Some(key), after: Some((key, self.versions)) },
            };
            apply(&mut self.written, event);
            events.push(event);
        }
        self.pending.push((self.log.len(), free.into_iter().collect()));
        self.log.push(events);
    }

    /// One of the written transactions becomes visible, and unlocks its keys.
    pub(super) fn commit(&mut self, random: &mut fastrand::Rng) {
        if self.pending.is_empty() {
            return;
        }
        let (index, _) = self.pending.swap_remove(random.usize(0..self.pending.len()));
        for event in &self.log[index] {
            apply(&mut self.visible, *event);
        }
        self.executed.insert(&gtid(index));
    }

    pub(super) fn commit_all(&mut self) {
        let mut random = fastrand::Rng::with_seed(0);
        while !self.pending.is_empty() {
            self.commit(&mut random);
        }
    }
}
