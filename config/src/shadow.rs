//! The tables in which gh-ost, pt-online-schema-change and DMS build a table's next form, log its changes, and leave its
//! last one, by their names. Pure.

use tributary_schemas::table::TableId;

/// The tables that `table` may be a shadow, log or remainder of, if its name is one that these tools give:
/// gh-ost's `_t_gho`, `_t_ghc`, `_t_del` and `_t_20240131235959_del`; pt-osc's `_t_new`, `__t_new`, `_t_old`; DMS's
/// `tp_4711_ogt_t`, `tp_4711_ogl_t` and `tp_4711_del_t`. A name is only a hint: ask whether such a table is there.
#[must_use]
pub(super) fn shadowed(table: &TableId) -> Vec<TableId> {
    let mut names = Vec::new();
    if let Some(original) = of_dms(&table.table) {
        names.push(original);
    } else if let Some(inner) = table.table.strip_prefix('_') {
        match inner.rsplit_once('_') {
            Some((original, "gho" | "ghc")) => names.push(original),
            Some((original, "del")) => {
                names.push(original);
                names.extend(without_timestamp(original));
            }
            // pt-osc puts more underscores in front while the name is taken.
            Some((mut original, "new" | "old")) => {
                names.push(original);
                while let Some(shorter) = original.strip_prefix('_') {
                    names.push(shorter);
                    original = shorter;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names.into_iter().map(|name| TableId::new(table.database.clone(), name)).collect()
}

fn of_dms(name: &str) -> Option<&str> {
    let (ticket, rest) = name.strip_prefix("tp_")?.split_once('_')?;
    let is_ticket = !ticket.is_empty() && ticket.bytes().all(|byte| byte.is_ascii_digit());
    let original = ["ogt_", "ogl_", "del_"].iter().find_map(|kind| rest.strip_prefix(kind))?;
    is_ticket.then_some(original)
}

/// gh-ost may date the table that it leaves behind.
fn without_timestamp(name: &str) -> Option<&str> {
    let (original, date) = name.rsplit_once('_')?;
    (date.len() == 14 && date.bytes().all(|byte| byte.is_ascii_digit())).then_some(original)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows_lead_to_their_tables() {
        for (shadow, originals) in [
            ("_orders_gho", &["orders"][..]),
            ("_orders_ghc", &["orders"]),
            ("_orders_del", &["orders"]),
            ("_orders_20240131235959_del", &["orders_20240131235959", "orders"]),
            ("_orders_new", &["orders"]),
            ("__orders_new", &["_orders", "orders"]),
            ("_orders_old", &["orders"]),
            ("__orders_gho", &["_orders"]),
            ("tp_4711_ogt_orders", &["orders"]),
            ("tp_4711_ogl_orders", &["orders"]),
            ("tp_4711_del_orders", &["orders"]),
            ("tp_x_ogt_orders", &[]),
            ("tp_4711_orders", &[]),
            ("orders_new", &[]),
            ("_orders", &[]),
            ("__new", &[]),
            ("_new", &[]),
        ] {
            let found: Vec<String> =
                shadowed(&TableId::new("shop", shadow)).into_iter().map(|id| id.table).collect();
            assert_eq!(found, originals, "{shadow}");
        }
    }
}
