//! Whether the catalog's table is the one that the rows were written under. Enters: a table of the catalog and a
//! TABLE_MAP. Leaves: nothing, or what differs. Invariant: everything that both sides know and that bears on decoding
//! is compared; a catalog that disagrees must not be used.

use super::metadata::{ColumnMap, ImageType, TableMap};
use thiserror::Error;
use tributary_schemas::table::{Column, Table};
use tributary_schemas::types::{ColumnType, LobSize};
use tributary_source::charset::{Charset, charset_of_collation};

/// What PolarDB adds, as the last column, to the row images of a table without a primary key.
pub const HIDDEN_ROW_ID: &str = "__#alibaba_rds_row_id#__";

/// How the catalog's table differs from the TABLE_MAP. Says what, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// Another number of columns.
    #[error("the catalog has {catalog} columns, the binlog {binlog}")]
    ColumnCount {
        /// Columns of the catalog's table, those that are not published included.
        catalog: usize,
        /// Columns of the row images.
        binlog: usize,
    },
    /// A column is another one.
    #[error("column {column} is {catalog} in the catalog, {binlog} in the binlog")]
    Column {
        /// Name in the catalog.
        column: String,
        /// What the catalog says.
        catalog: String,
        /// What the binlog says.
        binlog: String,
    },
}

impl TableMap {
    /// Compares with the catalog. `all_column_count` counts the table's columns on the source, those that are not
    /// published included. `has_primary_key`: PolarDB adds its hidden row id only to tables without one, so that a column
    /// more of any other table is one that the catalog lacks.
    ///
    /// # Errors
    /// [`Mismatch`], the first that is found.
    pub fn agrees(
        &self,
        table: &Table,
        all_column_count: u32,
        may_have_hidden_row_id: bool,
    ) -> Result<(), Mismatch> {
        let catalog = usize::try_from(all_column_count).unwrap_or(usize::MAX);
        let mut binlog = self.columns.len();
        if may_have_hidden_row_id
            && binlog == catalog.saturating_add(1)
            && self.columns.last().is_some_and(may_be_hidden_row_id)
        {
            binlog = catalog;
        }
        if binlog != catalog {
            return Err(Mismatch::ColumnCount { catalog, binlog });
        }
        for column in &table.columns {
            let at = usize::try_from(column.ordinal).unwrap_or(usize::MAX);
            let map = self.columns.get(at).filter(|_| at < catalog);
            compare(column, map.ok_or(Mismatch::ColumnCount { catalog: at.saturating_add(1), binlog })?)?;
        }
        Ok(())
    }
}

/// A BIGINT NOT NULL, under its name if the binlog carries names.
fn may_be_hidden_row_id(column: &ColumnMap) -> bool {
    column.image_type == ImageType::LongLong
        && !column.nullable
        && column.name.as_ref().is_none_or(|name| name == HIDDEN_ROW_ID)
}

fn compare(column: &Column, map: &ColumnMap) -> Result<(), Mismatch> {
    let differs = |catalog: String, binlog: String| {
        Err(Mismatch::Column { column: column.name.clone(), catalog, binlog })
    };
    if let Some(name) = map.name.as_ref().filter(|name| **name != column.name) {
        return differs(format!("named {}", column.name), format!("named {name}"));
    }
    if !same_type(column, map.image_type) {
        return differs(column.column_type.to_string(), format!("laid out as {:?}", map.image_type));
    }
    if map.nullable != column.nullable {
        let word = |nullable| if nullable { "NULL" } else { "NOT NULL" }.to_owned();
        return differs(word(column.nullable), word(map.nullable));
    }
    if let (Some(catalog), Some(binlog)) = (unsigned(&column.column_type), map.unsigned)
        && catalog != binlog
    {
        let word = |unsigned| if unsigned { "unsigned" } else { "signed" }.to_owned();
        return differs(word(catalog), word(binlog));
    }
    let binlog_charset = map.collation.and_then(charset_of_collation);
    if let Some(binlog) = binlog_charset
        && binlog != catalog_charset(column)
    {
        return differs(format!("in {}", catalog_charset(column)), format!("in {binlog}"));
    }
    if let (Some(catalog), Some(binlog)) = (labels(&column.column_type), &map.labels) {
        // Labels of a character set that is not logged, or not known, cannot be compared beyond their number.
        let same = catalog.len() == binlog.len()
            && binlog_charset
                .and_then(Charset::named)
                .is_none_or(|charset| same_labels(charset, catalog, binlog));
        if !same {
            return differs(column.column_type.to_string(), "one with other labels".to_owned());
        }
    }
    Ok(())
}

/// The sign, for the types whose sign the binlog carries and that decode differently by it.
const fn unsigned(column_type: &ColumnType) -> Option<bool> {
    match column_type {
        ColumnType::TinyInt { unsigned }
        | ColumnType::SmallInt { unsigned }
        | ColumnType::MediumInt { unsigned }
        | ColumnType::Int { unsigned }
        | ColumnType::BigInt { unsigned } => Some(*unsigned),
        _ => None,
    }
}

fn labels(column_type: &ColumnType) -> Option<&[String]> {
    match column_type {
        ColumnType::Enum { labels } | ColumnType::Set { labels } => Some(labels),
        _ => None,
    }
}

fn same_labels(charset: Charset, catalog: &[String], binlog: &[Vec<u8>]) -> bool {
    let mut text = Vec::new();
    catalog.iter().zip(binlog).all(|(ours, theirs)| {
        text.clear();
        charset.decode(theirs, &mut text).is_some() && text == ours.as_bytes()
    })
}

/// The character set of a column by the one name that [`charset_of_collation`] uses; `binary` for binary strings.
fn catalog_charset(column: &Column) -> &str {
    match column.charset.as_deref() {
        None => "binary",
        Some("utf8") => "utf8mb3",
        Some(name) => name,
    }
}

/// True if values of this column are laid out in this way.
fn same_type(column: &Column, image_type: ImageType) -> bool {
    // A length in characters is logged in bytes; in an unknown character set it cannot be compared.
    let characters = |length: u32, max_bytes: u16| {
        let width = column.charset.as_deref().and_then(Charset::named).map(|charset| charset.max_bytes);
        width.is_none_or(|width| length.saturating_mul(width) == u32::from(max_bytes))
    };
    match (&column.column_type, image_type) {
        (ColumnType::TinyInt { .. }, ImageType::Tiny)
        | (ColumnType::SmallInt { .. }, ImageType::Short)
        | (ColumnType::MediumInt { .. }, ImageType::Int24)
        | (ColumnType::Int { .. }, ImageType::Long)
        | (ColumnType::BigInt { .. }, ImageType::LongLong)
        | (ColumnType::Float, ImageType::Float)
        | (ColumnType::Double, ImageType::Double)
        | (ColumnType::Json, ImageType::Json { .. })
        | (ColumnType::Geometry { .. }, ImageType::Geometry { .. })
        | (ColumnType::Vector { .. }, ImageType::Vector { .. })
        | (ColumnType::Date, ImageType::Date)
        | (ColumnType::Year, ImageType::Year)
        | (ColumnType::Time { fsp: 0 }, ImageType::OldTime)
        | (ColumnType::DateTime { fsp: 0 }, ImageType::OldDateTime)
        | (ColumnType::Timestamp { fsp: 0 }, ImageType::OldTimestamp) => true,
        (ColumnType::Time { fsp }, ImageType::Time { fsp: logged })
        | (ColumnType::DateTime { fsp }, ImageType::DateTime { fsp: logged })
        | (ColumnType::Timestamp { fsp }, ImageType::Timestamp { fsp: logged }) => *fsp == logged,
        (ColumnType::Decimal { precision, scale }, ImageType::Decimal { precision: p, scale: s }) => {
            (*precision, *scale) == (p, s)
        }
        (ColumnType::Bit { width }, ImageType::Bit { width_bits }) => u16::from(*width) == width_bits,
        (ColumnType::Char { length }, ImageType::String { max_bytes })
        | (ColumnType::VarChar { length }, ImageType::VarChar { max_bytes }) => {
            characters(*length, max_bytes)
        }
        (ColumnType::Binary { length }, ImageType::String { max_bytes })
        | (ColumnType::VarBinary { length }, ImageType::VarChar { max_bytes }) => {
            *length == u32::from(max_bytes)
        }
        (ColumnType::Text(size) | ColumnType::Blob(size), ImageType::Blob { length_width }) => {
            lob_length_width(*size) == length_width
        }
        (ColumnType::Enum { labels }, ImageType::Enum { width }) => {
            width == if labels.len() < 256 { 1 } else { 2 }
        }
        (ColumnType::Set { labels }, ImageType::Set { width }) => {
            let bytes = labels.len().div_ceil(8);
            usize::from(width) == if bytes > 4 { 8 } else { bytes }
        }
        _ => false,
    }
}

const fn lob_length_width(size: LobSize) -> u8 {
    match size {
        LobSize::Tiny => 1,
        LobSize::Normal => 2,
        LobSize::Medium => 3,
        LobSize::Long => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::testing::{column, map_column, table};

    fn check(text: &str, charset: Option<&str>, image_type: ImageType) -> Result<(), Mismatch> {
        let mut column = column(1, "c", text, true);
        column.charset = charset.map(str::to_owned);
        TableMap { columns: vec![map_column(image_type, true)], primary_key: vec![] }.agrees(
            &table(vec![column], &[]),
            1,
            false,
        )
    }

    #[test]
    fn types_and_their_sizes() {
        let utf8 = Some("utf8mb4");
        for (text, charset, image_type, agrees) in [
            ("int", None, ImageType::Long, true),
            ("int", None, ImageType::LongLong, false),
            ("decimal(10,2)", None, ImageType::Decimal { precision: 10, scale: 2 }, true),
            ("decimal(10,2)", None, ImageType::Decimal { precision: 10, scale: 3 }, false),
            ("varchar(20)", utf8, ImageType::VarChar { max_bytes: 80 }, true),
            ("varchar(20)", Some("latin1"), ImageType::VarChar { max_bytes: 80 }, false),
            ("varchar(20)", Some("swe7"), ImageType::VarChar { max_bytes: 80 }, true),
            ("char(3)", Some("utf8"), ImageType::String { max_bytes: 9 }, true),
            ("binary(3)", None, ImageType::String { max_bytes: 4 }, false),
            ("mediumtext", utf8, ImageType::Blob { length_width: 3 }, true),
            ("mediumtext", utf8, ImageType::Blob { length_width: 2 }, false),
            ("datetime(3)", None, ImageType::DateTime { fsp: 3 }, true),
            ("datetime(3)", None, ImageType::DateTime { fsp: 6 }, false),
            ("datetime", None, ImageType::OldDateTime, true),
            ("bit(9)", None, ImageType::Bit { width_bits: 9 }, true),
            ("bit(9)", None, ImageType::Bit { width_bits: 10 }, false),
            ("set('a','b')", None, ImageType::Set { width: 1 }, true),
            ("set('a','b')", None, ImageType::Set { width: 2 }, false),
        ] {
            assert_eq!(check(text, charset, image_type).is_ok(), agrees, "{text} {image_type:?}");
        }
    }

    #[test]
    fn the_message_says_what_differs() {
        let error = check("int", None, ImageType::LongLong).unwrap_err();
        assert_eq!(error.to_string(), "column c is int in the catalog, laid out as LongLong in the binlog");
    }

    #[test]
    fn only_the_hidden_row_id_may_be_left_over() {
        let table = table(vec![column(1, "a", "int", true)], &[]);
        let map = |last: ImageType, nullable, name: Option<&str>| {
            let mut extra = map_column(last, nullable);
            extra.name = name.map(str::to_owned);
            TableMap { columns: vec![map_column(ImageType::Long, true), extra], primary_key: vec![] }
        };
        map(ImageType::LongLong, false, None).agrees(&table, 1, true).unwrap();
        map(ImageType::LongLong, false, Some(HIDDEN_ROW_ID)).agrees(&table, 1, true).unwrap();
        // An unpublished column is counted.
        map(ImageType::Long, true, None).agrees(&table, 2, true).unwrap();
        map(ImageType::LongLong, false, Some("b")).agrees(&table, 1, true).unwrap_err();
        map(ImageType::LongLong, true, None).agrees(&table, 1, true).unwrap_err();
        map(ImageType::Long, false, None).agrees(&table, 1, true).unwrap_err();
        map(ImageType::LongLong, false, None).agrees(&table, 3, true).unwrap_err();
        // A table with a key has no such column: ALTER TABLE … ADD z BIGINT NOT NULL passed the binlog by.
        map(ImageType::LongLong, false, None).agrees(&table, 1, false).unwrap_err();
    }

    #[test]
    fn names_nullability_signs_charsets_and_labels() {
        let mut wanted = column(1, "c", "enum('é','b')", false);
        wanted.charset = Some("latin1".to_owned());
        let mut map = map_column(ImageType::Enum { width: 1 }, false);
        map.name = Some("c".to_owned());
        map.collation = Some(8);
        map.labels = Some(vec![vec![0xe9], b"b".to_vec()]);
        compare(&wanted, &map).unwrap();
        let differ = |change: fn(&mut ColumnMap)| {
            let mut other = map.clone();
            change(&mut other);
            compare(&wanted, &other).unwrap_err().to_string()
        };
        assert!(differ(|map| map.name = Some("d".to_owned())).contains("named d"));
        assert!(differ(|map| map.nullable = true).contains("NOT NULL in the catalog"));
        assert!(differ(|map| map.collation = Some(45)).contains("in utf8mb4"));
        assert!(differ(|map| map.labels = Some(vec![vec![0xe8], b"b".to_vec()])).contains("other labels"));
        assert!(differ(|map| map.labels = Some(vec![])).contains("other labels"));
        let mut sign = map_column(ImageType::Long, false);
        sign.unsigned = Some(true);
        assert!(compare(&column(1, "c", "int", false), &sign).unwrap_err().to_string().contains("unsigned"));
        compare(&column(1, "c", "int unsigned", false), &sign).unwrap();
    }
}
