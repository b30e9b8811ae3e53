//! Names of topics and Avro fields that would clash: published tables and the cluster's topics enter, the tables that
//! cannot be named leave. Pure.

use super::item::{Item, fail, left_out, pass};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::{history_topic, mangle, state_topic, table_topic};

/// Longest name of a topic (Kafka's `Topic.MAX_NAME_LENGTH`), characters; all of them are ASCII.
const MAX_TOPIC_LENGTH: usize = 249;

/// Tables whose topic cannot be, with the reason. Kafka holds two topics to be the same if they differ only in `.`
/// and `_` (its metrics are named so), and refuses the second.
#[must_use]
pub fn clashes(task: &str, tables: &[&Table], topics: &BTreeSet<String>) -> BTreeMap<TableId, String> {
    let flat = |topic: &str| topic.replace('.', "_");
    let mut owners: BTreeMap<String, (String, String)> = BTreeMap::new();
    for topic in [history_topic(task), state_topic(task)] {
        owners.insert(flat(&topic), (topic.clone(), format!("the task's own topic {topic}")));
    }
    for topic in topics {
        owners.entry(flat(topic)).or_insert_with(|| (topic.clone(), format!("the existing topic {topic}")));
    }
    let mut clashes = BTreeMap::new();
    let mut taken: BTreeMap<String, &TableId> = BTreeMap::new();
    for table in tables {
        let topic = table_topic(task, &table.id);
        let shape = flat(&topic);
        let mut reasons: Vec<String> = Vec::new();
        if topic.len() > MAX_TOPIC_LENGTH {
            reasons.push(format!(
                "topic {topic} of table {} has {} characters, Kafka allows {MAX_TOPIC_LENGTH}: shorten the task's name, \
                 or leave the table out",
                table.id,
                topic.len()
            ));
        }
        if let Some((_, owner)) = owners.get(&shape).filter(|(existing, _)| *existing != topic) {
            reasons.push(format!(
                "topic {topic} of table {} and {owner} differ only in dots and underscores, which Kafka refuses: rename \
                 the task, or leave the table out",
                table.id
            ));
        }
        if let Some(other) = taken.insert(shape, &table.id) {
            reasons.push(format!(
                "topic {topic} of table {} and the topic of table {other} differ only in dots and underscores, which \
                 Kafka refuses: replicate one of the two in a task of its own",
                table.id
            ));
        }
        reasons.extend(field_clash(table));
        if !reasons.is_empty() {
            clashes.insert(table.id.clone(), reasons.join("; "));
        }
    }
    clashes
}

/// Two columns that would have the same Avro name.
fn field_clash(table: &Table) -> Option<String> {
    let mut fields: BTreeMap<String, &str> = BTreeMap::new();
    table.columns.iter().find_map(|column| {
        let field = mangle(&column.name);
        let other = fields.insert(field.clone(), &column.name)?;
        Some(format!(
            "columns {other} and {} of table {} would both be the Avro field {field}: list one of them in \
             capture.exclude_columns",
            column.name, table.id
        ))
    })
}

/// `names`: says which tables have none.
#[must_use]
pub fn item(clashes: &BTreeMap<TableId, String>, strict: bool) -> Item {
    const NAME: &str = "names";
    if clashes.is_empty() {
        return pass(NAME, "every topic and field has a legal name of its own");
    }
    let lines: Vec<&str> = clashes.values().map(String::as_str).collect();
    fail(NAME, lines.join("\n"), left_out(strict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::Column;

    fn table(database: &str, name: &str, columns: &[&str]) -> Table {
        let columns = (1_u32..).zip(columns).map(|(id, name)| Column {
            id,
            ordinal: id - 1,
            name: (*name).to_owned(),
            column_type: "int".parse().unwrap(),
            nullable: false,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            auto_increment: false,
        });
        let id = TableId::new(database, name);
        Table { id, columns: columns.collect(), key: vec![1], indexes: vec![], comment: String::new() }
    }

    fn reasons(tables: &[Table], topics: &[&str]) -> Vec<String> {
        let tables: Vec<&Table> = tables.iter().collect();
        clashes("t", &tables, &topics.iter().map(|topic| (*topic).to_owned()).collect())
            .into_values()
            .collect()
    }

    #[test]
    fn plain_names_and_topics_of_an_earlier_run_are_no_clash() {
        let tables = [table("shop", "orders", &["id"]), table("shop", "items", &["id"])];
        assert_eq!(
            reasons(&tables, &["t.shop.orders", "t.history", "t.state", "other"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn names_that_kafka_takes_for_the_same_are_found() {
        let tables = [table("a", "b_c", &["id"]), table("a_b", "c", &["id"])];
        let found = reasons(&tables, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("t.a_b.c") && found[0].contains("a.b_c"), "{found:?}");
        assert!(reasons(&tables[..1], &["t_a_b_c"])[0].contains("the existing topic t_a_b_c"));
    }

    #[test]
    fn lengths_and_fields_are_checked() {
        assert_eq!(reasons(&[table("d", &"x".repeat(245), &["id"])], &[]), Vec::<String>::new());
        assert!(reasons(&[table("d", &"x".repeat(246), &["id"])], &[])[0].contains("has 250 characters"));
        assert!(reasons(&[table("d", "t", &["id", "a-b", "a_x002Db"])], &[])[0].contains("a_x002Db"));
    }
}
