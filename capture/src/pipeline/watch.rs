//! Watches the task's topics beside the sequencer, which must not wait for an answer of Kafka: an operator may delete one
//! or add partitions to it at any time, and the producer does not say so. What is watched enters, what Kafka says of it
//! leaves.

use crate::topics::admin::Topics;
use crate::topics::incarnation::Found;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

/// How often is looked.
const BEAT: Duration = Duration::from_secs(5);

/// Topics with their partitions.
pub(super) type Wanted = Vec<(String, u32)>;
/// Topics with what Kafka says of them.
pub(super) type Seen = Vec<(String, Found)>;

/// The sequencer's end. Dropped, it ends the watch after the request under way.
pub(super) struct Watch {
    wanted: SyncSender<Wanted>,
    seen: Receiver<Seen>,
}

impl Watch {
    /// Begins; nothing is looked at before [`Watch::want`].
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn start(topics: Topics) -> std::io::Result<Self> {
        let (wanted, orders) = sync_channel(1);
        let (answers, seen) = sync_channel(1);
        std::thread::Builder::new().name("topics".to_owned()).spawn(move || {
            watch(&topics, &orders, &answers);
            tributary_service::kafka::close(topics);
        })?;
        Ok(Self { wanted, seen })
    }

    /// What is to be watched from now on. Not taken if the last order has not been seen yet.
    #[must_use]
    pub(super) fn want(&self, wanted: Wanted) -> bool {
        self.wanted.try_send(wanted).is_ok()
    }

    /// What was seen since the last time.
    #[must_use]
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }
}

fn watch(topics: &Topics, orders: &Receiver<Wanted>, answers: &SyncSender<Seen>) {
    let mut wanted = Wanted::new();
    loop {
        match orders.recv_timeout(BEAT) {
            Ok(order) => wanted = order,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(order) = orders.try_recv() {
            wanted = order;
        }
        if matches!(orders.try_recv(), Err(TryRecvError::Disconnected)) {
            return;
        }
        let asked: Vec<(&str, u32)> = wanted.iter().map(|(topic, count)| (topic.as_str(), *count)).collect();
        // A cluster that is away is noticed by the producer, which waits for it.
        let Ok(found) = topics.look(&asked) else { continue };
        let seen = wanted.iter().map(|(topic, _)| topic.clone()).zip(found).collect();
        if matches!(answers.try_send(seen), Err(TrySendError::Disconnected(_))) {
            return;
        }
    }
}
