//! East Asian character sets: encoding_rs, with MySQL's exceptions.

use super::exceptions::Run;
use super::put_character;
use encoding_rs::{DecoderResult, Encoding};

/// How many bytes a character takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Two from 0x81 on.
    Double,
    /// Two or, if the second is a digit, four from 0x81 on.
    Gb18030,
    /// Two, but one from 0xa1 to 0xdf.
    ShiftJis,
    /// Two from 0x80 on, but three after 0x8f.
    Euc,
}

impl Layout {
    pub(super) fn length(self, first: u8, second: u8) -> usize {
        match self {
            _ if first < 0x80 => 1,
            Self::ShiftJis if (0xa1..=0xdf).contains(&first) => 1,
            Self::Gb18030 if second.is_ascii_digit() => 4,
            Self::Euc if first == 0x8f => 3,
            _ => 2,
        }
    }
}

/// A character set of one to four bytes a character.
#[derive(Debug, Clone, Copy)]
pub(super) struct MultiByte {
    pub(super) layout: Layout,
    pub(super) encoding: &'static Encoding,
    pub(super) exceptions: &'static [Run],
}

impl PartialEq for MultiByte {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
            && std::ptr::eq(self.encoding, other.encoding)
            && std::ptr::eq(self.exceptions, other.exceptions)
    }
}

impl Eq for MultiByte {}

impl MultiByte {
    /// Appends the text in UTF-8. Runs without exceptions go through encoding_rs at once.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (mut rest, mut plain_bytes) = (bytes, 0);
        while let Some(tail) = rest.get(plain_bytes..).filter(|tail| !tail.is_empty()) {
            let first = *tail.first()?;
            let length = self.layout.length(first, tail.get(1).copied().unwrap_or_default());
            let character = tail.get(..length)?;
            match self.exception(character) {
                None => plain_bytes += length,
                Some(code) => {
                    self.decode_plain(rest.get(..plain_bytes)?, out)?;
                    put_character(out, code)?;
                    rest = tail.get(length..)?;
                    plain_bytes = 0;
                }
            }
        }
        self.decode_plain(rest, out)
    }

    /// The character that MySQL has at this code and encoding_rs has not.
    fn exception(self, character: &[u8]) -> Option<u32> {
        if self.exceptions.is_empty() || character.len() < 2 {
            return None;
        }
        let code = character.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
        let after = self.exceptions.partition_point(|(first, _, _)| *first <= code);
        let (first, count, start) = self.exceptions.get(after.checked_sub(1)?)?;
        let offset = code - first;
        let question_mark = *start == u32::from('?');
        (offset < *count).then_some(if question_mark { *start } else { start + offset })
    }

    /// Appends characters that are no exceptions. What encoding_rs does not know is a question mark, as in MySQL.
    fn decode_plain(self, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        while !bytes.is_empty() {
            let start = out.len();
            let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
            out.resize(start + room, 0);
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(bytes, out.get_mut(start..)?, true);
            out.truncate(start + written);
            bytes = bytes.get(read..)?;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => return None,
                DecoderResult::Malformed(_, _) => {
                    out.push(b'?');
                    decoder = self.encoding.new_decoder_without_bom_handling();
                }
            }
        }
        Some(())
    }
}
