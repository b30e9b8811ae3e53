//! `capture drop`: lists who reads a task's topics and what it has on Kafka, asks, and removes it. Invariant: only topics that the task's own
//! records name are removed; nothing is, while an instance of capture is alive.

use crate::groups::TopicList;
use crate::groups::ask::Groups;
use crate::remedies;
use crate::topics::admin::Topics;
use crate::topics::reach::{Listener, reach};
use crate::topics::stored::Stored;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tributary_config::Config;
use tributary_schemas::topic::{capture_group, history_topic, state_topic, table_topic};
use tributary_service::cli::{DropArgs, may_remove, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::{admin_client, client_config};
use tributary_service::shell::runtime;
use tributary_service::status::{Readers, readers_in_words};
use tributary_service::waits::Waits;

/// How long Kafka may take to answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Lists, asks, removes.
///
/// # Errors
/// A [`Failure`] if Kafka does not answer, an instance is alive, or nobody can be asked.
pub fn run(config: &Config, arguments: &DropArgs) -> Result<Exit, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new("the task cannot be dropped", error)
            .at(&config.kafka.brokers)
            .remedy(remedies::kafka_unusable())
    };
    let group = capture_group(&config.name);
    let (consumer, _) = reach(&config.kafka, &group).map_err(|error| failed(&error))?;
    let unused = || match members(&consumer, &group) {
        Ok(0) => Ok(()),
        Ok(members) => Err(Failure::new(
            "the task is in use",
            format!("{members} of its instances are in the group {group}"),
        )
        .remedy(remedies::in_use())),
        Err(error) => Err(failed(&error)),
    };
    unused()?;
    let stored = Stored::read(config).map_err(|error| failed(&error))?;
    // Behind what is stored, which names only what is there by then.
    let wait = Waits::of_process().answer("Kafka: which topics there are", LIMIT);
    let metadata = consumer.fetch_metadata(None, LIMIT).map_err(|error| failed(&error))?;
    drop(wait);
    let existing: BTreeSet<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
    let to_remove = to_remove(config, &stored, &existing);
    if to_remove.is_empty() {
        write_out(&format!("nothing to drop: task {} has no topics\n", config.name));
        return Ok(Exit::Done);
    }
    let mut list = readers(config, &metadata, &to_remove);
    list.push_str(&format!("to be removed from {}:\n", config.kafka.brokers));
    for topic in &to_remove {
        list.push_str(&format!("  topic           {topic}\n"));
    }
    list.push_str(&format!("  consumer group  {group}\n"));
    list.push_str("every destination keeps its tables; `apply drop` removes its bookkeeping\n");
    if !may_remove(&list, arguments)? {
        return Ok(Exit::Failed);
    }
    // A person takes time to answer, and something else may have started an instance.
    unused()?;
    let runtime = runtime(1)?;
    let topics = Topics::new(&client_config(&config.kafka), runtime.handle().clone())
        .map_err(|error| failed(&error))?;
    // One by one and in this order: as long as the history is there, a drop that was cut off can be done again.
    for topic in &to_remove {
        let _wait = Waits::of_process().answer(format!("Kafka: deleting {topic}"), None);
        topics.delete(&[topic]).map_err(|error| failed(&error))?;
    }
    let admin = admin_client(&config.kafka).map_err(|error| failed(&error))?;
    // The group holds no offsets that anything reads; that it may be gone already, or stay, does not matter.
    let _wait = Waits::of_process().answer("Kafka: deleting the group", None);
    if let Err(error) = runtime.block_on(admin.delete_groups(&[&group], &AdminOptions::new())) {
        tracing::debug!(%error, "deleting the group");
    }
    write_out(&format!("removed {} topics of task {}\n", to_remove.len(), config.name));
    Ok(Exit::Done)
}

/// Who reads the tables' topics, for a person: what they have not read yet is gone with the topics.
fn readers(config: &Config, metadata: &Metadata, to_remove: &[String]) -> String {
    let own = [history_topic(&config.name), state_topic(&config.name)];
    let topics: TopicList = metadata
        .topics()
        .iter()
        .map(|topic| (topic.name().to_owned(), u32::try_from(topic.partitions().len()).unwrap_or(0)))
        .filter(|(topic, _)| to_remove.contains(topic) && !own.contains(topic))
        .collect();
    if topics.is_empty() {
        return String::new();
    }
    let _wait = Waits::of_process().work("Kafka: who reads the topics", Instant::now(), LIMIT);
    let asked = Groups::new(config).and_then(|mut groups| {
        let deadline = Instant::now() + LIMIT;
        loop {
            let readers = groups.round(&topics)?;
            if groups.has_met_all() || Instant::now() >= deadline {
                return Ok(readers);
            }
        }
    });
    match asked {
        Ok(Readers { list, note, .. }) => readers_in_words(list.as_deref(), note.as_deref()),
        Err(error) => format!("who reads the topics is not known: {error}\n"),
    }
}

/// Living members of the group.
fn members(consumer: &BaseConsumer<Listener>, group: &str) -> Result<usize, rdkafka::error::KafkaError> {
    let _wait = Waits::of_process().answer("Kafka: who is in the group", LIMIT);
    let list = consumer.fetch_group_list(Some(group), LIMIT)?;
    Ok(list.groups().iter().filter(|entry| entry.name() == group).map(|entry| entry.members().len()).sum())
}

/// The task's topics that exist, the ones that name the others last.
fn to_remove(config: &Config, stored: &Stored, existing: &BTreeSet<String>) -> Vec<String> {
    let selected =
        stored.history.selection.iter().flat_map(|selection| &selection.tables).map(|table| &table.topic);
    let defined =
        stored.history.generations.values().flat_map(|table| table.values()).map(|record| &record.topic);
    let named: BTreeSet<&String> = selected.chain(defined).collect();
    // Where the history is gone, the state still names the tables.
    let of_state = stored.state.catalog.keys().chain(stored.state.progress.keys());
    let bases: BTreeSet<String> = of_state.map(|id| table_topic(&config.name, id)).collect();
    let is_of = |topic: &str, base: &String| {
        topic.strip_prefix(base.as_str()).is_some_and(|rest| {
            let number = rest.strip_prefix(".r").unwrap_or_default();
            rest.is_empty() || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let of_tables = existing.iter().filter(|topic| bases.iter().any(|base| is_of(topic, base)));
    let tables: BTreeSet<&String> = named.into_iter().chain(of_tables).collect();
    // Left by a check that was killed; no table's topic can be called so.
    let probes = format!("{}.probe-", config.name);
    let probes = existing.iter().filter(|topic| topic.starts_with(&probes));
    let own = [history_topic(&config.name), state_topic(&config.name)];
    tables.into_iter().chain(probes).chain(&own).filter(|topic| existing.contains(*topic)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::history::{SelectedTable, SelectionRecord};
    use tributary_schemas::table::TableId;

    #[test]
    fn only_topics_that_the_task_names_are_doomed_and_the_history_goes_last() {
        let config: Config =
            toml::from_str("name = \"shop\"\nkafka.brokers = \"b\"\n[[table]]\nsource = \"a.*\"\n").unwrap();
        let table = |name: &str| SelectedTable {
            id: TableId::new("a", name),
            topic: format!("shop.a.{name}"),
            partitions: 4,
            excluded: None,
        };
        let mut stored = Stored::default();
        stored.history.selection =
            Some(SelectionRecord { format: 1, tables: vec![table("b"), table("gone")], retention_ms: None });
        let existing =
            ["shop.a.b", "shop.a.foreign", "shop.history", "shop.state", "shop.probe-1", "shop2.state"];
        let existing = existing.map(str::to_owned).into();
        assert_eq!(
            to_remove(&config, &stored, &existing),
            ["shop.a.b", "shop.probe-1", "shop.history", "shop.state"]
        );
    }

    #[test]
    fn without_a_history_the_state_names_the_tables() {
        let config: Config =
            toml::from_str("name = \"shop\"\nkafka.brokers = \"b\"\n[[table]]\nsource = \"a.*\"\n").unwrap();
        let mut stored = Stored::default();
        stored.state.catalog.insert(TableId::new("a", "b"), Default::default());
        let existing = ["shop.a.b", "shop.a.b.r2", "shop.a.b.r", "shop.a.bc", "shop.a.b.rx", "shop.state"];
        let existing = existing.map(str::to_owned).into();
        assert_eq!(to_remove(&config, &stored, &existing), ["shop.a.b", "shop.a.b.r2", "shop.state"]);
    }
}
