//! Does a text come back? Bytes of a character set become Unicode on Kafka and in the destination. MySQL compares the bytes:
//! two keys whose bytes become one text are two rows on the source and would be one behind it.
//!
//! Invariant: of all byte strings that become one text, at most one comes back. It is the one that MySQL makes of the text
//! (read off MySQL 9.7 by converting every code there and back), so that the text also finds its row.

use super::multi_byte::Layout;
use super::{Charset, Form, is_surrogate};

/// Codes of two and three bytes, first and last of a run, whose character MySQL gives another code. Codes that stand for
/// a question mark or another ASCII character are not in here.
type Runs = &'static [(u32, u32)];

const BIG5: Runs = &[
    (0xA15A, 0xA15A),
    (0xA1C3, 0xA1C3),
    (0xA1C5, 0xA1C5),
    (0xA1FE, 0xA1FE),
    (0xA240, 0xA240),
    (0xA2CC, 0xA2CC),
];
const CP932: Runs = &[
    (0x8790, 0x8792),
    (0x8795, 0x8797),
    (0x879A, 0x879C),
    (0xED40, 0xEEFC),
    (0xFA4A, 0xFA54),
    (0xFA58, 0xFA5B),
];
const EUCJPMS: Runs = &[
    (0xADF0, 0xADF2),
    (0xADF5, 0xADF7),
    (0xADFA, 0xADFC),
    (0x8F_A2B7, 0x8F_A2B7),
    (0x8F_A2F1, 0x8F_A2F1),
    (0x8F_F3FD, 0x8F_F4A8),
    (0x8F_F4AB, 0x8F_F4AD),
];
/// The backslash; MySQL writes the wide one instead, 0x815F, which becomes the same character.
const SJIS: Runs = &[(0x5C, 0x5C)];
const SJIS_BACKSLASH: u32 = 0x815F;
/// All but 0xFF of those that stand for U+FFFD.
const TIS620: Runs = &[(0xA0, 0xA0), (0xDB, 0xDE), (0xFC, 0xFE)];

impl Charset {
    /// True if `bytes` are a text at all; what the server shows for those that are not is not to be trusted.
    #[must_use]
    pub fn is_text(&self, bytes: &[u8]) -> bool {
        match self.form {
            Form::Ucs2 | Form::Utf32 => self.has_surrogates(bytes) == Some(false),
            Form::Utf16 { .. } => self.decode(bytes, &mut Vec::new()).is_some(),
            Form::Utf8 | Form::Ascii | Form::SingleByte(_) | Form::MultiByte(_) => true,
        }
    }

    /// True if `text`, which [`Self::decode`] made of `bytes`, becomes `bytes` again.
    #[must_use]
    pub fn comes_back(&self, bytes: &[u8], text: &[u8]) -> bool {
        let (layout, runs) = match self.form {
            // What is decoded at all comes back.
            Form::Utf8 | Form::Utf16 { .. } => return true,
            Form::Ucs2 | Form::Utf32 => return self.has_surrogates(bytes) == Some(false),
            Form::Ascii | Form::SingleByte(_) => (None, if self.name == "tis620" { TIS620 } else { &[] }),
            Form::MultiByte(set) => (
                Some(set.layout),
                match self.name {
                    "big5" => BIG5,
                    "cp932" => CP932,
                    "eucjpms" => EUCJPMS,
                    "sjis" => SJIS,
                    _ => &[],
                },
            ),
        };
        let ascii = |bytes: &[u8]| bytes.iter().filter(|byte| byte.is_ascii()).count();
        let Some(written_as_ascii) = ascii_characters(layout, bytes, runs) else { return false };
        // An ASCII character that was not written as one becomes another byte.
        written_as_ascii == ascii(text)
    }

    /// True if some unit is half of a surrogate pair; `None` if the bytes are no units.
    fn has_surrogates(&self, bytes: &[u8]) -> Option<bool> {
        let found = if self.form == Form::Ucs2 {
            let (units, []) = bytes.as_chunks::<2>() else { return None };
            units.iter().any(|unit| is_surrogate(u32::from(u16::from_be_bytes(*unit))))
        } else {
            let (units, []) = bytes.as_chunks::<4>() else { return None };
            units.iter().any(|unit| is_surrogate(u32::from_be_bytes(*unit)))
        };
        Some(found)
    }
}

/// How many characters are single ASCII bytes; `None` if a code is in one of the runs.
fn ascii_characters(layout: Option<Layout>, bytes: &[u8], runs: Runs) -> Option<usize> {
    let (mut rest, mut count) = (bytes, 0);
    while let [first, tail @ ..] = rest {
        let second = tail.first().copied().unwrap_or_default();
        let length = layout.map_or(1, |layout| layout.length(*first, second));
        let (character, behind) = rest.split_at_checked(length)?;
        let code = character.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
        if runs.iter().any(|(first, last)| (*first..=*last).contains(&code)) {
            return None;
        }
        if first.is_ascii() || (code == SJIS_BACKSLASH && std::ptr::eq(runs, SJIS)) {
            count += 1;
        }
        rest = behind;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(name: &str, bytes: &[u8]) -> bool {
        let charset = Charset::named(name).unwrap();
        let mut text = Vec::new();
        charset.decode(bytes, &mut text).unwrap();
        charset.comes_back(bytes, &text)
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for (name, bytes, expected) in [
            ("ucs2", &b"\0a"[..], true),
            ("ucs2", b"\xd8\x3d", false),
            ("utf16", b"\xd8\x3d\xde\x00", true),
            ("utf16le", b"\x3d\xd8", false),
            ("utf32", b"\0\0\xd8\x3d", false),
            ("latin1", b"\xff", true),
        ] {
            assert_eq!(Charset::named(name).unwrap().is_text(bytes), expected, "{name} {bytes:?}");
        }
    }

    #[test]
    fn only_what_mysql_writes_for_its_text_comes_back() {
        for (name, bytes, expected) in [
            ("utf8mb4", "aé😀".as_bytes(), true),
            ("ascii", b"plain?", true),
            ("ascii", b"a\xe9", false),
            ("latin1", b"caf\xe9 \x80\x81?", true),
            ("cp1250", b"?\x8a", true),
            ("cp1250", b"\x81", false),
            ("armscii8", b"\xa4", false),
            ("tis620", b"\xa1\xff", true),
            ("tis620", b"\xa1\xdb", false),
            ("cp932", b"a\x81\x5f\xfa\x5c\xb1", true),
            ("cp932", b"\xed\x40", false),
            ("cp932", b"\xfa\x54", false),
            ("sjis", b"\x87\x40", false),
            ("sjis", b"a\x81\x5f", true),
            ("sjis", b"\\", false),
            ("eucjpms", b"\xa2\xe2\x8f\xf4\xa9", true),
            ("eucjpms", b"\x8f\xf4\xa1", false),
            ("ujis", b"\xa1\xc0", false),
            ("big5", b"\xa2\xce", true),
            ("big5", b"\xa2\xcc", false),
            ("gbk", b"\xd6\xd0?", true),
            ("gbk", b"\xa2\xe3", false),
            ("gb18030", b"\x94\x39\xda\x33\xd6\xd0", true),
            ("ucs2", b"\x4e\x2d", true),
            ("ucs2", b"\0?", true),
            ("ucs2", b"\xd8\x3d\xde\x00", false),
            ("utf32", b"\0\0\xd8\x3d", false),
            ("utf32", b"\0\x01\xf6\0", true),
        ] {
            assert_eq!(comes_back(name, bytes), expected, "{name} {bytes:x?}");
        }
    }
}
