//! Who reads the task's topics, as capture's status shows it: consumer groups, and how far behind each is.
//!
//! Invariant: what is not known is null, not empty: no readers is something that Kafka has said.

use super::grid::{Column, grid};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Instant;

/// A consumer group that has committed offsets in the topics of the task's tables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReaderDocument {
    /// The group, without the identity of a destination.
    pub name: String,
    /// The destination that an apply-only task of that name writes into.
    pub identity: Option<String>,
    /// The group as Kafka knows it.
    pub group: String,
    /// How many members it has; null where that is not known.
    pub members: Option<usize>,
    /// In the topics of how many tables it has committed offsets.
    pub tables: usize,
    /// How many offsets that may hold a record lie between its own and the ends of their topics: at most so many records.
    pub lag_records: u64,
    pub state: ReaderState,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReaderState {
    /// Its members have their partitions.
    Stable,
    /// Its members are being given partitions.
    Rebalancing,
    /// It has no members: it is stopped, or takes its partitions by itself, as Flink does.
    Empty,
    #[default]
    #[serde(other)]
    Unknown,
}

impl ReaderState {
    /// As it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Rebalancing => "rebalancing",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// What a service has found out about readers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readers {
    /// By name; `None` before that is known.
    pub list: Option<Vec<ReaderDocument>>,
    /// Why the list is not whole, or not there, and what to do about it.
    pub note: Option<String>,
    /// When Kafka was asked last.
    pub asked: Option<Instant>,
}

const COLUMNS: [Column<ReaderDocument>; 6] = [
    ("READER", false, |reader| reader.name.clone()),
    ("STATE", false, |reader| reader.state.name().to_owned()),
    ("MEMBERS", true, |reader| reader.members.map_or("-".to_owned(), |count| count.to_string())),
    ("TABLES", true, |reader| reader.tables.to_string()),
    ("BEHIND", true, |reader| format!("{} records", reader.lag_records)),
    ("DESTINATION", false, |reader| reader.identity.clone().unwrap_or_default()),
];

/// For a person: a line for each reader, then what is not known.
#[must_use]
pub fn readers_in_words(readers: Option<&[ReaderDocument]>, note: Option<&str>) -> String {
    let mut out = String::new();
    match readers {
        None => {}
        Some([]) => out.push_str("no consumer group reads the topics\n"),
        Some(readers) => {
            let lines = grid(&COLUMNS, readers.iter());
            lines.for_each(|line| {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{line}");
            });
        }
    }
    if let Some(note) = note {
        let _ = writeln!(out, "readers: {note}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_a_table_and_what_is_not_known_is_said() {
        let reader = |name: &str, members, state| ReaderDocument {
            name: name.to_owned(),
            members,
            tables: 2,
            lag_records: 1_234,
            state,
            ..ReaderDocument::default()
        };
        let readers =
            [reader("shop", Some(1), ReaderState::Stable), reader("sink", None, ReaderState::Unknown)];
        let expected = "\
READER  STATE    MEMBERS  TABLES        BEHIND  DESTINATION
shop    stable         1       2  1234 records
sink    unknown        -       2  1234 records
readers: 3 more
";
        assert_eq!(readers_in_words(Some(&readers), Some("3 more")), expected);
        assert_eq!(readers_in_words(Some(&[]), None), "no consumer group reads the topics\n");
        assert_eq!(readers_in_words(None, Some("refused")), "readers: refused\n");
        assert_eq!(readers_in_words(None, None), "");
    }

    #[test]
    fn states_are_written_as_they_are_named_and_one_of_another_version_is_unknown() {
        use ReaderState::{Empty, Rebalancing, Stable, Unknown};
        for state in [Stable, Rebalancing, Empty, Unknown] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        assert_eq!(serde_json::from_value::<ReaderState>("dormant".into()).unwrap(), Unknown);
    }
}
