//! What the Kafka cluster can do for a task: what was tried on it enters, an [`Item`] for each property leaves. Pure;
//! [`super::probe`] tries.

use super::item::{Item, fail, pass, warn};
use std::collections::{BTreeMap, BTreeSet};
use tributary_config::TopicsConfig;
use tributary_schemas::history::SelectionRecord;
use tributary_schemas::printed::counted;

/// Something that the cluster, or the way to it, did not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What was tried.
    pub action: &'static str,
    /// What came back.
    pub reason: String,
    /// An ACL is missing.
    pub denied: bool,
    /// It may pass by itself.
    pub transient: bool,
}

/// Settings of a topic by name.
pub(super) type TopicSettings = BTreeMap<String, String>;

#[derive(Debug, Clone, Default)]
pub(super) struct ClusterFacts {
    /// Brokers in the metadata.
    pub brokers: usize,
    /// Every topic that may be seen, with its number of partitions.
    pub topics: BTreeMap<String, u32>,
    /// Topics of the task of which nobody would say whether they exist.
    pub unseen: BTreeSet<String>,
    /// Settings of the task's topics that exist.
    pub settings: BTreeMap<String, TopicSettings>,
    /// `socket.request.max.bytes` of a broker, where it may be read.
    pub request_max_bytes: Option<u64>,
    /// Table topics with records, though the task has no checkpoint.
    pub orphans: Vec<String>,
    /// What could not be read of all this.
    pub refusals: Vec<Refusal>,
}

/// What became of the probe topic.
#[derive(Debug, Clone)]
pub(super) struct ProbeFacts {
    /// It was created; the settings it was created with, as they were read back.
    pub settings: Result<TopicSettings, Refusal>,
    /// What consumers saw of an aborted and a committed transaction; `None` if there was no topic to try it on.
    pub transactions: Option<Result<Visibility, Refusal>>,
    /// It was deleted again.
    pub deleted: Result<(), Refusal>,
}

/// What consumers saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Visibility {
    /// With `isolation.level=read_uncommitted`.
    pub uncommitted: Vec<String>,
    /// With `isolation.level=read_committed`.
    pub committed: Vec<String>,
}

/// The record of the transaction that is aborted.
pub(super) const ABORTED: &str = "aborted";
/// The record of the transaction that is committed.
pub(super) const COMMITTED: &str = "committed";

/// What to do about what may pass by itself.
const BUSY: &str = "check again once the cluster answers: it is away, or busy; `run` waits for it";

/// `kafka-transactions`: exactly once stands and falls with them.
#[must_use]
pub(super) fn transactions(probe: &ProbeFacts) -> Item {
    const NAME: &str = "kafka-transactions";
    let remedy = "use a cluster with transactions (ApsaraMQ: local storage, not cloud storage), and grant what \
                  `capture check --print-grants` prints";
    let visibility = match &probe.transactions {
        Some(Ok(visibility)) => visibility,
        Some(Err(refusal)) => {
            let remedy = if refusal.transient { BUSY } else { remedy };
            return fail(NAME, format!("{} failed: {}", refusal.action, refusal.reason), remedy);
        }
        None => {
            // Why it could not says whether there is anything wrong with the cluster.
            let refused = probe.settings.as_ref().err();
            let remedy = match refused {
                Some(refusal) if refusal.transient => BUSY,
                Some(refusal) if !refusal.denied => "see kafka-compaction, which says why",
                _ => remedy,
            };
            return fail(NAME, "not tried, for the probe topic could not be created", remedy);
        }
    };
    let saw = |list: &[String], record: &str| list.iter().any(|seen| seen == record);
    if !saw(&visibility.uncommitted, ABORTED) || !saw(&visibility.committed, COMMITTED) {
        let found = "a record that was acknowledged cannot be read back: changes would be lost";
        return fail(NAME, found, remedy);
    }
    if saw(&visibility.committed, ABORTED) {
        let found = "a consumer with read_committed sees the record of an aborted transaction: a restart of capture \
                     would publish changes twice, and apply would see a part of a transaction";
        return fail(NAME, found, remedy);
    }
    pass(NAME, "a committed record is read back, one of an aborted transaction is hidden from read_committed")
}

/// `kafka-compaction`: the setting is taken. The compaction itself runs hours later and cannot be waited for.
#[must_use]
pub(super) fn compaction(probe: &ProbeFacts) -> Item {
    const NAME: &str = "kafka-compaction";
    let remedy = "use a cluster whose topics may have cleanup.policy=compact: without it old rows vanish, or every \
                  change is kept for ever";
    match &probe.settings {
        Err(refusal) => {
            let remedy = if refusal.transient { BUSY } else { remedy };
            fail(NAME, format!("{} failed: {}", refusal.action, refusal.reason), remedy)
        }
        Ok(settings) => match settings.get("cleanup.policy").map(String::as_str) {
            Some("compact") => pass(
                NAME,
                "a topic can be created with cleanup.policy=compact, and the broker confirms it; that it then does \
                 compact was not waited for",
            ),
            other => fail(
                NAME,
                format!(
                    "a topic was created with cleanup.policy=compact and has {}",
                    other.unwrap_or("no such setting")
                ),
                remedy,
            ),
        },
    }
}

/// `kafka-message-size`: the probe topic's limit as it was read back, the limits of topics that exist, and the
/// broker's limit on a request.
#[must_use]
pub(super) fn message_size(probe: &ProbeFacts, cluster: &ClusterFacts, wanted: u32) -> Item {
    const NAME: &str = "kafka-message-size";
    const KEY: &str = "max.message.bytes";
    let wanted = u64::from(wanted);
    let limit = |settings: &TopicSettings| settings.get(KEY).and_then(|text| text.parse::<u64>().ok());
    if let Some(request) = cluster.request_max_bytes.filter(|request| *request < wanted) {
        return fail(
            NAME,
            format!("the broker refuses requests over socket.request.max.bytes = {request}"),
            format!("lower topics.max_message_bytes ({wanted}), or raise the broker's limit"),
        );
    }
    let small: Vec<String> = cluster
        .settings
        .iter()
        .filter_map(|(topic, settings)| Some((topic, limit(settings)?)))
        .filter(|(_, limit)| *limit < wanted)
        .map(|(topic, limit)| format!("topic {topic} takes {limit} bytes"))
        .collect();
    if !small.is_empty() {
        return fail(
            NAME,
            small.join("\n"),
            format!(
                "set {KEY} = {wanted} on these topics, or lower topics.max_message_bytes to the smallest of them"
            ),
        );
    }
    match probe.settings.as_ref().ok().and_then(limit) {
        Some(limit) if limit < wanted => fail(
            NAME,
            format!("a topic was created with {KEY} = {wanted} and has {limit}"),
            format!("set topics.max_message_bytes = {limit}; a larger row then parks its table"),
        ),
        Some(limit) => pass(NAME, format!("a topic takes records of {limit} bytes")),
        None => warn(
            NAME,
            "the limit of a topic could not be read back",
            "compare it with topics.max_message_bytes",
        ),
    }
}

/// `kafka-acl`: everything that was denied, in one place.
#[must_use]
pub(super) fn acl<'a>(refusals: impl IntoIterator<Item = &'a Refusal>) -> Item {
    const NAME: &str = "kafka-acl";
    let mut denied: Vec<String> = refusals
        .into_iter()
        .filter(|refusal| refusal.denied)
        .map(|refusal| format!("{} was denied: {}", refusal.action, refusal.reason))
        .collect();
    denied.dedup();
    if denied.is_empty() {
        return pass(NAME, "nothing was denied");
    }
    fail(NAME, denied.join("\n"), "add the ACLs that `capture check --print-grants` prints")
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TaskTopics<'a> {
    /// The history and the state topic.
    pub own: &'a [String],
    /// The topics of the selected tables.
    pub tables: &'a [String],
    /// What the history says about them.
    pub recorded: Option<&'a SelectionRecord>,
    /// Topics of tables that are not those any more that were written, with the reason.
    pub lost: &'a BTreeMap<String, String>,
}

/// `topic-settings`: topics that exist must be as this task would create them.
#[must_use]
pub(super) fn topic_settings(topics: TaskTopics<'_>, cluster: &ClusterFacts, config: &TopicsConfig) -> Item {
    const NAME: &str = "topic-settings";
    let mut wrong: Vec<String> = Vec::new();
    let mut doubtful: Vec<String> = Vec::new();
    let recorded = topics.recorded.map_or(&[][..], |record| record.tables.as_slice());
    if usize::from(config.replication_factor) > cluster.brokers {
        wrong.push(format!(
            "topics.replication_factor = {} but the cluster has {} in its metadata",
            config.replication_factor,
            counted(cluster.brokers, "broker")
        ));
    }
    for topic in topics.own.iter().chain(topics.tables) {
        let own = topics.own.contains(topic);
        if let Some(why) = topics.lost.get(topic) {
            doubtful.push(format!("{why}: its table is read anew, into another topic"));
            continue;
        }
        let record = recorded.iter().find(|record| record.topic == *topic && record.excluded.is_none());
        let expected = if own { 1 } else { config.partitions };
        if let Some(record) = record.filter(|record| !own && record.partitions != config.partitions) {
            wrong.push(format!(
                "topic {topic} was created with {} partitions, topics.partitions = {}: keys would move",
                record.partitions, config.partitions
            ));
        }
        match (cluster.topics.get(topic), record) {
            (Some(found), None) if *found != expected => {
                let what = format!("topic {topic} has {found} partitions, {expected} are expected");
                if own { wrong.push(what) } else { doubtful.push(format!("{what}: its table is left out")) }
            }
            (Some(found), Some(record)) if *found != record.partitions => doubtful.push(format!(
                "topic {topic} has {found} partitions and was created with {}: its table is read anew, into another topic",
                record.partitions
            )),
            (None, Some(_)) if !cluster.unseen.contains(topic) => {
                doubtful.push(format!("topic {topic} is gone: its table is read anew, into another topic"));
            }
            _ => {}
        }
        if let Some(settings) = cluster.settings.get(topic) {
            let retention = topics.tables.contains(topic).then(|| config.retention_ms());
            judge_settings(topic, settings, retention, &mut wrong, &mut doubtful);
        }
    }
    wrong.extend(
        cluster
            .orphans
            .iter()
            .map(|topic| format!("topic {topic} holds records, but the task has no checkpoint")),
    );
    let mut remedy = format!(
        "partitions: set topics.partitions back, or `capture drop` and start anew; settings: cleanup.policy=compact, \
         min.compaction.lag.ms and delete.retention.ms = {}",
        config.retention_ms()
    );
    if !cluster.orphans.is_empty() {
        remedy = format!(
            "no checkpoint: begin anew: `capture drop` removes the topics that the task's records name, delete those it does \
             not list by hand, then `capture run`; {remedy}"
        );
    }
    if !wrong.is_empty() {
        wrong.append(&mut doubtful);
        return fail(NAME, wrong.join("\n"), remedy);
    }
    if !doubtful.is_empty() {
        return warn(NAME, doubtful.join("\n"), remedy);
    }
    let existing =
        topics.own.iter().chain(topics.tables).filter(|topic| cluster.topics.contains_key(*topic)).count();
    if existing == 0 {
        return pass(NAME, "none of the task's topics exists yet");
    }
    pass(NAME, format!("{} of the task exist, with the right settings", counted(existing, "topic")))
}

/// `retention_ms` is what the config asks for; `None` for the task's own topics, of which only the last word counts.
fn judge_settings(
    topic: &str,
    settings: &TopicSettings,
    retention_ms: Option<u64>,
    wrong: &mut Vec<String>,
    doubtful: &mut Vec<String>,
) {
    if let Some(policy) = settings.get("cleanup.policy").filter(|policy| *policy != "compact") {
        wrong.push(format!("topic {topic} has cleanup.policy={policy}: it forgets rows"));
    }
    for key in ["min.compaction.lag.ms", "delete.retention.ms"] {
        let Some(found) = settings.get(key).and_then(|text| text.parse::<u64>().ok()) else { continue };
        if let Some(wanted) = retention_ms.filter(|wanted| found < *wanted) {
            doubtful
                .push(format!("topic {topic} has {key}={found}, topics.retention_hours asks for {wanted}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Outcome;
    use super::*;
    use tributary_schemas::history::SelectedTable;
    use tributary_schemas::table::TableId;

    fn settings(pairs: &[(&str, &str)]) -> TopicSettings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn probe(visible: (&[&str], &[&str]), pairs: &[(&str, &str)]) -> ProbeFacts {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let visibility = Visibility { uncommitted: own(visible.0), committed: own(visible.1) };
        ProbeFacts { settings: Ok(settings(pairs)), transactions: Some(Ok(visibility)), deleted: Ok(()) }
    }

    #[test]
    fn transactions_are_believed_only_when_both_sides_were_seen() {
        let both = [ABORTED, COMMITTED];
        let judge = |uncommitted: &[&str], committed: &[&str]| {
            transactions(&probe((uncommitted, committed), &[])).outcome
        };
        assert_eq!(judge(&both, &[COMMITTED]), Outcome::Pass);
        assert_eq!(judge(&both, &both), Outcome::Fail);
        assert_eq!(judge(&both, &[]), Outcome::Fail);
        assert_eq!(judge(&[COMMITTED], &[COMMITTED]), Outcome::Fail);
        let untried = |transient: bool, denied: bool| {
            let refusal = Refusal { action: "a", reason: "r".into(), denied, transient };
            let facts = probe((&[], &[]), &[]);
            transactions(&ProbeFacts { settings: Err(refusal), transactions: None, ..facts })
        };
        for (transient, denied, remedy) in
            [(true, false, BUSY), (false, false, "see kafka"), (false, true, "use a cluster")]
        {
            let item = untried(transient, denied);
            assert_eq!(item.outcome, Outcome::Fail);
            assert!(item.remedy.starts_with(remedy), "{item:?}");
        }
    }

    #[test]
    fn settings_are_believed_only_when_they_read_back() {
        assert_eq!(compaction(&probe((&[], &[]), &[("cleanup.policy", "compact")])).outcome, Outcome::Pass);
        assert_eq!(compaction(&probe((&[], &[]), &[("cleanup.policy", "delete")])).outcome, Outcome::Fail);
        assert_eq!(compaction(&probe((&[], &[]), &[])).outcome, Outcome::Fail);
    }

    #[test]
    fn the_smallest_limit_on_a_record_counts() {
        let size = |cluster: &ClusterFacts, limit: &str| {
            message_size(&probe((&[], &[]), &[("max.message.bytes", limit)]), cluster, 1000).outcome
        };
        let plain = ClusterFacts::default();
        assert_eq!(size(&plain, "1000"), Outcome::Pass);
        assert_eq!(size(&plain, "999"), Outcome::Fail);
        assert_eq!(size(&plain, "?"), Outcome::Warn);
        assert_eq!(
            size(&ClusterFacts { request_max_bytes: Some(999), ..plain.clone() }, "1000"),
            Outcome::Fail
        );
        let existing = [("t.a.b".to_owned(), settings(&[("max.message.bytes", "10")]))].into();
        assert_eq!(size(&ClusterFacts { settings: existing, ..plain }, "1000"), Outcome::Fail);
    }

    fn judge_topics(found: Option<u32>, recorded: Option<u32>, pairs: &[(&str, &str)]) -> Item {
        judge_seen(found, recorded, pairs, true)
    }

    fn judge_seen(found: Option<u32>, recorded: Option<u32>, pairs: &[(&str, &str)], seen: bool) -> Item {
        let topic = "t.a.b".to_owned();
        let record = recorded.map(|partitions| SelectionRecord {
            format: 1,
            tables: vec![SelectedTable {
                id: TableId::new("a", "b"),
                topic: topic.clone(),
                partitions,
                excluded: None,
            }],
            retention_ms: None,
        });
        let cluster = ClusterFacts {
            brokers: 1,
            topics: found.map(|count| (topic.clone(), count)).into_iter().collect(),
            settings: found.map(|_| (topic.clone(), settings(pairs))).into_iter().collect(),
            unseen: (!seen).then(|| topic.clone()).into_iter().collect(),
            ..ClusterFacts::default()
        };
        let lost = BTreeMap::new();
        let topics = TaskTopics { own: &[], tables: &[topic], recorded: record.as_ref(), lost: &lost };
        topic_settings(topics, &cluster, &TopicsConfig::default())
    }

    #[test]
    fn partition_counts_never_change() {
        assert_eq!(judge_topics(None, None, &[]).outcome, Outcome::Pass);
        assert_eq!(judge_topics(Some(4), Some(4), &[]).outcome, Outcome::Pass);
        assert_eq!(judge_topics(Some(8), Some(8), &[]).outcome, Outcome::Fail, "the config's changed");
        // One topic's trouble is its table's alone.
        for (found, recorded) in [(Some(5), None), (Some(5), Some(4)), (None, Some(4))] {
            assert_eq!(judge_topics(found, recorded, &[]).outcome, Outcome::Warn, "{found:?} {recorded:?}");
        }
    }

    #[test]
    fn what_a_lost_topic_is_like_does_not_matter() {
        let topic = "t.a.b".to_owned();
        let pairs = settings(&[("cleanup.policy", "delete")]);
        let cluster = ClusterFacts {
            brokers: 1,
            topics: BTreeMap::from([(topic.clone(), 1)]),
            settings: BTreeMap::from([(topic.clone(), pairs)]),
            ..ClusterFacts::default()
        };
        let lost = BTreeMap::from([(topic.clone(), "topic t.a.b was deleted and created anew".to_owned())]);
        let topics = TaskTopics { own: &[], tables: &[topic], recorded: None, lost: &lost };
        let item = topic_settings(topics, &cluster, &TopicsConfig::default());
        assert!(item.outcome == Outcome::Warn && item.found.contains("read anew"), "{item:?}");
    }

    #[test]
    fn a_topic_that_nobody_tells_of_is_not_called_gone() {
        assert!(judge_seen(None, Some(4), &[], true).found.contains("is gone"));
        assert_eq!(judge_seen(None, Some(4), &[], false).outcome, Outcome::Pass);
    }

    #[test]
    fn topics_that_forget_are_refused_and_short_retention_is_warned_of() {
        assert_eq!(
            judge_topics(Some(4), None, &[("cleanup.policy", "compact,delete")]).outcome,
            Outcome::Fail
        );
        let short = [("cleanup.policy", "compact"), ("delete.retention.ms", "1000")];
        assert_eq!(judge_topics(Some(4), None, &short).outcome, Outcome::Warn);
    }

    #[test]
    fn more_replicas_than_brokers_and_orphans_are_refused() {
        let config = TopicsConfig { replication_factor: 3, ..TopicsConfig::default() };
        let topics = TaskTopics { own: &[], tables: &[], recorded: None, lost: &BTreeMap::new() };
        let one = ClusterFacts { brokers: 1, ..ClusterFacts::default() };
        assert_eq!(topic_settings(topics, &one, &config).outcome, Outcome::Fail);
        let orphans = ClusterFacts { orphans: vec!["t.a.b".into()], ..one };
        assert_eq!(topic_settings(topics, &orphans, &TopicsConfig::default()).outcome, Outcome::Fail);
    }

    #[test]
    fn denials_are_collected() {
        let refusal = Refusal { action: "a", reason: "r".into(), denied: false, transient: false };
        assert_eq!(acl([&refusal]).outcome, Outcome::Pass);
        assert_eq!(acl([&Refusal { denied: true, ..refusal }]).outcome, Outcome::Fail);
    }
}
