//! How events are laid out: their type codes, what a file's FORMAT_DESCRIPTION event says of the events behind it, and what can
//! be wrong with one.

use thiserror::Error;

/// Type codes (mysql_common and MySQL's manual, "Event Classes and Types").
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const BEGIN_LOAD_QUERY: u8 = 17;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
}

/// Why an event cannot be decoded. Ends the stream: nothing behind it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The data is shorter than, or unlike, what its type prescribes.
    #[error(
        "a binlog event of type {kind} has malformed data ({what}); if it happens again at the same position the \
         source's binlog is damaged, or its server is newer than this version knows"
    )]
    Malformed {
        /// Type code.
        kind: u8,
        /// The part that is wrong.
        what: &'static str,
    },
    /// The CRC32 behind the event is not the one of its bytes.
    #[error(
        "the binlog event of type {kind} that ends at offset {next_offset} has checksum {computed:08x} instead of \
         {expected:08x}: it was damaged on the way or on the source's disk"
    )]
    Checksum {
        /// Type code.
        kind: u8,
        /// Offset of the event behind it, modulo 2^32.
        next_offset: u32,
        /// As sent.
        expected: u32,
        /// Of the bytes that arrived.
        computed: u32,
    },
    /// An algorithm other than none and CRC32.
    #[error(
        "the source's binlog uses checksum algorithm {0}, which this version does not know; set binlog_checksum=CRC32"
    )]
    UnknownChecksum(u8),
    /// A compressed transaction did not unfold to the size it declares.
    #[error(
        "a compressed transaction unfolded to {actual} of {expected} bytes: its payload is damaged; set \
         binlog_transaction_compression=OFF on the source if it happens again"
    )]
    PayloadSize {
        /// Declared size in bytes.
        expected: u64,
        /// Bytes of the events that came out of it.
        actual: u64,
    },
}

impl DecodeError {
    /// Malformed data of an event of type `kind`.
    pub(super) const fn malformed(kind: u8, what: &'static str) -> Self {
        Self::Malformed { kind, what }
    }
}

/// What the file's FORMAT_DESCRIPTION event says about the events behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatContext {
    /// Version of the server that wrote the file; empty before the first FORMAT_DESCRIPTION event.
    pub server_version: String,
    /// Length in bytes of the fixed part of each type, by type code minus one.
    pub(super) post_header_lengths: Vec<u8>,
}

impl Default for FormatContext {
    /// What holds until the first FORMAT_DESCRIPTION event.
    fn default() -> Self {
        Self { server_version: String::new(), post_header_lengths: Vec::new() }
    }
}

impl FormatContext {
    /// Length of the fixed part of events of type `kind`; MySQL's of today where the file does not say.
    #[must_use]
    pub fn post_header_length(&self, kind: u8) -> u8 {
        let known = self.post_header_lengths.get(usize::from(kind).wrapping_sub(1));
        known.copied().unwrap_or(match kind {
            kind::TABLE_MAP | kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1 => 8,
            kind::WRITE_ROWS..=kind::DELETE_ROWS | kind::PARTIAL_UPDATE_ROWS => 10,
            _ => 0,
        })
    }

    /// Width in bytes of the table id in events of type `kind`.
    pub(super) fn table_id_width(&self, kind: u8) -> usize {
        if self.post_header_length(kind) == 6 { 4 } else { 6 }
    }
}
