//! Values enter, SQL literals leave. Invariant: whatever is in a text or a byte string, the literal is one token.

use std::fmt::Write;

/// Appends `text` in quotes, for a session whose SQL mode lets backslashes escape (MySQL's default).
pub fn text(sql: &mut String, text: &str) {
    sql.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            sql.push(character);
        }
        sql.push(character);
    }
    sql.push('\'');
}

/// Appends `bytes` as a hexadecimal literal.
pub fn bytes(sql: &mut String, bytes: &[u8]) {
    sql.push_str("x'");
    for byte in bytes {
        display(sql, format_args!("{byte:02x}"));
    }
    sql.push('\'');
}

/// Appends an amount of money, given in hundredths.
pub fn money(sql: &mut String, hundredths: u64) {
    display(sql, format_args!("{}.{:02}", hundredths / 100, hundredths % 100));
}

/// Appends a number, or anything else whose text is a literal already.
pub fn display(sql: &mut String, value: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    let _ = write!(sql, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut sql = String::new();
        write(&mut sql);
        sql
    }

    #[test]
    fn quotes_and_backslashes_stay_inside() {
        assert_eq!(written(|sql| text(sql, r"O'Neil \ 🎁")), r"'O''Neil \\ 🎁'");
    }

    #[test]
    fn bytes_are_hexadecimal() {
        assert_eq!(written(|sql| bytes(sql, &[0, 0x27, 0xff])), "x'0027ff'");
        assert_eq!(written(|sql| bytes(sql, &[])), "x''");
    }

    #[test]
    fn money_keeps_both_places() {
        assert_eq!(written(|sql| money(sql, 5)), "0.05");
        assert_eq!(written(|sql| money(sql, 123_450)), "1234.50");
    }
}
