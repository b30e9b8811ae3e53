//! `apply run`, put together: servers are waited for, the history is read to its end, and the threads start. Returns
//! once the end was asked for and everything is drained, or with what ended it.

mod until;

use super::engine::{Ask, Engine, EngineContext, Event, Origin};
use super::follow::{Followed, Source, follow, schemas};
use super::name::{Look, shared_name};
use super::worker::Worker;
use crate::remedies;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tributary_config::{Config, TaskName};
use tributary_schemas::topic::history_topic;
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::TopicPartition;
use tributary_service::kafka::consumer_config;
use tributary_service::load::{destination, rules};
use tributary_service::registry::Registry;
use tributary_service::retry::{Policy, RetryError, retry_while_transient};
use tributary_service::shutdown::{Shutdown, ShutdownHandle};
use tributary_service::status::Status;
use tributary_service::transient::Transient;
use tributary_service::waits::Waits;
use tributary_topics::beat;
use tributary_topics::consumer::GroupConsumer;
use tributary_topics::ends::Ends;
use tributary_topics::error::TopicError;
use tributary_topics::history::{Change, History};
use tributary_topics::members::{group, strangers};
use tributary_topics::reader::REQUEST_TIMEOUT;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connector, DestinationError, Pool};
use until::until_caught_up;

/// How long the history is waited for at a time, at first and in the end: capture may be starting this very moment.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOK_AGAIN_LATER: Duration = Duration::from_secs(2);
/// How much longer than its session a member that is gone may be seen in the group.
const NAME_PATIENCE: Duration = Duration::from_secs(3);

/// How long the thread that listens for capture may take to end; a Kafka that is away must not hold the end up.
const BEAT_END: Duration = Duration::from_secs(3);

/// What a run is given.
pub(crate) struct Run {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is shown.
    pub status: Status,
    /// Schemas that are served.
    pub registry: Registry,
    /// When to end.
    pub shutdown: Shutdown,
    /// For `--until-caught-up` to ask for the end.
    pub handle: ShutdownHandle,
    /// End once everything that exists now has been merged.
    pub until_caught_up: bool,
}

impl Run {
    /// Returns once the destination answers and the history is there, so that both can be checked.
    ///
    /// # Errors
    /// A server that did not come in time, or that refuses.
    pub(crate) async fn wait_for_servers(&self) -> Result<(), Failure> {
        let destination = destination(&self.config)?;
        let connected = self
            .with_destination(|| async {
                let connector = Connector::new(destination).map_err(unusable)?.shown_in(self.status.waits());
                connector.connect().await.map(drop)
            })
            .await?;
        if connected.is_some() {
            self.open_histories().await?;
        }
        Ok(())
    }

    /// Runs.
    ///
    /// # Errors
    /// What ended it before its time.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let ends = self.ends()?;
        let Some(worker) = self.start_worker(&ends).await? else { return Ok(Exit::Done) };
        let group = group(&self.config, worker.identity());
        if !self.wait_for_name(&ends, &group, worker.identity()).await? {
            return Ok(Exit::Done);
        }
        let Some(epoch) = self.epoch(&worker).await? else { return Ok(Exit::Done) };
        let Some(opened) = self.open_histories().await? else { return Ok(Exit::Done) };
        let mut followed = Vec::new();
        for (history, changes) in opened {
            for schema in schemas(changes) {
                self.registry.insert(schema);
            }
            followed.push(history);
        }
        let caught_up = Arc::new(AtomicBool::new(false));
        let watcher = if self.until_caught_up {
            let (ends, reached) = (Arc::clone(&ends), Arc::clone(&caught_up));
            let histories: Vec<&History> = followed.iter().map(Source::history).collect();
            Some(until_caught_up(&self, &worker, ends, &histories, reached).await?)
        } else {
            None
        };
        let (sender, events) = channel();
        let (asks, questions) = channel();
        let client = consumer_config(&self.config.kafka, &group);
        let consumer = GroupConsumer::new(&client, worker.identity()).map_err(kafka_failure(&self.config))?;
        let rules = rules(&self.config)?;
        let parts = EngineContext {
            config: Arc::clone(&self.config),
            rules,
            worker,
            consumer,
            client: client.clone(),
            runtime: tokio::runtime::Handle::current(),
            status: self.status.clone(),
            registry: self.registry.clone(),
            shutdown: self.shutdown.clone(),
            events,
            sender: sender.clone(),
            asks,
            until_caught_up: self.until_caught_up,
            caught_up,
            handle: self.handle.clone(),
        };
        spawn("tributary-ends", {
            let (sender, waits) = (sender.clone(), self.status.waits().clone());
            let task = self.origin().clone();
            move || answer(&ends, (&group, &task), &waits, (&questions, &sender))
        })?;
        let (listening, mut listened) = mpsc::channel::<()>(1);
        let mut origins = Vec::new();
        for followed in followed {
            let (catch_ups, requests) = channel();
            let task = followed.history().task().clone();
            origins.push(Origin::new(Arc::new(followed.history().clone()), catch_ups));
            spawn("tributary-history", {
                let (sender, topic) = (sender.clone(), history_topic(&task));
                move || {
                    let lost =
                        |error| Failure::new("the history cannot be followed", error).at(topic.clone());
                    follow(followed, &requests, &sender, lost);
                }
            })?;
            spawn("tributary-beat", {
                let (status, shutdown) = (self.status.clone(), self.shutdown.clone());
                let (client, listening) = (client.clone(), listening.clone());
                move || {
                    beat::listen(&client, &task, &status, &shutdown);
                    drop(listening);
                }
            })?;
        }
        drop(listening);
        let engine = Engine::new(parts, origins.into_iter().collect(), epoch);
        let (ended, end) = oneshot::channel();
        spawn("tributary-engine", move || {
            let _ = ended.send(engine.run());
        })?;
        let outcome = end.await.unwrap_or_else(|_| {
            Err(Failure::new("the pipeline ended unexpectedly", "its thread is gone")
                .remedy(remedies::thread_gone()))
        });
        // The library must not be at work when the process takes its memory down.
        self.handle.request();
        let _ = tokio::time::timeout(BEAT_END, listened.recv()).await;
        outcome?;
        match watcher {
            Some(watcher) => watcher.verdict(),
            None => Ok(Exit::Done),
        }
    }

    /// Waits until the task's group has no member that writes into another destination: one that was killed is a member
    /// until its session times out. False if the end was asked for meanwhile.
    async fn wait_for_name(&self, ends: &Arc<Ends>, group: &str, identity: &str) -> Result<bool, Failure> {
        let session = Duration::from_millis(u64::from(self.config.kafka.session_timeout_ms));
        let policy = Policy { first: LOOK_AGAIN, longest: LOOK_AGAIN_LATER, limit: session + NAME_PATIENCE };
        let what = format!("looking who is in the consumer group {group}");
        let looked = retry_while_transient(policy, &self.status, &self.shutdown, &what, || async {
            let (ends, group, task) = (Arc::clone(ends), group.to_owned(), self.origin().clone());
            let _wait = self.status.wait_within("Kafka: who is in the consumer group", 2 * REQUEST_TIMEOUT);
            let asked = tokio::task::spawn_blocking(move || ends.members(&group, &task)).await;
            let members =
                match asked.unwrap_or_else(|e| Err(TopicError::Interrupted { reason: e.to_string() })) {
                    Ok(members) => members,
                    // Who joins unseen may meet one that has always worked.
                    Err(error) if error.is_transient() && !error.is_unknown_place() => {
                        return Err(Look::Failed(error));
                    }
                    Err(error) => {
                        // Asked again while the task runs; whether Kafka is there is judged by those who need more of it.
                        tracing::warn!(error = %error, "looking who is in the consumer group");
                        return Ok(());
                    }
                };
            let others = strangers(&members, identity);
            if others.is_empty() { Ok(()) } else { Err(Look::Taken(shared_name(&self.config, &others))) }
        });
        match looked.await {
            Ok(()) => Ok(true),
            Err(RetryError::Shutdown) => Ok(false),
            Err(RetryError::Definite(look) | RetryError::Limit { error: look, .. }) => match look {
                Look::Taken(failure) => Err(failure),
                // Asked again while the task runs; whether Kafka is there is judged by those who need more of it.
                Look::Failed(error) => {
                    tracing::warn!(error = %error, "looking who is in the consumer group");
                    Ok(true)
                }
            },
        }
    }

    /// Tries until it works; `None` if the end was asked for meanwhile.
    async fn with_destination<T, A>(&self, attempt: impl FnMut() -> A) -> Result<Option<T>, Failure>
    where
        A: Future<Output = Result<T, DestinationError>>,
    {
        let destination = destination(&self.config)?;
        let what = format!("connecting to the destination {}:{}", destination.host, destination.port);
        let policy = Policy::for_limit(destination.retry());
        match retry_while_transient(policy, &self.status, &self.shutdown, &what, attempt).await {
            Ok(value) => Ok(Some(value)),
            Err(RetryError::Shutdown) => Ok(None),
            Err(error) => Err(destination_failure(&self.config, &error)),
        }
    }

    /// `None` if the end was asked for meanwhile.
    async fn start_worker(&self, ends: &Arc<Ends>) -> Result<Option<Arc<Worker>>, Failure> {
        let destination = destination(&self.config)?;
        let worker = self
            .with_destination(|| async {
                let bookkeeping = Bookkeeping::new(&destination.schema, &self.config.name);
                let connector = Connector::of_instance(destination, bookkeeping.lock_key("instances"));
                let connector = connector.map_err(unusable)?.shown_in(self.status.waits());
                let pool = Pool::new(connector, destination.connections);
                let worker = Worker::start(pool, bookkeeping, Arc::clone(ends)).await?;
                Ok(worker.shown_in(&self.status))
            })
            .await?;
        let worker = worker.map(Arc::new);
        if let Some(worker) = &worker {
            worker.keep_beating();
        }
        Ok(worker)
    }

    /// A task whose topics are read: which one does not matter.
    fn origin(&self) -> &TaskName {
        self.config.origins().first().unwrap_or(&self.config.name)
    }

    /// The histories of all tasks that are read, each to its end, with what was read. Where several are, one that has none yet
    /// does not hold up the others, unless all that they have is to be merged.
    async fn open_histories(&self) -> Result<Option<Vec<(Followed, Vec<Change>)>>, Failure> {
        let mut opened = Vec::new();
        for task in self.config.origins() {
            let Some(history) = self.open_history(task).await? else { return Ok(None) };
            opened.push(history);
        }
        Ok(Some(opened))
    }

    async fn open_history(&self, task: &TaskName) -> Result<Option<(Followed, Vec<Change>)>, Failure> {
        let topic = history_topic(task);
        let what = format!("reading the history topic {topic}");
        let client = consumer_config(&self.config.kafka, &self.config.name);
        let waits = self.until_caught_up || self.config.from.len() < 2;
        let opened = retry_while_transient(
            Policy { first: LOOK_AGAIN, longest: LOOK_AGAIN_LATER, limit: self.config.kafka.retry() },
            &self.status,
            &self.shutdown,
            &what,
            || async {
                let (client, task, shutdown) = (client.clone(), task.clone(), self.shutdown.clone());
                let until_complete = self.until_caught_up;
                tokio::task::spawn_blocking(move || {
                    let mut followed = Followed::awaited(&task, &client, &shutdown);
                    let changes = match followed.open() {
                        Err(TopicError::Missing { .. }) if !waits => Vec::new(),
                        opened => opened?,
                    };
                    if until_complete && !followed.history().is_complete() && !shutdown.requested() {
                        return Err(TopicError::Incomplete { topic: history_topic(&task) });
                    }
                    Ok((followed, changes))
                })
                .await
                .unwrap_or_else(|error| Err(TopicError::Interrupted { reason: error.to_string() }))
            },
        )
        .await;
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(RetryError::Shutdown) => Ok(None),
            Err(error) => Err(Failure::new("cannot read the history", &error)
                .at(format!("{topic} at {}", self.config.kafka.brokers))
                .remedy(remedies::history_unread())),
        }
    }

    /// `None` if the end was asked for meanwhile.
    async fn epoch(&self, worker: &Worker) -> Result<Option<i64>, Failure> {
        let read = || async {
            let mut lease = worker.pool().acquire("the bookkeeping").await?;
            let view = worker.bookkeeping().view(&mut lease).await?;
            lease.release();
            Ok(view.epoch)
        };
        self.with_destination(read).await
    }

    fn ends(&self) -> Result<Arc<Ends>, Failure> {
        let client = consumer_config(&self.config.kafka, &self.config.name);
        Ends::new(&client).map(Arc::new).map_err(kafka_failure(&self.config))
    }
}

/// As a failure of the command.
pub(crate) fn kafka_failure(config: &Config) -> impl FnOnce(TopicError) -> Failure {
    let brokers = config.kafka.brokers.clone();
    move |error| {
        let remedy = match &error {
            TopicError::Gone { .. } => remedies::topics_gone(),
            _ => remedies::kafka_unusable(),
        };
        Failure::new("Kafka cannot be used", error).at(brokers).remedy(remedy)
    }
}

/// As a failure of the command.
pub(crate) fn destination_failure(config: &Config, error: &dyn std::fmt::Display) -> Failure {
    let place = config.destination.as_ref().map(|d| format!("{}:{}/{}", d.host, d.port, d.database));
    Failure::new("the destination cannot be used", error)
        .at(place.unwrap_or_default())
        .remedy(remedies::destination_unusable())
}

/// A destination whose settings cannot be used.
pub(crate) fn unusable(failure: Failure) -> DestinationError {
    DestinationError::Connect { address: failure.place, reason: failure.why, transient: false }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Failure::new(format!("cannot start the thread {name}"), error))
}

/// Answers questions about offsets until the loop is gone.
fn answer(
    ends: &Ends,
    (group, task): (&str, &TaskName),
    waits: &Waits,
    (questions, sender): (&Receiver<Ask>, &Sender<Event>),
) {
    while let Ok(question) = questions.recv() {
        let _wait = waits.answer(question.in_words(), None);
        let answer = match question {
            Ask::Ends(places) => {
                let names: Vec<TopicPartition> = places.iter().map(|(place, _)| place.clone()).collect();
                ends.some_last_stable(&names).map(|found| {
                    let pairs: BTreeMap<TopicPartition, (i64, i64)> = places
                        .into_iter()
                        .filter_map(|(place, position)| {
                            let end = *found.get(&place)?;
                            Some((place, (position, end)))
                        })
                        .collect();
                    Some(Event::Ends(pairs))
                })
            }
            Ask::Members => match ends.members(group, task) {
                Ok(members) => Ok(Some(Event::Members(Some(members)))),
                Err(error) => {
                    tracing::debug!(error = %error, "looking who is in the consumer group");
                    Ok(Some(Event::Members(None)))
                }
            },
            Ask::Topics(topics) => {
                // Those that could not be asked for are asked for again in their turn.
                let known = topics.into_iter().filter_map(|topic| {
                    let partitions = ends.partitions(&topic).ok()?;
                    Some((topic, partitions))
                });
                Ok(Some(Event::Topics(known.collect())))
            }
            Ask::Lows(places) => ends.low(&places).map(|lows| Some(Event::Lows(lows))),
            Ask::Probe { place, position, end } => ends
                .probe(&place, position, end)
                .map(|found| found.map(|next| Event::Probed { place, position, next })),
        };
        let event = match answer {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            Err(error) => Event::KafkaFailed(error.to_string()),
        };
        if sender.send(event).is_err() {
            return;
        }
    }
}
