//! What the history topic says: which tables are selected, their generations, their schemas, and how far their initial
//! loads are. Pure: records enter, answers leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tributary_config::TaskName;
use tributary_schemas::history::{
    DerivedSchema, GenerationRecord, HistoryKey, LoadRecord, RegisteredSchema, Run, SelectedTable,
    SelectionRecord,
};
use tributary_schemas::record::{HistoryRecord, RawRecord, RecordError};
use tributary_schemas::table::TableId;

/// What a record changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A schema to serve.
    Schema(RegisteredSchema),
    /// A generation of this topic, and the schema of its values, if that follows from it.
    Generation(String, Option<RegisteredSchema>),
    /// Generations of this table have no record any more; their schemas.
    Retired(TableId, Vec<RegisteredSchema>),
    /// The record of a generation, or of a schema, is gone.
    Removed,
    Load(TableId),
    /// The set of tables.
    Selection,
}

/// Everything the topic has said so far.
#[derive(Debug, Clone)]
pub struct History {
    task: TaskName,
    selection: Option<SelectionRecord>,
    generations: BTreeMap<String, BTreeMap<u32, Arc<GenerationRecord>>>,
    /// The topics in which a table has had generations.
    topics: HashMap<TableId, BTreeSet<String>>,
    /// The first generation of each topic, and what tells its record from that of a topic of the same name.
    incarnations: BTreeMap<String, (u32, String)>,
    /// Generations that have no record any more.
    retired: BTreeMap<TableId, Vec<Run>>,
    loads: BTreeMap<TableId, LoadRecord>,
}

impl History {
    /// Nothing is known yet of `task`.
    #[must_use]
    pub fn of(task: &TaskName) -> Self {
        Self {
            task: task.clone(),
            selection: None,
            generations: BTreeMap::new(),
            topics: HashMap::new(),
            incarnations: BTreeMap::new(),
            retired: BTreeMap::new(),
            loads: BTreeMap::new(),
        }
    }

    /// The task whose tables these are.
    #[must_use]
    pub const fn task(&self) -> &TaskName {
        &self.task
    }

    /// How long every change, and every delete, stays in the tables' topics; `None` if capture is too old to say it.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        self.selection.as_ref()?.retention_ms.map(Duration::from_millis)
    }

    /// Takes a record, which Kafka dates `written_ms` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`RecordError`], with the history unchanged.
    pub fn take(&mut self, raw: RawRecord<'_>, written_ms: i64) -> Result<Change, RecordError> {
        match raw.history()? {
            HistoryRecord::Removed(key) => {
                key.into_iter().for_each(|key| self.remove(key));
                Ok(Change::Removed)
            }
            HistoryRecord::Schema(schema) => Ok(Change::Schema(schema.into())),
            HistoryRecord::Generation(_, stored) => {
                let known = self.generations.get(&stored.topic);
                let record = stored
                    .resolve(|holder| known?.get(&holder).map(|record| record.table.clone()))
                    .map_err(|error| raw.foreign(&error))?;
                Ok(self.take_generation(record, written_ms))
            }
            HistoryRecord::Retired(id, record) => {
                let schemas =
                    record.runs.iter().filter_map(|run| Some((self.holder(&id, run.same_as)?, run)));
                let schemas = schemas.flat_map(|(holder, run)| DerivedSchema::of_run(holder, run));
                let schemas = schemas.map(RegisteredSchema::from).collect();
                self.retired.insert(id.clone(), record.runs);
                Ok(Change::Retired(id, schemas))
            }
            HistoryRecord::Load(id, record) => {
                self.loads.insert(id.clone(), record);
                Ok(Change::Load(id))
            }
            HistoryRecord::Selection(record) => {
                self.selection = Some(record);
                Ok(Change::Selection)
            }
        }
    }

    fn take_generation(&mut self, record: GenerationRecord, written_ms: i64) -> Change {
        let topic = record.topic.clone();
        self.note_incarnation(&record, written_ms);
        self.topics.entry(record.table.id.clone()).or_default().insert(topic.clone());
        let record = Arc::new(record);
        let schema = DerivedSchema::of(&record).map(RegisteredSchema::from);
        self.generations.entry(topic.clone()).or_default().insert(record.generation, record);
        Change::Generation(topic, schema)
    }

    /// The record under this key is gone.
    fn remove(&mut self, key: HistoryKey) {
        let HistoryKey::Table { database, table, generation } = key else { return };
        let id = TableId::new(database, table);
        for topic in self.topics.get(&id).into_iter().flatten() {
            if let Some(generations) = self.generations.get_mut(topic)
                && generations.get(&generation).is_some_and(|record| record.table.id == id)
            {
                generations.remove(&generation);
            }
        }
    }

    /// The record of this table's generation.
    fn holder(&self, id: &TableId, generation: u32) -> Option<&Arc<GenerationRecord>> {
        let mut topics = self.topics.get(id)?.iter();
        let of_table =
            |topic: &String| self.generation(topic, generation).filter(|record| record.table.id == *id);
        topics.find_map(of_table)
    }

    /// The record of the first generation is written once in the life of a topic, so it names that life. The source's
    /// position alone would not: it stands still while nothing is written.
    fn note_incarnation(&mut self, record: &GenerationRecord, written_ms: i64) {
        let known = self.incarnations.get(&record.topic);
        if known.is_none_or(|(generation, _)| record.generation <= *generation) {
            // What was said of the life before does not hold in this one.
            self.generations.remove(&record.topic);
            let name = record.incarnation(written_ms);
            self.incarnations.insert(record.topic.clone(), (record.generation, name));
        }
    }

    /// What tells a topic from another of the same name that was dropped before, or is created later. Kafka's own
    /// topic id would say the same; the client's binding does not give it.
    #[must_use]
    pub fn incarnation(&self, topic: &str) -> Option<&str> {
        self.incarnations.get(topic).map(|(_, name)| name.as_str())
    }

    /// The selected tables; `None` until capture has written the selection.
    #[must_use]
    pub fn selected(&self) -> Option<&[SelectedTable]> {
        self.selection.as_ref().map(|selection| selection.tables.as_slice())
    }

    /// Selected tables that are replicated and whose definition is known.
    pub fn replicated(&self) -> impl Iterator<Item = &SelectedTable> {
        let tables = self.selected().unwrap_or_default().iter();
        tables.filter(|table| table.excluded.is_none() && self.generations.contains_key(&table.topic))
    }

    /// True once the selection is there and every table in it that is replicated has a definition.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.selected().is_some_and(|tables| {
            tables.iter().all(|table| table.excluded.is_some() || self.generations.contains_key(&table.topic))
        })
    }

    /// The generations of a topic, ascending.
    pub fn generations(&self, topic: &str) -> impl DoubleEndedIterator<Item = &Arc<GenerationRecord>> {
        self.generations.get(topic).into_iter().flat_map(BTreeMap::values)
    }

    /// The generations that a table has had in other topics than `topic`, by number: capture goes on in another topic
    /// where the one before has become unusable.
    #[must_use]
    pub fn former(&self, id: &TableId, topic: &str) -> BTreeMap<u32, Arc<GenerationRecord>> {
        let others = self.topics.get(id).into_iter().flatten().filter(|other| *other != topic);
        let records = others.flat_map(|other| self.generations(other));
        let of_table = records.filter(|record| record.table.id == *id);
        of_table.map(|record| (record.generation, Arc::clone(record))).collect()
    }

    #[must_use]
    pub fn generation(&self, topic: &str, generation: u32) -> Option<&Arc<GenerationRecord>> {
        self.generations.get(topic)?.get(&generation)
    }

    /// The generations of a table that have no record any more.
    #[must_use]
    pub fn retired(&self, id: &TableId) -> &[Run] {
        self.retired.get(id).map_or(&[], Vec::as_slice)
    }

    /// How far a table's initial load is.
    #[must_use]
    pub fn load(&self, id: &TableId) -> Option<&LoadRecord> {
        self.loads.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::history::{Cause, RetiredRecord, StoredGeneration};
    use tributary_schemas::position::Position;
    use tributary_schemas::table::Table;

    fn take(history: &mut History, written_ms: i64, key: &[u8], value: &[u8]) -> Result<Change, RecordError> {
        let value = Some(value).filter(|value| !value.is_empty());
        history.take(RawRecord { topic: "t.history", offset: 5, key, value }, written_ms)
    }

    fn generation(generation: u32, schema: u32) -> (String, String) {
        let key = HistoryKey::Table { database: "shop".into(), table: "orders".into(), generation };
        let table =
            Table { id: TableId::new("shop", "orders"), columns: vec![], key: vec![], ..Table::default() };
        let record = GenerationRecord {
            format: 1,
            topic: "t.shop.orders".into(),
            generation,
            table,
            same_as: None,
            cause: Cause::Initial,
            statement: String::new(),
            barrier: vec![0, 0],
            key_schema_id: 1,
            value_schema_id: schema,
            value_version: None,
            incarnation: None,
            transaction: 0,
            position: Position::default(),
        };
        (serde_json::to_string(&key).unwrap(), serde_json::to_string(&record.stored()).unwrap())
    }

    fn selection(excluded: Option<&str>) -> String {
        let table = SelectedTable {
            id: TableId::new("shop", "orders"),
            topic: "t.shop.orders".into(),
            partitions: 2,
            excluded: excluded.map(str::to_owned),
        };
        serde_json::to_string(&SelectionRecord { format: 1, tables: vec![table], retention_ms: None })
            .unwrap()
    }

    #[test]
    fn generations_are_kept_by_topic() {
        let mut history = History::of(&"t".parse().unwrap());
        for (number, schema) in [(1, 7), (2, 9)] {
            let (key, value) = generation(number, schema);
            let change = take(&mut history, 5, key.as_bytes(), value.as_bytes());
            assert_eq!(change, Ok(Change::Generation("t.shop.orders".into(), None)));
        }
        assert_eq!(history.generations("t.shop.orders").count(), 2);
    }

    #[test]
    fn a_topic_that_was_created_anew_is_another_incarnation() {
        let name_of = |written_ms: i64, later: bool| {
            let mut history = History::of(&"t".parse().unwrap());
            for (number, schema) in [(1, 7), (2, 9)].into_iter().take(if later { 2 } else { 1 }) {
                let (key, value) = generation(number, schema);
                take(&mut history, written_ms + i64::from(number), key.as_bytes(), value.as_bytes()).unwrap();
            }
            history.incarnation("t.shop.orders").unwrap().to_owned()
        };
        assert_eq!(name_of(5, false), name_of(5, true), "later generations belong to the same");
        assert_ne!(name_of(5, false), name_of(6, false));
        // The follower of a history that was created anew under it reads the first generation a second time.
        let mut history = History::of(&"t".parse().unwrap());
        for (number, written_ms) in [(1, 6), (2, 6), (1, 7)] {
            let (key, value) = generation(number, 7);
            take(&mut history, written_ms, key.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(history.incarnation("t.shop.orders"), Some(name_of(6, false).as_str()));
        assert_eq!(history.generations("t.shop.orders").count(), 1);
    }

    #[test]
    fn former_generations_are_those_of_the_same_table_in_other_topics() {
        let mut history = History::of(&"t".parse().unwrap());
        for (number, topic, table) in [
            (1, "t.shop.orders", "orders"),
            (2, "t.shop.orders", "orders"),
            (3, "t.shop.orders.r2", "orders"),
            (1, "t.shop.items", "items"),
            (4, "t.shop.items", "orders"),
        ] {
            let (key, value) = generation(number, 7);
            let value = value.replace("t.shop.orders", topic).replace("\"orders\"", &format!("\"{table}\""));
            take(&mut history, 5, key.as_bytes(), value.as_bytes()).unwrap();
        }
        let former = |topic: &str| {
            let found = history.former(&TableId::new("shop", "orders"), topic);
            found.into_iter().map(|(number, record)| (number, record.topic.clone())).collect::<Vec<_>>()
        };
        let old = |number| (number, "t.shop.orders".to_owned());
        assert_eq!(former("t.shop.orders.r2"), [old(1), old(2), (4, "t.shop.items".to_owned())]);
        assert_eq!(former("t.shop.items"), [old(1), old(2), (3, "t.shop.orders.r2".to_owned())]);
        assert!(history.former(&TableId::new("shop", "none"), "t").is_empty());
        // What was said of a topic's life before is forgotten here too.
        let (key, value) = generation(1, 7);
        take(&mut history, 6, key.as_bytes(), value.as_bytes()).unwrap();
        assert_eq!(history.former(&TableId::new("shop", "orders"), "t.shop.orders.r2").len(), 2);
    }

    #[test]
    fn what_is_retired_keeps_its_definition_and_its_schema() {
        let mut history = History::of(&"t".parse().unwrap());
        let take = |history: &mut History, key: &HistoryKey, value: &str| {
            super::tests::take(history, 5, serde_json::to_vec(key).unwrap().as_slice(), value.as_bytes())
                .unwrap()
        };
        let stored = |number: u32, same_as: Option<u32>| {
            let (key, value) = generation(number, 6 + number);
            let mut stored: StoredGeneration = serde_json::from_str(&value).unwrap();
            (stored.format, stored.same_as, stored.value_version) = (2, same_as, Some(number));
            stored.table = stored.table.filter(|_| same_as.is_none());
            stored.incarnation = same_as.is_none().then(|| "this one".to_owned());
            (serde_json::from_str::<HistoryKey>(&key).unwrap(), serde_json::to_string(&stored).unwrap())
        };
        for (number, same_as) in [(1, None), (2, Some(1)), (3, Some(1))] {
            let (key, value) = stored(number, same_as);
            let Change::Generation(topic, Some(schema)) = take(&mut history, &key, &value) else {
                panic!("no schema")
            };
            assert_eq!((topic.as_str(), schema.place().2), ("t.shop.orders", 6 + number));
            assert!(schema.record().unwrap().schema.contains(&format!("\"tributary.generation\":{number}")));
        }
        assert_eq!(history.incarnation("t.shop.orders"), Some("this one"));
        let mut retired = RetiredRecord { format: 2, runs: Vec::new() };
        retired.push(1, (2, 2, 8));
        let id = TableId::new("shop", "orders");
        let key = HistoryKey::Retired { database: "shop".into(), table: "orders".into() };
        let change = take(&mut history, &key, &serde_json::to_string(&retired).unwrap());
        let Change::Retired(_, schemas) = change else { panic!("{change:?}") };
        assert_eq!(schemas.iter().map(|schema| schema.place().2).collect::<Vec<_>>(), [8]);
        assert_eq!(take(&mut history, &stored(2, Some(1)).0, ""), Change::Removed);
        let numbers: Vec<u32> =
            history.generations("t.shop.orders").map(|record| record.generation).collect();
        assert_eq!((numbers, history.retired(&id).len()), (vec![1, 3], 1));
        assert_eq!(history.incarnation("t.shop.orders"), Some("this one"));
    }

    #[test]
    fn it_is_complete_once_every_replicated_table_is_defined() {
        let key = serde_json::to_string(&HistoryKey::Selection).unwrap();
        let mut history = History::of(&"t".parse().unwrap());
        assert!(!history.is_complete());
        take(&mut history, 5, key.as_bytes(), selection(None).as_bytes()).unwrap();
        assert!(!history.is_complete());
        let (table, record) = generation(1, 7);
        take(&mut history, 5, table.as_bytes(), record.as_bytes()).unwrap();
        assert!(history.is_complete());
        assert_eq!(history.replicated().count(), 1);
        take(&mut history, 5, key.as_bytes(), selection(Some("no key")).as_bytes()).unwrap();
        assert!(history.is_complete());
        assert_eq!(history.replicated().count(), 0);
    }

    proptest::proptest! {
        /// A damaged record is a change or an error, and an error changes nothing.
        #[test]
        fn damaged_records_never_panic(
            flips in proptest::collection::vec((0_usize..900, proptest::prelude::any::<u8>()), 1..6),
            end in 0_usize..1200,
            in_key: bool,
        ) {
            let (key, value) = generation(1, 7);
            let damaged = |text: String| {
                let mut bytes = text.into_bytes();
                for (place, byte) in &flips {
                    let length = bytes.len();
                    bytes[place % length] = *byte;
                }
                bytes.truncate(end);
                bytes
            };
            let (key, value) =
                if in_key { (damaged(key), value.into_bytes()) } else { (key.into_bytes(), damaged(value)) };
            let mut history = History::of(&"t".parse().unwrap());
            if take(&mut history, 0, &key, &value).is_err() {
                proptest::prop_assert!(history.generations.is_empty() && history.topics.is_empty());
            }
        }
    }
}
