//! A cursor over the bytes of one event. Enters: bytes as the server sent them, held to be hostile. Leaves: numbers
//! and sub-slices. Invariant: nothing is read past the end, nothing indexes, nothing panics; a read that does not
//! fit gives `None` and the caller says which event it was.

/// Reads MySQL's little-endian and length-encoded forms from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True at the end.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    /// Takes the next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// One byte.
    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    #[inline]
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned number of `width` bytes (at most 8), little-endian.
    #[inline]
    pub(super) fn uint(&mut self, width: usize) -> Option<u64> {
        let mut wide = [0; 8];
        wide.get_mut(..width)?.copy_from_slice(self.take(width)?);
        Some(u64::from_le_bytes(wide))
    }

    /// A length-encoded integer (MySQL's protocol documentation, "Protocol::LengthEncodedInteger").
    pub(super) fn length_encoded(&mut self) -> Option<u64> {
        match self.u8()? {
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            // NULL and an error packet in the protocol; in an event neither has a meaning.
            0xfb | 0xff => None,
            small => Some(u64::from(small)),
        }
    }

    /// A length-encoded integer that counts bytes or items in memory.
    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.length_encoded()?).ok()
    }

    /// Bytes preceded by their length as a length-encoded integer.
    pub(super) fn length_encoded_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Takes everything up to the next zero byte, and the zero byte itself, which is not returned.
    pub(super) fn zero_terminated(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width() {
        let mut cursor = Cursor::new(&[1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1]);
        assert_eq!(cursor.u8(), Some(1));
        assert_eq!(cursor.u16(), Some(2));
        assert_eq!(cursor.u32(), Some(3));
        assert_eq!(cursor.u64(), Some(4));
        assert_eq!(cursor.uint(3), Some(0x01_00_05));
        assert!(cursor.is_empty());
        assert_eq!(cursor.u8(), None);
        assert_eq!(Cursor::new(&[0; 9]).uint(9), None);
    }

    #[test]
    fn length_encoded_integers() {
        for (bytes, expected) in [
            (&[0xfa][..], Some(250)),
            (&[0xfc, 0xfb, 0], Some(251)),
            (&[0xfd, 0, 0, 1], Some(65_536)),
            (&[0xfe, 0, 0, 0, 1, 0, 0, 0, 0], Some(1 << 24)),
            (&[0xfb], None),
            (&[0xff], None),
            (&[0xfc, 1], None),
            (&[], None),
        ] {
            assert_eq!(Cursor::new(bytes).length_encoded(), expected, "{bytes:?}");
        }
        assert_eq!(Cursor::new(&[2, 7, 8, 9]).length_encoded_bytes(), Some(&[7, 8][..]));
        assert_eq!(Cursor::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]).length_encoded_bytes(), None);
        assert_eq!(Cursor::new(b"ab\0c").zero_terminated(), Some(&b"ab"[..]));
        assert_eq!(Cursor::new(b"ab").zero_terminated(), None);
    }
}
