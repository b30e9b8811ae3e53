//! Whether the topics are still there: a topic that is deleted takes its partitions from the group, and nothing fails.
//! Each is asked for in turn, whoever reads its partitions.

use super::{Ask, Engine};
use crate::pipeline::worker::partitions_changed;
use crate::remedies;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_config::TaskName;
use tributary_schemas::topic::history_topic;
use tributary_service::codes::Code;
use tributary_service::exit::Failure;
use tributary_warehouse::destination::TableError;
use tributary_warehouse::tables::task::TableTask;

/// Topics that are asked for at a time, each by a request of its own.
const AT_A_TIME: usize = 5;
/// How long brokers must say that there is no such topic: one that was just created, or a broker that has just started,
/// is not known everywhere at once.
const GONE: Duration = Duration::from_secs(10);

/// Topics in turn, and since when which of them are gone.
#[derive(Default)]
pub(super) struct Roll {
    next: usize,
    asked: bool,
}

/// True once a topic has been gone for `long`; `since` is when that was first said, and forgotten when it is there.
fn is_gone(since: &mut Option<Instant>, there: bool, now: Instant, long: Duration) -> bool {
    if there {
        *since = None;
        return false;
    }
    now.duration_since(*since.get_or_insert(now)) >= long
}

impl Engine {
    /// Asks for the next few topics.
    pub(super) fn ask_for_topics(&mut self) {
        if std::mem::replace(&mut self.roll.asked, true) {
            return;
        }
        let histories: Vec<String> = self.origins.topics().collect();
        let topics = self.subscribed.iter().chain(&histories);
        let count = self.subscribed.len() + histories.len();
        let names = topics.cycle().skip(self.roll.next % count).take(AT_A_TIME.min(count)).cloned().collect();
        self.roll.next = (self.roll.next + AT_A_TIME) % count;
        self.ask(Ask::Topics(names));
    }

    /// Takes how many partitions each topic has, `None` for one that does not exist. Nothing is said of those that could
    /// not be asked for.
    pub(super) fn take_topics(
        &mut self,
        topics: Vec<(String, Option<u32>)>,
        now: Instant,
    ) -> Result<(), Failure> {
        self.roll.asked = false;
        for (topic, partitions) in topics {
            if let Some(task) = self.origins.with_history(&topic) {
                self.take_history_topic(&task, partitions.is_some(), now)?;
                continue;
            }
            let index = self.tables.of(&topic);
            let table = &mut self.tables[index];
            if table.is_parked() {
                continue;
            }
            let task = Arc::clone(&table.task);
            let gone = is_gone(&mut table.gone_since, partitions.is_some(), now, GONE);
            match partitions {
                None if gone => self.park(index, topic_gone(&task))?,
                Some(count) if count != task.partitions => {
                    self.park(index, partitions_changed(&task, count))?
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// A history that is gone is written again by a capture that runs, which is waited for as an outage is.
    fn take_history_topic(&mut self, task: &TaskName, there: bool, now: Instant) -> Result<(), Failure> {
        let (history, kafka) = (history_topic(task), &self.context.config.kafka);
        let origin = self.origins.of_mut(task);
        let was_gone = origin.gone_since.is_some();
        if is_gone(&mut origin.gone_since, there, now, kafka.retry().max(GONE)) {
            return Err(history_gone(&history, &kafka.brokers));
        }
        let following = format!("following {history}");
        if !there {
            let why = format!(
                "topic {history} does not exist: a `capture run` of its task makes it, and writes it again if somebody has deleted it"
            );
            self.context.status.retrying(&following, &why);
        } else if was_gone {
            self.context.status.retried(&following);
            // The client does not look for a topic that it has seen go.
            self.tokens += 1;
            let _ = origin.catch_ups.send(self.tokens);
        }
        Ok(())
    }

    /// Notices that the row of a table that works was removed from the bookkeeping: a view that was asked for after the
    /// table's offsets were read does not show it. Its target is then judged as at the first time.
    pub(super) fn miss_rows(&mut self, shown: &[String]) {
        let views = self.beats.views();
        for table in self.tables.iter_mut() {
            let is_shown = shown.contains(&table.task.topic);
            let loaded_before = table.loaded_at.is_some_and(|view| view < views);
            if is_shown || !loaded_before || table.is_parked() || !table.flow.has_running() {
                continue;
            }
            tracing::warn!(table = %table.task.name, "the bookkeeping has no row of this table any more");
            table.loaded_at = None;
            table.after_load.begin_anew();
            table.flow.reload();
        }
    }
}

fn topic_gone(task: &TableTask) -> TableError {
    let message = format!("topic {} does not exist any more: somebody has deleted it", task.topic);
    TableError::new(Code::TopicGone, message, &task.topic, remedies::topic_gone())
}

fn history_gone(topic: &str, brokers: &str) -> Failure {
    Failure::new(
        "the history is gone",
        format!("topic {topic} does not exist any more: somebody has deleted it"),
    )
    .at(format!("{topic} at {brokers}"))
    .remedy(remedies::history_gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_gone_once_it_has_been_away_for_a_while_without_a_break() {
        let (start, mut since) = (Instant::now(), None);
        let mut gone = |there, after| is_gone(&mut since, there, start + after, GONE);
        assert!(!gone(false, Duration::ZERO));
        assert!(!gone(false, GONE / 2));
        assert!(!gone(true, GONE));
        assert!(!gone(false, GONE));
        assert!(gone(false, GONE * 2));
    }
}
