//! Looking at a session of the source from a second one, while its answer does not come.

use crate::error::SourceError;
use crate::options::SourceOptions;
use crate::replication::Replication;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tributary_service::attended::{Lost, Seen, attend};
use tributary_service::waits::Wait;

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
        let what = || format!("the source {}: {during}", self.options.address());
        let lost = |lost: Lost| {
            let remedy = "the connection is opened again";
            SourceError::transient(during, self.options.address(), lost.to_string(), remedy)
        };
        attend(pin!(answer), self.options.waits(), what, || self.look()).await.map_err(lost)
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
                    Ok(answer.map_or(Seen::Untold, |answer| session.seen(&answer)))
                }
                None => Ok::<_, SourceError>(Seen::Untold),
            }
        };
        match timeout(2 * self.options.connect_timeout(), question).await {
            Ok(Ok(seen)) => Some(seen),
            // It answers, if only to refuse one session more. What else is said may be a proxy's word.
            Ok(Err(error)) if matches!(error.code(), Some(1040 | 1203 | 1226)) => Some(Seen::Untold),
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
}
