//! Sends a batch to the destination by binary COPY: survivors enter, tuples leave in pieces of bounded size.

use crate::batches::compact::Batch;
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use tributary_warehouse::destination::{Connection, DestinationError, TableError};
use tributary_warehouse::merge::copy::{put_header, put_trailer};
use tributary_warehouse::merge::encode::Shape;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::sql::copy_statement;

use super::Report;
use crate::remedies;
use tributary_service::codes::Code;

/// Size of a piece, bytes: large enough to make a system call worth it, small enough to stay in the cache.
const PIECE_BYTES: usize = 256 * 1024;

/// What became of a COPY.
pub(super) enum Copied {
    /// Every row was sent and taken.
    All(Report),
    /// The batch holds deletes, which only a staging table can take; nothing was written.
    Deletes,
}

/// Copies the batch into the staging table, or straight into the destination.
///
/// # Errors
/// What the server says; a record that cannot be written as [`DestinationError::Table`].
pub(super) async fn copy(
    connection: &mut Connection,
    plan: &TransferPlan,
    stage: &TargetName,
    shape: Shape,
    rows: &Batch,
    place: &str,
) -> Result<Copied, DestinationError> {
    let during = || DestinationError::during(format!("copying rows for {}", plan.target()));
    let statement = connection.prepared(&copy_statement(plan, stage, shape)).await.map_err(during())?;
    let sink = connection.copy_in(&statement).await.map_err(during())?;
    let mut sink = pin!(sink);
    let mut report = Report { rows: rows.records(), ..Report::default() };
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
    put_header(&mut piece);
    for row in rows.survivors() {
        let encoded = plan.encode(shape, row.key, row.value, row.raw, &mut piece).map_err(|error| {
            let message = error.to_string();
            DestinationError::Table(TableError::new(Code::UnwritableRecord, message, place, remedies::FOLLOW))
        })?;
        if encoded.deleted && shape == Shape::Direct {
            return Ok(Copied::Deletes);
        }
        report.substituted += u64::from(encoded.zero_dates) + u64::from(encoded.stripped);
        if piece.len() >= PIECE_BYTES {
            report.bytes += length(&piece);
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
            let mut full = Bytes::from(full);
            // The server counts a message once it has all of it: one of a large row would look as if nothing came.
            while full.len() > 2 * PIECE_BYTES {
                let part = full.split_to(PIECE_BYTES);
                connection.attend("COPY", sink.send(part)).await.map_err(during())?;
            }
            connection.attend("COPY", sink.send(full)).await.map_err(during())?;
        }
    }
    put_trailer(&mut piece);
    report.bytes += length(&piece);
    connection.attend("COPY", sink.send(Bytes::from(piece))).await.map_err(during())?;
    connection.attend("the end of a COPY", sink.finish()).await.map_err(during())?;
    Ok(Copied::All(report))
}

fn length(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}
