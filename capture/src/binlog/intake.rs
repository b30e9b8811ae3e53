//! From the packets of the stream to batches of events. Enters: each event as the server sends it, from the stream's beginning.
//! Leaves: header and data of each in a batch; of row events of tables that are not selected only the header, as an event that
//! says nothing.
//!
//! Invariant: no byte of a damaged event gets in, and nothing behind a compressed transaction of which a part is missing.

use super::batch::{BatchedEvent, EventBatch};
use super::event::{DecodeError, EventBody, EventHeader, kind, parse};
use super::filter::{ID_BYTES, TableFilter, is_table_map};
use super::payload::parse_payload;
use super::stream::{Checksum, accept, accept_unseen};
use super::unfold::Unfolder;
use std::sync::Arc;
use tributary_config::TableSelection;

/// See the module.
#[derive(Debug, Default)]
pub struct Intake {
    checksum: Checksum,
    filter: TableFilter,
    unfolder: Unfolder,
    /// The event that is being passed over.
    passing: Option<EventHeader>,
}

impl Intake {
    /// Takes the row events of these tables; of all without a selection.
    #[must_use]
    pub fn new(selection: Option<Arc<TableSelection>>) -> Self {
        Self { filter: TableFilter::new(selection), ..Self::default() }
    }

    /// Checks the next event of the stream and copies it behind those in `batch`, which stays as it is if the event is
    /// refused. Of a compressed transaction it copies that it is there; while [`Self::is_unfolding`], [`Self::unfold`] gives
    /// what is in it.
    ///
    /// # Errors
    /// [`DecodeError`]: a wrong checksum, or the header of a compressed transaction that makes no sense.
    pub fn take(&mut self, event: &[u8], batch: &mut EventBatch) -> Result<(), DecodeError> {
        let (header, data) = accept(event, &mut self.checksum)?;
        let (header, data) = match header.kind {
            kind::TRANSACTION_PAYLOAD => {
                self.unfolder.start(parse_payload(data)?)?;
                (header, &[][..])
            }
            kind::TABLE_MAP => {
                self.filter.on_table_map(data);
                (header, data)
            }
            kind::FORMAT_DESCRIPTION => {
                if let EventBody::FormatDescription(format) = parse(header.kind, data, &Default::default())? {
                    self.filter.describe(format);
                }
                (header, data)
            }
            _ if self.filter.keeps(&header, data) => (header, data),
            _ => (header.passed_over(), &[][..]),
        };
        batch.push(BatchedEvent { header, data, inside_payload: false });
        Ok(())
    }

    /// True while events of the compressed transaction that was taken last are to come.
    #[must_use]
    pub const fn is_unfolding(&self) -> bool {
        self.unfolder.is_open()
    }

    /// Copies the next event of the compressed transaction that was taken last, which is `event`.
    ///
    /// # Errors
    /// [`DecodeError::PayloadSize`] if it does not unfold to what it declares.
    pub fn unfold(&mut self, event: &[u8], batch: &mut EventBatch) -> Result<(), DecodeError> {
        let data = event.get(EventHeader::SIZE_BYTES..).unwrap_or_default();
        self.unfolder.next(data, &self.filter, batch)?;
        if let Some(last) = batch.last().filter(|last| is_table_map(&last.header)) {
            self.filter.on_table_map(last.data);
        }
        Ok(())
    }

    /// True if all there is to know of an event is in its `beginning`: the rest need not come to be kept.
    #[must_use]
    pub fn passes_over(&self, beginning: &[u8]) -> bool {
        EventHeader::split(beginning)
            .is_some_and(|(header, data)| data.len() >= ID_BYTES && !self.filter.keeps(&header, data))
    }

    /// The rest of an event which [`Self::passes_over`] will not come to be kept; [`Self::passed_over`] follows.
    pub fn pass_over(&mut self, beginning: &[u8]) {
        self.passing = EventHeader::split(beginning).map(|(header, _)| header);
    }

    /// Copies that the event was there, of which so many bytes came with this CRC32 over all of them. A damaged one may have
    /// been of another table.
    ///
    /// # Errors
    /// [`DecodeError`]: another size, or a wrong checksum.
    pub fn passed_over(
        &mut self,
        bytes: usize,
        crc32: u32,
        batch: &mut EventBatch,
    ) -> Result<(), DecodeError> {
        if let Some(header) = self.passing.take() {
            accept_unseen(&header, (bytes, crc32), self.checksum)?;
            batch.push(BatchedEvent { header: header.passed_over(), data: &[], inside_payload: false });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::FormatContext;
    use tributary_config::Config;

    fn header(kind: u8, bytes: usize, next_offset: u32) -> EventHeader {
        let size_bytes = u32::try_from(EventHeader::SIZE_BYTES + bytes).unwrap();
        EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes, next_offset, flags: 0 }
    }

    /// An event with its CRC32, as a server sends it.
    fn sent(kind: u8, data: &[u8], next_offset: u32) -> Vec<u8> {
        let mut bytes = [&header(kind, data.len() + 4, next_offset).to_bytes()[..], data].concat();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// An event as it is in a payload.
    fn folded(kind: u8, data: &[u8]) -> Vec<u8> {
        [&header(kind, data.len(), 0).to_bytes()[..], data].concat()
    }

    /// FORMAT_DESCRIPTION of a file with checksums.
    fn format() -> Vec<u8> {
        let data = [&[4, 0][..], b"9.7.0", &[0; 45], &[0; 4], &[19], &[0; 40], &[1]].concat();
        sent(kind::FORMAT_DESCRIPTION, &data, 126)
    }

    /// A TRANSACTION_PAYLOAD of these events, declared to have `more` bytes more.
    fn payload(events: &[u8], more: usize) -> Vec<u8> {
        let body = zstd::encode_all(events, 3).unwrap();
        let number = |value: usize| u64::try_from(value).unwrap().to_le_bytes();
        let size = |kind: u8, value: usize| [&[kind, 9, 0xfe][..], &number(value)].concat();
        let data = [size(1, body.len()), vec![2, 1, 0], size(3, events.len() + more), vec![0], body].concat();
        sent(kind::TRANSACTION_PAYLOAD, &data, 400)
    }

    fn table_map(id: u8, table: &str) -> Vec<u8> {
        let name = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes(), &[0]].concat();
        [&[id, 0, 0, 0, 0, 0, 1, 0][..], &name("shop"), &name(table), &[1, 3, 0, 0]].concat()
    }

    fn rows(id: u8, images: usize) -> Vec<u8> {
        [&[id, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0xff][..], &vec![7; images]].concat()
    }

    fn selection() -> Arc<TableSelection> {
        let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[capture]\ntables = [\"shop.orders\"]";
        let config: Config = toml::from_str(config).unwrap();
        Arc::new(TableSelection::new(&config).unwrap())
    }

    fn take_all(intake: &mut Intake, event: &[u8], batch: &mut EventBatch) -> Result<(), DecodeError> {
        intake.take(event, batch)?;
        while intake.is_unfolding() {
            intake.unfold(event, batch)?;
        }
        Ok(())
    }

    #[test]
    fn a_damaged_event_does_not_get_in() {
        let (mut intake, mut batch) = (Intake::default(), EventBatch::default());
        intake.take(&format(), &mut batch).unwrap();
        batch.clear();
        let good = sent(kind::XID, &[7; 8], 400);
        intake.take(&good, &mut batch).unwrap();
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 4;
            assert!(intake.take(&damaged, &mut batch).is_err(), "{at}");
        }
        let events: Vec<_> = batch.iter().collect();
        let expected =
            BatchedEvent { header: header(kind::XID, 12, 400), data: &[7; 8], inside_payload: false };
        assert_eq!(events, [expected]);
    }

    #[test]
    fn row_events_of_tables_that_are_not_selected_leave_only_their_place() {
        let (mut intake, mut batch) = (Intake::new(Some(selection())), EventBatch::default());
        take_all(&mut intake, &format(), &mut batch).unwrap();
        batch.clear();
        let (orders, others) = (table_map(1, "orders"), table_map(2, "others"));
        let plain = [
            sent(kind::TABLE_MAP, &orders, 10),
            sent(kind::TABLE_MAP, &others, 20),
            sent(kind::WRITE_ROWS, &rows(1, 50), 30),
            sent(kind::WRITE_ROWS, &rows(2, 50), 40),
            sent(kind::DELETE_ROWS, &rows(3, 50), 50),
        ];
        for event in &plain {
            take_all(&mut intake, event, &mut batch).unwrap();
        }
        // The ids come to stand for the other table each.
        let events = [
            folded(kind::TABLE_MAP, &table_map(2, "orders")),
            folded(kind::TABLE_MAP, &table_map(1, "others")),
            folded(kind::UPDATE_ROWS, &rows(1, 500_000)),
            folded(kind::UPDATE_ROWS, &rows(2, 300_000)),
            folded(kind::XID, &[7; 8]),
        ];
        take_all(&mut intake, &payload(&events.concat(), 0), &mut batch).unwrap();
        let shape: Vec<_> = batch
            .iter()
            .map(|event| {
                (event.header.kind, event.data.len(), event.header.next_offset, event.inside_payload)
            })
            .collect();
        let wanted = [
            (kind::TABLE_MAP, orders.len(), 10, false),
            (kind::TABLE_MAP, others.len(), 20, false),
            (kind::WRITE_ROWS, 62, 30, false),
            (kind::IGNORABLE, 0, 40, false),
            (kind::DELETE_ROWS, 62, 50, false),
            (kind::TRANSACTION_PAYLOAD, 0, 400, false),
            (kind::TABLE_MAP, orders.len(), 0, true),
            (kind::TABLE_MAP, others.len(), 0, true),
            (kind::IGNORABLE, 0, 0, true),
            (kind::UPDATE_ROWS, 300_012, 0, true),
            (kind::XID, 8, 0, true),
        ];
        assert_eq!(shape, wanted);
        let ignored = batch.iter().nth(3).unwrap();
        assert_eq!(
            parse(ignored.header.kind, &[], &FormatContext::default()),
            Ok(EventBody::Other(kind::IGNORABLE))
        );
    }

    #[test]
    fn the_beginning_of_a_large_event_is_enough_to_pass_over_it() {
        let (mut intake, mut batch) = (Intake::new(Some(selection())), EventBatch::default());
        for event in [
            format(),
            sent(kind::TABLE_MAP, &table_map(1, "orders"), 10),
            sent(kind::TABLE_MAP, &table_map(2, "others"), 20),
        ] {
            intake.take(&event, &mut batch).unwrap();
        }
        batch.clear();
        let large = |id| sent(kind::WRITE_ROWS, &rows(id, 1000), 30);
        assert!(!intake.passes_over(&large(1)[..100]) && intake.passes_over(&large(2)[..25]));
        for bytes in 0..25 {
            assert!(!intake.passes_over(&large(2)[..bytes]), "{bytes} bytes do not tell");
        }
        let whole = large(2);
        let mut pass_over = |event: &[u8]| {
            intake.pass_over(&event[..25]);
            intake.passed_over(event.len(), crc32fast::hash(event), &mut batch)
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            assert!(pass_over(&damaged).is_err(), "{at}");
        }
        let error = pass_over(&whole[..whole.len() - 1]).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
        pass_over(&whole).unwrap();
        let events: Vec<_> = batch
            .iter()
            .map(|event| (event.header.kind, event.data.len(), event.header.next_offset))
            .collect();
        assert_eq!(events, [(kind::IGNORABLE, 0, 30)]);
    }

    #[test]
    fn nothing_gets_in_behind_a_compressed_transaction_of_which_a_part_is_missing() {
        let (mut intake, mut batch) = (Intake::default(), EventBatch::default());
        let events = folded(kind::XID, &[7; 8]);
        take_all(&mut intake, &payload(&events, 0), &mut batch).unwrap();
        let shape: Vec<_> =
            batch.iter().map(|event| (event.header.kind, event.data.len(), event.inside_payload)).collect();
        assert_eq!(shape, [(kind::TRANSACTION_PAYLOAD, 0, false), (kind::XID, 8, true)]);
        let error = take_all(&mut intake, &payload(&events, 20), &mut batch).unwrap_err();
        assert!(matches!(error, DecodeError::PayloadSize { .. }), "{error}");
    }
}
