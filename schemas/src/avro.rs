//! Avro's binary encoding (specification 1.11, "Binary Encoding"), as two thin layers over byte buffers: `put_*`
//! appends to a `Vec<u8>` that the caller reuses, [`Reader`] walks a slice. Neither allocates. `Reader` treats its
//! input as hostile: every length is checked against what is left, nothing indexes and nothing panics.

use thiserror::Error;

/// Why a datum could not be read. Carries no data of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AvroError {
    /// The datum ended inside a value.
    #[error("the Avro datum ends in the middle of a value")]
    UnexpectedEnd,
    /// A variable-length integer had more than ten bytes.
    #[error("the Avro datum holds an integer longer than ten bytes")]
    Overlong,
    /// A length was negative or larger than the datum.
    #[error("the Avro datum holds a length that does not fit it")]
    BadLength,
    /// A union's branch number is not one the schema has.
    #[error("the Avro datum names a union branch that its schema does not have")]
    BadBranch,
    /// Bytes are left over behind the last field.
    #[error("the Avro datum is longer than its schema")]
    Trailing,
}

/// Appends an `int` or `long`: zigzag, then base-128 with the low group first.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f).to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends a length-prefixed run of bytes: Avro's `bytes`, and `string` when the bytes are UTF-8.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the length that precedes `bytes` and `string`.
#[inline]
pub fn put_length(out: &mut Vec<u8>, length: usize) {
    put_long(out, i64::try_from(length).unwrap_or(i64::MAX));
}

/// Appends a `float`: four bytes, little-endian.
#[inline]
pub fn put_float(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double`: eight bytes, little-endian.
#[inline]
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// The branch of `["null", T]` that is null, as it is encoded.
pub const NULL_BRANCH: u8 = 0x00;
/// The branch of `["null", T]` that is `T`, as it is encoded.
pub const VALUE_BRANCH: u8 = 0x02;

/// A cursor over one datum.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `datum`.
    #[must_use]
    pub const fn new(datum: &'a [u8]) -> Self {
        Self { rest: datum }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads an `int` or `long`.
    ///
    /// # Errors
    /// [`AvroError::UnexpectedEnd`] or [`AvroError::Overlong`].
    #[inline]
    pub fn long(&mut self) -> Result<i64, AvroError> {
        let mut value = 0_u64;
        let mut shift = 0_u32;
        let mut rest = self.rest;
        loop {
            let (&byte, tail) = rest.split_first().ok_or(AvroError::UnexpectedEnd)?;
            rest = tail;
            if shift == 63 && byte > 1 {
                return Err(AvroError::Overlong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.rest = rest;
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
            shift += 7;
            if shift > 63 {
                return Err(AvroError::Overlong);
            }
        }
    }

    /// Takes the next `count` bytes as they are.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], AvroError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(AvroError::UnexpectedEnd)?;
        self.rest = tail;
        Ok(head)
    }

    /// Reads `bytes` or `string`; the caller checks UTF-8 if it must.
    ///
    /// # Errors
    /// [`AvroError::BadLength`] if the length is negative or past the end.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], AvroError> {
        let length = usize::try_from(self.long()?).map_err(|_| AvroError::BadLength)?;
        self.take(length).map_err(|_| AvroError::BadLength)
    }

    /// Reads a `float`.
    #[inline]
    pub fn float(&mut self) -> Result<f32, AvroError> {
        let (head, tail) = self.rest.split_first_chunk::<4>().ok_or(AvroError::UnexpectedEnd)?;
        self.rest = tail;
        Ok(f32::from_le_bytes(*head))
    }

    /// Reads a `double`.
    #[inline]
    pub fn double(&mut self) -> Result<f64, AvroError> {
        let (head, tail) = self.rest.split_first_chunk::<8>().ok_or(AvroError::UnexpectedEnd)?;
        self.rest = tail;
        Ok(f64::from_le_bytes(*head))
    }

    /// Reads the branch of a two-branch union whose first branch is null: true if a value follows.
    ///
    /// # Errors
    /// [`AvroError::BadBranch`] for any other branch number.
    #[inline]
    pub fn some(&mut self) -> Result<bool, AvroError> {
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(AvroError::BadBranch),
        }
    }

    /// Confirms that the datum has been read to its end.
    ///
    /// # Errors
    /// [`AvroError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<(), AvroError> {
        if self.rest.is_empty() { Ok(()) } else { Err(AvroError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn longs_round_trip_and_match_the_oracle(value: i64) {
            let mut ours = Vec::new();
            put_long(&mut ours, value);
            let oracle = apache_avro::to_avro_datum(&apache_avro::Schema::Long, value).unwrap();
            prop_assert_eq!(&ours, &oracle);
            let mut reader = Reader::new(&ours);
            prop_assert_eq!(reader.long(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn hostile_input_is_an_error_or_a_value_but_never_a_panic(input: Vec<u8>) {
            let _ = Reader::new(&input).long();
            let _ = Reader::new(&input).bytes();
            let _ = Reader::new(&input).float();
            let _ = Reader::new(&input).double();
            let _ = Reader::new(&input).some();
        }
    }

    #[test]
    fn an_integer_of_eleven_bytes_is_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).long(), Err(AvroError::Overlong));
        assert_eq!(Reader::new(&[0x80]).long(), Err(AvroError::UnexpectedEnd));
    }
}
