//! The tables in which gh-ost and pt-online-schema-change build a table's next form, by their names.

use tributary_schemas::table::TableId;

/// The table that `table` is a shadow, log or remainder of, if its name is one that these tools give:
/// gh-ost's `_t_gho`, `_t_ghc`, `_t_del` and `_t_20240131235959_del`; pt-osc's `_t_new`, `__t_new`, `_t_old`. A name
/// is only a hint: ask whether the table it leads to is selected.
#[must_use]
pub fn shadow_of(table: &TableId) -> Option<TableId> {
    const SUFFIXES: [&str; 5] = ["_gho", "_ghc", "_del", "_new", "_old"];
    let inner = table.table.strip_prefix('_')?;
    let (inner, suffix) = SUFFIXES.iter().find_map(|suffix| Some((inner.strip_suffix(suffix)?, *suffix)))?;
    let original = match suffix {
        "_del" => without_timestamp(inner),
        // pt-osc puts more underscores in front while the name is taken.
        "_new" | "_old" => inner.trim_start_matches('_'),
        _ => inner,
    };
    (!original.is_empty()).then(|| TableId::new(table.database.clone(), original))
}

/// gh-ost may date the table that it leaves behind.
fn without_timestamp(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((original, date)) if date.len() == 14 && date.bytes().all(|b| b.is_ascii_digit()) => original,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows_lead_to_their_tables() {
        for (shadow, original) in [
            ("_orders_gho", Some("orders")),
            ("_orders_ghc", Some("orders")),
            ("_orders_del", Some("orders")),
            ("_orders_20240131235959_del", Some("orders")),
            ("_orders_new", Some("orders")),
            ("__orders_new", Some("orders")),
            ("_orders_old", Some("orders")),
            ("orders_new", None),
            ("_orders", None),
            ("__new", None),
        ] {
            let found = shadow_of(&TableId::new("shop", shadow)).map(|id| id.table);
            assert_eq!(found.as_deref(), original, "{shadow}");
        }
    }
}
