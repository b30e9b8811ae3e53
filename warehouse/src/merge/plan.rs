//! The plan that moves rows of one generation of a table into one destination table: compiled once, then run for
//! every row (see [`super::encode`]). What enters is the table's definition, the config's rule and the destination
//! table as the catalog has it; what leaves is a flat program, or what does not fit and what to do about it.

use super::layout::{ColumnRule, Layout, Origin, PlannedColumn};
use super::names::TargetName;
use super::pairing::{Skip, Writer, writer};
use super::target::{TargetColumn, TargetKind, TargetShape};
use super::{copy, numeric};
use tributary_schemas::table::{Column, Table};

pub(crate) mod error;

use error::COLUMNS_MAX;
pub use error::PlanError;
use tributary_config::ZeroDatePolicy;

/// One field of the Avro record of a row.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// A union with null.
    pub(super) nullable: bool,
    /// How to step over its value.
    pub(super) skip: Skip,
    /// How to write its value; `None` for a column that is left out.
    pub(super) writer: Option<Writer>,
    /// NULL may stand for a zero date, whose text is in a header.
    pub(super) zero_date: bool,
    /// The destination takes no NULL.
    pub(super) not_null: bool,
    /// What stands in for a NUL character; `None` refuses it, as in every key: two keys could become one.
    pub(super) substitute: Option<&'static str>,
}

/// Names of a field, apart from the program because only errors and zero dates need them.
#[derive(Debug, Clone)]
pub(super) struct FieldName {
    pub(super) source: String,
    pub(super) target: String,
}

/// Where a field of a delete's tuple comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum DeleteField {
    Null,
    /// Place in the key record.
    Key(usize),
    /// Place in `constants`.
    Constant(usize),
}

/// A key column, in the order of the key record.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyField {
    pub(super) skip: Skip,
    pub(super) writer: Writer,
    /// Place in `names`.
    pub(super) name: usize,
}

/// What moves the rows of one generation into one destination table.
#[derive(Debug, Clone)]
pub struct TransferPlan {
    pub(super) fields: Vec<Field>,
    pub(super) names: Vec<FieldName>,
    pub(super) keys: Vec<KeyField>,
    pub(super) deletes: Vec<DeleteField>,
    /// COPY fields of the constants, lengths included.
    pub(super) constants: Vec<Vec<u8>>,
    pub(super) zero_dates: ZeroDatePolicy,
    pub(super) columns: Vec<StageColumn>,
    pub(super) key: Vec<String>,
    pub(super) target: TargetName,
    deleted_column: String,
    unique_key: bool,
    append_optimized: bool,
    extra_columns: bool,
    distributed_by: Vec<String>,
    fills: Vec<Fill>,
}

/// A column of the destination that rows of an older generation do not have, and what the source has put into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Name in the destination.
    pub name: String,
    /// SQL of a constant.
    pub value: String,
}

/// A column that rows are written into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageColumn {
    /// Name in the destination.
    pub name: String,
    /// Type as the destination's catalog prints it.
    pub type_name: String,
}

impl TransferPlan {
    /// Compiles the plan from `table` into `target`.
    ///
    /// # Errors
    /// [`PlanError`], naming the column.
    pub fn compile(table: &Table, rule: &ColumnRule, target: &TargetShape) -> Result<Self, PlanError> {
        let layout = Layout::of(table, rule)?;
        let name = || target.name.to_string();
        if layout.columns.len() > COLUMNS_MAX {
            return Err(PlanError::TooManyColumns { target: name(), columns: layout.columns.len() });
        }
        let mut plan = Self::empty(table, rule, target, &layout);
        let mut place_in_row = Vec::new();
        for planned in &layout.columns {
            let there = find(table, target, planned)?;
            if there.generated || there.identity_always {
                let (column, identity) = (planned.name.clone(), there.identity_always);
                return Err(PlanError::Generated { target: name(), column, identity });
            }
            if layout.key.contains(&planned.name) && !there.deterministic {
                let (column, wanted) = (planned.name.clone(), there.type_name.clone());
                return Err(PlanError::CoarseKey { target: name(), column, wanted });
            }
            plan.columns.push(StageColumn { name: planned.name.clone(), type_name: there.type_name.clone() });
            match &planned.origin {
                Origin::Source(index) => {
                    let column = table.columns.get(*index);
                    plan.add_column(table, column, *index, target, there)?;
                    place_in_row.push(DeleteField::Null);
                }
                Origin::Constant(value) => {
                    let value = value.to_string();
                    let field = constant(&value, &TargetKind::parse(&there.type_name)).ok_or_else(|| {
                        PlanError::BadConstant {
                            target: name(),
                            column: planned.name.clone(),
                            value: value.clone(),
                            target_type: there.type_name.clone(),
                        }
                    })?;
                    place_in_row.push(DeleteField::Constant(plan.constants.len()));
                    plan.constants.push(field);
                }
            }
        }
        plan.deletes = place_in_row;
        plan.add_keys(table, &layout);
        let unnamed = |column: &&TargetColumn| layout.column(&column.name).is_none();
        let required = |column: &&TargetColumn| column.not_null && !column.has_default && !column.generated;
        if let Some(column) = target.columns.iter().filter(unnamed).find(required) {
            return Err(PlanError::RequiredColumn { target: name(), column: column.name.clone() });
        }
        Ok(plan)
    }

    /// A plan that steps over every field of the row.
    fn empty(table: &Table, rule: &ColumnRule, target: &TargetShape, layout: &Layout) -> Self {
        let field = |column: &Column| Field {
            nullable: table.avro_nullable(column),
            // The layout has refused columns without an Avro type, unless they are left out: those are published
            // by no capture.
            skip: column.column_type.avro().map_or(Skip::Bytes, Skip::of),
            writer: None,
            zero_date: column.column_type.may_be_zero_date(),
            not_null: false,
            substitute: rule.nul_bytes.substitute().filter(|_| !table.is_key(column)),
        };
        let mut deleted_column = "_deleted".to_owned();
        while layout.column(&deleted_column).is_some() {
            deleted_column.insert(0, '_');
        }
        Self {
            fields: table.columns.iter().map(field).collect(),
            names: table
                .columns
                .iter()
                .map(|column| FieldName { source: column.name.clone(), target: rule.target_name(column) })
                .collect(),
            keys: Vec::new(),
            deletes: Vec::new(),
            constants: Vec::new(),
            zero_dates: rule.zero_dates,
            columns: Vec::with_capacity(layout.columns.len()),
            key: layout.key.clone(),
            target: target.name.clone(),
            deleted_column,
            unique_key: target.has_unique_key(&layout.key),
            append_optimized: target.append_optimized,
            extra_columns: target
                .columns
                .iter()
                .any(|column| !column.generated && layout.column(&column.name).is_none()),
            distributed_by: target.distributed_by.clone(),
            fills: Vec::new(),
        }
    }

    fn add_column(
        &mut self,
        table: &Table,
        column: Option<&Column>,
        index: usize,
        target: &TargetShape,
        there: &TargetColumn,
    ) -> Result<(), PlanError> {
        let (Some(column), Some(field)) = (column, self.fields.get_mut(index)) else { return Ok(()) };
        if column.nullable && !table.is_key(column) && there.not_null {
            return Err(PlanError::NotNull { target: target.name.to_string(), column: there.name.clone() });
        }
        let kind = TargetKind::parse(&there.type_name);
        field.writer = Some(writer(&column.column_type, &kind).ok_or_else(|| PlanError::Incompatible {
            target: target.name.to_string(),
            column: there.name.clone(),
            source_type: column.column_type.to_string(),
            target_type: there.type_name.clone(),
            wanted: column.column_type.target().map_or_else(|e| e.to_string(), |wanted| wanted.to_string()),
        })?);
        field.not_null = there.not_null;
        Ok(())
    }

    /// The program of deletes: the key record's fields, and where each stands in the row.
    fn add_keys(&mut self, table: &Table, layout: &Layout) {
        for (place, id) in table.key.iter().enumerate() {
            let Some(index) = table.columns.iter().position(|column| column.id == *id) else { continue };
            let Some(field) = self.fields.get(index) else { continue };
            let Some(writer) = field.writer else { continue };
            self.keys.push(KeyField { skip: field.skip, writer, name: index });
            let in_row = layout.columns.iter().position(|planned| planned.origin == Origin::Source(index));
            if let Some(slot) = in_row.and_then(|in_row| self.deletes.get_mut(in_row)) {
                *slot = DeleteField::Key(place);
            }
        }
    }

    /// The plan, with columns that rows do not have written as `fills` says (name in the destination, SQL): the
    /// destination's own default may be one of later. Those that `target` does not have, computes, or whose type does not
    /// take the value, are left out.
    #[must_use]
    pub(crate) fn with_fills(mut self, fills: Vec<(String, String)>, target: &TargetShape) -> Self {
        for (name, value) in fills {
            let there = target.columns.iter().find(|column| column.name == name);
            let refuses = |there: &TargetColumn| {
                there.generated || there.identity_always || (there.not_null && value == "NULL")
            };
            if let Some(there) = there.filter(|there| !refuses(there))
                && !self.columns.iter().any(|column| column.name == name)
                && let Some(value) = castable(value, &TargetKind::parse(&there.type_name))
            {
                let value = format!("CAST({value} AS {})", there.type_name);
                self.fills.push(Fill { name, value });
            }
        }
        self.extra_columns = target.columns.iter().any(|column| {
            let is_written = self.columns.iter().map(|written| &written.name);
            !column.generated
                && !is_written
                    .chain(self.fills.iter().map(|fill| &fill.name))
                    .any(|name| *name == column.name)
        });
        self
    }

    /// Columns that are written with a constant.
    #[must_use]
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// Columns that rows are written into, in order.
    #[must_use]
    pub fn columns(&self) -> &[StageColumn] {
        &self.columns
    }

    /// Columns of the destination's key.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The destination table.
    #[must_use]
    pub const fn target(&self) -> &TargetName {
        &self.target
    }

    /// The staging table's flag of deletes: `_deleted`, unless the table has such a column itself.
    #[must_use]
    pub fn deleted_column(&self) -> &str {
        &self.deleted_column
    }

    /// True if a valid unique index covers exactly the key: ON CONFLICT and the direct load rest on one.
    #[must_use]
    pub const fn has_unique_key(&self) -> bool {
        self.unique_key
    }

    /// True if the destination table is stored append-optimized.
    #[must_use]
    pub const fn is_append_optimized(&self) -> bool {
        self.append_optimized
    }

    /// True if the destination has columns that are not written: a row that changes must keep them.
    #[must_use]
    pub const fn has_extra_columns(&self) -> bool {
        self.extra_columns
    }

    /// The destination's distribution key.
    #[must_use]
    pub(crate) fn distributed_by(&self) -> &[String] {
        &self.distributed_by
    }
}

/// The destination's column for a planned one.
fn find<'a>(
    table: &Table,
    target: &'a TargetShape,
    planned: &PlannedColumn,
) -> Result<&'a TargetColumn, PlanError> {
    if let Some(column) = target.columns.iter().find(|column| column.name == planned.name) {
        return Ok(column);
    }
    let alike =
        target.columns.iter().find(|column| column.name.to_lowercase() == planned.name.to_lowercase());
    let origin = match &planned.origin {
        Origin::Source(index) => table.columns.get(*index).map(|column| column.name.clone()),
        Origin::Constant(_) => None,
    };
    Err(PlanError::MissingColumn {
        target: target.name.to_string(),
        column: planned.name.clone(),
        wanted: planned.target_type.to_string(),
        origin: origin.unwrap_or_else(|| planned.name.clone()),
        alike: alike.map(|column| column.name.clone()),
    })
}

/// A fill as SQL that casts to `kind`: of a bit string only bits and bytes come, and of a single bit a truth value.
pub(super) fn castable(value: String, kind: &TargetKind) -> Option<String> {
    let Some(bits) = value.strip_prefix("B'").and_then(|rest| rest.strip_suffix('\'')) else {
        return Some(value);
    };
    match kind {
        TargetKind::Bit(_) | TargetKind::BitVarying(_) => Some(value),
        TargetKind::Boolean if bits.len() == 1 => Some((bits == "1").to_string()),
        TargetKind::Bytea => {
            let padded = format!("{bits:0>width$}", width = bits.len().next_multiple_of(8));
            let nibble = |bits: &[u8]| {
                let digits = std::str::from_utf8(bits).ok()?;
                char::from_digit(u32::from_str_radix(digits, 2).ok()?, 16)
            };
            let digits: Option<String> = padded.as_bytes().chunks(4).map(nibble).collect();
            digits.map(|digits| format!("E'\\\\x{digits}'"))
        }
        _ => None,
    }
}

/// The COPY field of a constant; `None` if the type does not take it.
fn constant(value: &str, kind: &TargetKind) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match kind {
        TargetKind::Text(limit) => {
            let fits = limit
                .is_none_or(|limit| u32::try_from(value.chars().count()).is_ok_and(|length| length <= limit));
            if !fits || value.contains('\0') {
                return None;
            }
            copy::put_bytes(&mut out, value.as_bytes()).ok()?;
        }
        TargetKind::SmallInt => copy::put_i16(&mut out, value.parse().ok()?),
        TargetKind::Integer => copy::put_i32(&mut out, value.parse().ok()?),
        TargetKind::BigInt => copy::put_i64(&mut out, value.parse().ok()?),
        TargetKind::Numeric(size) => {
            let room = size.and_then(|(precision, scale)| precision.checked_sub(scale));
            numeric::put_integer(&mut out, value.parse().ok()?, room).ok()?;
        }
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests;
