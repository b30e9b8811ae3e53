//! Text of a statement in, tokens out. Works for any text: what MySQL could not have parsed either becomes tokens
//! that no rule matches, never a panic. Comments are gone, but the content of versioned comments (`/*!80013 … */`)
//! counts: the source blanks the `!` of those that it did not execute itself.

use super::mode::SqlMode;
use std::borrow::Cow;

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    /// Without quotes, escapes resolved.
    pub text: Cow<'a, str>,
    /// Byte range in the statement.
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A name in backticks.
    Name,
    /// A string in single quotes.
    Text,
    /// A string in double quotes. Where the mode is not known it may be a name; the place tells.
    DoubleQuoted,
    /// Digits, with or without fraction and exponent.
    Number,
    /// `0x61`, `x'61'`: the hexadecimal digits.
    Hex,
    /// `0b101`, `b'101'`: the binary digits.
    Bits,
    /// Any other character.
    Symbol,
}

/// The tokens of `statement`, which ran in this mode.
pub(super) fn tokenize(statement: &str, mode: SqlMode) -> Vec<Token<'_>> {
    let plain = mode.plain_backslashes();
    let mut lexer = Lexer::new(statement, mode, plain != Some(true));
    let tokens = lexer.run();
    if !lexer.unterminated || plain.is_some() {
        return tokens;
    }
    // Under NO_BACKSLASH_ESCAPES a string may end in a backslash, and then nothing else ends where it should.
    let mut plain = Lexer::new(statement, mode, false);
    let reread = plain.run();
    if plain.unterminated { tokens } else { reread }
}

struct Lexer<'a> {
    statement: &'a str,
    at: usize,
    backslash_escapes: bool,
    ansi_quotes: bool,
    /// A string or quoted name ran into the end.
    unterminated: bool,
    versioned_comments: u32,
}

/// White space as MySQL has it: no character beyond ASCII is blank, such a one belongs to a name.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

impl<'a> Lexer<'a> {
    fn new(statement: &'a str, mode: SqlMode, backslash_escapes: bool) -> Self {
        let ansi_quotes = mode.ansi_quotes();
        Self { statement, at: 0, backslash_escapes, ansi_quotes, unterminated: false, versioned_comments: 0 }
    }

    fn rest(&self) -> &'a str {
        self.statement.get(self.at..).unwrap_or_default()
    }

    fn run(&mut self) -> Vec<Token<'a>> {
        let mut tokens: Vec<Token<'a>> = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let Some(first) = self.rest().chars().next() else { return tokens };
            // Behind a point comes a name, also one of digits: `db.2024_orders`, `db.1e5`.
            let after_point = tokens.last().is_some_and(|t| t.kind == Kind::Symbol && t.text == ".");
            let (kind, text) = match first {
                '`' => (Kind::Name, self.quoted('`')),
                '\'' => (Kind::Text, self.quoted('\'')),
                '"' if self.ansi_quotes => (Kind::Name, self.quoted('"')),
                '"' => (Kind::DoubleQuoted, self.quoted('"')),
                c if is_word(c) => self.word(after_point),
                '.' if !after_point && !ends_name(&tokens, start) && self.digit_at(1) => self.number(),
                c => {
                    self.at += c.len_utf8();
                    (Kind::Symbol, Cow::Borrowed(self.slice(start)))
                }
            };
            tokens.push(Token { kind, text, start, end: self.at });
        }
    }

    fn slice(&self, start: usize) -> &'a str {
        self.statement.get(start..self.at).unwrap_or_default()
    }

    fn digit_at(&self, offset: usize) -> bool {
        self.rest().as_bytes().get(offset).is_some_and(u8::is_ascii_digit)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(|c: char| is_blank(c) || c == '\0').len();
            if blank > 0 {
                self.at += blank;
            } else if let Some(inner) = rest.strip_prefix("/*!") {
                let digits = inner.bytes().take(6).take_while(u8::is_ascii_digit).count();
                self.at += 3 + if digits >= 5 { digits } else { 0 };
                self.versioned_comments += 1;
            } else if self.versioned_comments > 0 && rest.starts_with("*/") {
                self.at += 2;
                self.versioned_comments -= 1;
            } else if rest.starts_with("/*") {
                // An open comment swallows the rest, as it does in MySQL.
                self.at += rest.get(2..).and_then(|r| r.find("*/")).map_or(rest.len(), |found| found + 4);
            } else if rest.starts_with('#') || is_dash_comment(rest) {
                self.at += rest.find('\n').map_or(rest.len(), |found| found + 1);
            } else {
                return;
            }
        }
    }

    /// What `quote` encloses; doubled quotes, and in strings backslashes, are resolved.
    fn quoted(&mut self, quote: char) -> Cow<'a, str> {
        self.at += quote.len_utf8();
        let start = self.at;
        let escapes = self.backslash_escapes && quote != '`' && !(quote == '"' && self.ansi_quotes);
        let mut owned: Option<String> = None;
        let mut characters = self.rest().char_indices().peekable();
        while let Some((offset, c)) = characters.next() {
            let here = start + offset;
            let keeps = |next: &(usize, char)| matches!(next.1, '%' | '_');
            let resolved = if c == quote {
                if characters.next_if(|(_, next)| *next == quote).is_none() {
                    self.at = here + c.len_utf8();
                    let plain = self.statement.get(start..here).unwrap_or_default();
                    return owned.map_or(Cow::Borrowed(plain), Cow::Owned);
                }
                Some(quote)
            } else if c == '\\' && escapes && !characters.peek().is_some_and(keeps) {
                characters.next().map(|(_, escaped)| unescape(escaped))
            } else {
                None
            };
            match (resolved, &mut owned) {
                (Some(resolved), Some(text)) => text.push(resolved),
                (Some(resolved), none) => {
                    let mut text = self.statement.get(start..here).unwrap_or_default().to_owned();
                    text.push(resolved);
                    *none = Some(text);
                }
                (None, Some(text)) => text.push(c),
                (None, None) => {}
            }
        }
        self.at = self.statement.len();
        self.unterminated = true;
        owned.map_or(Cow::Borrowed(self.statement.get(start..).unwrap_or_default()), Cow::Owned)
    }

    fn word(&mut self, after_point: bool) -> (Kind, Cow<'a, str>) {
        let start = self.at;
        let rest = self.rest();
        self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let text = self.slice(start);
        if after_point {
            return (Kind::Word, Cow::Borrowed(text));
        }
        if self.rest().starts_with('\'') {
            match text {
                "x" | "X" => return (Kind::Hex, self.quoted('\'')),
                "b" | "B" => return (Kind::Bits, self.quoted('\'')),
                "n" | "N" => return (Kind::Text, self.quoted('\'')),
                _ => {}
            }
        }
        if let Some(digits) = text.strip_prefix("0x").filter(|d| is_digits_of(d, 16)) {
            return (Kind::Hex, Cow::Borrowed(digits));
        }
        if let Some(digits) = text.strip_prefix("0b").filter(|d| is_digits_of(d, 2)) {
            return (Kind::Bits, Cow::Borrowed(digits));
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) && looks_numeric(text) {
            self.at = start;
            return self.number();
        }
        (Kind::Word, Cow::Borrowed(text))
    }

    /// `12`, `12.5`, `.5`, `1e3`, `1.5e-3`.
    fn number(&mut self) -> (Kind, Cow<'a, str>) {
        let start = self.at;
        self.digits();
        if self.rest().starts_with('.') {
            self.at += 1;
            self.digits();
        }
        let bytes = self.rest().as_bytes();
        if matches!(bytes.first(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
            if self.digit_at(1 + sign) {
                self.at += 1 + sign;
                self.digits();
            }
        }
        (Kind::Number, Cow::Borrowed(self.slice(start)))
    }

    fn digits(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_digit).count();
    }
}

/// True if the last token is a name that ends where the point stands: then the point belongs to the name.
fn ends_name(tokens: &[Token<'_>], point: usize) -> bool {
    tokens
        .last()
        .is_some_and(|t| t.end == point && matches!(t.kind, Kind::Word | Kind::Name | Kind::DoubleQuoted))
}

fn is_digits_of(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

/// True for `12`, `1e5` and the `1e` of `1e-5`; a word such as `2024_orders` is a name.
fn looks_numeric(text: &str) -> bool {
    let tail = text.trim_start_matches(|c: char| c.is_ascii_digit());
    match tail.strip_prefix(['e', 'E']) {
        Some(exponent) => exponent.bytes().all(|b| b.is_ascii_digit()),
        None => tail.is_empty(),
    }
}

/// MySQL wants a blank or the end behind the two dashes: `5--3` is arithmetic.
fn is_dash_comment(rest: &str) -> bool {
    rest.strip_prefix("--")
        .is_some_and(|tail| tail.chars().next().is_none_or(|c| is_blank(c) || c.is_ascii_control()))
}

fn unescape(escaped: char) -> char {
    match escaped {
        '0' => '\0',
        'b' => '\u{8}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'Z' => '\u{1a}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        tokenize(text, SqlMode::default()).into_iter().map(|t| (t.kind, t.text.into_owned())).collect()
    }

    fn one(kind: Kind, text: &str) -> (Kind, String) {
        (kind, text.to_owned())
    }

    #[test]
    fn names_strings_and_numbers() {
        assert_eq!(
            kinds("a.`b``c`.'it''s\\n' \"x\" 1.5e-3 .5 0xFf b'01' N'n' 2024_x"),
            [
                one(Kind::Word, "a"),
                one(Kind::Symbol, "."),
                one(Kind::Name, "b`c"),
                one(Kind::Symbol, "."),
                one(Kind::Text, "it's\n"),
                one(Kind::DoubleQuoted, "x"),
                one(Kind::Number, "1.5e-3"),
                one(Kind::Number, ".5"),
                one(Kind::Hex, "Ff"),
                one(Kind::Bits, "01"),
                one(Kind::Text, "n"),
                one(Kind::Word, "2024_x"),
            ]
        );
        assert_eq!(kinds("db.1e5")[2], one(Kind::Word, "1e5"));
        assert_eq!(kinds("db.2024")[2], one(Kind::Word, "2024"));
        assert_eq!(kinds("überfällig")[0], one(Kind::Word, "überfällig"));
    }

    #[test]
    fn comments_vanish_and_versioned_ones_count() {
        assert_eq!(kinds("/* a */ -- b\n# c\nx --\n/*+ hint */y"), kinds("x y"));
        assert_eq!(kinds("a /*!80013 b /* c */ d */ e"), kinds("a b d e"));
        assert_eq!(kinds("a /*!50100x*/ /*! 5 */"), kinds("a x 5"));
        assert_eq!(kinds("5--3").len(), 4);
        assert_eq!(kinds("a /* open"), kinds("a"));
    }

    #[test]
    fn the_mode_tells_names_from_strings_and_escapes_from_backslashes() {
        let one_of = |text, bits| tokenize(text, SqlMode::new(Some(bits))).remove(0);
        let is =
            |token: Token<'_>, kind, text: &str| assert_eq!((token.kind, token.text.as_ref()), (kind, text));
        is(one_of(r#""a\nb""c""#, 0x4), Kind::Name, r#"a\nb"c"#);
        is(one_of(r#""a\nb""#, 0), Kind::DoubleQuoted, "a\nb");
        is(one_of(r"'C:\temp'", 0x0010_0000), Kind::Text, r"C:\temp");
        // LIKE's wildcards keep their backslash, and a blank beyond ASCII belongs to a name.
        is(one_of(r"'a\_b\%c\d'", 0), Kind::Text, r"a\_b\%cd");
        is(one_of("\u{3000}\u{540d} INT", 0), Kind::Word, "\u{3000}\u{540d}");
    }

    #[test]
    fn a_trailing_backslash_without_escapes_is_understood() {
        assert_eq!(
            kinds(r"'a\', 'b'"),
            [one(Kind::Text, r"a\"), one(Kind::Symbol, ","), one(Kind::Text, "b")]
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_tokens_in_order(text in "(?s).{0,80}|[`'\"/*!#\\-.0-9exXbB \\\\\n(),a]{0,60}") {
            let mut last = 0;
            for token in tokenize(&text, SqlMode::default()) {
                prop_assert!(token.start >= last && token.end > token.start && token.end <= text.len());
                last = token.end;
            }
        }
    }
}
