//! Labels and defaults as the server holds them. `information_schema` prints both lossily: a character of four bytes
//! comes as `?`, a FLOAT with six digits, bytes up to the first zero, a TIMESTAMP in the time zone of whoever declared it, and in the labels of ENUM
//! and SET backslash, line feed, carriage return and NUL are escaped. A table as printed enters; the same table leaves with
//! what a SELECT says in place of what a print may have lost.
//!
//! Invariant: what could not be asked is marked (`inexact_labels`, `inexact_default`, `unasked`); nothing is guessed. A table
//! that somebody holds locked costs a second: the others do not wait for it.

use super::{CatalogColumn, CatalogTable};
use crate::chunk::quote;
use crate::connect::SourceConnection;
use crate::error::SourceError;
use crate::options::LOCK_WAIT;
use tributary_schemas::table::ColumnDefault;
use tributary_schemas::types::ColumnType;

/// What is being done, for messages.
const DURING: &str = "reading labels and defaults";
/// What a character of four bytes is printed as.
const LOST: char = '?';

/// These questions alone touch the tables themselves, and wait for whoever alters or locks one.
const IMPATIENT: &str = "SET SESSION lock_wait_timeout = 1";

/// Puts the exact labels and defaults into `tables`. Asks nothing where the print cannot have lost anything.
///
/// # Errors
/// What the server or the network said, if asking again can help.
pub(crate) async fn complete(
    connection: &mut SourceConnection,
    tables: Vec<&mut CatalogTable>,
) -> Result<(), SourceError> {
    let asks = tables.iter().flat_map(|table| &table.columns).any(is_asked);
    if asks {
        connection.execute(DURING, IMPATIENT).await?;
    }
    for table in tables {
        complete_table(connection, table).await?;
    }
    if asks { connection.execute(DURING, LOCK_WAIT).await } else { Ok(()) }
}

async fn complete_table(
    connection: &mut SourceConnection,
    table: &mut CatalogTable,
) -> Result<(), SourceError> {
    let place = format!("{}.{}", quote(&table.id.database), quote(&table.id.table));
    for column in &mut table.columns {
        match complete_labels(connection, &place, column).await {
            Err(error) if error.is_locked() => {
                table.unasked = true;
                break;
            }
            other => other?,
        }
    }
    if !table.unasked {
        match complete_defaults(connection, &place, &mut table.columns).await {
            Err(error) if error.is_locked() => {}
            other => return other,
        }
    }
    for column in table.columns.iter_mut().filter(|column| is_lost(column)) {
        column.inexact_default = true;
    }
    Ok(())
}

/// True if the table itself is asked about the column.
fn is_asked(column: &CatalogColumn) -> bool {
    is_lost(column) || column.declared_type.contains(LOST)
}

async fn complete_labels(
    connection: &mut SourceConnection,
    place: &str,
    column: &mut CatalogColumn,
) -> Result<(), SourceError> {
    if !column.declared_type.contains(['\\', LOST]) {
        return Ok(());
    }
    let Ok(printed) = column.declared_type.parse::<ColumnType>() else { return Ok(()) };
    let (labels, is_set) = match printed {
        ColumnType::Enum { labels } => (labels, false),
        ColumnType::Set { labels } => (labels, true),
        _ => return Ok(()),
    };
    let labels: Vec<String> = labels.iter().map(|label| unescape(label)).collect();
    let exact = if labels.iter().any(|label| label.contains(LOST)) {
        ask_labels(connection, place, &column.name, labels.len(), is_set).await?.filter(|exact| {
            exact.len() == labels.len()
                && exact.iter().zip(&labels).all(|(exact, label)| lossy(exact) == *label)
        })
    } else {
        Some(labels)
    };
    match exact {
        Some(labels) => {
            let exact = if is_set { ColumnType::Set { labels } } else { ColumnType::Enum { labels } };
            column.declared_type = exact.to_string();
        }
        None => column.inexact_labels = true,
    }
    Ok(())
}

/// The labels by number, without a row: the column of a recursive expression has the type of its first member, so that
/// a number put into it comes out as its label. `None` if the server refuses (before 8.0 there is no such expression).
async fn ask_labels(
    connection: &mut SourceConnection,
    place: &str,
    column: &str,
    count: usize,
    is_set: bool,
) -> Result<Option<Vec<String>>, SourceError> {
    /// The server's own bound on the depth of such an expression, as it is by default.
    const DEPTH: usize = 1000;
    if count >= DEPTH {
        let deeper = format!("SET SESSION cte_max_recursion_depth = {}", count + 1);
        if accepted(connection.execute(DURING, &deeper).await)?.is_none() {
            return Ok(None);
        }
    }
    let next = if is_set { "1 << n" } else { "n + 1" };
    let sql = format!(
        "WITH RECURSIVE l (v, n) AS (SELECT t.{column}, 0 FROM (SELECT 1 AS one) d LEFT JOIN {place} t ON FALSE \
         UNION ALL SELECT {next}, n + 1 FROM l WHERE n < {count}) SELECT v FROM l WHERE n > 0 ORDER BY n",
        column = quote(column)
    );
    let Some(rows) = accepted(connection.query(DURING, &sql).await)? else { return Ok(None) };
    Ok(rows.into_iter().map(|row| row.get_opt::<String, _>(0)?.ok()).collect())
}

async fn complete_defaults(
    connection: &mut SourceConnection,
    place: &str,
    columns: &mut [CatalogColumn],
) -> Result<(), SourceError> {
    let lost: Vec<&mut CatalogColumn> = columns.iter_mut().filter(|column| is_lost(column)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = lost.iter().map(|column| expression(column)).collect();
    // Any row will do. Without one, a row of NULLs stands for the table's, but only columns that may be NULL have their
    // default in it.
    let of_a_row = format!("SELECT {} FROM {place} t LIMIT 1", list.join(", "));
    let of_none = format!("SELECT {} FROM (SELECT 1 AS one) d LEFT JOIN {place} t ON FALSE", list.join(", "));
    let mut row = None;
    for sql in [of_a_row, of_none] {
        if row.is_none() {
            // By the binary protocol, which does not print numbers.
            let rows = accepted(connection.query_with(DURING, &sql, ()).await)?;
            row = rows.and_then(|rows| rows.into_iter().next());
        }
    }
    for (index, column) in lost.into_iter().enumerate() {
        let number = matches!(type_name(&column.declared_type), "float" | "double");
        let exact = row.as_ref().and_then(|row| {
            if number {
                return row.get_opt::<f64, _>(index)?.ok().map(|number| number.to_string());
            }
            row.get_opt::<String, _>(index)?.ok()
        });
        match exact {
            Some(text) if type_name(&column.declared_type) == "binary" => {
                // As printed: without the zero bytes that fill the column up.
                let mut digits = text.as_str();
                while let Some(shorter) = digits.strip_suffix("00").filter(|rest| rest.len() % 2 == 0) {
                    digits = shorter;
                }
                column.default = Some(ColumnDefault::Constant(format!("0x{digits}")));
            }
            Some(text) if type_name(&column.declared_type) == "varbinary" => {
                column.default = Some(ColumnDefault::Constant(format!("0x{text}")));
            }
            Some(text) => column.default = Some(ColumnDefault::Constant(text)),
            None => column.inexact_default = true,
        }
    }
    Ok(())
}

/// The default of a column in words that lose nothing.
fn expression(column: &CatalogColumn) -> String {
    let default = format!("DEFAULT(t.{})", quote(&column.name));
    match type_name(&column.declared_type) {
        "binary" | "varbinary" => format!("HEX({default})"),
        // The field alone is rounded to the decimals of its type.
        "float" | "double" => format!("{default} + 0e0"),
        "timestamp" => format!("CAST({default} AS CHAR)"),
        _ => default,
    }
}

/// True if the print of the column's default may not be the default.
fn is_lost(column: &CatalogColumn) -> bool {
    let Some(ColumnDefault::Constant(text)) = &column.default else { return false };
    match type_name(&column.declared_type) {
        "char" | "varchar" | "enum" | "set" => text.contains(LOST),
        // Printed up to the first zero byte only; by 5.7 as if the bytes were text.
        "binary" | "varbinary" => true,
        "float" => text != "0",
        // DOUBLE(m,d) is printed with d decimals.
        "double" => text != "0" && column.declared_type.contains('('),
        "timestamp" => !text.starts_with("0000-00-00"),
        _ => false,
    }
}

fn type_name(declared_type: &str) -> &str {
    declared_type.split(['(', ' ']).next().unwrap_or_default()
}

/// What MySQL escapes in a label that it prints; the quote is doubled, which is undone already.
fn unescape(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    let mut characters = label.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('r')) => text.push('\r'),
            ('\\', Some('0')) => text.push('\0'),
            ('\\', Some(other)) => text.push(other),
            _ => text.push(c),
        }
    }
    text
}

/// As `information_schema` prints it.
fn lossy(label: &str) -> String {
    label.chars().map(|c| if c > '\u{ffff}' { LOST } else { c }).collect()
}

/// An answer, or `None` if the server refuses the question for good.
fn accepted<T>(answer: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declared_type: &str, default: &str) -> CatalogColumn {
        CatalogColumn {
            default: Some(ColumnDefault::Constant(default.to_owned())),
            ..CatalogColumn::new("a`b", declared_type)
        }
    }

    #[test]
    fn only_what_a_print_may_lose_is_asked_for() {
        for (declared_type, default, lost) in [
            ("varchar(9)", r"a\_b", false),
            ("varchar(9)", "a?", true),
            ("enum('?')", "?", true),
            ("varbinary(4)", "0x6162", true),
            ("float(7,2)", "1.23", true),
            ("float", "0", false),
            ("double(8,3)", "1.235", true),
            ("double", "1.235", false),
            ("timestamp", "2020-01-01 00:00:00", true),
            ("timestamp", "0000-00-00 00:00:00", false),
            ("datetime", "2020-01-01 00:00:00", false),
            ("int", "7", false),
        ] {
            assert_eq!(is_lost(&column(declared_type, default)), lost, "{declared_type} {default}");
        }
        let expression = |declared_type| expression(&column(declared_type, "1"));
        assert_eq!(expression("varbinary(4)"), "HEX(DEFAULT(t.`a``b`))");
        assert_eq!(expression("float unsigned"), "DEFAULT(t.`a``b`) + 0e0");
    }

    #[test]
    fn labels_are_unescaped_as_the_server_escapes_them() {
        assert_eq!(unescape(r"a\\_b"), r"a\_b");
        assert_eq!(unescape(r"n\nl\r\0"), "n\nl\r\0");
        assert_eq!(unescape(r"\\n"), r"\n");
        assert_eq!(lossy("a😀é"), "a?é");
    }
}
