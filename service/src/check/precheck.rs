//! The check at the start of `run`: what stands in the way ends the run, what may pass by itself is waited for.

use super::{CheckItem, Outcome};
use crate::exit::Failure;
use crate::retry::{Policy, RetryError, retry_while_transient};
use crate::shutdown::Shutdown;
use crate::status::Status;
use crate::transient::Transient;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Items that keep a run from beginning.
#[derive(Debug)]
struct Obstacles {
    items: Vec<CheckItem>,
    /// What else is not as it should be.
    others: Vec<CheckItem>,
    /// They may pass, and there is still time.
    passing: bool,
    /// How long the first of them has been waited for.
    waited: Duration,
}

/// The line of `/status` and of the log while they are waited for.
impl fmt::Display for Obstacles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |CheckItem { name, found, remedy, .. }: &CheckItem| format!("{name}: {found} ({remedy})");
        f.write_str(&self.items.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}

impl From<Obstacles> for Failure {
    fn from(obstacles: Obstacles) -> Self {
        let line =
            |CheckItem { name, found, remedy, .. }: &CheckItem| format!("{name}: {found}\n  to do: {remedy}");
        let mut lines: Vec<String> = obstacles.items.iter().map(line).collect();
        if !obstacles.waited.is_zero() {
            lines.push(format!("waited for {} s; retry_minutes says how long", obstacles.waited.as_secs()));
        }
        Self::new("the check before the run failed", lines.join("\n"))
    }
}

impl Transient for Obstacles {
    fn is_transient(&self) -> bool {
        self.passing
    }
}

/// Since when each item has failed for a reason that may pass.
#[derive(Debug, Default)]
struct FailingSince(BTreeMap<String, Instant>);

impl FailingSince {
    /// Takes the items that fail at `now`. True if each is still within its limit; and how long the first has failed.
    fn go_on(
        &mut self,
        items: &[CheckItem],
        limit: impl Fn(&CheckItem) -> Duration,
        now: Instant,
    ) -> (bool, Duration) {
        self.0.retain(|name, _| items.iter().any(|item| item.name == *name));
        for item in items {
            self.0.entry(item.name.clone()).or_insert(now);
        }
        let since = |item: &CheckItem| now.duration_since(self.0[&item.name]);
        (
            items.iter().all(|item| since(item) < limit(item)),
            items.iter().map(since).max().unwrap_or_default(),
        )
    }
}

/// Examines until nothing stands in the way. `examine` gives everything it found, and of that what does; an item that may
/// pass is waited for as long as `limit` says. Warnings go to the log. `None` if the end is asked for meanwhile.
///
/// # Errors
/// A [`Failure`] with every item that no run can begin with, and `remedy` for these.
pub async fn precheck<T: AsRef<[CheckItem]>>(
    (status, shutdown): (&Status, &Shutdown),
    what: &str,
    limit: impl Fn(&CheckItem) -> Duration,
    remedy: &str,
    examine: impl AsyncFn() -> (T, Vec<CheckItem>),
) -> Result<Option<T>, Failure> {
    let since = RefCell::new(FailingSince::default());
    let attempt = async || {
        let (found, mut items) = examine().await;
        let last = items.iter().any(|item| !item.passing);
        if last {
            // Then there is nothing to wait for.
            items.retain(|item| !item.passing);
        }
        if items.is_empty() {
            return Ok(found);
        }
        let (passing, waited) = since.borrow_mut().go_on(&items, &limit, Instant::now());
        let others =
            noteworthy(found.as_ref()).filter(|other| items.iter().all(|item| item.name != other.name));
        Err(Obstacles { others: others.cloned().collect(), items, passing: passing && !last, waited })
    };
    // The limit is that of what is waited for.
    let policy = Policy::for_limit(Duration::MAX);
    match retry_while_transient(policy, status, shutdown, what, attempt).await {
        Ok(found) => {
            noteworthy(found.as_ref()).for_each(show);
            Ok(Some(found))
        }
        Err(RetryError::Shutdown) => Ok(None),
        Err(RetryError::Definite(obstacles) | RetryError::Limit { error: obstacles, .. }) => {
            obstacles.others.iter().for_each(show);
            Err(Failure::from(obstacles).remedy(remedy))
        }
    }
}

fn noteworthy(items: &[CheckItem]) -> impl Iterator<Item = &CheckItem> {
    items.iter().filter(|item| item.outcome != Outcome::Pass)
}

fn show(item: &CheckItem) {
    tracing::warn!(item = %item.name, remedy = %item.remedy, "check: {}", item.found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;

    fn failed(name: &str) -> CheckItem {
        CheckItem::fail(name, "found", "do this")
    }

    #[test]
    fn each_item_is_waited_for_as_long_as_its_own_limit_says() {
        let (now, mut since) = (Instant::now(), FailingSince::default());
        let limit = |item: &CheckItem| Duration::from_secs(if item.name == "kafka" { 180 } else { 120 });
        let mut at = |names: &[&str], seconds: u64| {
            let items: Vec<CheckItem> = names.iter().map(|name| failed(name)).collect();
            since.go_on(&items, limit, now + Duration::from_secs(seconds)).0
        };
        assert!(at(&["kafka"], 0) && at(&["kafka"], 179) && !at(&["kafka"], 180));
        assert!(at(&["source"], 200), "another begins anew");
        assert!(at(&["source", "kafka"], 319) && !at(&["kafka", "source"], 320), "the shorter one is over");
        assert!(at(&["kafka"], 321), "and it is back");
    }

    async fn run(obstacles: Vec<CheckItem>, limit: Duration) -> Result<Option<Vec<CheckItem>>, Failure> {
        let status = Status::new("t", Service::Apply);
        let examine = async || (vec![], obstacles.clone());
        let (_handle, shutdown) = crate::shutdown::channel();
        precheck((&status, &shutdown), "checking", |_| limit, "mend it", examine).await
    }

    #[tokio::test]
    async fn what_lasts_ends_the_run_and_hides_what_may_pass() {
        let items = vec![failed("away").passing(true), failed("wrong")];
        let failure = run(items, Duration::MAX).await.unwrap_err();
        assert_eq!(
            (failure.why.as_str(), failure.remedy.as_str()),
            ("wrong: found\n  to do: do this", "mend it")
        );
        let failure = run(vec![failed("away").passing(true)], Duration::ZERO).await.unwrap_err();
        assert!(failure.why.starts_with("away: found"), "{failure}");
        assert_eq!(run(vec![], Duration::ZERO).await.unwrap(), Some(vec![]));
    }
}
