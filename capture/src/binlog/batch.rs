//! Events of the stream, one behind the other in one piece of memory. Enters: events of mysql_async's stream. Leaves:
//! header and data of each, in the same order, for another thread.
//!
//! mysql_async makes three allocations for every event, one of them a copy of the FORMAT_DESCRIPTION. Here they end on the
//! thread that made them; what goes to the sequencer is a few large buffers, which come back.
//!
//! Invariant: no byte of a damaged event gets in, and no event of a transaction that was not unfolded whole.

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
            self.payload = Some(parse_payload(data)?.check());
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

    fn event(kind: u8, data: &[u8]) -> BatchedEvent<'_> {
        let header =
            EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes: 9, next_offset: 0, flags: 0 };
        BatchedEvent { header, data, inside_payload: kind == kind::XID }
    }

    #[test]
    fn events_leave_as_they_came_and_the_memory_stays() {
        let events = [event(kind::QUERY, b"BEGIN"), event(kind::STOP, b""), event(kind::XID, b"12345678")];
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
            assert!(capacity >= batch.size_bytes() && batch.capacity_bytes() == capacity);
        }
    }
}
