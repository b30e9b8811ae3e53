//! Which keys the stream has passed since a chunk was opened. Enter: the opening and closing of windows, and the key
//! of every row event of the stream. Leaves: whether a key that a reader brings was touched in the meantime.
//!
//! Invariant: a key is touched for a window exactly if it was recorded between the window's opening and now. Keys are
//! held as bytes, not as hashes: two keys taken for one would lose a row. One writer, no locks, no IO.
//!
//! Keys are kept in segments, one for each window that is open: a segment holds the keys recorded since its window
//! was opened and before the next one was. So a window's keys are its own segment and all later ones; and when a window is
//! closed, its segment is merged into the one before, or forgotten if there is none, since no open window is older.

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::collections::VecDeque;
use std::hash::BuildHasher;

/// A table, by the number the sequencer gave it; small, for it is used as an index.
pub(crate) type TableNumber = u32;

/// A chunk's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WindowId(u64);

/// What a key costs beside its bytes: an entry of the table, at its load factor.
const ENTRY_BYTES: usize = 32;

/// A run of bytes in a segment's arena.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    length: usize,
}

/// The keys recorded while one window was the newest.
#[derive(Debug)]
struct Segment {
    window: WindowId,
    arena: Vec<u8>,
    keys: HashTable<Span>,
}

impl Segment {
    fn new(window: WindowId) -> Self {
        Self { window, arena: Vec::new(), keys: HashTable::new() }
    }

    fn slice(arena: &[u8], span: Span) -> &[u8] {
        arena.get(span.start..span.start + span.length).unwrap_or_default()
    }

    fn contains(&self, hash: u64, key: &[u8]) -> bool {
        self.keys.find(hash, |span| Self::slice(&self.arena, *span) == key).is_some()
    }

    fn insert(&mut self, hash: u64, key: &[u8]) {
        if self.contains(hash, key) {
            return;
        }
        let span = Span { start: self.arena.len(), length: key.len() };
        self.arena.extend_from_slice(key);
        let Self { arena, keys, .. } = self;
        keys.insert_unique(hash, span, |span| FxBuildHasher.hash_one(Self::slice(arena, *span)));
    }

    fn bytes(&self) -> usize {
        self.arena.len() + self.keys.len() * ENTRY_BYTES
    }

    /// Adds the keys of `other`, of which there should be fewer.
    fn absorb(&mut self, other: &Self) {
        for span in &other.keys {
            let key = Self::slice(&other.arena, *span);
            self.insert(FxBuildHasher.hash_one(key), key);
        }
    }
}

/// The windows of all tables.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// By table number; each in the order of opening.
    tables: Vec<VecDeque<Segment>>,
    opened: u64,
    bytes: usize,
}

impl Windows {
    /// Without a window.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Opens a window on `table`: from now its keys are recorded.
    pub(crate) fn open(&mut self, table: TableNumber) -> WindowId {
        self.opened += 1;
        let window = WindowId(self.opened);
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        if self.tables.len() <= index {
            self.tables.resize_with(index + 1, VecDeque::new);
        }
        if let Some(segments) = self.tables.get_mut(index) {
            segments.push_back(Segment::new(window));
        }
        window
    }

    /// Records the key of a row event; for an update that changes the key, call it with both. Costs a comparison when
    /// the table has no window.
    #[inline]
    pub(crate) fn record(&mut self, table: TableNumber, key: &[u8]) {
        if let Some(segments) = usize::try_from(table).ok().and_then(|index| self.tables.get_mut(index))
            && let Some(newest) = segments.back_mut()
        {
            let before = newest.bytes();
            newest.insert(FxBuildHasher.hash_one(key), key);
            self.bytes += newest.bytes() - before;
        }
    }

    /// A safeguard left out: keys that were recorded are forgotten.
    #[cfg(test)]
    pub(crate) fn forget_keys(&mut self) {
        for segment in self.tables.iter_mut().flatten() {
            self.bytes -= segment.bytes();
            *segment = Segment::new(segment.window);
        }
    }

    /// True if `key` was recorded since `window` was opened. A window that is not open answers true: its rows must
    /// not be published.
    #[must_use]
    pub(crate) fn is_touched(&self, table: TableNumber, window: WindowId, key: &[u8]) -> bool {
        let Some(segments) = self.segments(table) else { return true };
        let from = segments.partition_point(|segment| segment.window < window);
        if segments.get(from).is_none_or(|segment| segment.window != window) {
            return true;
        }
        let mut since = segments.range(from..).filter(|segment| !segment.keys.is_empty()).peekable();
        if since.peek().is_none() {
            return false;
        }
        let hash = FxBuildHasher.hash_one(key);
        since.any(|segment| segment.contains(hash, key))
    }

    /// True if the window is open.
    #[cfg(test)]
    pub(crate) fn is_open(&self, table: TableNumber, window: WindowId) -> bool {
        self.segments(table)
            .is_some_and(|segments| segments.binary_search_by_key(&window, |segment| segment.window).is_ok())
    }

    /// Closes a window and forgets what only it needed. Nothing happens if it is closed already.
    pub(crate) fn close(&mut self, table: TableNumber, window: WindowId) {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        let Some(segments) = self.tables.get_mut(index) else { return };
        let Ok(place) = segments.binary_search_by_key(&window, |segment| segment.window) else { return };
        let Some(mut closed) = segments.remove(place) else { return };
        self.bytes -= closed.bytes();
        let Some(before) = place.checked_sub(1).and_then(|before| segments.get_mut(before)) else { return };
        self.bytes -= before.bytes();
        if closed.keys.len() > before.keys.len() {
            std::mem::swap(&mut closed.arena, &mut before.arena);
            std::mem::swap(&mut closed.keys, &mut before.keys);
        }
        before.absorb(&closed);
        self.bytes += before.bytes();
    }

    /// Closes all windows of a table, and says which they were: its definition or the server has changed.
    pub(crate) fn discard_table(&mut self, table: TableNumber) -> Vec<WindowId> {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        let segments = self.tables.get_mut(index).map(std::mem::take).unwrap_or_default();
        self.bytes -= segments.iter().map(Segment::bytes).sum::<usize>();
        segments.into_iter().map(|segment| segment.window).collect()
    }

    /// Bytes that the recorded keys take.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Closes windows, those first that free memory soonest, until at most `limit` bytes are taken, and says which:
    /// their chunks are to be stopped and resumed with new windows.
    pub(crate) fn shed(&mut self, limit: usize) -> Vec<(TableNumber, WindowId)> {
        let mut shed = Vec::new();
        while self.bytes > limit {
            let oldest = self.tables.iter().enumerate().filter_map(|(index, segments)| {
                let bytes: usize = segments.iter().map(Segment::bytes).sum();
                segments.front().map(|segment| (bytes, index, segment.window))
            });
            let Some((_, index, window)) = oldest.max() else { break };
            let Ok(table) = TableNumber::try_from(index) else { break };
            self.close(table, window);
            shed.push((table, window));
        }
        shed
    }

    fn segments(&self, table: TableNumber) -> Option<&VecDeque<Segment>> {
        self.tables.get(usize::try_from(table).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Debug, Clone)]
    enum Step {
        Open(TableNumber),
        Record(TableNumber, u8),
        Close(usize),
        Discard(TableNumber),
        Shed(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0_u32..3).prop_map(Step::Open),
            8 => (0_u32..3, 0_u8..12).prop_map(|(table, key)| Step::Record(table, key)),
            2 => (0_usize..8).prop_map(Step::Close),
            1 => (0_u32..3).prop_map(Step::Discard),
            1 => (0_usize..300).prop_map(Step::Shed),
        ]
    }

    fn bytes(key: u8) -> Vec<u8> {
        vec![key; usize::from(key % 5)].into_iter().chain([key]).collect()
    }

    proptest! {
        /// The model: a list of keys for each open window.
        #[test]
        fn a_key_is_touched_exactly_if_recorded_since(steps in prop::collection::vec(step(), 0..120)) {
            let mut windows = Windows::new();
            let mut model: HashMap<(TableNumber, WindowId), Vec<u8>> = HashMap::new();
            let mut closed = Vec::new();
            for step in steps {
                match step {
                    Step::Open(table) => {
                        model.insert((table, windows.open(table)), Vec::new());
                    }
                    Step::Record(table, key) => {
                        windows.record(table, &bytes(key));
                        for ((_, _), keys) in model.iter_mut().filter(|((other, _), _)| *other == table) {
                            keys.push(key);
                        }
                    }
                    Step::Close(which) => {
                        let mut open: Vec<_> = model.keys().copied().collect();
                        open.sort_unstable();
                        if let Some((table, window)) = open.get(which).copied() {
                            windows.close(table, window);
                            model.remove(&(table, window));
                            closed.push((table, window));
                        }
                    }
                    Step::Discard(table) => {
                        for window in windows.discard_table(table) {
                            prop_assert!(model.remove(&(table, window)).is_some());
                            closed.push((table, window));
                        }
                        prop_assert!(model.keys().all(|(other, _)| *other != table));
                    }
                    Step::Shed(limit) => {
                        for gone in windows.shed(limit) {
                            prop_assert!(model.remove(&gone).is_some());
                            closed.push(gone);
                        }
                        prop_assert!(windows.bytes() <= limit);
                    }
                }
                for ((table, window), keys) in &model {
                    prop_assert!(windows.is_open(*table, *window));
                    for key in 0..12 {
                        let touched = windows.is_touched(*table, *window, &bytes(key));
                        prop_assert_eq!(touched, keys.contains(&key), "{:?} {}", window, key);
                    }
                }
                for (table, window) in &closed {
                    prop_assert!(windows.is_touched(*table, *window, &bytes(0)));
                }
                let counted: usize = windows.tables.iter().flatten().map(Segment::bytes).sum();
                prop_assert_eq!(windows.bytes(), counted);
                prop_assert!(!model.is_empty() || windows.bytes() == 0);
            }
        }
    }

    #[test]
    fn nothing_is_recorded_without_a_window() {
        let mut windows = Windows::new();
        windows.record(7, b"a");
        let window = windows.open(7);
        assert!(!windows.is_touched(7, window, b"a"));
        windows.record(3, b"a");
        assert!(!windows.is_touched(7, window, b"a") && windows.bytes() == 0);
        windows.record(7, b"a");
        windows.record(7, b"a");
        assert!(windows.is_touched(7, window, b"a"));
        assert_eq!(windows.bytes(), 1 + ENTRY_BYTES);
    }

    #[test]
    fn keys_are_forgotten_with_the_last_window_that_needs_them() {
        let mut windows = Windows::new();
        let first = windows.open(0);
        windows.record(0, b"a");
        let second = windows.open(0);
        windows.record(0, b"b");
        windows.close(0, first);
        assert_eq!(windows.bytes(), 1 + ENTRY_BYTES);
        assert!(!windows.is_touched(0, second, b"a") && windows.is_touched(0, second, b"b"));
    }
}
