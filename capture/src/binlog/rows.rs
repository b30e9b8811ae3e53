//! ROWS events: which rows, before decoding. Enters: the data of WRITE, UPDATE, DELETE (versions 1 and 2) and
//! PARTIAL_UPDATE events. Leaves: table id, present bitmaps and the undecoded images.

use super::cursor::Cursor;
use super::format::{DecodeError, FormatContext, kind};

/// A bitmap of the binlog: the first column is the lowest bit of the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bitmap<'a>(pub &'a [u8]);

impl Bitmap<'_> {
    /// The bit of column `index`; false past the end.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> bool {
        self.0.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0)
    }

    /// The first of `count` columns whose bit is not set.
    #[must_use]
    pub fn first_unset(&self, count: usize) -> Option<usize> {
        let whole = count / 8;
        let full = self.0.get(..whole).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0xff));
        let from = if full { whole * 8 } else { 0 };
        (from..count).find(|index| !self.get(*index))
    }
}

/// What happened to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowsKind {
    /// One image a row: after.
    Insert,
    /// Two images a row: before, after.
    Update,
    /// Two images a row; JSON columns of the second may be diffs against the first.
    PartialUpdate,
    /// One image a row: before.
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsEvent<'a> {
    /// What happened.
    pub kind: RowsKind,
    /// Table id, as the TABLE_MAP event before gave it.
    pub table_id: u64,
    /// Columns of the table; the width of the bitmaps.
    pub column_count: usize,
    /// Which columns the only or before image holds.
    pub present: Bitmap<'a>,
    /// Which columns the after image of an update holds; `present` otherwise.
    pub after_present: Bitmap<'a>,
    /// The images, one behind the other.
    pub images: &'a [u8],
}

impl<'a> RowsEvent<'a> {
    /// Parses the data of a ROWS event of type `kind`.
    pub fn parse(kind: u8, data: &'a [u8], context: &FormatContext) -> Result<Self, DecodeError> {
        let rows_kind = match kind {
            kind::WRITE_ROWS_V1 | kind::WRITE_ROWS => RowsKind::Insert,
            kind::UPDATE_ROWS_V1 | kind::UPDATE_ROWS => RowsKind::Update,
            kind::DELETE_ROWS_V1 | kind::DELETE_ROWS => RowsKind::Delete,
            kind::PARTIAL_UPDATE_ROWS => RowsKind::PartialUpdate,
            _ => return Err(DecodeError::malformed(kind, "type of a row event")),
        };
        let mut cursor = Cursor::new(data);
        Self::read(
            rows_kind,
            &mut cursor,
            context.table_id_width(kind),
            context.post_header_length(kind) >= 10,
        )
        .ok_or(DecodeError::malformed(kind, "header of a row event"))
    }

    fn read(kind: RowsKind, cursor: &mut Cursor<'a>, id_width: usize, extra: bool) -> Option<Self> {
        let table_id = cursor.uint(id_width)?;
        cursor.u16()?;
        if extra {
            // The length counts itself. What it holds (NDB, partition ids) changes no row.
            let length = usize::from(cursor.u16()?).checked_sub(2)?;
            cursor.take(length)?;
        }
        let column_count = cursor.length()?;
        let width = column_count.div_ceil(8);
        let present = Bitmap(cursor.take(width)?);
        let after_present = match kind {
            RowsKind::Update | RowsKind::PartialUpdate => Bitmap(cursor.take(width)?),
            RowsKind::Insert | RowsKind::Delete => present,
        };
        Some(Self { kind, table_id, column_count, present, after_present, images: cursor.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_versions() {
        let context = FormatContext::default();
        let v2 = [&[7, 0, 0, 0, 0, 0, 1, 0, 5, 0, 1, 2, 3, 9, 0xff, 0x01, 0x0f, 0x00][..], b"rest"].concat();
        let update = RowsEvent::parse(kind::UPDATE_ROWS, &v2, &context).unwrap();
        assert_eq!((update.table_id, update.column_count, update.images), (7, 9, &b"rest"[..]));
        assert_eq!(update.present.first_unset(9), None);
        assert_eq!(update.after_present.first_unset(9), Some(4));
        let v1 = [&[7, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0x01][..], b"rest"].concat();
        let delete = RowsEvent::parse(kind::DELETE_ROWS_V1, &v1, &context).unwrap();
        assert_eq!((delete.kind, delete.images), (RowsKind::Delete, &b"rest"[..]));
        for end in 0..v2.len() - 4 {
            assert!(RowsEvent::parse(kind::UPDATE_ROWS, &v2[..end], &context).is_err(), "{end}");
        }
    }
}
