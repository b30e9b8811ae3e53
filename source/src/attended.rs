//! Waiting for an answer of the server without an end, and without waiting for ever: a statement may take as long as it takes,
//! but an answer that was lost on the way never comes. A session cannot tell the two apart; a second one can, for the
//! server says what the first is doing.
//!
//! Invariant: a session is given up only if the server says, twice, that it waits for the next statement or is gone. A server that says
//! nothing to anybody is waited for: its answer comes once it goes on, or is found to be lost then.

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
    /// It waits for its next statement, or has ended.
    Over,
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
            _ => Seen::AtWork,
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
        let wait = self.options.waits().work(format!("the source {address}: {during}"), since, None);
        let mut over = false;
        loop {
            let pause = if over { ON_ITS_WAY } else { PAUSE };
            if let Ok(answer) = timeout(pause, answer.as_mut()).await {
                return Ok(answer);
            }
            let looked = tokio::select! {
                biased;
                answer = answer.as_mut() => return Ok(answer),
                looked = self.look() => looked,
            };
            wait.silent(looked.is_none());
            if over && looked == Some(Seen::Over) {
                let reason = "the answer was lost on the way: the server does not work on it any more";
                let remedy = "the connection is opened again";
                return Err(SourceError::transient(during, address, reason, remedy));
            }
            over = looked == Some(Seen::Over);
        }
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
            // It answers, if only to refuse: too many connections.
            Ok(Err(error)) if error.code().is_some() => Some(Seen::AtWork),
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
        for working in
            ["3e11fa47-71ca Query", "3e11fa47-71ca Execute", "b0b0b0b0-71ca Sleep", "b0b0b0b0-71ca"]
        {
            assert_eq!(session.seen(working), Seen::AtWork, "{working}");
        }
    }
}
