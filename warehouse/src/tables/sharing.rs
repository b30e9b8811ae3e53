//! A target that several topics share, as one of them sees it: what it may do with it, and what it finds. Pure.

use super::task::TableTask;
use crate::bookkeeping::{Feeder, Ownership, Share};
use crate::destination::TableError;
use crate::merge::ddl::DdlError;
use crate::merge::layout::Layout;
use crate::merge::names::TargetName;
use crate::merge::slice::Slice;
use crate::merge::target::TargetShape;
use crate::merge::union::{unite, written};
use crate::remedies;
use std::collections::{BTreeMap, BTreeSet};
use tributary_service::codes::Code;

/// What of a target concerns a topic whose rows are those of `slice` when it begins: all rows if it is the first, so that a
/// target of one's own and one that is to be shared are judged alike; later its own.
#[must_use]
pub fn judged(slice: &Slice, ownership: &Ownership) -> Slice {
    if ownership.peers.is_empty() { Slice::default() } else { slice.clone() }
}

/// The first topic of the task `task`, with bookkeeping in `schema`, whose rows in a shared target cannot be told from those of
/// `slice`.
#[must_use]
pub fn confused<'a>(ownership: &'a Ownership, slice: &Slice, schema: &str, task: &str) -> Option<&'a Feeder> {
    ownership.feeders.iter().find(|feeder| match feeder {
        Feeder::Task { schema: theirs, task: other, slice: other_slice, .. } => {
            (theirs == schema && other == task) || !(slice.is_whole() || other_slice.is_whole())
        }
        Feeder::Unreadable { .. } => false,
    })
}

/// What differs between what is `recorded` of a topic's rows, with the definition of `generation`, and what the configuration
/// says of them, for people; `None` if nothing does.
#[must_use]
pub fn changed(task: &TableTask, recorded: Option<&Share>, generation: u32) -> Option<String> {
    // What is not known, or cannot be laid out, is told where rows are to be written.
    let record = task.record(generation)?;
    written(&record.table, &task.rule).ok()?;
    let (target, wanted) = (&task.target, task.share(generation));
    let was = recorded.map(|share| share.slice.clone()).unwrap_or_default();
    if let Some(found) = moved(task, &was) {
        return Some(found);
    }
    let was = &recorded?.columns;
    let other =
        wanted.columns.iter().filter(|(name, from)| was.get(*name) != Some(from)).map(|(name, _)| name);
    let gone = was.keys().filter(|name| !wanted.columns.contains_key(*name));
    let columns: BTreeSet<&str> = other.chain(gone).map(String::as_str).collect();
    (!columns.is_empty()).then(|| {
        format!(
            "its rows in {target} were written with something else in the columns {} than the configuration says",
            columns.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// The same of its slice alone, if it was `was`.
#[must_use]
pub fn moved(task: &TableTask, was: &Slice) -> Option<String> {
    let (target, wanted) = (&task.target, task.slice());
    let rows = |slice: &Slice| {
        if slice.is_whole() { "no constants in the key".to_owned() } else { slice.to_string() }
    };
    (*was != wanted).then(|| {
        format!(
            "its rows in {target} were written with {}, and the configuration says {}",
            rows(was),
            rows(&wanted)
        )
    })
}

/// Tables that are looked at one after the other, and their targets as they would be with them.
#[derive(Debug, Default)]
pub struct Together {
    tables: Vec<(TargetName, Slice, String)>,
    shapes: BTreeMap<TargetName, TargetShape>,
}

impl Together {
    /// Adds a table with the definition of `generation`; `shape`: its target as it is, if that is there. What keeps it from being
    /// merged beside the tables before it.
    pub fn add(
        &mut self,
        task: &TableTask,
        generation: u32,
        shape: Option<TargetShape>,
    ) -> Option<TableError> {
        let (target, slice) = (&task.target, task.slice());
        let before = || self.tables.iter().filter(|(other, ..)| other == target);
        let confused = before().find(|(_, theirs, _)| !slice.is_apart_from(theirs)).map(|(.., other)| {
            format!("its target {target} is also that of {other}, and nothing tells the rows of both apart")
        });
        if let Some(found) = confused {
            let remedy = remedies::target_shared(&task.name);
            return Some(TableError::new(Code::TargetShared, found, target, remedy));
        }
        let others = before().map(|(.., name)| name.as_str()).collect::<Vec<_>>().join(", ");
        let error = self.unite((task, generation), shape, &others);
        if error.is_none() {
            self.tables.push((target.clone(), slice, task.name.clone()));
        }
        error
    }

    /// Takes note of the target as it is with the table beside `others`.
    fn unite(
        &mut self,
        (task, generation): (&TableTask, u32),
        shape: Option<TargetShape>,
        others: &str,
    ) -> Option<TableError> {
        let target = &task.target;
        if !task.rule.is_shared() || !task.alter {
            return None;
        }
        let table = &task.record(generation)?.table;
        let shape = self.shapes.get(target).cloned().or(shape);
        let united = match shape {
            Some(shape) => unite(table, &task.rule, &shape).map(|united| united.shape),
            // What cannot be made is told where it is looked at alone.
            None => Layout::of(table, &task.rule)
                .map(|layout| TargetShape::planned(target.clone(), layout))
                .map_err(DdlError::from),
        };
        match united {
            Ok(shape) => {
                self.shapes.insert(target.clone(), shape);
                None
            }
            Err(_) if others.is_empty() => None,
            Err(error) => {
                let mut error = not_united(task, &error, false);
                error.message += &format!(" (it is also the target of {others})");
                Some(error)
            }
        }
    }
}

/// The target cannot be given what the table needs. `begun`: rows of it were written before.
#[must_use]
pub fn not_united(task: &TableTask, error: &DdlError, begun: bool) -> TableError {
    let remedy = match error {
        DdlError::UnionType { origin, .. } => remedies::union_type(&task.name, origin, begun),
        DdlError::UnionKey { .. } => remedies::union_key(&task.name, begun),
        _ => remedies::union_layout(&task.name, begun),
    };
    TableError::new(Code::TargetDefinition, error.to_string(), &task.target, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeder(schema: &str, task: &str, slice: &Slice) -> Feeder {
        Feeder::Task {
            schema: schema.into(),
            task: task.into(),
            topic: "x.a.b".into(),
            source: "a.b".into(),
            slice: slice.clone(),
        }
    }

    #[test]
    fn the_first_topic_answers_for_the_whole_target_and_a_later_one_for_its_own_rows() {
        let slice = Slice::from_stored(r#"{"shard": "1"}"#).unwrap();
        assert_eq!(judged(&slice, &Ownership::default()), Slice::default());
        let beside = Ownership { peers: vec![Share::default()], ..Ownership::default() };
        assert_eq!(judged(&slice, &beside), slice);
    }

    #[test]
    fn only_those_who_mean_to_share_are_confused_with_each_other() {
        let slice = Slice::from_stored(r#"{"shard": "1"}"#).unwrap();
        let same = Slice::from_stored(r#"{"shard": "01"}"#).unwrap();
        let whole = Slice::default();
        let found = |mine: &Slice, other: Feeder| {
            let ownership = Ownership { feeders: vec![other], ..Ownership::default() };
            confused(&ownership, mine, "own", "t").is_some()
        };
        assert!(found(&slice, feeder("other", "u", &same)), "equal, where the column is an integer");
        assert!(found(&whole, feeder("own", "t", &whole)) && found(&slice, feeder("own", "t", &whole)));
        // What another task has written without constants is existing data, as it ever was.
        assert!(!found(&slice, feeder("other", "u", &whole)) && !found(&whole, feeder("own", "u", &slice)));
        assert!(!found(&slice, Feeder::Unreadable { schema: "other".into() }));
    }
}
