//! MySQL's character sets. Enters: the bytes of a text column, in the column's character set. Leaves: the text in
//! UTF-8, exactly as a SELECT over a utf8mb4 connection gives it, so that a row read and a row streamed are equal.

mod collations;
mod exceptions;
mod multi_byte;
mod round_trip;
mod single_byte;

pub use collations::charset_of_collation;

use encoding_rs as web;
use multi_byte::{Layout, MultiByte};

/// A character set whose texts can be turned into UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    /// As MySQL spells it.
    pub name: &'static str,
    /// Largest number of bytes of a character: what a column's length in characters is multiplied with.
    pub max_bytes: u32,
    form: Form,
}

/// How bytes become characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Utf8,
    Ascii,
    SingleByte(&'static [u16; 128]),
    MultiByte(MultiByte),
    /// Units of two bytes, each a character.
    Ucs2,
    /// Units of two bytes; surrogates pair up.
    Utf16 {
        little_endian: bool,
    },
    Utf32,
}

impl Charset {
    /// The character set of this name; `None` if it is not known here (`swe7`) or is not one of text (`binary`).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        use exceptions as except;
        use single_byte as single;
        let one = |name, table| Some(Self { name, max_bytes: 1, form: Form::SingleByte(table) });
        let many = |name, max_bytes, layout, encoding, exceptions| {
            Some(Self { name, max_bytes, form: Form::MultiByte(MultiByte { layout, encoding, exceptions }) })
        };
        let wide = |name, max_bytes, form| Some(Self { name, max_bytes, form });
        match name {
            "utf8mb4" => wide("utf8mb4", 4, Form::Utf8),
            "utf8mb3" | "utf8" => wide("utf8mb3", 3, Form::Utf8),
            "ascii" => wide("ascii", 1, Form::Ascii),
            "ucs2" => wide("ucs2", 2, Form::Ucs2),
            "utf16" => wide("utf16", 4, Form::Utf16 { little_endian: false }),
            "utf16le" => wide("utf16le", 4, Form::Utf16 { little_endian: true }),
            "utf32" => wide("utf32", 4, Form::Utf32),
            "armscii8" => one("armscii8", &single::ARMSCII8),
            "cp1250" => one("cp1250", &single::CP1250),
            "cp1251" => one("cp1251", &single::CP1251),
            "cp1256" => one("cp1256", &single::CP1256),
            "cp1257" => one("cp1257", &single::CP1257),
            "cp850" => one("cp850", &single::CP850),
            "cp852" => one("cp852", &single::CP852),
            "cp866" => one("cp866", &single::CP866),
            "dec8" => one("dec8", &single::DEC8),
            "geostd8" => one("geostd8", &single::GEOSTD8),
            "greek" => one("greek", &single::GREEK),
            "hebrew" => one("hebrew", &single::HEBREW),
            "hp8" => one("hp8", &single::HP8),
            "keybcs2" => one("keybcs2", &single::KEYBCS2),
            "koi8r" => one("koi8r", &single::KOI8R),
            "koi8u" => one("koi8u", &single::KOI8U),
            "latin1" => one("latin1", &single::LATIN1),
            "latin2" => one("latin2", &single::LATIN2),
            "latin5" => one("latin5", &single::LATIN5),
            "latin7" => one("latin7", &single::LATIN7),
            "macce" => one("macce", &single::MACCE),
            "macroman" => one("macroman", &single::MACROMAN),
            "tis620" => one("tis620", &single::TIS620),
            "big5" => many("big5", 2, Layout::Double, web::BIG5, &except::BIG5),
            "euckr" => many("euckr", 2, Layout::Double, web::EUC_KR, &[]),
            "gb2312" => many("gb2312", 2, Layout::Double, web::GBK, &except::GB2312),
            "gbk" => many("gbk", 2, Layout::Double, web::GBK, &except::GBK),
            "gb18030" => many("gb18030", 4, Layout::Gb18030, web::GB18030, &except::GB18030),
            "sjis" => many("sjis", 2, Layout::ShiftJis, web::SHIFT_JIS, &except::SJIS),
            "cp932" => many("cp932", 2, Layout::ShiftJis, web::SHIFT_JIS, &[]),
            "ujis" => many("ujis", 3, Layout::Euc, web::EUC_JP, &except::UJIS),
            "eucjpms" => many("eucjpms", 3, Layout::Euc, web::EUC_JP, &except::EUCJPMS),
            _ => None,
        }
    }

    /// True if the bytes are UTF-8 already and need only be checked.
    #[must_use]
    pub const fn is_utf8(&self) -> bool {
        matches!(self.form, Form::Utf8)
    }

    /// Appends the text in UTF-8. `None` if the bytes are malformed: they are not of this character set.
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.form {
            Form::Utf8 => out.extend_from_slice(std::str::from_utf8(bytes).ok()?.as_bytes()),
            Form::Ascii => out.extend(bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' })),
            Form::SingleByte(_) | Form::MultiByte(_) if bytes.is_ascii() => out.extend_from_slice(bytes),
            Form::SingleByte(table) => {
                for byte in bytes {
                    match byte.checked_sub(0x80).and_then(|index| table.get(usize::from(index))) {
                        Some(unit) => put_character(out, u32::from(*unit))?,
                        None => out.push(*byte),
                    }
                }
            }
            Form::MultiByte(set) => set.decode(bytes, out)?,
            Form::Ucs2 => {
                let (units, []) = bytes.as_chunks::<2>() else { return None };
                for unit in units {
                    put_unit(out, u32::from(u16::from_be_bytes(*unit)))?;
                }
            }
            Form::Utf16 { little_endian } => {
                let (units, []) = bytes.as_chunks::<2>() else { return None };
                let units = units.iter().map(|unit| {
                    if little_endian { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) }
                });
                for character in char::decode_utf16(units) {
                    put_character(out, u32::from(character.ok()?))?;
                }
            }
            Form::Utf32 => {
                let (units, []) = bytes.as_chunks::<4>() else { return None };
                for unit in units {
                    put_unit(out, u32::from_be_bytes(*unit))?;
                }
            }
        }
        Some(())
    }
}

/// Appends the character of a unit that stands for itself. For a surrogate, which the server stores in such a character set
/// like any other, it gives a question mark.
fn put_unit(out: &mut Vec<u8>, unit: u32) -> Option<()> {
    put_character(out, if is_surrogate(unit) { u32::from(b'?') } else { unit })
}

const fn is_surrogate(unit: u32) -> bool {
    matches!(unit, 0xd800..=0xdfff)
}

/// Appends one character; `None` for surrogates and beyond Unicode.
fn put_character(out: &mut Vec<u8>, code: u32) -> Option<()> {
    let mut buffer = [0; 4];
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(name: &str, bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        Charset::named(name).unwrap().decode(bytes, &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn texts_of_each_form() {
        for (name, bytes, expected) in [
            ("utf8mb4", "aé😀".as_bytes(), Some("aé😀")),
            ("utf8mb3", &[0xff], None),
            ("ascii", b"a\xe9", Some("a?")),
            ("latin1", b"caf\xe9 \x80\x81", Some("café €\u{81}")),
            ("cp1250", b"\x81\x8a", Some("?Š")),
            ("latin5", b"\x80\xd0", Some("\u{80}Ğ")),
            ("gbk", b"a\xd6\xd0\xce\xc4!", Some("a中文!")),
            ("gbk", b"\xd6\xd0\xa2\xe3\xd6", None),
            ("gbk", b"\xd6\xd0\xa2\xe3", Some("中?")),
            ("gb18030", b"\x94\x39\xda\x33\xd6\xd0\xa3\xa0", Some("💩中\u{e5e5}")),
            ("big5", b"\xa4\xa4\xa1\x45", Some("中•")),
            ("sjis", b"\x81\x5f\xb1\x93\xfa\x87\x40", Some("\\ｱ日?")),
            ("cp932", b"\x81\x5f\x87\x40", Some("＼①")),
            ("ujis", b"\xc6\xfc\x8e\xb1\x8f\xb0\xa1\xf5\xa2", Some("日ｱ丂\u{e001}")),
            ("eucjpms", b"\xad\xa1\x8f\xf3\xf3", Some("①ⅰ")),
            ("euckr", b"\xc7\xd1\xb1\xdb", Some("한글")),
            ("tis620", b"\xa1\xdb", Some("ก\u{fffd}")),
            ("ucs2", b"\0a\x4e\x2d", Some("a中")),
            ("ucs2", b"\0a\xd8\x3d\xde\x00\0b", Some("a??b")),
            ("ucs2", b"\0a\xd8", None),
            ("utf16", b"\xd8\x3d\xde\x00", Some("😀")),
            ("utf16", b"\xd8\x3d", None),
            ("utf16le", b"\x3d\xd8\x00\xde", Some("😀")),
            ("utf32", b"\0\x01\xf6\0", Some("😀")),
            ("utf32", b"\0\0\xd8\x3d\0\0\0a", Some("?a")),
            ("utf32", b"\0\x11\0\0", None),
            ("utf32", b"\0\0\0", None),
        ] {
            assert_eq!(decoded(name, bytes).as_deref(), expected, "{name} {bytes:x?}");
        }
        assert_eq!(Charset::named("swe7"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_malformed(bytes: Vec<u8>) {
            for id in 1..330 {
                if let Some(charset) = charset_of_collation(id).and_then(Charset::named) {
                    let mut out = Vec::new();
                    let _ = charset.decode(&bytes, &mut out);
                    prop_assert!(std::str::from_utf8(&out).is_ok(), "{}", charset.name);
                }
            }
        }
    }
}
