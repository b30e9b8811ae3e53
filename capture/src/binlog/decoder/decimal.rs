//! MySQL's packed DECIMAL (the server's decimal.cc, `decimal2bin`): nine digits in four bytes, a group of fewer at each
//! outer end in as few bytes as hold it, all big-endian, the highest bit inverted, and every bit inverted if negative.

use super::Fault;
use crate::binlog::cursor::Cursor;
use std::io::Write as _;
use tributary_schemas::avro::put_bytes;
use tributary_schemas::decimal::Magnitude;

/// Bytes that so many digits take.
const GROUP_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Powers of ten up to a whole group.
const POWERS: [u64; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// The most digits whose value fits in an `i64`.
const SMALL_DIGITS: u8 = 18;

/// The layout of one DECIMAL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::binlog) struct PackedDecimal {
    precision: u8,
    scale: u8,
}

/// A group of digits.
#[derive(Clone, Copy)]
struct Group {
    digits: u8,
    value: u64,
}

impl PackedDecimal {
    /// The layout of DECIMAL(precision, scale); `None` if there is no such type.
    pub(in crate::binlog) fn new(precision: u8, scale: u8) -> Option<Self> {
        (precision <= 65 && scale <= 30 && scale <= precision).then_some(Self { precision, scale })
    }

    /// Size in bytes.
    pub(super) fn width(self) -> u16 {
        self.group_digits().map(|digits| u16::from(bytes_of(digits))).sum()
    }

    /// Digits of each group, from the highest.
    fn group_digits(self) -> impl Iterator<Item = u8> {
        let whole = self.precision - self.scale;
        let nines = |count: u8| std::iter::repeat_n(9, usize::from(count));
        std::iter::once(whole % 9)
            .chain(nines(whole / 9))
            .chain(nines(self.scale / 9))
            .chain(std::iter::once(self.scale % 9))
            .filter(|digits| *digits > 0)
    }

    /// Reads the sign, and hands each group to `each`.
    #[inline]
    fn read(self, cursor: &mut Cursor<'_>, mut each: impl FnMut(Group) -> Option<()>) -> Result<bool, Fault> {
        let negative = cursor.rest().first().ok_or(Fault::Truncated)? & 0x80 == 0;
        let mask = if negative { 0xff } else { 0 };
        let mut flip = 0x80;
        for digits in self.group_digits() {
            let bytes = cursor.take(usize::from(bytes_of(digits))).ok_or(Fault::Truncated)?;
            let mut value = 0;
            for byte in bytes {
                value = value << 8 | u64::from(byte ^ mask ^ flip);
                flip = 0;
            }
            if value >= power(digits) {
                return Err(Fault::Invalid);
            }
            each(Group { digits, value }).ok_or(Fault::Invalid)?;
        }
        Ok(negative)
    }

    /// Appends Avro's `decimal`: the unscaled number, length-prefixed.
    pub(super) fn put(self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.precision <= SMALL_DIGITS {
            let mut unscaled = 0_i64;
            let negative = self.read(cursor, |group| {
                let power = power(group.digits).cast_signed();
                unscaled = unscaled * power + group.value.cast_signed();
                Some(())
            })?;
            put_small(if negative { -unscaled } else { unscaled }, out);
            return Ok(());
        }
        let mut unscaled = Magnitude::ZERO;
        let negative = self.read(cursor, |group| {
            unscaled = unscaled.scaled(power(group.digits), group.value)?;
            Some(())
        })?;
        put_magnitude(unscaled, negative, out);
        Ok(())
    }

    /// Appends the number as MySQL prints it.
    pub(in crate::binlog) fn print(self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
        let mut digits = Vec::with_capacity(72);
        let negative = self
            .read(cursor, |group| {
                write!(digits, "{:0width$}", group.value, width = usize::from(group.digits)).ok()
            })
            .ok()?;
        let (whole, fraction) =
            digits.split_at_checked(digits.len().checked_sub(usize::from(self.scale))?)?;
        if negative && digits.iter().any(|digit| *digit != b'0') {
            out.push(b'-');
        }
        let leading = whole.iter().take_while(|digit| **digit == b'0').count();
        let whole = whole.get(leading..).filter(|whole| !whole.is_empty()).unwrap_or(b"0");
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        Some(())
    }
}

fn bytes_of(digits: u8) -> u8 {
    GROUP_BYTES.get(usize::from(digits)).copied().unwrap_or_default()
}

fn power(digits: u8) -> u64 {
    POWERS.get(usize::from(digits)).copied().unwrap_or(1)
}

/// Appends a number as length-prefixed shortest two's complement.
pub(super) fn put_small(value: i64, out: &mut Vec<u8>) {
    let unused_bits = if value < 0 { value.leading_ones() } else { value.leading_zeros() } - 1;
    let bytes = value.to_be_bytes();
    let unused = usize::try_from(unused_bits / 8).unwrap_or_default();
    put_bytes(out, bytes.get(unused..).unwrap_or(&bytes));
}

/// Appends a number of any size as length-prefixed shortest two's complement.
pub(super) fn put_magnitude(value: Magnitude, negative: bool, out: &mut Vec<u8>) {
    // At most 33 bytes follow, so that the length takes one byte, which is written once it is known; Avro doubles a
    // number that is not negative.
    let start = out.len();
    out.push(0);
    value.put_twos_complement(negative, out);
    let length = u8::try_from((out.len() - start - 1) * 2).unwrap_or(u8::MAX);
    if let Some(place) = out.get_mut(start) {
        *place = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packs digits, written from the description of the format.
    fn pack(precision: u8, scale: u8, negative: bool, digits: &str) -> Vec<u8> {
        let layout = PackedDecimal::new(precision, scale).unwrap();
        let (mut bytes, mut rest) = (Vec::<u8>::new(), digits);
        for count in layout.group_digits() {
            let (head, tail) = rest.split_at(usize::from(count));
            let value = head.parse::<u32>().unwrap().to_be_bytes();
            bytes.extend(&value[4 - usize::from(bytes_of(count))..]);
            rest = tail;
        }
        bytes[0] ^= 0x80;
        if negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes
    }

    #[test]
    fn the_manuals_example() {
        // "1234567890.1234" as DECIMAL(14,4) is 81 0D FB 38 D2 04 D2.
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(pack(14, 4, false, "12345678901234"), bytes);
        let layout = PackedDecimal::new(14, 4).unwrap();
        assert_eq!(layout.width(), 7);
        let mut out = Vec::new();
        layout.print(&mut Cursor::new(&bytes), &mut out).unwrap();
        assert_eq!(out, b"1234567890.1234");
        assert_eq!(layout.put(&mut Cursor::new(&bytes[..6]), &mut out), Err(Fault::Truncated));
        assert_eq!(layout.put(&mut Cursor::new(&[0x8f; 7]), &mut out), Err(Fault::Invalid));
    }

    proptest! {
        #[test]
        fn any_decimal(digits in "[0-9]{65}", precision in 1_u8..=65, scale in 0_u8..=30, negative: bool) {
            let scale = scale.min(precision);
            let digits = &digits[..usize::from(precision)];
            let bytes = pack(precision, scale, negative, digits);
            let layout = PackedDecimal::new(precision, scale).unwrap();
            prop_assert_eq!(usize::from(layout.width()), bytes.len());

            let mut expected = Vec::new();
            put_magnitude(Magnitude::from_digits(digits.as_bytes()).unwrap(), negative, &mut expected);
            let mut out = Vec::new();
            layout.put(&mut Cursor::new(&bytes), &mut out).unwrap();
            prop_assert_eq!(out, expected);

            let mut text = Vec::new();
            layout.print(&mut Cursor::new(&bytes), &mut text).unwrap();
            let (sign, value) = tributary_schemas::decimal::parse_unscaled(&text, scale).unwrap();
            let mut back = Vec::new();
            put_magnitude(value, sign, &mut back);
            let mut again = Vec::new();
            layout.put(&mut Cursor::new(&bytes), &mut again).unwrap();
            prop_assert_eq!(back, again);
        }

        #[test]
        fn small_numbers_equal_the_general_form(value: i64) {
            let (mut small, mut general) = (Vec::new(), Vec::new());
            put_small(value, &mut small);
            put_magnitude(Magnitude::from(value.unsigned_abs()), value < 0, &mut general);
            prop_assert_eq!(small, general);
        }
    }
}
