//! Text of strangers (names of tables, columns, roles and topics, words of servers) made fit for what it is printed into:
//! one function for each medium.
//!
//! Invariant: what leaves [`line()`] is one line, and nothing in it moves a terminal's cursor, changes its colours or the
//! direction of its writing. Text without such characters leaves as it is.

use std::borrow::Cow;
use std::fmt::{Display, Write};

/// For a terminal, a line of a log, and a comment in SQL or a shell script: one line of harmless characters. Every other
/// character is written as JSON writes it, so that a line of JSON stays one.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_unprintable)
}

/// Several lines for a terminal: like [`line()`], but line feeds stay.
#[must_use]
pub fn block(text: &str) -> Cow<'_, str> {
    escape(text, |character| character != '\n' && is_unprintable(character))
}

/// One word of a shell's command line: as it is where that is safe, else in single quotes.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:/=+@%".contains(&byte);
    let text = line(text);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Bytes as digits, in lower case.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// `1 table`, `2 tables`.
#[must_use]
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// True for what a terminal obeys and for what hides or reorders text: control characters, line and paragraph
/// separators, marks of writing direction (CVE-2021-42574), and the invisible byte order mark.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str, must_go: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&must_go) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            character if !must_go(character) => out.push(character),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail; all of these are below U+10000.
            character => drop(write!(out, "\\u{:04x}", u32::from(character))),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text in which what is dangerous is frequent.
    fn hostile() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            any::<char>(),
            prop::sample::select(vec![
                '\n', '\r', '\u{1b}', '\u{9b}', '\u{7}', '\u{0}', '\u{2028}', '\u{202e}', '\u{feff}', '\'',
                '"', '\\', '`', '$', ' ', 'a'
            ])
        ];
        prop::collection::vec(character, 0..20).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_harmless_characters(text in hostile()) {
            let printed = line(&text);
            prop_assert!(!printed.chars().any(is_unprintable));
            prop_assert!(block(&text).chars().all(|character| character == '\n' || !is_unprintable(character)));
            if !text.chars().any(is_unprintable) {
                prop_assert_eq!(printed.as_ref(), text.as_str());
            }
        }

        #[test]
        fn a_line_of_json_stays_the_same_json(text in hostile()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&line(&json)).unwrap(), text);
        }

        #[test]
        fn a_word_of_a_shell_is_one_word(text in hostile()) {
            let output = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", shell_word(&text)))
                .output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), line(&text).into_owned());
        }
    }

    #[test]
    fn what_is_escaped_can_be_read() {
        assert_eq!(line("a\nDROP\u{1b}[2J\u{9b}"), "a\\nDROP\\u001b[2J\\u009b");
        assert_eq!(block("a\nb\r"), "a\nb\\r");
        assert_eq!(shell_word("k1:9092"), "k1:9092");
        assert_eq!(shell_word("a'b; rm"), "'a'\\''b; rm'");
    }
}
