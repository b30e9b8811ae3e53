//! The binlog stream: one connection that asks for everything behind a position and passes the events on in
//! batches. Invariant: events leave in the server's order, none is left out; a connection that breaks, or that stays
//! silent past its heartbeats, ends the stream with an error, never quietly. One that was to begin inside a file and finds
//! another there begins anew, by its GTIDs alone, before a transaction of the other has left.

use super::seek::{Doubt, Seek, SeekVerdict};
use crate::binlog::DecodeError;
use crate::binlog::batch::EventBatch;
use crate::binlog::intake::Intake;
use futures_util::FutureExt;
use mysql_async::Sid;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tributary_config::TableSelection;
use tributary_schemas::gtid::{GtidSet, GtidSource};
use tributary_schemas::position::Position;
use tributary_service::waits::{SHOWN, Waits};
use tributary_source::connect::SourceOptions;
use tributary_source::error::{BinlogRefusal, SourceError};
use tributary_source::replication::{DumpRequest, Frame, Packet, Replication, ReplicationStream};

/// A batch is passed on once it holds this much, or when no event is waiting.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches between the stream and the sequencer; with [`BATCH_BYTES`] the bound of what is in flight.
const CHANNEL_BATCHES: usize = 16;
/// A batch that a huge event made grow beyond this is not filled again.
const KEPT_BYTES: usize = 2 * BATCH_BYTES;

/// The sequencer's end of a stream.
pub(super) struct Receiver {
    messages: mpsc::Receiver<StreamMessage>,
    used: mpsc::Sender<EventBatch>,
}

impl Receiver {
    /// The next message; `None` once the stream is gone.
    pub(super) async fn recv(&mut self) -> Option<StreamMessage> {
        self.messages.recv().await
    }

    /// Gives the memory of a batch back to be filled again.
    pub(super) fn give_back(&self, mut batch: EventBatch) {
        if batch.capacity_bytes() <= KEPT_BYTES {
            batch.clear();
            let _ = self.used.try_send(batch);
        }
    }
}

/// The other end.
pub(super) struct Sender {
    messages: mpsc::Sender<StreamMessage>,
    used: mpsc::Receiver<EventBatch>,
}

impl Sender {
    fn empty_batch(&mut self) -> EventBatch {
        self.used.try_recv().unwrap_or_default()
    }

    /// Passes on what is in the batch and makes it empty; false if nobody listens any more.
    async fn pass_on_full(&mut self, batch: &mut EventBatch) -> bool {
        let empty = self.empty_batch();
        self.pass_on(std::mem::replace(batch, empty)).await
    }

    /// False if nobody listens any more.
    async fn pass_on(&self, batch: EventBatch) -> bool {
        batch.is_empty() || self.messages.send(StreamMessage::Events(batch)).await.is_ok()
    }
}

/// Both ends of a channel for [`CHANNEL_BATCHES`].
#[must_use]
pub(super) fn channel() -> (Sender, Receiver) {
    let (sender, messages) = mpsc::channel(CHANNEL_BATCHES);
    let (used, returned) = mpsc::channel(CHANNEL_BATCHES);
    (Sender { messages: sender, used: returned }, Receiver { messages, used })
}

/// What the stream says.
#[derive(Debug)]
pub(super) enum StreamMessage {
    /// Events in order.
    Events(EventBatch),
    /// The stream is over: what comes next cannot be trusted.
    Damaged(DecodeError),
    /// The stream is over.
    Failed(SourceError),
}

/// What to ask for.
#[derive(Debug, Clone)]
pub(super) struct StreamRequest {
    /// Everything behind this place.
    pub position: Position,
    /// By GTID set, or by file and offset.
    pub by_gtid: bool,
    /// With `by_gtid`, that file and offset may be asked for, so that the server need not search for what is behind the set.
    pub seek: Option<Seek>,
    /// The tables whose row events are wanted.
    pub selection: Arc<TableSelection>,
    /// This client's own server id, unique among the source's replicas.
    pub server_id: u32,
    /// The server sends a heartbeat when it has been silent this long.
    pub heartbeat: Duration,
    /// Silence after which the connection counts as dead.
    pub read_deadline: Duration,
}

/// Streams until the receiver is gone or the stream fails, which is its last message.
pub(super) async fn run(options: SourceOptions, mut request: StreamRequest, mut sender: Sender) {
    while let Err(end) = stream(&options, &request, &mut sender).await {
        match end {
            End::Failed(last) => {
                let _ = sender.messages.send(last).await;
                return;
            }
            End::NotContinuous(why) => {
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
    NotContinuous(String),
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
    !matches!(error.binlog_refusal(), Some(BinlogRefusal::ServerIdTaken | BinlogRefusal::Anonymous))
}

const DURING: &str = "reading the binlog";
const OPENED_AGAIN: &str = "the connection is opened again";

/// A stream as it is asked for, and what is yet to be proven of its place.
async fn open<'a>(
    options: &SourceOptions,
    request: &'a StreamRequest,
) -> Result<(ReplicationStream, Option<Doubt<'a>>), SourceError> {
    let session = Replication::open(options).await?;
    let what = format!("the source {}: asking for the binlog", options.address());
    let _wait = options.waits().answer(what, request.read_deadline);
    let asked = tokio::time::timeout(request.read_deadline, ask(options, request, session)).await;
    asked.unwrap_or_else(|_| {
        let silence = format!("no answer within {} s", request.read_deadline.as_secs());
        Err(SourceError::transient(DURING, options.address(), silence, OPENED_AGAIN))
    })
}

async fn ask<'a>(
    options: &SourceOptions,
    request: &'a StreamRequest,
    mut session: Replication,
) -> Result<(ReplicationStream, Option<Doubt<'a>>), SourceError> {
    let heartbeat_ns = request.heartbeat.as_nanos();
    // Servers before 8.0.26 know only the older name; unknown user variables harm nobody.
    session
        .execute(
            DURING,
            &format!(
                "SET @source_heartbeat_period = {heartbeat_ns}, @master_heartbeat_period = {heartbeat_ns}"
            ),
        )
        .await?;
    let (position, mut doubt, mut gtids) = (&request.position, None, None);
    if request.by_gtid {
        gtids = Some(sids(&position.gtid_set).map_err(|reason| {
            SourceError::definite(DURING, options.address(), reason, "report this as a bug")
        })?);
        if let Some(seek) = &request.seek {
            // An address may lead to another server each time.
            let server = session.first(DURING, "SELECT @@server_uuid").await?;
            doubt = (server.as_ref() == Some(&position.server_uuid))
                .then(|| Doubt::new(seek, &position.gtid_set));
        }
    }
    let by_place = !request.by_gtid || doubt.is_some();
    let dump = DumpRequest {
        server_id: request.server_id,
        place: by_place.then_some((position.file.as_str(), position.offset)),
        gtids,
        until_end: false,
    };
    Ok((session.dump(DURING, &dump).await?, doubt))
}

async fn stream(options: &SourceOptions, request: &StreamRequest, sender: &mut Sender) -> Result<(), End> {
    let (mut packets, mut doubt) = open(options, request).await?;
    let mut intake = Intake::new(Some(Arc::clone(&request.selection)));
    let reading = &Reading { request, waits: options.waits() };
    loop {
        let mut batch = sender.empty_batch();
        let read = read_batch(&mut packets, reading, (&mut intake, &mut doubt), (&mut batch, sender)).await;
        if let Err(End::NotContinuous(why)) = read {
            return Err(End::NotContinuous(why));
        }
        if !sender.pass_on(batch).await {
            return Ok(());
        }
        read?;
    }
}

/// How a stream is read.
struct Reading<'a> {
    request: &'a StreamRequest,
    waits: &'a Waits,
}

impl Reading<'_> {
    /// Waits for what comes next; `None` if nothing comes in time. A silence that is longer than heartbeats leave is shown.
    async fn fill(&self, packets: &mut ReplicationStream) -> Option<Result<(), SourceError>> {
        let limit = self.request.read_deadline;
        let quiet = SHOWN.max(self.request.heartbeat * 3).min(limit);
        let mut filled = std::pin::pin!(packets.fill(DURING));
        if let Ok(filled) = tokio::time::timeout(quiet, filled.as_mut()).await {
            return Some(filled);
        }
        let _wait = self.waits.answer("the source: the next event of the binlog", limit);
        tokio::time::timeout(limit.saturating_sub(quiet), filled).await.ok()
    }
}

/// Fills a batch with all that is there, up to [`BATCH_BYTES`], waiting for the first of it.
async fn read_batch(
    packets: &mut ReplicationStream,
    reading: &Reading<'_>,
    (intake, doubt): (&mut Intake, &mut Option<Doubt<'_>>),
    (batch, sender): (&mut EventBatch, &mut Sender),
) -> Result<(), End> {
    let failed = |error: SourceError, in_doubt: bool| match in_doubt && may_be_the_place(&error) {
        true => End::NotContinuous(error.to_string()),
        false => End::from(error),
    };
    let damaged = |damage: DecodeError, in_doubt: bool| match in_doubt {
        true => End::NotContinuous(damage.to_string()),
        false => End::Failed(StreamMessage::Damaged(damage)),
    };
    loop {
        while let Some(frame) = packets.take(DURING).map_err(|error| failed(error, doubt.is_some()))? {
            match packets.read(DURING, &frame).map_err(|error| failed(error, doubt.is_some()))? {
                Packet::Event(event) => {
                    intake.take(event, batch).map_err(|damage| damaged(damage, doubt.is_some()))?;
                }
                Packet::Skipped(skipped) => {
                    let passed_over = intake.passed_over(skipped.bytes, skipped.crc32, batch);
                    passed_over.map_err(|damage| damaged(damage, doubt.is_some()))?;
                }
                Packet::End => return Err(again(packets, "the server ended the stream".to_owned())),
            }
            judge(doubt, batch)?;
            if intake.is_unfolding() && !unfold(packets, &frame, intake, (batch, sender)).await? {
                return Ok(());
            }
            if batch.size_bytes() >= BATCH_BYTES {
                return Ok(());
            }
        }
        if let Some(beginning) = packets.begun().filter(|beginning| intake.passes_over(beginning)) {
            intake.pass_over(beginning);
            packets.skip();
        }
        let more = if batch.is_empty() {
            reading.fill(packets).await.ok_or_else(|| {
                let silence = reading.request.read_deadline.as_secs();
                again(packets, format!("neither event nor heartbeat for {silence} s"))
            })?
        } else {
            match packets.fill(DURING).now_or_never() {
                Some(more) => more,
                None => return Ok(()),
            }
        };
        more.map_err(|error| failed(error, doubt.is_some()))?;
    }
}

/// Takes the events out of a compressed transaction, a batch at a time; false if nobody listens any more.
async fn unfold(
    packets: &ReplicationStream,
    frame: &Frame,
    intake: &mut Intake,
    (batch, sender): (&mut EventBatch, &mut Sender),
) -> Result<bool, End> {
    let Packet::Event(event) = packets.read(DURING, frame)? else { return Ok(true) };
    while intake.is_unfolding() {
        intake.unfold(event, batch).map_err(|damage| End::Failed(StreamMessage::Damaged(damage)))?;
        if batch.size_bytes() >= BATCH_BYTES && !sender.pass_on_full(batch).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the event that came last says of the place where the stream began.
fn judge(doubt: &mut Option<Doubt<'_>>, batch: &EventBatch) -> Result<(), End> {
    match doubt.as_mut().and_then(|doubt| Some(doubt.judge(batch.last()?))) {
        None | Some(SeekVerdict::Open) => Ok(()),
        Some(SeekVerdict::Proven) => {
            *doubt = None;
            Ok(())
        }
        Some(SeekVerdict::Refuted(why)) => Err(End::NotContinuous(why)),
    }
}

fn again(packets: &ReplicationStream, reason: String) -> End {
    SourceError::transient(DURING, packets.address(), reason, OPENED_AGAIN).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventHeader;
    use crate::binlog::batch::BatchedEvent;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

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

    /// Sends a packet of fewer than 256 bytes.
    fn send(socket: &mut TcpStream, packet: &[u8], number: u8) {
        let header = [u8::try_from(packet.len()).unwrap(), 0, 0, number];
        socket.write_all(&[&header[..], packet].concat()).unwrap();
    }

    /// A packet; `None` once the client is gone.
    fn receive(socket: &mut TcpStream) -> Option<(Vec<u8>, u8)> {
        let mut header = [0; 4];
        socket.read_exact(&mut header).ok()?;
        let mut packet = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
        socket.read_exact(&mut packet).ok()?;
        Some((packet, header[3]))
    }

    /// Lets whoever comes log in and says OK to all, until a statement names `silent`: then nothing.
    fn play(mut socket: TcpStream, silent: &str) {
        let nonce = b"abcdefghijklmnopqrst\0";
        let fixed = [&[0][..], &[0x00, 0x82, 45, 2, 0, 0x08, 0x00, 21], &[0; 10]].concat();
        let head = [&b"\x0a8.0.0\0"[..], &[1, 0, 0, 0], &nonce[..8], &fixed].concat();
        send(&mut socket, &[&head, &nonce[8..], b"mysql_native_password\0"].concat(), 0);
        while let Some((packet, number)) = receive(&mut socket) {
            if !String::from_utf8_lossy(&packet).contains(silent) {
                send(&mut socket, &[0, 0, 0, 2, 0, 0, 0], number + 1);
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_behind_the_login_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || play(listener.accept().unwrap().0, "heartbeat_period"));
        let tls = serde_json::json!({"mode": "disable"});
        let section = serde_json::json!({
            "host": "127.0.0.1", "port": port, "user": "u", "password": "p", "tls": tls
        });
        let options = SourceOptions::new(&serde_json::from_value(section).unwrap()).unwrap();
        let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[capture]\ntables = [\"shop.orders\"]";
        let request = StreamRequest {
            position: Position::default(),
            by_gtid: false,
            seek: None,
            selection: Arc::new(TableSelection::new(&toml::from_str(config).unwrap()).unwrap()),
            server_id: 1,
            heartbeat: Duration::from_millis(50),
            read_deadline: Duration::from_millis(200),
        };
        let (sender, mut receiver) = channel();
        tokio::spawn(run(options, request, sender));
        let message = tokio::time::timeout(Duration::from_secs(60), receiver.recv()).await.unwrap();
        let Some(StreamMessage::Failed(error)) = message else { panic!("{message:?}") };
        assert!(error.is_transient() && error.to_string().contains("no answer within"), "{error}");
        server.join().unwrap();
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
