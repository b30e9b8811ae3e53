//! The original texts of values that Avro could not carry (`tributary.raw.<column>` headers), kept in one run of
//! bytes beside the value they belong to. Nearly every record has none.
//!
//! Layout of each: length of the name (u32, big-endian), name, length of the text (u32, big-endian), text.

/// Appends one original text. `false`, with nothing written, if a part is 4 GiB or longer, which no header is.
pub fn put_raw(out: &mut Vec<u8>, column: &str, text: &[u8]) -> bool {
    let (Ok(name_length), Ok(text_length)) = (u32::try_from(column.len()), u32::try_from(text.len())) else {
        return false;
    };
    out.extend_from_slice(&name_length.to_be_bytes());
    out.extend_from_slice(column.as_bytes());
    out.extend_from_slice(&text_length.to_be_bytes());
    out.extend_from_slice(text);
    true
}

/// The original texts of one record, by column name as the source spells it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawValues<'a> {
    bytes: &'a [u8],
}

impl<'a> RawValues<'a> {
    /// A record without any.
    pub const NONE: RawValues<'static> = RawValues { bytes: &[] };

    /// Over bytes that [`put_raw`] wrote; anything else reads as nothing.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// True for nearly every record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The original text of `column`.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'a [u8]> {
        let mut values = *self;
        values.find(|(name, _)| *name == column.as_bytes()).map(|(_, text)| text)
    }
}

impl<'a> Iterator for RawValues<'a> {
    /// Name of the column, original text.
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_part(self.bytes)?;
        let (text, rest) = split_part(rest)?;
        self.bytes = rest;
        Some((name, text))
    }
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_column_and_broken_bytes_hold_none() {
        let mut bytes = Vec::new();
        assert!(put_raw(&mut bytes, "när", b"0000-00-00"));
        assert!(put_raw(&mut bytes, "b", b""));
        let values = RawValues::new(&bytes);
        assert_eq!(values.get("när"), Some(&b"0000-00-00"[..]));
        assert_eq!(values.get("b"), Some(&b""[..]));
        assert_eq!(values.get("c"), None);
        assert_eq!(values.count(), 2);
        assert_eq!(RawValues::new(&[0xff; 9]).next(), None);
        assert!(RawValues::NONE.is_empty());
    }
}
