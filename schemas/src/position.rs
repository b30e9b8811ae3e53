//! A place in the source's binlog.

use crate::gtid::GtidSet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Where the stream stands: everything before it has been published.
///
/// `file` and `offset` are only comparable under the same `server_uuid`; the GTID set is what survives a failover.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Transactions before this place; empty for a source without GTID.
    #[serde(serialize_with = "gtid_text", deserialize_with = "gtid_parse")]
    pub gtid_set: GtidSet,
    /// Binlog file name.
    pub file: String,
    /// Offset in the file in bytes; past 4 GiB where the file is (the event header's u32 wraps, this does not).
    pub offset: u64,
    /// The server the file and offset belong to.
    pub server_uuid: String,
}

impl Position {
    /// True if a stream that stands here has passed `mark`: by GTID if the mark has any, else by file and offset, which only
    /// compare on one server.
    #[must_use]
    pub fn covers(&self, mark: &Self) -> bool {
        if !mark.gtid_set.is_empty() {
            return self.gtid_set.contains_all(&mark.gtid_set);
        }
        match (self.place(), mark.place()) {
            (Some(here), Some(place)) => self.server_uuid == mark.server_uuid && here >= place,
            // A server that has written nothing at all.
            _ => mark.file.is_empty(),
        }
    }

    /// Number of the file, and offset.
    fn place(&self) -> Option<(u64, u64)> {
        let number = self.file.rsplit('.').next()?.parse().ok()?;
        Some((number, self.offset))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        if !self.gtid_set.is_empty() {
            write!(f, " (GTID {})", self.gtid_set)?;
        }
        Ok(())
    }
}

fn gtid_text<S: Serializer>(set: &GtidSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(set)
}

fn gtid_parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GtidSet, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn at(file: &str, offset: u64, gtids: &str, server: &str) -> Position {
        Position { gtid_set: gtids.parse().unwrap(), file: file.into(), offset, server_uuid: server.into() }
    }

    #[test]
    fn positions_without_gtid_compare_by_number_on_one_server_only() {
        let mark = at("binlog.999999", 100, "", "a");
        assert!(at("binlog.1000000", 4, "", "a").covers(&mark));
        assert!(at("binlog.999999", 100, "", "a").covers(&mark));
        assert!(!at("binlog.999999", 99, "", "a").covers(&mark));
        assert!(!at("binlog.1000000", 4, "", "b").covers(&mark));
        assert!(Position::default().covers(&Position::default()), "a server that has written nothing");
    }

    #[test]
    fn where_there_are_gtids_they_alone_decide() {
        let mark = at("binlog.999999", 100, &format!("{ONE}:1-9"), "a");
        assert!(at("binlog.000001", 4, &format!("{ONE}:1-12"), "b").covers(&mark));
        assert!(!at("binlog.1000000", 900, &format!("{ONE}:1-8"), "a").covers(&mark));
    }
}
