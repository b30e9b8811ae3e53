//! Is a topic still the one that holds a table's records? What is known of it and what Kafka says of it enter; the
//! reason why it is not leaves. Pure.
//!
//! Invariant: a topic is called unusable only for what cannot be true of the topic that capture has written: it is
//! gone, it has another number of partitions, or it ends before records that were committed.

/// What Kafka says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none.
    Missing,
    /// It has another number of partitions than was asked about.
    Partitions(u32),
    /// It has those, and their ends are here: the offset that the next record gets.
    Ends(Vec<i64>),
}

/// What is known of a topic from what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Partitions when it was created.
    pub partitions: u32,
    /// Each partition ends here, or behind it; shorter where nothing is known.
    pub ends: Vec<i64>,
    /// Some of its partitions have had records.
    pub written: bool,
}

impl Known {
    /// Takes in what Kafka says of the topic now.
    pub(crate) fn observe(&mut self, found: &Found) {
        if let Found::Ends(ends) = found {
            self.written |= ends.iter().any(|end| *end > 0);
            self.ends.clone_from(ends);
        }
    }

    /// Takes in what was seen of the topic before.
    pub(crate) fn recall(&mut self, ends: &[i64]) {
        self.written |= ends.iter().any(|end| *end > 0);
        self.ends.resize(self.ends.len().max(ends.len()), 0);
        self.ends.iter_mut().zip(ends).for_each(|(known, end)| *known = (*known).max(*end));
    }

    /// Why `topic` is not the one that was written; `None` if it may be.
    #[must_use]
    pub(crate) fn why_unusable(&self, topic: &str, found: &Found) -> Option<String> {
        match found {
            Found::Missing => Some(format!("topic {topic} was deleted")),
            Found::Partitions(count) => Some(format!(
                "topic {topic} was created with {} partitions and has {count}: keys have moved",
                self.partitions
            )),
            Found::Ends(ends) => {
                let shrunk = (0_u32..).zip(self.ends.iter().zip(ends)).find(|(_, (known, end))| end < known);
                if let Some((partition, (known, end))) = shrunk {
                    return Some(format!(
                        "topic {topic} was deleted and created anew, or lost records: partition {partition} ended at \
                         {known} and ends at {end}"
                    ));
                }
                (self.written && ends.iter().all(|end| *end == 0))
                    .then(|| format!("topic {topic} was deleted and created anew: its records are gone"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_the_topic_that_was_written_is_told() {
        let known = Known { partitions: 2, ends: vec![5, 0], written: true };
        let why = |found| known.why_unusable("t.a.b", &found).unwrap_or_default();
        assert_eq!(why(Found::Ends(vec![5, 0])), "");
        assert_eq!(why(Found::Ends(vec![9, 3])), "");
        assert!(why(Found::Missing).contains("was deleted"));
        assert!(why(Found::Partitions(3)).contains("2 partitions and has 3"));
        assert!(why(Found::Ends(vec![4, 9])).contains("partition 0 ended at 5 and ends at 4"));
        let loaded = Known { partitions: 2, ends: vec![0, 0], written: true };
        assert!(loaded.why_unusable("t", &Found::Ends(vec![0, 0])).unwrap().contains("its records are gone"));
        let fresh = Known { written: false, ..loaded };
        assert_eq!(fresh.why_unusable("t", &Found::Ends(vec![0, 0])), None);
    }

    #[test]
    fn what_is_seen_once_must_be_there_ever_after() {
        let mut known = Known { partitions: 1, ..Known::default() };
        known.observe(&Found::Ends(vec![0]));
        assert!(!known.written);
        known.observe(&Found::Ends(vec![7]));
        assert!(known.why_unusable("t", &Found::Ends(vec![6])).is_some());
        known.observe(&Found::Missing);
        assert_eq!(known.ends, [7]);
    }

    #[test]
    fn what_an_earlier_session_saw_must_be_there_too() {
        let mut known = Known { partitions: 2, ends: vec![4, 0], written: false };
        known.recall(&[0, 0]);
        assert!(!known.written && known.ends == [4, 0]);
        known.recall(&[3, 9]);
        assert!(known.written && known.ends == [4, 9]);
        let mut short = Known { partitions: 2, ..Known::default() };
        short.recall(&[0, 1]);
        let created_anew = short.why_unusable("t", &Found::Ends(vec![0, 0])).unwrap();
        assert!(created_anew.contains("partition 1 ended at 1 and ends at 0"), "{created_anew}");
    }
}
