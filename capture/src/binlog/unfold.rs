//! The events of a compressed transaction, one by one. What is unfolded and not taken is a bounded window, however large the
//! transaction is; zstd keeps what its frames ask for, 8 MiB at the server's highest usual level, 128 MiB at most.
//!
//! Invariant: an event is only handed out whole, and the last one only if nothing is missing and nothing is left.

use super::batch::EventBatch;
use super::event::{DecodeError, EventHeader, kind};
use super::filter::{ID_BYTES, TableFilter};
use super::payload::{PayloadCheck, PayloadHeader};
use zstd::stream::raw::{Decoder, Operation};

/// Unfolded bytes that wait to be taken.
const WINDOW_BYTES: usize = 128 * 1024;
/// The decoder of a larger transaction, whose frames may have asked for much memory, is not used again.
const KEPT_BYTES: u64 = 1024 * 1024;

/// See the module. Made once for a stream.
#[derive(Default)]
pub(super) struct Unfolder {
    decoder: Option<Decoder<'static>>,
    window: Vec<u8>,
    begin: usize,
    end: usize,
    open: Option<Open>,
}

/// The payload that is being unfolded.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// What is left of it in the event's data.
    at: usize,
    end: usize,
    compressed: bool,
    check: PayloadCheck,
}

impl std::fmt::Debug for Unfolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfolder").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Unfolder {
    /// A payload begins.
    pub(super) fn start(&mut self, header: PayloadHeader) -> Result<(), DecodeError> {
        let PayloadHeader { begin: at, end, compressed, check } = header;
        if compressed {
            let broken = |_| DecodeError::malformed(kind::TRANSACTION_PAYLOAD, "no memory for zstd");
            match &mut self.decoder {
                Some(decoder) => decoder.reinit().map_err(broken)?,
                none => *none = Some(Decoder::new().map_err(broken)?),
            }
        }
        self.window.resize(WINDOW_BYTES, 0);
        (self.begin, self.end) = (0, 0);
        self.open = Some(Open { at, end, compressed, check });
        Ok(())
    }

    /// True until [`Self::next`] has given all events of the payload.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Copies the next event of the payload in `data`, the data of its TRANSACTION_PAYLOAD event, into `batch`; of row events
    /// of tables that `filter` leaves out, only that they were there.
    pub(super) fn next(
        &mut self,
        data: &[u8],
        filter: &TableFilter,
        batch: &mut EventBatch,
    ) -> Result<(), DecodeError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if open.check.is_open() {
            self.event(data, &mut open, filter, batch)?;
            self.open = Some(open);
        }
        if !open.check.is_open() {
            // Whatever comes now was not declared.
            if self.begin < self.end || self.unfold(data, &mut open)? {
                return Err(open.check.error());
            }
            self.open = None;
            if open.check.expected() > KEPT_BYTES {
                self.decoder = None;
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        data: &[u8],
        open: &mut Open,
        filter: &TableFilter,
        batch: &mut EventBatch,
    ) -> Result<(), DecodeError> {
        self.await_bytes(EventHeader::SIZE_BYTES, data, open)?;
        let header = EventHeader::split(self.there()).map(|(header, _)| header).ok_or(open.check.error())?;
        open.check.count(&header)?;
        self.begin += EventHeader::SIZE_BYTES;
        let size = usize::try_from(header.size_bytes).map_err(|_| open.check.error())?;
        let mut missing = size.saturating_sub(EventHeader::SIZE_BYTES);
        self.await_bytes(missing.min(ID_BYTES), data, open)?;
        let kept = filter.keeps(&header, self.there());
        batch.begin_event(&[]);
        while missing > 0 {
            if self.begin == self.end && !self.unfold(data, open)? {
                return Err(open.check.error());
            }
            let part = missing.min(self.end - self.begin);
            if kept {
                batch.extend_event(self.there().get(..part).unwrap_or_default());
            }
            self.begin += part;
            missing -= part;
        }
        batch.end_event(if kept { header } else { header.passed_over() }, true);
        Ok(())
    }

    /// What waits to be taken.
    fn there(&self) -> &[u8] {
        self.window.get(self.begin..self.end).unwrap_or_default()
    }

    /// Unfolds until so many bytes, few against the window, wait.
    fn await_bytes(&mut self, bytes: usize, data: &[u8], open: &mut Open) -> Result<(), DecodeError> {
        while self.end - self.begin < bytes {
            if !self.unfold(data, open)? {
                return Err(open.check.error());
            }
        }
        Ok(())
    }

    /// Unfolds more; false at the end of the payload.
    fn unfold(&mut self, data: &[u8], open: &mut Open) -> Result<bool, DecodeError> {
        self.window.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        let damaged = open.check.error();
        loop {
            let input = data.get(open.at..open.end).ok_or(damaged.clone())?;
            let space = self.window.get_mut(self.end..).unwrap_or_default();
            let (read, written) = match &mut self.decoder {
                Some(decoder) if open.compressed => {
                    let status = decoder.run_on_buffers(input, space).map_err(|_| damaged.clone())?;
                    (status.bytes_read, status.bytes_written)
                }
                _ => {
                    let count = input.len().min(space.len());
                    let (Some(from), Some(to)) = (input.get(..count), space.get_mut(..count)) else {
                        return Err(damaged);
                    };
                    to.copy_from_slice(from);
                    (count, count)
                }
            };
            open.at += read;
            self.end += written;
            if written > 0 {
                return Ok(true);
            }
            if read == 0 {
                return if open.at < open.end { Err(damaged) } else { Ok(false) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::parse_payload;
    use super::*;

    /// A payload event's data, of these events.
    fn payload(events: &[u8], declared: usize, compressed: bool) -> Vec<u8> {
        let body = if compressed { zstd::encode_all(events, 3).unwrap() } else { events.to_vec() };
        payload_of(&body, declared, compressed)
    }

    /// The same, with this as what the events were folded to.
    fn payload_of(body: &[u8], declared: usize, compressed: bool) -> Vec<u8> {
        let number = |value: usize| [&[0xfe][..], &u64::try_from(value).unwrap().to_le_bytes()].concat();
        let field =
            |kind: u8, value: Vec<u8>| [&[kind, u8::try_from(value.len()).unwrap()][..], &value].concat();
        let algorithm = if compressed { vec![0] } else { vec![0xfc, 255, 0] };
        let fields = [field(1, number(body.len())), field(2, algorithm), field(3, number(declared)), vec![0]];
        [&fields.concat(), body].concat()
    }

    fn event(kind: u8, bytes: usize, fill: u8) -> Vec<u8> {
        let header = EventHeader {
            timestamp_seconds: 1,
            kind,
            server_id: 1,
            size_bytes: u32::try_from(EventHeader::SIZE_BYTES + bytes).unwrap(),
            next_offset: 0,
            flags: 0,
        };
        [&header.to_bytes()[..], &vec![fill; bytes]].concat()
    }

    fn unfold(unfolder: &mut Unfolder, data: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, DecodeError> {
        unfolder.start(parse_payload(data)?)?;
        let (filter, mut batch) = (TableFilter::default(), EventBatch::default());
        while unfolder.is_open() {
            unfolder.next(data, &filter, &mut batch)?;
        }
        assert!(batch.iter().all(|event| event.inside_payload));
        Ok(batch.iter().map(|event| (event.header.kind, event.data.to_vec())).collect())
    }

    #[test]
    fn events_of_every_size_come_out_as_they_went_in() {
        let sizes = [5, 0, WINDOW_BYTES - 19, WINDOW_BYTES, 1, 3 * WINDOW_BYTES + 7, 8];
        let events: Vec<Vec<u8>> =
            sizes.iter().zip(1..).map(|(size, fill)| event(kind::QUERY, *size, fill)).collect();
        let expected: Vec<(u8, Vec<u8>)> =
            events.iter().map(|event| (kind::QUERY, event[EventHeader::SIZE_BYTES..].to_vec())).collect();
        let mut unfolder = Unfolder::default();
        for compressed in [true, false, true] {
            let all = events.concat();
            assert!(unfold(&mut unfolder, &payload(&all, all.len(), compressed)).unwrap() == expected);
        }
        assert_eq!(unfold(&mut unfolder, &payload(&[], 0, true)), Ok(Vec::new()));
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        let events = [event(kind::QUERY, 40_000, 1), event(kind::XID, 8, 2)].concat();
        let mut unfolder = Unfolder::default();
        for compressed in [true, false] {
            // More, and less, than declared. What is not compressed declares itself.
            for declared in [events.len() - 1, events.len() + 1, 30] {
                let error = unfold(&mut unfolder, &payload(&events, declared, compressed));
                assert_eq!(error.is_err(), compressed, "{declared}");
            }
            // An event that is cut short, and one that claims to be.
            assert!(
                unfold(&mut unfolder, &payload(&events[..events.len() - 1], events.len(), compressed))
                    .is_err()
            );
            assert!(unfold(&mut unfolder, &payload(&events[..10], 10, compressed)).is_err());
        }
        let whole = payload(&events, events.len(), true);
        // Cut short at any place, which the fields do not tell of.
        let body = zstd::encode_all(events.as_slice(), 3).unwrap();
        for at in 0..body.len() {
            let cut = payload_of(&body[..at], events.len(), true);
            assert!(parse_payload(&cut).is_ok(), "{at}");
            assert!(unfold(&mut unfolder, &cut).is_err(), "{at}");
        }
        assert!(unfold(&mut unfolder, &whole).is_ok(), "the next one is not concerned");
    }

    /// What a flipped bit does to the bytes of a row only the CRC32 of the event can tell; here nothing may go beyond its
    /// bounds, and what comes out has the size that was declared.
    #[test]
    fn a_flipped_bit_does_no_harm_and_never_to_the_next_payload() {
        let events = [event(kind::QUERY, 300, 1), event(kind::XID, 8, 2)].concat();
        let whole = payload(&events, events.len(), true);
        let mut unfolder = Unfolder::default();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(events) = unfold(&mut unfolder, &damaged) {
                let size: usize = events.iter().map(|(_, data)| EventHeader::SIZE_BYTES + data.len()).sum();
                let declared = parse_payload(&damaged).unwrap().check.expected();
                assert_eq!(u64::try_from(size).unwrap(), declared, "{bit}");
            }
            assert_eq!(unfold(&mut unfolder, &whole).unwrap().len(), 2, "{bit}");
        }
    }
}
