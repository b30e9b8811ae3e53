//! Names in the warehouse: quoting, and the limit of 63 bytes past which PostgreSQL would cut silently.

use std::fmt;
use tributary_schemas::key::murmur2;

/// PostgreSQL's limit of an identifier, bytes.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 63;

/// An identifier in double quotes.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Identifiers in double quotes, with commas between.
#[must_use]
pub fn quote_list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| quote(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Text as an SQL literal that reads the same whatever `standard_conforming_strings` is.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `name` if it fits an identifier; else as much of it as fits in front of a hash of the whole.
#[must_use]
pub fn identifier(name: &str) -> String {
    if name.len() <= IDENTIFIER_BYTES_MAX { name.to_owned() } else { hashed(name, name, "") }
}

/// `name`, cut to what fits, a hash of `whole`, and `suffix`.
fn hashed(name: &str, whole: &str, suffix: &str) -> String {
    let room = IDENTIFIER_BYTES_MAX.saturating_sub(9 + suffix.len());
    let cut = (0..=room).rev().find_map(|length| name.get(..length)).unwrap_or_default();
    format!("{cut}_{:08x}{suffix}", murmur2(whole.as_bytes()))
}

/// Writers that may be numbered; more than these share staging tables, which costs time only.
pub const WRITERS: u32 = 256;

/// A table of the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// Schema, unquoted.
    pub schema: String,
    /// Table, unquoted.
    pub table: String,
}

impl TargetName {
    /// Both parts unquoted; each is cut to 63 bytes as [`identifier`] does.
    #[must_use]
    pub fn new(schema: &str, table: &str) -> Self {
        Self { schema: identifier(schema), table: identifier(table) }
    }

    /// The staging table in `schema` that the writer of this number uses for this target, and for this topic where several
    /// share the target. Different targets and topics never share one.
    #[must_use]
    pub fn stage(&self, schema: &str, topic: Option<&str>, writer: u32) -> Self {
        let suffix = format!(".{writer}");
        let table = match topic {
            None => joined(&self.schema, &self.table, &suffix),
            Some(topic) => {
                let whole = format!("{}\0{}\0{topic}", self.schema, self.table);
                hashed(&format!("{}.{}", self.schema, self.table), &whole, &suffix)
            }
        };
        Self { schema: identifier(schema), table }
    }

    /// The name of the primary key, which is an index in the target's schema: with a hash of the target in it, for
    /// `orders_pkey` may be a table of the source.
    #[must_use]
    pub(crate) fn key_name(&self) -> String {
        hashed(&self.table, &format!("{}\0{}", self.schema, self.table), "_pkey")
    }

    /// The destination's name for an index of this name on the source: index names are unique in a schema, not in
    /// a table, and tables have the same names to choose from: `orders.by_day` may be a table of the source.
    #[must_use]
    pub(crate) fn index(&self, index: &str) -> String {
        hashed(&format!("{}.{index}", self.table), &format!("{}\0{index}", self.table), "_idx")
    }

    /// As [`Self::index`] in versions before, which had no hash in most names.
    #[must_use]
    pub(crate) fn former_index(&self, index: &str) -> String {
        joined(&self.table, index, "")
    }
}

/// `left.right<suffix>`; where a dot in a name or the limit of 63 bytes could make two pairs alike, a hash tells
/// them apart.
fn joined(left: &str, right: &str, suffix: &str) -> String {
    let base = format!("{left}.{right}");
    if left.contains('.') || right.contains('.') || base.len() + suffix.len() > IDENTIFIER_BYTES_MAX {
        hashed(&base, &format!("{left}\0{right}"), suffix)
    } else {
        base + suffix
    }
}

/// Quoted, as SQL wants it.
impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quote(&self.schema), quote(&self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_literals_are_escaped() {
        assert_eq!(TargetName::new("s", "a\"b").to_string(), "\"s\".\"a\"\"b\"");
        assert_eq!(quote_list(&["a", "b"]), "\"a\", \"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'"), "E'a\\\\'''");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (one, two) = ("é".repeat(40) + "1", "é".repeat(40) + "2");
        assert!(identifier(&one).len() <= 63);
        assert_ne!(identifier(&one), identifier(&two));
        assert_eq!(identifier("short"), "short");
        let stages = [
            TargetName::new("a.b", "c").stage("t", None, 0),
            TargetName::new("a", "b.c").stage("t", None, 0),
            TargetName::new("a", "b.c").stage("t", None, 1),
            TargetName::new(&one, &two).stage("t", None, 0),
            TargetName::new(&two, &one).stage("t", None, 0),
        ];
        for (index, stage) in stages.iter().enumerate() {
            assert!(stage.table.len() <= 63);
            assert!(!stages.iter().skip(index + 1).any(|other| other == stage));
        }
        assert_eq!(TargetName::new("shop", "orders").stage("t", None, 3).table, "shop.orders.3");
        let orders = TargetName::new("shop", "orders");
        assert_eq!(orders.former_index("by_day"), "orders.by_day");
        let by_day = orders.index("by_day");
        assert!(by_day.starts_with("orders.by_day_") && by_day.ends_with("_idx"), "{by_day}");
        assert_ne!(TargetName::new("shop", "a.b").index("c"), TargetName::new("shop", "a").index("b.c"));
        assert!(TargetName::new(&one, &two).index(&one).len() <= 63);
        let key = TargetName::new("shop", "orders").key_name();
        assert!(key.starts_with("orders_") && key.ends_with("_pkey") && key != "orders_pkey", "{key}");
        assert_ne!(key, TargetName::new("shop", "orders2").key_name());
        assert!(TargetName::new(&one, &two).key_name().len() <= 63);
    }
}
