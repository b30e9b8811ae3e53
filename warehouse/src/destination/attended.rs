//! Looking at a session of the destination from a second one, while its answer does not come. One that has lost its answer is
//! ended at its server, too, so that its locks go with it. Whoever waited gets the error of a connection that broke: an
//! answer to COMMIT that was lost is in doubt, as ever.

use super::dial::Dial;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};
use tributary_service::attended::{Lost, Seen, attend};

/// How long one that tells may wait for a piece of them: it counts a piece once it has all of it.
const PIECE: Duration = Duration::from_secs(10);
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

/// What the server says of a session that is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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

/// Rows of a COPY that a session waits for. Pure.
#[derive(Debug, Default)]
struct Awaited {
    /// How much it had, and since when.
    last: Option<(Option<u64>, Instant)>,
}

impl Awaited {
    /// True if none have come for so long that some were lost on the way.
    fn are_lost(&mut self, state: State, now: Instant) -> bool {
        let State::AwaitsRows { copied } = state else {
            self.last = None;
            return false;
        };
        match self.last {
            Some((before, since)) if before == copied => {
                let most = if copied.is_some() { PIECE } else { ROWS };
                now.saturating_duration_since(since) >= most
            }
            _ => {
                self.last = Some((copied, now));
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

    /// Ends it, if it is this server's.
    fn end(&self) -> String {
        format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {} \
             AND backend_start = '{}'::timestamptz AND pg_catalog.pg_postmaster_start_time() = '{}'::timestamptz",
            self.pid, self.began, self.server_began
        )
    }
}

impl State {
    fn of(same_session: bool, state: Option<&str>, wait_event: Option<&str>, copied: Option<u64>) -> Self {
        match state {
            _ if !same_session => Self::Gone,
            Some(state) if state.starts_with("idle") => Self::Idle,
            Some("active") if wait_event == Some("ClientRead") => Self::AwaitsRows { copied },
            _ => Self::AtWork,
        }
    }

    /// `None` if the look has led to another server.
    fn read(row: &SimpleQueryRow) -> Option<Self> {
        // Not every kernel has every column.
        let text = |name: &str| {
            let place = row.columns().iter().position(|column| column.name() == name)?;
            row.get(place)
        };
        let is = |name: &str| text(name) == Some("t");
        let copied = text("copied").and_then(|bytes| bytes.parse().ok());
        is("same_server").then(|| Self::of(is("same_session"), text("state"), text("wait_event"), copied))
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

    /// Tells a log that wants to know of every statement what the session is about to be asked. No value of a row stands in
    /// one.
    pub(super) fn tell(&self, statement: &str) {
        tracing::trace!(pid = self.session.pid, "{statement}");
    }

    /// Waits for `answer` to a statement, and shows that once it takes long. One that was lost ends with the error of a
    /// connection that broke.
    pub(super) async fn attend<T>(&self, statement: &str, answer: impl Future<Output = T>) -> T {
        self.tell(statement);
        let what = || format!("the destination {}: {}", self.dial.address(), shortened(statement));
        let (mut answer, awaited) = (pin!(answer), Mutex::default());
        match attend(answer.as_mut(), self.dial.waits(), what, || self.look(&awaited)).await {
            Ok(answer) => answer,
            Err(lost) => {
                self.give_up(lost).await;
                answer.await
            }
        }
    }

    /// Ends the connection: whoever waits over it is told that it broke. Its own server ends the session, if it still has it.
    async fn give_up(&self, lost: Lost) {
        let (address, pid) = (self.dial.address(), self.session.pid);
        tracing::warn!(pid, "the session at the destination {address} is closed and opened anew: {lost}");
        if lost == Lost::Answer {
            // Where this is refused, or led elsewhere, its own limits end it.
            let _ = timeout(self.dial.connect_timeout(), self.ask(&self.session.end())).await;
        }
        self.dial.doubt_older();
        self.connection.abort();
    }

    /// What comes of what the server says to another session; `None` if it says nothing.
    async fn look(&self, awaited: &Mutex<Awaited>) -> Option<Seen> {
        let answer = timeout(self.dial.connect_timeout(), self.ask(&self.session.question())).await;
        let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(Ok(Some(row))) => Some(match State::read(&row) {
                None => Seen::Elsewhere,
                Some(State::Idle | State::Gone) => Seen::Over,
                Some(state) if awaited.are_lost(state, Instant::now()) => Seen::Over,
                Some(_) => Seen::AtWork,
            }),
            Ok(Ok(None)) => Some(Seen::Untold),
            // It answers, if only to refuse: too many connections.
            Ok(Err(error)) if error.code().is_some() => Some(Seen::Untold),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The first row of what a session of its own is told.
    async fn ask(&self, sql: &str) -> Result<Option<SimpleQueryRow>, Error> {
        let (client, connection) = self.dial.open().await?;
        let _connection = Closing(connection);
        let answer = client.simple_query(sql).await?;
        Ok(answer.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        }))
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
        let seen = |state, event| State::of(true, Some(state), event, None);
        assert_eq!(seen("idle", Some("ClientRead")), State::Idle);
        assert_eq!(seen("idle in transaction (aborted)", None), State::Idle);
        assert_eq!(seen("active", Some("ClientRead")), State::AwaitsRows { copied: None });
        assert_eq!(seen("active", Some("relation")), State::AtWork, "it waits for a lock");
        assert_eq!(seen("active", None), State::AtWork);
        assert_eq!(seen("disabled", None), State::AtWork, "the server does not track what sessions do");
        assert_eq!(State::of(false, None, None, None), State::Gone);
        assert_eq!(State::of(false, Some("idle"), None, None), State::Gone, "the number was given again");
    }

    #[test]
    fn rows_are_lost_if_none_come_any_more() {
        let lost = |looks: &[(Option<u64>, u64)]| {
            let (mut awaited, began) = (Awaited::default(), Instant::now());
            let judged = looks.iter().map(|(copied, second)| {
                let state = State::AwaitsRows { copied: *copied };
                awaited.are_lost(state, began + Duration::from_secs(*second))
            });
            judged.collect::<Vec<_>>()
        };
        assert_eq!(
            lost(&[(Some(5), 0), (Some(9), 3), (Some(9), 12), (Some(9), 13)]),
            [false, false, false, true]
        );
        assert_eq!(
            lost(&[(None, 12), (None, 71), (None, 72), (None, 77)]),
            [false, false, true, true],
            "untold"
        );
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        assert!(!awaited.are_lost(State::AwaitsRows { copied: Some(5) }, now));
        assert!(
            !awaited.are_lost(State::AtWork, now)
                && !awaited.are_lost(State::AwaitsRows { copied: Some(5) }, now)
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
