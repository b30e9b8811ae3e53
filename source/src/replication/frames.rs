//! Packets of MySQL's protocol out of a stream of bytes, without IO. A packet comes in pieces of at most 16 MiB - 1, each behind
//! four bytes: its length and a number (MySQL's protocol documentation, "MySQL Packets").
//!
//! Invariant: a packet that fits into the buffer is not copied and costs no allocation; a larger one is put together beside it,
//! and given up again after it. Of one that is to be skipped no more than its beginning is kept, and its CRC32.

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
    /// Nowhere: it was skipped.
    Skipped(Skipped),
}

/// What is known of a packet that was skipped, without those of its first bytes that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// How many bytes it had.
    pub bytes: usize,
    /// CRC32 over them.
    pub crc32: u32,
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
    skipped: Option<Skipping>,
}

/// A packet that is being skipped.
#[derive(Debug)]
struct Skipping {
    left_out: usize,
    hasher: crc32fast::Hasher,
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

    /// True if no byte waits behind the packets that were taken.
    pub(super) const fn is_empty(&self) -> bool {
        self.begin == self.end && self.large.is_none()
    }

    /// So many bytes have been put there.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// The next packet, if it is there whole, or if it was skipped and its last byte has come.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.large.is_none() && self.large_bytes.capacity() > 0 {
            self.large_bytes = Vec::new();
        }
        loop {
            if let Some(large) = &mut self.large {
                let there = large.missing.min(self.end - self.begin);
                let bytes = self.buffer.get(self.begin..self.begin + there).unwrap_or_default();
                match &mut large.skipped {
                    Some(skipping) => skipping.hasher.update(bytes),
                    None => self.large_bytes.extend_from_slice(bytes),
                }
                self.begin += there;
                large.missing -= there;
                if large.missing > 0 {
                    return Ok(None);
                }
                if large.last_piece {
                    let (size, skipped) = (large.size, large.skipped.take());
                    self.large = None;
                    return Ok(Some(skipped.map_or(Frame::Large, |Skipping { left_out, hasher }| {
                        let bytes = size.saturating_sub(left_out);
                        Frame::Skipped(Skipped { bytes, crc32: hasher.finalize() })
                    })));
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
        let (before, skipped) = self.large.take().map_or((0, None), |large| (large.size, large.skipped));
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
            Frame::Skipped(_) => &[],
        }
    }

    /// The beginning of a packet of which the rest is yet to come, if it does not fit into the buffer.
    pub(super) fn begun(&self) -> Option<&[u8]> {
        self.large.as_ref().filter(|large| large.skipped.is_none()).map(|_| self.large_bytes.as_slice())
    }

    /// The rest of that packet is not kept, and [`Self::take`] tells only what is known of it without its first `left_out`
    /// bytes, which are there already.
    pub(super) fn skip(&mut self, left_out: usize) {
        if let Some(large) = self.large.as_mut().filter(|large| large.skipped.is_none()) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(self.large_bytes.get(left_out..).unwrap_or_default());
            large.skipped = Some(Skipping { left_out, hasher });
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

    /// Packets of these sizes, in which no byte stands for the one before it, or for the one a piece before.
    fn filled(sizes: &[usize]) -> Vec<Vec<u8>> {
        let byte = |number: u8, at: usize| number ^ u8::try_from((at + at / 251) % 251).unwrap();
        sizes
            .iter()
            .zip(1_u8..)
            .map(|(size, number)| (0..*size).map(|at| byte(number, at)).collect())
            .collect()
    }

    /// What is to be known of a packet that is skipped.
    fn known(packet: &[u8]) -> Skipped {
        Skipped { bytes: packet.len() - 1, crc32: crc32fast::hash(&packet[1..]) }
    }

    /// Reads them in portions of the given sizes, by turns. The packets whose first byte is `skip` are skipped if they can be.
    fn read(stream: &[u8], portions: &[usize], skip: Option<u8>) -> (Vec<Vec<u8>>, Vec<Skipped>) {
        let mut frames = Frames::new(1 << 30);
        let (mut packets, mut rest, mut skipped) = (Vec::new(), stream, Vec::new());
        for portion in portions.iter().cycle() {
            while let Some(frame) = frames.take().unwrap() {
                match frame {
                    Frame::Skipped(known) => skipped.push(known),
                    frame => packets.push(frames.bytes(&frame).to_vec()),
                }
            }
            if frames.begun().is_some_and(|begun| begun.first().is_some_and(|first| Some(*first) == skip)) {
                frames.skip(1);
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
            let packets = filled(&sizes);
            prop_assert!(read(&sent(&packets), &portions, None).0 == packets);
            let (kept, skipped) = read(&sent(&packets), &portions, Some(1));
            prop_assert!(kept == packets[skipped.len()..], "only the first may be skipped");
            prop_assert!(skipped.iter().all(|skipped| *skipped == known(&packets[0])));
        }
    }

    #[test]
    fn packets_of_many_pieces() {
        let packets = filled(&[WHOLE_PIECE - 1, WHOLE_PIECE, WHOLE_PIECE + 1, 2 * WHOLE_PIECE, 5]);
        let stream = sent(&packets);
        assert!(read(&stream, &[BUFFER_BYTES, 1], None).0 == packets);
        let (kept, skipped) = read(&stream, &[BUFFER_BYTES], Some(4));
        assert!(kept == [&packets[..3], &packets[4..]].concat());
        assert_eq!(skipped, [known(&packets[3])]);
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
                frames.skip(1);
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
