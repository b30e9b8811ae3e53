//! A DEFAULT clause, and how `information_schema` prints the constant once the column's type is known. A constant
//! whose print cannot be told for certain leaves with a doubt: a wrong one would be written into every old row, so the
//! server must state it.

use super::cursor::Cursor;
use super::token::Kind;
use tributary_schemas::table::ColumnDefault;
use tributary_schemas::types::ColumnType;

/// A DEFAULT clause as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultClause {
    Null,
    /// A string.
    Text {
        /// Its characters.
        text: String,
        /// They are the same in every session.
        plain: bool,
    },
    /// A number with its sign; TRUE and FALSE are 1 and 0.
    Number(String),
    /// Hexadecimal digits.
    Hex(String),
    /// Binary digits.
    Bits(String),
    /// CURRENT_TIMESTAMP or an expression, as text.
    Expression(String),
}

/// A default as far as its statement tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDefault {
    /// As `information_schema` prints it; `None` for NULL.
    pub default: Option<ColumnDefault>,
    /// Only the server can say whether that is so.
    pub doubtful: bool,
}

impl DefaultClause {
    /// Reads what follows DEFAULT (or ON UPDATE).
    pub(super) fn read(cursor: &mut Cursor<'_, '_>) -> Option<Self> {
        if cursor.word("NULL") {
            return Some(Self::Null);
        }
        if cursor.word("TRUE") {
            return Some(Self::Number("1".to_owned()));
        }
        if cursor.word("FALSE") {
            return Some(Self::Number("0".to_owned()));
        }
        if cursor.any_word(&["NOW", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"]).is_some() {
            let fsp = cursor.parenthesized().and_then(|mut inner| inner.number()).filter(|n| *n != "0");
            let text =
                fsp.map_or_else(|| "CURRENT_TIMESTAMP".to_owned(), |n| format!("CURRENT_TIMESTAMP({n})"));
            return Some(Self::Expression(text));
        }
        if let Some(inner) = cursor.parenthesized() {
            return Some(Self::Expression(inner.text().to_owned()));
        }
        // A literal of a date or time: DATE '2020-01-01'.
        cursor.any_word(&["DATE", "TIME", "TIMESTAMP"]);
        if let Some(literal) = cursor.literal() {
            return Some(Self::Text { text: literal.text.into_owned(), plain: literal.plain });
        }
        let mut sign = "";
        while cursor.is_symbol("-") || cursor.is_symbol("+") {
            if cursor.symbol("-") {
                sign = if sign.is_empty() { "-" } else { "" };
            } else {
                cursor.next();
            }
        }
        let token = cursor.next()?;
        match token.kind {
            Kind::Number => Some(Self::Number(format!("{sign}{}", token.text))),
            Kind::Hex if sign.is_empty() => Some(Self::Hex(token.text.clone().into_owned())),
            Kind::Bits if sign.is_empty() => Some(Self::Bits(token.text.clone().into_owned())),
            _ => None,
        }
    }

    /// The default as `information_schema` prints it for a column of this type.
    #[must_use]
    pub fn resolve(&self, column_type: &ColumnType) -> ResolvedDefault {
        let certain = |default| ResolvedDefault { default, doubtful: false };
        let constant = match self {
            Self::Null => return certain(None),
            Self::Expression(text) => return certain(Some(ColumnDefault::Expression(text.clone()))),
            Self::Text { text, .. } if is_lob(column_type) && text.is_empty() => return certain(None),
            Self::Text { text, .. } => text_constant(text, column_type),
            Self::Number(text) => number_constant(text, column_type),
            Self::Hex(digits) => bytes_of_hex(digits).and_then(|bytes| bytes_constant(&bytes, column_type)),
            Self::Bits(digits) => u64::from_str_radix(digits, 2).ok().and_then(|value| match column_type {
                ColumnType::Bit { .. } => Some(format!("b'{value:b}'")),
                _ if is_integer(column_type) => Some(value.to_string()),
                _ => None,
            }),
        };
        let doubtful = constant.is_none() || !self.is_certain(column_type);
        ResolvedDefault { default: constant.map(ColumnDefault::Constant), doubtful }
    }

    /// True for the few forms that say the same in every session and every version.
    fn is_certain(&self, column_type: &ColumnType) -> bool {
        match (self, column_type) {
            (Self::Text { plain: false, .. } | Self::Hex(_) | Self::Bits(_), _) => false,
            (
                Self::Text { .. },
                ColumnType::Char { .. }
                | ColumnType::VarChar { .. }
                | ColumnType::Date
                | ColumnType::DateTime { .. }
                | ColumnType::Time { .. }
                | ColumnType::Timestamp { .. }
                | ColumnType::Year,
            ) => true,
            (Self::Text { text, .. }, ColumnType::Enum { labels }) => labels.contains(text),
            (Self::Text { text, .. }, ColumnType::Set { labels }) => {
                text.is_empty() || text.split(',').all(|member| labels.iter().any(|label| label == member))
            }
            (Self::Text { text, .. } | Self::Number(text), ColumnType::Decimal { scale, .. }) => {
                let (_, fraction) = text.split_once('.').unwrap_or((text, ""));
                is_plain_number(text) && fraction.len() <= usize::from(*scale)
            }
            (Self::Text { text, .. } | Self::Number(text), column_type) if is_integer(column_type) => {
                text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
            }
            (Self::Number(text), ColumnType::Char { .. } | ColumnType::VarChar { .. }) => is_canonical(text),
            (Self::Text { text, .. } | Self::Number(text), ColumnType::Float | ColumnType::Double) => {
                text == "0"
            }
            (Self::Number(text), ColumnType::Year) => text.len() == 4,
            (Self::Null | Self::Expression(_), _) => true,
            _ => false,
        }
    }
}

fn is_integer(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. }
    )
}

/// Types that take no constant default; without strict mode MySQL lets an empty one pass and drops it.
fn is_lob(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Text(_) | ColumnType::Blob(_) | ColumnType::Json | ColumnType::Geometry { .. }
    )
}

fn text_constant(text: &str, column_type: &ColumnType) -> Option<String> {
    match column_type {
        ColumnType::VarChar { .. } => Some(text.to_owned()),
        ColumnType::Char { .. } => Some(text.trim_end_matches(' ').to_owned()),
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } => {
            bytes_constant(text.as_bytes(), column_type)
        }
        ColumnType::Enum { labels } => label(labels, text.trim_end_matches(' ')),
        ColumnType::Set { labels } => set_labels(labels, text),
        ColumnType::Date => is_date(text).then(|| text.to_owned()),
        ColumnType::DateTime { fsp } => date_time(text, *fsp),
        // Another constant is a moment in the time zone of whoever ran the statement.
        ColumnType::Timestamp { fsp } if text.starts_with("0000-00-00") => date_time(text, *fsp),
        ColumnType::Time { fsp } => {
            let (whole, _) = text.split_once('.').unwrap_or((text, ""));
            is_time(whole, 3).then(|| with_fraction(text, *fsp)).flatten()
        }
        ColumnType::Year => {
            (text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned())
        }
        ColumnType::Bit { .. } => None,
        _ => number_constant(text.trim(), column_type),
    }
}

fn number_constant(text: &str, column_type: &ColumnType) -> Option<String> {
    let zero = text.bytes().all(|b| b == b'0') && !text.is_empty();
    match column_type {
        _ if is_integer(column_type) => integer(text),
        ColumnType::Decimal { scale, .. } => decimal(text, usize::from(*scale)),
        ColumnType::Float => float(text, 6),
        ColumnType::Double => float(text, 15),
        ColumnType::Bit { .. } => Some(format!("b'{:b}'", text.parse::<u64>().ok()?)),
        ColumnType::Char { .. } | ColumnType::VarChar { .. } => {
            is_plain_number(text).then(|| text.to_owned())
        }
        ColumnType::Date if zero => Some("0000-00-00".to_owned()),
        ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } if zero => {
            date_time("0000-00-00 00:00:00", *fsp)
        }
        ColumnType::Time { fsp } if zero => with_fraction("00:00:00", *fsp),
        ColumnType::Year if zero => Some("0000".to_owned()),
        ColumnType::Year if text.len() == 4 => text_constant(text, column_type),
        _ => None,
    }
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let pairs = padded.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn bytes_constant(bytes: &[u8], column_type: &ColumnType) -> Option<String> {
    match column_type {
        // Without the zero bytes that fill a BINARY up; they belong to the value all the same.
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } => {
            let digits = bytes.iter().map(|b| format!("{b:02X}"));
            Some(format!("0x{}", digits.collect::<String>()))
        }
        ColumnType::Char { .. } | ColumnType::VarChar { .. } if bytes.is_ascii() => {
            text_constant(std::str::from_utf8(bytes).ok()?, column_type)
        }
        _ => {
            let value = bytes.iter().try_fold(0_u64, |value, byte| {
                value.checked_mul(256).map(|value| value | u64::from(*byte))
            })?;
            match column_type {
                ColumnType::Bit { .. } => Some(format!("b'{value:b}'")),
                _ if is_integer(column_type) => Some(value.to_string()),
                _ => None,
            }
        }
    }
}

fn label(labels: &[String], text: &str) -> Option<String> {
    let exact = labels.iter().find(|label| *label == text);
    exact.or_else(|| labels.iter().find(|label| label.to_lowercase() == text.to_lowercase())).cloned()
}

/// MySQL prints a set's members in the order of the type.
fn set_labels(labels: &[String], text: &str) -> Option<String> {
    let mut wanted = Vec::new();
    for member in text.split(',').filter(|member| !member.is_empty()) {
        wanted.push(label(labels, member.trim_end_matches(' '))?);
    }
    let chosen: Vec<&str> =
        labels.iter().filter(|label| wanted.contains(label)).map(String::as_str).collect();
    Some(chosen.join(","))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// `hh:mm:ss`, with up to `hours` digits of hours and a sign if there may be three.
fn is_time(text: &str, hours: usize) -> bool {
    let text = if hours > 2 { text.strip_prefix('-').unwrap_or(text) } else { text };
    let parts: Vec<&str> = text.split(':').collect();
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [h, m, s] => {
            (2..=hours).contains(&h.len())
                && m.len() == 2
                && s.len() == 2
                && digits(h)
                && digits(m)
                && digits(s)
        }
        _ => false,
    }
}

fn date_time(text: &str, fsp: u8) -> Option<String> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let (whole, _) = time.split_once('.').unwrap_or((time, ""));
    if !is_date(date) || !is_time(whole, 2) {
        return None;
    }
    with_fraction(&format!("{date} {time}"), fsp)
}

/// The fraction filled up to `fsp` digits; `None` if it has more, for those would be rounded.
fn with_fraction(text: &str, fsp: u8) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fsp = usize::from(fsp);
    if fraction.len() > fsp || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if fsp == 0 { whole.to_owned() } else { format!("{whole}.{fraction:0<fsp$}") })
}

fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// An integer as everybody prints it.
fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading = digits.starts_with('0') && text != "0";
    !leading && (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// An integer; one with a fraction is taken only if the fraction is zero.
fn integer(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|b| b != b'0') {
        return None;
    }
    Some(whole.parse::<i128>().ok()?.to_string())
}

/// Rounded half away from zero to `scale` digits, as MySQL rounds decimals.
fn decimal(text: &str, scale: usize) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) || digits.len() > 36 {
        return None;
    }
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(scale).collect();
    let mut value: u128 = format!("0{whole}{kept}").parse().ok()?;
    if fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5') {
        value = value.checked_add(1)?;
    }
    let padded = format!("{value:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let sign = if value == 0 { "" } else { sign };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A floating-point number of up to `digits` digits and a size that MySQL prints without exponent.
fn float(text: &str, digits: usize) -> Option<String> {
    let value: f64 = text.parse().ok()?;
    let significant = text.bytes().filter(u8::is_ascii_digit).count();
    let plain = value == 0.0 || (1e-4..1e14).contains(&value.abs());
    (plain && significant <= digits).then(|| value.to_string())
}

#[cfg(test)]
mod tests;
