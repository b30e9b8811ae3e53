//! Carries out what the sequencer decides: records go to Kafka, questions to the source and to Kafka, orders to the readers.
//! Decides nothing: an action is answered, or its error ends the session.

use super::shared::Shared;
use crate::sequencer::halt::Halt;
use crate::sequencer::port::{Action, Answered, Committed, DefinitionQuestion};
use crate::sequencer::{Now, Sequencer};
use crate::snapshot::reader::{self, ReaderLimits, ReaderMessage, ReaderOrder};
use crate::topics::admin::{REQUEST_TIMEOUT, TopicSettings, Topics};
use crate::topics::mirror::Mirror;
use crate::topics::outbox::Outbox;
use crate::topics::producer::{PublishError, Publisher};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tributary_service::sabotage;
use tributary_service::status::{Status, Timing};
use tributary_source::connect::SourceOptions;
use tributary_source::definition::{current_definition, current_place, unanswered};
use tributary_source::error::SourceError;

/// How long the source may take to answer a question; commits are waited for inside of it.
const ANSWER: Duration = Duration::from_secs(60);

/// How long it may take until new topics can be written.
const MAKING: Duration = Duration::from_secs(70);

impl From<PublishError> for Halt {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Fenced(reason) => Self::Fenced(reason),
            PublishError::Lost(_) => Self::Restart(error.to_string()),
            PublishError::Refused(refused) => Self::Refused(refused),
        }
    }
}

/// See the module.
pub(super) struct Driver {
    publisher: Publisher,
    topics: Topics,
    settings: TopicSettings,
    source: SourceOptions,
    runtime: tokio::runtime::Handle,
    status: Status,
    readers: Vec<mpsc::Sender<ReaderOrder>>,
}

impl Driver {
    /// Starts as many readers as the configuration says; `messages` is their channel to the session.
    pub(super) fn start(
        shared: &Shared,
        (publisher, topics, settings): (Publisher, Topics, TopicSettings),
        messages: &mpsc::Sender<(usize, ReaderMessage)>,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Self {
        let readers = (0..usize::try_from(shared.config.capture.readers).unwrap_or(1)).map(|number| {
            let (orders, receiver) = mpsc::channel(1);
            let limits = ReaderLimits::default();
            let run = reader::run(number, shared.source.clone(), limits, receiver, messages.clone());
            tasks.push(shared.runtime.spawn(run));
            orders
        });
        let readers = readers.collect();
        Self {
            publisher,
            topics,
            settings,
            source: shared.source.clone(),
            runtime: shared.runtime.clone(),
            status: shared.status.clone(),
            readers,
        }
    }

    /// Brings a decision of the sequencer to its end, and gives the readers what comes of it.
    pub(super) fn decide<T>(
        &mut self,
        sequencer: &mut Sequencer,
        decision: impl AsyncFnOnce(&mut Sequencer) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let port = sequencer.port();
        let decided = port.run(decision(sequencer), |action| self.carry_out(action))?;
        for (reader, order) in sequencer.take_orders() {
            // An idle reader's channel has room.
            let given = self.readers.get(reader).map(|reader| reader.try_send(order));
            if !matches!(given, Some(Ok(()))) {
                return Err(Halt::Restart(format!("reader {reader} takes no orders any more")));
            }
        }
        Ok(decided)
    }

    fn carry_out(&mut self, action: Action) -> Result<(), Halt> {
        match action {
            Action::Publish(call) => {
                let (mut outbox, reply) = call.split();
                self.publisher.send_all(&mut outbox)?;
                reply.answer(outbox);
            }
            Action::Commit(call) => {
                let (outbox, reply) = call.split();
                reply.answer(self.commit(outbox)?);
            }
            Action::Ends(call) => {
                let topics: Vec<(&str, u32)> =
                    call.question.iter().map(|(topic, partitions)| (&**topic, *partitions)).collect();
                let _wait = self.status.wait_within("Kafka: the ends of partitions", REQUEST_TIMEOUT);
                let ends = self.topics.ends(&topics)?;
                call.answer(ends);
            }
            Action::Cluster(call) => {
                let _wait = self.status.wait_within("Kafka: listing the topics", REQUEST_TIMEOUT);
                let cluster = self.topics.cluster(REQUEST_TIMEOUT);
                call.answer(cluster.map_err(|error| Halt::Restart(error.to_string()))?);
            }
            Action::Look(call) => {
                let asked: Vec<(&str, u32)> =
                    call.question.iter().map(|(topic, partitions)| (topic.as_str(), *partitions)).collect();
                let _wait = self.status.wait_within("Kafka: looking at the topics", 2 * REQUEST_TIMEOUT);
                let found = self.topics.look(&asked);
                if let Err(error) = &found {
                    tracing::debug!("the topics were not looked at: {error}");
                }
                call.answer(found.ok());
            }
            Action::Ensure(call) => {
                let topics: Vec<&str> = call.question.iter().map(String::as_str).collect();
                let _wait = self.status.wait_within("Kafka: making topics", MAKING);
                let ensured = self.topics.ensure(&topics, &self.settings)?;
                call.answer(ensured);
            }
            Action::Definition(call) => {
                let DefinitionQuestion { id, shadowed, reached } = &call.question;
                let asked = current_definition(&self.source, id, shadowed, reached);
                let began = Instant::now();
                let answer = self.ask_source("reading the catalog", asked)?;
                call.answer(Answered { answer, took: began.elapsed() });
            }
            Action::SourcePosition(call) => {
                call.answer(self.ask_source("reading the position", current_place(&self.source))?);
            }
            Action::Reach(call) => {
                sabotage::pass(call.question);
                call.answer(());
            }
        }
        Ok(())
    }

    fn commit(&mut self, mut outbox: Outbox) -> Result<Committed, Halt> {
        self.publisher.send_all(&mut outbox)?;
        let began = Instant::now();
        let _wait = self.status.wait("Kafka: committing");
        self.publisher.commit()?;
        let took = began.elapsed();
        self.status.observe(Timing::Commit, took);
        outbox.committed();
        Ok(Committed { outbox, took })
    }

    /// Waits for an answer of the source. Everything else stands still meanwhile, so that one that does not come is an
    /// outage.
    fn ask_source<T>(
        &self,
        during: &str,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, Halt> {
        let _wait = self.status.wait_within(&format!("the source: {during}"), ANSWER);
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER, answer).await });
        answer.unwrap_or_else(|_| Err(unanswered(during, &self.source, ANSWER))).map_err(Halt::from)
    }

    /// Serves the producer, which says by this what it could not deliver.
    ///
    /// # Errors
    /// A transaction that is lost.
    pub(super) fn serve(&self) -> Result<(), Halt> {
        Ok(self.publisher.serve()?)
    }

    /// Ends without a commit.
    pub(super) fn abort(&mut self) {
        self.publisher.abort();
    }

    /// Lets go of everything; the Kafka client that takes its time, beside the caller. What the task's own topics hold
    /// stays.
    #[must_use]
    pub(super) fn close(self) -> Option<Mirror> {
        tributary_service::kafka::close(self.topics);
        self.publisher.into_mirror()
    }
}

/// A moment by the machine's clocks.
#[must_use]
pub(super) fn now() -> Now {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let wall_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Now { instant: Instant::now(), wall_ms }
}
