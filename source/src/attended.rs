//! Waiting for an answer of the server without an end, and without waiting for ever: a statement may take as long as it takes,
//! but an answer that was lost on the way never comes. A session cannot tell the two apart; a second one can, for the
//! server says what the first is doing.
//!
//! Invariant: a session is given up only if the server says, twice, that it waits for the next statement or is gone. A server that says
//! nothing to anybody is waited for: its answer comes once it goes on, or is found to be lost then.
//!
//! A proxy whose backend has changed leads each new session to another server, which knows nothing of this one. That is an
//! outage from the first such look on, and the session is given up after [`ELSEWHERE`] without a look at its own server.

use crate::connect::SourceOptions;
use crate::error::SourceError;
use crate::replication::Replication;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tributary_service::waits::Wait;

/// Most answers come sooner.
const PROMPT: Duration = Duration::from_secs(2);
/// How long there is no look, at first and between two of them.
const PAUSE: Duration = Duration::from_secs(3);
/// A large answer that the server has handed to the network may still be on its way, over a slow line.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How long the address may lead to another server than the session's before the session is given up: a failover behind a
/// proxy is over by then, and a balancer that gives each connection another server has shown this one again.
const ELSEWHERE: Duration = Duration::from_secs(180);

/// Attends to one session.
#[derive(Debug, Clone)]
pub struct Attendant {
    options: SourceOptions,
    session: Option<Session>,
}

/// A session as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    /// What stands between may have another number for it.
    id: String,
    server_uuid: String,
}

/// What the server says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It works, or cannot be seen.
    AtWork,
    /// The address leads to another server, which does not know it.
    Elsewhere,
    /// It waits for its next statement, or has ended.
    Over,
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
    /// It is given up.
    Lost,
}

impl Suspicion {
    fn judge(&mut self, seen: Seen, now: Instant) -> Verdict {
        let over = std::mem::replace(&mut self.over, seen == Seen::Over);
        if seen != Seen::Elsewhere {
            self.elsewhere = None;
        }
        match seen {
            Seen::AtWork => Verdict::Wait,
            Seen::Over if over => Verdict::Lost,
            Seen::Over => Verdict::Suspected,
            Seen::Elsewhere => {
                let since = *self.elsewhere.get_or_insert(now);
                let long = now.saturating_duration_since(since) >= ELSEWHERE;
                if long { Verdict::Lost } else { Verdict::Elsewhere }
            }
        }
    }

    /// A look has led to nothing.
    const fn unseen(&mut self) {
        self.over = false;
    }
}

/// Asks a session for itself: what [`Session::parse`] reads. Nothing where it does not find itself in the process list, as
/// through some proxies: then it can never be looked at.
pub(crate) const IDENTITY: &str = "SELECT CONCAT_WS(' ', ID, @@server_uuid) FROM information_schema.PROCESSLIST \
                                   WHERE ID = CONNECTION_ID()";

impl Session {
    fn parse(identity: &str) -> Option<Self> {
        let (id, server_uuid) = identity.split_once(' ')?;
        Some(Self { id: id.to_owned(), server_uuid: server_uuid.to_owned() })
    }

    fn question(&self) -> String {
        format!(
            "SELECT CONCAT_WS(' ', @@server_uuid, (SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = {}))",
            self.id
        )
    }

    /// What the answer says. An address may lead to another server each time.
    fn seen(&self, answer: &str) -> Seen {
        match answer.strip_prefix(&self.server_uuid) {
            Some("" | " Sleep") => Seen::Over,
            Some(_) => Seen::AtWork,
            None => Seen::Elsewhere,
        }
    }
}

impl Attendant {
    pub(crate) const fn new(options: SourceOptions) -> Self {
        Self { options, session: None }
    }

    /// What the session has said of itself by [`IDENTITY`].
    pub(crate) fn knows(&mut self, identity: Option<&str>) {
        self.session = identity.and_then(Session::parse);
    }

    /// Shows a wait over this session that its owner limits.
    pub fn show(&self, during: &str, limit: Duration) -> Wait {
        let what = format!("the source {}: {during}", self.options.address());
        self.options.waits().work(what, Instant::now(), limit)
    }

    /// Waits for `answer`, and shows that once it takes long.
    ///
    /// # Errors
    /// Transient, if the answer was lost: the session must go.
    pub async fn attend<T>(&self, during: &str, answer: impl Future<Output = T>) -> Result<T, SourceError> {
        let since = Instant::now();
        let mut answer = pin!(answer);
        if let Ok(answer) = timeout(PROMPT, answer.as_mut()).await {
            return Ok(answer);
        }
        let address = self.options.address();
        let what = format!("the source {address}: {during}");
        let mut wait = self.options.waits().work(what.clone(), since, None);
        let (mut suspicion, mut shown, mut pause) = (Suspicion::default(), None, PAUSE);
        loop {
            if let Ok(answer) = timeout(pause, answer.as_mut()).await {
                return Ok(answer);
            }
            let seen = tokio::select! {
                biased;
                answer = answer.as_mut() => return Ok(answer),
                seen = self.look() => seen,
            };
            let verdict = seen.map(|seen| suspicion.judge(seen, Instant::now()));
            match verdict {
                Some(Verdict::Lost) => return Err(self.lost(during, &suspicion)),
                Some(_) => {}
                None => suspicion.unseen(),
            }
            if shown != suspicion.elsewhere {
                shown = suspicion.elsewhere;
                let (also, limit) = shown.map_or(("", None), |changed| {
                    let limit = changed.saturating_duration_since(since) + ELSEWHERE;
                    ("; the address leads to another server by now", Some(limit))
                });
                wait = self.options.waits().work(format!("{what}{also}"), since, limit);
            }
            wait.silent(verdict.is_none() || shown.is_some());
            pause = if verdict == Some(Verdict::Suspected) { ON_ITS_WAY } else { PAUSE };
        }
    }

    fn lost(&self, during: &str, suspicion: &Suspicion) -> SourceError {
        let reason = match suspicion.elsewhere {
            Some(_) => "the address leads to another server, and no answer comes from the one before",
            None => "the answer was lost on the way: the server does not work on it any more",
        };
        SourceError::transient(during, self.options.address(), reason, "the connection is opened again")
    }

    /// What the server says to another session; `None` if it says nothing. That session is one of the replication client's:
    /// its connection is closed as soon as nobody waits for it any more.
    async fn look(&self) -> Option<Seen> {
        const DURING: &str = "looking what a session does";
        let question = async {
            let mut other = Replication::open(&self.options).await?;
            match &self.session {
                Some(session) => {
                    let answer = other.first(DURING, &session.question()).await?;
                    Ok(answer.map_or(Seen::AtWork, |answer| session.seen(&answer)))
                }
                None => Ok::<_, SourceError>(Seen::AtWork),
            }
        };
        match timeout(2 * self.options.connect_timeout(), question).await {
            Ok(Ok(seen)) => Some(seen),
            // It answers, if only to refuse one session more. What else is said may be a proxy's word.
            Ok(Err(error)) if matches!(error.code(), Some(1040 | 1203 | 1226)) => Some(Seen::AtWork),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_lost_only_if_its_own_server_does_not_work_on_it() {
        let session = Session::parse("17 3e11fa47-71ca").unwrap();
        assert!(session.question().contains("WHERE ID = 17"));
        assert_eq!(session.seen("3e11fa47-71ca Sleep"), Seen::Over);
        assert_eq!(session.seen("3e11fa47-71ca"), Seen::Over, "it has ended");
        for working in ["3e11fa47-71ca Query", "3e11fa47-71ca Execute"] {
            assert_eq!(session.seen(working), Seen::AtWork, "{working}");
        }
        for another in ["b0b0b0b0-71ca Sleep", "b0b0b0b0-71ca", "b0b0b0b0-71ca Query"] {
            assert_eq!(session.seen(another), Seen::Elsewhere, "{another}");
        }
    }

    #[test]
    fn a_session_is_given_up_after_two_looks_or_minutes_of_looks_at_another_server() {
        let began = Instant::now();
        let verdicts = |looks: &[(Seen, u64)]| {
            let mut suspicion = Suspicion::default();
            let judged = looks
                .iter()
                .map(|(seen, second)| suspicion.judge(*seen, began + Duration::from_secs(*second)));
            judged.collect::<Vec<_>>()
        };
        let (away, elsewhere) = (Seen::Elsewhere, Verdict::Elsewhere);
        assert_eq!(
            verdicts(&[(Seen::Over, 0), (Seen::AtWork, 3), (Seen::Over, 6), (Seen::Over, 11)]),
            [Verdict::Suspected, Verdict::Wait, Verdict::Suspected, Verdict::Lost]
        );
        assert_eq!(
            verdicts(&[(away, 3), (away, 182), (Seen::Over, 183), (away, 186), (away, 366)]),
            [elsewhere, elsewhere, Verdict::Suspected, elsewhere, Verdict::Lost]
        );
        // A balancer that leads to each of its servers in turn.
        assert_eq!(
            verdicts(&[(away, 3), (Seen::AtWork, 180), (away, 183), (away, 300)]),
            [elsewhere, Verdict::Wait, elsewhere, elsewhere]
        );
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.judge(Seen::Over, began), Verdict::Suspected);
        suspicion.unseen();
        assert_eq!(suspicion.judge(Seen::Over, began), Verdict::Suspected, "nothing was seen between");
    }
}
