//! When a client of Kafka that lives long is replaced by a new one. A client of the library forgets all brokers for good
//! once an answer about the cluster names none, as brokers give it for a moment when they start or wake up: it says "all
//! brokers are down" from then on, though every new client works. The decisions are pure.

use super::{TracingContext, close, leave};
use crate::transient::Transient;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a client may fail before it is replaced. Each that follows has twice as long as the one before, up to [`LONGEST`]:
/// that the cluster is away is no fault of the client, and each client that is closed meanwhile takes a while to end.
const FIRST: Duration = Duration::from_secs(20);
/// The longest of these times: the answer that names no broker comes when a cluster wakes up, after however long an outage.
const LONGEST: Duration = Duration::from_secs(60);
/// The same for members of groups.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);
/// How long a member must be missing from its group, looked at by clients that Kafka answers.
const MISSING: Duration = Duration::from_secs(8);

/// Failures of a client in a row.
#[derive(Debug, Clone)]
pub struct Failing {
    since: Option<Instant>,
    patience: Duration,
}

impl Default for Failing {
    fn default() -> Self {
        Self::new()
    }
}

impl Failing {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { since: None, patience: FIRST }
    }

    /// The client works.
    pub const fn succeeded(&mut self) {
        (self.since, self.patience) = (None, FIRST);
    }

    /// The client has failed at `now`. True if it is to be replaced: what fails next is the new one's.
    pub fn failed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.patience {
            return false;
        }
        self.since = Some(now);
        self.patience = (self.patience * 2).min(LONGEST);
        true
    }
}

/// How long a member has been missing from its group, though Kafka answers other clients. One that has lost its brokers
/// is never told so, and never comes back by itself.
#[derive(Debug, Clone)]
pub struct Absence {
    /// When the member's client was made.
    joined: Instant,
    missing_since: Option<Instant>,
    present: bool,
    patience: Duration,
}

impl Absence {
    /// A client that was made at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { joined: now, missing_since: None, present: false, patience: FIRST }
    }

    /// Takes a look at the group at `now`. True if the member is to join anew, with another client; what is seen next is
    /// that one's.
    pub fn look(&mut self, present: bool, now: Instant) -> bool {
        self.present = present;
        if present {
            (self.missing_since, self.patience) = (None, FIRST);
            return false;
        }
        let since = *self.missing_since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= MISSING;
        if !long || now.saturating_duration_since(self.joined) < self.patience {
            return false;
        }
        (self.joined, self.missing_since) = (now, None);
        self.patience = (self.patience * 2).min(LONGEST_ABSENCE);
        true
    }

    /// The member has nothing any more: whether it is in its group is not known until the next look.
    pub const fn doubt(&mut self) {
        self.present = false;
    }

    /// True if the last look has seen the member in its group.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.present
    }
}

/// A client id that tells a client from any other, also from the one that it replaces: the name that the user gives,
/// something unique, then `rest`.
#[must_use]
pub fn unique_client_id(config: &ClientConfig, rest: &str) -> String {
    let name = config.get("client.id").unwrap_or("tributary");
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}@{}{rest}", &unique[..12])
}

/// A consumer without a group that answers questions, and is replaced once it has failed for long.
pub struct RenewedConsumer<C: ConsumerContext + Default + 'static = TracingContext> {
    config: ClientConfig,
    current: Mutex<Current<C>>,
}

struct Current<C: ConsumerContext + 'static> {
    consumer: Arc<BaseConsumer<C>>,
    failing: Failing,
}

/// Closes a consumer that is not used any more beside everything else, also if Kafka says nothing.
pub fn retire<C: ConsumerContext + 'static>(consumer: Arc<BaseConsumer<C>>) {
    close(Retired(consumer));
}

/// A consumer that is not used any more; closed when dropped.
struct Retired<C: ConsumerContext + 'static>(Arc<BaseConsumer<C>>);

impl<C: ConsumerContext + 'static> Drop for Retired<C> {
    fn drop(&mut self) {
        leave(&self.0);
    }
}

impl<C: ConsumerContext + Default + 'static> RenewedConsumer<C> {
    /// The first client.
    pub fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let consumer = Arc::new(config.create_with_context(C::default())?);
        Ok(Self { config, current: Mutex::new(Current { consumer, failing: Failing::new() }) })
    }

    /// The client of this moment, for what needs no answer.
    #[must_use]
    pub fn get(&self) -> Arc<BaseConsumer<C>> {
        Arc::clone(&self.current().consumer)
    }

    /// Asks the client. An error that may pass counts against it.
    ///
    /// # Errors
    /// What the question comes to.
    pub fn ask<T, E: Transient>(
        &self,
        question: impl FnOnce(&BaseConsumer<C>) -> Result<T, E>,
    ) -> Result<T, E> {
        let consumer = self.get();
        let answer = question(&consumer);
        self.judge(&consumer, answer.as_ref().is_err_and(Transient::is_transient), Instant::now());
        answer
    }

    fn judge(&self, asked: &Arc<BaseConsumer<C>>, failed: bool, now: Instant) {
        let mut current = self.current();
        // What a client says that was replaced meanwhile does not matter.
        if !Arc::ptr_eq(&current.consumer, asked) {
            return;
        }
        if !failed {
            current.failing.succeeded();
        } else if current.failing.failed(now) {
            match self.config.create_with_context(C::default()) {
                Ok(consumer) => {
                    tracing::info!("Kafka does not answer a client: a new one takes its place");
                    retire(std::mem::replace(&mut current.consumer, Arc::new(consumer)));
                }
                Err(error) => tracing::warn!(%error, "no new client of Kafka can be made"),
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current<C>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the client beside everything else.
impl<C: ConsumerContext + Default + 'static> Drop for RenewedConsumer<C> {
    fn drop(&mut self) {
        retire(self.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_replaced_after_a_while_of_failures_and_the_next_has_longer() {
        let (start, mut failing) = (Instant::now(), Failing::new());
        let mut replaced = Vec::new();
        for second in 0..200 {
            if failing.failed(start + Duration::from_secs(second)) {
                replaced.push(second);
            }
        }
        assert_eq!(replaced, [20, 60, 120, 180]);
        failing.succeeded();
        assert!(!failing.failed(start + Duration::from_secs(900)));
        assert!(!failing.failed(start + Duration::from_secs(919)));
        assert!(failing.failed(start + Duration::from_secs(920)));
    }

    #[test]
    fn one_success_is_enough_and_the_time_has_an_end() {
        let (start, mut failing) = (Instant::now(), Failing::new());
        for second in 0..200 {
            if second % 19 == 0 {
                failing.succeeded();
            }
            assert!(!failing.failed(start + Duration::from_secs(second)));
        }
        failing.succeeded();
        let replaced = (0..86_400).filter(|second| failing.failed(start + Duration::from_secs(*second)));
        let replaced: Vec<u64> = replaced.collect();
        assert_eq!(replaced[replaced.len() - 1] - replaced[replaced.len() - 2], LONGEST.as_secs());
    }

    #[test]
    fn a_member_that_stays_missing_joins_anew_and_one_that_is_joining_is_given_time() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut absence = Absence::new(start);
        // It joins at its own pace.
        assert!((0..19).all(|second| !absence.look(false, at(second))));
        assert!(!absence.look(true, at(19)) && absence.is_present());
        // Much later it is gone.
        assert!((100..108).all(|second| !absence.look(false, at(second))) && !absence.is_present());
        assert!(absence.look(false, at(108)));
        // The new client has twice the time.
        assert!((109..148).all(|second| !absence.look(false, at(second))));
        assert!(absence.look(false, at(148)));
        assert!(!absence.look(true, at(150)) && absence.is_present());
        absence.doubt();
        assert!(!absence.is_present());
        assert!(!absence.look(false, at(1_000)) && absence.look(false, at(1_008)));
    }

    #[test]
    fn client_ids_differ_and_end_with_what_they_are_to_show() {
        let mut config = ClientConfig::new();
        config.set("client.id", "loader");
        let (one, other) = (unique_client_id(&config, "@x"), unique_client_id(&config, "@x"));
        assert!(one != other && one.starts_with("loader@") && one.ends_with("@x"));
    }
}
