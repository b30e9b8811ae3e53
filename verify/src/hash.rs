//! Hashes of canonical rows and keys. Two SipHash-1-3 under different random keys make 128 bits: nobody can choose
//! rows that collide, and of n rows two different ones have the same hash with odds of n² : 2¹²⁹, which for ten
//! billion rows is less than 1 : 10¹⁸.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The keys of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hash128 {
    high: RandomState,
    low: RandomState,
}

impl Hash128 {
    /// The hash of `bytes`.
    #[must_use]
    pub(crate) fn of(&self, bytes: &[u8]) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        };
        (half(&self.high) << 64) | half(&self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_depend_on_every_byte_and_on_their_own_key() {
        let hash = Hash128::default();
        let (one, other) = (hash.of(b"a"), hash.of(b"b"));
        assert_eq!(one, hash.clone().of(b"a"));
        assert_ne!(one >> 64, other >> 64);
        assert_ne!(one << 64, other << 64);
        assert_ne!(one >> 64, one & u128::from(u64::MAX));
    }
}
