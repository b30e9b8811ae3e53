//! From the bytes of the binlog to Avro. Enters: the events of mysql_async's `BinlogStream`, undecoded. Leaves:
//! [`EventBody`] values that borrow from the event and, through a decoder that is compiled once per table and
//! TABLE_MAP, rows as Avro bytes. Invariant: pure functions without IO; bytes that make no sense are errors, never
//! panics and never silence.
//!
//! What the stream yields (mysql_async 0.37.1 with mysql_common 0.37.3, tried on MySQL 9.7):
//!
//! * It opens with an artificial ROTATE (timestamp 0, `next_offset` 0) that names the file, then the file's
//!   FORMAT_DESCRIPTION. mysql_common knows the checksum algorithm only from the latter, so that the first ROTATE still
//!   has its CRC32 at the end of its data and reports no checksum; [`stream::accept`] takes it off.
//! * Checksums are taken off every later event but not compared; [`stream::accept`] compares them.
//! * A compressed transaction comes as its TRANSACTION_PAYLOAD event, followed at once by the events inside it as
//!   items of their own. Those have no checksum (`Event::checksum` gives four zeros for them) and `next_offset` 0: the
//!   position of all of them is the payload event's. When zstd fails, the payload event is followed by nothing, as if
//!   the transaction were empty; [`payload::PayloadCheck`] counts the bytes of the inner events and turns that into an
//!   error.
//! * A large offset wraps: `next_offset` is 32 bits, a binlog file can be larger.

pub mod batch;
pub mod cursor;
pub mod decoder;
pub mod event;
#[cfg(test)]
mod event_tests;
pub mod gtid;
pub mod json;
pub mod payload;
pub mod query;
pub mod rows;
pub mod stream;
pub mod table_map;
#[cfg(test)]
mod testing;

pub use event::{DecodeError, EventBody, EventHeader, FormatContext, parse};
