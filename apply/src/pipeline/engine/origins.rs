//! The tasks whose topics are read: what each one's history says, and who follows it. A task with a source of its own reads
//! itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;
use tributary_config::TaskName;
use tributary_schemas::topic::history_topic;
use tributary_topics::history::History;

/// A task whose topics are read.
pub(crate) struct Origin {
    pub(crate) history: Arc<History>,
    /// Requests to read the history to its present end.
    pub(crate) catch_ups: Sender<u64>,
    /// Since when there is no history topic.
    pub(super) gone_since: Option<Instant>,
}

impl Origin {
    pub(crate) const fn new(history: Arc<History>, catch_ups: Sender<u64>) -> Self {
        Self { history, catch_ups, gone_since: None }
    }
}

/// All of them, by name. There is at least one, and which they are never changes.
pub(crate) struct Origins(BTreeMap<TaskName, Origin>);

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Self {
        Self(origins.into_iter().map(|origin| (origin.history.task().clone(), origin)).collect())
    }
}

impl Origins {
    pub(super) fn of(&self, task: &TaskName) -> &Origin {
        self.0.get(task).unwrap_or_else(|| unreachable!("no topics of {task} are read"))
    }

    pub(super) fn of_mut(&mut self, task: &TaskName) -> &mut Origin {
        self.0.get_mut(task).unwrap_or_else(|| unreachable!("no topics of {task} are read"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.values()
    }

    /// The history topics, in order.
    pub(super) fn topics(&self) -> impl Iterator<Item = String> {
        self.0.keys().map(|task| history_topic(task))
    }

    /// The task whose history this topic is.
    pub(super) fn with_history(&self, topic: &str) -> Option<TaskName> {
        self.0.keys().find(|task| history_topic(task) == topic).cloned()
    }

    /// True once every table that is selected anywhere is defined.
    pub(super) fn are_complete(&self) -> bool {
        self.iter().all(|origin| origin.history.is_complete())
    }
}
