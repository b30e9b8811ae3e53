//! The thread that follows the history: what the topic says enters, events for the loop leave. Requests to read on to
//! the topic's present end are answered in their order, each once and only when that end was reached.

use super::engine::Event;
use rdkafka::ClientConfig;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;
use tributary_config::TaskName;
use tributary_schemas::history::RegisteredSchema;
use tributary_service::exit::Failure;
use tributary_service::shutdown::Shutdown;
use tributary_service::transient::Transient;
use tributary_topics::error::TopicError;
use tributary_topics::history::{Change, History};
use tributary_topics::reader::HistoryReader;

/// How long a record is waited for before requests are looked for.
const FOLLOW: Duration = Duration::from_millis(50);
/// How long Kafka is left alone when it has failed.
const RECOVER: Duration = Duration::from_secs(1);

/// The history topic, as it is followed.
pub(super) trait Source {
    /// Reads to the end that the topic has now.
    fn read_to_end(&mut self) -> Result<Vec<Change>, TopicError>;
    /// Takes what comes within a short time.
    fn read_what_came(&mut self) -> Result<Vec<Change>, TopicError>;
    /// What has been read so far.
    fn history(&self) -> &History;
    /// True if the topic was created anew: what has been read counts once its end is reached.
    fn is_renewing(&self) -> bool;
    /// Leaves Kafka alone for a moment.
    fn recover(&self);
}

/// The real one.
pub(super) struct Followed {
    topic: Topic,
    client: ClientConfig,
    /// Ends a long read.
    shutdown: Shutdown,
}

enum Topic {
    /// There is none yet: what is known of it is nothing.
    Awaited(Box<History>),
    Open(Box<HistoryReader>),
}

impl Followed {
    /// The topic of a task that has never captured: it is looked for from now on.
    pub(super) fn awaited(task: &TaskName, client: &ClientConfig, shutdown: &Shutdown) -> Self {
        let topic = Topic::Awaited(Box::new(History::of(task)));
        Self { topic, client: client.clone(), shutdown: shutdown.clone() }
    }

    /// Opens the topic, and reads it to its end, or until the end is asked for. Blocks.
    ///
    /// # Errors
    /// [`TopicError::Missing`] if there is none.
    pub(super) fn open(&mut self) -> Result<Vec<Change>, TopicError> {
        let mut reader = HistoryReader::open(&self.client, self.history().task())?;
        let changes = reader.read_to_end(|| self.shutdown.requested())?;
        self.topic = Topic::Open(Box::new(reader));
        Ok(changes)
    }
}

impl Source for Followed {
    fn read_to_end(&mut self) -> Result<Vec<Change>, TopicError> {
        let changes = match &mut self.topic {
            Topic::Open(reader) => reader.read_to_end(|| self.shutdown.requested())?,
            Topic::Awaited(_) => self.open()?,
        };
        if self.shutdown.requested() {
            // The end may not have been reached, and an answer would say that a schema is nowhere.
            return Err(TopicError::Timeout { doing: "reading the history before the end".to_owned() });
        }
        Ok(changes)
    }

    /// Everything that is there, so that a run of records is one change.
    fn read_what_came(&mut self) -> Result<Vec<Change>, TopicError> {
        let reader = match &mut self.topic {
            Topic::Open(reader) => reader,
            Topic::Awaited(_) => {
                return match self.open() {
                    // The loop sees for itself that it is not there, and shows it.
                    Err(TopicError::Missing { .. }) => {
                        self.recover();
                        Ok(Vec::new())
                    }
                    opened => opened,
                };
            }
        };
        let mut changes = Vec::new();
        let mut timeout = FOLLOW;
        while let Some(change) = reader.poll(timeout, None)? {
            changes.push(change);
            timeout = Duration::ZERO;
        }
        if changes.is_empty() {
            reader.look()?;
        }
        Ok(changes)
    }

    fn history(&self) -> &History {
        match &self.topic {
            Topic::Open(reader) => reader.history(),
            Topic::Awaited(nothing) => nothing,
        }
    }

    fn is_renewing(&self) -> bool {
        matches!(&self.topic, Topic::Open(reader) if reader.is_renewing())
    }

    fn recover(&self) {
        std::thread::sleep(RECOVER);
    }
}

/// Follows the history until the loop is gone. `lost` makes a failure of an error that does not pass.
pub(super) fn follow(
    mut source: impl Source,
    requests: &Receiver<u64>,
    sender: &Sender<Event>,
    lost: impl Fn(TopicError) -> Failure,
) {
    let mut token = None;
    loop {
        if token.is_none() {
            token = match requests.try_recv() {
                Ok(token) => Some(token),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
        }
        let whole = token.is_some() || source.is_renewing();
        let read = if whole { source.read_to_end() } else { source.read_what_came() };
        let (event, failed) = match read {
            Ok(changes) if changes.is_empty() && token.is_none() => continue,
            Ok(changes) => {
                let history = Arc::new(source.history().clone());
                (Event::History { history, schemas: schemas(changes), token }, false)
            }
            Err(error) if error.is_transient() => {
                tracing::debug!(error = %error, token, "reading the history");
                (Event::KafkaFailed(error.to_string()), true)
            }
            Err(error) => (Event::Fatal(lost(error)), false),
        };
        if sender.send(event).is_err() {
            return;
        }
        if failed {
            // The request stays open: nobody asks a second time.
            source.recover();
        } else {
            token = None;
        }
    }
}

/// The schemas among changes.
pub(super) fn schemas(changes: Vec<Change>) -> Vec<RegisteredSchema> {
    let schemas = changes.into_iter().flat_map(|change| match change {
        Change::Schema(schema) => vec![schema],
        Change::Generation(_, schema) => schema.into_iter().collect(),
        Change::Retired(_, schemas) => schemas,
        Change::Load(_) | Change::Selection | Change::Removed => Vec::new(),
    });
    schemas.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::mpsc::channel;

    /// Fails as often as it is told, and says how each read to the end went.
    struct Played {
        history: History,
        ends: VecDeque<Result<(), TopicError>>,
    }

    impl Source for Played {
        fn read_to_end(&mut self) -> Result<Vec<Change>, TopicError> {
            self.ends.pop_front().unwrap_or(Ok(())).map(|()| Vec::new())
        }

        fn read_what_came(&mut self) -> Result<Vec<Change>, TopicError> {
            Ok(Vec::new())
        }

        fn history(&self) -> &History {
            &self.history
        }

        fn is_renewing(&self) -> bool {
            false
        }

        fn recover(&self) {}
    }

    #[test]
    fn a_request_that_failed_is_answered_once_the_end_is_reached() {
        let (ask, requests) = channel();
        let (sender, events) = channel();
        ask.send(7).unwrap();
        ask.send(8).unwrap();
        drop(ask);
        let timeout = || Err(TopicError::Timeout { doing: "reading".to_owned() });
        let ends = VecDeque::from([timeout(), timeout(), Ok(()), Ok(())]);
        follow(Played { history: History::of(&"t".parse().unwrap()), ends }, &requests, &sender, |error| {
            Failure::new("the history cannot be followed", error)
        });
        drop(sender);
        let answers: Vec<Option<u64>> = events
            .iter()
            .map(|event| match event {
                Event::History { token, .. } => token,
                _ => None,
            })
            .collect();
        assert_eq!(answers, [None, None, Some(7), Some(8)]);
    }
}
