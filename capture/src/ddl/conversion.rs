//! Whether ALTER TABLE leaves every value of a column what it was. What does not surely do so needs its rows read
//! again, for MySQL changes them without row events. The types' own table is in [`tributary_schemas::conversion`].

use super::catalog::Session;
use tributary_schemas::conversion::{Declaration, Rules, is_same_charset, keeps_values};
use tributary_schemas::table::ColumnDefault;
use tributary_schemas::types::ColumnType;
use tributary_source::catalog::{CatalogColumn, CatalogTable};

/// Why values of a known column may differ after it changed from `old` to `new`; `None` if they cannot. `declared`: the
/// statement declares it anew.
pub(super) fn value_change(
    old: &CatalogColumn,
    new: &CatalogColumn,
    declared: bool,
    session: &Session,
) -> Option<String> {
    let name = &new.name;
    if new.generated || old.generated {
        // The expression is not compared: MySQL prints it in words of its own. In another type or character set MySQL computes
        // the values anew, of what the columns behind them hold: nothing is converted.
        let computed = declared || !is_same_type(old, new);
        return computed
            .then(|| format!("generated column {name} was declared anew, or in another character set"));
    }
    if new.auto_increment && !old.auto_increment {
        return Some(format!("column {name} became AUTO_INCREMENT, which numbers rows that are 0"));
    }
    let rules = Rules { strict: session.mode.is_strict(), pads_char: session.mode.pads_char() };
    if keeps_values(&declaration(old), &declaration(new), rules) {
        return None;
    }
    let (before, now) = (describe(old), describe(new));
    Some(format!("column {name}: values may change from {before} to {now}"))
}

/// Why a new column's value is not told by a constant, if it is not.
pub(super) fn fills_row_by_row(column: &CatalogColumn) -> Option<String> {
    let name = &column.name;
    if column.generated {
        return Some(format!("new column {name} is generated"));
    }
    if column.auto_increment {
        return Some(format!("new column {name} numbers the rows"));
    }
    match &column.default {
        Some(ColumnDefault::Expression(expression)) => {
            Some(format!("new column {name} is filled with {expression}"))
        }
        // What becomes of that is for each destination to say, row by row.
        Some(ColumnDefault::Constant(text)) if text.contains('\0') => {
            Some(format!("new column {name} is filled with a text that holds a NUL byte"))
        }
        _ => None,
    }
}

/// A generated column whose values follow from a column that is declared otherwise now; `None` if there is none.
/// `origins` has the place of each new column in the old definition.
pub(super) fn recomputed<'a>(
    old: &CatalogTable,
    new: &'a CatalogTable,
    origins: &[Option<usize>],
) -> Option<&'a CatalogColumn> {
    let kept = || {
        let pairs = new.columns.iter().zip(origins);
        pairs.filter_map(|(column, origin)| Some((origin.and_then(|place| old.columns.get(place))?, column)))
    };
    let quoted = |column: &CatalogColumn| format!("`{}`", column.name.replace('`', "``").to_lowercase());
    let changed: Vec<String> = kept()
        .filter(|(before, now)| {
            (&before.declared_type, &before.charset, &before.collation)
                != (&now.declared_type, &now.charset, &now.collation)
        })
        .map(|(before, _)| quoted(before))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let depends = |column: &CatalogColumn| {
        let expression = column.expression.to_lowercase();
        // It may stand on another generated column, which is not followed further.
        let indirect = old.columns.iter().any(|other| other.generated && expression.contains(&quoted(other)));
        expression.is_empty() || indirect || changed.iter().any(|name| expression.contains(name))
    };
    kept().find(|(before, now)| now.generated && depends(before)).map(|(_, now)| now)
}

/// True if neither the type nor what its values are made of differs.
pub(super) fn is_same_type(old: &CatalogColumn, new: &CatalogColumn) -> bool {
    let same_type = old.declared_type == new.declared_type
        || match (old.declared_type.parse::<ColumnType>(), new.declared_type.parse::<ColumnType>()) {
            (Ok(old), Ok(new)) => old == new,
            _ => false,
        };
    same_type
        && match (&old.charset, &new.charset) {
            (Some(old), Some(new)) => is_same_charset(old, new),
            (old, new) => old == new,
        }
}

fn declaration(column: &CatalogColumn) -> Declaration<'_> {
    Declaration {
        declared_type: &column.declared_type,
        charset: column.charset.as_deref(),
        nullable: column.nullable,
    }
}

fn describe(column: &CatalogColumn) -> String {
    let charset = column.charset.as_ref().map(|charset| format!(" in {charset}")).unwrap_or_default();
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("{}{charset}{null}", column.declared_type)
}
