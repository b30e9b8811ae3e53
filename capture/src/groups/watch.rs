//! A thread that asks beside everything else who reads the topics, for as long as the process lives. The topics enter, the
//! status is told.

use super::TopicList;
use super::ask::Groups;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tributary_config::Config;
use tributary_schemas::topic::{history_topic, state_topic};
use tributary_service::status::{Readers, Status};

/// How often is asked.
const BEAT: Duration = Duration::from_secs(15);

/// The end of whoever knows the topics. Dropped, it ends the thread after the round under way.
pub(crate) struct GroupWatch {
    /// The task's own topics, which are not of interest.
    own: [String; 2],
    topics: Arc<Mutex<TopicList>>,
    wake: SyncSender<()>,
}

impl GroupWatch {
    /// Begins; nothing is asked before [`GroupWatch::want`]. Where there can be no thread, the status says so.
    pub(crate) fn start(config: &Config, status: &Status) -> Self {
        let own = [history_topic(&config.name), state_topic(&config.name)];
        let topics = Arc::new(Mutex::new(TopicList::new()));
        let (wake, woken) = sync_channel(1);
        let (config, of_thread, wanted) = (config.clone(), status.clone(), Arc::clone(&topics));
        let thread = std::thread::Builder::new().name("groups".to_owned());
        if let Err(error) = thread.spawn(move || watch(&config, &of_thread, &wanted, &woken)) {
            status.readers_unanswered(format!("no thread can be started that asks for them: {error}"));
        }
        Self { own, topics, wake }
    }

    /// The task's topics are these from now on; nobody is asked about none.
    pub(crate) fn want(&self, mut topics: TopicList) {
        topics.retain(|(topic, _)| !self.own.contains(topic));
        *self.topics.lock().unwrap_or_else(PoisonError::into_inner) = topics;
        // Full: it is woken already. Without a thread nobody is.
        let _ = self.wake.try_send(());
    }
}

fn watch(config: &Config, status: &Status, wanted: &Mutex<TopicList>, woken: &Receiver<()>) {
    let mut asking: Option<Groups> = None;
    while matches!(woken.recv_timeout(BEAT), Ok(()) | Err(RecvTimeoutError::Timeout)) {
        let topics = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if topics.is_empty() {
            status.set_readers(Readers::default());
            asking = None;
            continue;
        }
        let _wait = status.waits().work("Kafka: who reads the topics", Instant::now(), None);
        let round = match &mut asking {
            Some(groups) => groups.round(&topics),
            none => Groups::new(config).and_then(|groups| none.insert(groups).round(&topics)),
        };
        match round {
            Ok(readers) => status.set_readers(readers),
            Err(error) => {
                status.readers_unanswered(format!("Kafka does not say who reads the topics: {error}"))
            }
        }
    }
}
