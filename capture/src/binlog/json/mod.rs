//! MySQL's binary JSON (the server's json_binary.h describes the format). Enters: the bytes of a JSON column. Leaves:
//! the text that a SELECT gives. Invariant: depth and output are bounded, for offsets in hostile input may point
//! anywhere, many at the same value.

mod diff;
mod scalar;

pub(super) use diff::apply_diffs;

use super::cursor::Cursor;

/// MySQL's own limit of nesting.
const MAX_DEPTH: usize = 100;

/// Appends the text of a binary JSON value. `None` if it is malformed; `out` then has a part of it at its end.
pub(super) fn print(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    Printer::new(bytes.len(), out).put(Value::parse(bytes)?, 0)
}

/// A value: its type and, from the value's own beginning, the rest of the document it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value<'a> {
    kind: u8,
    data: &'a [u8],
}

/// Type codes.
mod kind {
    pub(super) const SMALL_OBJECT: u8 = 0;
    pub(super) const LARGE_OBJECT: u8 = 1;
    pub(super) const SMALL_ARRAY: u8 = 2;
    pub(super) const LARGE_ARRAY: u8 = 3;
    pub(super) const LITERAL: u8 = 4;
    pub(super) const INT16: u8 = 5;
    pub(super) const UINT16: u8 = 6;
    pub(super) const INT32: u8 = 7;
    pub(super) const UINT32: u8 = 8;
    pub(super) const INT64: u8 = 9;
    pub(super) const UINT64: u8 = 10;
    pub(super) const DOUBLE: u8 = 11;
    pub(super) const STRING: u8 = 12;
    pub(super) const OPAQUE: u8 = 15;
}

impl<'a> Value<'a> {
    /// A whole document. No bytes at all are a null: `INSERT IGNORE` writes them into a NOT NULL column.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(match bytes.split_first() {
            Some((kind, data)) => Self { kind: *kind, data },
            None => Self { kind: kind::LITERAL, data: &[0] },
        })
    }

    /// The container that this is, if it is one.
    fn container(self) -> Option<Container<'a>> {
        let (large, object) = match self.kind {
            kind::SMALL_OBJECT => (false, true),
            kind::LARGE_OBJECT => (true, true),
            kind::SMALL_ARRAY => (false, false),
            kind::LARGE_ARRAY => (true, false),
            _ => return None,
        };
        let width = if large { 4 } else { 2 };
        let mut cursor = Cursor::new(self.data);
        let count = usize::try_from(cursor.uint(width)?).ok()?;
        let size = usize::try_from(cursor.uint(width)?).ok()?;
        let data = self.data.get(..size)?;
        let key_bytes = if object { count.checked_mul(width + 2)? } else { 0 };
        let values = (2 * width).checked_add(key_bytes)?;
        // Entries that do not fit are found now, before room is made for them.
        data.get(values..)?.get(..count.checked_mul(width + 1)?)?;
        Some(Container { data, width, count, object, values })
    }
}

/// An object or array: a count, key entries (objects only), value entries, then what they point to.
#[derive(Debug, Clone, Copy)]
struct Container<'a> {
    data: &'a [u8],
    /// Of counts and offsets, in bytes.
    width: usize,
    count: usize,
    object: bool,
    /// Where the value entries begin.
    values: usize,
}

impl<'a> Container<'a> {
    fn key(&self, index: usize) -> Option<&'a [u8]> {
        let mut entry = Cursor::new(self.data.get(2 * self.width + index * (self.width + 2)..)?);
        let offset = usize::try_from(entry.uint(self.width)?).ok()?;
        let length = usize::from(entry.u16()?);
        self.data.get(offset..)?.get(..length)
    }

    fn value(&self, index: usize) -> Option<Value<'a>> {
        let mut entry = Cursor::new(self.data.get(self.values + index * (self.width + 1)..)?);
        let kind = entry.u8()?;
        let inlined = match kind {
            kind::LITERAL | kind::INT16 | kind::UINT16 => true,
            kind::INT32 | kind::UINT32 => self.width == 4,
            _ => false,
        };
        if inlined {
            return Some(Value { kind, data: entry.rest() });
        }
        let offset = usize::try_from(entry.uint(self.width)?).ok()?;
        Some(Value { kind, data: self.data.get(offset..)? })
    }
}

/// Writes text, and stops when it grows beyond what honest input can become.
struct Printer<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'o> Printer<'o> {
    /// Every value takes at least three bytes in a container and at most 26 characters for eleven bytes; a character
    /// of a string becomes at most six.
    fn new(input_bytes: usize, out: &'o mut Vec<u8>) -> Self {
        let limit = out.len().saturating_add(64).saturating_add(input_bytes.saturating_mul(16));
        Self { out, limit }
    }

    fn put(&mut self, value: Value<'_>, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH || self.out.len() > self.limit {
            return None;
        }
        if !matches!(value.kind, kind::SMALL_OBJECT..=kind::LARGE_ARRAY) {
            return scalar::put(value, self.out);
        }
        let container = value.container()?;
        self.open(container.object);
        for index in 0..container.count {
            self.separate(index);
            if container.object {
                self.put_key(container.key(index)?)?;
            }
            self.put(container.value(index)?, depth + 1)?;
        }
        self.close(container.object);
        Some(())
    }

    fn open(&mut self, object: bool) {
        self.out.push(if object { b'{' } else { b'[' });
    }

    fn close(&mut self, object: bool) {
        self.out.push(if object { b'}' } else { b']' });
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.extend_from_slice(b", ");
        }
    }

    fn put_key(&mut self, key: &[u8]) -> Option<()> {
        scalar::put_string(key, self.out)?;
        self.out.extend_from_slice(b": ");
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn text(bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        print(bytes, &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    /// `{"a": 1, "bb": [true, "x"]}` in the small format.
    pub(super) const SMALL: &[u8] = &[
        0, 2, 0, 35, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'b', 2, 0, 14, 0, 4, 1, 0,
        12, 10, 0, 1, b'x', 0, 0,
    ];

    #[test]
    fn containers_and_scalars() {
        assert_eq!(text(SMALL).as_deref(), Some(r#"{"a": 1, "bb": [true, "x"]}"#));
        for (bytes, expected) in [
            (&[][..], "null"),
            (&[4, 0], "null"),
            (&[4, 2], "false"),
            (&[5, 0xff, 0xff], "-1"),
            (&[6, 0xff, 0xff], "65535"),
            (&[8, 0xff, 0xff, 0xff, 0xff], "4294967295"),
            (&[10, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"),
            (&[12, 3, b'"', 1, b'\n'], r#""\"\u0001\n""#),
            (&[0, 0, 0, 4, 0], "{}"),
            (&[3, 1, 0, 0, 0, 13, 0, 0, 0, 7, 0xfe, 0xff, 0xff, 0xff], "[-2]"),
        ] {
            assert_eq!(text(bytes).as_deref(), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn cycles_and_repetitions_end() {
        // An array whose only element is itself.
        assert_eq!(text(&[2, 1, 0, 7, 0, 2, 0, 0]), None);
        // 60 levels, each of two pointers to the next: 2^60 values.
        let mut bytes = vec![2];
        let levels: u16 = 60;
        for level in 0..levels {
            bytes.extend([2, 0]);
            bytes.extend((10 * (levels - level) + 4).to_le_bytes());
            for _ in 0..2 {
                bytes.extend([2, 10, 0]);
            }
        }
        bytes.extend([0, 0, 4, 0]);
        assert_eq!(text(&bytes), None);
    }

    proptest! {
        #[test]
        fn damaged_documents_never_panic(flips in prop::collection::vec((0_usize..36, any::<u8>()), 0..5), end in 0_usize..40) {
            let mut bytes = SMALL.to_vec();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(end);
            let _ = text(&bytes);
        }
    }
}
