//! TABLE_MAP events: the columns of a table as the server wrote its rows. Enters: the event's data. Leaves: cheaply,
//! names and a definition to compare; when that is new, a [`TableMap`] and whether a catalog's table agrees with it.

mod agreement;
mod metadata;

pub use agreement::{HIDDEN_ROW_ID, Mismatch};
pub use metadata::{ColumnMap, ImageType, TableMap};

use super::cursor::Cursor;
use super::format::{DecodeError, FormatContext, kind};

/// A TABLE_MAP event, its columns not decoded: one comes with every statement, nearly always equal to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMapEvent<'a> {
    /// The id by which row events name the table; changes when the server opens the table anew.
    pub table_id: u64,
    pub flags: u16,
    pub database: &'a str,
    pub table: &'a str,
    /// Everything about the columns: equal bytes are an equal definition, so that a decoder can be kept.
    pub definition: &'a [u8],
}

impl<'a> TableMapEvent<'a> {
    /// Parses the data of a TABLE_MAP event up to the columns.
    pub fn parse(data: &'a [u8], context: &FormatContext) -> Result<Self, DecodeError> {
        let malformed = DecodeError::malformed(kind::TABLE_MAP, "names");
        Self::read(&mut Cursor::new(data), context.table_id_width(kind::TABLE_MAP)).ok_or(malformed)
    }

    fn read(cursor: &mut Cursor<'a>, id_width: usize) -> Option<Self> {
        let table_id = cursor.uint(id_width)?;
        let flags = cursor.u16()?;
        let mut name = || {
            let text = cursor.length_encoded_bytes()?;
            cursor.u8().filter(|end| *end == 0)?;
            std::str::from_utf8(text).ok()
        };
        let database = name()?;
        let table = name()?;
        Some(Self { table_id, flags, database, table, definition: cursor.rest() })
    }

    /// Decodes the columns. Only for tables that are replicated, and only when `definition` is not the one before.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], which here concerns this table only: another can go on.
    pub fn decode(&self) -> Result<TableMap, DecodeError> {
        metadata::parse(self.definition)
    }
}
