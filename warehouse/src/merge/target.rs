//! A destination table as it is: what the catalog says enters, types that can be compared leave.

use super::hazards::Hazards;
use super::layout::{Layout, PlannedColumn};
use super::names::TargetName;

/// A destination table as `pg_catalog` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetShape {
    pub name: TargetName,
    /// Columns that are not dropped, by `attnum`.
    pub columns: Vec<TargetColumn>,
    /// Columns of each unique index that is valid, immediate, without predicate and without expressions.
    pub unique_keys: Vec<Vec<String>>,
    /// Stored append-optimized (Greenplum's `appendonly` or `ao_*` access methods), rows or columns.
    pub append_optimized: bool,
    /// Distribution key; empty on a single server and for a random distribution.
    pub distributed_by: Vec<String>,
    /// What else it is or carries.
    pub hazards: Hazards,
}

impl TargetShape {
    /// A table without a key, on a single server.
    #[must_use]
    pub(crate) fn new(name: TargetName, columns: Vec<TargetColumn>) -> Self {
        Self {
            name,
            columns,
            unique_keys: Vec::new(),
            append_optimized: false,
            distributed_by: Vec::new(),
            hazards: Hazards::default(),
        }
    }

    /// The table that Tributary would create.
    #[must_use]
    pub fn planned(name: TargetName, layout: Layout) -> Self {
        let column = |planned: PlannedColumn| TargetColumn {
            not_null: planned.not_null,
            ..TargetColumn::new(planned.name, planned.target_type.to_string())
        };
        let columns = layout.columns.into_iter().map(column).collect();
        Self { unique_keys: vec![layout.key], ..Self::new(name, columns) }
    }

    /// True if a unique index covers exactly these columns, in any order.
    #[must_use]
    pub fn has_unique_key(&self, key: &[String]) -> bool {
        self.unique_key(key).is_some()
    }

    /// The columns of a unique index that covers exactly these, in the order of the index.
    #[must_use]
    pub(crate) fn unique_key(&self, key: &[String]) -> Option<&[String]> {
        let covers =
            |unique: &&Vec<String>| unique.len() == key.len() && key.iter().all(|name| unique.contains(name));
        self.unique_keys.iter().find(covers).map(Vec::as_slice)
    }

    /// True if the table has the column, and it is never null.
    #[must_use]
    pub fn is_not_null(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && column.not_null)
    }
}

/// A column of a destination table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetColumn {
    /// Its name, unquoted.
    pub name: String,
    /// `format_type(atttypid, atttypmod)`.
    pub type_name: String,
    /// `attnotnull`.
    pub not_null: bool,
    /// Filled without being named in an INSERT: a default or an identity.
    pub has_default: bool,
    /// GENERATED ALWAYS AS (…), which no INSERT may name.
    pub generated: bool,
    /// GENERATED ALWAYS AS IDENTITY, which an INSERT may name only if it overrides it.
    pub identity_always: bool,
    /// Its collation is deterministic: equal means equal bytes. True for types without collation, and on kernels
    /// before PostgreSQL 12.
    pub deterministic: bool,
}

impl TargetColumn {
    /// A column that may be null, and that nothing fills but what is written.
    pub(crate) fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            not_null: false,
            has_default: false,
            generated: false,
            identity_always: false,
            deterministic: true,
        }
    }
}

/// A type that Tributary writes, parsed from `format_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    SmallInt,
    Integer,
    BigInt,
    /// `None`: any number of digits.
    Numeric(Option<(u16, u16)>),
    Real,
    Double,
    Boolean,
    /// `text`, or `varchar` of this many characters.
    Text(Option<u32>),
    Bytea,
    Json,
    Jsonb,
    Date,
    /// Digits of fractional seconds.
    Timestamp(u8),
    TimestampTz(u8),
    Time(u8),
    Interval(u8),
    Bit(u32),
    BitVarying(Option<u32>),
    /// Anything else.
    Other,
}

impl TargetKind {
    /// Parses the output of `format_type`, and the spellings of `TargetType`.
    #[must_use]
    pub fn parse(type_name: &str) -> Self {
        let (head, arguments, tail) = match type_name.split_once('(') {
            Some((head, rest)) => match rest.split_once(')') {
                Some((arguments, tail)) => (head.trim(), Some(arguments), tail.trim()),
                None => return Self::Other,
            },
            None => (type_name, None, ""),
        };
        // `timestamp(3) without time zone` and `timestamp without time zone` are the same words.
        let words = if tail.is_empty() { head.to_owned() } else { format!("{head} {tail}") };
        let number = arguments.and_then(|text| text.trim().parse::<u32>().ok());
        if arguments.is_some() && number.is_none() && words != "numeric" {
            return Self::Other;
        }
        let fsp = number.map_or(Some(6), |digits| u8::try_from(digits).ok()).unwrap_or(6);
        match words.as_str() {
            "smallint" => Self::SmallInt,
            "integer" => Self::Integer,
            "bigint" => Self::BigInt,
            "numeric" => match arguments {
                None => Self::Numeric(None),
                Some(text) => {
                    let (precision, scale) = text.split_once(',').unwrap_or((text, "0"));
                    match (precision.trim().parse(), scale.trim().parse()) {
                        (Ok(precision), Ok(scale)) => Self::Numeric(Some((precision, scale))),
                        // A negative scale rounds: nothing is written into such a column.
                        _ => Self::Other,
                    }
                }
            },
            "real" => Self::Real,
            "double precision" => Self::Double,
            "boolean" => Self::Boolean,
            "text" => Self::Text(None),
            "character varying" | "varchar" => Self::Text(number),
            "bytea" => Self::Bytea,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "date" => Self::Date,
            "timestamp without time zone" | "timestamp" => Self::Timestamp(fsp),
            "timestamp with time zone" => Self::TimestampTz(fsp),
            "time without time zone" | "time" => Self::Time(fsp),
            "interval" => Self::Interval(fsp),
            "bit" => Self::Bit(number.unwrap_or(1)),
            "bit varying" => Self::BitVarying(number),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_from_what_the_catalog_prints() {
        for (text, kind) in [
            ("numeric(20,0)", TargetKind::Numeric(Some((20, 0)))),
            ("numeric", TargetKind::Numeric(None)),
            ("numeric(5,-2)", TargetKind::Other),
            ("character varying(12)", TargetKind::Text(Some(12))),
            ("character varying", TargetKind::Text(None)),
            ("character(12)", TargetKind::Other),
            ("timestamp(3) without time zone", TargetKind::Timestamp(3)),
            ("timestamp with time zone", TargetKind::TimestampTz(6)),
            ("timestamp(0) with time zone", TargetKind::TimestampTz(0)),
            ("interval(2)", TargetKind::Interval(2)),
            ("interval day to second(2)", TargetKind::Other),
            ("bit(9)", TargetKind::Bit(9)),
            ("bit varying", TargetKind::BitVarying(None)),
            ("integer[]", TargetKind::Other),
            ("citext", TargetKind::Other),
            ("varchar(", TargetKind::Other),
        ] {
            assert_eq!(TargetKind::parse(text), kind, "{text}");
        }
    }

    #[test]
    fn a_unique_key_is_the_same_in_any_order_but_not_a_wider_one() {
        let shape = TargetShape {
            name: TargetName::new("s", "t"),
            columns: vec![],
            unique_keys: vec![vec!["a".into(), "b".into(), "c".into()], vec!["b".into(), "a".into()]],
            append_optimized: false,
            distributed_by: vec![],
            hazards: Default::default(),
        };
        assert!(shape.has_unique_key(&["a".into(), "b".into()]));
        assert!(!shape.has_unique_key(&["a".into()]));
    }
}
