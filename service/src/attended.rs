//! Waiting for an answer of a server without an end, and without waiting for ever: a statement may take as long as it takes,
//! but an answer that was lost on the way never comes. A session cannot tell the two apart; a second one can, for the
//! server says what the first is doing. That second one is the caller's: it is asked for a look now and then.
//!
//! Invariant: a session is given up only if two looks one after the other find that its server does not work for it any more. A
//! server that says nothing to anybody is waited for: its answer comes once it goes on, or is found to be lost then.
//!
//! A proxy whose backend has changed leads each new session to another server, which knows nothing of this one. That is an
//! outage from the first such look on, and the session is given up after 180 s without a look at its own server.

use crate::waits::Waits;
use std::fmt;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// When a session is looked at.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Most answers come sooner.
    prompt: Duration,
    /// How long there is no look, at first and between two of them.
    pause: Duration,
    /// A large answer that the server has handed to the network may still be on its way, over a slow line.
    on_its_way: Duration,
    /// How long the address may lead to another server than the session's before the session is given up: a failover behind
    /// a proxy is over by then, and a balancer that gives each connection another server has shown this one again.
    elsewhere: Duration,
}

const PACE: Pace = Pace {
    prompt: Duration::from_secs(2),
    pause: Duration::from_secs(3),
    on_its_way: Duration::from_secs(5),
    elsewhere: Duration::from_secs(180),
};

/// What a look finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The server works for the session.
    AtWork,
    /// A server answers, if only to refuse one session more, and does not tell.
    Untold,
    /// The session waits for its client, or is gone.
    Over,
    /// The address leads to another server, which does not know the session.
    Elsewhere,
}

/// Why an answer does not come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server does not work on it.
    Answer,
    /// The address has led to another server for too long.
    Server,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => {
                f.write_str("an answer was lost on the way: the server does not work on it any more")
            }
            Self::Server => write!(
                f,
                "the address has led to another server for {} s, and no answer has come from the one before; a balancer \
                 of several servers must keep each client at one of them (session affinity)",
                PACE.elsewhere.as_secs()
            ),
        }
    }
}

/// What the looks at a session lead to. Pure.
#[derive(Debug, Default)]
struct Suspicion {
    /// The last look says that the answer was lost.
    over: bool,
    /// Since when looks have led to another server.
    elsewhere: Option<Instant>,
}

/// What one look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is waited for.
    Wait,
    /// It may have lost its answer, which another look decides.
    Suspected,
    /// Another server answers: an outage, as nobody can tell what the session does.
    Elsewhere,
    /// Nobody answers.
    Silent,
    /// It is given up.
    Lost(Lost),
}

impl Suspicion {
    /// `seen`: `None` if nobody has answered. `most`: how long looks may lead to another server.
    fn judge(&mut self, seen: Option<Seen>, most: Duration, now: Instant) -> Verdict {
        let over = std::mem::replace(&mut self.over, seen == Some(Seen::Over));
        match seen {
            None => return Verdict::Silent,
            Some(Seen::Untold) => return Verdict::Wait,
            Some(Seen::Elsewhere) => {
                let since = *self.elsewhere.get_or_insert(now);
                let long = now.saturating_duration_since(since) >= most;
                return if long { Verdict::Lost(Lost::Server) } else { Verdict::Elsewhere };
            }
            Some(Seen::AtWork | Seen::Over) => self.elsewhere = None,
        }
        match (over, self.over) {
            (_, false) => Verdict::Wait,
            (false, true) => Verdict::Suspected,
            (true, true) => Verdict::Lost(Lost::Answer),
        }
    }
}

/// Waits for `answer`, and shows that as `what` among `waits` once it takes long. `look` asks over a second session what the
/// server does for this one; `None` if it says nothing.
///
/// # Errors
/// The answer was lost: the session must go. `answer` may still be waited for, if only to see how it ends.
pub async fn attend<T, F: Future<Output = Option<Seen>>>(
    answer: Pin<&mut impl Future<Output = T>>,
    waits: &Waits,
    what: impl FnOnce() -> String,
    look: impl FnMut() -> F,
) -> Result<T, Lost> {
    attend_at(PACE, answer, waits, what, look).await
}

async fn attend_at<T, F: Future<Output = Option<Seen>>>(
    pace: Pace,
    mut answer: Pin<&mut impl Future<Output = T>>,
    waits: &Waits,
    what: impl FnOnce() -> String,
    mut look: impl FnMut() -> F,
) -> Result<T, Lost> {
    let since = Instant::now();
    if let Ok(answer) = timeout(pace.prompt, answer.as_mut()).await {
        return Ok(answer);
    }
    let what = what();
    let mut wait = waits.work(what.clone(), since, None);
    let (mut suspicion, mut shown, mut pause) = (Suspicion::default(), None, pace.pause);
    loop {
        if let Ok(answer) = timeout(pause, answer.as_mut()).await {
            return Ok(answer);
        }
        let seen = {
            let look = pin!(look());
            tokio::select! {
                biased;
                answer = answer.as_mut() => return Ok(answer),
                seen = look => seen,
            }
        };
        let verdict = suspicion.judge(seen, pace.elsewhere, Instant::now());
        if let Verdict::Lost(lost) = verdict {
            return Err(lost);
        }
        if shown != suspicion.elsewhere {
            shown = suspicion.elsewhere;
            let (also, limit) = shown.map_or(("", None), |changed| {
                let limit = changed.saturating_duration_since(since) + pace.elsewhere;
                ("; the address leads to another server by now", Some(limit))
            });
            wait = waits.work(format!("{what}{also}"), since, limit);
        }
        wait.silent(verdict == Verdict::Silent || shown.is_some());
        pause = if verdict == Verdict::Suspected { pace.on_its_way } else { pace.pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::{pending, ready};
    use tokio::time::sleep;

    fn verdicts<const N: usize>(looks: [(Option<Seen>, u64); N]) -> [Verdict; N] {
        let (mut suspicion, began) = (Suspicion::default(), Instant::now());
        looks.map(|(seen, second)| suspicion.judge(seen, PACE.elsewhere, began + Duration::from_secs(second)))
    }

    const OVER: Option<Seen> = Some(Seen::Over);
    const AWAY: Option<Seen> = Some(Seen::Elsewhere);
    const AT_WORK: Option<Seen> = Some(Seen::AtWork);

    #[test]
    fn a_session_is_given_up_after_two_looks_one_after_the_other() {
        let suspected = Verdict::Suspected;
        assert_eq!(
            verdicts([(OVER, 0), (AT_WORK, 3), (OVER, 6), (OVER, 11)]),
            [suspected, Verdict::Wait, suspected, Verdict::Lost(Lost::Answer)]
        );
        assert_eq!(verdicts([(OVER, 0), (None, 3), (OVER, 6)]), [suspected, Verdict::Silent, suspected]);
    }

    #[test]
    fn one_whose_address_leads_elsewhere_is_given_up_after_minutes() {
        let (elsewhere, lost) = (Verdict::Elsewhere, Verdict::Lost(Lost::Server));
        assert_eq!(
            verdicts([(AWAY, 3), (AWAY, 182), (OVER, 183), (AWAY, 186), (None, 200), (AWAY, 366)]),
            [elsewhere, elsewhere, Verdict::Suspected, elsewhere, Verdict::Silent, lost]
        );
        assert_eq!(
            verdicts([(AWAY, 3), (Some(Seen::Untold), 100), (AWAY, 183)]),
            [elsewhere, Verdict::Wait, lost],
            "the other server had no place left in between"
        );
        // A balancer that leads to each of its servers in turn.
        assert_eq!(
            verdicts([(AWAY, 3), (AT_WORK, 180), (AWAY, 183), (AWAY, 300)]),
            [elsewhere, Verdict::Wait, elsewhere, elsewhere]
        );
    }

    /// A thousand times as fast.
    const FAST: Pace = Pace {
        prompt: Duration::from_millis(2),
        pause: Duration::from_millis(3),
        on_its_way: Duration::from_millis(5),
        elsewhere: Duration::from_millis(180),
    };

    #[tokio::test]
    async fn an_answer_is_waited_for_as_long_as_its_server_works() {
        let (waits, looks) = (Waits::default(), Cell::new(0));
        let look = || {
            looks.set(looks.get() + 1);
            ready(AT_WORK)
        };
        let answer = pin!(async {
            while looks.get() < 100 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(attend_at(FAST, answer, &waits, || "a merge".to_owned(), look).await, Ok(()));
        assert_eq!(attend(pin!(ready(7)), &waits, String::new, || ready(OVER)).await, Ok(7));
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_ends_the_wait() {
        let (waits, began) = (Waits::default(), Instant::now());
        let never = || pending::<()>();
        let away = || ready(AWAY);
        let lost = attend_at(FAST, pin!(never()), &waits, String::new, away).await;
        assert_eq!(lost, Err(Lost::Server));
        assert!(began.elapsed() >= FAST.elsewhere);
        let lost = attend_at(FAST, pin!(never()), &waits, String::new, || ready(OVER)).await;
        assert_eq!(lost, Err(Lost::Answer));
    }

    #[tokio::test]
    async fn what_is_waited_for_is_shown_with_its_limit() {
        let (waits, seen) = (Waits::default(), Cell::new(AT_WORK));
        let lines = || {
            let later = Instant::now() + Duration::from_secs(9);
            (waits.shown(later), waits.outage(later))
        };
        let answer = pin!(async {
            while lines().0.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            let (shown, outage) = lines();
            assert_eq!((shown[0].what.as_str(), shown[0].limit_seconds, outage), ("a merge", None, None));
            seen.set(AWAY);
            while lines().1.is_none() {
                sleep(Duration::from_millis(1)).await;
            }
            let (shown, _) = lines();
            assert!(
                shown[0].what.ends_with("leads to another server by now") && shown[0].limit_seconds.is_some()
            );
        });
        let look = || ready(seen.get());
        assert_eq!(attend_at(FAST, answer, &waits, || "a merge".to_owned(), look).await, Ok(()));
    }
}
