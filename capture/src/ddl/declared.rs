//! A column's declared type, with every synonym that MySQL knows, to the type that `information_schema` prints.

use super::cursor::Cursor;
use super::token::Kind;
use tributary_schemas::types::{ColumnType, LobSize};

/// A declared type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub column_type: ColumnType,
    /// The m and d of FLOAT(m,d) and DOUBLE(m,d), to which values are rounded.
    pub digits: Option<(u8, u8)>,
    /// A number that is not negative.
    pub unsigned: bool,
    /// The labels of ENUM or SET read the same in every session.
    pub plain_labels: bool,
    /// The n of TEXT(n) and BLOB(n): the size follows from it and from the charset.
    pub lob_length: Option<u64>,
    /// NCHAR and friends name their charset.
    pub national: bool,
    /// SERIAL: BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE.
    pub serial: bool,
}

/// Reads a type at the cursor; `None` if it is none that is known.
pub(super) fn declared_type(cursor: &mut Cursor<'_, '_>) -> Option<Declared> {
    let word = cursor.next().filter(|t| t.kind == Kind::Word)?.text.to_ascii_lowercase();
    let plain = |column_type| Declared {
        column_type,
        digits: None,
        unsigned: false,
        plain_labels: true,
        lob_length: None,
        national: false,
        serial: false,
    };
    let single = |word: &str, cursor: &Cursor<'_, '_>| match word {
        "real" => cursor.mode().real_as_float(),
        word => word.starts_with("float") && word != "float8",
    };
    let declared = match word.as_str() {
        "tinyint" | "int1" => plain(integer(cursor, "tinyint")?),
        "smallint" | "int2" => plain(integer(cursor, "smallint")?),
        "mediumint" | "int3" | "middleint" => plain(integer(cursor, "mediumint")?),
        "int" | "integer" | "int4" => plain(integer(cursor, "int")?),
        "bigint" | "int8" => plain(integer(cursor, "bigint")?),
        "bool" | "boolean" => plain(ColumnType::TinyInt { unsigned: false }),
        "serial" => Declared { serial: true, ..plain(ColumnType::BigInt { unsigned: true }) },
        "decimal" | "dec" | "numeric" | "fixed" => {
            let column_type = decimal(cursor)?;
            Declared { unsigned: sign_words(cursor), ..plain(column_type) }
        }
        "float" | "float4" | "double" | "real" | "float8" => {
            let single = single(&word, cursor);
            cursor.word("precision");
            let (column_type, digits) = float(cursor, single)?;
            Declared { digits, unsigned: sign_words(cursor), ..plain(column_type) }
        }
        "bit" => plain(with_number(cursor, "bit", Some(1))?),
        "char" | "character" => {
            if cursor.word("varying") {
                plain(character(cursor, "varchar", None)?)
            } else {
                plain(character(cursor, "char", Some(1))?)
            }
        }
        "varchar" | "varcharacter" => plain(character(cursor, "varchar", None)?),
        "nchar" => {
            let varying = cursor.any_word(&["varying", "varchar", "varcharacter"]).is_some();
            Declared { national: true, ..plain(national(cursor, varying)?) }
        }
        "nvarchar" => Declared { national: true, ..plain(national(cursor, true)?) },
        "national" => {
            let varying = match cursor.any_word(&["varchar", "varcharacter", "char", "character"])? {
                "char" | "character" => cursor.word("varying"),
                _ => true,
            };
            Declared { national: true, ..plain(national(cursor, varying)?) }
        }
        "binary" => plain(with_number(cursor, "binary", Some(1))?),
        "varbinary" => plain(with_number(cursor, "varbinary", None)?),
        "long" => {
            if cursor.word("varbinary") {
                plain(ColumnType::Blob(LobSize::Medium))
            } else {
                if cursor.any_word(&["char", "character"]).is_some() {
                    cursor.word("varying");
                } else {
                    cursor.any_word(&["varchar", "varcharacter"]);
                }
                plain(ColumnType::Text(LobSize::Medium))
            }
        }
        "text" => Declared { lob_length: length(cursor)?, ..plain(ColumnType::Text(LobSize::Normal)) },
        "blob" => Declared { lob_length: length(cursor)?, ..plain(ColumnType::Blob(LobSize::Normal)) },
        "enum" => {
            let (labels, plain_labels) = labels(cursor)?;
            Declared { plain_labels, ..plain(ColumnType::Enum { labels }) }
        }
        "set" => {
            let (labels, plain_labels) = labels(cursor)?;
            Declared { plain_labels, ..plain(ColumnType::Set { labels }) }
        }
        "datetime" | "timestamp" | "time" => plain(with_number(cursor, &word, Some(0))?),
        "vector" => plain(with_number(cursor, &word, Some(2048))?),
        "year" => {
            cursor.parenthesized();
            plain(ColumnType::Year)
        }
        "geometrycollection" => plain(ColumnType::Geometry { name: "geomcollection".to_owned() }),
        // Without arguments: the text and blob sizes, json, date and the spatial types.
        other => plain(other.parse().ok().filter(|_| !cursor.is_symbol("("))?),
    };
    Some(declared)
}

/// `UNSIGNED`, `SIGNED`, `ZEROFILL`; true if unsigned, which ZEROFILL implies.
fn sign_words(cursor: &mut Cursor<'_, '_>) -> bool {
    let mut unsigned = false;
    while let Some(word) = cursor.any_word(&["unsigned", "signed", "zerofill"]) {
        unsigned |= word != "signed";
    }
    unsigned
}

fn integer(cursor: &mut Cursor<'_, '_>, name: &str) -> Option<ColumnType> {
    cursor.parenthesized();
    let unsigned = if sign_words(cursor) { " unsigned" } else { "" };
    format!("{name}{unsigned}").parse().ok()
}

fn decimal(cursor: &mut Cursor<'_, '_>) -> Option<ColumnType> {
    let (precision, scale) = match cursor.parenthesized() {
        Some(mut inner) => {
            let precision = inner.number()?.to_owned();
            let scale = if inner.symbol(",") { inner.number()?.to_owned() } else { "0".to_owned() };
            (precision, scale)
        }
        None => ("10".to_owned(), "0".to_owned()),
    };
    let precision = if precision == "0" { "10" } else { &precision };
    format!("decimal({precision},{scale})").parse().ok()
}

/// FLOAT(p) is single up to 24 binary digits, and double above; FLOAT(m,d) is single.
fn float(cursor: &mut Cursor<'_, '_>, mut single: bool) -> Option<(ColumnType, Option<(u8, u8)>)> {
    let mut digits = None;
    if let Some(mut inner) = cursor.parenthesized() {
        let precision: u8 = inner.number()?.parse().ok()?;
        if inner.symbol(",") {
            digits = Some((precision, inner.number()?.parse().ok()?));
        } else {
            single &= precision <= 24;
        }
    }
    Some((if single { ColumnType::Float } else { ColumnType::Double }, digits))
}

fn with_number(cursor: &mut Cursor<'_, '_>, name: &str, default: Option<u64>) -> Option<ColumnType> {
    let number = length(cursor)?.or(default)?;
    format!("{name}({number})").parse().ok()
}

/// CHAR and VARCHAR; CHAR(n) BYTE is BINARY(n).
fn character(cursor: &mut Cursor<'_, '_>, name: &str, default: Option<u64>) -> Option<ColumnType> {
    let number = length(cursor)?.or(default)?;
    let name = match (cursor.word("byte"), name) {
        (true, "char") => "binary",
        (true, _) => "varbinary",
        (false, name) => name,
    };
    format!("{name}({number})").parse().ok()
}

fn national(cursor: &mut Cursor<'_, '_>, varying: bool) -> Option<ColumnType> {
    if varying { with_number(cursor, "varchar", None) } else { with_number(cursor, "char", Some(1)) }
}

/// A length in parentheses: the outer `None` if it is not a number.
#[allow(clippy::option_option, reason = "no length and an unreadable length differ")]
fn length(cursor: &mut Cursor<'_, '_>) -> Option<Option<u64>> {
    match cursor.parenthesized() {
        Some(mut inner) => Some(Some(inner.number()?.parse().ok()?)),
        None => Some(None),
    }
}

/// Labels of ENUM and SET, and whether they read the same in every session; MySQL drops their trailing spaces.
fn labels(cursor: &mut Cursor<'_, '_>) -> Option<(Vec<String>, bool)> {
    let inner = cursor.parenthesized()?;
    let mut plain = true;
    let labels: Option<Vec<String>> = inner
        .split_commas()
        .into_iter()
        .map(|mut part| {
            let label = part.literal().filter(|_| part.is_empty())?;
            plain &= label.plain;
            Some(label.text.trim_end_matches(' ').to_owned())
        })
        .collect();
    Some((labels?, plain))
}

#[cfg(test)]
mod tests {
    use super::super::mode::SqlMode;
    use super::super::token::tokenize;
    use super::*;

    fn declared(text: &str) -> Option<Declared> {
        declared_in(text, 0)
    }

    fn declared_in(text: &str, bits: u64) -> Option<Declared> {
        let mode = SqlMode::new(Some(bits));
        let tokens = tokenize(text, mode);
        let mut cursor = Cursor::new(text, &tokens, mode);
        declared_type(&mut cursor).filter(|_| cursor.is_empty())
    }

    #[test]
    fn every_synonym_has_the_name_of_information_schema() {
        for (text, name) in [
            ("INTEGER(11)", "int"),
            ("INT3 UNSIGNED", "mediumint unsigned"),
            ("int8(20) zerofill", "bigint unsigned"),
            ("BIGINT SIGNED", "bigint"),
            ("BOOLEAN", "tinyint"),
            ("SERIAL", "bigint unsigned"),
            ("DEC", "decimal(10,0)"),
            ("FIXED(5)", "decimal(5,0)"),
            ("NUMERIC ( 12 , 4 ) UNSIGNED", "decimal(12,4)"),
            ("FLOAT(24)", "float"),
            ("FLOAT(25)", "double"),
            ("FLOAT(30,3)", "float"),
            ("DOUBLE PRECISION", "double"),
            ("REAL(10,2) UNSIGNED", "double"),
            ("BIT", "bit(1)"),
            ("CHAR", "char(1)"),
            ("CHARACTER VARYING(20)", "varchar(20)"),
            ("CHAR(3) BYTE", "binary(3)"),
            ("NATIONAL CHARACTER VARYING(7)", "varchar(7)"),
            ("NCHAR VARCHAR(7)", "varchar(7)"),
            ("NATIONAL CHAR", "char(1)"),
            ("LONG", "mediumtext"),
            ("LONG VARCHAR", "mediumtext"),
            ("LONG VARBINARY", "mediumblob"),
            ("TEXT(100)", "text"),
            ("ENUM('a','it''s', \"b \", 'x\\'y')", "enum('a','it''s','b','x''y')"),
            ("SET('a','b')", "set('a','b')"),
            ("DATETIME(6)", "datetime(6)"),
            ("YEAR(4)", "year"),
            ("GEOMETRYCOLLECTION", "geomcollection"),
            ("VECTOR(3)", "vector(3)"),
            ("JSON", "json"),
        ] {
            let found = declared(text).unwrap_or_else(|| panic!("{text} was not read"));
            assert_eq!(found.column_type.to_string(), name, "{text}");
        }
        for text in ["UUID", "VARCHAR", "DECIMAL(70)", "`int`", "ENUM(a)", "DATETIME(x)"] {
            assert_eq!(declared(text), None, "{text}");
        }
        assert_eq!(declared_in("REAL(7,2)", 1).unwrap().column_type, ColumnType::Float);
        let precise = declared("DOUBLE PRECISION(8,3) UNSIGNED").unwrap();
        assert_eq!((precise.digits, precise.unsigned), (Some((8, 3)), true));
        assert!(declared("DECIMAL(5) ZEROFILL").unwrap().unsigned);
        assert!(declared("ENUM('a','it''s')").unwrap().plain_labels);
        for text in [r"ENUM('a\\b')", "ENUM('\u{e9}')", "SET(_latin1'a')", "SET(N'a')"] {
            assert!(!declared(text).unwrap().plain_labels, "{text}");
        }
        assert!(declared("NVARCHAR(3)").unwrap().national);
        assert!(declared("SERIAL").unwrap().serial);
        assert_eq!(declared("BLOB(300)").unwrap().lob_length, Some(300));
    }
}
