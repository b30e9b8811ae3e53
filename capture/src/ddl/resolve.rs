//! From a column as declared to the column that the catalog has, once the defaults of table and session are filled
//! in.

use super::catalog::Session;
use super::charset::{canonical, charset_of, max_bytes, named_collation};
use super::column::ColumnDefinition;
use super::default::ResolvedDefault;
use tributary_schemas::conversion::capacity_bytes;
use tributary_schemas::types::{ColumnType, LobSize};
use tributary_source::catalog::CatalogColumn;

/// A column as far as its declaration tells it.
pub(super) struct Resolved {
    pub column: CatalogColumn,
    /// What only the server can say; `None` if the declaration says all.
    pub doubt: Option<&'static str>,
}

/// The column of a table whose default collation is `table_collation`.
///
/// # Errors
/// What of the definition cannot be told for certain.
pub(super) fn resolve(
    definition: &ColumnDefinition,
    table_collation: &str,
    session: &Session,
) -> Result<Resolved, String> {
    let name = &definition.name;
    let mut column_type = definition.column_type.clone();
    let mut collation = None;
    if has_charset(&column_type) {
        let mut named = named_collation(
            definition.charset.as_deref(),
            definition.collation.as_deref(),
            table_collation,
            session,
        )?;
        if definition.binary_collation && definition.collation.is_none() {
            named = format!("{}_bin", charset_of(&named));
        }
        if charset_of(&named) == "binary" {
            column_type = as_bytes(column_type)
                .ok_or_else(|| format!("column {name} has the charset binary, but is no plain text"))?;
        } else {
            collation = Some(named);
        }
    }
    let charset = collation.as_deref().map(charset_of);
    if let Some(length) = definition.lob_length.filter(|length| *length > 0) {
        let bytes = length.saturating_mul(charset.map_or(1, max_bytes));
        column_type = with_lob_size(column_type, smallest_lob(bytes));
    }
    let timestamp = matches!(column_type, ColumnType::Timestamp { .. });
    // NOT NULL alone does not help: the first such column is filled with the time of the statement.
    let made_up =
        definition.nullable.is_none() || (definition.nullable == Some(false) && definition.default.is_none());
    if timestamp && !session.explicit_timestamps && made_up && !definition.generated {
        return Err(format!(
            "column {name} is a TIMESTAMP whose default the server makes up (explicit_defaults_for_timestamp)"
        ));
    }
    let ResolvedDefault { default, doubtful } = match &definition.default {
        Some(clause) => clause.resolve(&column_type),
        None => ResolvedDefault { default: None, doubtful: false },
    };
    let doubt = match (definition.plain_labels, doubtful) {
        (false, _) => Some("its labels"),
        (true, true) => Some("its default"),
        (true, false) => None,
    };
    let column = CatalogColumn {
        name: name.clone(),
        declared_type: declared_text(&column_type, definition),
        nullable: definition.nullable.unwrap_or(!definition.primary_key),
        default,
        charset: charset.map(|charset| canonical(charset, session)),
        collation,
        comment: definition.comment.clone(),
        generated: definition.generated,
        expression: String::new(),
        auto_increment: definition.auto_increment,
        invisible: definition.invisible,
        inexact_labels: false,
        inexact_default: false,
    };
    Ok(Resolved { column, doubt })
}

/// The type as `information_schema` prints it, with what of it bears on values.
fn declared_text(column_type: &ColumnType, definition: &ColumnDefinition) -> String {
    let mut text = column_type.to_string();
    if let Some((digits, decimals)) = definition.digits {
        text += &format!("({digits},{decimals})");
    }
    if definition.unsigned {
        text += " unsigned";
    }
    text
}

/// The smallest size that holds this many bytes.
const fn smallest_lob(bytes: u64) -> LobSize {
    match bytes {
        0..=0xff => LobSize::Tiny,
        0x100..=0xffff => LobSize::Normal,
        0x1_0000..=0xff_ffff => LobSize::Medium,
        _ => LobSize::Long,
    }
}

/// CONVERT TO CHARACTER SET: a text that might no longer fit becomes a larger one.
///
/// # Errors
/// Why the outcome cannot be told.
pub(super) fn convert(column: &mut CatalogColumn, collation: &str, session: &Session) -> Result<(), String> {
    let Some(old_charset) = column.charset.clone() else { return Ok(()) };
    let new_charset = charset_of(collation);
    let parsed: Result<ColumnType, _> = column.declared_type.parse();
    match parsed.map_err(|error| error.to_string())? {
        ColumnType::Text(size) => {
            let characters = capacity_bytes(size) / max_bytes(&old_charset);
            let size = smallest_lob(characters * max_bytes(new_charset));
            column.declared_type = ColumnType::Text(size).to_string();
        }
        ColumnType::VarChar { length } if u64::from(length) * max_bytes(new_charset) > 0xffff => {
            return Err(format!("column {} may become a text, or may not", column.name));
        }
        _ => {}
    }
    column.charset = Some(canonical(new_charset, session));
    column.collation = Some(collation.to_owned());
    Ok(())
}

const fn has_charset(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Char { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Text(_)
            | ColumnType::Enum { .. }
            | ColumnType::Set { .. }
    )
}

fn as_bytes(column_type: ColumnType) -> Option<ColumnType> {
    match column_type {
        ColumnType::Char { length } => Some(ColumnType::Binary { length }),
        ColumnType::VarChar { length } => Some(ColumnType::VarBinary { length }),
        ColumnType::Text(size) => Some(ColumnType::Blob(size)),
        _ => None,
    }
}

fn with_lob_size(column_type: ColumnType, size: LobSize) -> ColumnType {
    match column_type {
        ColumnType::Text(_) => ColumnType::Text(size),
        ColumnType::Blob(_) => ColumnType::Blob(size),
        other => other,
    }
}
