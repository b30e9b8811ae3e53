//! One form for what is equal. Fields of binary COPY enter, from the destination as the server sends them and from the
//! source as the transfer plan would write them; digests leave that are equal exactly if the rows are.
//!
//! What one value can be written as in more than one way: a numeric's zeros behind the point, a JSON document, the
//! zero of a float with a sign, an interval in days or in microseconds.

use super::buckets::Digest;
use super::hash::Hash128;
use super::json;
use tributary_schemas::table::Table;
use tributary_schemas::types::ColumnType;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::target::TargetKind;

/// What is done to a column's fields before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Bytes that are equal exactly if the values are.
    Plain,
    Numeric,
    Real,
    Double,
    Interval,
    /// A text that is a document.
    Json,
    /// The same behind the number of jsonb's format.
    Jsonb,
}

impl Form {
    fn of(kind: &TargetKind, document: bool) -> Self {
        match kind {
            TargetKind::Numeric(_) => Self::Numeric,
            TargetKind::Real => Self::Real,
            TargetKind::Double => Self::Double,
            TargetKind::Interval(_) => Self::Interval,
            TargetKind::Jsonb => Self::Jsonb,
            TargetKind::Json => Self::Json,
            TargetKind::Text(_) if document => Self::Json,
            TargetKind::SmallInt
            | TargetKind::Integer
            | TargetKind::BigInt
            | TargetKind::Boolean
            | TargetKind::Text(_)
            | TargetKind::Bytea
            | TargetKind::Date
            | TargetKind::Timestamp(_)
            | TargetKind::TimestampTz(_)
            | TargetKind::Time(_)
            | TargetKind::Bit(_)
            | TargetKind::BitVarying(_)
            | TargetKind::Other => Self::Plain,
        }
    }
}

/// A row by its columns, for naming those that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowColumns {
    /// The key's hash.
    pub id: u128,
    /// Half a hash a column, in the order of the plan.
    pub columns: Vec<u64>,
}

/// Brings the rows of one table into the one form.
#[derive(Debug, Clone)]
pub(crate) struct Canonical {
    names: Vec<String>,
    forms: Vec<Form>,
    /// Places of the key's columns.
    key: Vec<usize>,
    hash: Hash128,
    row: Vec<u8>,
    /// Where each column ends in `row`.
    ends: Vec<usize>,
    id: Vec<u8>,
}

impl Canonical {
    /// For the rows that `plan` writes; both sides must share `hash`.
    #[must_use]
    pub(crate) fn new(plan: &TransferPlan, table: &Table, rule: &ColumnRule, hash: &Hash128) -> Self {
        let is_document = |name: &str| {
            let mut documents = table.columns.iter().filter(|column| column.column_type == ColumnType::Json);
            documents.any(|column| rule.target_name(column) == name)
        };
        let columns = plan.columns();
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        Self {
            names: columns.iter().map(|column| column.name.clone()).collect(),
            forms: columns
                .iter()
                .map(|column| Form::of(&TargetKind::parse(&column.type_name), is_document(&column.name)))
                .collect(),
            key: plan.key().iter().filter_map(place).collect(),
            hash: hash.clone(),
            row: Vec::new(),
            ends: Vec::new(),
            id: Vec::new(),
        }
    }

    /// Columns by place.
    #[must_use]
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Places of the key's columns.
    #[must_use]
    pub(crate) fn key(&self) -> &[usize] {
        &self.key
    }

    /// A row in short.
    pub(crate) fn digest<'a>(&mut self, fields: impl Iterator<Item = Option<&'a [u8]>>) -> Digest {
        self.fill(fields);
        Digest { id: self.hash.of(&self.id), row: self.hash.of(&self.row) }
    }

    pub(crate) fn columns<'a>(&mut self, fields: impl Iterator<Item = Option<&'a [u8]>>) -> RowColumns {
        self.fill(fields);
        let columns = (0..self.ends.len()).map(|index| low_half(self.hash.of(self.column(index)))).collect();
        RowColumns { id: self.hash.of(&self.id), columns }
    }

    fn fill<'a>(&mut self, fields: impl Iterator<Item = Option<&'a [u8]>>) {
        self.row.clear();
        self.ends.clear();
        for (form, field) in self.forms.iter().zip(fields) {
            put(*form, field, &mut self.row);
            self.ends.push(self.row.len());
        }
        let mut id = std::mem::take(&mut self.id);
        id.clear();
        for place in &self.key {
            id.extend_from_slice(self.column(*place));
        }
        self.id = id;
    }

    fn column(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.row.get(start..end).unwrap_or_default()
    }
}

fn low_half(hash: u128) -> u64 {
    u64::try_from(hash & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

/// Appends one field: what it is, its length, its canonical bytes. A field that its form does not understand is taken
/// as it is: it can only equal the same bytes.
fn put(form: Form, field: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(field) = field else { return out.push(0) };
    let start = out.len();
    out.extend_from_slice(&[1; 9]);
    let understood = match form {
        Form::Plain => {
            out.extend_from_slice(field);
            true
        }
        Form::Numeric => put_numeric(field, out),
        Form::Real => put_real(field, out),
        Form::Double => put_double(field, out),
        Form::Interval => put_interval(field, out),
        Form::Json => json::put_canonical(field, out),
        Form::Jsonb => field.strip_prefix(&[1]).is_some_and(|text| json::put_canonical(text, out)),
    };
    if !understood {
        out.truncate(start + 9);
        out.extend_from_slice(field);
    }
    let length = (out.len() - start - 9).to_be_bytes();
    let head = [1 + u8::from(!understood)];
    if let Some(place) = out.get_mut(start..start + 9) {
        place.iter_mut().zip(head.iter().chain(&length)).for_each(|(to, from)| *to = *from);
    }
}

/// Sign, weight and digits without zeros in front and behind; the display scale does not matter.
fn put_numeric(field: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((head, digits)) = field.split_first_chunk::<8>() else { return false };
    let [_, _, weight_high, weight_low, sign_high, sign_low, ..] = *head;
    let (digits, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return false;
    }
    let leading = digits.iter().take_while(|digit| **digit == [0; 2]).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == [0; 2]).count();
    let sign = u16::from_be_bytes([sign_high, sign_low]);
    if leading == digits.len() {
        // Zero has no sign; NaN and the infinities are nothing but sign.
        let sign = if sign == 0x4000 { 0 } else { sign };
        out.extend_from_slice(&sign.to_be_bytes());
        return true;
    }
    let weight = i64::from(i16::from_be_bytes([weight_high, weight_low]));
    let Ok(skipped) = i64::try_from(leading) else { return false };
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(weight - skipped).to_be_bytes());
    let significant = digits.get(leading..digits.len() - trailing).unwrap_or_default();
    out.extend_from_slice(significant.as_flattened());
    true
}

fn put_real(field: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(bytes) = <[u8; 4]>::try_from(field) else { return false };
    let value = f32::from_be_bytes(bytes);
    let one = if value.is_nan() { f32::NAN } else { value + 0.0 };
    out.extend_from_slice(&one.to_be_bytes());
    true
}

fn put_double(field: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(bytes) = <[u8; 8]>::try_from(field) else { return false };
    let value = f64::from_be_bytes(bytes);
    let one = if value.is_nan() { f64::NAN } else { value + 0.0 };
    out.extend_from_slice(&one.to_be_bytes());
    true
}

/// Microseconds, with days of 24 hours and months of 30 days, as the server compares intervals.
fn put_interval(field: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(micros) = interval_micros(field) else { return false };
    out.extend_from_slice(&micros.to_be_bytes());
    true
}

/// The microseconds of an interval; `None` if the field is none.
#[must_use]
pub(crate) fn interval_micros(field: &[u8]) -> Option<i128> {
    let (micros, rest) = field.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let months = i128::from(i32::from_be_bytes(months.try_into().ok()?));
    let days = i128::from(i32::from_be_bytes(*days)) + 30 * months;
    Some(i128::from(i64::from_be_bytes(*micros)) + days * 86_400_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_warehouse::merge::{copy, numeric};

    fn form(form: Form, field: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(form, Some(field), &mut out);
        out
    }

    /// A field without its length.
    fn field(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out.split_off(4)
    }

    #[test]
    fn a_numeric_is_its_value_whatever_its_scale() {
        let decimal = |unscaled: &[u8], scale| {
            form(Form::Numeric, &field(|out| numeric::put_decimal(out, unscaled, scale, None).unwrap()))
        };
        let integer =
            |value| form(Form::Numeric, &field(|out| numeric::put_integer(out, value, None).unwrap()));
        assert_eq!(decimal(&[100], 2), integer(1));
        assert_eq!(decimal(&[110], 2), decimal(&[11], 1));
        assert_ne!(decimal(&[11], 1), decimal(&[11], 2));
        assert_ne!(integer(1), integer(-1));
        assert_ne!(integer(1), integer(10_000));
        // 10000 as a server may send it, with a zero digit in front and one behind.
        let wide = [0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(form(Form::Numeric, &wide), integer(10_000));
        let negative_zero = [0, 0, 0, 0, 0x40, 0, 0, 2];
        assert_eq!(form(Form::Numeric, &negative_zero), integer(0));
        let nan = [0, 0, 0, 0, 0xc0, 0, 0, 0];
        assert_ne!(form(Form::Numeric, &nan), integer(0));
    }

    #[test]
    fn floats_and_intervals_have_one_form() {
        let double = |value: f64| form(Form::Double, &value.to_be_bytes());
        assert_eq!(double(0.0), double(-0.0));
        assert_ne!(double(1.0), double(-1.0));
        assert_eq!(form(Form::Real, &(-0.0_f32).to_be_bytes()), form(Form::Real, &0.0_f32.to_be_bytes()));
        let interval = |micros: i64, days: i32, months: i32| {
            let bytes = [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
            form(Form::Interval, &bytes)
        };
        assert_eq!(interval(86_400_000_000, 0, 0), interval(0, 1, 0));
        assert_eq!(interval(0, 30, 0), interval(0, 0, 1));
        assert_ne!(interval(1, 0, 0), interval(0, 0, 0));
        let ours = field(|out| copy::put_interval(out, -1).unwrap());
        assert_eq!(form(Form::Interval, &ours), interval(-1, 0, 0));
    }

    #[test]
    fn neither_null_nor_what_is_not_understood_equals_a_value() {
        let mut null = Vec::new();
        put(Form::Plain, None, &mut null);
        assert_ne!(null, form(Form::Plain, b""));
        assert_eq!(form(Form::Jsonb, b"\x01{\"a\": 1}"), form(Form::Jsonb, b"\x01{\"a\":1.0}"));
        assert_ne!(form(Form::Jsonb, b"\x01[1"), form(Form::Jsonb, b"\x01[2"));
        assert_ne!(form(Form::Json, b"1"), form(Form::Plain, b"1"));
        assert_ne!(form(Form::Numeric, &[1]), form(Form::Numeric, &[2]));
    }

    #[test]
    fn the_border_between_columns_counts() {
        let canonical = || Canonical {
            names: vec!["a".into(), "b".into()],
            forms: vec![Form::Plain; 2],
            key: vec![0],
            hash: Hash128::default(),
            row: Vec::new(),
            ends: Vec::new(),
            id: Vec::new(),
        };
        let mut canonical = canonical();
        let mut digest = |a: &[u8], b: &[u8]| canonical.digest([Some(a), Some(b)].into_iter());
        assert_ne!(digest(b"ab", b"c").row, digest(b"a", b"bc").row);
        assert_eq!(digest(b"a", b"1").id, digest(b"a", b"2").id);
        let (one, other) = (digest(b"a", b"1"), digest(b"b", b"1"));
        assert_ne!(one.id, other.id);
        let mut columns = |a: &[u8], b: &[u8]| canonical.columns([Some(a), Some(b)].into_iter()).columns;
        let (one, other) = (columns(b"a", b"1"), columns(b"a", b"2"));
        assert_eq!((one[0] == other[0], one[1] == other[1]), (true, false));
    }
}
