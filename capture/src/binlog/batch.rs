//! Events of the stream, one behind the other in one piece of memory, in the order of the stream, for another thread: what goes
//! to the sequencer is a few large buffers, which come back to be filled again.

use super::event::EventHeader;

/// An event whose checksum has been compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchedEvent<'a> {
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
        self.begin_event(data);
        self.end_event(header, inside_payload);
    }

    /// Copies the first bytes of an event whose data comes in parts. One that is not ended is dropped by the next.
    pub(super) fn begin_event(&mut self, data: &[u8]) {
        self.data.truncate(self.entries.last().map_or(0, |entry| entry.end));
        self.data.extend_from_slice(data);
    }

    /// Copies more of it.
    pub(super) fn extend_event(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
    }

    /// The event is there whole.
    pub(super) fn end_event(&mut self, header: EventHeader, inside_payload: bool) {
        self.entries.push(Entry { header, inside_payload, end: self.data.len() });
    }

    #[must_use]
    pub fn last(&self) -> Option<BatchedEvent<'_>> {
        let (entry, before) = self.entries.split_last()?;
        let begin = before.last().map_or(0, |entry| entry.end);
        let data = self.data.get(begin..entry.end)?;
        Some(BatchedEvent { header: entry.header, data, inside_payload: entry.inside_payload })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::kind;

    fn header(kind: u8, size_bytes: usize, next_offset: u32) -> EventHeader {
        let size_bytes = u32::try_from(size_bytes).unwrap();
        EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes, next_offset, flags: 0 }
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
            // One that was given up leaves nothing.
            batch.begin_event(b"given up");
            batch.begin_event(b"12");
            batch.extend_event(b"3");
            batch.end_event(header(kind::XID, 9, 0), false);
            assert_eq!(batch.last().unwrap().data, b"123");
            assert_eq!(batch.iter().take(3).collect::<Vec<_>>(), events, "{round}");
            assert_eq!(batch.size_bytes(), 16 + 4 * size_of::<Entry>());
            let capacity = batch.capacity_bytes();
            batch.clear();
            assert!(batch.is_empty() && batch.iter().next().is_none());
            assert!(capacity > 0 && batch.capacity_bytes() == capacity);
        }
    }
}
