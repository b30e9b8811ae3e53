//! Whether sessions are apply's own, or a pooler gives each transaction (or each statement) another of the server's: locks,
//! settings, prepared statements and the position of a COPY would belong to whoever comes next.
//!
//! Invariant: a session that is its client's alone has one number at the server from its first statement to its last, and
//! nobody else has it meanwhile. That is asked for, whatever the pooler calls itself.

use super::{Connection, Connector, DestinationError};
use std::time::Duration;

/// How long an answer may take that no lock and no table stands in the way of. A pool of one session that another client of
/// it holds gives none.
const ANSWER: Duration = Duration::from_secs(10);
/// Sessions that are begun beside the first.
const BESIDE: usize = 3;

/// The numbers that sessions had at the server.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The first session, asked several times.
    first: Vec<i32>,
    /// Others, each in a transaction that was open while the first was asked again.
    beside: Vec<i32>,
}

impl Seen {
    /// Why the sessions are not apply's own; `None` if they may be.
    fn verdict(&self) -> Option<String> {
        let number = self.first.first()?;
        if let Some(other) = self.first.iter().find(|other| *other != number) {
            return Some(format!("one connection was session {number} of the server and then {other}"));
        }
        let shared = self.beside.contains(number);
        shared.then(|| format!("two connections were session {number} of the server"))
    }
}

/// What shows that a pooler shares sessions between transactions or statements; `None` if nothing does. Errors of other
/// kinds are for those who need the sessions.
pub async fn sharing(connector: &Connector, connection: &Connection) -> Option<String> {
    let mut seen = Seen::default();
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    seen.first.push(match number(connection).await {
        Ok(number) => number,
        Err(error) => return told(&error),
    });
    for _ in 0..BESIDE {
        let beside = match connector.connect().await {
            Ok(beside) => beside,
            Err(error) => return told(&error),
        };
        let begun = beside.batch_execute("BEGIN").await;
        if let Err(error) = begun.map_err(DestinationError::during("beginning a transaction")) {
            if let Some(found) = told(&error) {
                return Some(found);
            }
            // What a pooler says before it closes a connection may be lost with it.
            refused.push(error.to_string());
            continue;
        }
        for (session, numbers) in [(&beside, &mut seen.beside), (connection, &mut seen.first)] {
            match tokio::time::timeout(ANSWER, number(session)).await {
                Ok(Ok(number)) => numbers.push(number),
                Ok(Err(error)) => return told(&error),
                Err(_) => {
                    let waited = ANSWER.as_secs();
                    return Some(format!(
                        "a connection had no answer for {waited} s while another was in a transaction"
                    ));
                }
            }
        }
        held.push(beside);
        if let Some(found) = seen.verdict() {
            return Some(found);
        }
    }
    // The server is there, and every connection broke at its BEGIN.
    let answers = refused.len() == BESIDE && number(connection).await.is_ok();
    refused.pop().filter(|_| answers)
}

/// By the simple protocol, which any pooler passes on.
async fn number(connection: &Connection) -> Result<i32, DestinationError> {
    let failed = || DestinationError::during("asking for the number of a session");
    let sql = "SELECT pg_catalog.pg_backend_pid()";
    for message in connection.simple_query(sql).await.map_err(failed())? {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).and_then(|text| text.parse().ok()).unwrap_or_default());
        }
    }
    Ok(0)
}

/// An error that only a pooler gives is what was looked for.
fn told(error: &DestinationError) -> Option<String> {
    is_of_pooler(error).then(|| error.to_string())
}

/// True for what a session of one's own never says: a prepared statement that is gone or another's, or a transaction that may
/// not be begun.
#[must_use]
pub fn is_of_pooler(error: &DestinationError) -> bool {
    const CODES: [&str; 3] = ["26000", "42P05", "08P01"];
    match error {
        DestinationError::Connect { reason, .. } => {
            CODES.iter().any(|code| reason.contains(&format!("({code})")))
        }
        error => error.code().is_some_and(|code| CODES.contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_ones_own_has_one_number_that_nobody_else_has() {
        let verdict = |first: &[i32], beside: &[i32]| {
            Seen { first: first.to_vec(), beside: beside.to_vec() }.verdict().is_some()
        };
        assert!(!verdict(&[1, 1], &[2]) && !verdict(&[1, 1, 1], &[2, 3]));
        assert!(verdict(&[1], &[1]) && verdict(&[1, 2], &[1]) && verdict(&[1, 4], &[2]));
        assert!(verdict(&[1, 1, 1], &[2, 1]));
    }

    #[test]
    fn what_only_a_pooler_says_is_told_from_a_server_that_is_away() {
        let refused = |reason: &str| {
            is_of_pooler(&DestinationError::Connect {
                address: String::new(),
                reason: reason.to_owned(),
                transient: true,
            })
        };
        assert!(refused("prepared statement \"s0\" does not exist (26000)"));
        assert!(!refused("connection refused (26000 ms)") && !refused("too many clients (53300)"));
    }
}
