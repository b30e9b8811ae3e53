//! Topics that an operator deleted, or gave more partitions, while capture runs. A table whose topic is not the one any
//! more that holds its records is read anew into another one; without the task's own topics nothing can go on.

use super::Sequencer;
use super::halt::Halt;
use super::table::Standing;
use crate::remedies;
use crate::topics::incarnation::{Found, Known};
use std::collections::BTreeMap;
use tributary_service::exit::Failure;

/// What is known of the topics that are watched.
#[derive(Debug, Default)]
pub struct WatchedTopics {
    known: BTreeMap<String, Known>,
    /// Unusable at the last look: a second one confirms it, for a broker may have learned of the topic late.
    doubtful: BTreeMap<String, String>,
}

impl WatchedTopics {
    /// Takes in one look; returns the topics that two looks have found unusable, with the reason.
    fn observe(
        &mut self,
        seen: &[(String, Found)],
        partitions: impl Fn(&str) -> u32,
    ) -> Vec<(String, String)> {
        let mut unusable = Vec::new();
        let before = std::mem::take(&mut self.doubtful);
        for (topic, found) in seen {
            let known = self
                .known
                .entry(topic.clone())
                .or_insert_with(|| Known { partitions: partitions(topic), ..Known::default() });
            match known.why_unusable(topic, found) {
                None => known.observe(found),
                Some(why) if before.contains_key(topic) => unusable.push((topic.clone(), why)),
                Some(why) => drop(self.doubtful.insert(topic.clone(), why)),
            }
        }
        unusable
    }
}

impl Sequencer {
    /// The task's own topics, and those of the tables that are replicated.
    #[must_use]
    pub fn watched_topics(&self) -> Vec<(String, u32)> {
        let own = [&self.setup.state_topic, &self.setup.history_topic];
        let tables = self.tables.iter().map(|(_, table)| table);
        let written = tables.filter(|table| table.generation > 0 && table.standing != Standing::Dropped);
        let of_tables = written
            .filter(|table| !self.lost.contains(&table.id))
            .map(|table| (table.topic.to_string(), table.partitions));
        own.into_iter().map(|topic| (topic.clone(), 1)).chain(of_tables).collect()
    }

    /// What Kafka says of them.
    ///
    /// # Errors
    /// One of the task's own is gone, which ends the session; or what beginning a re-read comes to.
    pub fn on_topics(&mut self, seen: &[(String, Found)]) -> Result<(), Halt> {
        let counts: BTreeMap<String, u32> = self.watched_topics().into_iter().collect();
        // A look that began before a table went into another topic speaks of the old one.
        let current: Vec<(String, Found)> =
            seen.iter().filter(|(topic, _)| counts.contains_key(topic)).cloned().collect();
        for (topic, why) in self.watched.observe(&current, |topic| counts.get(topic).copied().unwrap_or(1)) {
            self.watched.known.remove(&topic);
            if topic == self.setup.state_topic || topic == self.setup.history_topic {
                return Err(Halt::Restart(why));
            }
            let table = self.tables.iter().find(|(_, table)| *table.topic == *topic);
            let Some((index, id)) = table.map(|(index, table)| (index, table.id.clone())) else { continue };
            tracing::warn!(table = %id, "{why}; the table goes on in another topic");
            self.lost.insert(id);
            self.rereads.insert(index, why);
        }
        if self.progress.open().is_none() && !self.rereads.is_empty() {
            self.begin_rereads()?;
        }
        Ok(())
    }
}

/// Where the task stands was there, or what its tables' records mean.
#[must_use]
pub fn own_topic_gone(topic: &str, why: &str) -> Failure {
    Failure::new("a topic of the task itself is gone", why).at(topic).remedy(remedies::own_topic_gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_unusable_at_the_second_look() {
        let mut watched = WatchedTopics::default();
        let mut look = |found: Found| watched.observe(&[("t.a.b".to_owned(), found)], |_| 2);
        assert!(look(Found::Ends(vec![3, 4])).is_empty());
        assert!(look(Found::Missing).is_empty(), "once may be a broker that is late");
        assert!(look(Found::Ends(vec![3, 5])).is_empty());
        assert!(look(Found::Ends(vec![0, 0])).is_empty());
        let unusable = look(Found::Ends(vec![0, 1]));
        assert!(
            matches!(&unusable[..], [(topic, why)] if topic == "t.a.b" && why.contains("created anew")),
            "{unusable:?}"
        );
    }
}
