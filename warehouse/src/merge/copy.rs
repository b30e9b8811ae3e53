//! PostgreSQL's binary COPY format (its manual, "COPY", "Binary Format"): what enters is plain values, what leaves
//! is bytes at the end of a buffer. Every `put_*` for a field writes the field's length too.

use super::numeric::DoesNotFit;

/// Microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// MySQL's first and last date, 0000-01-01 and 9999-12-31, in days since 1970-01-01.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;
const DAY_MICROS: i64 = 86_400_000_000;
/// One microsecond past MySQL's longest TIME, 838:59:59.999999.
const TIME_END_MICROS: i64 = 3_020_400_000_000;

/// Begins a COPY: signature, no flags, no extension.
pub fn put_header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
}

/// Ends a COPY.
pub fn put_trailer(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff, 0xff]);
}

/// Begins a row of `fields` fields.
#[inline]
pub fn put_tuple(out: &mut Vec<u8>, fields: u16) {
    out.extend_from_slice(&fields.to_be_bytes());
}

#[inline]
pub fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff; 4]);
}

/// `boolean`.
#[inline]
pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(&[0, 0, 0, 1, u8::from(value)]);
}

/// `smallint`.
#[inline]
pub(crate) fn put_i16(out: &mut Vec<u8>, value: i16) {
    let [a, b] = value.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 2, a, b]);
}

/// `integer`, and `date` as days since 2000-01-01.
#[inline]
pub(crate) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_four(out, value.to_be_bytes());
}

/// `bigint`, and timestamps and `time` as microseconds.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_eight(out, value.to_be_bytes());
}

/// `real`.
#[inline]
pub fn put_f32(out: &mut Vec<u8>, value: f32) {
    put_four(out, value.to_be_bytes());
}

/// `double precision`.
#[inline]
pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    put_eight(out, value.to_be_bytes());
}

#[inline]
fn put_four(out: &mut Vec<u8>, [a, b, c, d]: [u8; 4]) {
    out.extend_from_slice(&[0, 0, 0, 4, a, b, c, d]);
}

#[inline]
fn put_eight(out: &mut Vec<u8>, [a, b, c, d, e, f, g, h]: [u8; 8]) {
    out.extend_from_slice(&[0, 0, 0, 8, a, b, c, d, e, f, g, h]);
}

/// `text`, `varchar`, `json`, `bytea`: the bytes as they are.
///
/// # Errors
/// [`DoesNotFit`] from 1 GiB on, which PostgreSQL cannot hold in a field.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DoesNotFit> {
    out.extend_from_slice(&field_length(bytes.len())?.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// `jsonb`: version 1 of its format, then the text.
///
/// # Errors
/// [`DoesNotFit`] as in [`put_bytes`].
#[inline]
pub(crate) fn put_jsonb(out: &mut Vec<u8>, text: &[u8]) -> Result<(), DoesNotFit> {
    let [a, b, c, d] = field_length(text.len() + 1)?.to_be_bytes();
    out.extend_from_slice(&[a, b, c, d, 1]);
    out.extend_from_slice(text);
    Ok(())
}

/// The length of a field that PostgreSQL can hold.
///
/// # Errors
/// [`DoesNotFit`] from 1 GiB on.
fn field_length(length: usize) -> Result<u32, DoesNotFit> {
    u32::try_from(length).ok().filter(|length| *length < 1 << 30).ok_or(DoesNotFit)
}

/// `bit(width)` and `bit varying`: MySQL's big-endian bytes hold the bits right-aligned, PostgreSQL wants them
/// left-aligned behind their number.
///
/// # Errors
/// [`DoesNotFit`] if the value has more than `width` bits.
pub fn put_bits(out: &mut Vec<u8>, bytes: &[u8], width: u8) -> Result<(), DoesNotFit> {
    let value = bits_of(bytes)?;
    let unused = 64_u32.checked_sub(u32::from(width)).ok_or(DoesNotFit)?;
    if width == 0 || value.leading_zeros() < unused {
        return Err(DoesNotFit);
    }
    let length = width.div_ceil(8);
    out.extend_from_slice(&(4 + u32::from(length)).to_be_bytes());
    out.extend_from_slice(&u32::from(width).to_be_bytes());
    let aligned = (value << unused).to_be_bytes();
    out.extend_from_slice(aligned.get(..usize::from(length)).unwrap_or_default());
    Ok(())
}

/// The number that MySQL's BIT bytes stand for.
///
/// # Errors
/// [`DoesNotFit`] past 64 bits.
pub fn bits_of(bytes: &[u8]) -> Result<u64, DoesNotFit> {
    if bytes.len() > 8 {
        return Err(DoesNotFit);
    }
    Ok(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

/// `date` from days since 1970-01-01.
///
/// # Errors
/// [`DoesNotFit`] outside of the years 0 to 9999.
#[inline]
pub fn put_date(out: &mut Vec<u8>, days: i64) -> Result<(), DoesNotFit> {
    let days = Some(days).filter(|days| DAYS.contains(days)).ok_or(DoesNotFit)?;
    put_i32(out, i32::try_from(days - EPOCH_DAYS).map_err(|_| DoesNotFit)?);
    Ok(())
}

/// `timestamp` and `timestamptz` from microseconds since 1970-01-01.
///
/// # Errors
/// [`DoesNotFit`] outside of the years 0 to 9999.
#[inline]
pub fn put_timestamp(out: &mut Vec<u8>, micros: i64) -> Result<(), DoesNotFit> {
    if !(*DAYS.start() * DAY_MICROS..(*DAYS.end() + 1) * DAY_MICROS).contains(&micros) {
        return Err(DoesNotFit);
    }
    put_i64(out, micros - EPOCH_MICROS);
    Ok(())
}

/// `timestamp` at midnight from days since 1970-01-01.
///
/// # Errors
/// [`DoesNotFit`] outside of the years 0 to 9999.
pub(crate) fn put_midnight(out: &mut Vec<u8>, days: i64) -> Result<(), DoesNotFit> {
    put_timestamp(out, days.checked_mul(DAY_MICROS).ok_or(DoesNotFit)?)
}

/// `interval` from microseconds; days and months stay 0, so that equal durations are equal bytes.
///
/// # Errors
/// [`DoesNotFit`] outside of MySQL's ±838:59:59.999999.
pub fn put_interval(out: &mut Vec<u8>, micros: i64) -> Result<(), DoesNotFit> {
    if micros.unsigned_abs() >= TIME_END_MICROS.unsigned_abs() {
        return Err(DoesNotFit);
    }
    out.extend_from_slice(&16_u32.to_be_bytes());
    out.extend_from_slice(&micros.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    Ok(())
}

/// `time` from microseconds.
///
/// # Errors
/// [`DoesNotFit`] outside of one day: MySQL's TIME is a duration.
pub(crate) fn put_time(out: &mut Vec<u8>, micros: i64) -> Result<(), DoesNotFit> {
    if !(0..DAY_MICROS).contains(&micros) {
        return Err(DoesNotFit);
    }
    put_i64(out, micros);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_left_aligned() {
        let mut out = Vec::new();
        put_bits(&mut out, &[0b1, 0b0110_0001], 9).unwrap();
        assert_eq!(out, [0, 0, 0, 6, 0, 0, 0, 9, 0b1011_0000, 0b1000_0000]);
        out.clear();
        put_bits(&mut out, &[0xff; 8], 64).unwrap();
        assert_eq!(out.len(), 16);
        assert_eq!(put_bits(&mut out, &[2], 1), Err(DoesNotFit));
        assert_eq!(put_bits(&mut out, &[0; 9], 64), Err(DoesNotFit));
        assert_eq!(put_bits(&mut out, &[0], 0), Err(DoesNotFit));
    }

    #[test]
    fn dates_and_times_stay_in_mysqls_ranges() {
        let mut out = Vec::new();
        put_date(&mut out, 10_957).unwrap();
        assert_eq!(out, [0, 0, 0, 4, 0, 0, 0, 0]);
        for outside in [-719_529, 2_932_897, i64::MIN, i64::MAX] {
            assert_eq!(put_date(&mut out, outside), Err(DoesNotFit));
            assert_eq!(put_midnight(&mut out, outside), Err(DoesNotFit));
        }
        assert_eq!(put_timestamp(&mut out, 253_402_300_800_000_000), Err(DoesNotFit));
        put_timestamp(&mut out, 253_402_300_799_999_999).unwrap();
        assert_eq!(put_interval(&mut out, -TIME_END_MICROS), Err(DoesNotFit));
        assert_eq!(put_interval(&mut out, i64::MIN), Err(DoesNotFit));
        assert_eq!(put_time(&mut out, -1), Err(DoesNotFit));
        assert_eq!(put_time(&mut out, DAY_MICROS), Err(DoesNotFit));
    }
}
