//! Waiting for an answer of the server without an end, and without waiting for ever: a merge may take as long as it takes, but
//! an answer that was lost on the way never comes. A session cannot tell the two apart; a second one can, for the server
//! says what the first is doing.
//!
//! Invariant: a session is given up only if the server says, twice, that it waits for its client, or that it is gone. It is
//! ended there, too, so that its locks go with it. Whoever waited gets the error of a connection that broke: an answer to
//! COMMIT that was lost is in doubt, as ever. A server that says nothing to anybody is waited for: its answer comes once
//! it goes on, or is found to be lost then.

use super::dial::Dial;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// Most answers come sooner.
const PROMPT: Duration = Duration::from_secs(2);
/// How long there is no look, at first and between two of them.
const PAUSE: Duration = Duration::from_secs(3);
/// A large answer that the server has handed to the network may still be on its way, over a slow line.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How long a server that does not tell how much it has may wait for rows.
const ROWS: Duration = Duration::from_secs(60);
/// Characters of a statement that are shown.
const SHOWN_CHARS: usize = 80;

/// Attends to one session.
pub(super) struct Attendant {
    dial: Arc<Dial>,
    session: Session,
    /// Ends the connection.
    connection: AbortHandle,
}

/// A session as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    pid: i32,
    /// When it began, and when its server did: a number is given again, and a second session may lead to another server.
    began: String,
    server_began: String,
    /// The server tells how far a COPY is (PostgreSQL 14).
    tells_progress: bool,
}

/// What the server says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It works, or cannot be seen.
    AtWork,
    /// It waits for its client.
    Idle,
    /// It waits for rows of a COPY. So it does most of the time where they come over a slow line.
    AwaitsRows {
        /// How much of them it has, bytes, if the server tells.
        copied: Option<u64>,
    },
    /// It has ended.
    Gone,
}

/// What the looks at a session lead to. Pure.
#[derive(Debug, Default)]
struct Suspicion {
    /// What it had of a COPY, and since when.
    awaited: Option<(Option<u64>, Instant)>,
}

impl Suspicion {
    /// True if what is seen means that something was lost on the way.
    fn judge(&mut self, seen: Seen, now: Instant) -> bool {
        let Seen::AwaitsRows { copied } = seen else {
            self.awaited = None;
            return matches!(seen, Seen::Idle | Seen::Gone);
        };
        match self.awaited {
            Some((before, since)) if before == copied => {
                copied.is_some() || now.saturating_duration_since(since) >= ROWS
            }
            _ => {
                self.awaited = Some((copied, now));
                false
            }
        }
    }
}

impl Session {
    /// The look, and whether it has led to the same server and session.
    fn question(&self) -> String {
        let (copied, progress) = match self.tells_progress {
            true => (
                ", c.bytes_processed AS copied",
                " LEFT JOIN pg_catalog.pg_stat_progress_copy c ON c.pid = a.pid",
            ),
            false => ("", ""),
        };
        format!(
            "SET search_path = pg_catalog, pg_temp; SELECT a.*, a.backend_start = '{}'::timestamptz AS same_session, \
             s.same_server{copied} FROM (SELECT pg_catalog.pg_postmaster_start_time() = '{}'::timestamptz AS same_server) s \
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = {}{progress}",
            self.began, self.server_began, self.pid
        )
    }
}

impl Seen {
    fn of(
        (same_server, same_session): (bool, bool),
        state: Option<&str>,
        wait_event: Option<&str>,
        copied: Option<u64>,
    ) -> Self {
        match state {
            _ if !same_server => Self::AtWork,
            _ if !same_session => Self::Gone,
            Some(state) if state.starts_with("idle") => Self::Idle,
            Some("active") if wait_event == Some("ClientRead") => Self::AwaitsRows { copied },
            _ => Self::AtWork,
        }
    }

    fn read(row: &SimpleQueryRow) -> Self {
        // Not every kernel has every column.
        let text = |name: &str| {
            let place = row.columns().iter().position(|column| column.name() == name)?;
            row.get(place)
        };
        let is = |name: &str| text(name) == Some("t");
        let copied = text("copied").and_then(|bytes| bytes.parse().ok());
        Self::of((is("same_server"), is("same_session")), text("state"), text("wait_event"), copied)
    }
}

impl Attendant {
    /// For a new session that `client` speaks over and `connection` is.
    pub(super) async fn new(
        dial: Arc<Dial>,
        client: &Client,
        connection: AbortHandle,
    ) -> Result<Self, tokio_postgres::Error> {
        let sql = "SELECT pid, backend_start::text, pg_catalog.pg_postmaster_start_time()::text, \
                   EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'pg_stat_progress_copy' AND \
                   relnamespace = 'pg_catalog'::pg_catalog.regnamespace) \
                   FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";
        let row = client.query_one(sql, &[]).await?;
        let session = Session {
            pid: row.get(0),
            began: row.get(1),
            server_began: row.get(2),
            tells_progress: row.get(3),
        };
        Ok(Self { dial, session, connection })
    }

    /// Waits for `answer` to a statement, and shows that once it takes long. One that was lost ends with the error of a
    /// connection that broke.
    pub(super) async fn attend<T>(&self, statement: &str, answer: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let mut answer = pin!(answer);
        if let Ok(answer) = timeout(PROMPT, answer.as_mut()).await {
            return answer;
        }
        let what = format!("the destination {}: {}", self.dial.address(), shortened(statement));
        let wait = self.dial.waits().work(what, since, None);
        let (mut suspected, mut suspicion) = (false, Suspicion::default());
        loop {
            let pause = if suspected { ON_ITS_WAY } else { PAUSE };
            if let Ok(answer) = timeout(pause, answer.as_mut()).await {
                return answer;
            }
            let looked = tokio::select! {
                biased;
                answer = answer.as_mut() => return answer,
                looked = self.look(&mut suspicion, suspected) => looked,
            };
            wait.silent(looked.is_none());
            let lost = looked == Some(true);
            if suspected && lost {
                tracing::warn!(
                    pid = self.session.pid,
                    "an answer of the destination {} was lost on the way: its session is closed",
                    self.dial.address()
                );
                self.dial.doubt_older();
                self.connection.abort();
                return answer.await;
            }
            suspected = lost;
        }
    }

    /// Whether something was lost, by what the server says to another session; `None` if it says nothing. `end`: a session that
    /// has lost something is ended.
    async fn look(&self, suspicion: &mut Suspicion, end: bool) -> Option<bool> {
        let question = async {
            let (client, connection) = self.dial.open().await?;
            let _connection = Closing(connection);
            let rows = client.simple_query(&self.session.question()).await;
            let row = rows?.into_iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            let seen = row.as_ref().map_or(Seen::AtWork, Seen::read);
            let lost = suspicion.judge(seen, Instant::now());
            if end && lost && seen != Seen::Gone {
                // Where this is refused its own limits end it.
                let sql = format!("SELECT pg_catalog.pg_terminate_backend({})", self.session.pid);
                let _ = client.simple_query(&sql).await;
            }
            Ok::<_, tokio_postgres::Error>(lost)
        };
        match timeout(self.dial.connect_timeout(), question).await {
            Ok(Ok(lost)) => Some(lost),
            // It answers, if only to refuse: too many connections.
            Ok(Err(error)) if error.code().is_some() => Some(false),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// A connection that is closed when this is dropped, whether or not its server listens.
struct Closing(AbortHandle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The beginning of a statement, on one line.
fn shortened(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_that_waits_for_its_client_or_is_gone_has_lost_its_answer() {
        let seen = |state, event| Seen::of((true, true), Some(state), event, None);
        assert_eq!(seen("idle", Some("ClientRead")), Seen::Idle);
        assert_eq!(seen("idle in transaction (aborted)", None), Seen::Idle);
        assert_eq!(seen("active", Some("ClientRead")), Seen::AwaitsRows { copied: None });
        assert_eq!(seen("active", Some("relation")), Seen::AtWork, "it waits for a lock");
        assert_eq!(seen("active", None), Seen::AtWork);
        assert_eq!(seen("disabled", None), Seen::AtWork, "the server does not track what sessions do");
        assert_eq!(Seen::of((true, false), None, None, None), Seen::Gone);
        assert_eq!(
            Seen::of((true, false), Some("idle"), None, None),
            Seen::Gone,
            "the number was given again"
        );
        assert_eq!(
            Seen::of((false, false), None, None, None),
            Seen::AtWork,
            "the look has led to another server"
        );
    }

    #[test]
    fn rows_that_come_slowly_are_not_lost() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let copied = |bytes| Seen::AwaitsRows { copied: Some(bytes) };
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.judge(copied(5), at(0)));
        assert!(!suspicion.judge(copied(9), at(3)), "some have come");
        assert!(suspicion.judge(copied(9), at(6)));
        assert!(!suspicion.judge(Seen::AtWork, at(9)));
        assert!(suspicion.judge(Seen::Idle, at(10)) && suspicion.judge(Seen::Gone, at(11)));
        let untold = Seen::AwaitsRows { copied: None };
        assert!(!suspicion.judge(untold, at(12)) && !suspicion.judge(untold, at(71)));
        assert!(suspicion.judge(untold, at(72)));
    }

    #[test]
    fn a_statement_is_shown_by_its_beginning() {
        assert_eq!(shortened("COMMIT"), "COMMIT");
        assert_eq!(shortened("SELECT\n   1"), "SELECT 1");
        let long = shortened(&"é".repeat(200));
        assert_eq!(long.chars().count(), SHOWN_CHARS + 1);
    }
}
