//! GTID sets (MySQL manual, "GTID Format and Storage"), with the tags of MySQL 8.3 and later.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A server's UUID and, if the transaction has one, its tag: what a transaction number is counted under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GtidSource {
    /// `server_uuid` of the server that first committed the transaction; lower case, with dashes.
    pub uuid: String,
    /// Tag, lower case; empty for none.
    pub tag: String,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// Where the number was given.
    pub source: GtidSource,
    /// The number, from 1.
    pub number: u64,
}

impl fmt::Display for GtidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uuid)?;
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.number)
    }
}

/// A set of transactions: for each source, closed intervals that neither touch nor overlap, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet(BTreeMap<GtidSource, Vec<(u64, u64)>>);

/// Text that is not a GTID set, or not a GTID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GTID set (expected uuid[:tag]:first[-last][:…], joined by commas)")]
pub struct ParseGtidError(String);

impl GtidSet {
    /// True if no transaction is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one transaction. In the common case, the next number of a source, this moves one bound.
    pub fn insert(&mut self, gtid: &Gtid) {
        if let Some(intervals) = self.0.get_mut(&gtid.source) {
            insert_interval(intervals, gtid.number, gtid.number);
        } else {
            self.0.insert(gtid.source.clone(), vec![(gtid.number, gtid.number)]);
        }
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Self) {
        for (source, intervals) in &other.0 {
            let mine = self.0.entry(source.clone()).or_default();
            for (first, last) in intervals {
                insert_interval(mine, *first, *last);
            }
        }
    }

    /// True if the set holds `gtid`.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.0.get(&gtid.source).is_some_and(|mine| covers(mine, gtid.number, gtid.number))
    }

    /// True if every transaction of `other` is in this set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(source, theirs)| {
            let mine = self.0.get(source).map_or(&[][..], Vec::as_slice);
            theirs.iter().all(|(first, last)| covers(mine, *first, *last))
        })
    }

    /// The transactions of this set that are not in `other`, source by source.
    pub fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Gtid> + 'a {
        self.0.iter().flat_map(move |(source, intervals)| {
            let theirs = other.0.get(source).map_or(&[][..], Vec::as_slice);
            let left = intervals.iter().flat_map(|(first, last)| left_by(theirs, *first, *last));
            left.flat_map(|(first, last)| first..=last).map(|number| Gtid { source: source.clone(), number })
        })
    }

    /// The intervals of each source, closed, in order.
    pub fn intervals(&self) -> impl Iterator<Item = (&GtidSource, &[(u64, u64)])> {
        self.0.iter().map(|(source, intervals)| (source, intervals.as_slice()))
    }
}

/// True if one interval of `intervals` holds `first..=last`.
fn covers(intervals: &[(u64, u64)], first: u64, last: u64) -> bool {
    let at = intervals.partition_point(|(_, end)| *end < last);
    intervals.get(at).is_some_and(|(start, end)| *start <= first && last <= *end)
}

/// What `intervals` leave of `first..=last`.
fn left_by(intervals: &[(u64, u64)], first: u64, last: u64) -> Vec<(u64, u64)> {
    let (mut from, mut left) = (first, Vec::new());
    for (start, end) in intervals.iter().filter(|(start, end)| *start <= last && *end >= first) {
        if *start > from {
            left.push((from, start - 1));
        }
        from = end.saturating_add(1);
    }
    if from <= last {
        left.push((from, last));
    }
    left
}

/// Adds `first..=last`, merging what then touches.
fn insert_interval(intervals: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    let from = intervals.partition_point(|(_, end)| end.saturating_add(1) < first);
    let to = intervals.partition_point(|(start, _)| *start <= last.saturating_add(1));
    let merged = match intervals.get(from..to) {
        Some([head, .., tail]) => (head.0.min(first), tail.1.max(last)),
        Some([only]) => (only.0.min(first), only.1.max(last)),
        _ => (first, last),
    };
    intervals.splice(from..to.max(from), [merged]);
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (source, intervals)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{source}")?;
            for (first, last) in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            parse_source(&mut set, part).ok_or_else(|| ParseGtidError(part.to_owned()))?;
        }
        Ok(set)
    }
}

/// Parses `uuid[:tag]:interval[:interval|:tag:interval…]` into `set`.
fn parse_source(set: &mut GtidSet, text: &str) -> Option<()> {
    let mut pieces = text.split(':').map(str::trim);
    let uuid = pieces.next().filter(|uuid| is_uuid(uuid))?.to_ascii_lowercase();
    let mut source = GtidSource { uuid, tag: String::new() };
    let mut any = false;
    for piece in pieces {
        if piece.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            source.tag = piece.to_ascii_lowercase();
            continue;
        }
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
        if first == 0 || last < first {
            return None;
        }
        insert_interval(set.0.entry(source.clone()).or_default(), first, last);
        any = true;
    }
    any.then_some(())
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths = text
        .split('-')
        .map(|group| if group.bytes().all(|b| b.is_ascii_hexdigit()) { group.len() } else { 0 });
    lengths.eq([8, 4, 4, 4, 12])
}

impl FromStr for Gtid {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let set: GtidSet = text.parse()?;
        let mut all = set.0.into_iter();
        match (all.next(), all.next()) {
            (Some((source, intervals)), None) if matches!(intervals[..], [(a, b)] if a == b) => {
                Ok(Self { source, number: intervals.first().map_or(0, |(first, _)| *first) })
            }
            _ => Err(ParseGtidError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_normalised() {
        let text = format!("{B}:7, {}:1-3:5:4:tag:1-2:tag:9,", A.to_uppercase());
        assert_eq!(set(&text).to_string(), format!("{A}:1-5,{A}:tag:1-2:9,{B}:7"));
        assert_eq!(set("").to_string(), "");
        for bad in ["x:1", &format!("{A}:0"), &format!("{A}:3-1"), A, &format!("{A}:")] {
            assert!(bad.parse::<GtidSet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn intervals_behave_as_a_set_of_numbers(ranges in prop::collection::vec((1_u64..60, 0_u64..6), 0..20),
                                               other in prop::collection::vec((1_u64..60, 0_u64..6), 0..4)) {
            let build = |ranges: &[(u64, u64)]| {
                let (mut ours, mut model) = (GtidSet::default(), BTreeSet::new());
                for (first, extra) in ranges {
                    for number in *first..=first + extra {
                        model.insert(number);
                    }
                    ours.union(&set(&format!("{A}:{first}-{}", first + extra)));
                }
                (ours, model)
            };
            let (ours, model) = build(&ranges);
            let (theirs, their_model) = build(&other);
            prop_assert_eq!(ours.contains_all(&theirs), model.is_superset(&their_model));
            let left: Vec<u64> = ours.without(&theirs).map(|gtid| gtid.number).collect();
            prop_assert_eq!(left, model.difference(&their_model).copied().collect::<Vec<_>>());
            for number in 1..70 {
                let gtid: Gtid = format!("{A}:{number}").parse().unwrap();
                prop_assert_eq!(ours.contains(&gtid), model.contains(&number));
            }
            prop_assert_eq!(set(&ours.to_string()), ours.clone());
            for (_, intervals) in ours.intervals() {
                prop_assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }

        #[test]
        fn inserting_one_by_one_is_the_union(numbers in prop::collection::vec(1_u64..200, 0..100)) {
            let (mut one, mut all) = (GtidSet::default(), GtidSet::default());
            for number in &numbers {
                one.insert(&format!("{A}:{number}").parse().unwrap());
                all.union(&set(&format!("{A}:{number}")));
            }
            prop_assert_eq!(one, all);
        }
    }
}
