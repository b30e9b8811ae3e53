//! What a destination table is or carries that loses, hides or rewrites rows although every statement succeeds. What the
//! catalog says enters; what must keep rows away from the table, and what a person should know, leaves.

use super::names::{TargetName, quote_list};
use crate::remedies;

/// What the catalog says of a table beside its columns and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hazards {
    /// Not written to the log: empty after a crash of the server.
    pub unlogged: bool,
    /// Partitions, by name, that are foreign tables.
    pub foreign_partitions: Vec<String>,
    /// Partitions, by name, that are unlogged.
    pub unlogged_partitions: Vec<String>,
    /// Policies hide rows from this role.
    pub row_security: bool,
    /// Rules that rewrite INSERT, UPDATE or DELETE.
    pub rules: Vec<String>,
    /// Enabled triggers that see each row before it is written, and may change it or leave it out.
    pub triggers: Vec<String>,
    /// Partitioned, and no partition takes what the others do not.
    pub without_default_partition: bool,
    /// Itself a partition: its bounds hold for every row.
    pub is_partition: bool,
}

/// Why no row may go into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// What is wrong.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl Hazards {
    /// What would lose rows in silence.
    #[must_use]
    pub(crate) fn obstacle(&self, target: &TargetName) -> Option<Obstacle> {
        let obstacle = |found: String, remedy: String| Some(Obstacle { found, remedy });
        if self.unlogged {
            return obstacle(
                format!(
                    "{target} is unlogged: it is empty after a crash of the server, while the offsets have moved on"
                ),
                remedies::unlogged(target),
            );
        }
        if let Some(partition) = self.unlogged_partitions.first() {
            return obstacle(
                format!(
                    "{} of {target} are unlogged: they are empty after a crash of the server, while the offsets have moved on",
                    self.unlogged_partitions.join(", ")
                ),
                remedies::unlogged_partition(partition),
            );
        }
        if let Some(partition) = self.foreign_partitions.first() {
            return obstacle(
                format!(
                    "{} of {target} are foreign tables: rows there are not in the transaction of the offsets",
                    self.foreign_partitions.join(", ")
                ),
                remedies::foreign_partition(target, partition),
            );
        }
        if let Some(rule) = self.rules.first() {
            return obstacle(
                format!(
                    "{target} has rules that rewrite statements ({}): what is written would not be what is in it",
                    self.rules.join(", ")
                ),
                remedies::rewriting_rule(target, rule),
            );
        }
        if self.row_security {
            return obstacle(
                format!(
                    "row-level security hides rows of {target} from this role, so that they would be written twice or stay"
                ),
                remedies::row_security(target),
            );
        }
        None
    }

    /// What a person should know. `keyless`: the key, if no unique index covers exactly it although one could.
    #[must_use]
    pub(crate) fn warnings(&self, target: &TargetName, keyless: Option<&[String]>) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.triggers.is_empty() {
            warnings.push(format!(
                "{target} has triggers that may change rows or leave them out before they are written ({}): `apply verify` \
                 shows whether they do",
                self.triggers.join(", ")
            ));
        }
        if self.without_default_partition {
            warnings.push(format!(
                "{target} is partitioned and has no default partition: a row that no partition takes parks the table; CREATE \
                 TABLE … PARTITION OF {target} DEFAULT"
            ));
        }
        if self.is_partition {
            warnings.push(format!(
                "{target} is a partition of another table: a row outside of its bounds parks the table; give the parent as \
                 `target` if rows are to go anywhere in it"
            ));
        }
        if let Some(key) = keyless {
            warnings.push(format!(
                "{target} has no valid unique index over exactly its key: rows are merged more slowly, one writer at a time; \
                 ALTER TABLE {target} ADD PRIMARY KEY ({})",
                quote_list(key)
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loses_rows_is_an_obstacle_and_what_stops_loudly_a_warning() {
        let target = TargetName::new("s", "t");
        let of = |change: &dyn Fn(&mut Hazards)| {
            let mut hazards = Hazards::default();
            change(&mut hazards);
            let obstacle = hazards.obstacle(&target).map(|obstacle| obstacle.remedy);
            (obstacle, hazards.warnings(&target, None).len())
        };
        assert_eq!(of(&|_| {}), (None, 0));
        assert_eq!(of(&|h| h.unlogged = true), (Some("ALTER TABLE \"s\".\"t\" SET LOGGED".into()), 0));
        assert_eq!(of(&|h| h.triggers = vec!["stamp".into()]), (None, 1));
        assert_eq!(of(&|h| h.without_default_partition = true), (None, 1));
        assert_eq!(of(&|h| h.is_partition = true), (None, 1));
        assert!(
            of(&|h| h.row_security = true).0.is_some() && of(&|h| h.rules = vec!["r".into()]).0.is_some()
        );
        assert!(of(&|h| h.foreign_partitions = vec!["p".into()]).0.is_some());
        assert!(of(&|h| h.unlogged_partitions = vec!["p".into()]).0.is_some());
        let keyless = Hazards::default().warnings(&target, Some(&["a".into(), "b".into()]));
        assert!(keyless[0].ends_with("ADD PRIMARY KEY (\"a\", \"b\")"), "{keyless:?}");
    }
}
