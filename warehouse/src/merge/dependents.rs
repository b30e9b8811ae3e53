//! What stands in the way when a table is altered or made anew: views, foreign keys, triggers and the like. What the catalog
//! says enters; what a person is to run before and after leaves. Pure: apply itself never drops what is not its own.

use super::belongings::{Belongings, FromSource};
use super::names::TargetName;

/// Dependents whose statements are given; more are counted.
const SHOWN: usize = 40;

/// What depends on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// What it is.
    pub kind: Kind,
    /// Its name, quoted; of a function with its arguments.
    pub name: String,
    /// The table that it is a part of, quoted.
    pub on: String,
    /// The server's own text of what it is; empty where there is none.
    pub definition: String,
    /// How many steps it is away from the table: what is further away goes first and comes back last.
    pub depth: i32,
    /// What hangs on it, if it is a view.
    pub belongings: Belongings,
}

/// Kinds of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    View,
    MaterializedView,
    Rule,
    ForeignKey,
    Trigger,
    Policy,
    GeneratedColumn,
    Function,
    ChildTable,
    Partition,
    Partitioned,
    Parent,
    PartitionedParent,
    Other,
}

impl Kind {
    const ALL: [(Self, &'static str); 14] = [
        (Self::View, "view"),
        (Self::MaterializedView, "materialized view"),
        (Self::Rule, "rule"),
        (Self::ForeignKey, "foreign key"),
        (Self::Trigger, "trigger"),
        (Self::Policy, "policy"),
        (Self::GeneratedColumn, "generated column"),
        (Self::Function, "function"),
        (Self::ChildTable, "child table"),
        (Self::Partition, "partition"),
        (Self::Partitioned, "partitioning"),
        (Self::Parent, "parent table"),
        (Self::PartitionedParent, "partitioned table"),
        (Self::Other, "other"),
    ];

    /// Parses the words that the question to the catalog uses.
    #[must_use]
    pub(crate) fn parse(words: &str) -> Self {
        Self::ALL.iter().find(|(_, known)| *known == words).map_or(Self::Other, |(kind, _)| *kind)
    }

    fn words(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, words)| words)
    }
}

impl Dependent {
    /// What it is called, for people.
    #[must_use]
    pub(crate) fn told(&self) -> String {
        match self.kind {
            Kind::Other => self.name.clone(),
            kind if self.on.is_empty()
                || matches!(
                    kind,
                    Kind::ChildTable | Kind::Partition | Kind::Parent | Kind::PartitionedParent
                ) =>
            {
                format!("{} {}", kind.words(), self.name)
            }
            kind => format!("{} {} on {}", kind.words(), self.name, self.on),
        }
    }

    /// The statement that takes it away.
    fn removal(&self) -> String {
        let Self { name, on, .. } = self;
        match self.kind {
            Kind::View => format!("DROP VIEW {name}"),
            Kind::MaterializedView => format!("DROP MATERIALIZED VIEW {name}"),
            Kind::Rule => format!("DROP RULE {name} ON {on}"),
            Kind::ForeignKey => format!("ALTER TABLE {on} DROP CONSTRAINT {name}"),
            Kind::Trigger => format!("DROP TRIGGER {name} ON {on}"),
            Kind::Policy => format!("DROP POLICY {name} ON {on}"),
            Kind::GeneratedColumn => format!("ALTER TABLE {on} DROP COLUMN {name}"),
            Kind::Function => format!("DROP FUNCTION {name}"),
            Kind::ChildTable => format!("ALTER TABLE {name} NO INHERIT {on}"),
            Kind::Partition => {
                format!(
                    "-- {on} is partitioned: drop it, and create it as the source defines it now, with {name}"
                )
            }
            Kind::Partitioned => {
                format!("-- {on} is partitioned {name}: drop it, and create it as the source defines it now")
            }
            Kind::Parent => format!("ALTER TABLE {on} NO INHERIT {name}"),
            Kind::PartitionedParent if self.definition.is_empty() => {
                format!(
                    "-- {on} is a partition of {name}, which this server cannot part with: choose another `target`"
                )
            }
            Kind::PartitionedParent => format!("ALTER TABLE {name} DETACH PARTITION {on}"),
            Kind::Other => format!("-- remove by hand: {name}"),
        }
    }

    /// The statements that bring it back.
    fn creation(&self) -> Vec<String> {
        let Self { name, on, definition, .. } = self;
        let definition = definition.trim().trim_end_matches(';');
        let hung = |kind: &str| {
            let steps = self.belongings.steps(kind, name, &Belongings::default(), &FromSource::default());
            steps.into_iter().map(|step| step.sql)
        };
        let mut statements = Vec::new();
        match self.kind {
            Kind::View => {
                statements.push(format!("CREATE VIEW {name} AS {definition}"));
                statements.extend(hung("VIEW"));
            }
            Kind::MaterializedView => {
                statements.push(format!("CREATE MATERIALIZED VIEW {name} AS {definition}"));
                statements.extend(hung("MATERIALIZED VIEW"));
            }
            Kind::ForeignKey => {
                statements.push(format!("ALTER TABLE {on} ADD CONSTRAINT {name} {definition}"));
            }
            Kind::Policy => statements.push(format!("CREATE POLICY {name} ON {on} {definition}")),
            Kind::GeneratedColumn => {
                statements.push(format!("ALTER TABLE {on} ADD COLUMN {name} {definition}"));
            }
            Kind::ChildTable => statements.push(format!("ALTER TABLE {name} INHERIT {on}")),
            Kind::Rule | Kind::Trigger | Kind::Function if !definition.is_empty() => {
                statements.push(definition.to_owned());
            }
            Kind::Parent => statements.push(format!("ALTER TABLE {on} INHERIT {name}")),
            Kind::PartitionedParent if definition.is_empty() => {}
            Kind::PartitionedParent => {
                statements.push(format!("-- give {name} the columns first that {on} has now"));
                statements.push(format!("ALTER TABLE {name} ATTACH PARTITION {on} {definition}"));
            }
            Kind::Partition | Kind::Partitioned => {}
            Kind::Rule | Kind::Trigger | Kind::Function | Kind::Other => {
                statements.push(format!("-- make again by hand: {}", self.told()));
            }
        }
        statements
    }
}

/// The names, for people.
#[must_use]
pub fn listed(dependents: &[Dependent]) -> String {
    let names: Vec<String> = dependents.iter().take(SHOWN).map(Dependent::told).collect();
    match dependents.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// What a person is to run: what removes the dependents, the last first, and what makes them again.
#[must_use]
pub(crate) fn removal_and_return(dependents: &[Dependent]) -> (Vec<String>, Vec<String>) {
    let mut ordered: Vec<&Dependent> = dependents.iter().collect();
    ordered.sort_by_key(|dependent| dependent.depth);
    let removal = ordered.iter().rev().map(|dependent| dependent.removal()).collect();
    let creation = ordered.iter().flat_map(|dependent| dependent.creation()).collect();
    (removal, creation)
}

/// The remedy. `gone`: columns that the source has dropped, which nothing can name again; `then`: how the table goes on.
#[must_use]
pub fn remedy(target: &TargetName, dependents: &[Dependent], gone: &[String], then: &str) -> String {
    let (removal, creation) = removal_and_return(dependents);
    let lines = |statements: Vec<String>| -> String {
        statements.iter().map(|statement| format!("\n{statement};")).collect()
    };
    let columns = if gone.is_empty() {
        String::new()
    } else {
        format!(", without {}, which the source has dropped", gone.join(", "))
    };
    format!(
        "run, in this order, as the owner:{}\n{then}. Once {target} has followed, run{columns}:{}",
        lines(removal),
        lines(creation)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependent(kind: Kind, name: &str, depth: i32) -> Dependent {
        Dependent {
            kind,
            name: name.into(),
            on: if kind == Kind::View { String::new() } else { "s.t".into() },
            definition: " SELECT 1;".into(),
            depth,
            belongings: Belongings::default(),
        }
    }

    #[test]
    fn what_is_built_on_another_goes_first_and_comes_back_last() {
        let found = [dependent(Kind::View, "s.a", 1), dependent(Kind::View, "s.b", 2)];
        let (removal, creation) = removal_and_return(&found);
        assert_eq!(removal, ["DROP VIEW s.b", "DROP VIEW s.a"]);
        assert_eq!(creation, ["CREATE VIEW s.a AS SELECT 1", "CREATE VIEW s.b AS SELECT 1"]);
        assert_eq!(listed(&found), "view s.a, view s.b");
    }

    #[test]
    fn every_kind_has_words_and_statements() {
        for (kind, words) in Kind::ALL {
            assert_eq!(Kind::parse(words), kind);
            let dependent = dependent(kind, "x", 1);
            assert!(!dependent.removal().is_empty());
            let gone = matches!(kind, Kind::Partition | Kind::Partitioned);
            assert_eq!(dependent.creation().is_empty(), gone);
            assert!(!dependent.removal().contains("CASCADE"));
        }
    }

    #[test]
    fn a_partition_that_cannot_be_attached_again_is_not_detached() {
        let parent = dependent(Kind::PartitionedParent, "s.p", 0);
        assert!(parent.removal().contains("DETACH") && parent.creation()[1].contains("ATTACH"));
        let parent = Dependent { definition: String::new(), ..parent };
        assert!(parent.removal().starts_with("-- ") && parent.creation().is_empty());
    }

    #[test]
    fn the_remedy_says_which_columns_are_gone() {
        let text = remedy(&TargetName::new("s", "t"), &[dependent(Kind::View, "s.v", 1)], &["c".into()], "");
        assert!(text.contains("DROP VIEW s.v;") && text.contains("without c,"), "{text}");
    }
}
