//! From a table of the catalog and a TABLE_MAP that agrees with it to the steps of a decoder.

use super::decimal::PackedDecimal;
use super::temporal::fraction_width;
use super::{ColumnName, MAX_KEY_COLUMNS, NO_KEY, Operation, RowDecoder, Step, Width};
use crate::binlog::table_map::{ImageType, TableMap};
use thiserror::Error;
use tributary_schemas::table::{Column, Table};
use tributary_schemas::types::{ColumnType, UnsupportedType};
use tributary_source::charset::Charset;

/// Why no decoder can be made for a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompileError {
    /// A column's type.
    #[error("column {column}: {error}; exclude the column with capture.exclude_columns")]
    Unsupported {
        /// Column name.
        column: String,
        error: UnsupportedType,
    },
    /// A column's character set.
    #[error(
        "column {column} is in character set {charset}, which is not supported; exclude it or convert it"
    )]
    UnknownCharset {
        /// Column name.
        column: String,
        /// Character set.
        charset: String,
    },
    /// A column is laid out in another way than its type prescribes.
    #[error("column {column} is {column_type} in the catalog, laid out as {image_type:?} in the binlog")]
    Disagreement {
        /// Column name.
        column: String,
        /// Declared type.
        column_type: String,
        /// Layout.
        image_type: ImageType,
    },
    /// A column of the catalog that the row images do not have, or a key that MySQL could not have.
    #[error("the catalog's columns or key do not fit the row images of the binlog")]
    Shape,
}

impl RowDecoder {
    /// Compiles a decoder. `map` should agree with `table` ([`TableMap::agrees`]); what would read bytes wrongly is
    /// refused here as well.
    pub fn compile(table: &Table, map: &TableMap) -> Result<Self, CompileError> {
        let mut decoder = Self {
            steps: map.columns.iter().map(|column| skip_step(column.image_type)).collect(),
            names: map
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| unnamed(index, column.name.as_deref()))
                .collect(),
            labels: Vec::new(),
            key_columns: table.key.len(),
            key_in_order: true,
        };
        let mut key_ordinals = vec![0; table.key.len()];
        if key_ordinals.is_empty() || key_ordinals.len() > MAX_KEY_COLUMNS {
            return Err(CompileError::Shape);
        }
        let mut expected_ordinal = 0;
        for (index, column) in table.columns.iter().enumerate() {
            let at = usize::try_from(column.ordinal).map_err(|_| CompileError::Shape)?;
            // Fields are written as the image is read, so both must have one order.
            if at < expected_ordinal {
                return Err(CompileError::Shape);
            }
            expected_ordinal = at + 1;
            let image_type = map.columns.get(at).ok_or(CompileError::Shape)?.image_type;
            let operation = decoder.operation(column, image_type)?;
            let slot = table.key.iter().position(|id| *id == column.id);
            if let Some(ordinal) = slot.and_then(|slot| key_ordinals.get_mut(slot)) {
                *ordinal = expected_ordinal;
            }
            let step = decoder.steps.get_mut(at).ok_or(CompileError::Shape)?;
            step.operation = if slot.is_some() { in_key(operation) } else { operation };
            step.union = table.avro_nullable(column);
            step.nullable = column.nullable;
            step.key_slot = slot.and_then(|slot| u8::try_from(slot).ok()).unwrap_or(NO_KEY);
            step.column = u16::try_from(index).map_err(|_| CompileError::Shape)?;
            if let Some(name) = decoder.names.get_mut(at) {
                *name = ColumnName { name: column.name.clone(), column_type: column.column_type.to_string() };
            }
        }
        // Zero is left where a key names a column that is not there.
        if key_ordinals.contains(&0) {
            return Err(CompileError::Shape);
        }
        decoder.key_in_order = key_ordinals.is_sorted();
        Ok(decoder)
    }

    fn operation(&mut self, column: &Column, image_type: ImageType) -> Result<Operation, CompileError> {
        let unsupported = |error| CompileError::Unsupported { column: column.name.clone(), error };
        column.column_type.avro().map_err(unsupported)?;
        if let Some(operation) = plain(&column.column_type, image_type) {
            return Ok(operation);
        }
        match (&column.column_type, image_type) {
            (ColumnType::Char { .. }, ImageType::String { .. })
            | (ColumnType::VarChar { .. }, ImageType::VarChar { .. })
            | (ColumnType::Text(_), ImageType::Blob { .. }) => text(column),
            (ColumnType::Enum { labels }, ImageType::Enum { .. }) => {
                Ok(Operation::Enum(self.labels(labels)?))
            }
            (ColumnType::Set { labels }, ImageType::Set { .. }) => Ok(Operation::Set(self.labels(labels)?)),
            (column_type, image_type) => Err(CompileError::Disagreement {
                column: column.name.clone(),
                column_type: column_type.to_string(),
                image_type,
            }),
        }
    }

    /// Keeps the labels of one column.
    fn labels(&mut self, labels: &[String]) -> Result<u16, CompileError> {
        let index = u16::try_from(self.labels.len()).map_err(|_| CompileError::Shape)?;
        self.labels.push(labels.to_vec());
        Ok(index)
    }
}

/// A column that is not published.
fn skip_step(image_type: ImageType) -> Step {
    Step {
        operation: Operation::Skip,
        width: width(image_type),
        union: false,
        nullable: true,
        is_json: matches!(image_type, ImageType::Json { .. }),
        key_slot: NO_KEY,
        column: 0,
    }
}

/// How errors name a column that is not published.
fn unnamed(index: usize, name: Option<&str>) -> ColumnName {
    let name = name.map_or_else(|| format!("number {}", index + 1), str::to_owned);
    ColumnName { name, column_type: String::new() }
}

/// What is done to a value so that keys are equal on Kafka exactly if they are in the databases.
const fn in_key(operation: Operation) -> Operation {
    match operation {
        Operation::Float => Operation::KeyFloat,
        Operation::Double => Operation::KeyDouble,
        Operation::Text(charset) => Operation::KeyText(charset),
        other => other,
    }
}

fn text(column: &Column) -> Result<Operation, CompileError> {
    let name = column.charset.as_deref().unwrap_or("of an unknown name");
    let charset = Charset::named(name).ok_or_else(|| CompileError::UnknownCharset {
        column: column.name.clone(),
        charset: name.to_owned(),
    })?;
    Ok(if charset.is_utf8() { Operation::Utf8 } else { Operation::Text(charset) })
}

/// The types that need nothing but themselves; `None` for the others, and if the two do not fit together.
fn plain(column_type: &ColumnType, image_type: ImageType) -> Option<Operation> {
    use Operation as Op;
    let signed = |unsigned: bool, with: Op, without: Op| if unsigned { with } else { without };
    Some(match (column_type, image_type) {
        (ColumnType::TinyInt { unsigned }, ImageType::Tiny) => signed(*unsigned, Op::U8, Op::I8),
        (ColumnType::SmallInt { unsigned }, ImageType::Short) => signed(*unsigned, Op::U16, Op::I16),
        (ColumnType::MediumInt { unsigned }, ImageType::Int24) => signed(*unsigned, Op::U24, Op::I24),
        (ColumnType::Int { unsigned }, ImageType::Long) => signed(*unsigned, Op::U32, Op::I32),
        (ColumnType::BigInt { unsigned }, ImageType::LongLong) => signed(*unsigned, Op::U64, Op::I64),
        (ColumnType::Decimal { precision, scale }, ImageType::Decimal { precision: p, scale: s })
            if (*precision, *scale) == (p, s) =>
        {
            Op::Decimal(PackedDecimal::new(p, s)?)
        }
        (ColumnType::Float, ImageType::Float) => Op::Float,
        (ColumnType::Double, ImageType::Double) => Op::Double,
        (ColumnType::Bit { width }, ImageType::Bit { width_bits }) if u16::from(*width) == width_bits => {
            Op::Fixed(width_bits.div_ceil(8))
        }
        (ColumnType::Binary { length }, ImageType::String { .. }) => Op::Padded(*length),
        (ColumnType::VarBinary { .. }, ImageType::VarChar { .. })
        | (ColumnType::Blob(_), ImageType::Blob { .. }) => Op::Bytes,
        (ColumnType::Json, ImageType::Json { .. }) => Op::Json,
        (ColumnType::Date, ImageType::Date) => Op::Date,
        (ColumnType::Year, ImageType::Year) => Op::Year,
        (ColumnType::DateTime { .. }, ImageType::DateTime { fsp }) => Op::DateTime(fsp),
        (ColumnType::Timestamp { .. }, ImageType::Timestamp { fsp }) => Op::Timestamp(fsp),
        (ColumnType::Time { .. }, ImageType::Time { fsp }) => Op::Time(fsp),
        (ColumnType::DateTime { .. }, ImageType::OldDateTime) => Op::OldDateTime,
        (ColumnType::Timestamp { .. }, ImageType::OldTimestamp) => Op::OldTimestamp,
        (ColumnType::Time { .. }, ImageType::OldTime) => Op::OldTime,
        _ => return None,
    })
}

/// How many bytes a value takes.
fn width(image_type: ImageType) -> Width {
    match image_type {
        ImageType::Tiny | ImageType::Year => Width::Fixed(1),
        ImageType::Short => Width::Fixed(2),
        ImageType::Int24 | ImageType::Date | ImageType::OldTime => Width::Fixed(3),
        ImageType::Long | ImageType::Float | ImageType::OldTimestamp => Width::Fixed(4),
        ImageType::LongLong | ImageType::Double | ImageType::OldDateTime => Width::Fixed(8),
        ImageType::Decimal { precision, scale } => {
            Width::Fixed(PackedDecimal::new(precision, scale).map_or(0, PackedDecimal::width))
        }
        ImageType::Bit { width_bits } => Width::Fixed(width_bits.div_ceil(8)),
        ImageType::Enum { width } | ImageType::Set { width } => Width::Fixed(u16::from(width)),
        ImageType::String { max_bytes } | ImageType::VarChar { max_bytes } => {
            Width::Prefixed(if max_bytes > 255 { 2 } else { 1 })
        }
        ImageType::Blob { length_width }
        | ImageType::Json { length_width }
        | ImageType::Geometry { length_width }
        | ImageType::Vector { length_width } => Width::Prefixed(length_width),
        ImageType::Time { fsp } => Width::Fixed(3 + fraction_width(fsp)),
        ImageType::DateTime { fsp } => Width::Fixed(5 + fraction_width(fsp)),
        ImageType::Timestamp { fsp } => Width::Fixed(4 + fraction_width(fsp)),
    }
}
