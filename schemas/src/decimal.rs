//! Exact decimals between three forms: digits (MySQL's text and packed forms), the two's-complement big-endian
//! bytes of Avro's `decimal` (specification, "Decimal"), and groups of base 10,000 (PostgreSQL's `numeric`).
//! MySQL's largest is 65 digits, which fits in 216 bits; everything is held in 256.

/// A magnitude below 2^256, least significant word first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Magnitude([u64; 4]);

impl Magnitude {
    /// Zero.
    pub const ZERO: Self = Self([0; 4]);

    /// True for zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// `self * factor + addend`; `None` past 2^256.
    #[must_use]
    pub fn scaled(mut self, factor: u64, addend: u64) -> Option<Self> {
        let mut carry = u128::from(addend);
        for word in &mut self.0 {
            let sum = u128::from(*word) * u128::from(factor) + carry;
            *word = low(sum);
            carry = sum >> 64;
        }
        (carry == 0).then_some(self)
    }

    /// Quotient and remainder of a division by `divisor`, which must not be zero.
    #[must_use]
    pub fn divided(mut self, divisor: u64) -> (Self, u64) {
        let mut remainder = 0_u128;
        for word in self.0.iter_mut().rev() {
            let dividend = (remainder << 64) | u128::from(*word);
            *word = low(dividend / u128::from(divisor));
            remainder = dividend % u128::from(divisor);
        }
        (self, low(remainder))
    }

    /// The digits of an unsigned decimal number, 0–9 only; `None` if there are none, others, or too many.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if digits.is_empty() {
            return None;
        }
        let mut value = Self::ZERO;
        for group in digits.chunks(18) {
            let (mut factor, mut addend) = (1_u64, 0_u64);
            for digit in group {
                let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
                factor *= 10;
                addend = addend * 10 + u64::from(digit);
            }
            value = value.scaled(factor, addend)?;
        }
        Some(value)
    }

    /// Appends the shortest two's-complement big-endian form of `self`, or of `-self`, **without** a length.
    /// Returns nothing; one to 33 bytes are written.
    pub fn put_twos_complement(&self, negative: bool, out: &mut Vec<u8>) {
        let mut bytes = [0_u8; 33];
        let (_, body) = bytes.split_at_mut(1);
        for (chunk, word) in body.chunks_exact_mut(8).zip(self.0.iter().rev()) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        let negative = negative && !self.is_zero();
        if negative {
            let mut carry = true;
            for byte in bytes.iter_mut().rev() {
                let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
                *byte = sum;
                carry = overflow;
            }
        }
        let filler = if negative { 0xff } else { 0x00 };
        let mut rest: &[u8] = &bytes;
        while let [first, second, ..] = rest {
            if *first != filler || (second & 0x80 != 0) != negative {
                break;
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }

    /// Reads the two's-complement big-endian form: sign and magnitude. `None` if it is empty or past 2^256.
    #[must_use]
    pub fn from_twos_complement(bytes: &[u8]) -> Option<(bool, Self)> {
        let negative = bytes.first()? & 0x80 != 0;
        let filler = if negative { 0xff } else { 0x00 };
        let mut bytes = bytes;
        while let [first, tail @ ..] = bytes {
            if bytes.len() <= 32 {
                break;
            }
            if *first != filler {
                return None;
            }
            bytes = tail;
        }
        let mut wide = [filler; 32];
        wide.get_mut(32 - bytes.len()..)?.copy_from_slice(bytes);
        if negative {
            let mut carry = true;
            for byte in wide.iter_mut().rev() {
                let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
                *byte = sum;
                carry = overflow;
            }
        }
        let mut words = [0_u64; 4];
        for (word, chunk) in words.iter_mut().rev().zip(wide.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*chunk);
        }
        Some((negative, Self(words)))
    }
}

impl Magnitude {
    /// The number as text with `scale` decimals.
    #[must_use]
    pub fn to_text(self, negative: bool, scale: u8) -> String {
        let mut digits = Vec::new();
        let mut rest = self;
        while !rest.is_zero() || digits.len() <= usize::from(scale) {
            let (quotient, digit) = rest.divided(10);
            digits.push(char::from(b'0' + digit.to_le_bytes()[0]));
            if digits.len() == usize::from(scale) && scale > 0 {
                digits.push('.');
            }
            rest = quotient;
        }
        if digits.last() == Some(&'.') {
            digits.push('0');
        }
        if negative {
            digits.push('-');
        }
        digits.iter().rev().collect()
    }
}

impl From<u64> for Magnitude {
    fn from(value: u64) -> Self {
        Self([value, 0, 0, 0])
    }
}

/// The low 64 bits.
fn low(value: u128) -> u64 {
    u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

/// Reads a MySQL decimal in text form (`-12.30`) as an unscaled number of `scale` decimals. Missing decimals are
/// zeros; `None` if the text is malformed or has more decimals than `scale`.
#[must_use]
pub fn parse_unscaled(text: &[u8], scale: u8) -> Option<(bool, Magnitude)> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    let mut value = if whole.is_empty() { Magnitude::ZERO } else { Magnitude::from_digits(whole)? };
    for part in fraction.chunks(18) {
        let addend = Magnitude::from_digits(part)?.0[0];
        value = value.scaled(10_u64.pow(u32::try_from(part.len()).ok()?), addend)?;
    }
    for _ in 0..missing {
        value = value.scaled(10, 0)?;
    }
    Some((negative && !value.is_zero(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(value: i128) -> Vec<u8> {
        let magnitude = Magnitude([low(value.unsigned_abs()), low(value.unsigned_abs() >> 64), 0, 0]);
        let mut out = Vec::new();
        magnitude.put_twos_complement(value < 0, &mut out);
        out
    }

    proptest! {
        #[test]
        fn twos_complement_is_shortest_and_round_trips(value: i128) {
            let bytes = bytes_of(value);
            let mut wide = [if value < 0 { 0xff } else { 0 }; 17];
            wide[17 - bytes.len()..].copy_from_slice(&bytes);
            prop_assert_eq!(i128::from_be_bytes(wide[1..].try_into().unwrap()), value);
            if bytes.len() > 1 {
                let redundant = (bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xff && bytes[1] >= 0x80);
                prop_assert!(!redundant);
            }
            let (negative, magnitude) = Magnitude::from_twos_complement(&bytes).unwrap();
            prop_assert_eq!(negative, value < 0);
            prop_assert_eq!(magnitude.0[0], low(value.unsigned_abs()));
            prop_assert_eq!(magnitude.0[1], low(value.unsigned_abs() >> 64));
        }

        #[test]
        fn digits_divide_back_into_themselves(digits in "[1-9][0-9]{0,64}") {
            let mut value = Magnitude::from_digits(digits.as_bytes()).unwrap();
            let mut back = Vec::new();
            while !value.is_zero() {
                let (rest, digit) = value.divided(10);
                back.push(b'0' + u8::try_from(digit).unwrap());
                value = rest;
            }
            back.reverse();
            prop_assert_eq!(back, digits.into_bytes());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, scale: u8) {
            let _ = Magnitude::from_twos_complement(&bytes);
            let _ = parse_unscaled(&bytes, scale);
        }
    }

    #[test]
    fn text_is_scaled_exactly() {
        for (text, scale, expected) in [
            ("-12.3", 2, -1230_i128),
            ("0.00", 2, 0),
            ("-0.00", 2, 0),
            (".5", 1, 5),
            ("7", 0, 7),
            ("007.10", 3, 7100),
        ] {
            let (negative, magnitude) = parse_unscaled(text.as_bytes(), scale).unwrap();
            let mut bytes = Vec::new();
            magnitude.put_twos_complement(negative, &mut bytes);
            assert_eq!(bytes, bytes_of(expected), "{text}");
        }
        assert_eq!(parse_unscaled(b"1.23", 1), None);
        assert_eq!(parse_unscaled(b"1x", 1), None);
        assert_eq!(parse_unscaled(b"", 1), None);
    }

    #[test]
    fn numbers_print_as_they_were_written() {
        for (text, scale) in
            [("-12.30", 2), ("0.05", 2), ("7", 0), ("0", 0), ("0.00", 2), ("123456789012345678901", 0)]
        {
            let (negative, magnitude) = parse_unscaled(text.as_bytes(), scale).unwrap();
            assert_eq!(magnitude.to_text(negative, scale), text);
        }
    }

    #[test]
    fn the_largest_decimal_fits() {
        let text = [b'9'; 65];
        let (_, value) = parse_unscaled(&text, 0).unwrap();
        let mut bytes = Vec::new();
        value.put_twos_complement(true, &mut bytes);
        assert_eq!(bytes.len(), 28);
        assert_eq!(Magnitude::from_twos_complement(&bytes), Some((true, value)));
    }
}
