//! Patterns over table names: `shop.orders`, `shop_*.orders`, `*.*`. `*` stands for any run of characters, in the
//! database and in the table apart; letters are compared exactly. The first dot divides.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use tributary_schemas::table::TableId;

/// Databases that belong to the server. No pattern reaches them.
const SYSTEM_DATABASES: [&str; 5] =
    ["mysql", "sys", "information_schema", "performance_schema", "__recycle_bin__"];

/// One pattern, with one of tasks in front where a task reads others' topics: `eu:shop.orders`, `*:shop.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSelector {
    task: Option<String>,
    database: String,
    table: String,
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// No dot, or nothing beside it.
    #[error("{0:?} is not a table: write database.table, with * for any run of characters")]
    Shape(String),
    /// A database of the server itself.
    #[error("{0:?} names a database of the server itself, which is never replicated")]
    System(String),
}

impl TableSelector {
    /// True if it matches one table only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.database.contains('*') && !self.table.contains('*')
    }

    /// The pattern of tasks in front of a colon, in an apply-only config; `None` for every task that is read.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// True if tables of the task `origin` are meant.
    #[must_use]
    pub fn is_of(&self, origin: &str) -> bool {
        self.task.as_deref().is_none_or(|pattern| glob(pattern, origin))
    }

    /// How narrow it is. Of two that match a table the greater one counts: a table's whole name before any pattern, then the
    /// task's whole name before any pattern.
    pub(super) fn narrowness(&self) -> (bool, bool) {
        (self.is_exact(), self.task.as_deref().is_some_and(|task| !task.contains('*')))
    }

    /// Patterns of the database and of the table.
    pub(super) fn parts(&self) -> (&str, &str) {
        (&self.database, &self.table)
    }

    /// True if `id` is meant.
    #[must_use]
    pub fn matches(&self, id: &TableId) -> bool {
        !is_system(&id.database) && glob(&self.database, &id.database) && glob(&self.table, &id.table)
    }
}

fn is_system(database: &str) -> bool {
    SYSTEM_DATABASES.iter().any(|system| system.eq_ignore_ascii_case(database))
}

impl FromStr for TableSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || SelectorError::Shape(text.to_owned());
        let (head, table) = text.split_once('.').ok_or_else(shape)?;
        let (task, database) = match head.split_once(':') {
            Some((task, database)) => (Some(task), database),
            None => (None, head),
        };
        if database.is_empty() || table.is_empty() || task.is_some_and(str::is_empty) {
            return Err(shape());
        }
        if is_system(database) {
            return Err(SelectorError::System(text.to_owned()));
        }
        // `*:` says no more than nothing does.
        let task = task.filter(|task| *task != "*");
        Ok(Self { task: task.map(str::to_owned), database: database.to_owned(), table: table.to_owned() })
    }
}

impl fmt::Display for TableSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "{task}:")?;
        }
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// True if `text` is `pattern` with each `*` replaced by some run of characters. On a mismatch only the last `*`
/// has to take one more character, so the time is at most the product of the two lengths.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                retry = Some((rest, text));
                pattern = rest;
            }
            (Some((p, pattern_rest)), Some((t, text_rest))) if p == t => {
                (pattern, text) = (pattern_rest, text_rest);
            }
            (None, None) => return true,
            _ => match retry {
                Some((after_star, [_, shorter @ ..])) => {
                    retry = Some((after_star, shorter));
                    (pattern, text) = (after_star, shorter);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by recursion.
    fn oracle(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| oracle(rest, &text[skip..])),
            Some((p, rest)) => text.split_first().is_some_and(|(t, tail)| p == t && oracle(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(glob(&pattern, &text), oracle(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn database_and_table_are_matched_apart() {
        let matches = |pattern: &str, database: &str, table: &str| {
            pattern.parse::<TableSelector>().unwrap().matches(&TableId::new(database, table))
        };
        assert!(matches("shop.orders", "shop", "orders"));
        assert!(!matches("shop.orders", "shop", "Orders"));
        assert!(matches("shop_*.orders", "shop_01", "orders"));
        assert!(!matches("shop*orders.x", "shop", "orders.x"));
        assert!(matches("shop.a.b", "shop", "a.b"));
        assert!(matches("*.*", "shop", "orders"));
        assert!(!matches("*.*", "mysql", "user"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "shop", ".orders", "shop.", ":shop.orders"] {
            assert!(matches!(bad.parse::<TableSelector>(), Err(SelectorError::Shape(_))), "{bad}");
        }
        assert!(matches!("mysql.user".parse::<TableSelector>(), Err(SelectorError::System(_))));
        let selector: TableSelector = "eu:shop.*".parse().unwrap();
        assert_eq!((selector.task(), selector.is_exact()), (Some("eu"), false));
        assert_eq!(selector.to_string(), "eu:shop.*");
        assert_eq!("*:shop.*".parse(), "shop.*".parse::<TableSelector>());
        let of = |text: &str| text.parse::<TableSelector>().unwrap().is_of("eu_1");
        assert_eq!(
            ["eu_*:a.b", "eu_1:a.b", "a.b", "us:a.b", "eu:a.b"].map(of),
            [true, true, true, false, false]
        );
    }
}
