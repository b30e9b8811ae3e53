//! GTID events: the plain form (fixed offsets), the tagged form of MySQL 8.3 (its serialization library: numbered
//! fields with variable-length integers), and the set of PREVIOUS_GTIDS.

use super::cursor::Cursor;
use super::format::{DecodeError, kind};
use std::fmt::Write as _;
use tributary_schemas::gtid::{Gtid, GtidSet, GtidSource};

/// What begins a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GtidEvent {
    /// The transaction.
    pub gtid: Gtid,
    /// When it was committed on the server that the stream comes from, in microseconds since 1970-01-01 UTC.
    pub immediate_commit_micros: Option<u64>,
    /// When it was committed on the server that ran it first.
    pub original_commit_micros: Option<u64>,
    /// Size in bytes of the whole transaction in the binlog, this event included; in a binlog file that holds it
    /// compressed, its compressed size.
    pub transaction_bytes: Option<u64>,
}

/// Set in the immediate timestamp if the original one, being different, follows.
const ORIGINAL_FOLLOWS: u64 = 1 << 55;

/// GTID_LOG_EVENT: flags, uuid, number, then what newer servers append.
pub(super) fn parse_plain(data: &[u8]) -> Result<GtidEvent, DecodeError> {
    let malformed = |what| DecodeError::malformed(kind::GTID, what);
    let mut cursor = Cursor::new(data);
    let (uuid, number) = (|| {
        cursor.u8()?;
        Some((cursor.array::<16>()?, cursor.u64()?))
    })()
    .ok_or(malformed("uuid and number"))?;
    let mut event = GtidEvent {
        gtid: gtid(&uuid, String::new(), number).ok_or(malformed("number"))?,
        immediate_commit_micros: None,
        original_commit_micros: None,
        transaction_bytes: None,
    };
    // 2 is the only kind of logical timestamps; servers before 5.7.5 write others, or nothing.
    if cursor.u8() == Some(2)
        && cursor.take(16).is_some()
        && let Some(immediate) = cursor.uint(7)
    {
        let original = if immediate & ORIGINAL_FOLLOWS == 0 { Some(immediate) } else { cursor.uint(7) };
        event.immediate_commit_micros = Some(immediate & !ORIGINAL_FOLLOWS);
        event.original_commit_micros = Some(original.ok_or(malformed("original commit time"))?);
        event.transaction_bytes = cursor.length_encoded();
    }
    Ok(event)
}

/// GTID_TAGGED_LOG_EVENT: version, size, number of the last field that must be understood, then fields in order.
pub(super) fn parse_tagged(data: &[u8]) -> Result<GtidEvent, DecodeError> {
    let malformed = |what| DecodeError::malformed(kind::GTID_TAGGED, what);
    let mut cursor = Cursor::new(data);
    if variable_uint(&mut cursor) != Some(1) {
        return Err(malformed("serialization version other than 1"));
    }
    // The size counts from the version on; the fields are bounded by the event as well.
    variable_uint(&mut cursor).ok_or(malformed("size"))?;
    let must_know = variable_uint(&mut cursor).ok_or(malformed("last field that must be known"))?;
    let (mut uuid, mut tag, mut number) = (None, None, None);
    let (mut immediate, mut original, mut bytes) = (None, None, None);
    while !cursor.is_empty() {
        let field = variable_uint(&mut cursor).ok_or(malformed("field number"))?;
        let read = match field {
            0 | 9..=11 => variable_uint(&mut cursor).map(drop),
            1 => variable_uuid(&mut cursor).map(|value| uuid = Some(value)),
            2 => variable_int(&mut cursor).map(|value| number = u64::try_from(value).ok()),
            3 => variable_text(&mut cursor).map(|value| tag = Some(value)),
            4 | 5 => variable_int(&mut cursor).map(drop),
            6 => variable_uint(&mut cursor).map(|value| immediate = Some(value)),
            7 => variable_uint(&mut cursor).map(|value| original = Some(value)),
            8 => variable_uint(&mut cursor).map(|value| bytes = Some(value)),
            _ if field <= must_know => return Err(malformed("field that this version does not know")),
            // Its length is unknown, and so is where the next one begins; none behind it is needed.
            _ => break,
        };
        read.ok_or(malformed("field"))?;
    }
    let uuid = uuid.ok_or(malformed("uuid"))?;
    let number = number.ok_or(malformed("number"))?;
    Ok(GtidEvent {
        gtid: gtid(&uuid, tag.unwrap_or_default(), number).ok_or(malformed("number"))?,
        immediate_commit_micros: immediate,
        original_commit_micros: original.or(immediate),
        transaction_bytes: bytes,
    })
}

/// PREVIOUS_GTIDS: number of sources, then each with its intervals, whose ends are exclusive. With tags the first and
/// last byte of the number are 1 and each source has a tag.
pub(super) fn parse_previous(data: &[u8]) -> Result<GtidSet, DecodeError> {
    let mut cursor = Cursor::new(data);
    let text = previous_text(&mut cursor).ok_or(DecodeError::malformed(kind::PREVIOUS_GTIDS, "intervals"))?;
    text.parse().map_err(|_| DecodeError::malformed(kind::PREVIOUS_GTIDS, "set"))
}

/// The set as text, which [`GtidSet`] parses.
fn previous_text(cursor: &mut Cursor<'_>) -> Option<String> {
    let head = cursor.u64()?;
    let tagged = head >> 56 == 1;
    let sources = if tagged { (head >> 8) & 0xffff_ffff_ffff } else { head };
    let mut text = String::new();
    for _ in 0..sources {
        let source = source(&cursor.array()?, if tagged { variable_text(cursor)? } else { String::new() });
        let intervals = cursor.u64()?;
        for index in 0..intervals {
            let (first, end) = (cursor.u64()?, cursor.u64()?);
            if index == 0 {
                write!(text, ",{source}").ok()?;
            }
            write!(text, ":{first}-{}", end.checked_sub(1)?).ok()?;
        }
    }
    Some(text)
}

/// A GTID, unless the number is none that a server gives.
fn gtid(uuid: &[u8; 16], tag: String, number: u64) -> Option<Gtid> {
    (1..=i64::MAX.cast_unsigned()).contains(&number).then(|| Gtid { source: source(uuid, tag), number })
}

/// The UUID in lower case with dashes, and the tag.
fn source(uuid: &[u8; 16], tag: String) -> GtidSource {
    GtidSource { uuid: uuid::Uuid::from_bytes(*uuid).to_string(), tag }
}

/// An unsigned integer of MySQL's serialization library: as many one bits as bytes follow the first, a zero bit, then
/// the value, all little-endian.
fn variable_uint(cursor: &mut Cursor<'_>) -> Option<u64> {
    let first = *cursor.rest().first()?;
    let width = first.trailing_ones() + 1;
    if width == 9 {
        cursor.u8()?;
        return cursor.u64();
    }
    Some(cursor.uint(usize::try_from(width).ok()?)? >> width)
}

/// The signed form: the sign in the lowest bit, negative numbers complemented.
fn variable_int(cursor: &mut Cursor<'_>) -> Option<i64> {
    let value = variable_uint(cursor)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Sixteen integers, one a byte.
fn variable_uuid(cursor: &mut Cursor<'_>) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = u8::try_from(variable_uint(cursor)?).ok()?;
    }
    Some(uuid)
}

/// A tag: its length, then up to 32 letters, digits and underscores.
fn variable_text(cursor: &mut Cursor<'_>) -> Option<String> {
    let length = usize::try_from(variable_uint(cursor)?).ok().filter(|length| *length <= 32)?;
    let text = std::str::from_utf8(cursor.take(length)?).ok()?;
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn uuid_bytes() -> [u8; 16] {
        *uuid::Uuid::parse_str(UUID).unwrap().as_bytes()
    }

    /// The encoder, written from the description of the format.
    fn put_uint(out: &mut Vec<u8>, value: u64) {
        let bits = 64 - value.leading_zeros();
        let width = bits.div_ceil(7).max(1);
        if width >= 9 {
            out.push(0xff);
            out.extend(value.to_le_bytes());
        } else {
            let encoded = (value << width) | ((1 << (width - 1)) - 1);
            out.extend(&encoded.to_le_bytes()[..width as usize]);
        }
    }

    #[test]
    fn variable_integers_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 49, (1 << 56) - 1, 1 << 56, u64::MAX] {
            let mut bytes = Vec::new();
            put_uint(&mut bytes, value);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(variable_uint(&mut cursor), Some(value));
            assert!(cursor.is_empty());
        }
        assert_eq!(variable_int(&mut Cursor::new(&[0b0000_0110])), Some(-2));
    }

    #[test]
    fn a_plain_event_and_its_older_forms() {
        let mut data = vec![1];
        data.extend(uuid_bytes());
        data.extend(23_u64.to_le_bytes());
        let old = parse_plain(&data).unwrap();
        assert_eq!(old.gtid.to_string(), format!("{UUID}:23"));
        assert_eq!(old.transaction_bytes, None);
        data.push(2);
        data.extend([0; 16]);
        data.extend(&(1_700_000_000_000_001_u64 | ORIGINAL_FOLLOWS).to_le_bytes()[..7]);
        assert!(parse_plain(&data).is_err());
        data.extend(&1_700_000_000_000_000_u64.to_le_bytes()[..7]);
        data.extend([0xfc, 0x00, 0x01]);
        let new = parse_plain(&data).unwrap();
        assert_eq!(new.immediate_commit_micros, Some(1_700_000_000_000_001));
        assert_eq!(new.original_commit_micros, Some(1_700_000_000_000_000));
        assert_eq!(new.transaction_bytes, Some(256));
        assert!(parse_plain(&data[..20]).is_err());
    }

    #[test]
    fn a_tagged_event() {
        let mut fields = Vec::new();
        for (field, value) in [(0, 1), (2, 77 << 1), (6, 1_700_000_000_000_001), (8, 300), (9, 90_700)] {
            put_uint(&mut fields, field);
            put_uint(&mut fields, value);
            if field == 0 {
                put_uint(&mut fields, 1);
                uuid_bytes().iter().for_each(|byte| put_uint(&mut fields, u64::from(*byte)));
            }
            if field == 2 {
                fields.extend([3 << 1, 4 << 1]);
                fields.extend(b"Blue");
            }
        }
        let data = [&[1 << 1, 100 << 1, 9 << 1][..], &fields].concat();
        let event = parse_tagged(&data).unwrap();
        assert_eq!(event.gtid.to_string(), format!("{UUID}:blue:77"));
        assert_eq!(event.original_commit_micros, Some(1_700_000_000_000_001));
        assert_eq!(event.transaction_bytes, Some(300));
        let unknown = [&data[..], &[20 << 1, 0]].concat();
        assert!(parse_tagged(&unknown).is_ok());
        let needed = [&[1 << 1, 100 << 1, 20 << 1][..], &fields, &[20 << 1, 0]].concat();
        assert!(parse_tagged(&needed).is_err());
    }

    #[test]
    fn previous_gtids_with_and_without_tags() {
        let interval = |data: &mut Vec<u8>, first: u64, end: u64| {
            data.extend(first.to_le_bytes());
            data.extend(end.to_le_bytes());
        };
        let mut plain = 1_u64.to_le_bytes().to_vec();
        plain.extend(uuid_bytes());
        plain.extend(2_u64.to_le_bytes());
        interval(&mut plain, 1, 6);
        interval(&mut plain, 8, 9);
        assert_eq!(parse_previous(&plain).unwrap().to_string(), format!("{UUID}:1-5:8"));
        assert!(parse_previous(&plain[..50]).is_err());
        let mut tagged = vec![1, 1, 0, 0, 0, 0, 0, 1];
        tagged.extend(uuid_bytes());
        tagged.extend([3 << 1, b'r', b'e', b'd']);
        tagged.extend(1_u64.to_le_bytes());
        interval(&mut tagged, 4, 5);
        assert_eq!(parse_previous(&tagged).unwrap().to_string(), format!("{UUID}:red:4"));
        assert!(parse_previous(&[0; 8]).unwrap().is_empty());
    }
}
