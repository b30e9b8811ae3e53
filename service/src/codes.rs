//! The codes under which a table stands still or is left out, or a service ends: `/status`, the log and the bookkeeping
//! name them. What to do about each is in the service's table of remedies (`remedies.rs` of capture; of apply, `warehouse` and `verify`).
//!
//! Invariant: each code has a section in docs/OPERATIONS.md, and each section there is about a code.

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// Why a table, or a service, does not go on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// Its text, which is also the title of its section.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// capture: row events do not fit the definition.
    CatalogDisagrees = "catalog-disagrees",
    /// capture: a row event leaves columns out.
    RowImage = "row-image",
    /// capture: a key that cannot be told from another one.
    BadKey = "bad-key",
    /// capture: a row that is not valid for its definition.
    BadRow = "bad-row",
    /// capture: a row that its topic does not take.
    RowTooLarge = "row-too-large",
    /// capture: records that their topic does not take, as it is set.
    TopicRefuses = "topic-refuses",
    /// capture: a table that cannot be replicated as it is.
    TableNotReplicable = "table-not-replicable",
    /// capture: a definition that the task's topics do not take.
    DefinitionTooLarge = "definition-too-large",
    /// capture: the name stands for nothing any more.
    TableRenamed = "table-renamed",
    /// capture: a chunk cannot be read.
    TableUnreadable = "table-unreadable",
    /// capture: the table is about to be read anew by itself.
    ReRead = "re-read",
    /// apply: capture does not publish the table.
    ExcludedByCapture = "excluded-by-capture",
    /// apply: capture does not select the table any more.
    Deselected = "deselected",
    /// apply: rows are in the target already.
    ExistingData = "existing-data",
    /// apply: a record that capture did not write.
    ForeignRecord = "foreign-record",
    /// apply: a record of a generation that the history does not allow at its place.
    GenerationOrder = "generation-order",
    /// apply: the topic does not hold the next offset.
    OffsetOutOfRange = "offset-out-of-range",
    /// apply: a delete may be compacted away.
    RetentionExceeded = "retention-exceeded",
    /// apply: the topic does not exist.
    TopicGone = "topic-gone",
    /// apply: offsets of the table are missing.
    BookkeepingIncomplete = "bookkeeping-incomplete",
    /// apply: the topic is another one of the same name.
    TopicRecreated = "topic-recreated",
    /// apply: the topic has another number of partitions.
    PartitionsChanged = "partitions-changed",
    /// apply: two rules are about one table.
    RuleConflict = "rule-conflict",
    /// apply: the target's name cannot be used.
    TargetName = "target-name",
    /// apply: a constant has no value for the table.
    ConstantValue = "constant-value",
    /// apply: the configuration has other constants, or columns, than the rows so far.
    RuleChanged = "rule-changed",
    /// apply: the staging table is not as it was made.
    Staging = "staging",
    /// apply: the history does not hold a generation.
    UnknownGeneration = "unknown-generation",
    /// apply: the history does not define the table.
    UndefinedTable = "undefined-table",
    /// apply: a newer version wrote the bookkeeping.
    NewerBookkeeping = "newer-bookkeeping",
    /// apply: two tables of the task have one target.
    TargetShared = "target-shared",
    /// apply: others have rows in the target.
    TargetNotAlone = "target-not-alone",
    /// apply: others use what is to be changed.
    TargetDependents = "target-dependents",
    /// apply: the target's key was dropped.
    TargetKey = "target-key",
    /// apply: the target loses rows in silence.
    TargetUnsafe = "target-unsafe",
    /// apply: rows do not fit the target.
    TargetDefinition = "target-definition",
    /// apply: the target is not a table.
    TargetKind = "target-kind",
    /// apply: the configuration names another target.
    TargetChanged = "target-changed",
    /// apply: the target does not exist any more.
    TargetGone = "target-gone",
    /// apply: a change of the definition that is not carried out.
    UnsupportedDdl = "unsupported-ddl",
    /// apply: a value that does not go into its column.
    UnwritableRecord = "unwritable-record",
    /// apply: the destination failed in a way that has no SQLSTATE.
    DestinationError = "destination-error",
    /// capture and apply: the service has ended, or is about to.
    Stopped = "stopped",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The one section that is about what the destination's server says, by its own codes.
    const OF_THE_SERVER: &str = "SQLSTATEs such as 55P03 or 40P01";

    #[test]
    fn each_code_has_its_section_in_the_guide_and_each_section_is_about_a_code() {
        let guide = include_str!("../../docs/OPERATIONS.md");
        let (_, sections) = guide.split_once("\n## Codes\n").unwrap();
        let sections = sections.split("\n## ").next().unwrap();
        let titles = sections.lines().filter_map(|line| line.strip_prefix("### "));
        let titles: Vec<&str> = titles.filter(|title| *title != OF_THE_SERVER).collect();
        let named: Vec<&str> = titles.iter().flat_map(|title| title.split(", ")).collect();
        let sections: BTreeSet<&str> = named.iter().copied().collect();
        let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(codes.len(), Code::ALL.len(), "a name is there twice");
        assert_eq!(sections.len(), named.len(), "a section is there twice");
        assert_eq!(codes, sections);
        assert!(guide.contains(OF_THE_SERVER));
    }
}
