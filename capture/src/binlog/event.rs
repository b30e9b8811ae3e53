//! Events: the fixed header and the body by type. Enters: type byte and data of one event (checksum taken off).
//! Leaves: an [`EventBody`] that borrows from the data; row images stay undecoded. Invariant: every type is either
//! understood, known to be without meaning for a reader of rows ([`EventBody::Other`]), or reported as unknown.

use super::cursor::Cursor;
pub use super::format::{DecodeError, FormatContext, kind};
use super::gtid::{self, GtidEvent};
use super::query::{self, Query, Xid};
use super::rows::RowsEvent;
use super::table_map::TableMapEvent;
use tributary_schemas::gtid::GtidSet;

/// The binlog file was not closed; only set on a FORMAT_DESCRIPTION event.
pub(super) const FLAG_IN_USE: u16 = 0x01;
/// Made up by the dump thread, in no file.
const FLAG_ARTIFICIAL: u16 = 0x20;
/// A reader that does not know the type may pass over it.
const FLAG_IGNORABLE: u16 = 0x80;

/// The 19 bytes that every event begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// When the statement began, in seconds since 1970-01-01 UTC.
    pub timestamp_seconds: u32,
    /// Type code, see [`kind`].
    pub kind: u8,
    /// `server_id` of the server that first wrote the event.
    pub server_id: u32,
    /// Size in bytes of header, data and checksum.
    pub size_bytes: u32,
    /// Offset in the file of the event that follows, modulo 2^32; 0 for events in no file and inside a payload.
    pub next_offset: u32,
    pub flags: u16,
}

impl EventHeader {
    /// Size of the header in bytes.
    pub const SIZE_BYTES: usize = 19;

    /// True if the dump thread made the event up: it has no place in the file.
    #[must_use]
    pub const fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }

    /// The same place and time, of an event that says nothing: its rows are not looked at.
    #[must_use]
    pub const fn passed_over(self) -> Self {
        Self { kind: kind::IGNORABLE, ..self }
    }

    /// True if the event has row images.
    #[must_use]
    pub const fn has_rows(&self) -> bool {
        matches!(
            self.kind,
            kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
                | kind::WRITE_ROWS..=kind::DELETE_ROWS
                | kind::PARTIAL_UPDATE_ROWS
        )
    }

    /// True if a reader that does not know the type may pass over the event.
    #[must_use]
    pub const fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }

    /// The header of an event, and what is behind it.
    #[must_use]
    pub fn split(event: &[u8]) -> Option<(Self, &[u8])> {
        let mut cursor = Cursor::new(event);
        let header = Self {
            timestamp_seconds: cursor.u32()?,
            kind: cursor.u8()?,
            server_id: cursor.u32()?,
            size_bytes: cursor.u32()?,
            next_offset: cursor.u32()?,
            flags: cursor.u16()?,
        };
        Some((header, cursor.rest()))
    }

    /// The header as the server wrote it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE_BYTES] {
        let [t0, t1, t2, t3] = self.timestamp_seconds.to_le_bytes();
        let [i0, i1, i2, i3] = self.server_id.to_le_bytes();
        let [s0, s1, s2, s3] = self.size_bytes.to_le_bytes();
        let [o0, o1, o2, o3] = self.next_offset.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        [t0, t1, t2, t3, self.kind, i0, i1, i2, i3, s0, s1, s2, s3, o0, o1, o2, o3, f0, f1]
    }
}

/// An event by type. Borrows from the event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBody<'a> {
    /// The first event of a file: how the others are laid out.
    FormatDescription(FormatContext),
    /// The stream goes on in another file, or (artificial) is about to send one from `offset`.
    Rotate {
        /// Offset in bytes.
        offset: u64,
        /// File name.
        file: &'a str,
    },
    /// A transaction with a GTID begins.
    Gtid(GtidEvent),
    /// A transaction without a GTID begins.
    AnonymousGtid,
    /// All transactions of the files before this one.
    PreviousGtids(GtidSet),
    /// A statement: BEGIN, COMMIT, DDL, XA, or DML in statement format.
    Query(Query<'a>),
    /// LOAD DATA in statement format; the file came before.
    LoadQuery(Query<'a>),
    /// Which table a table id stands for in the row events behind it.
    TableMap(TableMapEvent<'a>),
    /// Row images.
    Rows(RowsEvent<'a>),
    /// The transaction is committed.
    Xid(u64),
    /// An XA transaction is prepared, or committed in one phase.
    XaPrepare {
        /// Which.
        xid: Xid,
        /// True: XA COMMIT … ONE PHASE, decided already.
        one_phase: bool,
    },
    /// Nothing happened for a while.
    Heartbeat {
        /// The file that the stream is in.
        file: &'a [u8],
        /// Where in it; `None` in the older form, where the header's 32-bit `next_offset` says it.
        offset: Option<u64>,
    },
    /// The source lost events.
    Incident {
        /// 1 for LOST_EVENTS.
        code: u16,
        /// The server's words.
        message: &'a [u8],
    },
    /// The statement behind the row events that follow.
    RowsQuery(&'a [u8]),
    /// The server shut down in good order.
    Stop,
    /// Belongs to a statement that changes rows and is logged as a statement: cannot be replicated.
    StatementFormat(u8),
    /// A known type that says nothing to a reader of rows.
    Other(u8),
    /// A type that this version does not know: to be passed over only if [`EventHeader::is_ignorable`].
    Unknown(u8),
}

/// Parses the data of one event of type `kind`, checksum taken off.
pub fn parse<'a>(kind: u8, data: &'a [u8], context: &FormatContext) -> Result<EventBody<'a>, DecodeError> {
    let malformed = |what| DecodeError::malformed(kind, what);
    let mut cursor = Cursor::new(data);
    Ok(match kind {
        kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
        | kind::WRITE_ROWS..=kind::DELETE_ROWS
        | kind::PARTIAL_UPDATE_ROWS => EventBody::Rows(RowsEvent::parse(kind, data, context)?),
        kind::TABLE_MAP => EventBody::TableMap(TableMapEvent::parse(data, context)?),
        kind::GTID => EventBody::Gtid(gtid::parse_plain(data)?),
        kind::GTID_TAGGED => EventBody::Gtid(gtid::parse_tagged(data)?),
        kind::QUERY => EventBody::Query(query::parse_query(kind, data, context)?),
        kind::EXECUTE_LOAD_QUERY => EventBody::LoadQuery(query::parse_query(kind, data, context)?),
        kind::XID => EventBody::Xid(cursor.u64().ok_or(malformed("transaction number"))?),
        kind::ANONYMOUS_GTID => EventBody::AnonymousGtid,
        kind::HEARTBEAT => EventBody::Heartbeat { file: data, offset: None },
        kind::HEARTBEAT_V2 => parse_heartbeat(&mut cursor).ok_or(malformed("heartbeat fields"))?,
        kind::ROTATE => {
            let offset = cursor.u64().ok_or(malformed("offset"))?;
            let file = std::str::from_utf8(cursor.rest()).map_err(|_| malformed("file name"))?;
            EventBody::Rotate { offset, file }
        }
        kind::FORMAT_DESCRIPTION => {
            EventBody::FormatDescription(parse_format(&mut cursor).map_err(malformed)?)
        }
        kind::PREVIOUS_GTIDS => EventBody::PreviousGtids(gtid::parse_previous(data)?),
        kind::XA_PREPARE => {
            let (xid, one_phase) = query::parse_xa_prepare(&mut cursor).ok_or(malformed("xid"))?;
            EventBody::XaPrepare { xid, one_phase }
        }
        kind::INCIDENT => {
            let code = cursor.u16().ok_or(malformed("incident number"))?;
            EventBody::Incident { code, message: cursor.rest().get(1..).unwrap_or_default() }
        }
        // The length byte in front is that of a shorter text than fits: MySQL itself ignores it.
        kind::ROWS_QUERY => EventBody::RowsQuery(data.get(1..).ok_or(malformed("statement"))?),
        kind::STOP => EventBody::Stop,
        // 6 to 12 are the pieces of LOAD DATA in statement format, by age of the server.
        kind::INTVAR | 6 | 8..=12 | kind::RAND | kind::USER_VAR | kind::BEGIN_LOAD_QUERY => {
            EventBody::StatementFormat(kind)
        }
        // The events in a payload follow it.
        kind::IGNORABLE | kind::TRANSACTION_CONTEXT | kind::VIEW_CHANGE | kind::TRANSACTION_PAYLOAD => {
            EventBody::Other(kind)
        }
        _ => EventBody::Unknown(kind),
    })
}

/// FORMAT_DESCRIPTION: binlog version, server version in 50 bytes, creation time, header length, then one byte a type.
/// The byte behind them, that names the checksum algorithm, has been taken off.
fn parse_format(cursor: &mut Cursor<'_>) -> Result<FormatContext, &'static str> {
    if cursor.u16() != Some(4) {
        return Err("binlog version other than 4");
    }
    let version = cursor.take(50).ok_or("server version")?;
    let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
    cursor.u32().ok_or("creation time")?;
    if cursor.u8() != Some(19) {
        return Err("header length other than 19");
    }
    Ok(FormatContext {
        server_version: String::from_utf8_lossy(version).into_owned(),
        post_header_lengths: cursor.rest().to_vec(),
    })
}

/// HEARTBEAT_LOG_EVENT_V2: fields of type, length and value, ended by type 0.
fn parse_heartbeat<'a>(cursor: &mut Cursor<'a>) -> Option<EventBody<'a>> {
    let (mut file, mut offset) = (&[][..], None);
    while !cursor.is_empty() {
        match cursor.length_encoded()? {
            0 => break,
            field => {
                let value = cursor.length_encoded_bytes()?;
                match field {
                    1 => file = value,
                    2 => offset = Some(Cursor::new(value).length_encoded()?),
                    _ => {}
                }
            }
        }
    }
    Some(EventBody::Heartbeat { file, offset })
}
