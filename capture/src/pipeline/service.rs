//! `capture run`: precheck, leadership, and sessions one after the other until the end is asked for, reached, or
//! forced.

use super::leader::Membership;
use super::precheck;
use super::restore::{Restored, restore_lost};
use super::session::{Carried, End, lead};
use super::shared::{OWN_TOPIC_GONE, RIVAL_BEAT, Shared, own_settings, pause};
use super::standby::{Lead, own_topic_missing, wait_for_lead};
use super::target::verdict;
use crate::groups::watch::GroupWatch;
use crate::remedies;
use crate::sequencer::READING;
use crate::topics::admin::Topics;
use crate::topics::state::TaskState;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::Service;
use tributary_service::cli::RunArgs;
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka;
use tributary_service::load::source;
use tributary_service::retry::{Backoff, Policy};
use tributary_service::shell::{self, Life};
use tributary_service::status::Role;
use tributary_source::connect::SourceOptions;

/// Threads that read and ask.
const THREADS: usize = 2;
/// How long the source may be silent before lags grow by it; at least three of its heartbeats.
const SILENCE: Duration = Duration::from_secs(5);
/// What is being retried, in the status.
const SESSION: &str = "publishing";
/// How long another leader may take to write its name, and how often it is looked for.
const RIVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long Kafka may take to say who it is.
const RIVAL_READ: Duration = Duration::from_secs(10);
/// A session that worked this long starts the count of failures anew.
const HEALTHY: Duration = Duration::from_secs(30);

/// Runs until the end is asked for, reached, or forced. `deselect` are the tables that the configuration leaves out on
/// purpose.
///
/// # Errors
/// A [`Failure`] with the exit status it leads to.
pub fn run(arguments: RunArgs, deselect: Vec<String>) -> Result<Exit, Failure> {
    let RunArgs { common, until_caught_up, ignore } = arguments;
    shell::run(Service::Capture, &common, THREADS, |life| {
        let Life { config, runtime, status, registry, shutdown, address, .. } = life;
        let source_config = source(&config)?.clone();
        status.watch(
            &config.name,
            SILENCE.max(Duration::from_millis(source_config.heartbeat_ms.saturating_mul(3))),
        );
        let source = SourceOptions::new(&source_config)
            .map_err(|error| Failure::new("the source's settings cannot be used", error).exit(Exit::Usage))?
            .shown_in(status.waits());
        work(&Shared {
            source,
            source_config,
            groups: GroupWatch::start(&config, &status),
            config,
            status,
            registry,
            address: address.to_string(),
            shutdown,
            runtime,
            until_caught_up,
            ignore,
            deselect,
        })
    })
}

fn work(shared: &Shared) -> Result<Exit, Failure> {
    if !precheck::check(shared)? {
        return Ok(Exit::Done);
    }
    let Some(mut membership) = join_group(shared)? else { return Ok(Exit::Done) };
    let mut role = membership.role();
    let limit = shared.source_config.retry().max(shared.config.kafka.retry());
    let mut backoff = Backoff::new(Policy::for_limit(limit));
    let mut carried = Carried::default();
    let mut absence = kafka::Absence::new(Instant::now());
    loop {
        // Whoever leads meanwhile, or has led, knows more.
        let stands_by = *role.borrow() == Role::Standby;
        if stands_by || role.has_changed().unwrap_or(true) {
            carried.mirror = None;
        }
        if stands_by {
            // What this instance could not do is another's now.
            for what in [SESSION, READING] {
                shared.status.retried(what);
            }
            carried.forget_refused();
            shared.groups.want(Vec::new());
        }
        match wait_for_lead(shared, &membership, &mut role, &mut absence)? {
            Lead::Given => drop(absence.look(true, Instant::now())),
            Lead::EndAsked => return Ok(Exit::Done),
            Lead::NotAMember => {
                tracing::warn!("the consumer group does not know this instance any more: it joins anew");
                kafka::close(membership);
                let Some(joined) = join_group(shared)? else { return Ok(Exit::Done) };
                (role, membership) = (joined.role(), joined);
                continue;
            }
        }
        let began = Instant::now();
        let status = &shared.status;
        let end = lead(shared, &role, &mut carried, &mut || {
            status.retried(SESSION);
        });
        if began.elapsed() >= HEALTHY {
            backoff.succeeded();
        }
        if let Some(mirror) = carried.mirror.take().filter(|_| !matches!(end, End::Done | End::Stop(_))) {
            match restore_lost(shared, &mirror, &role)? {
                Restored::NothingLost => carried.mirror = Some(mirror),
                // Whoever leads sees to it.
                Restored::NotLeading => continue,
                Restored::Again => {
                    // Its partition is another one now, and the client would take long to see it.
                    drop(membership);
                    let Some(joined) = join_group(shared)? else { return Ok(Exit::Done) };
                    (role, membership) = (joined.role(), joined);
                    absence = kafka::Absence::new(Instant::now());
                    continue;
                }
                Restored::EndAsked => return Ok(Exit::Done),
            }
        }
        let why = match end {
            End::Done if shared.until_caught_up && !shared.shutdown.requested() => {
                return verdict(&shared.status.document().tables);
            }
            End::Done => return Ok(Exit::Done),
            // The source does not serve two clients of one server id: a leader that does not know it was replaced hears
            // of it there first.
            End::Stop(failure) => {
                let rival = rival(shared).map(|instance| fenced(&instance, &failure.why));
                return Err(rival.unwrap_or(*failure));
            }
            // Only another leader is a reason to end. Without one Kafka was away for longer than a session or a
            // transaction lasts, and the lead is asked for again.
            End::Fenced(why) => match rival_in_time(shared, &role) {
                Some(instance) => return Err(fenced(&instance, &why)),
                None => why,
            },
            End::Refused(refused) => {
                let why = refused.to_string();
                // The next session parks its table, and the others go on.
                if carried.refuse(shared.config.name.as_str(), refused)? {
                    backoff.succeeded();
                }
                why
            }
            End::Restart(why) => why,
        };
        if let Some(failure) = own_topic_missing(shared, OWN_TOPIC_GONE) {
            return Err(failure);
        }
        let Some(delay) = backoff.failed(Instant::now(), fastrand::f64()) else {
            return Err(Failure::new("capture cannot go on", why).remedy(remedies::cannot_go_on()));
        };
        tracing::warn!(
            retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "session ended: {why}"
        );
        shared.status.retrying(SESSION, &why);
        if !pause(&shared.runtime, &shared.shutdown, delay) {
            return Ok(Exit::Done);
        }
    }
}

fn fenced(instance: &str, why: &str) -> Failure {
    Failure::new("another capture leads this task", format!("instance {instance} leads: {why}"))
        .exit(Exit::Fenced)
        .remedy(remedies::another_leads())
}

/// Looks for another leader. One that was given the lead a moment ago has yet to write its name, so that without the
/// lead a little time is given.
fn rival_in_time(shared: &Shared, role: &watch::Receiver<Role>) -> Option<String> {
    let deadline = Instant::now() + RIVAL_TIMEOUT;
    loop {
        let found = rival(shared);
        if found.is_some() || *role.borrow() == Role::Leader || Instant::now() >= deadline {
            return found;
        }
        if !pause(&shared.runtime, &shared.shutdown, RIVAL_BEAT) {
            return None;
        }
    }
}

/// The instance that the state topic names as leader, if it is not this one.
fn rival(shared: &Shared) -> Option<String> {
    let topic = state_topic(&shared.config.name);
    let group = capture_group(&shared.config.name);
    let contents = kafka::read_to_end(&shared.config.kafka, &group, &topic, RIVAL_READ).ok()?;
    let leader = TaskState::parse(&topic, &contents.records).ok()?.leader?;
    (leader.instance != shared.status.instance()).then_some(leader.instance)
}

/// Creates the task's own topics and joins its group, retrying while Kafka is away. `None` if the end is asked for.
fn join_group(shared: &Shared) -> Result<Option<Membership>, Failure> {
    let config = &shared.config;
    let mut backoff = Backoff::new(Policy::for_limit(config.kafka.retry()));
    loop {
        let error = match try_join(shared) {
            Ok(membership) => {
                shared.status.retried("joining the group");
                return Ok(Some(membership));
            }
            Err(error) => error,
        };
        let Some(delay) = backoff.failed(Instant::now(), fastrand::f64()) else {
            return Err(Failure::new("Kafka cannot be used", error).at(&config.kafka.brokers));
        };
        shared.status.retrying("joining the group", &error);
        if !pause(&shared.runtime, &shared.shutdown, delay) {
            return Ok(None);
        }
    }
}

fn try_join(shared: &Shared) -> Result<Membership, String> {
    let config = &shared.config;
    let client = kafka::client_config(&config.kafka);
    let topics = Topics::new(&client, shared.runtime.clone()).map_err(|error| error.to_string())?;
    let (state, history) = (state_topic(&config.name), history_topic(&config.name));
    let _wait = shared.status.wait("Kafka: making the task's own topics");
    let ensured =
        topics.ensure(&[&state, &history], &own_settings(config)).map_err(|error| error.to_string());
    kafka::close(topics);
    for own in ensured? {
        own.map_err(|error| error.to_string())?;
    }
    let group = capture_group(&config.name);
    Membership::join(&client, &group, &state).map_err(|error| error.to_string())
}
