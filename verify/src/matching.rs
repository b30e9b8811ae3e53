//! The second look at buckets that differ: the source's rows enter, then the destination's; the keys leave that differ.
//! Memory is bounded by what the caller chooses to look at, and by a limit on the keys that are kept.

use super::buckets::Digest;
use std::collections::HashMap;

/// Keys of one table that looked different, each with its hash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// Hash of the key → Avro key record.
    pub keys: HashMap<u128, Box<[u8]>>,
    /// Rows of the destination whose keys no row of the source can have.
    pub foreign: u64,
    /// Keys that were not kept, for the limit.
    pub left_out: u64,
}

/// Pairs the rows of both sides.
#[derive(Debug)]
pub(crate) struct Matcher {
    source: HashMap<u128, (u128, Box<[u8]>)>,
    suspects: Suspects,
    limit: usize,
}

impl Matcher {
    /// Keeps at most `limit` keys beside those in `suspects`.
    #[must_use]
    pub(crate) fn new(suspects: Suspects, limit: usize) -> Self {
        Self { source: HashMap::new(), suspects, limit }
    }

    /// A row of the source and its Avro key. Reading in chunks, a row that moved may come twice: the later counts.
    pub(crate) fn source(&mut self, digest: Digest, key: &[u8]) {
        self.source.insert(digest.id, (digest.row, key.into()));
    }

    /// A row of the destination, after all of the source; `key` is asked for only if it differs, and gives `None` if
    /// no row of the source can have it.
    pub(crate) fn destination(&mut self, digest: Digest, key: impl FnOnce() -> Option<Vec<u8>>) {
        match self.source.get(&digest.id) {
            Some((row, _)) if *row == digest.row => {
                self.source.remove(&digest.id);
            }
            Some(_) => {
                if let Some((_, key)) = self.source.remove(&digest.id) {
                    self.suspect(digest.id, key);
                }
            }
            // It is not on the source, or the second one of its key.
            None => match key() {
                Some(key) => self.suspect(digest.id, key.into()),
                None => self.suspects.foreign += 1,
            },
        }
    }

    /// Everything that differs; what is left of the source is missing in the destination.
    #[must_use]
    pub(crate) fn finish(mut self) -> Suspects {
        for (id, (_, key)) in std::mem::take(&mut self.source) {
            self.suspect(id, key);
        }
        self.suspects
    }

    fn suspect(&mut self, id: u128, key: Box<[u8]>) {
        if self.suspects.keys.len() < self.limit || self.suspects.keys.contains_key(&id) {
            self.suspects.keys.insert(id, key);
        } else {
            self.suspects.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn digest((id, row): (&u8, &u8)) -> Digest {
        Digest { id: u128::from(*id), row: u128::from(*row) }
    }

    proptest! {
        #[test]
        fn exactly_the_keys_that_differ_are_suspected(
            source: BTreeMap<u8, u8>, destination: BTreeMap<u8, u8>,
        ) {
            let mut matcher = Matcher::new(Suspects::default(), usize::MAX);
            source.iter().for_each(|row| matcher.source(digest(row), &[*row.0]));
            destination.iter().for_each(|row| matcher.destination(digest(row), || Some(vec![*row.0])));
            let found: BTreeSet<u8> = matcher.finish().keys.values().map(|key| key[0]).collect();
            let expected: BTreeSet<u8> =
                (0..=255).filter(|id| source.get(id) != destination.get(id)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_second_row_of_a_key_is_suspected_and_a_foreign_key_counted() {
        let mut matcher = Matcher::new(Suspects::default(), 1);
        matcher.source(digest((&1, &1)), &[1]);
        matcher.destination(digest((&1, &1)), || Some(vec![1]));
        matcher.destination(digest((&1, &1)), || Some(vec![1]));
        matcher.destination(digest((&2, &1)), || None);
        matcher.destination(digest((&3, &1)), || Some(vec![3]));
        let suspects = matcher.finish();
        assert_eq!(suspects.keys.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!((suspects.foreign, suspects.left_out), (1, 1));
    }
}
