//! JSON texts in one form: what enters is a document as MySQL or PostgreSQL prints it, what leaves is bytes that are
//! equal exactly if the documents are equal as `jsonb` compares them: members in one order, of members with the same
//! name the last, strings without escapes, numbers as exact decimals (`1.10` is `1.1` is `11e-1`).

/// Deeper documents are left as they are; MySQL's go to 100.
const DEPTH_MAX: u16 = 256;

/// Appends the canonical form. `false`, with nothing appended, if the text is no JSON or nested too deeply.
pub(crate) fn put_canonical(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut parser = Parser { rest: text };
    let complete = parser.value(0, out).is_some() && parser.skip_space().is_empty();
    if !complete {
        out.truncate(start);
    }
    complete
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) -> &'a [u8] {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest
    }

    fn take(&mut self, token: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: u16, out: &mut Vec<u8>) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.skip_space().first()? {
            b'n' => {
                out.push(b'n');
                self.take(b"null")
            }
            b't' => {
                out.push(b't');
                self.take(b"true")
            }
            b'f' => {
                out.push(b'f');
                self.take(b"false")
            }
            b'"' => {
                out.push(b's');
                let text = self.string()?;
                put_sized(out, text.as_bytes());
                Some(())
            }
            b'[' => self.array(depth, out),
            b'{' => self.object(depth, out),
            _ => self.number(out),
        }
    }

    fn array(&mut self, depth: u16, out: &mut Vec<u8>) -> Option<()> {
        self.take(b"[")?;
        out.push(b'[');
        if self.skip_space().first() == Some(&b']') {
            out.push(b']');
            return self.take(b"]");
        }
        loop {
            self.value(depth + 1, out)?;
            match self.skip_space().split_first()? {
                (b',', rest) => self.rest = rest,
                (b']', rest) => {
                    self.rest = rest;
                    // No value begins with this byte, so an array's end cannot be mistaken.
                    out.push(b']');
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: u16, out: &mut Vec<u8>) -> Option<()> {
        self.take(b"{")?;
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        if self.skip_space().first() == Some(&b'}') {
            self.take(b"}")?;
        } else {
            loop {
                self.skip_space();
                let name = self.string()?;
                self.skip_space();
                self.take(b":")?;
                let mut value = Vec::new();
                self.value(depth + 1, &mut value)?;
                members.push((name, value));
                match self.skip_space().split_first()? {
                    (b',', rest) => self.rest = rest,
                    (b'}', rest) => {
                        self.rest = rest;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        // The sort is stable: among members of one name the last one written stays the last.
        members.sort_by(|left, right| left.0.cmp(&right.0));
        out.push(b'{');
        for (index, (name, value)) in members.iter().enumerate() {
            if members.get(index + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            out.push(b's');
            put_sized(out, name.as_bytes());
            out.extend_from_slice(value);
        }
        out.push(b'}');
        Some(())
    }

    /// A string without its escapes.
    fn string(&mut self) -> Option<String> {
        self.take(b"\"")?;
        let mut text = Vec::new();
        loop {
            match self.rest.split_first()? {
                (b'"', rest) => {
                    self.rest = rest;
                    return String::from_utf8(text).ok();
                }
                (b'\\', rest) => {
                    self.rest = rest;
                    let character = self.escape()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                (byte, rest) => {
                    text.push(*byte);
                    self.rest = rest;
                }
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if (0xd800..0xdc00).contains(&first) {
                    self.take(b"\\u")?;
                    let second = self.unit()?;
                    return char::decode_utf16([first, second]).next()?.ok();
                }
                char::from_u32(u32::from(first))?
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// A number as sign, digits without zeros around them, and the place of the point before the first of them.
    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let negative = self.take(b"-").is_some();
        let whole = self.digits();
        let fraction = if self.take(b".").is_some() { self.digits() } else { &[] };
        if whole.is_empty() {
            return None;
        }
        let mut exponent = 0_i64;
        if let Some((b'e' | b'E', rest)) = self.rest.split_first() {
            self.rest = rest;
            let below = self.take(b"-").is_some();
            if !below {
                let _ = self.take(b"+");
            }
            exponent = std::str::from_utf8(self.digits()).ok()?.parse().ok()?;
            if below {
                exponent = -exponent;
            }
        }
        let digits: Vec<u8> = whole.iter().chain(fraction).copied().collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        let trailing = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        let significant = digits.get(leading..digits.len() - trailing).unwrap_or_default();
        if significant.is_empty() {
            out.push(b'0');
            return Some(());
        }
        let place = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading).ok()?)?;
        out.push(if negative { b'-' } else { b'+' });
        out.extend_from_slice(&place.checked_add(exponent)?.to_be_bytes());
        put_sized(out, significant);
        Some(())
    }

    fn digits(&mut self) -> &'a [u8] {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits
    }
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&bytes.len().to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn canonical(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        put_canonical(text.as_bytes(), &mut out).then_some(out)
    }

    #[test]
    fn equal_documents_have_one_form() {
        for (one, other) in [
            (r#"{"b": 1, "a": [1.10, null]}"#, r#"{"a":[11e-1,null],"b":1.0}"#),
            (r#""\u00e9\ud83d\ude00\n\/""#, "\"é😀\\u000a/\""),
            ("1e100", &format!("1{}", "0".repeat(100))),
            ("-0.0", "0"),
            ("0.001E+3", "1"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert!(canonical(one).is_some(), "{one}");
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    #[test]
    fn different_documents_have_different_forms() {
        let all = [
            "1",
            "-1",
            "10",
            "0.1",
            "\"1\"",
            "18446744073709551615",
            "18446744073709551616",
            "[]",
            "{}",
            "[[]]",
            "[[],[]]",
            "[{}]",
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":2}}"#,
            "null",
            "\"null\"",
            "true",
            "false",
            "\"\"",
        ];
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1) {
                assert_ne!(canonical(one), canonical(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in
            ["", "nul", "1 2", "[1,]", "{\"a\"}", "\"\\ud800\"", "\"\\u+041\"", "1e99999999999999999999", "-"]
        {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(canonical(&"[".repeat(100_000)), None);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn forms_are_equal_exactly_if_the_documents_are(one in documents(), other in documents()) {
            let form = |value: &Value| canonical(&value.to_string()).unwrap();
            prop_assert_eq!(form(&one) == form(&other), one == other);
            prop_assert_eq!(form(&one), canonical(&serde_json::to_string_pretty(&one).unwrap()).unwrap());
        }

        #[test]
        fn anything_is_taken_without_a_panic(text: Vec<u8>) {
            let _ = put_canonical(&text, &mut Vec::new());
        }
    }
}
