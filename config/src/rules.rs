//! Which tables are selected, which `[[table]]` each one follows, and what its target is called. Built once from a
//! [`Config`]; afterwards pure look-ups.

use super::check::ConfigIssue;
use super::constants::{Constant, ConstantError, Template};
use super::selector::{TableSelector, glob};
use super::shadow::shadowed;
use super::{Config, TableRule, TaskName};
use std::collections::BTreeSet;
use thiserror::Error;
use tributary_schemas::table::TableId;

/// PostgreSQL's `NAMEDATALEN` less one, bytes: longer names are cut off silently by the server.
pub(super) const MAX_NAME_BYTES: usize = 63;
/// `target` where it is left out.
const DEFAULT_TARGET: &str = "{database}.{table}";
const PLACEHOLDERS: [&str; 3] = ["{task}", "{database}", "{table}"];

/// The `[[table]]` rules, in the order of the file.
#[derive(Debug, Clone)]
pub struct TableRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    selector: TableSelector,
    rule: TableRule,
    constants: Vec<Template>,
}

/// Where targets can lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetSchemas {
    /// Schemas whose names are known.
    pub named: BTreeSet<String>,
    /// Sources of the rules whose schemas are named after what a pattern matches.
    pub open: Vec<String>,
}

/// A table that two rules claim equally.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "table {table} matches two [[table]] rules, {first:?} and {second:?}: make one of them narrower, or name the table exactly in a rule of its own"
)]
pub struct RuleConflict {
    pub table: TableId,
    /// `source` of the earlier rule.
    pub first: String,
    /// `source` of the later rule.
    pub second: String,
}

impl TableRules {
    /// Parses every rule.
    ///
    /// # Errors
    /// Everything that is wrong with a `source` or a `target`, and exact names that stand there twice.
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        let mut rules: Vec<Rule> = Vec::new();
        for (index, rule) in config.tables.iter().enumerate() {
            let key = |name: &str| format!("table[{index}].{name}");
            let mut constants = Vec::new();
            for (column, text) in &rule.constants {
                match Template::parse(column, text) {
                    Ok(template) => constants.push(template),
                    Err(why) => issues.push(ConfigIssue::new(
                        key(&format!("constants.{column}")),
                        why,
                        "write a text, with {task}, {database}, {table} or a part of one as in {database:shop_(\\d+)}",
                    )),
                }
            }
            match rule.source.parse::<TableSelector>() {
                Ok(selector) => {
                    if rules.iter().any(|earlier| earlier.selector == selector) {
                        let message = format!("{selector} has a [[table]] already");
                        issues.push(ConfigIssue::new(key("source"), message, "remove one of the two"));
                    }
                    rules.push(Rule { selector, rule: rule.clone(), constants });
                }
                Err(error) => issues.push(ConfigIssue::new(
                    key("source"),
                    error.to_string(),
                    "name a table as in \"shop.orders\" or \"shop_*.orders\"",
                )),
            }
            if let Some(target) = &rule.target
                && let Err(error) = split_template(target)
            {
                issues.push(ConfigIssue::new(
                    key("target"),
                    error.to_string(),
                    "name the target as in \"shop.orders\" or \"{database}.{table}\"",
                ));
            }
        }
        if issues.is_empty() { Ok(Self { rules }) } else { Err(issues) }
    }

    /// The schemas in which targets of tables of the tasks `origins` can lie, as far as the rules alone say.
    #[must_use]
    pub fn schemas(&self, origins: &[TaskName]) -> TargetSchemas {
        let mut schemas = TargetSchemas::default();
        for (origin, Rule { selector, rule, .. }) in
            origins.iter().flat_map(|task| self.rules.iter().map(move |rule| (task, rule)))
        {
            if !selector.is_of(origin) {
                continue;
            }
            let Ok((template, _)) = split_template(rule.target.as_deref().unwrap_or(DEFAULT_TARGET)) else {
                continue;
            };
            let (database, table) = selector.parts();
            let open =
                |placeholder: &str, pattern: &str| template.contains(placeholder) && pattern.contains('*');
            if open("{database}", database) || open("{table}", table) {
                let text = selector.to_string();
                if !schemas.open.contains(&text) {
                    schemas.open.push(text);
                }
                continue;
            }
            let name = substitute(template, origin, &TableId::new(database, table));
            if name.len() <= MAX_NAME_BYTES {
                schemas.named.insert(name);
            }
        }
        schemas
    }

    /// The rule of the table `id` of the task `origin`: the narrowest that matches it, so that an exact name beats a
    /// pattern; `None` if none does.
    ///
    /// # Errors
    /// [`RuleConflict`] if two match that are equally narrow.
    pub fn select(&self, origin: &str, id: &TableId) -> Result<Option<&TableRule>, RuleConflict> {
        Ok(self.narrowest(origin, id)?.map(|found| &found.rule))
    }

    /// What the rule of the table `id` of the task `origin` puts into each of its rows, in the order of the columns' names.
    ///
    /// # Errors
    /// A value that the table's names do not give. One that no rule, or two, are about has none.
    pub fn constants(&self, origin: &str, id: &TableId) -> Result<Vec<Constant>, ConstantError> {
        let found = self.narrowest(origin, id).ok().flatten();
        let templates = found.into_iter().flat_map(|found| &found.constants);
        templates.map(|template| template.resolve(origin, id)).collect()
    }

    fn narrowest(&self, origin: &str, id: &TableId) -> Result<Option<&Rule>, RuleConflict> {
        let matching =
            || self.rules.iter().filter(|rule| rule.selector.is_of(origin) && rule.selector.matches(id));
        let Some(narrowest) = matching().map(|rule| rule.selector.narrowness()).max() else {
            return Ok(None);
        };
        let mut equals = matching().filter(|rule| rule.selector.narrowness() == narrowest);
        let first = equals.next();
        match (first, equals.next()) {
            (Some(first), Some(second)) => Err(RuleConflict {
                table: id.clone(),
                first: first.selector.to_string(),
                second: second.selector.to_string(),
            }),
            (first, _) => Ok(first),
        }
    }
}

/// A target that cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No dot between schema and table, or nothing beside it.
    #[error("{0:?} is not a target: write schema.table")]
    Shape(String),
    /// Something in braces that stands for nothing.
    #[error("{0:?} holds an unknown placeholder: {{task}}, {{database}} and {{table}} are known")]
    Placeholder(String),
    /// Longer than PostgreSQL's names are.
    #[error(
        "the target name {name:?} has {length} bytes, PostgreSQL cuts names at {MAX_NAME_BYTES}: give the table a shorter `target` in a [[table]] of its own"
    )]
    TooLong {
        name: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl TableRule {
    /// What the table `id` of the task `origin` is called in the destination: schema and table.
    ///
    /// # Errors
    /// [`TargetError`], also if a name comes out longer than 63 bytes.
    pub fn target(&self, origin: &str, id: &TableId) -> Result<(String, String), TargetError> {
        let (schema, table) = split_template(self.target.as_deref().unwrap_or(DEFAULT_TARGET))?;
        let resolve = |template: &str| {
            let name = substitute(template, origin, id);
            match name.len() {
                0 => Err(TargetError::Shape(name)),
                1..=MAX_NAME_BYTES => Ok(name),
                length => Err(TargetError::TooLong { name, length }),
            }
        };
        Ok((resolve(schema)?, resolve(table)?))
    }
}

/// Splits a template at its first dot; a dot inside of a name that is put in later does not count.
fn split_template(template: &str) -> Result<(&str, &str), TargetError> {
    let (schema, table) = template.split_once('.').ok_or_else(|| TargetError::Shape(template.to_owned()))?;
    if schema.is_empty() || table.is_empty() {
        return Err(TargetError::Shape(template.to_owned()));
    }
    let rest = PLACEHOLDERS.iter().fold(template.to_owned(), |text, known| text.replace(known, ""));
    if rest.contains(['{', '}']) {
        return Err(TargetError::Placeholder(template.to_owned()));
    }
    Ok((schema, table))
}

/// Replaces the placeholders in one pass, so that a name that looks like a placeholder is not replaced in turn.
fn substitute(template: &str, task: &str, id: &TableId) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let values = [task, &id.database, &id.table];
        match PLACEHOLDERS.iter().zip(values).find(|(placeholder, _)| from.starts_with(**placeholder)) {
            Some((placeholder, value)) => {
                out.push_str(value);
                rest = from.strip_prefix(placeholder).unwrap_or_default();
            }
            None => {
                out.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// What `capture` reads: `capture.tables` and `capture.exclude_columns`.
#[derive(Debug, Clone)]
pub struct TableSelection {
    included: Vec<TableSelector>,
    excluded: Vec<TableSelector>,
    columns: Vec<(TableSelector, String)>,
    online_ddl_tables: bool,
}

impl TableSelection {
    /// Parses the patterns. Without one that includes, the sources of `[[table]]` do.
    ///
    /// # Errors
    /// Every pattern that is none, and a selection that names nothing.
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        let mut selection = Self {
            included: Vec::new(),
            excluded: Vec::new(),
            columns: Vec::new(),
            online_ddl_tables: config.capture.online_ddl_tables,
        };
        for (index, pattern) in config.capture.tables.iter().enumerate() {
            let (list, text) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut selection.excluded, rest),
                None => (&mut selection.included, pattern.as_str()),
            };
            match text.parse::<TableSelector>() {
                Ok(selector) if selector.task().is_some() => issues.push(ConfigIssue::new(
                    format!("capture.tables[{index}]"),
                    format!("{text:?} has a task in front: capture reads the tables of its own source"),
                    "write database.table",
                )),
                Ok(selector) => list.push(selector),
                Err(error) => issues.push(ConfigIssue::new(
                    format!("capture.tables[{index}]"),
                    error.to_string(),
                    "write patterns as in [\"shop.*\", \"!shop.tmp_*\"]",
                )),
            }
        }
        if selection.included.is_empty() {
            // What is wrong with these is reported with their [[table]].
            selection.included = config.tables.iter().filter_map(|rule| rule.source.parse().ok()).collect();
            if config.tables.is_empty() && issues.is_empty() {
                issues.push(ConfigIssue::new(
                    "table".to_owned(),
                    "no table is selected".to_owned(),
                    "add a [[table]] with source = \"database.table\", or \"database.*\" for all of a database",
                ));
            }
        }
        for (index, text) in config.capture.exclude_columns.iter().enumerate() {
            let parsed = text.rsplit_once('.').filter(|(_, column)| !column.is_empty());
            let parsed = parsed.and_then(|(table, column)| {
                let selector: TableSelector = table.parse().ok()?;
                selector.task().is_none().then(|| (selector, column.to_lowercase()))
            });
            match parsed {
                Some(pair) => selection.columns.push(pair),
                None => issues.push(ConfigIssue::new(
                    format!("capture.exclude_columns[{index}]"),
                    format!("{text:?} is not a column"),
                    "write database.table.column, with * for any run of characters",
                )),
            }
        }
        if issues.is_empty() { Ok(selection) } else { Err(issues) }
    }

    /// True if the table is to be captured while these others exist on the source.
    #[must_use]
    pub fn selects_beside(&self, id: &TableId, exists: impl Fn(&TableId) -> bool) -> bool {
        self.selects(id) && !self.shadowed(id).iter().any(exists)
    }

    /// The tables of which one must exist for `id` to be left out as a tool's table. None if it was named exactly, or if
    /// such tables are wanted.
    #[must_use]
    pub fn shadowed(&self, id: &TableId) -> Vec<TableId> {
        let named = |selector: &TableSelector| selector.is_exact() && selector.matches(id);
        let wanted = self.online_ddl_tables || self.included.iter().any(named);
        if wanted { Vec::new() } else { shadowed(id) }
    }

    /// True if the table is to be captured, unless it is a tool's ([`Self::selects_beside`]).
    #[must_use]
    pub fn selects(&self, id: &TableId) -> bool {
        let any = |list: &[TableSelector]| list.iter().any(|selector| selector.matches(id));
        any(&self.included) && !any(&self.excluded)
    }

    /// True if the column must not reach Kafka: not from this table, nor from the one it may be a shadow of. MySQL
    /// compares the names of columns without regard to case, and so does this.
    #[must_use]
    pub fn excludes_column(&self, id: &TableId, column: &str) -> bool {
        if self.columns.is_empty() {
            return false;
        }
        let column = column.to_lowercase();
        let excludes = |id: &TableId| {
            self.columns.iter().any(|(selector, pattern)| selector.matches(id) && glob(pattern, &column))
        };
        excludes(id) || shadowed(id).iter().any(excludes)
    }

    /// The tables that are named without a wildcard: one that the source does not have is a mistake.
    pub fn exact(&self) -> impl Iterator<Item = String> {
        self.included.iter().filter(|selector| selector.is_exact()).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tail: &str) -> Config {
        toml::from_str(&format!("name = \"t\"\n[kafka]\nbrokers = \"b\"\n{tail}")).unwrap()
    }

    fn rules(sources: &[&str]) -> TableRules {
        let tail: String = sources.iter().map(|source| format!("[[table]]\nsource = {source:?}\n")).collect();
        TableRules::new(&config(&tail)).unwrap()
    }

    #[test]
    fn an_exact_name_beats_patterns() {
        let rules = rules(&["shop.*", "*.orders", "shop.orders", "crm.people"]);
        let select = |database, table| {
            rules
                .select("t", &TableId::new(database, table))
                .map(|rule| rule.map(|rule| rule.source.as_str()))
        };
        assert_eq!(select("shop", "orders"), Ok(Some("shop.orders")));
        assert_eq!(select("shop", "items"), Ok(Some("shop.*")));
        assert_eq!(select("eu", "orders"), Ok(Some("*.orders")));
        assert_eq!(select("crm", "other"), Ok(None));
    }

    #[test]
    fn a_table_of_several_tasks_follows_the_rule_of_its_own() {
        let tail = "from = [\"eu\", \"us\"]\n";
        let text: String =
            ["shop.*", "eu:shop.*", "*:shop.orders", "us:shop.orders", "e*:shop.items", "shop.items"]
                .iter()
                .map(|source| format!("[[table]]\nsource = {source:?}\n"))
                .collect();
        let rules = TableRules::new(
            &toml::from_str(&format!("name = \"t\"\n{tail}kafka.brokers = \"b\"\n{text}")).unwrap(),
        )
        .unwrap();
        let select = |origin, table| {
            rules
                .select(origin, &TableId::new("shop", table))
                .map(|rule| rule.map(|rule| rule.source.as_str()))
        };
        assert_eq!(select("us", "people"), Ok(Some("shop.*")));
        assert_eq!(select("eu", "people"), Ok(Some("eu:shop.*")));
        assert_eq!(select("eu", "orders"), Ok(Some("*:shop.orders")), "a table's whole name counts most");
        assert_eq!(select("us", "orders"), Ok(Some("us:shop.orders")));
        assert_eq!(select("us", "items"), Ok(Some("shop.items")));
        let conflict = select("eu", "items").unwrap_err();
        assert_eq!((conflict.first.as_str(), conflict.second.as_str()), ("e*:shop.items", "shop.items"));
        let schemas = rules.schemas(&["eu".parse().unwrap(), "us".parse().unwrap()]);
        assert_eq!(schemas.named.into_iter().collect::<Vec<_>>(), ["shop"]);
    }

    #[test]
    fn two_patterns_conflict() {
        let rules = rules(&["shop.*", "*.orders"]);
        let conflict = rules.select("t", &TableId::new("shop", "orders")).unwrap_err();
        assert_eq!((conflict.first.as_str(), conflict.second.as_str()), ("shop.*", "*.orders"));
        assert!(conflict.to_string().contains("shop.orders"));
    }

    #[test]
    fn mistakes_in_rules_are_all_reported_with_their_keys() {
        let config = config(
            "[[table]]\nsource = \"shop\"\n[[table]]\nsource = \"a.b\"\ntarget = \"x\"\n\
             [[table]]\nsource = \"a.b\"\ntarget = \"{db}.x\"\n",
        );
        let issues = TableRules::new(&config).unwrap_err();
        let keys: Vec<&str> = issues.iter().map(|issue| issue.key.as_str()).collect();
        assert_eq!(keys, ["table[0].source", "table[1].target", "table[2].source", "table[2].target"]);
    }

    #[test]
    fn targets_are_resolved_and_measured() {
        let with = |target: Option<&str>| {
            let mut rule = rules(&["a.b"]).rules.remove(0).rule;
            rule.target = target.map(str::to_owned);
            rule
        };
        let id = TableId::new("shop_01", "or{table}ders");
        let name = |target: Option<&str>| {
            with(target).target("eu", &id).map(|(schema, table)| format!("{schema}.{table}"))
        };
        assert_eq!(name(None).unwrap(), "shop_01.or{table}ders");
        assert_eq!(name(Some("dw.all_{task}_{table}_x")).unwrap(), "dw.all_eu_or{table}ders_x");
        assert_eq!(name(Some("{database}.o")).unwrap(), "shop_01.o");
        assert_eq!(name(Some("{databas}.o")), Err(TargetError::Placeholder("{databas}.o".into())));
        assert_eq!(name(Some("orders")), Err(TargetError::Shape("orders".into())));
        let long = TableId::new("d", "é".repeat(32));
        assert!(matches!(with(None).target("eu", &long), Err(TargetError::TooLong { length: 64, .. })));
        assert!(with(None).target("eu", &TableId::new("d", "x".repeat(63))).is_ok());
    }

    #[test]
    fn schemas_are_known_where_no_pattern_names_them() {
        let tail = "[[table]]\nsource = \"shop.*\"\n[[table]]\nsource = \"eu_*.*\"\n\
                    [[table]]\nsource = \"us_*.*\"\ntarget = \"dw_{task}.{database}_{table}\"\n\
                    [[table]]\nsource = \"a.b\"\ntarget = \"{table}.t\"\n[[table]]\nsource = \"a.*\"\ntarget = \"{table}.t\"\n";
        let schemas = TableRules::new(&config(tail)).unwrap().schemas(&["t".parse().unwrap()]);
        assert_eq!(schemas.named.into_iter().collect::<Vec<_>>(), ["b", "dw_t", "shop"]);
        assert_eq!(schemas.open, ["eu_*.*", "a.*"]);
    }

    #[test]
    fn the_selection_follows_capture_tables_or_else_the_rules() {
        let selects = |tail: &str, database: &str, table: &str| {
            TableSelection::new(&config(tail)).unwrap().selects(&TableId::new(database, table))
        };
        let listed = "[capture]\ntables = [\"shop.*\", \"!shop.tmp_*\"]\n[[table]]\nsource = \"crm.*\"\n";
        assert!(selects(listed, "shop", "orders"));
        assert!(!selects(listed, "shop", "tmp_1"));
        assert!(!selects(listed, "crm", "people"));
        let only_excluded = "[capture]\ntables = [\"!crm.tmp_*\"]\n[[table]]\nsource = \"crm.*\"\n";
        assert!(selects(only_excluded, "crm", "people"));
        assert!(!selects(only_excluded, "crm", "tmp_1"));
        let issues = TableSelection::new(&config("")).unwrap_err();
        assert_eq!(issues.first().unwrap().key, "table");
    }

    #[test]
    fn tables_of_online_schema_changes_are_matched_by_no_pattern() {
        let selects = |capture: &str, table: &str, others: &[&str]| {
            let tail = format!("[capture]\n{capture}\n[[table]]\nsource = \"shop.*\"\n");
            let exists = |id: &TableId| others.contains(&id.table.as_str());
            TableSelection::new(&config(&tail)).unwrap().selects_beside(&TableId::new("shop", table), exists)
        };
        for shadow in
            ["_orders_gho", "_orders_ghc", "_orders_del", "_orders_new", "_orders_old", "tp_1_ogt_orders"]
        {
            assert!(!selects("", shadow, &["orders"]), "{shadow}");
            assert!(selects("", shadow, &["others"]), "{shadow} is a table like any other without orders");
            assert!(selects("online_ddl_tables = true", shadow, &["orders"]), "{shadow}");
        }
        assert!(selects("tables = [\"shop.*\", \"shop._orders_old\"]", "_orders_old", &["orders"]));
        assert!(selects("", "orders", &["orders"]));
    }

    #[test]
    fn excluded_columns_are_matched() {
        let tail = "[capture]\nexclude_columns = [\"shop.users.ssn\", \"*.*.secret_*\"]\n[[table]]\nsource = \"*.*\"\n";
        let selection = TableSelection::new(&config(tail)).unwrap();
        let excludes =
            |table: &str, column: &str| selection.excludes_column(&TableId::new("shop", table), column);
        assert!(excludes("users", "ssn"));
        assert!(!excludes("orders", "ssn"));
        assert!(excludes("orders", "secret_1"));
        assert!(excludes("users", "SSN") && excludes("orders", "Secret_1"));
        assert!(excludes("_users_gho", "ssn"), "what holds the table's rows hides its columns");
        let bad = config("[capture]\nexclude_columns = [\"ssn\"]\n[[table]]\nsource = \"*.*\"\n");
        assert_eq!(TableSelection::new(&bad).unwrap_err().first().unwrap().key, "capture.exclude_columns[0]");
        let bad = config("[capture]\ntables = [\"eu:a.*\"]\nexclude_columns = [\"eu:a.b.c\"]\n");
        let keys: Vec<String> =
            TableSelection::new(&bad).unwrap_err().into_iter().map(|issue| issue.key).collect();
        assert_eq!(keys, ["capture.tables[0]", "capture.exclude_columns[0]"]);
    }
}
