//! Which type a column of the destination gets that is too narrow for the source's new one. Pure. Invariant: it takes every
//! value that the old one did, whoever has written it, and ALTER COLUMN TYPE needs no USING.

use super::target::TargetKind;

/// The type that holds both what a column holds and what it is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widened {
    /// The one that the source's type stands for.
    Wanted,
    /// Wider than either.
    Numeric {
        /// Digits.
        precision: u16,
        /// Digits behind the point.
        scale: u16,
    },
}

impl TargetKind {
    /// From this type to one that is as wide as `wanted`, too; `None` if there is none, or values would be written in
    /// another way.
    #[must_use]
    pub(crate) fn widened(&self, wanted: &Self) -> Option<Widened> {
        use TargetKind as K;
        let fits = match (self, wanted) {
            (
                K::SmallInt | K::Integer | K::BigInt | K::Numeric(_),
                K::SmallInt | K::Integer | K::BigInt | K::Numeric(_),
            ) => {
                return self.widened_number(wanted);
            }
            (K::SmallInt | K::Integer | K::Real | K::Double, K::Double)
            | (K::Date, K::Timestamp(_))
            | (K::Text(_), K::Text(None)) => true,
            (K::Text(Some(old)), K::Text(Some(new))) => old <= new,
            (K::Timestamp(old), K::Timestamp(new))
            | (K::TimestampTz(old), K::TimestampTz(new))
            | (K::Interval(old), K::Interval(new)) => old <= new,
            _ => false,
        };
        fits.then_some(Widened::Wanted)
    }

    fn widened_number(&self, wanted: &Self) -> Option<Widened> {
        // Digits before and behind the point that are surely held, and that may be there.
        let digits = |kind: &Self, may: u16| match kind {
            Self::SmallInt => Some((4 + may, 0)),
            Self::Integer => Some((9 + may, 0)),
            Self::BigInt => Some((18 + may, 0)),
            Self::Numeric(Some((precision, scale))) => Some((precision.saturating_sub(*scale), *scale)),
            _ => None,
        };
        let is_integer = |kind: &Self| matches!(kind, Self::SmallInt | Self::Integer | Self::BigInt);
        if is_integer(self) && is_integer(wanted) || *wanted == Self::Numeric(None) {
            return (digits(self, 0) <= digits(wanted, 0) || *wanted == Self::Numeric(None))
                .then_some(Widened::Wanted);
        }
        let ((whole, scale), (held, held_scale)) = (digits(self, 1)?, digits(wanted, 0)?);
        if whole <= held && scale <= held_scale {
            return Some(Widened::Wanted);
        }
        let (wanted_whole, wanted_scale) = digits(wanted, 1)?;
        let (whole, scale) = (whole.max(wanted_whole), scale.max(wanted_scale));
        Some(Widened::Numeric { precision: whole + scale, scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widened(from: &str, wanted: &str) -> Option<String> {
        Some(match TargetKind::parse(from).widened(&TargetKind::parse(wanted))? {
            Widened::Wanted => wanted.to_owned(),
            Widened::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
        })
    }

    #[test]
    fn a_column_never_becomes_narrower_than_it_is() {
        for (from, wanted, expected) in [
            ("smallint", "integer", Some("integer")),
            ("integer", "bigint", Some("bigint")),
            ("bigint", "integer", None),
            ("bigint", "numeric(20,0)", Some("numeric(20,0)")),
            ("bigint", "numeric(18,0)", Some("numeric(19,0)")),
            ("numeric(9,0)", "integer", Some("integer")),
            ("numeric(10,0)", "integer", Some("numeric(10,0)")),
            ("numeric(12,2)", "bigint", Some("numeric(21,2)")),
            ("numeric(12,4)", "numeric(14,2)", Some("numeric(16,4)")),
            ("numeric(12,4)", "numeric(14,4)", Some("numeric(14,4)")),
            ("numeric(12,4)", "numeric", Some("numeric")),
            ("numeric", "numeric(12,4)", None),
            ("integer", "double precision", Some("double precision")),
            ("bigint", "double precision", None),
            ("character varying(9)", "varchar(12)", Some("varchar(12)")),
            ("character varying(12)", "varchar(9)", None),
            ("character varying(12)", "text", Some("text")),
            ("text", "varchar(9)", None),
            ("date", "timestamp(3)", Some("timestamp(3)")),
            ("timestamp(6) without time zone", "timestamp(3)", None),
            ("bytea", "text", None),
        ] {
            assert_eq!(widened(from, wanted).as_deref(), expected, "{from} to {wanted}");
        }
    }
}
