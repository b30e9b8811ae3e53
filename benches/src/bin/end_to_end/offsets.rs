//! Whether everything that is on Kafka has been merged, asked cheaply: ends of the partitions and the offsets that the
//! warehouse holds enter, yes or no leaves. It costs milliseconds, where asking for the rows themselves costs a good part
//! of the machine that is being measured.

use crate::servers::Servers;
use crate::services::Task;
use crate::sysbench::{DATABASE, Tables};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use tributary_benches::Result;
use tributary_config::KafkaConfig;
use tributary_schemas::table::TableId;
use tributary_schemas::topic::table_topic;
use tributary_service::kafka::TopicPartition;
use tributary_service::kafka::consumer_config;
use tributary_topics::ends::Ends;

/// Watches the table topics of a task.
pub(crate) struct Offsets<'a> {
    task: &'a Task,
    topics: Vec<String>,
    /// Every partition of the topics, once all of them exist: their number never changes.
    places: OnceCell<Vec<TopicPartition>>,
    ends: Ends,
}

impl<'a> Offsets<'a> {
    /// Of sysbench's tables.
    pub(crate) fn new(task: &'a Task, tables: Tables, servers: &Servers) -> Result<Self> {
        let brokers = servers.get("KAFKA_BROKERS");
        let kafka: KafkaConfig = serde_json::from_value(serde_json::json!({ "brokers": brokers }))?;
        let topic = |number| table_topic(task.name, &TableId::new(DATABASE, format!("sbtest{number}")));
        Ok(Self {
            task,
            topics: (1..=tables.tables).map(topic).collect(),
            places: OnceCell::new(),
            ends: Ends::new(&consumer_config(&kafka, "bench"))?,
        })
    }

    /// Where the partitions end; `None` as long as a topic does not exist.
    pub(crate) fn ends(&self) -> Result<Option<BTreeMap<TopicPartition, i64>>> {
        let Some(places) = self.places()? else { return Ok(None) };
        Ok(Some(self.ends.high(places)?))
    }

    fn places(&self) -> Result<Option<&[TopicPartition]>> {
        if self.places.get().is_none() {
            let mut places = Vec::new();
            for topic in &self.topics {
                let Some(partitions) = self.ends.partitions(topic)? else { return Ok(None) };
                let partitions = i32::try_from(partitions)?;
                places.extend((0..partitions).map(|partition| (topic.clone(), partition)));
            }
            let _ = self.places.set(places);
        }
        Ok(self.places.get().map(Vec::as_slice))
    }

    /// True if the warehouse has taken every record before these ends. The last one before an end is the marker of a
    /// transaction, which apply may pass later.
    pub(crate) fn are_behind(&self, ends: &BTreeMap<TopicPartition, i64>, servers: &Servers) -> Result<bool> {
        let sql = format!(
            "SELECT concat_ws(' ', topic, \"partition\", next_offset) FROM tributary.offsets WHERE task = '{}'",
            self.task.name
        );
        // Before the first start of apply there is no such table.
        let rows = servers.warehouse(&sql).unwrap_or_default();
        let mut stored = BTreeMap::new();
        for row in &rows {
            let mut words = row.split(' ');
            let (Some(topic), Some(partition), Some(offset)) = (words.next(), words.next(), words.next())
            else {
                return Err(format!("not an offset: {row}").into());
            };
            let place: TopicPartition = (topic.to_owned(), partition.parse()?);
            stored.insert(place, offset.parse::<i64>()?);
        }
        Ok(ends.iter().all(|(place, end)| stored.get(place).is_some_and(|offset| offset + 1 >= *end)))
    }
}
