//! `/status` of a service: an address enters, what the demo shows of it leaves. A service that does not answer yet is
//! no error: it may still be starting.

use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// An answer is a few kilobytes; more than this is none.
const LIMIT_BYTES: u64 = 1 << 20;

/// The answer, as far as the demo needs it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of the whole service: `loading`, `synchronizing` …
    pub state: String,
    /// One entry a table.
    pub tables: Vec<TableStatus>,
}

/// One table of the answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TableStatus {
    /// `database.table`.
    pub name: String,
    /// As the service's, for this table alone.
    pub state: String,
    /// Rows read from the source.
    pub rows_read: Option<u64>,
    /// Rows to be read, as far as that is known.
    pub rows_total: Option<u64>,
    /// Rows merged into the warehouse.
    pub rows_applied: Option<u64>,
    /// How far it is behind the source.
    pub lag_seconds: Option<f64>,
    /// What stops it.
    pub error: Option<TableError>,
}

/// Why a table does not go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TableError {
    /// A word that leads to a section of the operations guide.
    pub code: String,
    /// What, where and why.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Status {
    /// The entry of `table`, whatever its database is called.
    pub fn table(&self, table: &str) -> Option<&TableStatus> {
        self.tables.iter().find(|status| status.name.rsplit('.').next() == Some(table))
    }
}

impl TableStatus {
    /// True once the table follows the source.
    pub fn in_step(&self) -> bool {
        self.state == "synchronizing"
    }

    /// What stops the table, if something does that will not pass by itself.
    pub fn stopped(&self) -> Option<String> {
        if !matches!(self.state.as_str(), "parked" | "excluded") {
            return None;
        }
        let because = self.error.as_ref().map(|error| {
            let TableError { code, message, remedy } = error;
            format!(", {code}: {message}; {remedy}")
        });
        Some(format!("{}{}", self.state, because.unwrap_or_default()))
    }
}

/// Asks `address`; `None` if there is no answer that can be read.
pub async fn fetch(address: SocketAddr) -> Option<Status> {
    tokio::time::timeout(TIMEOUT, get(address)).await.ok().flatten()
}

async fn get(address: SocketAddr) -> Option<Status> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // HTTP/1.0: the answer is never in chunks, and ends with the connection.
    let request = format!("GET /status HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(LIMIT_BYTES).read_to_end(&mut answer).await.ok()?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<Status> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.split_whitespace().nth(1)?;
    if code != "200" {
        return None;
    }
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_else_it_holds() {
        let answer = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"state\":\"loading\",\"new\":1,\
            \"tables\":[{\"name\":\"shop.orders\",\"state\":\"loading\",\"rows_applied\":7,\"lag_seconds\":null}]}";
        let status = parse(answer).unwrap();
        assert_eq!(status.state, "loading");
        let orders = status.table("orders").unwrap();
        assert_eq!((orders.rows_applied, orders.lag_seconds, orders.in_step()), (Some(7), None, false));
        assert!(status.table("order").is_none());
    }

    #[test]
    fn other_answers_are_none() {
        assert_eq!(parse(b"HTTP/1.0 503 Service Unavailable\r\n\r\n{}"), None);
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\nhello"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_parked_table_says_why() {
        let parked: TableStatus = serde_json::from_str(
            r#"{"state":"parked","error":{"code":"no-key","message":"it has no key","remedy":"add one"}}"#,
        )
        .unwrap();
        assert_eq!(parked.stopped().unwrap(), "parked, no-key: it has no key; add one");
        let silent = TableStatus { state: "excluded".to_owned(), ..TableStatus::default() };
        assert_eq!(silent.stopped().unwrap(), "excluded");
        assert_eq!(TableStatus::default().stopped(), None);
    }
}
