//! Names of topics and of Avro fields: tables, what the history says and what the cluster has enter; the topic of each
//! table leaves, or why it can have none. Pure. `check` and the sequencer judge by the same functions.
//!
//! Invariant: two tables never have topics that Kafka holds to be the same. It names its metrics after topics with `_`
//! for `.`, and refuses a topic that differs from another only in that.

use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::topic::{history_topic, mangle, state_topic, table_topic};

/// Longest name of a topic (Kafka's `Topic.MAX_NAME_LENGTH`), characters; all of them are ASCII.
const MAX_TOPIC_LENGTH: usize = 249;
/// A table's topic is made anew this often, at most.
const MOST_READINGS: u32 = 1_000;

/// Who has a name.
#[derive(Debug, Clone)]
enum Owner {
    /// The task's history or state.
    Task(String),
    /// A table that was, or is, replicated.
    Table(TableId, String),
    /// Whoever made it.
    Cluster(String),
}

/// The topics that are taken, as Kafka tells them apart.
#[derive(Debug, Clone)]
pub(crate) struct TopicNames {
    task: String,
    owners: BTreeMap<String, Owner>,
    recorded: BTreeMap<TableId, String>,
    /// Tables whose topic is not the one that was written any more: each goes on in another one.
    lost: BTreeSet<TableId>,
}

impl TopicNames {
    /// Only the task's own topics are taken.
    #[must_use]
    pub(crate) fn new(task: &str) -> Self {
        let own = [history_topic(task), state_topic(task)];
        let owners = own.into_iter().map(|topic| (flat(&topic), Owner::Task(topic))).collect();
        Self { task: task.to_owned(), owners, recorded: BTreeMap::new(), lost: BTreeSet::new() }
    }

    /// The history says that this is the table's topic, or was.
    pub(crate) fn record(&mut self, id: &TableId, topic: &str) {
        self.owners.insert(flat(topic), Owner::Table(id.clone(), topic.to_owned()));
        self.recorded.insert(id.clone(), topic.to_owned());
    }

    /// The cluster has this topic.
    pub(crate) fn see(&mut self, topic: &str) {
        self.owners.entry(flat(topic)).or_insert_with(|| Owner::Cluster(topic.to_owned()));
    }

    /// The table's topic cannot be used any more: until [`Self::settle`], each claim gives another one.
    pub(crate) fn lose(&mut self, id: &TableId) {
        self.lost.insert(id.clone());
    }

    /// True from [`Self::lose`] to [`Self::settle`].
    #[must_use]
    pub(crate) fn is_lost(&self, id: &TableId) -> bool {
        self.lost.contains(id)
    }

    /// The table goes on in the topic that it has claimed.
    pub(crate) fn settle(&mut self, id: &TableId) {
        self.lost.remove(id);
    }

    /// The topic that the table has, or that it is to get, and which is its own from now on.
    ///
    /// # Errors
    /// Why it can have none, with what to do.
    pub(crate) fn claim(&mut self, id: &TableId) -> Result<String, String> {
        if self.is_lost(id) {
            return self.claim_another(id);
        }
        if let Some(topic) = self.recorded.get(id) {
            return Ok(topic.clone());
        }
        let topic = table_topic(&self.task, id);
        self.judge(id, &topic)?;
        self.record(id, &topic);
        Ok(topic)
    }

    /// The next of the table's names that nobody has.
    fn claim_another(&mut self, id: &TableId) -> Result<String, String> {
        let base = table_topic(&self.task, id);
        let free = (2..MOST_READINGS).map(|number| format!("{base}.r{number}"));
        let topic =
            free.into_iter().find(|topic| !self.owners.contains_key(&flat(topic))).ok_or_else(|| {
                format!("every topic from {base}.r2 on is taken: remove those that nobody needs")
            })?;
        self.judge(id, &topic)?;
        self.record(id, &topic);
        Ok(topic)
    }

    /// The table does not get its topic after all.
    pub(crate) fn release(&mut self, id: &TableId) {
        if let Some(topic) = self.recorded.remove(id) {
            self.owners.remove(&flat(&topic));
        }
    }

    fn judge(&self, id: &TableId, topic: &str) -> Result<(), String> {
        const ALIKE: &str = "differ only in dots and underscores, which Kafka refuses";
        if topic.len() > MAX_TOPIC_LENGTH {
            return Err(format!(
                "topic {topic} of table {id} has {} characters, Kafka allows {MAX_TOPIC_LENGTH}: shorten the task's name, \
                 or leave the table out",
                topic.len()
            ));
        }
        match self.owners.get(&flat(topic)) {
            None => Ok(()),
            Some(Owner::Cluster(other)) if other == topic => Ok(()),
            Some(Owner::Cluster(other)) => Err(format!(
                "topic {topic} of table {id} and the existing topic {other} {ALIKE}: rename the task, or leave the table out"
            )),
            Some(Owner::Task(other)) => Err(format!(
                "topic {topic} of table {id} and the task's own topic {other} {ALIKE}: rename the task, or leave the table out"
            )),
            Some(Owner::Table(other, of_other)) if of_other == topic => Err(format!(
                "tables {id} and {other} would both have the topic {topic}: replicate one of the two in a task of its own"
            )),
            Some(Owner::Table(other, of_other)) => Err(format!(
                "topic {topic} of table {id} and topic {of_other} of table {other} {ALIKE}: replicate one of the two in a \
                 task of its own"
            )),
        }
    }
}

/// What Kafka compares.
fn flat(topic: &str) -> String {
    topic.replace('.', "_")
}

/// Two columns that would have the same Avro name, with what to do; `None` if there are none.
#[must_use]
pub(crate) fn field_clash(table: &Table) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_schemas::table::Column;

    fn id(database: &str, table: &str) -> TableId {
        TableId::new(database, table)
    }

    fn names(seen: &[&str]) -> TopicNames {
        let mut names = TopicNames::new("t");
        seen.iter().for_each(|topic| names.see(topic));
        names
    }

    #[test]
    fn plain_names_and_topics_of_an_earlier_run_are_no_clash() {
        let mut names = names(&["t.shop.orders", "t.history", "t.state", "other"]);
        assert_eq!(names.claim(&id("shop", "orders")).unwrap(), "t.shop.orders");
        assert_eq!(names.claim(&id("shop", "items")).unwrap(), "t.shop.items");
        assert_eq!(names.claim(&id("shop", "orders")).unwrap(), "t.shop.orders", "asked again");
    }

    #[test]
    fn names_that_kafka_takes_for_the_same_cost_the_table_that_comes_second() {
        let mut taken = names(&[]);
        taken.claim(&id("a", "b_c")).unwrap();
        let refused = taken.claim(&id("a_b", "c")).unwrap_err();
        assert!(refused.contains("t.a_b.c") && refused.contains("a.b_c"), "{refused}");
        assert!(
            names(&["t_a_b_c"]).claim(&id("a", "b_c")).unwrap_err().contains("the existing topic t_a_b_c")
        );
        assert!(names(&[]).claim(&id("state", "x")).is_ok());
        let mut taken = names(&["t.s.a_x002Db"]);
        taken.record(&id("s", "a_x002Db"), "t.s.a_x002Db");
        let refused = taken.claim(&id("s", "a-b")).unwrap_err();
        assert!(refused.contains("would both have the topic t.s.a_x002Db"), "{refused}");
        assert!(taken.claim(&id("s", "a_x002Db")).is_ok(), "it was there first");
    }

    #[test]
    fn lengths_are_checked() {
        assert!(names(&[]).claim(&id("d", &"x".repeat(245))).is_ok());
        assert!(names(&[]).claim(&id("d", &"x".repeat(246))).unwrap_err().contains("has 250 characters"));
        assert!(names(&[]).claim(&id("d", &"名".repeat(41))).unwrap_err().contains("Kafka allows 249"));
    }

    #[test]
    fn another_topic_is_one_that_nobody_has_and_avro_accepts() {
        let mut names = names(&["t.shop.orders", "t.shop.orders_r2"]);
        names.claim(&id("shop", "orders")).unwrap();
        names.lose(&id("shop", "orders"));
        assert_eq!(names.claim(&id("shop", "orders")).unwrap(), "t.shop.orders.r3");
        names.settle(&id("shop", "orders"));
        assert_eq!(names.claim(&id("shop", "orders")).unwrap(), "t.shop.orders.r3");
        names.lose(&id("shop", "orders"));
        assert_eq!(names.claim(&id("shop", "orders")).unwrap(), "t.shop.orders.r4");
    }

    #[test]
    fn fields_are_checked() {
        let columns = (1_u32..)
            .zip(["id", "a-b", "a_x002Db"])
            .map(|(id, name)| Column::new(id, name, "int".parse().unwrap()));
        let mut table =
            Table { id: id("d", "t"), columns: columns.collect(), key: vec![1], ..Table::default() };
        assert!(field_clash(&table).unwrap().contains("a_x002Db"));
        table.columns.pop();
        assert_eq!(field_clash(&table), None);
    }

    proptest! {
        #[test]
        fn no_two_tables_have_topics_that_kafka_takes_for_one(
            tables in prop::collection::vec(("[a-b._-]{1,4}", "[a-b._-]{1,4}"), 1..20),
            unusable in prop::collection::vec(any::<bool>(), 20),
        ) {
            let mut names = names(&["t.a.b", "t_a_a"]);
            let mut given: BTreeMap<TableId, String> = BTreeMap::new();
            for ((database, table), unusable) in tables.into_iter().zip(unusable) {
                let id = TableId::new(database, table);
                if unusable {
                    names.lose(&id);
                }
                if let Ok(topic) = names.claim(&id) {
                    prop_assert!(given.iter().all(|(other, taken)| *other == id || flat(taken) != flat(&topic)));
                    given.insert(id, topic);
                }
            }
        }
    }
}
