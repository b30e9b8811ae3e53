//! What may be done to a target that is not its topic's alone. Pure: who else has rows in it and what is to be done
//! enter, a refusal leaves, with the way out. Invariant: rows and columns of others are removed by people only.

use super::task::TableTask;
use crate::bookkeeping::{Feeder, Ownership};
use crate::destination::TableError;
use crate::merge::changes::{Change, changes};
use crate::merge::slice::Slice;
use crate::merge::sql::clear_target;
use crate::remedies;
use tributary_config::ExistingData;
use tributary_schemas::history::GenerationRecord;
use tributary_service::codes::Code;

/// What is to be done to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Every row of a slice is removed.
    Empty {
        /// What does that.
        how: String,
        slice: Slice,
    },
    /// Columns are dropped or renamed.
    Narrow {
        /// The changes, for people.
        changes: String,
        /// The keys of the table's rule that leave the target as it is.
        keys: String,
    },
    /// A topic begins to feed it, as one that counts on having it alone.
    TakeOver,
}

impl Act {
    /// The rows that are concerned: those of `task`, unless it is said.
    #[must_use]
    pub fn slice(&self, task: &TableTask) -> Slice {
        match self {
            Self::Empty { slice, .. } => slice.clone(),
            Self::Narrow { .. } | Self::TakeOver => task.slice(),
        }
    }

    /// What a generation takes away from its target though the source's rows stay; `None` if that is nothing.
    #[must_use]
    pub fn narrowing(task: &TableTask, before: &GenerationRecord, record: &GenerationRecord) -> Option<Self> {
        let rule = &task.rule;
        let (mut found, mut drop, mut rename) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes(&before.table, &record.table) {
            match &change {
                Change::DropColumn(column) if !rule.drops(column) => drop.push(format!("{:?}", column.name)),
                Change::RenameColumn { from, to }
                    if !rule.drops(to) && rule.target_name(from) != rule.target_name(to) =>
                {
                    rename.push(format!("{:?} = {:?}", to.name, rule.target_name(from)));
                }
                _ => continue,
            }
            found.push(change.to_string());
        }
        let list = |key: &str, open: &str, values: &[String], close: &str| {
            (!values.is_empty()).then(|| format!("{key} = {open}{}{close}", values.join(", ")))
        };
        let keys = [list("drop", "[", &drop, "]"), list("rename", "{ ", &rename, " }")];
        (!found.is_empty()).then(|| Self::Narrow {
            changes: found.join(", "),
            keys: keys.into_iter().flatten().collect::<Vec<_>>().join(", "),
        })
    }
}

impl Ownership {
    /// True if rows may be there that the topic did not write: it is recorded, or it is not known and the table was to
    /// be appended to.
    #[must_use]
    pub(crate) fn has_foreign_rows(&self, existing: ExistingData) -> bool {
        self.foreign_rows.unwrap_or(existing == ExistingData::Append)
    }

    /// True if rows are there, or are seen to come, that the topic did not write. A bookkeeping that cannot be read is in
    /// the way only as long as that lasts.
    #[must_use]
    pub fn is_mixed(&self, existing: ExistingData) -> bool {
        self.has_foreign_rows(existing)
            || self.feeders.iter().any(|feeder| matches!(feeder, Feeder::Task { .. }))
    }

    /// True if nobody else has rows in the target that cannot be told from the topic's own.
    #[must_use]
    pub fn is_sole(&self, existing: ExistingData) -> bool {
        self.feeders.is_empty() && !self.has_foreign_rows(existing)
    }

    /// Who else has rows in the target.
    #[must_use]
    pub(crate) fn owners(&self, existing: ExistingData) -> String {
        let rows = self.has_foreign_rows(existing).then(|| {
            "it has held rows that were there before this task, or that another task wrote".to_owned()
        });
        let feeders = self.feeders.iter().map(ToString::to_string);
        feeders.chain(rows).collect::<Vec<_>>().join("; ")
    }

    /// How the others are parted from the target.
    fn parting(&self) -> String {
        let part = |feeder: &Feeder| match feeder {
            Feeder::Task { schema, task, source, .. } => remedies::part_from_task(schema, task, source),
            Feeder::Unreadable { schema } => remedies::part_from_unreadable(schema),
        };
        self.feeders.iter().map(part).collect::<Vec<_>>().join("; ")
    }
}

/// Why `act` is not done to the target.
#[must_use]
pub fn refusal(task: &TableTask, ownership: &Ownership, act: &Act) -> TableError {
    let target = &task.target;
    let owners = ownership.owners(task.existing);
    let (would, remedy) = match act {
        Act::Empty { how, slice } => (
            if slice.is_whole() {
                format!("{how} would remove every row of it")
            } else {
                format!("{how} would remove every row of it with {slice}")
            },
            remedies::not_alone_to_empty(&ownership.parting(), &clear_target(target, slice)),
        ),
        Act::Narrow { changes, keys } => (
            format!("{changes} would change it for others too"),
            remedies::not_alone_to_narrow(&task.name, keys),
        ),
        Act::TakeOver => (
            "two that write into one table cannot each have it alone".to_owned(),
            remedies::not_alone_to_take_over(&task.name),
        ),
    };
    let message = format!("the target table {target} is not this table's alone ({owners}): {would}");
    TableError::new(Code::TargetNotAlone, message, target, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_recorded_counts_as_foreign_only_where_rows_were_appended_to() {
        let unknown = Ownership::default();
        assert!(unknown.is_sole(ExistingData::Refuse) && unknown.is_sole(ExistingData::Clear));
        assert!(!unknown.is_sole(ExistingData::Append));
        let recorded = |foreign| Ownership { foreign_rows: Some(foreign), ..Ownership::default() };
        assert!(recorded(false).is_sole(ExistingData::Append));
        assert!(!recorded(true).is_sole(ExistingData::Refuse));
        let feeder = Feeder::Unreadable { schema: "b".into() };
        let fed = Ownership { foreign_rows: Some(false), feeders: vec![feeder], ..Ownership::default() };
        assert!(!fed.is_mixed(ExistingData::Refuse), "it may be another's alone, and be gone tomorrow");
        assert!(
            !fed.is_sole(ExistingData::Refuse)
                && fed.parting().contains("GRANT SELECT ON ALL TABLES IN SCHEMA \"b\"")
        );
    }
}
