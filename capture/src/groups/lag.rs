//! A group's lag. What the group has committed and where the partitions end is turned into a line of the status. Pure.
//!
//! # What the number means
//! Offsets are counted, for only a reader of every record could count records. Two kinds of offsets hold none: the markers
//! that end capture's transactions, one in each partition that a transaction wrote into, and what compaction has removed. So
//! the number is at least that of the records that are still to be read.
//!
//! The last offset of a partition never counts: nobody but capture writes the topics, so it is the marker of the last
//! transaction. Most readers commit the offset after their last record, which is that marker's; others
//! commit the offset after it. Both have read everything, and their lag is 0.
//!
//! A partition in which the group has committed nothing counts from its beginning, if the group has committed something in
//! another one of the same topic.

use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::topic::split_identity;
use tributary_service::kafka::{ListedGroup, TopicPartition};
use tributary_service::status::{ReaderDocument, ReaderState};

/// Offsets of partitions.
pub(super) type Offsets = BTreeMap<TopicPartition, i64>;

/// The group as the status shows it; `None` if it has committed nothing where there is an end. `listed` is what Kafka says of
/// its members, where it says so; `ends` are last stable offsets.
pub(super) fn reader(
    group: &str,
    listed: Option<&ListedGroup>,
    committed: &Offsets,
    ends: &Offsets,
) -> Option<ReaderDocument> {
    let read: BTreeSet<&str> =
        committed.keys().filter(|place| ends.contains_key(place)).map(|(topic, _)| topic.as_str()).collect();
    if read.is_empty() {
        return None;
    }
    let lags = ends
        .iter()
        .filter(|((topic, _), _)| read.contains(topic.as_str()))
        .map(|(place, end)| distance(committed.get(place).copied().unwrap_or(0), *end));
    let (name, identity) = split_identity(group);
    let state = listed.map_or(ReaderState::Unknown, |listed| state(&listed.state));
    Some(ReaderDocument {
        name: name.to_owned(),
        identity: identity.map(str::to_owned),
        group: group.to_owned(),
        members: listed.filter(|_| state != ReaderState::Unknown).map(|listed| listed.members),
        tables: read.len(),
        lag_records: lags.fold(0, u64::saturating_add),
        state,
    })
}

/// The offsets from `committed` to the one before the last.
fn distance(committed: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(1).saturating_sub(committed)).unwrap_or(0)
}

/// Kafka's words for the state of a group of either protocol.
fn state(word: &str) -> ReaderState {
    match word {
        "Stable" => ReaderState::Stable,
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            ReaderState::Rebalancing
        }
        "Empty" => ReaderState::Empty,
        // Brokers call a group of the new protocol dead whose members they cannot describe in the old one.
        _ => ReaderState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offsets(places: &[(&str, i32, i64)]) -> Offsets {
        places.iter().map(|(topic, partition, offset)| (((*topic).to_owned(), *partition), *offset)).collect()
    }

    fn lag(committed: &[(&str, i32, i64)], ends: &Offsets) -> Option<(usize, u64)> {
        let reader = reader("g", None, &offsets(committed), ends)?;
        Some((reader.tables, reader.lag_records))
    }

    #[test]
    fn whoever_has_read_everything_is_at_zero_before_and_after_the_last_marker() {
        let ends = offsets(&[("t.a.b", 0, 10), ("t.a.b", 1, 0)]);
        assert_eq!(lag(&[("t.a.b", 0, 10), ("t.a.b", 1, 0)], &ends), Some((1, 0)));
        assert_eq!(lag(&[("t.a.b", 0, 9)], &ends), Some((1, 0)));
        assert_eq!(lag(&[("t.a.b", 0, 8)], &ends), Some((1, 1)));
        // Of a topic of the same name that was there before.
        assert_eq!(lag(&[("t.a.b", 0, 99)], &ends), Some((1, 0)));
    }

    #[test]
    fn a_partition_without_an_offset_counts_from_its_beginning_and_a_topic_without_one_not_at_all() {
        let ends = offsets(&[("t.a.b", 0, 10), ("t.a.b", 1, 21), ("t.a.c", 0, 500)]);
        assert_eq!(lag(&[("t.a.b", 0, 10)], &ends), Some((1, 20)));
    }

    #[test]
    fn a_group_of_topics_that_are_gone_is_no_reader() {
        let ends = offsets(&[("t.a.b", 0, 10)]);
        assert_eq!(lag(&[("t.a.gone", 0, 5)], &ends), None);
        assert_eq!(lag(&[], &ends), None);
    }

    #[test]
    fn a_group_shows_its_name_its_destination_and_its_members() {
        let (ends, committed) = (offsets(&[("t.a.b", 0, 10)]), offsets(&[("t.a.b", 0, 4)]));
        let group = "dw.0d7c4a4e-1111-4111-8111-000000000001";
        let listed = |state: &str| ListedGroup { state: state.to_owned(), members: 2, ..Default::default() };
        let found = reader(group, Some(&listed("Stable")), &committed, &ends).unwrap();
        assert_eq!((found.name.as_str(), found.group.as_str()), ("dw", group));
        assert_eq!(found.identity.as_deref(), Some("0d7c4a4e-1111-4111-8111-000000000001"));
        assert_eq!((found.members, found.state), (Some(2), ReaderState::Stable));
        let found = reader("sink", Some(&listed("Dead")), &committed, &ends).unwrap();
        assert_eq!((found.members, found.state, found.identity), (None, ReaderState::Unknown, None));
        let found = reader("sink", None, &committed, &ends).unwrap();
        assert_eq!((found.members, found.state), (None, ReaderState::Unknown));
    }

    proptest! {
        #[test]
        fn the_lag_is_the_number_of_offsets_that_may_hold_an_unread_record(
            partitions in prop::collection::vec((0_i64..50, prop::option::of(0_i64..120)), 1..6),
        ) {
            let (mut ends, mut committed, mut expected) = (Offsets::new(), Offsets::new(), 0);
            for (number, (end, offset)) in (0_i32..).zip(partitions) {
                let place = ("t.a.b".to_owned(), number);
                ends.insert(place.clone(), end);
                expected += (0..end - 1).filter(|at| offset.is_none_or(|offset| *at >= offset)).count();
                committed.extend(offset.map(|offset| (place, offset)));
            }
            let found = reader("g", None, &committed, &ends);
            prop_assert_eq!(found.is_some(), !committed.is_empty());
            if let Some(found) = found {
                prop_assert_eq!(found.lag_records, u64::try_from(expected).unwrap());
            }
        }
    }
}
