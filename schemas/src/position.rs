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
