//! Waiting for an answer of the server without an end, and without waiting for ever: a merge may take as long as it takes, but
//! an answer that was lost on the way never comes. A session cannot tell the two apart; a second one can, for the server
//! says what the first is doing.
//!
//! Invariant: a session is given up only if the server says, twice, that it waits for its client, or that it is gone. It is
//! ended there, too, so that its locks go with it. Whoever waited gets the error of a connection that broke: an answer to
//! COMMIT that was lost is in doubt, as ever. A server that says nothing to anybody is waited for: its answer comes once
//! it goes on, or is found to be lost then.
//!
//! A proxy whose backend has changed leads each new session to another server, which knows nothing of this one. That is an
//! outage from the first such look on, and the session is given up after [`ELSEWHERE`] without a look at its own server.

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
/// How long the address may lead to another server than the session's before the session is given up: a failover behind a
/// proxy is over by then, and a balancer that gives each connection another server has shown this one again.
const ELSEWHERE: Duration = Duration::from_secs(180);
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
    /// The address leads to another server, which does not know it.
    Elsewhere,
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
    /// The last look says that something was lost.
    suspected: bool,
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
    /// It is given up. `end`: it is still there, and to be ended at its server.
    Lost { end: bool },
}

impl Suspicion {
    fn judge(&mut self, seen: Seen, now: Instant) -> Verdict {
        if seen == Seen::Elsewhere {
            let since = *self.elsewhere.get_or_insert(now);
            (self.awaited, self.suspected) = (None, false);
            return match now.saturating_duration_since(since) >= ELSEWHERE {
                true => Verdict::Lost { end: false },
                false => Verdict::Elsewhere,
            };
        }
        self.elsewhere = None;
        let lost = self.means_loss(seen, now);
        match (std::mem::replace(&mut self.suspected, lost), lost) {
            (_, false) => Verdict::Wait,
            (false, true) => Verdict::Suspected,
            (true, true) => Verdict::Lost { end: seen != Seen::Gone },
        }
    }

    /// True if what is seen means that something was lost on the way.
    fn means_loss(&mut self, seen: Seen, now: Instant) -> bool {
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

    /// A look has led to nothing.
    const fn unseen(&mut self) {
        self.suspected = false;
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
            _ if !same_server => Self::Elsewhere,
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
        let mut wait = self.dial.waits().work(what.clone(), since, None);
        let (mut suspicion, mut shown, mut pause) = (Suspicion::default(), None, PAUSE);
        loop {
            if let Ok(answer) = timeout(pause, answer.as_mut()).await {
                return answer;
            }
            let verdict = tokio::select! {
                biased;
                answer = answer.as_mut() => return answer,
                verdict = self.look(&mut suspicion) => verdict,
            };
            if matches!(verdict, Some(Verdict::Lost { .. })) {
                self.give_up(&suspicion);
                return answer.await;
            }
            if shown != suspicion.elsewhere {
                shown = suspicion.elsewhere;
                let (also, limit) = shown.map_or(("", None), |changed| {
                    let limit = changed.saturating_duration_since(since) + ELSEWHERE;
                    ("; the address leads to another server by now", Some(limit))
                });
                wait = self.dial.waits().work(format!("{what}{also}"), since, limit);
            }
            wait.silent(verdict.is_none() || shown.is_some());
            pause = if verdict == Some(Verdict::Suspected) { ON_ITS_WAY } else { PAUSE };
        }
    }

    /// Ends the connection: whoever waits over it is told that it broke.
    fn give_up(&self, suspicion: &Suspicion) {
        let why = match suspicion.elsewhere {
            Some(_) => "the address leads to another server, and no answer comes from the one before",
            None => "an answer was lost on the way",
        };
        let (address, pid) = (self.dial.address(), self.session.pid);
        tracing::warn!(pid, "the session at the destination {address} is closed and opened anew: {why}");
        self.dial.doubt_older();
        self.connection.abort();
    }

    /// What comes of what the server says to another session; `None` if it says nothing. A session that has lost something is
    /// ended.
    async fn look(&self, suspicion: &mut Suspicion) -> Option<Verdict> {
        let question = async {
            let (client, connection) = self.dial.open().await?;
            let _connection = Closing(connection);
            let rows = client.simple_query(&self.session.question()).await;
            let row = rows?.into_iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            let seen = row.as_ref().map_or(Seen::AtWork, Seen::read);
            let verdict = suspicion.judge(seen, Instant::now());
            if verdict == (Verdict::Lost { end: true }) {
                // Where this is refused its own limits end it.
                let sql = format!("SELECT pg_catalog.pg_terminate_backend({})", self.session.pid);
                let _ = client.simple_query(&sql).await;
            }
            Ok::<_, tokio_postgres::Error>(verdict)
        };
        let answer = timeout(self.dial.connect_timeout(), question).await;
        if let Ok(Ok(verdict)) = answer {
            return Some(verdict);
        }
        suspicion.unseen();
        // It answers, if only to refuse: too many connections.
        matches!(answer, Ok(Err(error)) if error.code().is_some()).then_some(Verdict::Wait)
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
            Seen::Elsewhere,
            "the look has led to another server"
        );
    }

    /// What the looks, each with its second, lead to.
    fn verdicts<const N: usize>(began: Instant, looks: [(Seen, u64); N]) -> [Verdict; N] {
        let mut suspicion = Suspicion::default();
        looks.map(|(seen, second)| suspicion.judge(seen, began + Duration::from_secs(second)))
    }

    #[test]
    fn a_session_is_given_up_after_two_looks_and_ended_where_it_is() {
        let (began, copied) = (Instant::now(), |bytes| Seen::AwaitsRows { copied: Some(bytes) });
        let (wait, suspected) = (Verdict::Wait, Verdict::Suspected);
        let seen = verdicts(began, [(Seen::Idle, 0), (Seen::AtWork, 3), (Seen::Gone, 6), (Seen::Gone, 9)]);
        assert_eq!(seen, [suspected, wait, suspected, Verdict::Lost { end: false }]);
        let slow = verdicts(began, [(copied(5), 0), (copied(9), 3), (copied(9), 6), (copied(9), 9)]);
        assert_eq!(slow, [wait, wait, suspected, Verdict::Lost { end: true }], "some had come");
        let untold = Seen::AwaitsRows { copied: None };
        let slow = verdicts(began, [(untold, 12), (untold, 71), (untold, 72), (untold, 77)]);
        assert_eq!(slow, [wait, wait, suspected, Verdict::Lost { end: true }]);
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.judge(Seen::Idle, began), suspected);
        suspicion.unseen();
        assert_eq!(suspicion.judge(Seen::Idle, began), suspected, "nothing was seen between");
    }

    #[test]
    fn a_session_whose_address_leads_elsewhere_is_given_up_after_minutes_and_never_ended_there() {
        let (began, away, elsewhere) = (Instant::now(), Seen::Elsewhere, Verdict::Elsewhere);
        assert_eq!(
            verdicts(began, [(away, 3), (away, 100), (away, 182), (away, 183)]),
            [elsewhere, elsewhere, elsewhere, Verdict::Lost { end: false }]
        );
        // A balancer that leads to each of its servers in turn.
        assert_eq!(
            verdicts(began, [(away, 3), (Seen::AtWork, 180), (away, 183), (away, 300)]),
            [elsewhere, Verdict::Wait, elsewhere, elsewhere]
        );
        assert_eq!(
            verdicts(began, [(Seen::Idle, 0), (away, 3), (Seen::Idle, 6)]),
            [Verdict::Suspected, elsewhere, Verdict::Suspected]
        );
    }

    #[test]
    fn a_statement_is_shown_by_its_beginning() {
        assert_eq!(shortened("COMMIT"), "COMMIT");
        assert_eq!(shortened("SELECT\n   1"), "SELECT 1");
        let long = shortened(&"é".repeat(200));
        assert_eq!(long.chars().count(), SHOWN_CHARS + 1);
    }
}
