//! Bounds on how many do something at the same time, and who they are. Whoever finds no place left waits for one, which is
//! shown together with those who have them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tributary_service::waits::Waits;

/// How old what is shown of a wait may be.
const SHOWN_FOR: Duration = Duration::from_secs(2);
/// How many of those who have places are named.
const NAMED_MAX: usize = 5;

/// A bounded number of places.
pub(super) struct Turns {
    /// What a place is, for people.
    what: String,
    places: usize,
    semaphore: Arc<Semaphore>,
    taken: Taken,
}

/// Those who have places, by number: who, and since when.
type Taken = Arc<Mutex<BTreeMap<u64, (Cow<'static, str>, Instant)>>>;

/// A place; dropped, it is free for the next.
#[must_use = "a turn that is dropped is over"]
pub struct Turn {
    taken: Taken,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(what: impl Into<String>, places: usize) -> Self {
        Self {
            what: what.into(),
            places,
            semaphore: Arc::new(Semaphore::new(places)),
            taken: Taken::default(),
        }
    }

    /// A place for `whom`, in the order in which they are asked for.
    pub(super) async fn take(&self, whom: impl Into<Cow<'static, str>>, waits: &Waits) -> Turn {
        let whom = whom.into();
        let permit = match Arc::clone(&self.semaphore).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(&whom, waits).await,
        };
        let mut taken = locked(&self.taken);
        let number = taken.last_key_value().map_or(0, |(last, _)| last + 1);
        taken.insert(number, (whom, Instant::now()));
        Turn { taken: Arc::clone(&self.taken), number, _permit: permit }
    }

    async fn wait(&self, whom: &str, waits: &Waits) -> OwnedSemaphorePermit {
        let since = Instant::now();
        let mut permit = pin!(Arc::clone(&self.semaphore).acquire_owned());
        let mut wait = waits.work(self.shown(whom, since), since, None);
        loop {
            if let Ok(permit) = timeout(SHOWN_FOR, permit.as_mut()).await {
                drop(wait);
                return permit.unwrap_or_else(|_| unreachable!("nobody closes it"));
            }
            // Whoever has them by now.
            wait = waits.work(self.shown(whom, Instant::now()), since, None);
        }
    }

    /// The wait for a place, for people.
    fn shown(&self, whom: &str, now: Instant) -> String {
        let taken = locked(&self.taken);
        let mut named: Vec<String> = taken
            .values()
            .take(NAMED_MAX)
            .map(|(who, since)| format!("{who} for {} s", now.saturating_duration_since(*since).as_secs()))
            .collect();
        if taken.len() > NAMED_MAX {
            named.push(format!("{} more", taken.len() - NAMED_MAX));
        }
        let taken = if self.places == 1 {
            "the only one is taken".to_owned()
        } else {
            format!("all {} are taken", self.places)
        };
        format!("{} for {whom}: {taken} ({})", self.what, named.join(", "))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.taken).remove(&self.number);
    }
}

fn locked(taken: &Taken) -> MutexGuard<'_, BTreeMap<u64, (Cow<'static, str>, Instant)>> {
    // A panic elsewhere leaves each entry valid by itself.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test]
    async fn whoever_waits_for_a_place_is_shown_with_those_who_have_them() {
        let (turns, waits) = (Turns::new("a connection to db", 2), Waits::default());
        let shown = || {
            let later = Instant::now() + Duration::from_secs(7);
            waits.shown(later).into_iter().map(|wait| wait.what).collect::<Vec<_>>()
        };
        let first = turns.take("s.a", &waits).await;
        let second = turns.take("s.b", &waits).await;
        assert!(shown().is_empty(), "there were places");
        let third = async {
            let turn = turns.take("s.c", &waits).await;
            assert!(shown().is_empty(), "it waits no more");
            turn
        };
        let others = async {
            sleep(Duration::from_millis(1)).await;
            assert_eq!(shown(), ["a connection to db for s.c: all 2 are taken (s.a for 0 s, s.b for 0 s)"]);
            assert!(waits.outage(Instant::now() + Duration::from_secs(60)).is_none(), "others are at work");
            drop(first);
        };
        let (third, ()) = tokio::join!(third, others);
        drop(second);
        drop(turns.take("s.d", &waits).await);
        assert!(shown().is_empty());
        drop(third);
        assert!(locked(&turns.taken).is_empty());
    }
}
