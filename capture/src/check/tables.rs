//! Which tables the selection names and which of them can be replicated: the source's tables and the configuration
//! enter, a [`Judgement`] leaves. A table that cannot be replicated costs only itself. Pure.

use super::item::{Item, fail, left_out, pass, warn};
use crate::topics::names::{TopicNames, field_clash};
use std::collections::BTreeMap;
use tributary_config::{Config, RuleConflict, TableRules, TableSelection, TableSelector};
use tributary_schemas::printed::counted;
use tributary_schemas::table::{Table, TableId};
use tributary_source::catalog::CatalogTable;
use tributary_source::publish::{PRIMARY, TableProblem, Wishes};

/// A table that will be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// As the source has it.
    pub catalog: CatalogTable,
    /// As it is published.
    pub table: Table,
    /// Its topic, which may have to be created yet.
    pub topic: String,
}

/// What became of the selection.
#[derive(Debug, Clone, Default)]
pub(super) struct Judgement {
    /// The tables that can be replicated, in name order.
    pub selected: Vec<Selected>,
    /// The others: why, and what to do.
    pub excluded: BTreeMap<TableId, String>,
    /// `tables-selected`, `table-rules`, `primary-keys`, `types`, `charsets`, `names`.
    pub items: Vec<Item>,
}

/// What is known beside the configuration.
pub(super) struct Known<'a> {
    /// Every table of the source, selected or not.
    pub listed: &'a [TableId],
    /// The selected ones as the catalog has them.
    pub catalog: Vec<CatalogTable>,
    /// The last definition of tables that were replicated before.
    pub previous: &'a BTreeMap<TableId, Table>,
    /// The topics that the task's tables have, and those of the cluster.
    pub names: TopicNames,
    /// True for a character set whose bytes can be decoded.
    pub charset_supported: fn(&str) -> bool,
}

/// Judges every table.
#[must_use]
pub(super) fn judge(
    config: &Config,
    selection: &TableSelection,
    rules: &TableRules,
    known: Known<'_>,
) -> Judgement {
    let mut topics = known.names.clone();
    let mut unnamed: BTreeMap<TableId, String> = BTreeMap::new();
    let mut judgement = Judgement::default();
    let selected: Vec<TableId> = known.catalog.iter().map(|table| table.id.clone()).collect();
    let missing = missing(config, &known);
    judgement.items.push(tables_selected(config, selection, &selected, &missing, &known));
    judgement.excluded.extend(missing);
    judgement.items.push(table_rules(&config.name, rules, &selected));
    let mut problems: Vec<TableProblem> = Vec::new();
    for catalog in known.catalog {
        match published(config, selection, known.previous, known.charset_supported, &catalog) {
            Ok(table) => match (topics.claim(&table.id), field_clash(&table)) {
                (Ok(topic), None) => judgement.selected.push(Selected { catalog, table, topic }),
                (topic, clash) => {
                    let reasons: Vec<String> = topic.err().into_iter().chain(clash).collect();
                    unnamed.insert(table.id, reasons.join("; "));
                }
            },
            // The stream may have yet to come to what the source has now; the session judges by that.
            Err(all) if known.previous.contains_key(&catalog.id) && all.iter().all(is_of_choice) => {}
            Err(mut all) => {
                let reasons: Vec<String> = all.iter().map(ToString::to_string).collect();
                judgement.excluded.insert(catalog.id.clone(), reasons.join("; "));
                problems.append(&mut all);
            }
        }
    }
    let keys = &config.capture.keys;
    let others: Vec<String> = judgement.selected.iter().filter_map(|table| other_key(table, keys)).collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    let good = format!("every table has a key that identifies its rows{others}");
    judgement.items.push(summary("primary-keys", &good, &problems, config.strict));
    judgement.items.push(summary(
        "types",
        "every published column has a supported type",
        &problems,
        config.strict,
    ));
    judgement.items.push(summary(
        "charsets",
        "every published column has a supported character set",
        &problems,
        config.strict,
    ));
    judgement.items.push(named(&unnamed, config.strict));
    judgement.excluded.extend(unnamed);
    judgement
}

/// Which key a table has in place of its primary key, or of the one that `keys` names.
fn other_key(selected: &Selected, keys: &BTreeMap<String, String>) -> Option<String> {
    let id = &selected.table.id;
    let index = selected.catalog.index_of_key(&selected.table)?;
    if let Some(name) = keys.get(&id.to_string())
        && selected.catalog.index(name).is_none()
    {
        return Some(format!("{id} has no index {name}, which capture.keys names, and keeps {}", index.name));
    }
    (index.name != PRIMARY).then(|| format!("{id} has its unique key {}", index.name))
}

/// The table as it is published, or everything that is in the way.
fn published(
    config: &Config,
    selection: &TableSelection,
    previous: &BTreeMap<TableId, Table>,
    charset_supported: fn(&str) -> bool,
    catalog: &CatalogTable,
) -> Result<Table, Vec<TableProblem>> {
    let key_index = config.capture.keys.get(&catalog.id.to_string()).map(String::as_str);
    let publish = |excluded: &[String]| {
        let previous = previous.get(&catalog.id);
        catalog.published(&Wishes { excluded, previous, key_index, ..Wishes::new(charset_supported) })
    };
    let names = catalog.columns.iter().map(|column| column.name.clone());
    let mut excluded: Vec<String> =
        names.filter(|name| selection.excludes_column(&catalog.id, name)).collect();
    let mut problems = match publish(&excluded) {
        Ok(table) => return Ok(table),
        Err(problem) => vec![problem],
    };
    // Columns are looked at one by one; hiding each bad one brings the next to light.
    while let Some(column) = problems.last().and_then(bad_column) {
        excluded.push(column.to_owned());
        match publish(&excluded) {
            Err(next) if bad_column(&next).is_some() => problems.push(next),
            _ => break,
        }
    }
    Err(problems)
}

/// The tables that are named exactly and that the source does not have, with the reason.
fn missing(config: &Config, known: &Known<'_>) -> BTreeMap<TableId, String> {
    let selectors = included(config);
    let exact = selectors.iter().filter(|selector| selector.is_exact());
    exact
        .filter(|selector| !known.listed.iter().any(|id| selector.matches(id)))
        .filter_map(|selector| {
            let (database, table) =
                selector.to_string().split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            let id = TableId { database, table };
            // A table that was replicated before is dropped when the stream comes to its DROP TABLE.
            if known.previous.contains_key(&id) {
                return None;
            }
            let reason = format!(
                "the source has no table {id}, or the account may not see it{}",
                hint(&id, known.listed)
            );
            Some((id, reason))
        })
        .collect()
}

/// The patterns that select, without those that exclude.
pub(super) fn included(config: &Config) -> Vec<TableSelector> {
    let listed: Vec<&String> = config.capture.tables.iter().filter(|text| !text.starts_with('!')).collect();
    if listed.is_empty() {
        config.tables.iter().filter_map(|rule| rule.source.parse().ok()).collect()
    } else {
        listed.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

/// The names that look like `id`: a letter or two are wrong, for each three of the table's name.
fn hint(id: &TableId, listed: &[TableId]) -> String {
    let (wanted, allowed) = (id.to_string().to_lowercase(), (id.table.chars().count() / 3).max(2));
    let distance = |other: &TableId| strsim::damerau_levenshtein(&wanted, &other.to_string().to_lowercase());
    let near = listed.iter().map(|other| (distance(other), other));
    let mut near: Vec<(usize, &TableId)> = near.filter(|(distance, _)| *distance <= allowed).collect();
    near.sort();
    let names: Vec<String> = near.into_iter().take(3).map(|(_, name)| name.to_string()).collect();
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(", ")) }
}

fn tables_selected(
    config: &Config,
    selection: &TableSelection,
    selected: &[TableId],
    missing: &BTreeMap<TableId, String>,
    known: &Known<'_>,
) -> Item {
    const NAME: &str = "tables-selected";
    let idle: Vec<String> = included(config)
        .iter()
        .filter(|selector| !selector.is_exact() && !known.listed.iter().any(|id| selector.matches(id)))
        .map(|selector| format!("no table of the source matches {selector}"))
        .collect();
    let gone: Vec<String> =
        known.previous.keys().filter(|id| !known.listed.contains(id)).map(ToString::to_string).collect();
    let wrong: Vec<String> = missing.values().cloned().chain(idle).collect();
    let remedy = "correct capture.tables or the source of the [[table]], or grant SELECT on it";
    if !wrong.is_empty() {
        return fail(NAME, wrong.join("\n"), remedy);
    }
    if selected.is_empty() && gone.is_empty() {
        return fail(NAME, "no table is selected: every match is excluded again", remedy);
    }
    let of_tools = known.listed.iter().filter(|id| selection.selects(id) && !selected.contains(id));
    let of_tools: Vec<String> = of_tools.map(ToString::to_string).collect();
    let left_out = if of_tools.is_empty() {
        String::new()
    } else {
        format!(
            "; left out by their names as tables of an online schema change: {} (name one exactly to have it, or set \
             capture.online_ddl_tables)",
            of_tools.join(", ")
        )
    };
    let found = format!("{} selected{left_out}", counted(selected.len(), "table"));
    if gone.is_empty() {
        return pass(NAME, found);
    }
    let found = format!("{found}; {} of the task left the source in the meantime", gone.join(", "));
    warn(NAME, found, "nothing, if the DROP TABLE or RENAME TABLE was meant: the stream comes to it")
}

/// `table-rules`: a table that two rules claim has no target.
fn table_rules(task: &str, rules: &TableRules, selected: &[TableId]) -> Item {
    const NAME: &str = "table-rules";
    let conflicts: Vec<RuleConflict> =
        selected.iter().filter_map(|id| rules.select(task, id).err()).collect();
    if conflicts.is_empty() {
        return pass(NAME, "no table matches two [[table]] rules");
    }
    let found: Vec<String> = conflicts
        .iter()
        .map(|conflict| format!("{} matches {:?} and {:?}", conflict.table, conflict.first, conflict.second))
        .collect();
    fail(
        NAME,
        found.join("\n"),
        "make one of the patterns narrower, or name the table exactly in a [[table]] of its own",
    )
}

/// `names`: says which tables have none.
fn named(unnamed: &BTreeMap<TableId, String>, strict: bool) -> Item {
    const NAME: &str = "names";
    if unnamed.is_empty() {
        return pass(NAME, "every topic and field has a legal name of its own");
    }
    let lines: Vec<&str> = unnamed.values().map(String::as_str).collect();
    fail(NAME, lines.join("\n"), left_out(strict))
}

/// True if a key is there, but which of several it is cannot be told.
const fn is_of_choice(problem: &TableProblem) -> bool {
    matches!(problem, TableProblem::SeveralKeys { .. })
}

/// The item that a problem belongs to.
const fn item_of(problem: &TableProblem) -> &'static str {
    match problem {
        TableProblem::NoPrimaryKey { .. }
        | TableProblem::SeveralKeys { .. }
        | TableProblem::NoSuchKey { .. }
        | TableProblem::KeyNotUnique { .. }
        | TableProblem::NullableKey { .. }
        | TableProblem::PrefixKey { .. }
        | TableProblem::ExpressionKey { .. }
        | TableProblem::ExcludedKeyColumn { .. } => "primary-keys",
        TableProblem::UnsupportedType { .. }
        | TableProblem::UnstatedLabels { .. }
        | TableProblem::NoColumns { .. } => "types",
        TableProblem::UnsupportedCharset { .. } => "charsets",
    }
}

/// The column to hide in order to see what else is wrong.
fn bad_column(problem: &TableProblem) -> Option<&str> {
    match problem {
        TableProblem::UnsupportedType { column, .. }
        | TableProblem::UnstatedLabels { column, .. }
        | TableProblem::UnsupportedCharset { column, .. } => Some(column),
        _ => None,
    }
}

fn summary(name: &'static str, good: &str, problems: &[TableProblem], strict: bool) -> Item {
    let lines: Vec<String> =
        problems.iter().filter(|problem| item_of(problem) == name).map(ToString::to_string).collect();
    if lines.is_empty() {
        return pass(name, good);
    }
    fail(name, lines.join("\n"), left_out(strict))
}

#[cfg(test)]
pub(super) mod tests;
