//! The binlog stream: one connection that asks for everything behind a position and passes the events on in
//! batches. Invariant: events leave in the server's order, none is left out; a connection that breaks, or that stays
//! silent past its heartbeats, ends the stream with an error, never quietly.

use futures_util::{FutureExt, StreamExt};
use mysql_async::BinlogStreamRequest;
use mysql_async::binlog::events::Event;
use std::time::Duration;
use tokio::sync::mpsc;
use tributary_schemas::position::Position;
use tributary_source::connect::SourceOptions;
use tributary_source::error::SourceError;

/// A batch is passed on once it holds this much, or when no event is waiting.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches between the stream and the sequencer; with [`BATCH_BYTES`] the bound of what is in flight.
pub const CHANNEL_BATCHES: usize = 16;

/// What the stream says.
#[derive(Debug)]
pub enum StreamMessage {
    /// Events in order.
    Events(Vec<Event>),
    /// The stream is over.
    Failed(SourceError),
}

/// What to ask for.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// Everything behind this place.
    pub position: Position,
    /// By GTID set, or by file and offset.
    pub by_gtid: bool,
    /// This client's own server id, unique among the source's replicas.
    pub server_id: u32,
    /// The server sends a heartbeat when it has been silent this long.
    pub heartbeat: Duration,
    /// Silence after which the connection counts as dead.
    pub read_deadline: Duration,
}

/// Streams until the receiver is gone or the stream fails, which is its last message.
pub async fn run(options: SourceOptions, request: StreamRequest, sender: mpsc::Sender<StreamMessage>) {
    if let Err(error) = stream(&options, &request, &sender).await {
        let _ = sender.send(StreamMessage::Failed(error)).await;
    }
}

async fn stream(
    options: &SourceOptions,
    request: &StreamRequest,
    sender: &mpsc::Sender<StreamMessage>,
) -> Result<(), SourceError> {
    const DURING: &str = "reading the binlog";
    let mut connection = options.connect().await?;
    let address = connection.address().to_owned();
    let heartbeat_ns = request.heartbeat.as_nanos();
    // Servers before 8.0.26 know only the older name; unknown user variables harm nobody.
    connection
        .execute(
            DURING,
            &format!(
                "SET @source_heartbeat_period = {heartbeat_ns}, @master_heartbeat_period = {heartbeat_ns}"
            ),
        )
        .await?;
    let sids = request
        .position
        .gtid_set
        .intervals()
        .map(|(source, intervals)| {
            let mut text = source.to_string();
            for (first, last) in intervals {
                text.push_str(&format!(":{first}-{last}"));
            }
            text.parse::<mysql_async::Sid<'static>>().map_err(|error| {
                SourceError::definite(
                    DURING,
                    &address,
                    format!("GTID set {text}: {error}"),
                    "report this as a bug",
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut dump = BinlogStreamRequest::new(request.server_id).with_hostname(b"tributary");
    if request.by_gtid {
        dump = dump.with_gtid().with_gtid_set(sids);
    } else {
        dump = dump.with_filename(request.position.file.as_bytes()).with_pos(request.position.offset);
    }
    let mut events = connection
        .into_driver()
        .get_binlog_stream(dump)
        .await
        .map_err(|error| SourceError::from_driver(DURING, &address, &error))?;
    loop {
        let mut next = match tokio::time::timeout(request.read_deadline, events.next()).await {
            Ok(next) => next,
            Err(_) => {
                let silent = request.read_deadline.as_secs();
                let reason = format!("neither event nor heartbeat for {silent} s");
                return Err(SourceError::transient(
                    DURING,
                    &address,
                    reason,
                    "the connection is opened again",
                ));
            }
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            match next {
                Some(Ok(event)) => {
                    bytes += event.data().len();
                    batch.push(event);
                }
                Some(Err(error)) => {
                    pass_on(sender, batch).await;
                    return Err(SourceError::from_driver(DURING, &address, &error));
                }
                None => {
                    pass_on(sender, batch).await;
                    let reason = "the server ended the stream";
                    return Err(SourceError::transient(
                        DURING,
                        &address,
                        reason,
                        "the connection is opened again",
                    ));
                }
            }
            if bytes >= BATCH_BYTES {
                break;
            }
            match events.next().now_or_never() {
                Some(waiting) => next = waiting,
                None => break,
            }
        }
        if !pass_on(sender, batch).await {
            let _ = events.close().await;
            return Ok(());
        }
    }
}

/// False if nobody listens any more.
async fn pass_on(sender: &mpsc::Sender<StreamMessage>, batch: Vec<Event>) -> bool {
    batch.is_empty() || sender.send(StreamMessage::Events(batch)).await.is_ok()
}
