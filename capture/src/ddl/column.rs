//! A column's definition as a statement declares it: what it says, and `None` where it says nothing and the table's
//! or the session's defaults count.

use super::cursor::Cursor;
use super::declared::{Declared, declared_type};
use super::default::DefaultClause;
use tributary_schemas::types::ColumnType;

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    pub name: String,
    /// Type; for text and blob with a `lob_length` the size is still open.
    pub column_type: ColumnType,
    /// The m and d of FLOAT(m,d) and DOUBLE(m,d).
    pub digits: Option<(u8, u8)>,
    /// UNSIGNED of a number with a fraction.
    pub unsigned: bool,
    /// The labels of ENUM or SET read the same in every session.
    pub plain_labels: bool,
    /// The n of TEXT(n) and BLOB(n), characters or bytes.
    pub lob_length: Option<u64>,
    /// NULL or NOT NULL; `None` if neither is said.
    pub nullable: Option<bool>,
    pub default: Option<DefaultClause>,
    /// CHARACTER SET.
    pub charset: Option<String>,
    /// COLLATE.
    pub collation: Option<String>,
    /// The attribute BINARY: the charset's `_bin` collation.
    pub binary_collation: bool,
    pub comment: String,
    /// GENERATED ALWAYS AS.
    pub generated: bool,
    pub auto_increment: bool,
    /// PRIMARY KEY at the column.
    pub primary_key: bool,
    /// UNIQUE at the column.
    pub unique: bool,
    pub invisible: bool,
}

impl ColumnDefinition {
    fn new(name: String, declared: Declared) -> Self {
        let serial = declared.serial;
        Self {
            name,
            column_type: declared.column_type,
            digits: declared.digits,
            unsigned: declared.unsigned,
            plain_labels: declared.plain_labels,
            lob_length: declared.lob_length,
            nullable: serial.then_some(false),
            default: None,
            charset: declared.national.then(|| "utf8".to_owned()),
            collation: None,
            binary_collation: false,
            comment: String::new(),
            generated: false,
            auto_increment: serial,
            primary_key: false,
            unique: serial,
            invisible: false,
        }
    }
}

/// Reads the definition of the column `name`, whose type is at the cursor, up to the end, to FIRST or AFTER, or to
/// the table's partitioning.
pub(super) fn column_definition(name: String, cursor: &mut Cursor<'_, '_>) -> Option<ColumnDefinition> {
    let mut column = ColumnDefinition::new(name, declared_type(cursor)?);
    while !ends_definition(cursor) {
        attribute(&mut column, cursor)?;
    }
    Some(column)
}

fn ends_definition(cursor: &Cursor<'_, '_>) -> bool {
    cursor.is_empty()
        || cursor.is_symbol(",")
        || ["FIRST", "AFTER", "PARTITION", "REMOVE"].iter().any(|word| cursor.is_word(word))
}

fn attribute(column: &mut ColumnDefinition, cursor: &mut Cursor<'_, '_>) -> Option<()> {
    if charset_words(cursor) {
        column.charset = Some(charset_name(cursor)?);
    } else if cursor.word("COLLATE") {
        column.collation = Some(charset_name(cursor)?);
    } else if cursor.word("BINARY") {
        column.binary_collation = true;
    } else if cursor.word("ASCII") {
        column.charset = Some("latin1".to_owned());
    } else if cursor.word("UNICODE") {
        column.charset = Some("ucs2".to_owned());
    } else if cursor.words(&["NOT", "NULL"]) {
        column.nullable = Some(false);
    } else if cursor.word("NULL") {
        column.nullable = Some(true);
    } else if cursor.words(&["SERIAL", "DEFAULT", "VALUE"]) {
        column.nullable = Some(false);
        column.auto_increment = true;
        column.unique = true;
    } else if cursor.word("DEFAULT") {
        column.default = Some(DefaultClause::read(cursor)?);
    } else if cursor.words(&["ON", "UPDATE"]) {
        DefaultClause::read(cursor)?;
    } else if cursor.word("AUTO_INCREMENT") {
        column.auto_increment = true;
        column.nullable = Some(false);
    } else if cursor.word("UNIQUE") {
        cursor.word("KEY");
        column.unique = true;
    } else if cursor.words(&["PRIMARY", "KEY"]) || cursor.word("KEY") || cursor.word("PRIMARY") {
        column.primary_key = true;
    } else if cursor.word("COMMENT") {
        column.comment = cursor.string()?.into_owned();
    } else if cursor.word("INVISIBLE") {
        column.invisible = true;
    } else if cursor.words(&["GENERATED", "ALWAYS"]) || cursor.is_word("AS") {
        cursor.word("AS").then_some(())?;
        cursor.parenthesized()?;
        column.generated = true;
    } else {
        without_effect(cursor)?;
    }
    Some(())
}

/// Attributes that change no value and no type.
fn without_effect(cursor: &mut Cursor<'_, '_>) -> Option<()> {
    if cursor.any_word(&["VIRTUAL", "STORED", "PERSISTENT", "VISIBLE", "ENFORCED"]).is_some()
        || cursor.words(&["NOT", "ENFORCED"])
        || cursor.words(&["NOT", "SECONDARY"])
    {
        return Some(());
    }
    if cursor.any_word(&["COLUMN_FORMAT", "STORAGE", "SRID"]).is_some() {
        cursor.next()?;
        return Some(());
    }
    if cursor.any_word(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]).is_some() {
        cursor.symbol("=");
        cursor.string()?;
        return Some(());
    }
    if cursor.word("CONSTRAINT") {
        cursor.name_except(&["CHECK"]);
        cursor.is_word("CHECK").then_some(())?;
    }
    if cursor.word("CHECK") {
        cursor.parenthesized()?;
        return Some(());
    }
    if cursor.word("REFERENCES") {
        return references(cursor);
    }
    None
}

fn references(cursor: &mut Cursor<'_, '_>) -> Option<()> {
    cursor.table("")?;
    cursor.parenthesized();
    loop {
        if cursor.word("MATCH") {
            cursor.next()?;
        } else if cursor.words(&["ON", "DELETE"]) || is_referential_update(cursor) {
            let two_words = cursor.words(&["SET", "NULL"])
                || cursor.words(&["SET", "DEFAULT"])
                || cursor.words(&["NO", "ACTION"]);
            if !two_words {
                cursor.any_word(&["RESTRICT", "CASCADE"])?;
            }
        } else {
            return Some(());
        }
    }
}

/// `ON UPDATE` of a foreign key, not of a timestamp.
fn is_referential_update(cursor: &mut Cursor<'_, '_>) -> bool {
    let mut ahead = *cursor;
    let found = ahead.words(&["ON", "UPDATE"])
        && ["SET", "NO", "RESTRICT", "CASCADE"].iter().any(|word| ahead.is_word(word));
    if found {
        *cursor = ahead;
    }
    found
}

/// `CHARACTER SET`, `CHAR SET` or `CHARSET`.
pub(super) fn charset_words(cursor: &mut Cursor<'_, '_>) -> bool {
    cursor.words(&["CHARACTER", "SET"]) || cursor.words(&["CHAR", "SET"]) || cursor.word("CHARSET")
}

/// The name of a charset or collation, in lower case as `information_schema` has it.
pub(super) fn charset_name(cursor: &mut Cursor<'_, '_>) -> Option<String> {
    let name = cursor.name().or_else(|| cursor.string().map(std::borrow::Cow::into_owned))?;
    Some(name.to_ascii_lowercase())
}
