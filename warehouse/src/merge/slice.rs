//! Which rows of a target are one topic's, where several share it: those that hold its constants in the key. Pure.
//!
//! Invariant: no statement of a topic touches a row outside of its slice, and the slices of two topics that share a target
//! have no row in common.

use super::layout::ColumnRule;
use super::names::{identifier, literal, quote};
use std::collections::BTreeMap;
use std::fmt;

/// The constants of a topic that are part of the target's key: column (in the warehouse, unquoted) → value. None: every row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice(BTreeMap<String, String>);

impl Slice {
    /// What `rule` leaves to its table.
    #[must_use]
    pub fn of(rule: &ColumnRule) -> Self {
        let key: Vec<String> = rule.primary_key.iter().flatten().map(|name| identifier(name)).collect();
        let constants = rule.constants.iter().map(|constant| (identifier(&constant.column), constant));
        let in_key = constants.filter(|(column, _)| key.contains(column));
        Self(in_key.map(|(column, constant)| (column, constant.value.to_string())).collect())
    }

    /// True if the target is not shared.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// True if no row can be in both, whatever integer or text type the columns have.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        let differs = |(column, value): (&String, &String)| {
            other.0.get(column).is_some_and(|theirs| match (value.parse::<i128>(), theirs.parse::<i128>()) {
                (Ok(ours), Ok(theirs)) => ours != theirs,
                _ => value != theirs,
            })
        };
        self.0.len() == other.0.len() && self.0.keys().eq(other.0.keys()) && self.0.iter().any(differs)
    }

    /// Its columns, by name.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The condition that is true of its rows; `None` if it is of all.
    #[must_use]
    pub fn condition(&self) -> Option<String> {
        // A literal without a type takes the column's.
        let equal = self.0.iter().map(|(column, value)| format!("{} = {}", quote(column), literal(value)));
        (!self.is_whole()).then(|| equal.collect::<Vec<_>>().join(" AND "))
    }

    /// As the bookkeeping has it.
    #[must_use]
    pub fn stored(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// From what the bookkeeping has; `None` if that is no slice.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

/// For people.
impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (column, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{column} = {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_config::{Constant, ConstantValue};

    fn slice(constants: &[(&str, &str)], key: &[&str]) -> Slice {
        let constant = |(column, value): &(&str, &str)| Constant {
            column: (*column).to_owned(),
            value: ConstantValue::Text((*value).to_owned()),
        };
        Slice::of(&ColumnRule {
            constants: constants.iter().map(constant).collect(),
            primary_key: Some(key.iter().map(|name| (*name).to_owned()).collect()),
            ..ColumnRule::default()
        })
    }

    #[test]
    fn only_constants_of_the_key_tell_rows_apart() {
        let one = slice(&[("region", "e'u"), ("shard", "7"), ("note", "x")], &["shard", "region", "id"]);
        assert_eq!(one.condition().as_deref(), Some("\"region\" = 'e''u' AND \"shard\" = '7'"));
        assert_eq!(one.to_string(), "region = e'u, shard = 7");
        assert_eq!(Slice::from_stored(&one.stored()), Some(one.clone()));
        assert!(slice(&[("note", "x")], &["id"]).is_whole());
        let other =
            |region, shard| slice(&[("region", region), ("shard", shard)], &["region", "shard", "id"]);
        assert!(one.is_apart_from(&other("us", "7")) && one.is_apart_from(&other("e'u", "8")));
        assert!(!one.is_apart_from(&other("e'u", "7")));
        assert!(!one.is_apart_from(&other("e'u", "07")), "equal, where the column is an integer");
        assert!(!one.is_apart_from(&slice(&[("shard", "8")], &["shard", "id"])), "of another key");
        assert!(!one.is_apart_from(&Slice::default()) && !Slice::default().is_apart_from(&one));
    }
}
