//! Names of topics, and names that Avro accepts.

use crate::table::TableId;
use std::fmt::Write;

/// `name` with every character outside `[A-Za-z0-9_]`, and a leading digit, written as `_xHHHH`, a group for each
/// UTF-16 code unit: legal in a topic between dots, and legal as an Avro name (specification, "Names").
#[must_use]
pub fn mangle(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (index, character) in name.chars().enumerate() {
        let plain = character == '_' || character.is_ascii_alphabetic();
        if plain || (character.is_ascii_digit() && index > 0) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "_x{unit:04X}");
            }
        }
    }
    out
}

/// The topic of a table: `<task>.<database>.<table>`.
#[must_use]
pub fn table_topic(task: &str, table: &TableId) -> String {
    format!("{}.{}.{}", mangle(task), mangle(&table.database), mangle(&table.table))
}

/// The task whose topic this is: names of tasks have no dot.
#[must_use]
pub fn task_of(topic: &str) -> &str {
    topic.split_once('.').map_or(topic, |(task, _)| task)
}

/// The task's history topic: table definitions, generation by generation, and the schemas.
#[must_use]
pub fn history_topic(task: &str) -> String {
    format!("{task}.history")
}

/// The task's state topic: the checkpoint and the progress of the snapshot.
#[must_use]
pub fn state_topic(task: &str) -> String {
    format!("{task}.state")
}

/// The consumer group of a task's captures, of which one member leads.
#[must_use]
pub fn capture_group(task: &str) -> String {
    format!("{task}.capture")
}

/// The consumer group of a task that reads other tasks' topics into the destination of `identity`.
#[must_use]
pub fn reading_group(task: &str, identity: &str) -> String {
    format!("{task}.{identity}")
}

/// A consumer group's name without the identity of a destination at its end, and that identity, if it has one; the inverse of
/// [`reading_group`].
#[must_use]
pub fn split_identity(group: &str) -> (&str, Option<&str>) {
    /// Where a UUID has its dashes.
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let is_identity = |text: &str| {
        text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if DASHES.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
    };
    match group.rsplit_once('.') {
        Some((task, identity)) if !task.is_empty() && is_identity(identity) => (task, Some(identity)),
        _ => (group, None),
    }
}

/// Registry subject of a topic's keys.
#[must_use]
pub fn key_subject(topic: &str) -> String {
    format!("{topic}-key")
}

/// Registry subject of a topic's values.
#[must_use]
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_legal_and_plain_ones_stay_as_they_are() {
        assert_eq!(mangle("orders_2"), "orders_2");
        assert_eq!(mangle("2fast"), "_x0032fast");
        assert_eq!(mangle("a-b.c"), "a_x002Db_x002Ec");
        assert_eq!(mangle("é😀"), "_x00E9_xD83D_xDE00");
        let table = TableId::new("my-shop", "orders");
        assert_eq!(table_topic("t", &table), "t.my_x002Dshop.orders");
        assert_eq!(table_topic("t-1", &table), "t_x002D1.my_x002Dshop.orders");
    }
    #[test]
    fn an_identity_is_told_from_a_name_with_dots() {
        let identity = "0d7c4a4e-1111-4111-8111-0000000000ff";
        assert_eq!(split_identity(&reading_group("dw", identity)), ("dw", Some(identity)));
        for group in ["shop", "connect.sink-1", "a.0d7c4a4e-1111-4111-8111-0000000000fg", identity, ".x"] {
            assert_eq!(split_identity(group), (group, None));
        }
        assert_eq!(split_identity(&format!("é.{}", &identity[1..])).1, None);
    }
}
