//! The joint to mysql_async. Enters: an `Event` of its stream. Leaves: header and data, whose CRC32 has been compared.
//! Invariant: no byte of a damaged event goes further.

use super::event::{DecodeError, EventHeader, FLAG_IN_USE, kind};
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::{BinlogEventHeader, Event};

impl From<BinlogEventHeader> for EventHeader {
    fn from(header: BinlogEventHeader) -> Self {
        Self {
            timestamp_seconds: header.timestamp(),
            kind: header.event_type_raw(),
            server_id: header.server_id(),
            size_bytes: header.event_size(),
            next_offset: header.log_pos(),
            flags: header.flags_raw(),
        }
    }
}

/// Takes an event of the stream: header and data. `inside_payload` says that it came out of a compressed transaction
/// (`PayloadCheck::is_open`): such events carry no checksum of their own.
///
/// # Errors
/// [`DecodeError::Checksum`] and [`DecodeError::UnknownChecksum`].
pub fn accept(event: &Event, inside_payload: bool) -> Result<(EventHeader, &[u8]), DecodeError> {
    let header = EventHeader::from(event.header());
    let data = event.data();
    if inside_payload {
        return Ok((header, data));
    }
    match (event.footer().get_checksum_alg(), event.checksum()) {
        (Err(unknown), _) => Err(DecodeError::UnknownChecksum(unknown.0)),
        (Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)), Some(checksum)) => {
            verify_checksum(&header, data, u32::from_le_bytes(checksum))?;
            Ok((header, data))
        }
        _ => Ok((header, without_unknown_checksum(&header, data))),
    }
}

/// Compares the checksum of an event of a file with CRC32. `data` is what mysql_async gives: without the checksum
/// and, for a FORMAT_DESCRIPTION event, without the byte before it that names the algorithm.
///
/// # Errors
/// [`DecodeError::Checksum`].
pub fn verify_checksum(header: &EventHeader, data: &[u8], expected: u32) -> Result<(), DecodeError> {
    let computed = checksum(header, data);
    if computed == expected {
        return Ok(());
    }
    Err(DecodeError::Checksum { kind: header.kind, next_offset: header.next_offset, expected, computed })
}

/// CRC32 over header and data, as the server computes it: a FORMAT_DESCRIPTION event is written with the flag that
/// says the file is in use, and its checksum is that of the event without it.
fn checksum(header: &EventHeader, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if header.kind == kind::FORMAT_DESCRIPTION {
        hasher.update(&EventHeader { flags: header.flags & !FLAG_IN_USE, ..*header }.to_bytes());
        hasher.update(data);
        hasher.update(&[BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32 as u8]);
    } else {
        hasher.update(&header.to_bytes());
        hasher.update(data);
    }
    hasher.finalize()
}

/// Before the first FORMAT_DESCRIPTION event mysql_async does not know that there are checksums. Only an artificial
/// ROTATE comes that early; a CRC32 that fits is taken off it.
fn without_unknown_checksum<'a>(header: &EventHeader, data: &'a [u8]) -> &'a [u8] {
    match data.split_last_chunk::<4>() {
        Some((rest, last))
            if header.kind == kind::ROTATE
                && header.is_artificial()
                && checksum(header, rest) == u32::from_le_bytes(*last) =>
        {
            rest
        }
        _ => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, flags: u16) -> EventHeader {
        EventHeader { timestamp_seconds: 5, kind, server_id: 1, size_bytes: 31, next_offset: 700, flags }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let header = header(kind::XID, 0);
        let good = crc32fast::hash(&[&header.to_bytes()[..], &[1; 8]].concat());
        verify_checksum(&header, &[1; 8], good).unwrap();
        let damaged = verify_checksum(&header, &[1, 1, 1, 1, 1, 1, 1, 3], good).unwrap_err();
        assert!(
            matches!(damaged, DecodeError::Checksum { kind: kind::XID, next_offset: 700, .. }),
            "{damaged}"
        );
        let moved = EventHeader { next_offset: 701, ..header };
        assert!(verify_checksum(&moved, &[1; 8], good).is_err());
    }

    #[test]
    fn a_format_description_counts_as_closed() {
        let closed = header(kind::FORMAT_DESCRIPTION, 0);
        let good = crc32fast::hash(&[&closed.to_bytes()[..], &[9; 4], &[1]].concat());
        verify_checksum(&header(kind::FORMAT_DESCRIPTION, FLAG_IN_USE), &[9; 4], good).unwrap();
    }

    #[test]
    fn the_first_rotate_loses_its_checksum_if_it_has_one() {
        let header = header(kind::ROTATE, 0x20);
        let data = b"\x04\0\0\0\0\0\0\0binlog.000001";
        let sum = checksum(&header, data);
        let with = [&data[..], &sum.to_le_bytes()].concat();
        assert_eq!(without_unknown_checksum(&header, &with), data);
        assert_eq!(without_unknown_checksum(&header, data), data);
    }
}
