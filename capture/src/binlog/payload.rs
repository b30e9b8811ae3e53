//! Compressed transactions (`binlog_transaction_compression=ON`): their header, and the proof that what came out is all of it.
//! `unfold` takes the events out. Invariant: a payload whose events do not add up to the declared size is an error, for what
//! is missing looks like a smaller transaction otherwise.

use super::cursor::Cursor;
use super::event::{DecodeError, EventHeader, kind};

/// Compression types of MySQL's `compression/base.h`.
const ZSTD: u64 = 0;
const UNCOMPRESSED: u64 = 255;

/// What the header of a TRANSACTION_PAYLOAD event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PayloadHeader {
    /// Where in the event's data the events are, folded or not.
    pub begin: usize,
    /// Where they end.
    pub end: usize,
    /// They are compressed with zstd.
    pub compressed: bool,
    /// Begins the count of the events.
    pub check: PayloadCheck,
}

/// Parses the data of a TRANSACTION_PAYLOAD event: fields of type, length and value, ended by type 0, then the payload.
pub(super) fn parse_payload(data: &[u8]) -> Result<PayloadHeader, DecodeError> {
    let mut cursor = Cursor::new(data);
    let (mut size, mut compression, mut uncompressed_size) = (None, None, None);
    let malformed = |what| DecodeError::malformed(kind::TRANSACTION_PAYLOAD, what);
    loop {
        let field = cursor.length_encoded().ok_or(malformed("field type"))?;
        if field == 0 {
            break;
        }
        let value = cursor.length_encoded_bytes().ok_or(malformed("field"))?;
        let number = || Cursor::new(value).length_encoded().ok_or(malformed("field value"));
        match field {
            1 => size = Some(number()?),
            2 => compression = Some(number()?),
            3 => uncompressed_size = Some(number()?),
            _ => {}
        }
    }
    let begin = data.len() - cursor.rest().len();
    let payload = size.and_then(|size| cursor.take(usize::try_from(size).ok()?)).ok_or(malformed("size"))?;
    let payload_size = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let (compressed, expected) = match compression {
        Some(UNCOMPRESSED) => (false, payload_size),
        Some(ZSTD) => (true, uncompressed_size.ok_or(malformed("uncompressed size"))?),
        _ => return Err(malformed("compression algorithm")),
    };
    Ok(PayloadHeader {
        begin,
        end: begin + payload.len(),
        compressed,
        check: PayloadCheck { expected, actual: 0 },
    })
}

/// Counts the events of one payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PayloadCheck {
    expected: u64,
    actual: u64,
}

impl PayloadCheck {
    /// Bytes that all events of the payload take.
    pub(super) const fn expected(&self) -> u64 {
        self.expected
    }

    /// True while more events of this payload must follow.
    #[must_use]
    pub(super) const fn is_open(&self) -> bool {
        self.actual < self.expected
    }

    /// Counts an event of the payload.
    ///
    /// # Errors
    /// [`DecodeError::PayloadSize`] if it is larger than what is left: it belongs to something else.
    pub(super) fn count(&mut self, header: &EventHeader) -> Result<(), DecodeError> {
        self.actual += u64::from(header.size_bytes);
        if self.actual > self.expected || !inside(header) { Err(self.error()) } else { Ok(()) }
    }

    /// What came out is not what was declared.
    pub(super) const fn error(&self) -> DecodeError {
        DecodeError::PayloadSize { expected: self.expected, actual: self.actual }
    }
}

/// What may be inside a payload: events of a transaction, at no position of their own.
fn inside(header: &EventHeader) -> bool {
    usize::try_from(header.size_bytes).is_ok_and(|bytes| bytes >= EventHeader::SIZE_BYTES)
        && header.next_offset == 0
        && !header.is_artificial()
        && !matches!(
            header.kind,
            0 | kind::ROTATE
                | kind::FORMAT_DESCRIPTION
                | kind::HEARTBEAT
                | kind::HEARTBEAT_V2
                | kind::TRANSACTION_PAYLOAD
                | kind::GTID
                | kind::GTID_TAGGED
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, size_bytes: u32, next_offset: u32) -> EventHeader {
        EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes, next_offset, flags: 0 }
    }

    #[test]
    fn fields_in_any_order_and_unknown_ones() {
        let data = [2, 1, 0, 9, 2, 7, 7, 3, 3, 0xfc, 0x2c, 1, 1, 1, 3, 0, 8, 8, 8];
        let header = |begin, end, compressed, expected| {
            Ok(PayloadHeader { begin, end, compressed, check: PayloadCheck { expected, actual: 0 } })
        };
        assert_eq!(parse_payload(&data), header(16, 19, true, 300));
        let uncompressed = [1, 1, 2, 2, 3, 0xfc, 255, 0, 0, 8, 8];
        assert_eq!(parse_payload(&uncompressed), header(9, 11, false, 2));
        assert!(parse_payload(&[1, 1, 2, 2, 1, 7, 0, 8, 8]).is_err(), "an unknown compression");
        for end in 0..data.len() {
            assert!(parse_payload(&data[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn events_must_add_up() {
        let payload = PayloadCheck { expected: 100, actual: 0 };
        let mut check = payload;
        check.count(&header(kind::QUERY, 60, 0)).unwrap();
        assert!(check.is_open());
        check.count(&header(kind::XID, 40, 0)).unwrap();
        assert!(!check.is_open());
        assert!(check.count(&header(kind::XID, 40, 0)).is_err());
        // What can never be in a payload.
        assert!({ payload }.count(&header(kind::GTID, 80, 0)).is_err());
        assert!({ payload }.count(&header(kind::XID, 31, 4711)).is_err());
        // Zeros.
        assert!({ payload }.count(&header(0, 0, 0)).is_err());
    }
}
