//! Row events: TABLE_MAP and ROWS enter, records leave.

use super::halt::Halt;
use super::maps::Mapped;
use super::output::RowPlace;
use super::table::SequencedTable;
use super::tables::TableIndex;
use super::{ParkReason, Sequencer};
use crate::binlog::decoder::RowDecoder;
use crate::binlog::rows::{RowsEvent, RowsKind};
use crate::binlog::table_map::TableMapEvent;
use crate::binlog::{DecodeError, EventHeader};
use crate::snapshot::batch::BatchRow;
use crate::topics::outbox::TooLarge;
use std::rc::Rc;
use tributary_schemas::envelope::{Operation, Source};
use tributary_schemas::row::{EncodedRow, RowError};
use tributary_schemas::sequence::SourceSequence;
use tributary_schemas::table::TableId;
use tributary_source::publish::PRIMARY;

impl Sequencer {
    /// A TABLE_MAP says which table the row events behind it are about.
    pub(super) fn on_table_map(&mut self, event: &TableMapEvent<'_>) -> Result<(), Halt> {
        let TableMapEvent { table_id, database, table, definition, .. } = *event;
        if self.maps.known(table_id, database, table, definition).is_some() {
            return Ok(());
        }
        let mapped = match self.tables.find(&TableId::new(database, table)) {
            Some(index) => self.compile(index, event)?,
            None => Mapped::Ignored,
        };
        self.maps.insert(table_id, database, table, definition, mapped);
        Ok(())
    }

    /// Compiles the decoder of a selected table. A definition that disagrees with the TABLE_MAP is never used.
    fn compile(&mut self, index: TableIndex, event: &TableMapEvent<'_>) -> Result<Mapped, Halt> {
        if !self.tables.is_streaming(index) {
            return Ok(Mapped::Ignored);
        }
        let table = &self.tables[index];
        let columns = u32::try_from(table.catalog.columns.len()).unwrap_or(u32::MAX);
        let compiled = event.decode().map_err(|error| error.to_string()).and_then(|map| {
            let may_hide = self.setup.hidden_row_ids && table.catalog.index(PRIMARY).is_none();
            map.agrees(&table.table, columns, may_hide).map_err(|mismatch| mismatch.to_string())?;
            RowDecoder::compile(&table.table, &map).map_err(|error| error.to_string())
        });
        match compiled {
            Ok(decoder) => {
                self.tables[index].disagreed = None;
                Ok(Mapped::Decoded(index, Rc::new(decoder)))
            }
            Err(why) => {
                self.disagree(index, &why)?;
                Ok(Mapped::Ignored)
            }
        }
    }

    /// The definition is not the one that the table's rows are written under: both are read anew, behind this transaction.
    /// If what was read anew is at odds with the rows in the same way, reading it again would not end.
    fn disagree(&mut self, index: TableIndex, why: &str) -> Result<(), Halt> {
        let reason = ParkReason::catalog(why);
        let before = self.tables[index].disagreed.replace(why.to_owned());
        if before.is_some_and(|before| before == why) {
            return self.park(index, &reason);
        }
        self.tables.reread(index, reason.message);
        Ok(())
    }

    pub(super) fn on_rows(&mut self, header: &EventHeader, event: &RowsEvent<'_>) -> Result<(), Halt> {
        let (index, decoder) = match self.maps.get(event.table_id) {
            Some(Mapped::Decoded(index, decoder)) => (*index, Rc::clone(decoder)),
            Some(Mapped::Ignored) => return Ok(()),
            None => {
                return Err(
                    DecodeError::Malformed { kind: header.kind, what: "its TABLE_MAP is missing" }.into()
                );
            }
        };
        self.set_source(index, header);
        self.transaction_tables.insert(index);
        let mut images = event.images;
        let mut row_in_event = 0;
        while !images.is_empty() {
            let row = images;
            match self.on_row(index, &decoder, event, &mut images, row_in_event) {
                Ok(()) => row_in_event += 1,
                Err(RowFailure::Park(reason)) => return self.park(index, &reason),
                Err(RowFailure::Row(error)) => {
                    // Whatever is wrong with the row, its key may be readable.
                    let readable = decoder.encode_key(&mut { row }, event.present, &mut self.before).is_ok();
                    let table = readable.then(|| &self.tables[index]);
                    let place =
                        table.map(|table| tributary_schemas::key::describe(&table.table, &self.before.key));
                    return self.park(index, &ParkReason::row(&error, place.as_deref()));
                }
            }
        }
        Ok(())
    }

    fn set_source(&mut self, index: TableIndex, header: &EventHeader) {
        let table = &self.tables[index];
        let source = Source {
            ts_ms: i64::from(header.timestamp_seconds) * 1000,
            snapshot: false,
            database: &table.id.database,
            table: &table.id.table,
            server_id: header.server_id,
            gtid: self.progress.open().and_then(|open| open.gtid_text.as_deref()),
            file: self.progress.file(),
            offset: 0,
            row: 0,
        };
        self.output.set_source(&source);
    }

    /// One row: counted, its keys recorded for the open windows, and published unless a predecessor did.
    fn on_row(
        &mut self,
        index: TableIndex,
        decoder: &RowDecoder,
        event: &RowsEvent<'_>,
        images: &mut &[u8],
        row_in_event: u32,
    ) -> Result<(), RowFailure> {
        let table = &self.tables[index];
        let (row, publish) = self.progress.row(index);
        let sequence = SourceSequence { transaction: self.progress.transaction(), row, part: 0, read: false };
        let place = RowPlace { offset: self.progress.offset(), row_in_event, sequence };
        let out = &mut self.output;
        match event.kind {
            RowsKind::Insert => {
                decoder.encode(images, event.present, &mut self.after)?;
                self.snapshot.touched(index, &self.after.key);
                if publish {
                    out.admit_row(table, &whole(&self.after))
                        .map_err(|error| too_large(table, &self.after.key, &error))?;
                    out.upsert(table, whole(&self.after), Operation::Create, place);
                }
            }
            RowsKind::Delete => {
                decoder.encode_key(images, event.present, &mut self.before)?;
                self.snapshot.touched(index, &self.before.key);
                if publish {
                    out.delete(table, &self.before.key, place);
                }
            }
            RowsKind::Update | RowsKind::PartialUpdate => {
                decoder.encode_update(event, images, &mut self.before, &mut self.after)?;
                let moved = self.before.key != self.after.key;
                self.snapshot.touched(index, &self.before.key);
                if moved {
                    self.snapshot.touched(index, &self.after.key);
                }
                if publish {
                    out.admit_row(table, &whole(&self.after))
                        .map_err(|error| too_large(table, &self.after.key, &error))?;
                    if moved {
                        out.delete(table, &self.before.key, place);
                        let sequence = SourceSequence { part: 1, ..sequence };
                        out.upsert(
                            table,
                            whole(&self.after),
                            Operation::Create,
                            RowPlace { sequence, ..place },
                        );
                    } else {
                        out.upsert(table, whole(&self.after), Operation::Update, place);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The encoded row as the output takes it.
fn whole(row: &EncodedRow) -> BatchRow<'_> {
    BatchRow { key: &row.key, value: &row.value, raw: &row.raw }
}

/// What a row can lead to besides a record.
enum RowFailure {
    Park(ParkReason),
    Row(RowError),
}

impl From<RowError> for RowFailure {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

fn too_large(table: &SequencedTable, key: &[u8], error: &TooLarge) -> RowFailure {
    RowFailure::Park(ParkReason::too_large(&tributary_schemas::key::describe(&table.table, key), error))
}
