//! What hangs on a relation of the destination and goes with it when it is made anew: a value that one question to the
//! catalog fills, and the statements that give the same to another of the same name. Pure.
//!
//! Invariant: nothing that the new relation has already is given twice, and a right that only the new one gives, by default
//! privileges, is taken away again.

use super::layout::ColumnRule;
use super::names::{literal, quote};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::Table;

/// One thing that hangs on a relation. Texts of the server (`definition`) are SQL, names are unquoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Belonging {
    /// A column, with its type, collation, default or expression.
    Column {
        /// Its place among the others.
        position: i32,
        name: String,
        /// `type [COLLATE …] [DEFAULT …] [NOT NULL]`.
        definition: String,
        /// It is computed from others.
        generated: bool,
    },
    /// Unique, check, exclusion and foreign key constraints.
    Constraint {
        name: String,
        /// `CHECK (…)` and the like.
        definition: String,
    },
    /// An index that belongs to no constraint.
    Index {
        /// The statement that makes it.
        definition: String,
    },
    /// A rule of a view, other than the one that makes it a view.
    Rule {
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
    /// The tablespace, if it is not the database's own.
    Tablespace(String),
    /// What is set of a column with `ALTER COLUMN … SET`: its statistics target, options and storage.
    ColumnSetting {
        column: String,
        /// `STATISTICS 500`, `(n_distinct=5)`, `STORAGE EXTERNAL`.
        setting: String,
    },
    /// A comment on the relation, or on a column of it.
    Comment { column: Option<String>, text: String },
    /// `FULL`, `NOTHING` or `USING INDEX …`.
    ReplicaIdentity(String),
    /// A publication that names it.
    Publication {
        name: String,
        /// ` (columns) WHERE (condition)`, each only if there is one.
        limits: String,
    },
    /// `ENABLE` and `FORCE` of row-level security.
    RowSecurity(String),
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
    /// The role that owns it.
    Owner(String),
    /// A role that default privileges may give rights to when a view is made again; `None`: everybody.
    DefaultGrantee(Option<String>),
    /// A sequence that goes with a column (`serial`).
    Sequence {
        /// Its name, quoted.
        name: String,
        column: String,
    },
}

/// A statement that gives back one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The statement.
    pub sql: String,
    /// Without it others may see or do what they could not, or get nothing any more: better no new relation at all.
    pub required: bool,
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
    pub fn between(before: &Table, after: &Table, rule: &ColumnRule) -> Self {
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
    /// The steps that give `relation` (quoted; `kind` as ALTER calls it) what this one had, in an order that works.
    /// `now`: what it has already. `known`: what it gets from the source.
    #[must_use]
    pub fn steps(&self, kind: &str, relation: &str, now: &Self, known: &FromSource) -> Vec<Step> {
        let missing =
            self.0.iter().filter(|belonging| !now.0.contains(belonging) && !known.covers(belonging));
        let mut steps: Vec<(u8, Step)> = missing
            .map(|belonging| {
                let sql = belonging.statement(kind, relation);
                (belonging.turn(), Step { sql, required: belonging.is_required() })
            })
            .collect();
        for belonging in now.0.difference(&self.0) {
            if let Belonging::Privilege { column, privilege, role, .. } = belonging {
                let right = right(privilege, column.as_deref());
                let sql = format!("REVOKE {right} ON {relation} FROM {}", grantee(role.as_deref()));
                steps.push((REVOKE, Step { sql, required: true }));
            }
        }
        steps.sort_by_key(|(turn, _)| *turn);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// The statements that keep from DROP what is given back as it was.
    #[must_use]
    pub fn releases(&self) -> Vec<String> {
        let sequences = self.0.iter().filter_map(|belonging| match belonging {
            Belonging::Sequence { name, .. } => Some(format!("ALTER SEQUENCE {name} OWNED BY NONE")),
            _ => None,
        });
        sequences.collect()
    }
}

/// Before the relation goes to its owner, who may be one of those that lose a right; and before what is granted, lest a right
/// with another option is taken away again.
const REVOKE: u8 = 10;

fn right(privilege: &str, column: Option<&str>) -> String {
    column.map_or_else(|| privilege.to_owned(), |column| format!("{privilege} ({})", quote(column)))
}

fn grantee(role: Option<&str>) -> String {
    role.map_or_else(|| "PUBLIC".to_owned(), quote)
}

impl Belonging {
    /// What needs another comes after it. What is granted comes after the owner: a right that is granted to the role which made
    /// the relation would be lost in its rights as the owner.
    fn turn(&self) -> u8 {
        match self {
            Self::Column { generated: false, .. } => 0,
            Self::Column { generated: true, .. } => 1,
            Self::Constraint { definition, .. } if definition.starts_with("FOREIGN KEY") => 3,
            Self::Constraint { .. } => 2,
            Self::Index { .. } | Self::Rule { .. } => 4,
            Self::Statistics { .. } => 5,
            Self::Parameter(_) | Self::ColumnSetting { .. } | Self::Tablespace(_) => 6,
            Self::Comment { .. } => 7,
            Self::ReplicaIdentity(_) => 8,
            Self::Publication { .. } | Self::RowSecurity(_) => 9,
            Self::Owner(_) => 11,
            Self::DefaultGrantee(_) => 12,
            Self::Privilege { .. } => 13,
            // It must have the owner of the table by then.
            Self::Sequence { .. } => 14,
        }
    }

    const fn is_required(&self) -> bool {
        matches!(
            self,
            Self::RowSecurity(_)
                | Self::Publication { .. }
                | Self::Owner(_)
                | Self::DefaultGrantee(_)
                | Self::Privilege { .. }
        )
    }

    fn statement(&self, kind: &str, relation: &str) -> String {
        let alter = format!("ALTER {kind} {relation}");
        match self {
            Self::Column { name, definition, .. } => {
                format!("{alter} ADD COLUMN {} {definition}", quote(name))
            }
            Self::Constraint { name, definition } => {
                format!("{alter} ADD CONSTRAINT {} {definition}", quote(name))
            }
            Self::Index { definition } | Self::Statistics { definition } | Self::Rule { definition } => {
                definition.trim_end_matches(';').to_owned()
            }
            Self::Parameter(parameter) => {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
                format!("{alter} SET ({name} = {})", literal(value))
            }
            Self::Tablespace(name) => format!("{alter} SET TABLESPACE {}", quote(name)),
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
            Self::Publication { name, limits } => {
                format!("ALTER PUBLICATION {} ADD TABLE {relation}{limits}", quote(name))
            }
            Self::RowSecurity(how) => format!("{alter} {how} ROW LEVEL SECURITY"),
            Self::Privilege { column, privilege, role, grantable } => {
                let option = if *grantable { " WITH GRANT OPTION" } else { "" };
                let right = right(privilege, column.as_deref());
                format!("GRANT {right} ON {relation} TO {}{option}", grantee(role.as_deref()))
            }
            Self::Owner(role) => format!("{alter} OWNER TO {}", quote(role)),
            Self::DefaultGrantee(role) => {
                format!("REVOKE ALL ON {relation} FROM {}", grantee(role.as_deref()))
            }
            Self::Sequence { name, column } => {
                format!("ALTER SEQUENCE {name} OWNED BY {relation}.{}", quote(column))
            }
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
        let column = |position: i32, name: &str, definition: &str, generated: bool| Belonging::Column {
            position,
            name: name.into(),
            definition: definition.into(),
            generated,
        };
        let comment = |column: Option<&str>, text: &str| Belonging::Comment {
            column: column.map(str::to_owned),
            text: text.into(),
        };
        let had: Belongings = [
            Belonging::Owner("dba".into()),
            select(Some("re\"port")),
            select(None),
            select(Some("apply")),
            index,
            column(4, "mine", "text", false),
            column(3, "z", "bigserial", false),
            column(2, "computed", "text GENERATED ALWAYS AS (mine) STORED", true),
            column(1, "a", "integer", false),
            Belonging::Constraint {
                name: "f".into(),
                definition: "FOREIGN KEY (z) REFERENCES s.t(mine)".into(),
            },
            Belonging::Constraint { name: "u".into(), definition: "UNIQUE (mine)".into() },
            Belonging::Sequence { name: "s.t_z_seq".into(), column: "z".into() },
            Belonging::RowSecurity("ENABLE".into()),
            Belonging::Publication { name: "p".into(), limits: " (a) WHERE (a > 5)".into() },
            Belonging::Parameter("fillfactor=70".into()),
            comment(None, "from the source"),
            comment(Some("a"), "it's mine"),
        ]
        .into_iter()
        .collect();
        let now: Belongings =
            [select(None), select(Some("leak")), Belonging::Owner("apply".into())].into_iter().collect();
        let known = FromSource {
            columns: ["a".to_owned()].into(),
            comments: [(None, "from the source".to_owned()), (Some("a".to_owned()), String::new())].into(),
        };
        let steps = had.steps("TABLE", "\"s\".\"t\"", &now, &known);
        let statements: Vec<&str> = steps.iter().map(|step| step.sql.as_str()).collect();
        assert_eq!(
            statements,
            [
                "ALTER TABLE \"s\".\"t\" ADD COLUMN \"z\" bigserial",
                "ALTER TABLE \"s\".\"t\" ADD COLUMN \"mine\" text",
                "ALTER TABLE \"s\".\"t\" ADD COLUMN \"computed\" text GENERATED ALWAYS AS (mine) STORED",
                "ALTER TABLE \"s\".\"t\" ADD CONSTRAINT \"u\" UNIQUE (mine)",
                "ALTER TABLE \"s\".\"t\" ADD CONSTRAINT \"f\" FOREIGN KEY (z) REFERENCES s.t(mine)",
                "CREATE INDEX i ON s.t USING btree (mine)",
                "ALTER TABLE \"s\".\"t\" SET (fillfactor = '70')",
                "COMMENT ON COLUMN \"s\".\"t\".\"a\" IS 'it''s mine'",
                "ALTER PUBLICATION \"p\" ADD TABLE \"s\".\"t\" (a) WHERE (a > 5)",
                "ALTER TABLE \"s\".\"t\" ENABLE ROW LEVEL SECURITY",
                "REVOKE SELECT ON \"s\".\"t\" FROM \"leak\"",
                "ALTER TABLE \"s\".\"t\" OWNER TO \"dba\"",
                "GRANT SELECT ON \"s\".\"t\" TO \"apply\"",
                "GRANT SELECT ON \"s\".\"t\" TO \"re\"\"port\"",
                "ALTER SEQUENCE s.t_z_seq OWNED BY \"s\".\"t\".\"z\"",
            ]
        );
        assert!(steps.iter().all(|step| {
            let rights = ["PUBLICATION", "ROW LEVEL", "REVOKE", "GRANT", "OWNER"].iter();
            step.required == rights.clone().any(|word| step.sql.contains(&format!("{word} ")))
        }));
        assert_eq!(had.releases(), ["ALTER SEQUENCE s.t_z_seq OWNED BY NONE"]);
        assert!(had.steps("TABLE", "\"s\".\"t\"", &had, &known).is_empty());
    }
}
