//! Sums over all rows of a side in memory that does not grow with the table. Rows fall into buckets by their key's
//! hash, which has nothing to do with any collation or order, so that both sides may come in any order; a bucket keeps
//! how many rows it has and the sum of their hashes. Buckets whose count and sum agree hold the same rows, except with
//! odds of 1 : 2¹²⁸.

use std::mem::size_of;

/// Fewest and most buckets.
const BUCKETS: std::ops::RangeInclusive<u64> = 4_096..=1 << 20;
/// Rows a bucket shall have: what has to be looked at again for one row that differs.
const ROWS: u64 = 64;

/// A row, by hashes of its key and of all its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Of the key.
    pub id: u128,
    /// Of the row.
    pub row: u128,
}

/// How many buckets suit a table of about `rows` rows: a power of two.
#[must_use]
pub(crate) fn suitable(rows: u64) -> usize {
    let wanted = (rows / ROWS).clamp(*BUCKETS.start(), *BUCKETS.end()).next_power_of_two();
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

/// The bucket of a key among `count` buckets, a power of two.
#[must_use]
pub(crate) fn bucket(id: u128, count: usize) -> usize {
    let low = id.to_le_bytes();
    let mut bytes = [0; size_of::<usize>()];
    bytes.iter_mut().zip(low).for_each(|(to, from)| *to = from);
    usize::from_le_bytes(bytes) & count.saturating_sub(1)
}

/// The sums of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buckets {
    sums: Vec<Bucket>,
    rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bucket {
    rows: u64,
    sum: u128,
}

impl Buckets {
    /// `count` empty buckets; a power of two.
    #[must_use]
    pub(crate) fn new(count: usize) -> Self {
        Self { sums: vec![Bucket::default(); count], rows: 0 }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, digest: Digest) {
        let index = bucket(digest.id, self.sums.len());
        if let Some(bucket) = self.sums.get_mut(index) {
            bucket.rows += 1;
            bucket.sum = bucket.sum.wrapping_add(digest.row);
            self.rows += 1;
        }
    }

    #[must_use]
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// The buckets that differ from `other`'s, in groups of at most `rows` rows of either side (but of at least one
    /// bucket): each group is looked at again in one go.
    #[must_use]
    pub(crate) fn differing(&self, other: &Self, rows: u64) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut filled = u64::MAX;
        for (index, (ours, theirs)) in self.sums.iter().zip(&other.sums).enumerate() {
            if ours == theirs {
                continue;
            }
            let larger = ours.rows.max(theirs.rows);
            filled = filled.saturating_add(larger);
            if filled > rows {
                groups.push(Group { chosen: vec![false; self.sums.len()], rows: 0 });
                filled = larger;
            }
            if let Some(group) = groups.last_mut() {
                group.rows = filled;
                group.chosen.get_mut(index).into_iter().for_each(|chosen| *chosen = true);
            }
        }
        groups
    }
}

/// Some of the buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    chosen: Vec<bool>,
    rows: u64,
}

impl Group {
    /// True if the key falls into one of them.
    #[must_use]
    pub(crate) fn has(&self, id: u128) -> bool {
        self.chosen.get(bucket(id, self.chosen.len())).copied().unwrap_or(false)
    }

    /// Rows they held when they were summed, the larger side's.
    #[must_use]
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(rows: &[Digest], count: usize) -> Buckets {
        let mut buckets = Buckets::new(count);
        rows.iter().for_each(|row| buckets.add(*row));
        buckets
    }

    fn rows() -> impl Strategy<Value = Vec<Digest>> {
        let row = (any::<u128>(), any::<u128>()).prop_map(|(id, row)| Digest { id, row });
        prop::collection::vec(row, 1..40)
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_any_change_is_found_in_its_bucket(
            mut rows in rows(), seed: u64, what in 0..3, limit in 0_u64..10,
        ) {
            let before = sums(&rows, 64);
            fastrand::Rng::with_seed(seed).shuffle(&mut rows);
            prop_assert_eq!(&before, &sums(&rows, 64));
            prop_assert!(before.differing(&before, limit).is_empty());
            let touched = rows[0];
            match what {
                0 => rows[0].row = touched.row.wrapping_add(1 << (seed % 128)),
                1 => drop(rows.swap_remove(0)),
                _ => rows.push(touched),
            }
            let groups = sums(&rows, 64).differing(&before, limit);
            prop_assert_eq!(groups.len(), 1);
            prop_assert!(groups[0].has(touched.id));
            prop_assert_eq!(groups[0].chosen.iter().filter(|chosen| **chosen).count(), 1);
        }

        #[test]
        fn groups_hold_every_differing_bucket_once_and_stay_within_the_limit(rows in rows(), limit in 1_u64..10) {
            let all = sums(&rows, 64);
            let groups = all.differing(&Buckets::new(64), limit);
            for row in &rows {
                prop_assert_eq!(groups.iter().filter(|group| group.has(row.id)).count(), 1);
            }
            for group in &groups {
                let one = group.chosen.iter().filter(|chosen| **chosen).count() == 1;
                prop_assert!(one || group.rows() <= limit);
            }
            prop_assert_eq!(groups.iter().map(Group::rows).sum::<u64>(), all.rows());
        }
    }

    #[test]
    fn their_number_suits_the_table() {
        assert_eq!((suitable(0), suitable(10_000_000), suitable(u64::MAX)), (4_096, 262_144, 1 << 20));
    }
}
