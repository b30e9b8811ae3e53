//! Which tables there are: the selection and the generations that the history holds become tables of the loop, and
//! topics to subscribe to.

use super::{Engine, EngineTable};
use crate::remedies;
use std::sync::Arc;
use std::time::Duration;
use tributary_schemas::history::SelectedTable;
use tributary_schemas::table::TableId;
use tributary_service::codes::Code;
use tributary_service::exit::Failure;
use tributary_service::status::ErrorDocument;
use tributary_topics::history::History;
use tributary_warehouse::tables::task::{TableRefusal, TableTask};

impl Engine {
    /// Follows the history: new tables are subscribed to, new generations reach the state machines.
    pub(super) fn refresh_tables(&mut self) -> Result<(), Failure> {
        let histories: Vec<Arc<History>> =
            self.origins.iter().map(|origin| Arc::clone(&origin.history)).collect();
        let mut topics = Vec::new();
        let selected = histories.iter().flat_map(|history| {
            history.selected().unwrap_or_default().iter().map(move |selected| (history, selected))
        });
        for (history, selected) in selected {
            let name = self.context.config.label(history.task(), &selected.id);
            if let Some(reason) = &selected.excluded {
                let error = ErrorDocument::new(
                    Code::ExcludedByCapture.name(),
                    reason.clone(),
                    remedies::excluded_by_capture(),
                );
                self.context.status.table(&name).exclude(error);
                continue;
            }
            if history.generations(&selected.topic).next().is_none() {
                drop(self.context.status.table(&name));
                continue;
            }
            match TableTask::new(&self.context.config, &self.context.rules, history, selected) {
                Err(TableRefusal::Unmatched) => {}
                Err(TableRefusal::Error(error)) => {
                    let document = ErrorDocument::new(error.code, error.message, error.remedy);
                    self.context.status.table(&name).exclude(document);
                }
                Ok(task) => {
                    topics.push(task.topic.clone());
                    self.upsert_table(task);
                }
            }
        }
        topics.sort_unstable();
        self.show_deselected(&topics);
        if topics != self.subscribed {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            self.context.consumer.subscribe(&names).map_err(|error| {
                Failure::new("cannot subscribe to the tables' topics", error).at(&self
                    .context
                    .config
                    .kafka
                    .brokers)
            })?;
            tracing::info!(topics = topics.len(), "subscribed");
            self.subscribed = topics;
        }
        Ok(())
    }

    /// Tables whose topics are not among `topics` any more, and that capture does not name as excluded: their targets stay
    /// as they are, and must not look as if they were followed. What a status says is of the table: the topic that capture
    /// has left for another has no part in it any more.
    fn show_deselected(&mut self, topics: &[String]) {
        let origins = &self.origins;
        let gone = self.tables.iter_mut().filter(|table| topics.binary_search(&table.task.topic).is_err());
        for table in gone {
            let selected = origins.of(&table.task.origin).history.selected().unwrap_or_default();
            match whereabouts(selected, &table.task.topic, &table.task.id) {
                Whereabouts::Here => continue,
                Whereabouts::InAnotherTopic => {
                    table.status = Arc::default();
                    continue;
                }
                Whereabouts::Deselected => {}
            }
            table.status.set_lag(None);
            table.status.exclude(ErrorDocument::new(
                Code::Deselected.name(),
                format!("capture does not select the table any more; {} stays as it is", table.task.target),
                remedies::deselected(),
            ));
        }
    }

    fn upsert_table(&mut self, task: TableTask) {
        let topic = task.topic.clone();
        match self.tables.find(&topic) {
            Some(index) => {
                let table = &mut self.tables[index];
                if self.subscribed.binary_search(&topic).is_err() {
                    table.status = self.context.status.table(&task.name);
                }
                table.set_task(task);
            }
            None => {
                let config = &self.context.config;
                let limit = config.destination.as_ref().map_or(Duration::ZERO, |d| d.retry());
                let limits = (limit, config.kafka.retry());
                let requests = self.origins.of(&task.origin).catch_ups.clone();
                self.tables.add(EngineTable::new(task, &self.context.status, limits, requests));
            }
        }
    }
}

/// What the selection says of a table that was in a topic.
#[derive(Debug, PartialEq, Eq)]
enum Whereabouts {
    Here,
    InAnotherTopic,
    Deselected,
}

fn whereabouts(selected: &[SelectedTable], topic: &str, id: &TableId) -> Whereabouts {
    if selected.iter().any(|selected| selected.topic == topic) {
        Whereabouts::Here
    } else if selected.iter().any(|selected| selected.id == *id) {
        Whereabouts::InAnotherTopic
    } else {
        Whereabouts::Deselected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_goes_on_in_another_topic_is_not_deselected() {
        let id = TableId::new("shop", "orders");
        let selected = |topic: &str| SelectedTable {
            id: id.clone(),
            topic: topic.into(),
            partitions: 1,
            excluded: None,
        };
        let of = |topic: &str| whereabouts(&[selected("t.shop.orders.r2")], topic, &id);
        assert_eq!(of("t.shop.orders.r2"), Whereabouts::Here);
        assert_eq!(of("t.shop.orders"), Whereabouts::InAnotherTopic);
        let other = TableId::new("shop", "items");
        let found = whereabouts(&[selected("t.shop.orders.r2")], "t.shop.items", &other);
        assert_eq!(found, Whereabouts::Deselected);
    }
}
