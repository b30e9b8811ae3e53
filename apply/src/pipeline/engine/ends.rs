//! Positions compared with where partitions begin and end: how far a table is, and whether its topic is still the one
//! that the destination's offsets belong to.

use super::table::Reading;
use super::{Engine, Event};
use crate::remedies;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Instant;
use tributary_service::codes::Code;
use tributary_service::exit::Failure;
use tributary_service::kafka::TopicPartition;
use tributary_warehouse::destination::TableError;
use tributary_warehouse::tables::task::TableTask;

/// A position is behind the end of its partition for good after this many answers: leaders may differ for a moment.
const BEYOND_END_MAX: u32 = 5;

/// What an answer about the end of a partition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The position is in the partition.
    Within,
    /// It is, and the client may have stopped reading there.
    Stopped,
    /// The position is behind the end, which a leader that has fallen back may say for a moment.
    Beyond,
    /// The position stays behind the end: the partition is another.
    Lost,
}

/// The partitions whose ends are asked for. A standby has none, and asks for the ends of the `histories`: the
/// answer says that Kafka is there, without which the failures of days would add up to an outage.
pub(super) fn asked_about(
    mut positions: Vec<(TopicPartition, i64)>,
    histories: impl Iterator<Item = String>,
) -> Vec<(TopicPartition, i64)> {
    if positions.is_empty() {
        positions.extend(histories.map(|topic| ((topic, 0), 0)));
    }
    positions
}

impl Reading {
    /// Judges the position `asked_at` by the `end` that was answered. Each partition counts for itself.
    const fn reach(&mut self, asked_at: i64, end: i64) -> Reach {
        if asked_at > end {
            self.beyond_end += 1;
            return if self.beyond_end > BEYOND_END_MAX { Reach::Lost } else { Reach::Beyond };
        }
        self.beyond_end = 0;
        if std::mem::replace(&mut self.stopped, false) { Reach::Stopped } else { Reach::Within }
    }
}

impl Engine {
    /// The client has found an offset that a partition does not hold, and reads that one no more; it does not say
    /// which. The beginnings tell if records were removed; the ends, which of the others go on.
    pub(super) fn reading_stopped(&mut self) {
        for reading in self.tables.iter_mut().flat_map(|table| table.partitions.values_mut()) {
            reading.stopped = true;
        }
        self.ask(super::Ask::Lows(self.places()));
    }

    /// What the consumer has handed over counts as passed, unless some of it is held back here.
    pub(super) fn observe_positions(&mut self) {
        for ((topic, partition), position) in self.context.consumer.positions() {
            let index = self.tables.of(&topic);
            let table = &mut self.tables[index];
            if table.partitions.get(&partition).is_some_and(|reading| reading.stash.is_empty()) {
                table.flow.observe(partition, position, None);
            }
        }
    }

    pub(super) fn take_ends(&mut self, ends: &BTreeMap<TopicPartition, (i64, i64)>) {
        self.beats.ends_asked = false;
        self.kafka.succeeded();
        self.context.status.retried(&self.kafka_name());
        self.observe_positions();
        self.show_position(ends);
        let mut probes = Vec::new();
        let mut recreated = Vec::new();
        for (place, (asked_at, end)) in ends {
            let (topic, partition) = (&place.0, place.1);
            // A standby asks for the end of the history.
            let Some(index) = self.tables.find(topic) else { continue };
            let table = &mut self.tables[index];
            if table.is_parked() {
                continue;
            }
            // It may have been taken away meanwhile.
            let Some(position) = table.flow.position(partition) else { continue };
            let reading = Reading::of(&mut table.partitions, partition);
            match reading.reach(*asked_at, *end) {
                Reach::Beyond => continue,
                Reach::Lost => {
                    recreated.push((index, out_of_range(&table.task, partition, position, *end)));
                    continue;
                }
                Reach::Stopped => {
                    table.flow.reload_partitions(&[partition]);
                    continue;
                }
                Reach::Within => {}
            }
            let stands = reading.seen.replace(position) == Some(position);
            let probed = stands && position < *end && reading.stash.is_empty() && !reading.paused;
            table.flow.observe(partition, position, Some(*end));
            if probed {
                probes.extend(table.probe(partition, *end));
            }
        }
        for probe in probes {
            self.ask(probe);
        }
        for (index, error) in recreated {
            // What parks a table under `strict` ends the loop with the next event.
            if let Err(failure) = self.park(index, error) {
                let _ = self.context.sender.send(Event::Fatal(failure));
            }
        }
    }

    fn show_position(&self, ends: &BTreeMap<TopicPartition, (i64, i64)>) {
        let (mut behind, mut partitions) = (0, 0);
        for ((topic, partition), (_, end)) in ends {
            let Some(table) = self.tables.find(topic).map(|index| &self.tables[index]) else { continue };
            partitions += 1;
            // At the end, what is not stored yet are markers.
            let committed = table.flow.committed(*partition).filter(|_| !table.flow.is_at_end());
            behind += committed.map_or(0, |committed| (end - committed).max(0));
        }
        self.context
            .status
            .set_position(format!("{behind} offsets behind the ends of {partitions} partitions"));
    }

    pub(super) fn take_lows(&mut self, lows: &BTreeMap<TopicPartition, i64>) -> Result<(), Failure> {
        let mut lost = Vec::new();
        for ((topic, partition), low) in lows {
            let index = self.tables.of(topic);
            let table = &self.tables[index];
            if let Some(position) = table.flow.position(*partition).filter(|position| position < low) {
                lost.push((index, out_of_range(&table.task, *partition, position, *low)));
            }
        }
        for (index, error) in lost {
            self.park(index, error)?;
        }
        Ok(())
    }

    pub(super) fn kafka_failed(&mut self, error: &str, now: Instant) -> Result<(), Failure> {
        self.beats.ends_asked = false;
        if self.kafka.failed(now, fastrand::f64()).is_none() {
            return Err(self.kafka_stays_away(error));
        }
        self.context.status.retrying(&self.kafka_name(), error);
        Ok(())
    }

    /// Kafka has failed for as long as it may.
    pub(super) fn kafka_stays_away(&self, error: impl Display) -> Failure {
        Failure::new("Kafka does not come back", error)
            .at(&self.context.config.kafka.brokers)
            .remedy(remedies::kafka_away())
    }

    fn kafka_name(&self) -> String {
        format!("reading from Kafka at {}", self.context.config.kafka.brokers)
    }
}

fn out_of_range(task: &TableTask, partition: i32, position: i64, edge: i64) -> TableError {
    let topic = &task.topic;
    let message = format!(
        "topic {topic} partition {partition} does not hold offset {position}, where the destination stands (it ends or begins \
         at {edge}): the topic was created anew, or records were removed from it"
    );
    let place = format!("topic {topic}, partition {partition}, offset {position}");
    TableError::new(Code::OffsetOutOfRange, message, place, remedies::offset_out_of_range(&task.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_asks_too() {
        let histories = || std::iter::once("shop.history".to_owned());
        assert_eq!(asked_about(Vec::new(), histories()), [(("shop.history".to_owned(), 0), 0)]);
        let own = vec![(("shop.a.b".to_owned(), 3), 7)];
        assert_eq!(asked_about(own.clone(), histories()), own);
    }

    #[test]
    fn a_partition_is_lost_once_its_own_position_stays_behind_its_end() {
        let (mut healthy, mut lost) = (Reading::default(), Reading::default());
        for _ in 0..BEYOND_END_MAX {
            assert_eq!(lost.reach(9, 5), Reach::Beyond);
            assert_eq!(healthy.reach(9, 9), Reach::Within);
        }
        assert_eq!(lost.reach(9, 5), Reach::Lost);
        // A leader that had fallen back comes up again.
        let mut behind = Reading::default();
        assert_eq!(behind.reach(9, 5), Reach::Beyond);
        assert_eq!(behind.reach(9, 9), Reach::Within);
        for _ in 0..BEYOND_END_MAX {
            assert_eq!(behind.reach(9, 5), Reach::Beyond);
        }
    }

    #[test]
    fn a_partition_that_the_client_stopped_reading_is_sought_again_once_it_can_be_read() {
        let mut reading = Reading { stopped: true, ..Reading::default() };
        assert_eq!(reading.reach(9, 5), Reach::Beyond);
        assert_eq!(reading.reach(9, 9), Reach::Stopped);
        assert_eq!(reading.reach(9, 9), Reach::Within);
    }
}
