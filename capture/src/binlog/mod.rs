//! From the bytes of the binlog to Avro. Enters: the events of the stream, as the server sends them. Leaves:
//! [`EventBody`] values that borrow from the event and, through a decoder that is compiled once per table and
//! TABLE_MAP, rows as Avro bytes. Invariant: pure functions without IO; bytes that make no sense are errors, never
//! panics and never silence.
//!
//! What the stream holds (tried on MySQL 9.7):
//!
//! * It opens with an artificial ROTATE (timestamp 0, `next_offset` 0) that names the file, then the file's
//!   FORMAT_DESCRIPTION. Only the latter says whether events have a checksum, so that [`stream::accept`] tries the first
//!   ROTATE for one.
//! * A compressed transaction is one event, whose checksum is compared before anything is taken out of it. The events in it
//!   have neither checksum nor place (`next_offset` 0): the position of all of them is that event's.
//! * A large offset wraps: `next_offset` is 32 bits, a binlog file can be larger.

pub mod batch;
mod cursor;
pub mod decoder;
pub mod event;
#[cfg(test)]
mod event_tests;
mod filter;
mod format;
pub mod gtid;
pub mod intake;
mod json;
mod payload;
pub(crate) mod query;
pub mod rows;
pub mod stream;
pub mod table_map;
#[cfg(test)]
mod testing;
mod unfold;

pub use event::{DecodeError, EventBody, EventHeader, FormatContext, parse};
