//! Packets to and from the server. Invariant: [`Wire::fill`] may be given up at any moment; no byte is lost.

use super::frames::{self, Frame, FrameError, Frames};
use super::transport::Transport;
use mysql_async::{DriverError, Error, IoError, ServerError};
use mysql_common::proto::MySerialize;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_native_tls::TlsConnector;

/// First byte of a packet that says what is wrong.
const ERR: u8 = 0xff;

impl From<FrameError> for DriverError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::OutOfOrder => Self::PacketOutOfOrder,
            FrameError::TooLarge => Self::PacketTooLarge,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) transport: Transport,
    pub(super) frames: Frames,
    out: Vec<u8>,
}

impl Wire {
    pub(super) fn new(transport: Transport, max_packet_bytes: usize) -> Self {
        Self { transport, frames: Frames::new(max_packet_bytes), out: Vec::new() }
    }

    /// Waits for bytes of the server, whatever is there already.
    pub(super) async fn fill(&mut self) -> Result<(), Error> {
        let count = self.transport.read(self.frames.space()).await.map_err(away)?;
        if count == 0 {
            return Err(away(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )));
        }
        self.frames.filled(count);
        Ok(())
    }

    /// The next packet, copied; for packets of the connection phase and of results. A packet that says what is wrong is
    /// an error.
    pub(super) async fn read(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(frame) = self.frames.take().map_err(DriverError::from)? {
                return refuse_error(self.frames.bytes(&frame)).map(<[u8]>::to_vec);
            }
            self.fill().await?;
        }
    }

    /// Goes on encrypted. What has come in plain text behind the packets that were read, whoever sent it, would count as said
    /// by the server that the certificate names.
    pub(super) async fn encrypt(&mut self, connector: &TlsConnector, host: &str) -> Result<(), Error> {
        if !self.frames.is_empty() {
            let why = "bytes in plain text came where TLS was to begin";
            return Err(away(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        self.transport.encrypt(connector, host).await
    }

    /// Takes a packet that is there whole.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, Error> {
        Ok(self.frames.take().map_err(DriverError::from)?)
    }

    /// Sends a packet.
    pub(super) async fn write(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.out.clear();
        frames::write(packet, &mut self.frames.sequence, &mut self.out);
        self.transport.write_all(&self.out).await.map_err(away)?;
        self.transport.flush().await.map_err(away)
    }

    /// Sends a packet of the driver's library.
    pub(super) async fn write_struct(&mut self, packet: &impl MySerialize) -> Result<(), Error> {
        let mut bytes = Vec::new();
        packet.serialize(&mut bytes);
        self.write(&bytes).await
    }

    /// Sends a command: its packets are numbered from 0.
    pub(super) async fn command(&mut self, command: &impl MySerialize) -> Result<(), Error> {
        self.frames.sequence = 0;
        self.write_struct(command).await
    }

    /// The same of its bytes.
    pub(super) async fn command_bytes(&mut self, command: &[u8]) -> Result<(), Error> {
        self.frames.sequence = 0;
        self.write(command).await
    }
}

fn away(error: io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

/// The packet, unless it says what is wrong.
pub(super) fn refuse_error(packet: &[u8]) -> Result<&[u8], Error> {
    match packet {
        [ERR, code_low, code_high, rest @ ..] => {
            // The state is left out before the server knows what the client understands.
            let (state, message) = match rest {
                [b'#', rest @ ..] if rest.len() >= 5 => rest.split_at(5),
                _ => (&b"HY000"[..], rest),
            };
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            let code = u16::from_le_bytes([*code_low, *code_high]);
            Err(Error::Server(ServerError { code, message: text(message), state: text(state) }))
        }
        other => Ok(other),
    }
}

/// A packet that is none of those that may come.
pub(super) fn unexpected() -> Error {
    Error::Driver(DriverError::UnexpectedPacket { payload: Vec::new() })
}
