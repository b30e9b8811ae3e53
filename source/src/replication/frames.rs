//! Packets of MySQL's protocol out of a stream of bytes, without IO. A packet comes in pieces of at most 16 MiB - 1, each behind
//! four bytes: its length and a number (MySQL's protocol documentation, "MySQL Packets").
//!
//! Invariant: a packet that fits into the buffer is not copied and costs no allocation; a larger one is put together beside it,
//! and given up again after it. Of one that is to be skipped no more than its beginning is kept.

use std::ops::Range;

/// A piece of this length is followed by another of the same packet.
const WHOLE_PIECE: usize = 0xff_ffff;
/// Length and number before each piece.
const HEADER_BYTES: usize = 4;
/// Bytes read from the server at a time, at most.
const BUFFER_BYTES: usize = 128 * 1024;

/// Why bytes are not packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// A piece has another number than the one that is due.
    OutOfOrder,
    /// A packet is larger than the limit.
    TooLarge,
}

/// A packet that is in memory whole, until the next call of [`Frames::take`] or [`Frames::space`].
#[derive(Debug, Clone)]
pub enum Frame {
    /// Here in the buffer.
    Buffered(Range<usize>),
    /// Beside it.
    Large,
}

/// The packet that is put together beside the buffer.
#[derive(Debug)]
struct Large {
    /// What of the present piece has not come yet.
    missing: usize,
    /// The present piece is the packet's last.
    last_piece: bool,
    /// All bytes of the packet so far.
    size: usize,
    skipped: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    large: Option<Large>,
    large_bytes: Vec<u8>,
    /// Number of the next piece, from either side.
    pub(super) sequence: u8,
    max_packet_bytes: usize,
}

impl Frames {
    /// Packets of at most `max_packet_bytes`.
    pub(super) fn new(max_packet_bytes: usize) -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            large: None,
            large_bytes: Vec::new(),
            sequence: 0,
            max_packet_bytes,
        }
    }

    /// Where the next bytes of the server go. Never empty once [`Self::take`] has found no packet.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes have been put there.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// The next packet, if it is there whole. One that was skipped is passed over.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.large.is_none() && self.large_bytes.capacity() > 0 {
            self.large_bytes = Vec::new();
        }
        loop {
            if let Some(large) = &mut self.large {
                let there = large.missing.min(self.end - self.begin);
                if !large.skipped {
                    let bytes = self.buffer.get(self.begin..self.begin + there).unwrap_or_default();
                    self.large_bytes.extend_from_slice(bytes);
                }
                self.begin += there;
                large.missing -= there;
                if large.missing > 0 {
                    return Ok(None);
                }
                if large.last_piece {
                    let skipped = large.skipped;
                    self.large = None;
                    if !skipped {
                        return Ok(Some(Frame::Large));
                    }
                    self.large_bytes.clear();
                    continue;
                }
            }
            let Some([first, second, third, number]) = self
                .buffer
                .get(self.begin..self.end)
                .and_then(|rest| rest.first_chunk::<HEADER_BYTES>())
                .copied()
            else {
                return Ok(None);
            };
            let length = usize::from(first) | usize::from(second) << 8 | usize::from(third) << 16;
            let whole = HEADER_BYTES + length;
            if self.large.is_none() && whole <= self.buffer.len() {
                if whole > self.end - self.begin {
                    return Ok(None);
                }
                self.due(number)?;
                let packet = self.begin + HEADER_BYTES..self.begin + whole;
                self.begin += whole;
                return Ok(Some(Frame::Buffered(packet)));
            }
            self.due(number)?;
            self.begin += HEADER_BYTES;
            self.begin_piece(length)?;
        }
    }

    fn begin_piece(&mut self, length: usize) -> Result<(), FrameError> {
        let (before, skipped) = self.large.as_ref().map_or((0, false), |large| (large.size, large.skipped));
        let size = before + length;
        if size > self.max_packet_bytes {
            return Err(FrameError::TooLarge);
        }
        self.large = Some(Large { missing: length, last_piece: length < WHOLE_PIECE, size, skipped });
        Ok(())
    }

    fn due(&mut self, number: u8) -> Result<(), FrameError> {
        if number != self.sequence {
            return Err(FrameError::OutOfOrder);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    /// The bytes of a packet.
    pub(super) fn bytes(&self, frame: &Frame) -> &[u8] {
        match frame {
            Frame::Buffered(range) => self.buffer.get(range.clone()).unwrap_or_default(),
            Frame::Large => &self.large_bytes,
        }
    }

    /// The beginning of a packet of which the rest is yet to come, if it does not fit into the buffer.
    pub(super) fn begun(&self) -> Option<&[u8]> {
        self.large.as_ref().filter(|large| !large.skipped).map(|_| self.large_bytes.as_slice())
    }

    /// The rest of that packet is not kept, and [`Self::take`] passes over it.
    pub(super) fn skip(&mut self) {
        if let Some(large) = &mut self.large {
            large.skipped = true;
            self.large_bytes = Vec::new();
        }
    }
}

/// Writes a packet, in as many pieces as it takes.
pub(super) fn write(packet: &[u8], sequence: &mut u8, out: &mut Vec<u8>) {
    let mut rest = packet;
    loop {
        let (piece, behind) = rest.split_at(rest.len().min(WHOLE_PIECE));
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(length.get(..3).unwrap_or_default());
        out.push(*sequence);
        *sequence = sequence.wrapping_add(1);
        out.extend_from_slice(piece);
        rest = behind;
        if piece.len() < WHOLE_PIECE {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packets as a server would send them.
    fn sent(packets: &[Vec<u8>]) -> Vec<u8> {
        let (mut out, mut sequence) = (Vec::new(), 0);
        packets.iter().for_each(|packet| write(packet, &mut sequence, &mut out));
        out
    }

    /// Reads them in portions of the given sizes, by turns. The packets whose first byte is `skip` are skipped if they can be.
    fn read(stream: &[u8], portions: &[usize], skip: Option<u8>) -> (Vec<Vec<u8>>, usize) {
        let mut frames = Frames::new(1 << 30);
        let (mut packets, mut rest, mut skipped) = (Vec::new(), stream, 0);
        for portion in portions.iter().cycle() {
            while let Some(frame) = frames.take().unwrap() {
                packets.push(frames.bytes(&frame).to_vec());
            }
            if frames.begun().is_some_and(|begun| begun.first().is_some_and(|first| Some(*first) == skip)) {
                frames.skip();
                skipped += 1;
            }
            if rest.is_empty() {
                break;
            }
            let space = frames.space();
            assert!(!space.is_empty());
            let count = rest.len().min(space.len()).min(*portion);
            space[..count].copy_from_slice(&rest[..count]);
            frames.filled(count);
            rest = &rest[count..];
        }
        (packets, skipped)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn packets_leave_as_they_were_sent(
            sizes in prop::collection::vec(prop_oneof![0_usize..300, BUFFER_BYTES - 8..BUFFER_BYTES + 8, 0..3 * BUFFER_BYTES], 1..8),
            portions in prop::collection::vec(1_usize..BUFFER_BYTES, 1..5),
        ) {
            let packets: Vec<Vec<u8>> =
                sizes.iter().zip(1_u8..).map(|(size, number)| vec![number; *size]).collect();
            prop_assert!(read(&sent(&packets), &portions, None).0 == packets);
            let (kept, skipped) = read(&sent(&packets), &portions, Some(1));
            prop_assert!(kept == packets[skipped..], "only the first may be skipped");
        }
    }

    #[test]
    fn packets_of_many_pieces() {
        let packets: Vec<Vec<u8>> = [WHOLE_PIECE - 1, WHOLE_PIECE, WHOLE_PIECE + 1, 2 * WHOLE_PIECE, 5]
            .iter()
            .zip(1_u8..)
            .map(|(size, number)| vec![number; *size])
            .collect();
        let stream = sent(&packets);
        assert!(read(&stream, &[BUFFER_BYTES, 1], None).0 == packets);
        assert!(read(&stream, &[BUFFER_BYTES], Some(4)).0 == [&packets[..3], &packets[4..]].concat());
    }

    #[test]
    fn the_memory_of_a_large_packet_is_given_up_and_of_a_skipped_one_none_is_taken() {
        let stream = sent(&[vec![1; 10 * BUFFER_BYTES], vec![2; 3]]);
        let mut frames = Frames::new(1 << 30);
        let (mut rest, mut most, mut packets) = (stream.as_slice(), 0, 0);
        while packets < 2 {
            while frames.take().unwrap().is_some() {
                packets += 1;
            }
            if packets == 0 && frames.begun().is_some_and(|begun| begun.len() > 100) {
                frames.skip();
                packets += 1;
            }
            most = most.max(frames.large_bytes.capacity());
            let space = frames.space();
            let count = rest.len().min(space.len());
            space[..count].copy_from_slice(&rest[..count]);
            frames.filled(count);
            rest = &rest[count..];
        }
        assert!(most <= 2 * BUFFER_BYTES, "{most}");
    }

    #[test]
    fn a_wrong_number_and_a_packet_past_the_limit_are_errors() {
        let mut frames = Frames::new(BUFFER_BYTES + 10);
        frames.space()[..5].copy_from_slice(&[1, 0, 0, 1, 9]);
        frames.filled(5);
        assert_eq!(frames.take().unwrap_err(), FrameError::OutOfOrder);
        let mut frames = Frames::new(BUFFER_BYTES + 10);
        let large = sent(&[vec![0; BUFFER_BYTES + 11]]);
        frames.space()[..9].copy_from_slice(&large[..9]);
        frames.filled(9);
        assert_eq!(frames.take().unwrap_err(), FrameError::TooLarge);
    }
}
