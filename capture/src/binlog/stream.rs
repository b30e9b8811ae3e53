//! An event of the stream as the server sends it: header, data, checksum. Leaves: header and data, whose CRC32 has been compared.
//! Invariant: no byte of a damaged event goes further.

use super::event::{DecodeError, EventHeader, FLAG_IN_USE, kind};

/// Bytes of a CRC32.
const CHECKSUM_BYTES: usize = 4;
/// Algorithms of MySQL's `binary_log::enum_binlog_checksum_alg`.
const NONE: u8 = 0;
const CRC32: u8 = 1;

/// What is behind the data of each event, as the file's FORMAT_DESCRIPTION says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// No file was described yet.
    #[default]
    Unknown,
    /// Nothing.
    None,
    /// Four bytes.
    Crc32,
}

/// Takes the next event of the stream: header and data. `checksum` is what the events before said of this one, and becomes
/// what this one says of those behind it.
///
/// # Errors
/// [`DecodeError::Malformed`], [`DecodeError::Checksum`] and [`DecodeError::UnknownChecksum`].
pub fn accept<'a>(event: &'a [u8], checksum: &mut Checksum) -> Result<(EventHeader, &'a [u8]), DecodeError> {
    let (header, data) = EventHeader::split(event).ok_or(DecodeError::malformed(0, "header"))?;
    if usize::try_from(header.size_bytes).ok() != Some(event.len()) {
        return Err(DecodeError::malformed(header.kind, "size"));
    }
    if header.kind == kind::FORMAT_DESCRIPTION {
        let (rest, expected) = data
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(DecodeError::malformed(header.kind, "checksum"))?;
        let (algorithm, rest) =
            rest.split_last().ok_or(DecodeError::malformed(header.kind, "checksum algorithm"))?;
        *checksum = match *algorithm {
            NONE => Checksum::None,
            CRC32 => Checksum::Crc32,
            other => return Err(DecodeError::UnknownChecksum(other)),
        };
        if *checksum == Checksum::Crc32 {
            verify_checksum(&header, rest, u32::from_le_bytes(*expected))?;
        }
        return Ok((header, rest));
    }
    match *checksum {
        Checksum::Unknown => Ok((header, without_unknown_checksum(&header, data))),
        Checksum::None => Ok((header, data)),
        Checksum::Crc32 => {
            let (rest, expected) = data
                .split_last_chunk::<CHECKSUM_BYTES>()
                .ok_or(DecodeError::malformed(header.kind, "checksum"))?;
            verify_checksum(&header, rest, u32::from_le_bytes(*expected))?;
            Ok((header, rest))
        }
    }
}

/// CRC32 over any bytes and, behind them, their own CRC32.
const RESIDUE: u32 = 0x2144_df1c;

/// Of an event that was passed over: it had `bytes`, and `crc32` is over all of them.
///
/// # Errors
/// [`DecodeError::Malformed`] and [`DecodeError::Checksum`].
pub fn accept_unseen(
    header: &EventHeader,
    (bytes, crc32): (usize, u32),
    checksum: Checksum,
) -> Result<(), DecodeError> {
    if usize::try_from(header.size_bytes).ok() != Some(bytes) {
        return Err(DecodeError::malformed(header.kind, "size"));
    }
    if checksum == Checksum::Crc32 && crc32 != RESIDUE {
        let EventHeader { kind, next_offset, .. } = *header;
        return Err(DecodeError::Checksum { kind, next_offset, expected: RESIDUE, computed: crc32 });
    }
    Ok(())
}

/// Compares the checksum of an event of a file with CRC32. `data` is without the checksum and, for a FORMAT_DESCRIPTION
/// event, without the byte before it that names the algorithm.
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
        hasher.update(&[CRC32]);
    } else {
        hasher.update(&header.to_bytes());
        hasher.update(data);
    }
    hasher.finalize()
}

/// Before the first FORMAT_DESCRIPTION event nothing says whether there are checksums. Only an artificial ROTATE comes that
/// early; a CRC32 that fits is taken off it.
fn without_unknown_checksum<'a>(header: &EventHeader, data: &'a [u8]) -> &'a [u8] {
    match data.split_last_chunk::<CHECKSUM_BYTES>() {
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
