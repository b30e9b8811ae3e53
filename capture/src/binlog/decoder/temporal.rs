//! Dates and times (MySQL's manual, "Date and Time Data Type Representation"). A date that Avro cannot carry — zero,
//! partial, or of no calendar — gives its text instead of a number.

use super::Fault;
use crate::binlog::cursor::Cursor;
use std::io::Write as _;
use tributary_schemas::calendar;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
const DAY: i64 = 86_400 * SECOND;

/// A value that Avro carries, or the text of one that it does not.
pub(super) enum Moment {
    /// Days or microseconds since 1970-01-01.
    Value(i64),
    /// As MySQL prints it.
    Raw(String),
}

/// The parts of a date, as MySQL stores them: any of them may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: u32,
    month: u32,
    day: u32,
}

/// The parts of a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
}

impl Date {
    /// Days since 1970-01-01; `None` for what the calendar does not have.
    fn days(self) -> Option<i64> {
        let (year, month, day) = (u16::try_from(self.year), u8::try_from(self.month), u8::try_from(self.day));
        calendar::days(year.ok()?, month.ok()?, day.ok()?).map(i64::from)
    }

    fn text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Clock {
    const MIDNIGHT: Self = Self { hour: 0, minute: 0, second: 0, micros: 0 };

    fn is_valid(self) -> bool {
        self.hour < 24 && self.minute < 60 && self.second < 60 && self.micros < 1_000_000
    }

    fn micros(self) -> i64 {
        let seconds = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        seconds * SECOND + i64::from(self.micros)
    }

    fn text(self, fsp: u8) -> String {
        let mut text = format!("{:02}:{:02}:{:02}.{:06}", self.hour, self.minute, self.second, self.micros);
        text.truncate(if fsp == 0 { text.len() - 7 } else { text.len() - 6 + usize::from(fsp) });
        text
    }
}

/// The bits of `value` from `shift` on, `count` of them.
fn bits(value: u64, shift: u32, count: u32) -> u32 {
    u32::try_from(value >> shift & ((1 << count) - 1)).unwrap_or_default()
}

/// DATE: 15 bits of year, 4 of month, 5 of day, little-endian.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Result<Moment, Fault> {
    let value = cursor.uint(3).ok_or(Fault::Truncated)?;
    let date = Date { year: bits(value, 9, 15), month: bits(value, 5, 4), day: bits(value, 0, 5) };
    Ok(date.days().map_or_else(|| Moment::Raw(date.text()), Moment::Value))
}

/// Number of bytes that fractional seconds take.
pub(super) fn fraction_width(fsp: u8) -> u16 {
    u16::from(fsp.div_ceil(2))
}

/// An unsigned number of `width` bytes, big-endian.
fn big_endian(cursor: &mut Cursor<'_>, width: u16) -> Result<u64, Fault> {
    let bytes = cursor.take(usize::from(width)).ok_or(Fault::Truncated)?;
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// What a unit of fractional seconds of this width is in microseconds.
const fn fraction_unit(fsp: u8) -> u32 {
    match fsp {
        0..=2 => 10_000,
        3 | 4 => 100,
        _ => 1,
    }
}

/// Fractional seconds in microseconds.
fn fraction(cursor: &mut Cursor<'_>, fsp: u8) -> Result<u32, Fault> {
    if fsp == 0 {
        return Ok(0);
    }
    let value = u32::try_from(big_endian(cursor, fraction_width(fsp))?).map_err(|_| Fault::Invalid)?;
    value.checked_mul(fraction_unit(fsp)).filter(|micros| *micros < 1_000_000).ok_or(Fault::Invalid)
}

/// DATETIME(fsp): 17 bits of year * 13 + month, 5 of day, 5 of hour, 6 of minute, 6 of second, offset by 2^39; then the
/// fraction.
pub(super) fn date_time(cursor: &mut Cursor<'_>, fsp: u8) -> Result<Moment, Fault> {
    let value = big_endian(cursor, 5)?.checked_sub(1 << 39).ok_or(Fault::Invalid)?;
    let micros = fraction(cursor, fsp)?;
    let (date, clock) = unpack(value, micros);
    local_micros(date, clock, fsp)
}

fn unpack(value: u64, micros: u32) -> (Date, Clock) {
    let months = bits(value, 22, 17);
    let date = Date { year: months / 13, month: months % 13, day: bits(value, 17, 5) };
    (date, Clock { hour: bits(value, 12, 5), minute: bits(value, 6, 6), second: bits(value, 0, 6), micros })
}

fn local_micros(date: Date, clock: Clock, fsp: u8) -> Result<Moment, Fault> {
    if !clock.is_valid() {
        return Err(Fault::Invalid);
    }
    Ok(match date.days() {
        Some(days) => Moment::Value(days * DAY + clock.micros()),
        None => Moment::Raw(format!("{} {}", date.text(), clock.text(fsp))),
    })
}

/// TIMESTAMP(fsp): seconds since 1970-01-01 UTC, then the fraction. Zero seconds stand for the zero date.
pub(super) fn timestamp(cursor: &mut Cursor<'_>, fsp: u8) -> Result<Moment, Fault> {
    let seconds = big_endian(cursor, 4)?.cast_signed();
    let micros = fraction(cursor, fsp)?;
    Ok(moment_of(seconds, micros, fsp))
}

/// A TIMESTAMP of before MySQL 5.6.
pub(super) fn old_timestamp(cursor: &mut Cursor<'_>) -> Result<Moment, Fault> {
    let seconds = i64::from(cursor.u32().ok_or(Fault::Truncated)?);
    Ok(moment_of(seconds, 0, 0))
}

fn moment_of(seconds: i64, micros: u32, fsp: u8) -> Moment {
    if seconds == 0 {
        let date = Date { year: 0, month: 0, day: 0 };
        return Moment::Raw(format!("{} {}", date.text(), Clock { micros, ..Clock::MIDNIGHT }.text(fsp)));
    }
    Moment::Value(seconds * SECOND + i64::from(micros))
}

/// A DATETIME of before MySQL 5.6: a decimal number, YYYYMMDDhhmmss.
pub(super) fn old_date_time(cursor: &mut Cursor<'_>) -> Result<Moment, Fault> {
    let value = cursor.u64().ok_or(Fault::Truncated)?;
    let part = |divisor: u64, modulus: u64| u32::try_from(value / divisor % modulus).unwrap_or_default();
    if value > 99_991_231_235_959 {
        return Err(Fault::Invalid);
    }
    let date =
        Date { year: part(10_000_000_000, 10_000), month: part(100_000_000, 100), day: part(1_000_000, 100) };
    let clock = Clock { hour: part(10_000, 100), minute: part(100, 100), second: part(1, 100), micros: 0 };
    local_micros(date, clock, 0)
}

/// A TIME of before MySQL 5.6: a signed decimal number, hhhmmss. In microseconds.
pub(super) fn old_time(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let value = cursor.uint(3).ok_or(Fault::Truncated)?.cast_signed();
    let value = if value >= 1 << 23 { value - (1 << 24) } else { value };
    let (hour, minute, second) = (value.abs() / 10_000, value.abs() / 100 % 100, value.abs() % 100);
    if hour > 838 || minute > 59 || second > 59 {
        return Err(Fault::Invalid);
    }
    Ok(value.signum() * (hour * 3600 + minute * 60 + second) * SECOND)
}

/// A TIME: a signed duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::binlog) struct PackedTime {
    negative: bool,
    clock: Clock,
}

impl PackedTime {
    /// TIME(fsp): 10 bits of hours, 6 of minutes, 6 of seconds, then the fraction, all one number offset by half its
    /// range.
    pub(super) fn read(cursor: &mut Cursor<'_>, fsp: u8) -> Result<Self, Fault> {
        let fraction_bits = u32::from(fraction_width(fsp)) * 8;
        let value = big_endian(cursor, 3 + fraction_width(fsp))?.cast_signed() - (1 << (23 + fraction_bits));
        let magnitude = value.unsigned_abs();
        let micros = bits(magnitude, 0, fraction_bits) * fraction_unit(fsp);
        let time = Self::new(value < 0, magnitude >> fraction_bits, micros);
        Some(time).filter(Self::is_valid).ok_or(Fault::Invalid)
    }

    /// The form of MySQL's JSON: the same with 24 bits of microseconds, signed.
    pub(in crate::binlog) fn from_packed(packed: i64) -> Self {
        let magnitude = packed.unsigned_abs();
        Self::new(packed < 0, magnitude >> 24, bits(magnitude, 0, 24))
    }

    fn new(negative: bool, value: u64, micros: u32) -> Self {
        let clock =
            Clock { hour: bits(value, 12, 10), minute: bits(value, 6, 6), second: bits(value, 0, 6), micros };
        Self { negative, clock }
    }

    fn is_valid(&self) -> bool {
        self.clock.hour < 839 && Clock { hour: 0, ..self.clock }.is_valid()
    }

    /// Signed microseconds.
    pub(super) fn micros(self) -> i64 {
        if self.negative { -self.clock.micros() } else { self.clock.micros() }
    }

    /// Appends the text as it stands in JSON.
    pub(in crate::binlog) fn print(self, out: &mut Vec<u8>) -> Option<()> {
        self.is_valid().then_some(())?;
        write!(out, "{}{}", if self.negative { "-" } else { "" }, self.clock.text(6)).ok()
    }
}

/// Appends a date, or date and time, of MySQL's JSON: as DATETIME, with 24 bits of microseconds.
pub(in crate::binlog) fn print_packed_date_time(
    packed: i64,
    date_only: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let packed = u64::try_from(packed).ok()?;
    let (date, clock) = unpack(packed >> 24, bits(packed, 0, 24));
    if !clock.is_valid() {
        return None;
    }
    if date_only { write!(out, "{}", date.text()) } else { write!(out, "{} {}", date.text(), clock.text(6)) }
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(moment: Result<Moment, Fault>) -> i64 {
        match moment.unwrap() {
            Moment::Value(value) => value,
            Moment::Raw(text) => panic!("{text}"),
        }
    }

    fn raw(moment: Result<Moment, Fault>) -> String {
        match moment.unwrap() {
            Moment::Value(value) => panic!("{value}"),
            Moment::Raw(text) => text,
        }
    }

    fn packed_date_time(year: u64, month: u64, day: u64, clock: (u64, u64, u64), fraction: &[u8]) -> Vec<u8> {
        let (hour, minute, second) = clock;
        let value = (1 << 39) | (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second;
        [&value.to_be_bytes()[3..], fraction].concat()
    }

    #[test]
    fn dates() {
        let packed = |year: u32, month: u32, day: u32| (year << 9 | month << 5 | day).to_le_bytes();
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((9999, 12, 31), 2_932_896),
            ((1, 1, 1), -719_162),
        ] {
            let bytes = packed(date.0, date.1, date.2);
            assert_eq!(value(super::date(&mut Cursor::new(&bytes[..3]))), days, "{date:?}");
        }
        for (date, text) in [
            ((0, 0, 0), "0000-00-00"),
            ((2024, 0, 10), "2024-00-10"),
            ((2024, 2, 0), "2024-02-00"),
            ((2023, 2, 29), "2023-02-29"),
        ] {
            let bytes = packed(date.0, date.1, date.2);
            assert_eq!(raw(super::date(&mut Cursor::new(&bytes[..3]))), text);
        }
    }

    #[test]
    fn date_times_and_fractions() {
        for (fraction, fsp, micros) in [
            (&[][..], 0, 0),
            (&[90], 1, 900_000),
            (&[99], 2, 990_000),
            (&[38, 172], 3, 990_000),
            (&[15, 66, 63], 6, 999_999),
        ] {
            let bytes = packed_date_time(2001, 2, 3, (4, 5, 6), fraction);
            assert_eq!(value(date_time(&mut Cursor::new(&bytes), fsp)), 981_173_106_000_000 + micros);
        }
        let zero = packed_date_time(2024, 0, 10, (0, 0, 0), &[0, 0, 1]);
        assert_eq!(raw(date_time(&mut Cursor::new(&zero), 6)), "2024-00-10 00:00:00.000001");
        assert_eq!(raw(date_time(&mut Cursor::new(&zero), 0)), "2024-00-10 00:00:00");
        assert_eq!(raw(date_time(&mut Cursor::new(&zero), 3)), "2024-00-10 00:00:00.000");
        let hour_24 = packed_date_time(2024, 1, 10, (24, 0, 0), &[]);
        assert!(matches!(date_time(&mut Cursor::new(&hour_24), 0), Err(Fault::Invalid)));
        assert!(matches!(date_time(&mut Cursor::new(&[0; 5]), 0), Err(Fault::Invalid)));
        let old = 20_010_203_040_506_u64.to_le_bytes();
        assert_eq!(value(old_date_time(&mut Cursor::new(&old))), 981_173_106_000_000);
        assert_eq!(raw(old_date_time(&mut Cursor::new(&[0; 8]))), "0000-00-00 00:00:00");
    }

    #[test]
    fn timestamps() {
        assert_eq!(value(timestamp(&mut Cursor::new(&[0, 0, 0, 1, 50]), 2)), 1_500_000);
        assert_eq!(value(timestamp(&mut Cursor::new(&[0x7f, 0xff, 0xff, 0xff]), 0)), 2_147_483_647_000_000);
        assert_eq!(raw(timestamp(&mut Cursor::new(&[0; 4]), 0)), "0000-00-00 00:00:00");
        assert_eq!(raw(timestamp(&mut Cursor::new(&[0; 7]), 6)), "0000-00-00 00:00:00.000000");
        assert_eq!(value(old_timestamp(&mut Cursor::new(&[1, 0, 0, 0]))), 1_000_000);
    }

    #[test]
    fn times() {
        let packed = |fsp: u8, micros: i64| {
            let bits = u32::from(fraction_width(fsp)) * 8;
            let seconds = micros.unsigned_abs() / 1_000_000;
            let fraction = micros.unsigned_abs() % 1_000_000 / u64::from(fraction_unit(fsp));
            let magnitude = ((seconds / 3600) << 12) | ((seconds / 60 % 60) << 6) | (seconds % 60);
            let magnitude = (magnitude << bits | fraction).cast_signed();
            let value = (1_i64 << (23 + bits)) + if micros < 0 { -magnitude } else { magnitude };
            value.to_be_bytes()[5 - usize::from(fraction_width(fsp))..].to_vec()
        };
        for (fsp, micros) in [
            (0, 0),
            (0, -1_000_000),
            (0, 3_020_399_000_000),
            (0, -3_020_399_000_000),
            (1, -100_000),
            (2, -1_990_000),
            (3, 999_000),
            (4, -100),
            (6, -1),
            (6, 3_020_398_999_999),
        ] {
            let bytes = packed(fsp, micros);
            assert_eq!(
                PackedTime::read(&mut Cursor::new(&bytes), fsp).unwrap().micros(),
                micros,
                "{fsp} {micros}"
            );
        }
        assert_eq!(PackedTime::read(&mut Cursor::new(&[0xff; 3]), 0), Err(Fault::Invalid));
        assert_eq!(old_time(&mut Cursor::new(&(-8_385_959_i32).to_le_bytes()[..3])), Ok(-3_020_399_000_000));
    }
}
