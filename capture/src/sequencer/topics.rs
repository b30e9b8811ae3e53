//! Topics that an operator deleted, or gave more partitions, while capture runs. A table whose topic is not the one any
//! more that holds its records is read anew into another one; without the task's own topics nothing can go on.

use super::Sequencer;
use super::halt::Halt;
use super::port::Action;
use super::tables::Standing;
use crate::remedies;
use crate::topics::incarnation::{Found, Known};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_schemas::checkpoint::SeenTopic;
use tributary_service::exit::Failure;

/// How often it is written how far a table's topic is known to reach, beside what its load writes.
const STORE: Duration = Duration::from_secs(60);

/// What is known of the topics that are watched.
#[derive(Debug, Default)]
pub(super) struct WatchedTopics {
    known: BTreeMap<String, Known>,
    /// Unusable at the last look: a second one confirms it, for a broker may have learned of the topic late.
    doubtful: BTreeMap<String, String>,
    /// What the state topic says of them, and since when.
    stored: BTreeMap<String, (Instant, Vec<i64>)>,
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

    /// Takes in what an earlier session has seen of a topic.
    pub(super) fn recall(&mut self, seen: &SeenTopic, partitions: u32, now: Instant) {
        let fresh = Known { partitions, ..Known::default() };
        self.known.entry(seen.topic.clone()).or_insert(fresh).recall(&seen.ends);
        self.stored.insert(seen.topic.clone(), (now, seen.ends.clone()));
    }

    /// True if the state topic is to say more of a topic: nothing of it was stored yet, or not for long.
    fn is_due(&self, topic: &str, now: Instant, pause: Duration) -> bool {
        let Some(known) = self.known.get(topic).filter(|known| known.written) else { return false };
        self.stored
            .get(topic)
            .is_none_or(|(at, ends)| *ends != known.ends && now.saturating_duration_since(*at) >= pause)
    }

    /// What is written of a topic, now.
    pub(super) fn store(&mut self, topic: &str, now: Instant) -> Option<SeenTopic> {
        let ends = self.known.get(topic).filter(|known| known.written)?.ends.clone();
        self.stored.insert(topic.to_owned(), (now, ends.clone()));
        Some(SeenTopic { topic: topic.to_owned(), ends })
    }
}

impl Sequencer {
    /// The task's own topics, and those of the tables that are replicated.
    #[must_use]
    pub(crate) fn watched_topics(&self) -> Vec<(String, u32)> {
        let own = [&self.setup.state_topic, &self.setup.history_topic];
        let written = self.tables.iter().filter(|(index, table)| {
            let gone = matches!(self.tables.standing(*index), Standing::Gone);
            table.is_published() && !gone && !self.names.is_lost(&table.id)
        });
        let of_tables = written.map(|(_, table)| (table.topic.to_string(), table.partitions));
        own.into_iter().map(|topic| (topic.to_string(), 1)).chain(of_tables).collect()
    }

    /// What Kafka says of them.
    ///
    /// # Errors
    /// One of the task's own is gone, which ends the session; or what beginning a re-read comes to.
    pub(crate) async fn on_topics(&mut self, seen: &[(String, Found)]) -> Result<(), Halt> {
        let counts: BTreeMap<String, u32> = self.watched_topics().into_iter().collect();
        // A look that began before a table went into another topic speaks of the old one.
        let current: Vec<(String, Found)> =
            seen.iter().filter(|(topic, _)| counts.contains_key(topic)).cloned().collect();
        let unusable = self.watched.observe(&current, |topic| counts.get(topic).copied().unwrap_or(1));
        self.store_seen(STORE);
        for (topic, why) in unusable {
            self.watched.known.remove(&topic);
            if *topic == *self.setup.state_topic || *topic == *self.setup.history_topic {
                return Err(Halt::Restart(why));
            }
            let table = self.tables.iter().find(|(_, table)| *table.topic == *topic);
            let (index, table) = table.unwrap_or_else(|| unreachable!("{topic} is watched for no table"));
            tracing::warn!(table = %table.id, "{why}; the table goes on in another topic");
            self.names.lose(&table.id);
            self.tables.reread(index, why);
        }
        if self.progress.open().is_none() && self.tables.is_reread_due() {
            self.begin_rereads().await?;
        }
        Ok(())
    }

    /// The last commit of a session that is asked to end. What the topics hold then is written, so that the next start
    /// knows them again.
    pub(crate) async fn finish(&mut self) {
        self.commit().await;
        let watched = self.watched_topics();
        if let Some(found) = self.port.ask(watched.clone(), Action::Look).await {
            let seen: Vec<(String, Found)> =
                watched.iter().map(|(topic, _)| topic.clone()).zip(found).collect();
            let counts: BTreeMap<String, u32> = watched.into_iter().collect();
            // What is unusable is noticed at the next start, too.
            self.watched.observe(&seen, |topic| counts.get(topic).copied().unwrap_or(1));
        }
        self.store_seen(Duration::ZERO);
        self.commit().await;
        self.show_status();
    }

    /// Has what is known of the tables' topics written with the next commit, each of them not sooner than `pause` after the
    /// last time.
    fn store_seen(&mut self, pause: Duration) {
        let due = self.tables.iter().filter(|(index, table)| {
            self.tables.is_streaming(*index) && self.watched.is_due(&table.topic, self.output.now, pause)
        });
        self.dirty.extend(due.map(|(index, _)| index));
    }
}

/// Where the task stands was there, or what its tables' records mean.
#[must_use]
pub(crate) fn own_topic_gone(topic: &str, why: &str) -> Failure {
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

    #[test]
    fn what_is_seen_of_a_topic_is_stored_at_once_and_then_now_and_then() {
        let (mut watched, now) = (WatchedTopics::default(), Instant::now());
        let look = |watched: &mut WatchedTopics, end| {
            assert!(watched.observe(&[("t.a.b".to_owned(), Found::Ends(vec![end]))], |_| 1).is_empty());
        };
        look(&mut watched, 0);
        assert!(!watched.is_due("t.a.b", now, STORE), "nothing was ever in it");
        assert_eq!(watched.store("t.a.b", now), None);
        look(&mut watched, 3);
        assert!(watched.is_due("t.a.b", now, STORE));
        let seen = watched.store("t.a.b", now).unwrap();
        assert_eq!(seen, SeenTopic { topic: "t.a.b".to_owned(), ends: vec![3] });
        assert!(!watched.is_due("t.a.b", now + STORE, STORE), "the same");
        look(&mut watched, 4);
        assert!(!watched.is_due("t.a.b", now, STORE) && watched.is_due("t.a.b", now, Duration::ZERO));
        assert!(watched.is_due("t.a.b", now + STORE, STORE));
        let mut next = WatchedTopics::default();
        next.recall(&seen, 1, now);
        let mut unusable = |end| next.observe(&[("t.a.b".to_owned(), Found::Ends(vec![end]))], |_| 1);
        assert!(unusable(2).is_empty() && !unusable(2).is_empty());
    }
}
