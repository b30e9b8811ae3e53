//! The binlog stream: one connection that asks for everything behind a position and passes the events on in
//! batches. Invariant: events leave in the server's order, none is left out; a connection that breaks, or that stays
//! silent past its heartbeats, ends the stream with an error, never quietly. One that was to begin inside a file and finds
//! another there begins anew, by its GTIDs alone, before a transaction of the other has left.

use super::seek::{Doubt, Seek, Verdict};
use crate::binlog::DecodeError;
use crate::binlog::batch::{EventBatch, Intake};
use futures_util::{FutureExt, StreamExt};
use mysql_async::{BinlogStreamRequest, Sid};
use std::time::Duration;
use tokio::sync::mpsc;
use tributary_schemas::gtid::{GtidSet, GtidSource};
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
    /// With `by_gtid`, that file and offset may be asked for, so that the server need not search for what is behind the set.
    pub seek: Option<Seek>,
    /// This client's own server id, unique among the source's replicas.
    pub server_id: u32,
    /// The server sends a heartbeat when it has been silent this long.
    pub heartbeat: Duration,
    /// Silence after which the connection counts as dead.
    pub read_deadline: Duration,
}

/// Streams until the receiver is gone or the stream fails, which is its last message.
pub async fn run(options: SourceOptions, mut request: StreamRequest, mut sender: Sender) {
    while let Err(end) = stream(&options, &request, &mut sender).await {
        match end {
            End::Failed(last) => {
                let _ = sender.messages.send(last).await;
                return;
            }
            End::Elsewhere(why) => {
                request.seek = None;
                tracing::info!(
                    position = %request.position,
                    "that the binlog goes on there cannot be proven, and it is searched by GTID: {why}"
                );
            }
        }
    }
}

/// Why a stream is over.
enum End {
    /// Its last message.
    Failed(StreamMessage),
    /// What is at the position is not proven to follow what was read.
    Elsewhere(String),
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        Self::Failed(StreamMessage::Failed(error))
    }
}

/// The set as the driver takes it.
fn sids(set: &GtidSet) -> Result<Vec<Sid<'static>>, String> {
    let sid = |(source, intervals): (&GtidSource, &[(u64, u64)])| {
        let mut text = source.to_string();
        for (first, last) in intervals {
            text.push_str(&format!(":{first}-{last}"));
        }
        text.parse().map_err(|error| format!("GTID set {text}: {error}"))
    };
    set.intervals().map(sid).collect()
}

/// The error may come from asking for a place where no event begins. Not so if another client has come under this server
/// id, to whom the stream is left, nor if a search by GTID would only pass over what the server tells: that transactions
/// without one follow.
fn may_be_the_place(error: &SourceError) -> bool {
    let (SourceError::Definite { reason, .. } | SourceError::Transient { reason, .. }) = error;
    !reason.contains("server_id") && !reason.contains("anonymous")
}

async fn stream(options: &SourceOptions, request: &StreamRequest, sender: &mut Sender) -> Result<(), End> {
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
    let mut dump = BinlogStreamRequest::new(request.server_id).with_hostname(b"tributary");
    let (position, mut doubt) = (&request.position, None);
    if request.by_gtid {
        let sids = sids(&position.gtid_set)
            .map_err(|reason| SourceError::definite(DURING, &address, reason, "report this as a bug"))?;
        dump = dump.with_gtid().with_gtid_set(sids);
        if let Some(seek) = &request.seek {
            // An address may lead to another server each time.
            let server: Option<String> = connection.first(DURING, "SELECT @@server_uuid").await?;
            doubt = (server.as_ref() == Some(&position.server_uuid))
                .then(|| Doubt::new(seek, &position.gtid_set));
        }
    }
    if !request.by_gtid || doubt.is_some() {
        dump = dump.with_filename(position.file.as_bytes()).with_pos(position.offset);
    }
    let mut events = connection
        .into_driver()
        .get_binlog_stream(dump)
        .await
        .map_err(|error| SourceError::from_driver(DURING, &address, &error))?;
    let again = |reason: String| {
        End::from(SourceError::transient(DURING, &address, reason, "the connection is opened again"))
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
                        if doubt.is_some() {
                            return Err(End::Elsewhere(damage.to_string()));
                        }
                        sender.pass_on(batch).await;
                        return Err(End::Failed(StreamMessage::Damaged(damage)));
                    }
                    match doubt.as_mut().and_then(|doubt| Some(doubt.judge(batch.iter().last()?))) {
                        None | Some(Verdict::Open) => {}
                        Some(Verdict::Proven) => doubt = None,
                        Some(Verdict::Refuted(why)) => return Err(End::Elsewhere(why)),
                    }
                }
                Some(Err(error)) => {
                    let error = SourceError::from_driver(DURING, &address, &error);
                    if doubt.is_some() && may_be_the_place(&error) {
                        return Err(End::Elsewhere(error.to_string()));
                    }
                    sender.pass_on(batch).await;
                    return Err(error.into());
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
    fn a_client_that_took_the_server_id_is_not_answered_with_another_connection() {
        let failed = |message: &str| {
            let (code, message, state) = (1236, message.to_owned(), "HY000".to_owned());
            let error = mysql_async::ServerError { code, message, state };
            may_be_the_place(&SourceError::from_driver("reading", "h:1", &error.into()))
        };
        assert!(failed("Could not find first log file name in binary log index file"));
        assert!(!failed("Cannot replicate anonymous transaction when AUTO_POSITION = 1"));
        assert!(!failed(
            "A replica with the same server_uuid/server_id as this replica has connected to the source"
        ));
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
