//! When a batch is merged, and when memory is short. What enters is sizes, ages and `now`; what leaves is a decision.
//! Invariant: a table has at most one merge in flight, its next batches grow meanwhile, and once the batches of all
//! tables have reached the bound on memory no more is taken.

use std::time::{Duration, Instant};

/// Limits of a table's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushLimits {
    pub keys: usize,
    /// Bytes, as [`super::compact::Batch::bytes`] counts them.
    pub bytes: usize,
    /// How long the oldest record waits when nothing else is to be done.
    pub age: Duration,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { keys: 200_000, bytes: 64 << 20, age: Duration::from_millis(100) }
    }
}

/// What is known of a table's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchState {
    /// Keys held.
    pub keys: usize,
    /// Bytes held.
    pub bytes: usize,
    /// When the first record of the batch came; `None` if it is empty.
    pub since: Option<Instant>,
    /// A merge of the table's previous batch has not ended.
    pub merging: bool,
    /// The batch must go before anything else can happen: a barrier, a new generation, the end.
    pub forced: bool,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushDecision {
    /// Merge it now.
    Flush,
    /// Ask again when something changes, and at this instant at the latest.
    WaitUntil(Instant),
    /// Ask again when something changes.
    Wait,
}

impl FlushLimits {
    /// What to do with a batch. `pressed`: memory is short, so that lingering has no use.
    #[must_use]
    pub fn decide(&self, batch: &BatchState, pressed: bool, now: Instant) -> FlushDecision {
        let Some(since) = batch.since.filter(|_| !batch.merging) else { return FlushDecision::Wait };
        let due = since + self.age;
        if batch.forced || pressed || self.is_full(batch) || now >= due {
            FlushDecision::Flush
        } else {
            FlushDecision::WaitUntil(due)
        }
    }

    /// True if the batch is not to grow any more: the next records begin another.
    #[must_use]
    pub const fn is_full(&self, batch: &BatchState) -> bool {
        batch.keys >= self.keys || batch.bytes >= self.bytes
    }
}

/// The memory that all batches, waiting and in flight, may hold together; with hysteresis, so that partitions are
/// not paused and resumed for every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    limit_bytes: usize,
    pressed: bool,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`; it is open.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, pressed: false }
    }

    /// Takes what is held now, bytes; true if every partition is to be paused (polling goes on). That begins at
    /// the limit and ends at three quarters of it.
    pub const fn observe(&mut self, held_bytes: usize) -> bool {
        let resume = self.limit_bytes - self.limit_bytes / 4;
        self.pressed = held_bytes >= self.limit_bytes || (self.pressed && held_bytes > resume);
        self.pressed
    }

    /// What [`Self::observe`] last said.
    #[must_use]
    pub const fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// What is held as far as it counts against tables that go on: those that stand still may fill two thirds of the
    /// memory between them, and keep nobody from the last.
    #[must_use]
    pub const fn counted(&self, stalled_bytes: usize, moving_bytes: usize) -> usize {
        let share = self.limit_bytes - self.limit_bytes / 3;
        let stalled = if stalled_bytes < share { stalled_bytes } else { share };
        stalled + moving_bytes
    }

    /// True if a table that stands still holds its share, so that nothing more of it is to be read: twice what is free
    /// then, which leaves a third of the memory to the others if there is one such table, a fifth if there are two.
    /// `over`: what this last said; it ends when as much is free as the table holds.
    #[must_use]
    pub const fn is_over(&self, table_bytes: usize, held_bytes: usize, over: bool) -> bool {
        let free = self.limit_bytes.saturating_sub(held_bytes);
        if over { table_bytes > free } else { table_bytes / 2 >= free && table_bytes > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FlushLimits = FlushLimits { keys: 10, bytes: 1000, age: Duration::from_millis(100) };

    fn state(keys: usize, bytes: usize, since: Instant) -> BatchState {
        BatchState { keys, bytes, since: Some(since), merging: false, forced: false }
    }

    #[test]
    fn a_batch_goes_when_it_is_old_or_large_but_never_beside_a_merge() {
        let start = Instant::now();
        let due = start + LIMITS.age;
        let small = state(1, 10, start);
        assert_eq!(LIMITS.decide(&small, false, start), FlushDecision::WaitUntil(due));
        assert_eq!(LIMITS.decide(&small, false, due), FlushDecision::Flush);
        assert_eq!(LIMITS.decide(&small, true, start), FlushDecision::Flush);
        assert_eq!(LIMITS.decide(&BatchState { forced: true, ..small }, false, start), FlushDecision::Flush);
        for full in [state(10, 10, start), state(1, 1000, start)] {
            assert!(LIMITS.is_full(&full));
            assert_eq!(LIMITS.decide(&full, false, start), FlushDecision::Flush);
            let waiting = BatchState { merging: true, forced: true, ..full };
            assert_eq!(LIMITS.decide(&waiting, true, due), FlushDecision::Wait);
        }
        let empty = BatchState { since: None, ..small };
        assert_eq!(LIMITS.decide(&empty, true, due), FlushDecision::Wait);
    }

    #[test]
    fn tables_that_stand_still_leave_memory_to_the_others() {
        let budget = MemoryBudget::new(900);
        for tables in 1..5_usize {
            let mut held = vec![0_usize; tables];
            for _ in 0..1000 {
                for table in 0..tables {
                    let all: usize = held.iter().sum();
                    if !budget.is_over(held[table], all, false) {
                        held[table] += 1;
                    }
                }
            }
            let all: usize = held.iter().sum();
            let left = 900 / (2 * tables + 1);
            assert!(900 - all + 10 > left && all > 500, "{tables}: {held:?}");
            assert!(held.iter().all(|bytes| bytes.abs_diff(held[0]) < 10), "each has as much: {held:?}");
        }
        assert!(
            budget.is_over(500, 500, true) && !budget.is_over(300, 300, true),
            "it ends below where it began"
        );
        assert!(!budget.is_over(0, 900, false), "one that holds nothing is not stopped");
        // Rows that came before it was known that the table stands still.
        assert_eq!(budget.counted(900, 0), 600);
        assert_eq!(budget.counted(100, 300), 400);
    }

    #[test]
    fn pressure_ends_below_where_it_began() {
        let mut budget = MemoryBudget::new(1000);
        let seen = [999, 1000, 800, 751, 750, 999].map(|held| budget.observe(held));
        assert_eq!(seen, [false, true, true, true, false, false]);
        assert!(!budget.is_pressed());
    }
}
