//! The binlog stream: one connection that asks for everything behind a position and passes the events on in
//! batches. Invariant: events leave in the server's order, none is left out; a connection that breaks, or that stays
//! silent past its heartbeats, ends the stream with an error, never quietly.

use crate::binlog::DecodeError;
use crate::binlog::batch::{EventBatch, Intake};
use futures_util::{FutureExt, StreamExt};
use mysql_async::BinlogStreamRequest;
use std::time::Duration;
use tokio::sync::mpsc;
use tributary_schemas::position::Position;
use tributary_source::connect::SourceOptions;
use tributary_source::error::SourceError;

/// A batch is passed on once it holds this much, or when no event is waiting.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches between the stream and the sequencer; with [`BATCH_BYTES`] the bound of what is in flight.
const CHANNEL_BATCHES: usize = 16;
/// A batch that a huge event made grow beyond this is not filled again.
const KEPT_BYTES: usize = 2 * BATCH_BYTES;

/// The sequencer's end of a stream.
pub struct Receiver {
    messages: mpsc::Receiver<StreamMessage>,
    used: mpsc::Sender<EventBatch>,
}

impl Receiver {
    /// The next message; `None` once the stream is gone.
    pub async fn recv(&mut self) -> Option<StreamMessage> {
        self.messages.recv().await
    }

    /// Gives the memory of a batch back to be filled again.
    pub fn give_back(&self, mut batch: EventBatch) {
        if batch.capacity_bytes() <= KEPT_BYTES {
            batch.clear();
            let _ = self.used.try_send(batch);
        }
    }
}

/// The other end.
pub struct Sender {
    messages: mpsc::Sender<StreamMessage>,
    used: mpsc::Receiver<EventBatch>,
}

impl Sender {
    fn empty_batch(&mut self) -> EventBatch {
        self.used.try_recv().unwrap_or_default()
    }

    /// False if nobody listens any more.
    async fn pass_on(&self, batch: EventBatch) -> bool {
        batch.is_empty() || self.messages.send(StreamMessage::Events(batch)).await.is_ok()
    }
}

/// Both ends of a channel for [`CHANNEL_BATCHES`].
#[must_use]
pub fn channel() -> (Sender, Receiver) {
    let (sender, messages) = mpsc::channel(CHANNEL_BATCHES);
    let (used, returned) = mpsc::channel(CHANNEL_BATCHES);
    (Sender { messages: sender, used: returned }, Receiver { messages, used })
}

/// What the stream says.
#[derive(Debug)]
pub enum StreamMessage {
    /// Events in order.
    Events(EventBatch),
    /// The stream is over: what comes next cannot be trusted.
    Damaged(DecodeError),
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
pub async fn run(options: SourceOptions, request: StreamRequest, mut sender: Sender) {
    if let Err(last) = stream(&options, &request, &mut sender).await {
        let _ = sender.messages.send(last).await;
    }
}

impl From<SourceError> for StreamMessage {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

async fn stream(
    options: &SourceOptions,
    request: &StreamRequest,
    sender: &mut Sender,
) -> Result<(), StreamMessage> {
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
    let again = |reason: String| {
        StreamMessage::from(SourceError::transient(
            DURING,
            &address,
            reason,
            "the connection is opened again",
        ))
    };
    let mut intake = Intake::default();
    loop {
        let waited = tokio::time::timeout(request.read_deadline, events.next()).await;
        let mut next = waited.map_err(|_| {
            again(format!("neither event nor heartbeat for {} s", request.read_deadline.as_secs()))
        })?;
        let mut batch = sender.empty_batch();
        loop {
            match next {
                Some(Ok(event)) => {
                    if let Err(damage) = intake.take(&event, &mut batch) {
                        sender.pass_on(batch).await;
                        return Err(StreamMessage::Damaged(damage));
                    }
                }
                Some(Err(error)) => {
                    sender.pass_on(batch).await;
                    return Err(SourceError::from_driver(DURING, &address, &error).into());
                }
                None => {
                    sender.pass_on(batch).await;
                    return Err(again("the server ended the stream".to_owned()));
                }
            }
            if batch.size_bytes() >= BATCH_BYTES {
                break;
            }
            match events.next().now_or_never() {
                Some(waiting) => next = waiting,
                None => break,
            }
        }
        if !sender.pass_on(batch).await {
            let _ = events.close().await;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventHeader;
    use crate::binlog::batch::BatchedEvent;

    fn batch(bytes: usize) -> EventBatch {
        let header = EventHeader {
            timestamp_seconds: 1,
            kind: 2,
            server_id: 1,
            size_bytes: 9,
            next_offset: 0,
            flags: 0,
        };
        let mut batch = EventBatch::default();
        batch.push(BatchedEvent { header, data: &vec![0; bytes], inside_payload: false });
        batch
    }

    #[test]
    fn the_memory_of_a_batch_comes_back_without_its_events_unless_it_has_grown() {
        let (mut sender, receiver) = channel();
        receiver.give_back(batch(KEPT_BYTES + 1));
        assert_eq!(sender.empty_batch().capacity_bytes(), 0);
        receiver.give_back(batch(1000));
        let again = sender.empty_batch();
        assert!(again.is_empty() && again.capacity_bytes() >= 1000);
    }
}
