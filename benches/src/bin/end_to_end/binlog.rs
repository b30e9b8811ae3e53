//! Row images of the binlog: a position enters, the bytes of the images written since leave. What Kafka holds is told by
//! byte of these.

use crate::servers::Servers;
use futures_util::StreamExt;
use mysql_async::binlog::events::EventData;
use mysql_async::{BinlogStreamRequest, Conn};
use tributary_benches::Result;

/// An id that no other replica of the source has.
const SERVER_ID: u32 = 4_000_000_001;

/// A place in the binlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    file: String,
    offset: u64,
}

impl Position {
    /// Behind everything that is committed.
    pub(crate) fn now(servers: &Servers) -> Result<Self> {
        let line = servers.source("SHOW BINARY LOG STATUS")?;
        let mut columns = line.first().map(|line| line.split('\t')).ok_or("the source has no binlog")?;
        let file = columns.next().unwrap_or_default().to_owned();
        let offset = columns.next().unwrap_or_default().parse()?;
        Ok(Self { file, offset })
    }
}

/// Bytes of the row images since `position`, before and after images alike, with their bitmaps of nulls; nothing of the
/// events around them.
pub(crate) fn image_bytes(servers: &Servers, position: &Position) -> Result<u64> {
    servers.block_on(async {
        let request = BinlogStreamRequest::new(SERVER_ID)
            .with_non_blocking()
            .with_filename(position.file.as_bytes())
            .with_pos(position.offset);
        let connection = Conn::new(servers.mysql_options()).await?;
        let mut stream = connection.get_binlog_stream(request).await?;
        let mut bytes = 0;
        while let Some(event) = stream.next().await {
            if let Some(EventData::RowsEvent(rows)) = event?.read_data()? {
                bytes += rows.rows_data().len() as u64;
            }
        }
        stream.close().await?;
        Ok(bytes)
    })
}
