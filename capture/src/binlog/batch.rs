//! Events of the stream, one behind the other in one piece of memory. Enters: events of mysql_async's stream. Leaves:
//! header and data of each, in the same order, for another thread.
//!
//! mysql_async makes three allocations for every event, one of them a copy of the FORMAT_DESCRIPTION. Here they end on the
//! thread that made them; what goes to the sequencer is a few large buffers, which come back.
//!
//! Invariant: no byte of a damaged event gets in, and nothing behind a compressed transaction of which a part is missing.

use super::event::{DecodeError, EventHeader, kind};
use super::payload::{PayloadCheck, parse_payload};
use super::stream::accept;
use mysql_async::binlog::events::Event;

/// An event whose checksum has been compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchedEvent<'a> {
    /// Header.
    pub header: EventHeader,
    /// Data without the checksum; nothing of a TRANSACTION_PAYLOAD, for the events in it follow.
    pub data: &'a [u8],
    /// It was in a compressed transaction and has no place of its own in the file.
    pub inside_payload: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    header: EventHeader,
    inside_payload: bool,
    /// Where its data ends; it begins where that of the one before ends.
    end: usize,
}

/// Events in order.
#[derive(Debug, Default)]
pub struct EventBatch {
    entries: Vec<Entry>,
    data: Vec<u8>,
}

impl EventBatch {
    /// Copies an event behind the others.
    pub fn push(&mut self, event: BatchedEvent<'_>) {
        let BatchedEvent { header, data, inside_payload } = event;
        self.data.extend_from_slice(data);
        self.entries.push(Entry { header, inside_payload, end: self.data.len() });
    }

    /// The events, in order.
    pub fn iter(&self) -> impl Iterator<Item = BatchedEvent<'_>> {
        let mut rest = self.data.as_slice();
        let mut begin = 0;
        self.entries.iter().map_while(move |entry| {
            debug_assert!(entry.end <= self.data.len() && entry.end >= begin);
            let (data, behind) = rest.split_at_checked(entry.end - begin)?;
            (rest, begin) = (behind, entry.end);
            Some(BatchedEvent { header: entry.header, data, inside_payload: entry.inside_payload })
        })
    }

    /// True without events.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the events take, bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.data.len() + self.entries.len() * size_of::<Entry>()
    }

    /// What is allocated, bytes.
    #[must_use]
    pub const fn capacity_bytes(&self) -> usize {
        self.data.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives back what is allocated beyond the events.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.data.shrink_to_fit();
    }

    /// Drops the events, keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.data.clear();
    }
}

/// Takes the events of one stream, from its beginning.
#[derive(Debug, Default)]
pub struct Intake {
    payload: Option<PayloadCheck>,
}

impl Intake {
    /// Checks the next event of the stream and copies it behind those in `batch`, which stays as it is if the event is
    /// refused.
    ///
    /// # Errors
    /// [`DecodeError`]: a wrong checksum, or a compressed transaction of which something is missing.
    pub fn take(&mut self, event: &Event, batch: &mut EventBatch) -> Result<(), DecodeError> {
        let inside_payload = self.payload.is_some_and(|payload| payload.is_open());
        let (header, mut data) = accept(event, inside_payload)?;
        if let Some(payload) = self.payload.as_mut().filter(|_| inside_payload) {
            payload.count(&header)?;
        } else if header.kind == kind::TRANSACTION_PAYLOAD {
            self.payload = Some(parse_payload(data)?);
            data = &[];
        }
        batch.push(BatchedEvent { header, data, inside_payload });
        Ok(())
    }

    /// To be called when the stream ends where it should.
    ///
    /// # Errors
    /// [`DecodeError::PayloadSize`] if events of a compressed transaction are missing.
    pub fn finish(self) -> Result<(), DecodeError> {
        self.payload.map_or(Ok(()), PayloadCheck::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::binlog::events::{BinlogEventFooter, FormatDescriptionEvent};
    use mysql_async::binlog::{BinlogChecksumAlg, BinlogVersion};

    fn header(kind: u8, size_bytes: usize, next_offset: u32) -> EventHeader {
        let size_bytes = u32::try_from(size_bytes).unwrap();
        EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes, next_offset, flags: 0 }
    }

    /// An event with its CRC32, as a server sends it.
    fn sent(kind: u8, data: &[u8], next_offset: u32) -> Vec<u8> {
        let header = header(kind, EventHeader::SIZE_BYTES + data.len() + 4, next_offset);
        let mut bytes = [&header.to_bytes()[..], data].concat();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Event {
        let format = FormatDescriptionEvent::new(BinlogVersion::Version4)
            .with_footer(BinlogEventFooter::new(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32));
        Event::read(&format, bytes).unwrap()
    }

    /// The data of a TRANSACTION_PAYLOAD that declares `bytes` bytes of events and holds none.
    fn payload(bytes: u8) -> Vec<u8> {
        vec![1, 1, 0, 2, 1, 0, 3, 1, bytes, 0]
    }

    #[test]
    fn events_leave_as_they_came_and_the_memory_stays() {
        let event =
            |kind, data, inside_payload| BatchedEvent { header: header(kind, 9, 0), data, inside_payload };
        let events = [
            event(kind::QUERY, &b"BEGIN"[..], false),
            event(kind::STOP, b"", false),
            event(kind::XID, b"12345678", true),
        ];
        let mut batch = EventBatch::default();
        assert!(batch.is_empty());
        for round in 0..3 {
            for event in events {
                batch.push(event);
            }
            assert_eq!(batch.iter().collect::<Vec<_>>(), events, "{round}");
            assert_eq!(batch.size_bytes(), 13 + 3 * size_of::<Entry>());
            let capacity = batch.capacity_bytes();
            batch.clear();
            assert!(batch.is_empty() && batch.iter().next().is_none());
            assert!(capacity > 0 && batch.capacity_bytes() == capacity);
        }
    }

    #[test]
    fn a_damaged_event_does_not_get_in() {
        let (mut intake, mut batch) = (Intake::default(), EventBatch::default());
        let good = sent(kind::XID, &[7; 8], 400);
        intake.take(&read(&good), &mut batch).unwrap();
        for at in (0..good.len()).filter(|at| !(9..13).contains(at)) {
            let mut damaged = good.clone();
            damaged[at] ^= 4;
            let error = intake.take(&read(&damaged), &mut batch).unwrap_err();
            assert!(matches!(error, DecodeError::Checksum { .. }), "{at}: {error}");
        }
        let events: Vec<_> = batch.iter().collect();
        let expected =
            BatchedEvent { header: header(kind::XID, good.len(), 400), data: &[7; 8], inside_payload: false };
        assert_eq!(events, [expected]);
        intake.finish().unwrap();
    }

    #[test]
    fn nothing_gets_in_behind_a_compressed_transaction_that_was_cut_short() {
        let (mut intake, mut batch) = (Intake::default(), EventBatch::default());
        let inner = sent(kind::XID, &[7; 8], 0);
        let size = u8::try_from(inner.len()).unwrap();
        intake.take(&read(&sent(kind::TRANSACTION_PAYLOAD, &payload(size), 400)), &mut batch).unwrap();
        intake.take(&read(&inner), &mut batch).unwrap();
        intake.take(&read(&sent(kind::STOP, &[], 500)), &mut batch).unwrap();
        let shape: Vec<_> =
            batch.iter().map(|event| (event.header.kind, event.data.len(), event.inside_payload)).collect();
        assert_eq!(
            shape,
            [(kind::TRANSACTION_PAYLOAD, 0, false), (kind::XID, 8, true), (kind::STOP, 0, false)]
        );

        // zstd failed: nothing comes between the payload and what is behind it.
        intake.take(&read(&sent(kind::TRANSACTION_PAYLOAD, &payload(size), 600)), &mut batch).unwrap();
        let error = intake.take(&read(&sent(kind::STOP, &[], 700)), &mut batch).unwrap_err();
        assert!(matches!(error, DecodeError::PayloadSize { .. }), "{error}");
        assert_eq!(batch.iter().count(), 4);
        let mut open = Intake::default();
        open.take(&read(&sent(kind::TRANSACTION_PAYLOAD, &payload(size), 600)), &mut batch).unwrap();
        assert!(open.finish().is_err());
    }
}
