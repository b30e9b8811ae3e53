//! PostgreSQL's binary `numeric` (`numeric_send` in its `numeric.c`): number of base-10,000 digits, weight of the
//! first, sign, display scale, digits. What enters is integers or Avro decimals; what leaves is a COPY field, length
//! included, in canonical form: no zero digits in front or behind.

use tributary_schemas::decimal::Magnitude;

/// Base of a digit.
const BASE: u64 = 10_000;
/// Four digits at once.
const BASE_4: u64 = BASE * BASE * BASE * BASE;
/// 2^256 has 78 decimal digits; a scale of at most 30 shifts them by up to 3 more places.
const DIGITS_MAX: usize = 24;
/// The largest scale whose fraction, filled up to whole base-10,000 digits, fits a u64.
const SCALE_FAST: u8 = 16;
const POWERS_OF_TEN: [u64; 17] = {
    let mut powers = [1; 17];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// A value that does not fit the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoesNotFit;

/// Digits, least significant first, of which the first `fraction` stand behind the point.
struct Groups {
    digits: [u16; DIGITS_MAX],
    length: usize,
    fraction: usize,
}

impl Groups {
    const fn new() -> Self {
        Self { digits: [0; DIGITS_MAX], length: 0, fraction: 0 }
    }

    fn push(&mut self, digit: u64) -> Result<(), DoesNotFit> {
        *self.digits.get_mut(self.length).ok_or(DoesNotFit)? =
            u16::try_from(digit).map_err(|_| DoesNotFit)?;
        self.length += 1;
        Ok(())
    }

    fn push_whole(&mut self, mut value: u64) -> Result<(), DoesNotFit> {
        while value > 0 {
            self.push(value % BASE)?;
            value /= BASE;
        }
        Ok(())
    }

    /// Appends the field. `integer_digits`: how many decimal digits the column has room for before the point.
    fn put(
        &self,
        negative: bool,
        scale: u8,
        integer_digits: Option<u16>,
        out: &mut Vec<u8>,
    ) -> Result<(), DoesNotFit> {
        let used = self.digits.get(..self.length).unwrap_or_default();
        let leading = used.iter().rev().take_while(|digit| **digit == 0).count();
        let trailing = used.iter().take_while(|digit| **digit == 0).count();
        let used = used.get(trailing..self.length - leading).unwrap_or_default();
        let mut weight = 0;
        if let Some(first) = used.last() {
            weight = i16::try_from(self.length - leading).map_err(|_| DoesNotFit)?
                - i16::try_from(self.fraction).map_err(|_| DoesNotFit)?
                - 1;
            let before_point =
                if weight < 0 { 0 } else { weight.unsigned_abs() * 4 + decimal_digits(*first) };
            if integer_digits.is_some_and(|room| before_point > room) {
                return Err(DoesNotFit);
            }
        }
        let mut field = [0_u8; 12 + 2 * DIGITS_MAX];
        let length = 8 + 2 * used.len();
        let sign = if negative && !used.is_empty() { 0x4000_u16 } else { 0 };
        let head = [
            u32::try_from(length).map_err(|_| DoesNotFit)?.to_be_bytes(),
            two(u16::try_from(used.len()).map_err(|_| DoesNotFit)?, weight.cast_unsigned()),
            two(sign, u16::from(scale)),
        ];
        let (front, back) = field.split_at_mut(12);
        for (place, bytes) in front.as_chunks_mut::<4>().0.iter_mut().zip(head) {
            *place = bytes;
        }
        for (place, digit) in back.as_chunks_mut::<2>().0.iter_mut().zip(used.iter().rev()) {
            *place = digit.to_be_bytes();
        }
        out.extend_from_slice(field.get(..4 + length).unwrap_or_default());
        Ok(())
    }
}

const fn two(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

const fn decimal_digits(digit: u16) -> u16 {
    match digit {
        0..=9 => 1,
        10..=99 => 2,
        100..=999 => 3,
        _ => 4,
    }
}

/// Appends an integer as a `numeric` field.
///
/// # Errors
/// [`DoesNotFit`] if the column has room for fewer digits.
pub fn put_integer(out: &mut Vec<u8>, value: i64, integer_digits: Option<u16>) -> Result<(), DoesNotFit> {
    let mut groups = Groups::new();
    groups.push_whole(value.unsigned_abs())?;
    groups.put(value < 0, 0, integer_digits, out)
}

/// Appends an Avro decimal (two's complement, big-endian, unscaled) as a `numeric` field.
///
/// # Errors
/// [`DoesNotFit`] if the bytes are no decimal of at most 256 bits, or the column has room for fewer digits.
pub fn put_decimal(
    out: &mut Vec<u8>,
    unscaled: &[u8],
    scale: u8,
    integer_digits: Option<u16>,
) -> Result<(), DoesNotFit> {
    let mut groups = Groups::new();
    groups.fraction = usize::from(scale).div_ceil(4);
    if let Some(value) = small(unscaled)
        && scale <= SCALE_FAST
    {
        let magnitude = value.unsigned_abs();
        let power = POWERS_OF_TEN.get(usize::from(scale)).copied().unwrap_or(1);
        let filler = POWERS_OF_TEN.get(groups.fraction * 4 - usize::from(scale)).copied().unwrap_or(1);
        let (whole, mut fraction) =
            if scale == 0 { (magnitude, 0) } else { (magnitude / power, magnitude % power * filler) };
        for _ in 0..groups.fraction {
            groups.push(fraction % BASE)?;
            fraction /= BASE;
        }
        groups.push_whole(whole)?;
        return groups.put(value < 0, scale, integer_digits, out);
    }
    let (negative, magnitude) = Magnitude::from_twos_complement(unscaled).ok_or(DoesNotFit)?;
    let filler = POWERS_OF_TEN.get(groups.fraction * 4 - usize::from(scale)).copied().unwrap_or(1);
    let mut rest = magnitude.scaled(filler, 0).ok_or(DoesNotFit)?;
    while !rest.is_zero() {
        let (quotient, mut four) = rest.divided(BASE_4);
        rest = quotient;
        for _ in 0..4 {
            groups.push(four % BASE)?;
            four /= BASE;
        }
    }
    groups.put(negative, scale, integer_digits, out)
}

/// An Avro decimal of scale 0 as an integer; `None` if it is empty or does not fit 64 bits.
#[must_use]
pub(crate) fn small(unscaled: &[u8]) -> Option<i64> {
    let (first, rest) = unscaled.split_first()?;
    if rest.len() > 7 {
        return None;
    }
    let mut value = i64::from(first.cast_signed());
    for byte in rest {
        value = (value << 8) | i64::from(*byte);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_schemas::decimal::parse_unscaled;

    /// Reads a field back as text, by the rules of PostgreSQL's documentation of the format.
    fn text_of(field: &[u8]) -> String {
        let word = |index: usize| i16::from_be_bytes([field[4 + 2 * index], field[5 + 2 * index]]);
        assert_eq!(field.len(), 4 + 8 + 2 * usize::try_from(word(0)).unwrap());
        let digits: Vec<i16> = (0..usize::try_from(word(0)).unwrap()).map(|index| word(4 + index)).collect();
        assert!(digits.iter().all(|digit| (0..10_000).contains(digit)));
        assert_ne!(digits.first(), Some(&0));
        assert_ne!(digits.last(), Some(&0));
        let at = |place: i16| {
            let index = word(1) - place;
            usize::try_from(index).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
        };
        let mut text = String::new();
        for place in (0..=word(1).max(0)).rev() {
            text += &format!("{:04}", at(place));
        }
        let mut text = text.trim_start_matches('0').to_owned();
        if text.is_empty() {
            text.push('0');
        }
        let scale = usize::try_from(word(3)).unwrap();
        if scale > 0 {
            let mut fraction = String::new();
            for place in 1..=i16::try_from(scale.div_ceil(4)).unwrap() {
                fraction += &format!("{:04}", at(-place));
            }
            assert!(fraction[scale..].bytes().all(|byte| byte == b'0'));
            text = format!("{text}.{}", &fraction[..scale]);
        }
        if word(2) == 0x4000 { format!("-{text}") } else { text }
    }

    fn encode(text: &str, scale: u8) -> Vec<u8> {
        let (negative, magnitude) = parse_unscaled(text.as_bytes(), scale).unwrap();
        let (mut avro, mut out) = (Vec::new(), Vec::new());
        magnitude.put_twos_complement(negative, &mut avro);
        put_decimal(&mut out, &avro, scale, None).unwrap();
        out
    }

    proptest! {
        #[test]
        fn decimals_read_back(whole in "0|[1-9][0-9]{0,34}", fraction in "[0-9]{0,30}", negative: bool) {
            let scale = u8::try_from(fraction.len()).unwrap();
            let point = if scale > 0 { "." } else { "" };
            let zero = whole.bytes().chain(fraction.bytes()).all(|byte| byte == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(text_of(&encode(&text, scale)), text);
        }

        #[test]
        fn short_decimals_read_back(value: i64, scale in 0_u8..=30) {
            let digits = format!("{:031}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(31 - usize::from(scale));
            let whole = whole.trim_start_matches('0');
            let sign = if value < 0 { "-" } else { "" };
            let whole = if whole.is_empty() { "0" } else { whole };
            let point = if scale > 0 { "." } else { "" };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(text_of(&encode(&text, scale)), text);
        }

        #[test]
        fn integers_read_back(value: i64) {
            let mut out = Vec::new();
            put_integer(&mut out, value, None).unwrap();
            prop_assert_eq!(text_of(&out), value.to_string());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, scale: u8) {
            let _ = put_decimal(&mut Vec::new(), &bytes, scale, None);
        }
    }

    #[test]
    fn the_digits_before_the_point_are_limited() {
        let mut out = Vec::new();
        assert_eq!(put_integer(&mut out, 12_345, Some(4)), Err(DoesNotFit));
        assert_eq!(put_integer(&mut out, -12_345, Some(5)), Ok(()));
        out.clear();
        // 0.5 has none.
        assert_eq!(put_decimal(&mut out, &[5], 1, Some(0)), Ok(()));
        assert_eq!(put_decimal(&mut out, &[15], 1, Some(0)), Err(DoesNotFit));
        assert_eq!(put_decimal(&mut out, &[], 1, None), Err(DoesNotFit));
    }

    #[test]
    fn zero_is_canonical() {
        assert_eq!(encode("0.00", 2), [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(encode("-1.50", 2), [0, 0, 0, 12, 0, 2, 0, 0, 0x40, 0, 0, 2, 0, 1, 0x13, 0x88]);
    }
}
