//! What hangs on a relation of the destination and goes with it when it is made anew: a value that one question to the
//! catalog fills, and the statements that give the same to another of the same name. Pure.
//!
//! Invariant: nothing that the new relation has already is given twice, and a right that only the new one gives, by default
//! privileges, is taken away again.

use super::layout::TableRule;
use super::names::{literal, quote};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::Table;

/// One thing that hangs on a relation. Texts of the server (`definition`) are SQL, names are unquoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belonging {
    /// A column, with its type, collation, default or expression.
    Column {
        /// Its name.
        name: String,
        /// `type [COLLATE …] [DEFAULT …] [NOT NULL]`.
        definition: String,
    },
    /// Unique, check, exclusion and foreign key constraints.
    Constraint {
        /// Its name.
        name: String,
        /// `CHECK (…)` and the like.
        definition: String,
    },
    /// An index that belongs to no constraint.
    Index {
        /// The statement that makes it.
        definition: String,
    },
    /// An object of extended statistics.
    Statistics {
        /// The statement that makes it.
        definition: String,
    },
    /// A storage parameter, as `name=value`.
    Parameter(String),
    /// What is set of a column with `ALTER COLUMN … SET`: its statistics target, options and storage.
    ColumnSetting {
        /// The column.
        column: String,
        /// `STATISTICS 500`, `(n_distinct=5)`, `STORAGE EXTERNAL`.
        setting: String,
    },
    /// A comment on the relation, or on a column of it.
    Comment {
        /// The column.
        column: Option<String>,
        /// The text.
        text: String,
    },
    /// `FULL`, `NOTHING` or `USING INDEX …`.
    ReplicaIdentity(String),
    /// A publication that names it.
    Publication(String),
    /// What a role may do; the owner's own rights are not among them.
    Privilege {
        /// A column, if the right is for it alone.
        column: Option<String>,
        /// `SELECT` and so on.
        privilege: String,
        /// The role; `None`: everybody.
        role: Option<String>,
        /// It may give the right to others.
        grantable: bool,
    },
    /// The role that owns it, if it is not the one that asks.
    Owner(String),
}

/// Everything that hangs on a relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongings(BTreeSet<Belonging>);

/// What comes from the source and is followed by itself: columns of the definitions, and their comments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FromSource {
    columns: BTreeSet<String>,
    comments: BTreeMap<Option<String>, String>,
}

impl FromSource {
    /// Of a target that goes from one definition to another. A column that keeps its id goes by its later name; comments are
    /// those of the earlier definition.
    #[must_use]
    pub fn between(before: &Table, after: &Table, rule: &TableRule) -> Self {
        let mut known = Self::default();
        known.comments.insert(None, before.comment.clone());
        for column in before.columns.iter().chain(&after.columns) {
            known.columns.insert(rule.target_name(column));
        }
        for column in &before.columns {
            let name = rule.target_name(after.column(column.id).unwrap_or(column));
            known.comments.insert(Some(name), column.comment.clone());
        }
        known
    }

    fn covers(&self, belonging: &Belonging) -> bool {
        match belonging {
            Belonging::Column { name, .. } => self.columns.contains(name),
            Belonging::Comment { column, text } => self.comments.get(column) == Some(text),
            _ => false,
        }
    }
}

impl FromIterator<Belonging> for Belongings {
    fn from_iter<I: IntoIterator<Item = Belonging>>(belongings: I) -> Self {
        Self(belongings.into_iter().collect())
    }
}

impl Belongings {
    /// The statements that give `relation` (quoted; `kind` as ALTER calls it) what this one had, in an order that works.
    /// `now`: what it has already. `known`: what it gets from the source.
    #[must_use]
    pub fn statements(&self, kind: &str, relation: &str, now: &Self, known: &FromSource) -> Vec<String> {
        let missing =
            self.0.iter().filter(|belonging| !now.0.contains(belonging) && !known.covers(belonging));
        let mut statements: Vec<(u8, String)> =
            missing.map(|belonging| (belonging.turn(), belonging.statement(kind, relation))).collect();
        for belonging in now.0.difference(&self.0) {
            if let Belonging::Privilege { column, privilege, role, .. } = belonging {
                let right = right(privilege, column.as_deref());
                let revoke = format!("REVOKE {right} ON {relation} FROM {}", grantee(role.as_deref()));
                statements.push((REVOKE, revoke));
            }
        }
        statements.sort_by_key(|(turn, _)| *turn);
        statements.into_iter().map(|(_, statement)| statement).collect()
    }
}

/// Before what is granted, lest a right with another option is taken away again.
const REVOKE: u8 = 8;

fn right(privilege: &str, column: Option<&str>) -> String {
    column.map_or_else(|| privilege.to_owned(), |column| format!("{privilege} ({})", quote(column)))
}

fn grantee(role: Option<&str>) -> String {
    role.map_or_else(|| "PUBLIC".to_owned(), quote)
}

impl Belonging {
    /// What needs another comes after it; the owner last, for a role that has given a table away may do nothing to it.
    const fn turn(&self) -> u8 {
        match self {
            Self::Column { .. } => 0,
            Self::Constraint { .. } => 1,
            Self::Index { .. } => 2,
            Self::Statistics { .. } => 3,
            Self::Parameter(_) | Self::ColumnSetting { .. } => 4,
            Self::Comment { .. } => 5,
            Self::ReplicaIdentity(_) => 6,
            Self::Publication(_) => 7,
            Self::Privilege { .. } => 9,
            Self::Owner(_) => 10,
        }
    }

    fn statement(&self, kind: &str, relation: &str) -> String {
        let alter = format!("ALTER {kind} {relation}");
        match self {
            Self::Column { name, definition } => format!("{alter} ADD COLUMN {} {definition}", quote(name)),
            Self::Constraint { name, definition } => {
                format!("{alter} ADD CONSTRAINT {} {definition}", quote(name))
            }
            Self::Index { definition } | Self::Statistics { definition } => definition.clone(),
            Self::Parameter(parameter) => {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
                format!("{alter} SET ({name} = {})", literal(value))
            }
            Self::ColumnSetting { column, setting } => {
                format!("{alter} ALTER COLUMN {} SET {setting}", quote(column))
            }
            Self::Comment { column: Some(column), text } => {
                format!("COMMENT ON COLUMN {relation}.{} IS {}", quote(column), literal(text))
            }
            Self::Comment { column: None, text } => {
                format!("COMMENT ON {kind} {relation} IS {}", literal(text))
            }
            Self::ReplicaIdentity(identity) => format!("{alter} REPLICA IDENTITY {identity}"),
            Self::Publication(name) => format!("ALTER PUBLICATION {} ADD TABLE {relation}", quote(name)),
            Self::Privilege { column, privilege, role, grantable } => {
                let option = if *grantable { " WITH GRANT OPTION" } else { "" };
                let right = right(privilege, column.as_deref());
                format!("GRANT {right} ON {relation} TO {}{option}", grantee(role.as_deref()))
            }
            Self::Owner(role) => format!("{alter} OWNER TO {}", quote(role)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(role: Option<&str>) -> Belonging {
        let role = role.map(str::to_owned);
        Belonging::Privilege { column: None, privilege: "SELECT".into(), role, grantable: false }
    }

    #[test]
    fn what_is_missing_is_given_in_an_order_that_works_and_what_only_the_new_one_gives_is_taken() {
        let index = Belonging::Index { definition: "CREATE INDEX i ON s.t USING btree (mine)".into() };
        let mine = Belonging::Column { name: "mine".into(), definition: "text".into() };
        let followed = Belonging::Column { name: "a".into(), definition: "integer".into() };
        let comment = |column: Option<&str>, text: &str| Belonging::Comment {
            column: column.map(str::to_owned),
            text: text.into(),
        };
        let had: Belongings = [
            Belonging::Owner("dba".into()),
            select(Some("re\"port")),
            select(None),
            index,
            mine,
            followed,
            Belonging::Parameter("fillfactor=70".into()),
            comment(None, "from the source"),
            comment(Some("a"), "it's mine"),
        ]
        .into_iter()
        .collect();
        let now: Belongings = [select(None), select(Some("leak"))].into_iter().collect();
        let known = FromSource {
            columns: ["a".to_owned()].into(),
            comments: [(None, "from the source".to_owned()), (Some("a".to_owned()), String::new())].into(),
        };
        assert_eq!(
            had.statements("TABLE", "\"s\".\"t\"", &now, &known),
            [
                "ALTER TABLE \"s\".\"t\" ADD COLUMN \"mine\" text",
                "CREATE INDEX i ON s.t USING btree (mine)",
                "ALTER TABLE \"s\".\"t\" SET (fillfactor = '70')",
                "COMMENT ON COLUMN \"s\".\"t\".\"a\" IS 'it''s mine'",
                "REVOKE SELECT ON \"s\".\"t\" FROM \"leak\"",
                "GRANT SELECT ON \"s\".\"t\" TO \"re\"\"port\"",
                "ALTER TABLE \"s\".\"t\" OWNER TO \"dba\"",
            ]
        );
        assert!(had.statements("TABLE", "\"s\".\"t\"", &had, &known).is_empty());
    }
}
