//! The source sequence that every record carries in the header `tributary.sequence`: it names a row event for
//! people, tests and verification, within one source server. Apply never drops a record by it.

use std::fmt;
use std::str::FromStr;

/// Name of the record header that holds a [`SourceSequence`] as text.
pub const SEQUENCE_HEADER: &str = "tributary.sequence";
/// Prefix of the record headers that hold the original text of a value Avro could not carry, by column name.
pub const RAW_HEADER_PREFIX: &str = "tributary.raw.";

/// Ordinal of the source transaction since the task began, index of the row in it, part of the row event.
///
/// Text form `<transaction>:<row>:<part>`, with `:r` behind it for a row that was read from the table; such a row
/// carries the transaction ordinal that the stream had reached when its chunk was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSequence {
    /// Source transactions begun since the task did; the first is 1.
    pub transaction: u64,
    /// Row events of the transaction before this one, over all tables that are selected.
    pub row: u64,
    /// 0; or 1 for the create that follows the delete when an update changed the key.
    pub part: u8,
    /// Read from the table, not from the binlog.
    pub read: bool,
}

impl SourceSequence {
    /// Replaces the content of `out` with the text form, without allocating once `out` has grown to size.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.clear();
        out.extend_from_slice(digits.format(self.transaction).as_bytes());
        out.push(b':');
        out.extend_from_slice(digits.format(self.row).as_bytes());
        out.push(b':');
        out.extend_from_slice(digits.format(self.part).as_bytes());
        if self.read {
            out.extend_from_slice(b":r");
        }
    }
}

impl fmt::Display for SourceSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.read { ":r" } else { "" };
        write!(f, "{}:{}:{}{mark}", self.transaction, self.row, self.part)
    }
}

/// A header that is not a source sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a source sequence (expected <transaction>:<row>:<part>[:r])")]
pub struct ParseSequenceError(String);

impl FromStr for SourceSequence {
    type Err = ParseSequenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split(':');
            let sequence = Self {
                transaction: parts.next()?.parse().ok()?,
                row: parts.next()?.parse().ok()?,
                part: parts.next()?.parse().ok()?,
                read: match parts.next() {
                    None => false,
                    Some("r") => true,
                    Some(_) => return None,
                },
            };
            parts.next().is_none().then_some(sequence)
        };
        parse().ok_or_else(|| ParseSequenceError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_orders_as_the_source_did() {
        let first = SourceSequence { transaction: 9, row: 10, part: 1, read: false };
        let second = SourceSequence { transaction: 10, row: 0, part: 0, read: true };
        assert!(first < second);
        for sequence in [first, second] {
            assert_eq!(sequence.to_string().parse(), Ok(sequence));
            let mut bytes = Vec::new();
            sequence.write_to(&mut bytes);
            assert_eq!(bytes, sequence.to_string().into_bytes());
        }
        assert_eq!(second.to_string(), "10:0:0:r");
        for bad in ["", "1:2", "1:2:3:x", "1:2:3:r:4", "a:b:c"] {
            assert!(bad.parse::<SourceSequence>().is_err(), "{bad}");
        }
    }
}
