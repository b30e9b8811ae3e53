//! Asks Kafka who reads the topics, one round after the other. Every call blocks.
//!
//! A client asks about one group only, its own, so each reader that is followed has a client of its own, which is kept from
//! round to round.

use super::TopicList;
use super::lag::{Offsets, reader};
use super::rounds::{AGAIN, Answered, Rounds};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_config::Config;
use tributary_schemas::topic::capture_group;
use tributary_service::kafka::{self, ListedGroup, RenewedConsumer, TopicPartition};
use tributary_service::status::{ReaderDocument, Readers};

/// How long one question may take. A question that the account may not ask takes all of it.
const LIMIT: Duration = Duration::from_secs(5);
/// No question begins later than this after its round.
const ROUND: Duration = Duration::from_secs(30);

/// What is known of the groups of a cluster, and the clients that ask.
pub(crate) struct Groups {
    config: Config,
    /// Lists groups, and knows last stable offsets.
    general: RenewedConsumer,
    rounds: Rounds,
    /// Kafka's last word; `None` before the first.
    listed: Option<BTreeMap<String, ListedGroup>>,
    followed: BTreeMap<String, Followed>,
    /// The last stable offsets of the task's topics, as far as they are known.
    ends: Offsets,
    /// Whether the account may ask about a group that it has no right to by name, and when that was found out.
    sees_all: Option<(bool, Instant)>,
}

/// A reader.
struct Followed {
    client: RenewedConsumer,
    committed: Offsets,
}

impl Groups {
    /// Prepares the first client; nothing is asked yet.
    ///
    /// # Errors
    /// The library takes a setting for wrong.
    pub(crate) fn new(config: &Config) -> Result<Self, KafkaError> {
        let general = kafka::consumer_config(&config.kafka, &capture_group(&config.name));
        Ok(Self {
            config: config.clone(),
            general: RenewedConsumer::new(general)?,
            rounds: Rounds::default(),
            listed: None,
            followed: BTreeMap::new(),
            ends: Offsets::new(),
            sees_all: None,
        })
    }

    /// Asks who reads `topics`, which are those of the task's tables.
    ///
    /// # Errors
    /// Kafka does not say where the topics end.
    pub(crate) fn round(&mut self, topics: &TopicList) -> Result<Readers, KafkaError> {
        let began = Instant::now();
        let places = places(topics);
        self.ask_ends(&places)?;
        let mut notes = Vec::new();
        if let Err(error) = self.list() {
            notes.push(format!("Kafka does not list its groups: {error}"));
        }
        if self.sees_all.is_none_or(|(_, asked)| began.saturating_duration_since(asked) >= AGAIN) {
            self.ask_about_nobody(&places, began);
        }
        let mut silent = 0;
        for group in self.rounds.due(began) {
            if began.elapsed() >= ROUND {
                break;
            }
            let answer = self.ask(&group, &places)?;
            silent += usize::from(answer == Answered::Unanswered);
            if !self.rounds.answered(&group, answer, began) {
                self.followed.remove(&group);
            }
        }
        if silent > 0 {
            notes.push(format!("groups that did not answer: {silent}"));
        }
        notes.extend(self.notes());
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Readers { list: self.readers(), note, asked: Some(began) })
    }

    /// True once Kafka has listed its groups and each of them was asked.
    pub(crate) fn has_met_all(&self) -> bool {
        self.listed.is_some() && self.rounds.unmet() == 0
    }

    /// An end that cannot be had for a moment stays what it was: no lag shrinks because a broker is away.
    fn ask_ends(&mut self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        let found = self.general.ask(|client| kafka::offsets(client, places, Offset::End, LIMIT))?;
        let before = std::mem::take(&mut self.ends);
        for place in places {
            let end = found.get(place).and_then(|end| end.as_ref().ok()).or_else(|| before.get(place));
            self.ends.extend(end.map(|end| (place.clone(), *end)));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), KafkaError> {
        let topics = format!("{}.", self.config.name);
        let list = self.general.ask(|client| kafka::groups(client.client(), &topics, LIMIT))?;
        self.rounds.listed(&list, &capture_group(&self.config.name));
        self.listed = Some(list.into_iter().map(|group| (group.name.clone(), group)).collect());
        Ok(())
    }

    /// The list leaves out, without a word, what the account may not describe. A question about a group that does not exist
    /// is refused then.
    fn ask_about_nobody(&mut self, places: &[TopicPartition], now: Instant) {
        let nobody = uuid::Uuid::new_v4().to_string();
        let Ok(client) = self.client(&nobody) else { return };
        match client.ask(|client| kafka::committed(client, places, LIMIT)) {
            Ok(_) => self.sees_all = Some((true, now)),
            Err(error) if kafka::is_refusal(&error) => self.sees_all = Some((false, now)),
            // The next round asks again.
            Err(_) => {}
        }
    }

    fn client(&self, group: &str) -> Result<RenewedConsumer, KafkaError> {
        RenewedConsumer::new(kafka::asking_config(&self.config.kafka, group))
    }

    fn ask(&mut self, group: &str, places: &[TopicPartition]) -> Result<Answered, KafkaError> {
        let question =
            |client: &RenewedConsumer| client.ask(|client| kafka::committed(client, places, LIMIT));
        let answer = if let Some(followed) = self.followed.get_mut(group) {
            question(&followed.client).inspect(|committed| followed.committed.clone_from(committed))
        } else {
            let client = self.client(group)?;
            let answer = question(&client);
            if let Ok(committed) = &answer {
                self.followed.insert(group.to_owned(), Followed { client, committed: committed.clone() });
            }
            answer
        };
        Ok(match answer {
            Ok(committed) if committed.is_empty() => Answered::ReadsNothing,
            Ok(_) => Answered::Reads,
            Err(error) if kafka::is_refusal(&error) => Answered::Refused,
            Err(_) => Answered::Unanswered,
        })
    }

    fn readers(&self) -> Option<Vec<ReaderDocument>> {
        let listed = self.listed.as_ref()?;
        let shown = self.followed.iter().filter_map(|(group, followed)| {
            reader(group, listed.get(group), &followed.committed, &self.ends)
        });
        Some(shown.collect())
    }

    /// What is missing from the list.
    fn notes(&self) -> Vec<String> {
        let (beyond, unmet) = (self.rounds.beyond(), self.rounds.unmet());
        let hidden = self.rounds.is_refused() || self.sees_all.is_some_and(|(all, _)| !all);
        let notes = [
            (beyond > 0).then(|| format!("readers that are not shown because there are too many: {beyond}")),
            (unmet > 0).then(|| format!("groups that were not asked yet: {unmet}")),
            hidden.then(|| {
                "groups that the account may not describe are not shown; `capture check --print-grants` has the ACL for it"
                    .to_owned()
            }),
        ];
        notes.into_iter().flatten().collect()
    }
}

fn places(topics: &TopicList) -> Vec<TopicPartition> {
    let partitions = |count: u32| 0..i32::try_from(count).unwrap_or(i32::MAX);
    let of = |(topic, count): &(String, u32)| {
        let topic = topic.clone();
        partitions(*count).map(move |number| (topic.clone(), number))
    };
    topics.iter().flat_map(of).collect()
}
