//! The recheck's decisions, pure. For each key that looked different: the source's row, then, once everything up to
//! then has been merged, the destination's row, then the source's row again.
//!
//! Invariant: a key is called different only if, in two rounds one after the other, the source's row stayed the same
//! and the destination's stayed the same and was another. A transaction can be seen in a table a moment before the
//! server counts it as executed, and a row may change there and back: one round alone would accuse such rows.

use super::canonical::RowColumns;

/// Which kinds of difference count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Rows that only the source has.
    pub missing: bool,
    /// Rows that only the destination has.
    pub surplus: bool,
    /// Rows whose columns differ.
    pub values: bool,
}

impl Judged {
    /// A destination that mirrors the source.
    pub(crate) const ALL: Self = Self { missing: true, surplus: true, values: true };
}

/// What one side has under a key.
pub(crate) type Stored = Vec<RowColumns>;

/// One round's view of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The source before the lag was waited for.
    pub before: Stored,
    /// The destination after.
    pub destination: Stored,
    /// The source once more.
    pub after: Stored,
}

/// How a key differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Only the source has it.
    Missing,
    /// Only the destination has it.
    Surplus,
    /// The destination has it more than once.
    Repeated(usize),
    /// Places of the columns that differ.
    Values(Vec<usize>),
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowVerdict {
    /// The destination has what the source has, or what it had.
    Equal,
    /// It differs.
    Different(Difference),
    /// Look again; remember this sight.
    Open(Sight),
}

/// Judges a sight, given the one before.
#[must_use]
pub(crate) fn judge(judged: Judged, previous: Option<&Sight>, sight: Sight) -> RowVerdict {
    if sight.destination == sight.before || sight.destination == sight.after {
        return RowVerdict::Equal;
    }
    let difference = difference(&sight.after, &sight.destination);
    let counts = match &difference {
        Difference::Missing => judged.missing,
        Difference::Surplus => judged.surplus,
        Difference::Repeated(_) => true,
        Difference::Values(_) => judged.values,
    };
    let steady = sight.before == sight.after;
    match (steady, counts) {
        (true, false) => RowVerdict::Equal,
        (true, true) if previous == Some(&sight) => RowVerdict::Different(difference),
        _ => RowVerdict::Open(sight),
    }
}

fn difference(source: &[RowColumns], destination: &[RowColumns]) -> Difference {
    match (source.first(), destination) {
        (_, []) => Difference::Missing,
        (None, _) => Difference::Surplus,
        (Some(source), [destination]) => {
            let pairs = source.columns.iter().zip(&destination.columns).enumerate();
            Difference::Values(
                pairs.filter(|(_, (left, right))| left != right).map(|(place, _)| place).collect(),
            )
        }
        (Some(_), several) => Difference::Repeated(several.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(value: Option<u64>) -> Stored {
        value.map(|value| RowColumns { id: 1, columns: vec![7, value, value] }).into_iter().collect()
    }

    fn sight(before: Option<u64>, destination: Option<u64>, after: Option<u64>) -> Sight {
        Sight { before: stored(before), destination: stored(destination), after: stored(after) }
    }

    #[test]
    fn only_the_same_sight_twice_is_a_difference() {
        for (source, destination, expected) in [
            (Some(1), None, Difference::Missing),
            (None, Some(1), Difference::Surplus),
            (Some(1), Some(2), Difference::Values(vec![1, 2])),
        ] {
            let seen = sight(source, destination, source);
            assert_eq!(judge(Judged::ALL, None, seen.clone()), RowVerdict::Open(seen.clone()));
            assert_eq!(judge(Judged::ALL, Some(&seen), seen.clone()), RowVerdict::Different(expected));
            let other = sight(Some(9), destination, Some(9));
            assert!(matches!(judge(Judged::ALL, Some(&other), seen), RowVerdict::Open(_)));
        }
        let twice = Sight {
            destination: [stored(Some(1)), stored(Some(1))].concat(),
            ..sight(Some(1), None, Some(1))
        };
        assert_eq!(
            judge(Judged::ALL, Some(&twice), twice.clone()),
            RowVerdict::Different(Difference::Repeated(2))
        );
    }

    #[test]
    fn a_row_that_changes_meanwhile_is_equal_if_the_destination_has_either() {
        for (sight, equal) in [
            (sight(Some(1), Some(1), Some(2)), true),
            (sight(Some(1), Some(2), Some(2)), true),
            (sight(Some(1), None, None), true),
            (sight(Some(1), Some(3), Some(2)), false),
            (sight(None, Some(3), Some(2)), false),
        ] {
            // Even if the last round saw the same.
            let verdict = judge(Judged::ALL, Some(&sight.clone()), sight.clone());
            assert_eq!(verdict, if equal { RowVerdict::Equal } else { RowVerdict::Open(sight) });
        }
    }

    #[test]
    fn what_the_task_does_not_carry_over_is_not_judged() {
        let judged = Judged { missing: false, surplus: false, values: true };
        for seen in [sight(None, Some(1), None), sight(Some(1), None, Some(1))] {
            assert_eq!(judge(judged, Some(&seen.clone()), seen), RowVerdict::Equal);
        }
        let seen = sight(Some(1), Some(2), Some(1));
        assert!(matches!(judge(judged, Some(&seen.clone()), seen), RowVerdict::Different(_)));
    }

    proptest! {
        /// The source takes one state after the other, the destination follows some way behind: whatever the timing,
        /// a destination that does follow is never accused.
        #[test]
        fn a_destination_that_follows_is_never_accused(
            steps in prop::collection::vec((0_u64..4, 0_u64..4, 0_u64..4), 1..12),
        ) {
            let (mut now, mut previous) = (0, None);
            for (first, lag, second) in steps {
                now += first;
                let before = now;
                // Merged at least up to where `before` was read, at most up to what is there by then.
                let destination = before + lag;
                now += lag + second;
                match judge(Judged::ALL, previous.as_ref(), sight(Some(before), Some(destination), Some(now))) {
                    RowVerdict::Open(seen) => previous = Some(seen),
                    RowVerdict::Equal => previous = None,
                    RowVerdict::Different(difference) => prop_assert!(false, "{:?}", difference),
                }
            }
        }
    }
}
