//! DDL in order, without markers: where each generation of a topic begins, and who carries out
//! its DDL. Pure: definitions of generations enter, decisions leave.
//!
//! Invariant: the DDL of a generation is carried out exactly once, after every row of earlier generations and before
//! every row of later ones has been merged; a generation that only adds columns may precede older rows, whose
//! new columns are written with what the source added them with.

/// Who carries out the DDL of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The partition that arrives first: the DDL only adds columns, so rows of earlier generations still fit.
    First,
    /// The partition that arrives last: rows of earlier generations must all be in before.
    Last,
}

/// Where a generation begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// From 1.
    pub generation: u32,
    /// For each partition the offset that its records of earlier generations are before.
    pub offsets: Vec<i64>,
    /// Who carries out its DDL.
    pub passage: Passage,
    /// No row of an earlier generation lives on in this one.
    pub empties: bool,
}

/// The generations of one topic, ascending.
#[derive(Debug, Clone, Default)]
pub struct Barriers {
    list: Vec<Barrier>,
}

impl Barriers {
    /// Adds a generation; one that is known already stays as it is.
    pub fn insert(&mut self, barrier: Barrier) {
        let place = self.list.partition_point(|known| known.generation < barrier.generation);
        if self.list.get(place).is_none_or(|known| known.generation != barrier.generation) {
            self.list.insert(place, barrier);
        }
    }

    /// The generation that follows `generation`.
    #[must_use]
    pub fn after(&self, generation: u32) -> Option<&Barrier> {
        self.list.get(self.list.partition_point(|known| known.generation <= generation))
    }

    /// True if a partition that has arrived at `generation` waits for the others: the destination has `done`, and a generation
    /// between is still to be carried out. One that has lost its record is carried out by nobody: the way goes on to the
    /// later one that empties the table. One that is not known yet is waited for.
    #[must_use]
    pub fn is_awaited(&self, generation: u32, done: u32) -> bool {
        let next = || self.after(done).is_some_and(|next| next.generation <= generation);
        generation > done && (generation > self.newest() || next())
    }

    /// The offset at which `partition` meets the generation behind `generation`; `i64::MAX` if there is none.
    #[must_use]
    pub fn next_offset(&self, generation: u32, partition: i32) -> i64 {
        self.after(generation).map_or(i64::MAX, |next| next.offset(partition))
    }

    /// The generation that a tombstone at `offset` belongs to; 0 if no generation is known.
    #[must_use]
    pub fn generation_at(&self, partition: i32, offset: i64) -> u32 {
        self.list
            .iter()
            .rev()
            .find(|barrier| barrier.offset(partition) <= offset)
            .or(self.list.first())
            .map_or(0, |barrier| barrier.generation)
    }

    /// The newest generation; 0 if none is known.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.list.last().map_or(0, |barrier| barrier.generation)
    }

    /// Where a target that does not exist yet begins: everything before the newest generation that empties the table
    /// would be merged only to be removed again.
    #[must_use]
    pub fn beginning(&self) -> Option<&Barrier> {
        self.list.iter().rev().find(|barrier| barrier.empties).or(self.list.first())
    }

    /// Where `partition` may go on that has arrived at `generation`: what lies before a later generation that empties
    /// the table would be merged only to be removed again. 0 if there is none.
    #[must_use]
    pub fn emptied_before(&self, generation: u32, partition: i32) -> i64 {
        let later = self.list.iter().rev().take_while(|barrier| barrier.generation > generation);
        later.filter(|barrier| barrier.empties).map(|barrier| barrier.offset(partition)).max().unwrap_or(0)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Barrier> {
        self.list.iter()
    }
}

impl Barrier {
    /// Where `partition` meets this generation; the beginning of a partition that the record does not list.
    #[must_use]
    pub fn offset(&self, partition: i32) -> i64 {
        usize::try_from(partition).ok().and_then(|index| self.offsets.get(index)).copied().unwrap_or(0)
    }
}

/// What an arrival at a generation leads to, decided under the lock of the generation's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Another arrival has carried out the DDL.
    Done,
    /// Carry out the DDL and mark the generation done, in the transaction of this arrival.
    Execute,
    /// Other partitions are still to come.
    Wait,
}

/// Decides an arrival at `generation`: `applied` is the newest generation that is done, `arrived` counts the
/// partitions that have arrived, this one included.
#[must_use]
pub const fn arrive(
    passage: Passage,
    generation: u32,
    applied: u32,
    arrived: u64,
    partitions: u64,
) -> Arrival {
    if applied >= generation {
        return Arrival::Done;
    }
    match passage {
        Passage::First => Arrival::Execute,
        Passage::Last if arrived >= partitions => Arrival::Execute,
        Passage::Last => Arrival::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barriers() -> Barriers {
        let mut barriers = Barriers::default();
        for (generation, offsets, empties) in [(3, [9, 7], true), (1, [0, 0], false), (2, [4, 5], false)] {
            let offsets = offsets.to_vec();
            barriers.insert(Barrier { generation, offsets, passage: Passage::Last, empties });
        }
        barriers
    }

    #[test]
    fn offsets_decide_the_generation_of_a_tombstone() {
        let barriers = barriers();
        let at = |partition, offset| barriers.generation_at(partition, offset);
        assert_eq!(
            [at(0, 0), at(0, 3), at(0, 4), at(0, 8), at(0, 9), at(1, 4), at(1, 5)],
            [1, 1, 2, 2, 3, 1, 2]
        );
        assert_eq!(barriers.next_offset(1, 1), 5);
        assert_eq!(barriers.next_offset(3, 1), i64::MAX);
        assert_eq!(barriers.newest(), 3);
        assert_eq!(barriers.beginning().map(|barrier| barrier.generation), Some(3));
        assert_eq!([1, 2, 3].map(|generation| barriers.emptied_before(generation, 0)), [9, 9, 0]);
    }

    #[test]
    fn a_generation_that_has_lost_its_record_is_not_waited_for() {
        let all = barriers();
        assert!(all.is_awaited(2, 1));
        assert!(!all.is_awaited(2, 2));
        assert!(all.is_awaited(3, 1), "2 is to be carried out first");
        assert!(all.is_awaited(4, 3), "it is not known here yet");
        let mut barriers = Barriers::default();
        all.iter().filter(|barrier| barrier.generation != 2).for_each(|kept| barriers.insert(kept.clone()));
        assert!(!barriers.is_awaited(2, 1), "3 is the next one that is carried out");
        assert!(barriers.is_awaited(3, 1));
    }

    #[test]
    fn only_the_last_arrival_carries_out_what_is_not_idempotent() {
        assert_eq!(arrive(Passage::Last, 2, 1, 3, 4), Arrival::Wait);
        assert_eq!(arrive(Passage::Last, 2, 1, 4, 4), Arrival::Execute);
        assert_eq!(arrive(Passage::Last, 2, 2, 4, 4), Arrival::Done);
        assert_eq!(arrive(Passage::First, 2, 1, 1, 4), Arrival::Execute);
        assert_eq!(arrive(Passage::First, 2, 2, 2, 4), Arrival::Done);
    }
}
