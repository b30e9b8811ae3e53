//! A record on its way into a batch: what it must look like, and what becomes of one that is not capture's.

use super::Engine;
use super::index::TableIndex;
use super::table::{EngineTable, Reading};
use crate::pipeline::flow::RecordVerdict;
use crate::remedies;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use std::time::Instant;
use tributary_schemas::sequence::RAW_HEADER_PREFIX;
use tributary_schemas::wire;
use tributary_service::codes::Code;
use tributary_warehouse::destination::TableError;
use tributary_warehouse::tables::task::TableTask;

/// What became of a record.
enum Taken {
    /// It is in a batch, or belongs to an assignment that is over.
    Yes,
    /// It must wait.
    Later,
    /// Its schema is not in the history yet.
    Unknown,
    /// It is not capture's.
    Foreign(TableError),
}

impl EngineTable {
    /// Takes a record from the consumer, or holds it back. What is returned is why the table must be
    /// closed.
    pub(super) fn receive(
        &mut self,
        message: &BorrowedMessage<'_>,
        tokens: &mut u64,
        now: Instant,
    ) -> Option<TableError> {
        let partition = message.partition();
        // One that a client was given, and that the history does not say, is not read.
        let reading = self.partitions.get_mut(&partition)?;
        if !reading.stash.is_empty() {
            reading.stash.push_back(message.detach());
            return None;
        }
        match self.take(message, false, now) {
            Taken::Yes => None,
            Taken::Foreign(error) => Some(error),
            Taken::Later => {
                self.hold_back(message);
                None
            }
            Taken::Unknown => {
                self.hold_back(message);
                self.await_history(partition, tokens);
                None
            }
        }
    }

    fn hold_back(&mut self, message: &BorrowedMessage<'_>) {
        Reading::of(&mut self.partitions, message.partition()).stash.push_back(message.detach());
    }

    /// Puts a record into its batch. `judged`: a schema that the history does not hold is foreign.
    fn take(&mut self, message: &impl Message, judged: bool, now: Instant) -> Taken {
        let (partition, offset) = (message.partition(), message.offset());
        if self.flow.is_past(partition, offset) {
            return Taken::Yes;
        }
        let foreign = |why: &str| Taken::Foreign(not_ours(&self.task, partition, offset, why));
        let Some(key) = message.key() else { return foreign("it has no key") };
        let Some((key_schema, key)) = wire::split(key) else {
            return foreign("its key is not in the Confluent wire format");
        };
        if !self.task.has_key_schema(key_schema) {
            let why = format!("schema id {key_schema} of its key is not in the history");
            return if judged { foreign(&why) } else { Taken::Unknown };
        }
        let (generation, value) = match message.payload() {
            None => (None, None),
            Some(payload) => {
                let Some((schema, datum)) = wire::split(payload) else {
                    return foreign("its value is not in the Confluent wire format");
                };
                let generation = match self.last_schema {
                    Some((known, generation)) if known == schema => Some(generation),
                    _ => self.task.generation_of(schema),
                };
                let Some(generation) = generation else {
                    let why = format!("schema id {schema} of its value is not in the history");
                    return if judged { foreign(&why) } else { Taken::Unknown };
                };
                self.last_schema = Some((schema, generation));
                (Some(generation), Some(datum))
            }
        };
        match self.flow.offer(partition, offset, generation, now) {
            RecordVerdict::Ignore => Taken::Yes,
            RecordVerdict::Wait => Taken::Later,
            RecordVerdict::Corrupt { record, allowed } => Taken::Foreign(record_error(
                Code::GenerationOrder,
                &self.task,
                partition,
                offset,
                &format!("it has generation {record}, where the history allows {allowed} at the most"),
            )),
            RecordVerdict::Take(rows) => {
                let pushed = if self.raw_values {
                    let raw = raw_values(message);
                    rows.push(partition, offset, key, value, &raw)
                } else {
                    rows.push(partition, offset, key, value, &[])
                };
                if let Err(error) = pushed {
                    return Taken::Foreign(not_ours(&self.task, partition, offset, &error.to_string()));
                }
                let time_ms = message.timestamp().to_millis();
                self.oldest_waiting_ms = self.oldest_waiting_ms.or(time_ms);
                self.newest_taken_ms = time_ms.or(self.newest_taken_ms);
                Taken::Yes
            }
        }
    }
}

impl Engine {
    /// Offers what was held back again.
    pub(super) fn drain_stash(&mut self, index: TableIndex, now: Instant) {
        let table = &mut self.tables[index];
        // Short of memory, what is held back still goes where nothing else is waiting, or nothing would ever move.
        if !table.holds_back() || (self.budget.is_pressed() && table.flow.bytes() > 0) {
            return;
        }
        let partitions: Vec<i32> = table.partitions.keys().copied().collect();
        let mut foreign = None;
        for partition in partitions {
            while foreign.is_none() && table.flow.accepts(partition) {
                let reading = Reading::of(&mut table.partitions, partition);
                let judged = reading.unknown.is_some_and(|unknown| unknown.judged);
                let Some(message) = reading.stash.pop_front() else { break };
                match table.take(&message, judged, now) {
                    Taken::Yes => Reading::of(&mut table.partitions, partition).unknown = None,
                    Taken::Foreign(error) => foreign = Some(error),
                    waits @ (Taken::Later | Taken::Unknown) => {
                        Reading::of(&mut table.partitions, partition).stash.push_front(message);
                        if matches!(waits, Taken::Unknown) {
                            table.await_history(partition, &mut self.tokens);
                        }
                        break;
                    }
                }
            }
        }
        if let Some(error) = foreign {
            self.close(index, error);
        }
    }
}

/// Original texts of values that Avro could not carry, by column.
fn raw_values(message: &impl Message) -> Vec<(&str, &[u8])> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers
        .iter()
        .filter_map(|header| Some((header.key.strip_prefix(RAW_HEADER_PREFIX)?, header.value?)))
        .collect()
}

fn not_ours(task: &TableTask, partition: i32, offset: i64, why: &str) -> TableError {
    record_error(Code::ForeignRecord, task, partition, offset, why)
}

fn record_error(code: Code, task: &TableTask, partition: i32, offset: i64, why: &str) -> TableError {
    let topic = &task.topic;
    let message = format!(
        "the record at partition {partition} offset {offset} of topic {topic} is not capture's: {why}"
    );
    let place = format!("topic {topic}, partition {partition}, offset {offset}");
    TableError::new(code, message, place, remedies::foreign_record(&task.name, partition, offset))
}
