//! The columns of a TABLE_MAP event: wire types with their metadata, nullability, and the optional metadata that
//! `binlog_row_metadata` governs. Invariant: optional fields that are unknown are passed over; lists that are shorter
//! than the columns leave the rest unknown.

use crate::binlog::cursor::Cursor;
use crate::binlog::event::{DecodeError, kind};

/// MySQL's limit of columns in a table.
const MAX_COLUMNS: usize = 4096;

/// How a column's values are laid out in a row image. Widths are in bytes, `fsp` is digits of fractional seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    Tiny,
    Short,
    Int24,
    Long,
    LongLong,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit {
        width_bits: u16,
    },
    /// CHAR and BINARY.
    String {
        max_bytes: u16,
    },
    /// VARCHAR and VARBINARY.
    VarChar {
        max_bytes: u16,
    },
    Enum {
        width: u8,
    },
    Set {
        width: u8,
    },
    /// TEXT and BLOB of all sizes.
    Blob {
        length_width: u8,
    },
    Json {
        length_width: u8,
    },
    Geometry {
        length_width: u8,
    },
    Vector {
        length_width: u8,
    },
    Date,
    Year,
    /// TIME, DATETIME and TIMESTAMP as before MySQL 5.6, in tables not rebuilt since.
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time {
        fsp: u8,
    },
    DateTime {
        fsp: u8,
    },
    Timestamp {
        fsp: u8,
    },
}

/// A column of a TABLE_MAP event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMap {
    /// Layout of its values.
    pub image_type: ImageType,
    /// May be NULL.
    pub nullable: bool,
    /// Unsigned; `None` if the source does not say, or the type has no sign.
    pub unsigned: Option<bool>,
    /// Number of the collation; `None` if the source does not say, or the type has none.
    pub collation: Option<u32>,
    /// Name; with `binlog_row_metadata=FULL` only.
    pub name: Option<String>,
    /// Labels of an ENUM or SET, in the column's character set; with `binlog_row_metadata=FULL` only.
    pub labels: Option<Vec<Vec<u8>>>,
    /// Not INVISIBLE; with `binlog_row_metadata=FULL` from 8.0.23 on only.
    pub visible: Option<bool>,
}

/// The columns of a table, in the order of its row images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap {
    pub columns: Vec<ColumnMap>,
    /// The primary key as column indexes, each with the length in bytes of a prefix part (0 for all of the column);
    /// empty for none and without `binlog_row_metadata=FULL`.
    pub primary_key: Vec<(u32, u32)>,
}

/// Parses what follows the names.
pub(super) fn parse(definition: &[u8]) -> Result<TableMap, DecodeError> {
    let malformed = |what| DecodeError::malformed(kind::TABLE_MAP, what);
    let mut cursor = Cursor::new(definition);
    let (codes, metadata, nullable) = (|| {
        let count = cursor.length().filter(|count| *count <= MAX_COLUMNS)?;
        let codes = cursor.take(count)?;
        let metadata = cursor.length_encoded_bytes()?;
        Some((codes, metadata, cursor.take(count.div_ceil(8))?))
    })()
    .ok_or(malformed("column list"))?;
    let mut metadata = Cursor::new(metadata);
    let mut columns = Vec::with_capacity(codes.len());
    for (index, code) in codes.iter().enumerate() {
        let image_type = image_type(*code, &mut metadata).ok_or(malformed("column type or its metadata"))?;
        let nullable = nullable.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0);
        columns.push(ColumnMap {
            image_type,
            nullable,
            unsigned: None,
            collation: None,
            name: None,
            labels: None,
            visible: None,
        });
    }
    let mut map = TableMap { columns, primary_key: Vec::new() };
    while !cursor.is_empty() {
        let field = cursor.u8().ok_or(malformed("optional metadata"))?;
        let value = cursor.length_encoded_bytes().ok_or(malformed("optional metadata"))?;
        optional(&mut map, field, &mut Cursor::new(value))
            .ok_or(malformed("field of the optional metadata"))?;
    }
    Ok(map)
}

/// The wire type and its metadata, which has a length of its own for each type.
fn image_type(code: u8, metadata: &mut Cursor<'_>) -> Option<ImageType> {
    let fsp = |metadata: &mut Cursor<'_>| metadata.u8().filter(|fsp| *fsp <= 6);
    let length_width = |metadata: &mut Cursor<'_>| metadata.u8().filter(|width| (1..=4).contains(width));
    Some(match code {
        1 => ImageType::Tiny,
        2 => ImageType::Short,
        3 => ImageType::Long,
        4 => metadata.u8().filter(|width| *width == 4).map(|_| ImageType::Float)?,
        5 => metadata.u8().filter(|width| *width == 8).map(|_| ImageType::Double)?,
        7 => ImageType::OldTimestamp,
        8 => ImageType::LongLong,
        9 => ImageType::Int24,
        10 | 14 => ImageType::Date,
        11 => ImageType::OldTime,
        12 => ImageType::OldDateTime,
        13 => ImageType::Year,
        15 => ImageType::VarChar { max_bytes: metadata.u16()? },
        16 => {
            let [bits, bytes] = metadata.array()?;
            let width_bits = u16::from(bytes) * 8 + u16::from(bits);
            ImageType::Bit { width_bits: Some(width_bits).filter(|width| (1..=64).contains(width))? }
        }
        17 => ImageType::Timestamp { fsp: fsp(metadata)? },
        18 => ImageType::DateTime { fsp: fsp(metadata)? },
        19 => ImageType::Time { fsp: fsp(metadata)? },
        242 => ImageType::Vector { length_width: length_width(metadata)? },
        245 => ImageType::Json { length_width: length_width(metadata)? },
        246 => {
            let [precision, scale] = metadata.array()?;
            if precision > 65 || scale > 30 || scale > precision {
                return None;
            }
            ImageType::Decimal { precision, scale }
        }
        249..=252 => ImageType::Blob { length_width: length_width(metadata)? },
        255 => ImageType::Geometry { length_width: length_width(metadata)? },
        247 | 248 | 254 => string_type(metadata.array()?)?,
        _ => return None,
    })
}

/// CHAR, BINARY, ENUM and SET share a type code; the real one is in the metadata. The two highest bits of a length
/// past 255 are kept, inverted, in bits of the real type that are always set.
fn string_type([real, low]: [u8; 2]) -> Option<ImageType> {
    let high = u16::from((real & 0x30) ^ 0x30) << 4;
    let max_bytes = high | u16::from(low);
    Some(match real | 0x30 {
        247 if matches!(low, 1 | 2) && high == 0 => ImageType::Enum { width: low },
        248 if matches!(low, 1..=4 | 8) && high == 0 => ImageType::Set { width: low },
        254 => ImageType::String { max_bytes },
        _ => return None,
    })
}

impl ImageType {
    /// True for the types whose sign the optional metadata lists: YEAR is one of them, which is always unsigned.
    const fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Tiny
                | Self::Short
                | Self::Int24
                | Self::Long
                | Self::LongLong
                | Self::Float
                | Self::Double
                | Self::Year
                | Self::Decimal { .. }
        )
    }

    /// True for the types whose collation the optional metadata lists: binary strings included, and VECTOR, but neither
    /// JSON nor GEOMETRY.
    const fn is_text(self) -> bool {
        matches!(self, Self::String { .. } | Self::VarChar { .. } | Self::Blob { .. } | Self::Vector { .. })
    }

    const fn is_enum(self) -> bool {
        matches!(self, Self::Enum { .. })
    }

    const fn is_set(self) -> bool {
        matches!(self, Self::Set { .. })
    }

    const fn is_labelled(self) -> bool {
        self.is_enum() || self.is_set()
    }
}

/// Applies one field of the optional metadata.
fn optional(map: &mut TableMap, field: u8, value: &mut Cursor<'_>) -> Option<()> {
    let columns = &mut map.columns;
    match field {
        1 => {
            let numeric = columns.iter_mut().filter(|column| column.image_type.is_numeric());
            for (column, bit) in numeric.zip(bits(value.rest())) {
                column.unsigned = Some(bit);
            }
        }
        2 => default_collations(columns, value, ImageType::is_text)?,
        3 => column_collations(columns, value, ImageType::is_text)?,
        4 => {
            for column in columns {
                if value.is_empty() {
                    break;
                }
                column.name = Some(String::from_utf8(value.length_encoded_bytes()?.to_vec()).ok()?);
            }
        }
        5 => labels(columns, value, ImageType::is_set)?,
        6 => labels(columns, value, ImageType::is_enum)?,
        8 | 9 => {
            while !value.is_empty() {
                let column = u32::try_from(value.length_encoded()?).ok()?;
                let prefix = if field == 9 { value.length_encoded()? } else { 0 };
                map.primary_key.push((column, u32::try_from(prefix).ok()?));
            }
        }
        10 => default_collations(columns, value, ImageType::is_labelled)?,
        11 => column_collations(columns, value, ImageType::is_labelled)?,
        12 => {
            for (column, bit) in columns.iter_mut().zip(bits(value.rest())) {
                column.visible = Some(bit);
            }
        }
        // 7 and 13, the kinds of geometries and the dimensions of vectors, are not needed; others are not known.
        _ => {}
    }
    Some(())
}

/// The bits of the optional metadata's bitmaps, highest first.
fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1 != 0))
}

/// One collation for all columns of a kind, then pairs of index (among these) and collation for the exceptions.
fn default_collations(
    columns: &mut [ColumnMap],
    value: &mut Cursor<'_>,
    of: fn(ImageType) -> bool,
) -> Option<()> {
    let default = u32::try_from(value.length_encoded()?).ok()?;
    let mut of_kind: Vec<_> = columns.iter_mut().filter(|column| of(column.image_type)).collect();
    for column in &mut of_kind {
        column.collation = Some(default);
    }
    while !value.is_empty() {
        let index = value.length()?;
        let collation = u32::try_from(value.length_encoded()?).ok()?;
        of_kind.get_mut(index)?.collation = Some(collation);
    }
    Some(())
}

/// One collation a column of a kind.
fn column_collations(
    columns: &mut [ColumnMap],
    value: &mut Cursor<'_>,
    of: fn(ImageType) -> bool,
) -> Option<()> {
    for column in columns.iter_mut().filter(|column| of(column.image_type)) {
        if value.is_empty() {
            break;
        }
        column.collation = Some(u32::try_from(value.length_encoded()?).ok()?);
    }
    Some(())
}

/// The labels of each column of a kind.
fn labels(columns: &mut [ColumnMap], value: &mut Cursor<'_>, of: fn(ImageType) -> bool) -> Option<()> {
    for column in columns.iter_mut().filter(|column| of(column.image_type)) {
        if value.is_empty() {
            break;
        }
        let count = value.length_encoded()?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(value.length_encoded_bytes()?.to_vec());
        }
        column.labels = Some(all);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// int unsigned, varchar(20) latin1, enum('a','b'), char(255) utf8mb4, decimal(10,2), bit(9).
    fn definition() -> Vec<u8> {
        let mut bytes = vec![6, 3, 15, 254, 254, 246, 16];
        bytes.extend([10, 20, 0, 247, 1, 254 ^ 0x30, 0xfc, 10, 2, 1, 1]);
        bytes.push(0b0011_0110);
        bytes.extend([1, 1, 0b1000_0000]); // signedness of the two numeric columns
        bytes.extend([2, 3, 0xfc, 0xff, 0x00]); // default collation 255 …
        let at = bytes.len() - 4;
        bytes[at] = 5;
        bytes.extend([0, 8]); // … but 8 for the first text column
        bytes.extend([99, 2, 7, 7]); // of a later version
        bytes.extend([4, 12, 1, b'a', 1, b'b', 1, b'c', 1, b'd', 1, b'e', 1, b'f']);
        bytes.extend([6, 5, 2, 1, b'a', 1, b'b']);
        bytes.extend([8, 1, 0]);
        bytes
    }

    #[test]
    fn types_and_optional_metadata() {
        let map = parse(&definition()).unwrap();
        let types: Vec<_> = map.columns.iter().map(|column| column.image_type).collect();
        assert_eq!(
            types,
            [
                ImageType::Long,
                ImageType::VarChar { max_bytes: 20 },
                ImageType::Enum { width: 1 },
                ImageType::String { max_bytes: 1020 },
                ImageType::Decimal { precision: 10, scale: 2 },
                ImageType::Bit { width_bits: 9 },
            ]
        );
        let nullable: Vec<_> = map.columns.iter().map(|column| column.nullable).collect();
        assert_eq!(nullable, [false, true, true, false, true, true]);
        let unsigned: Vec<_> = map.columns.iter().map(|column| column.unsigned).collect();
        assert_eq!(unsigned, [Some(true), None, None, None, Some(false), None]);
        let collations: Vec<_> = map.columns.iter().map(|column| column.collation).collect();
        assert_eq!(collations, [None, Some(8), None, Some(255), None, None]);
        assert_eq!(map.columns[5].name.as_deref(), Some("f"));
        assert_eq!(map.columns[2].labels, Some(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(map.primary_key, [(0, 0)]);
    }

    #[test]
    fn vectors_are_among_the_texts_and_geometries_are_not() {
        // varchar(20), geometry, vector, varchar(9) latin1: the exception is the third of the texts.
        let mut bytes = vec![4, 15, 255, 242, 15, 6, 20, 0, 4, 4, 9, 0, 0];
        bytes.extend([2, 7, 0xfc, 0xff, 0x00, 1, 63, 2, 8]);
        let map = parse(&bytes).unwrap();
        let collations: Vec<_> = map.columns.iter().map(|column| column.collation).collect();
        assert_eq!(collations, [Some(255), None, Some(63), Some(8)]);
    }

    #[test]
    fn a_type_of_a_later_version_is_an_error() {
        assert!(parse(&[1, 99, 0, 0]).is_err());
        assert!(parse(&[1, 246, 2, 66, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn damaged_definitions_never_panic(flips in prop::collection::vec((0_usize..60, any::<u8>()), 1..6), end in 0_usize..70) {
            let mut bytes = definition();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(end);
            let _ = parse(&bytes);
        }
    }
}
