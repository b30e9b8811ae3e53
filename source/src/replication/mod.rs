//! A client of the replication stream: one connection that logs in, asks for the binlog and gives its packets as they are. The
//! driver's own stream unfolds a compressed transaction whole in memory, and has no way to its packets.
//!
//! Invariant: an event that is there whole is not copied. What is larger than the buffer is kept only while it is looked at,
//! and can be skipped from its beginning on.

mod frames;
mod login;
mod transport;
mod wire;

pub use frames::{Frame, Skipped};

use crate::error::SourceError;
use crate::options::{Endpoint, OPTIONAL, SESSION, SourceOptions, UNKNOWN_VARIABLE};
use login::{Account, login};
use mysql_async::{Error, Sid};
use mysql_common::io::ParseBuf;
use mysql_common::packets::binlog_request::BinlogRequest;
use mysql_common::packets::{BinlogDumpFlags, ComRegisterSlave};
use transport::Transport;
use wire::{Wire, refuse_error, unexpected};

/// The host name under which the stream registers as a replica.
pub const HOST: &str = "tributary";

/// COM_QUERY.
const QUERY: u8 = 0x03;
/// First bytes of packets: a statement without rows is done; a row ends with NULL; rows, or the stream, end.
const OK: u8 = 0x00;
const NULL: u8 = 0xfb;
const END: u8 = 0xfe;
/// Bytes before an event in its packet: [`OK`].
const FIRST_BYTE: usize = 1;
/// A packet that begins like [`END`] and is no longer than this is one.
const END_BYTES: usize = 8;

/// The server id of a task that was given none: unlike the ids that people give to servers, and the same at every start.
#[must_use]
pub fn default_server_id(task: &str) -> u32 {
    // The upper half of the range is hardly ever used by hand.
    tributary_schemas::key::murmur2(task.as_bytes()) | 0x8000_0000
}

/// What to ask for.
#[derive(Debug, Clone)]
pub struct DumpRequest<'a> {
    /// This client's server id.
    pub server_id: u32,
    /// File and offset; the server's first file if left out, or, with `gtids`, where they lead.
    pub place: Option<(&'a str, u64)>,
    /// Everything but these transactions; by place alone if left out.
    pub gtids: Option<Vec<Sid<'static>>>,
    /// The stream ends where the binlog does.
    pub until_end: bool,
}

/// A session that has not asked for the stream yet.
#[derive(Debug)]
pub struct Replication {
    wire: Wire,
    address: String,
}

impl Replication {
    /// Opens a connection and sets its session up as [`SourceOptions::connect`] does.
    ///
    /// # Errors
    /// Transient if the server is away, definite if it refuses us.
    pub async fn open(options: &SourceOptions) -> Result<Self, SourceError> {
        options.within_connect_timeout(Self::connect(options)).await
    }

    async fn connect(options: &SourceOptions) -> Result<Self, SourceError> {
        let endpoint = options.endpoint();
        let wire = open_wire(endpoint)
            .await
            .map_err(|error| SourceError::from_driver("connecting", options.address(), &error))?;
        let mut replication = Self { wire, address: options.address().to_owned() };
        const DURING: &str = "setting up the session";
        for statement in SESSION {
            replication.execute(DURING, statement).await?;
        }
        for statement in OPTIONAL {
            match replication.execute(DURING, statement).await {
                Err(error) if !error.code().is_some_and(|code| UNKNOWN_VARIABLE.contains(&code)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(replication)
    }

    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a statement whose result does not matter.
    pub async fn execute(&mut self, during: &str, sql: &str) -> Result<(), SourceError> {
        self.first(during, sql).await.map(|_| ())
    }

    /// Runs a statement: the first column of its first row as text, if there is one and it is not NULL.
    pub async fn first(&mut self, during: &str, sql: &str) -> Result<Option<String>, SourceError> {
        let result = self.query(sql).await;
        result.map_err(|error| SourceError::from_driver(during, &self.address, &error))
    }

    async fn query(&mut self, sql: &str) -> Result<Option<String>, Error> {
        self.wire.command_bytes(&[&[QUERY], sql.as_bytes()].concat()).await?;
        let packet = self.wire.read().await?;
        if packet.first() == Some(&OK) {
            return Ok(None);
        }
        // The definitions of the columns, then the rows; an END packet behind each.
        while !is_end(&self.wire.read().await?) {}
        let mut first = None;
        loop {
            let row = self.wire.read().await?;
            if is_end(&row) {
                return Ok(first.flatten());
            }
            if first.is_none() {
                first = Some(first_column(&row).ok_or_else(unexpected)?);
            }
        }
    }

    /// Asks for the stream.
    ///
    /// # Errors
    /// What the server or the network said. What is wrong with the request comes with the stream.
    pub async fn dump(
        mut self,
        during: &str,
        request: &DumpRequest<'_>,
    ) -> Result<ReplicationStream, SourceError> {
        self.execute(during, "SET @master_binlog_checksum = 'ALL'").await?;
        let asked = self.ask(request).await;
        asked.map_err(|error| SourceError::from_driver(during, &self.address, &error))?;
        Ok(ReplicationStream { wire: self.wire, address: self.address })
    }

    async fn ask(&mut self, request: &DumpRequest<'_>) -> Result<(), Error> {
        let register = ComRegisterSlave::new(request.server_id).with_hostname(HOST.as_bytes());
        self.wire.command(&register).await?;
        if self.wire.read().await?.first() != Some(&OK) {
            return Err(unexpected());
        }
        let mut dump = BinlogRequest::new(request.server_id);
        if let Some((file, offset)) = request.place {
            dump = dump.with_filename(file.as_bytes()).with_pos(offset);
        }
        if let Some(gtids) = &request.gtids {
            dump = dump.with_use_gtid(true).with_sids(gtids.iter().cloned());
        }
        if request.until_end {
            dump = dump.with_flags(BinlogDumpFlags::BINLOG_DUMP_NON_BLOCK);
        }
        self.wire.command(&dump.as_cmd()).await
    }
}

async fn open_wire(endpoint: &Endpoint) -> Result<Wire, Error> {
    let transport = Transport::connect(&endpoint.host, endpoint.port, endpoint.keepalive).await?;
    let mut wire = Wire::new(transport, endpoint.max_packet_bytes);
    let account = Account {
        user: &endpoint.user,
        password: endpoint.password.reveal(),
        host: &endpoint.host,
        tls: endpoint.tls.as_ref(),
        max_packet_bytes: u32::try_from(endpoint.max_packet_bytes).unwrap_or(u32::MAX),
    };
    login(&mut wire, &account).await?;
    Ok(wire)
}

fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() <= END_BYTES
}

/// The first column of a row of the text protocol; `Some(None)` is NULL.
fn first_column(row: &[u8]) -> Option<Option<String>> {
    if row.first() == Some(&NULL) {
        return Some(None);
    }
    let text = ParseBuf(row).checked_eat_lenenc_str()?;
    Some(Some(String::from_utf8_lossy(text).into_owned()))
}

/// The stream, packet by packet. [`Self::take`] as long as it gives something, then [`Self::fill`].
#[derive(Debug)]
pub struct ReplicationStream {
    wire: Wire,
    address: String,
}

/// What a packet of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// An event: header, data, checksum.
    Event(&'a [u8]),
    /// An event that was skipped.
    Skipped(Skipped),
    /// The server has nothing more to say.
    End,
}

impl ReplicationStream {
    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next packet, if it is there whole; its place stays good until the next call of this or of [`Self::fill`].
    ///
    /// # Errors
    /// Packets that do not follow each other.
    pub fn take(&mut self, during: &str) -> Result<Option<Frame>, SourceError> {
        let taken = self.wire.take();
        taken.map_err(|error| SourceError::from_driver(during, &self.address, &error))
    }

    /// What a packet is.
    ///
    /// # Errors
    /// The server ends the stream for a reason, or sends what is no part of it.
    pub fn read(&self, during: &str, frame: &Frame) -> Result<Packet<'_>, SourceError> {
        if let Frame::Skipped(skipped) = frame {
            return Ok(Packet::Skipped(*skipped));
        }
        let packet = refuse_error(self.wire.frames.bytes(frame)).and_then(|packet| match packet {
            [OK, event @ ..] => Ok(Packet::Event(event)),
            other if is_end(other) => Ok(Packet::End),
            _ => Err(unexpected()),
        });
        packet.map_err(|error| SourceError::from_driver(during, &self.address, &error))
    }

    /// Waits for bytes of the server. It may be given up at any moment; nothing is lost.
    pub async fn fill(&mut self, during: &str) -> Result<(), SourceError> {
        let filled = self.wire.fill().await;
        filled.map_err(|error| SourceError::from_driver(during, &self.address, &error))
    }

    /// The beginning of an event that is larger than the buffer and has not come whole.
    #[must_use]
    pub fn begun(&self) -> Option<&[u8]> {
        self.wire.frames.begun().and_then(|packet| packet.strip_prefix(&[OK]))
    }

    /// Passes over the rest of that event, without keeping it; its packet tells its size and its CRC32.
    pub fn skip(&mut self) {
        self.wire.frames.skip(FIRST_BYTE);
    }
}
