//! A place in a statement's tokens, and the small steps that every rule is made of. A step that does not match
//! leaves the cursor where it was.

use super::mode::SqlMode;
use super::token::{Kind, Token};
use std::borrow::Cow;
use tributary_schemas::table::TableId;

#[derive(Clone, Copy)]
pub(super) struct Cursor<'t, 'a> {
    statement: &'a str,
    tokens: &'t [Token<'a>],
    mode: SqlMode,
}

/// A string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub text: Cow<'a, str>,
    /// Printable ASCII as it stands, in quotes alone: it says the same in every session.
    pub plain: bool,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(super) fn new(statement: &'a str, tokens: &'t [Token<'a>], mode: SqlMode) -> Self {
        Self { statement, tokens, mode }
    }

    /// The mode that the statement ran in.
    pub(super) fn mode(&self) -> SqlMode {
        self.mode
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(super) fn peek(&self) -> Option<&'t Token<'a>> {
        self.tokens.first()
    }

    pub(super) fn next(&mut self) -> Option<&'t Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// What is left, as the statement spells it.
    pub(super) fn text(&self) -> &'a str {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self.statement.get(first.start..last.end).unwrap_or_default(),
            _ => "",
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|t| t.kind == Kind::Word && t.text.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.peek().is_some_and(|t| t.kind == Kind::Symbol && t.text == symbol)
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    /// All of `words` in this order, or none.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let mut ahead = *self;
        let found = words.iter().all(|word| ahead.word(word));
        if found {
            *self = ahead;
        }
        found
    }

    /// One of `words`.
    pub(super) fn any_word(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.word(word))
    }

    /// Any number of `words`, in any order.
    pub(super) fn skip_words(&mut self, words: &[&'static str]) {
        while self.any_word(words).is_some() {}
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    /// A name, quoted in any way or not.
    pub(super) fn name(&mut self) -> Option<String> {
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Word | Kind::Name | Kind::DoubleQuoted) {
            return None;
        }
        self.next();
        Some(token.text.clone().into_owned())
    }

    /// A name that is none of `reserved`, unless it is quoted.
    pub(super) fn name_except(&mut self, reserved: &[&str]) -> Option<String> {
        if reserved.iter().any(|word| self.is_word(word)) { None } else { self.name() }
    }

    /// `table` or `database.table`.
    pub(super) fn table(&mut self, default_database: &str) -> Option<TableId> {
        let mut ahead = *self;
        let leading_point = ahead.symbol(".");
        let first = ahead.name()?;
        let table = if !leading_point && ahead.symbol(".") {
            TableId::new(first, ahead.name()?)
        } else {
            TableId::new(default_database, first)
        };
        *self = ahead;
        Some(table)
    }

    /// A string literal's text.
    pub(super) fn string(&mut self) -> Option<Cow<'a, str>> {
        self.literal().map(|literal| literal.text)
    }

    /// A string literal; neighbours are one string, as in MySQL.
    pub(super) fn literal(&mut self) -> Option<Literal<'a>> {
        let mut ahead = *self;
        let mut plain = true;
        if ahead.peek().is_some_and(|t| t.kind == Kind::Word && t.text.starts_with('_')) {
            ahead.next();
            plain = false;
        }
        let mut text: Option<Cow<'a, str>> = None;
        while let Some(token) = ahead.peek().filter(|t| matches!(t.kind, Kind::Text | Kind::DoubleQuoted)) {
            ahead.next();
            let spelled = self.statement.get(token.start..token.end).unwrap_or_default();
            plain &= spelled.starts_with(['\'', '"'])
                && spelled.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\');
            match &mut text {
                Some(text) => text.to_mut().push_str(&token.text),
                none => *none = Some(token.text.clone()),
            }
        }
        let literal = text.map(|text| Literal { text, plain });
        if literal.is_some() {
            *self = ahead;
        }
        literal
    }

    pub(super) fn number(&mut self) -> Option<&'t str> {
        let token = self.peek().filter(|t| t.kind == Kind::Number)?;
        self.next();
        Some(token.text.as_ref())
    }

    /// What stands in parentheses here.
    pub(super) fn parenthesized(&mut self) -> Option<Self> {
        if !self.is_symbol("(") {
            return None;
        }
        let mut depth = 0_u32;
        for (index, token) in self.tokens.iter().enumerate().filter(|(_, t)| t.kind == Kind::Symbol) {
            match token.text.as_ref() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = Self { tokens: self.tokens.get(1..index)?, ..*self };
                self.tokens = self.tokens.get(index + 1..)?;
                return Some(inner);
            }
        }
        None
    }

    /// Parts between commas that are in no parentheses.
    pub(super) fn split_commas(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut depth = 0_u32;
        let mut start = 0;
        for (index, token) in self.tokens.iter().enumerate().filter(|(_, t)| t.kind == Kind::Symbol) {
            match token.text.as_ref() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                "," if depth == 0 => {
                    parts.push(self.part(start, index));
                    start = index + 1;
                }
                _ => {}
            }
        }
        if start < self.tokens.len() {
            parts.push(self.part(start, self.tokens.len()));
        }
        parts
    }

    fn part(&self, start: usize, end: usize) -> Self {
        Self { tokens: self.tokens.get(start..end).unwrap_or_default(), ..*self }
    }

    /// Everything up to the next comma that is in no parentheses, and moves there.
    pub(super) fn skip_to_comma(&mut self) -> Self {
        let mut depth = 0_u32;
        let end = self.tokens.iter().position(|token| {
            match (token.kind == Kind::Symbol).then_some(token.text.as_ref()) {
                Some("(") => depth += 1,
                Some(")") => depth = depth.saturating_sub(1),
                Some(",") => return depth == 0,
                _ => {}
            }
            false
        });
        let end = end.unwrap_or(self.tokens.len());
        let skipped = self.part(0, end);
        self.tokens = self.tokens.get(end..).unwrap_or_default();
        skipped
    }

    /// Moves to the end.
    pub(super) fn skip_all(&mut self) {
        self.tokens = &[];
    }
}
