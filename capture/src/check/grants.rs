//! What an account may do: lines of `SHOW GRANTS` enter, answers about privileges leave. Called without FOR, the
//! statement already counts in the privileges of the roles that are active in the session, and only those help.

use tributary_schemas::table::TableId;

/// The privileges of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Grants(Vec<Grant>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    /// False for a REVOKE line: a partial revoke (MySQL 8.0.16) takes a database out of a global grant.
    granted: bool,
    /// Upper case; a privilege on single columns is left out, for rows are read whole.
    privileges: Vec<String>,
    scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Global,
    /// A LIKE pattern, as GRANT takes it.
    Database(String),
    Table {
        database: String,
        table: String,
    },
}

impl Grants {
    /// Reads the lines. Those that grant roles, proxies and routines say nothing about tables and are passed over.
    #[must_use]
    pub(super) fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        Self(lines.into_iter().filter_map(parse_line).collect())
    }

    /// True if the account has `privilege` on everything.
    #[must_use]
    pub(super) fn globally(&self, privilege: &str) -> bool {
        self.0.iter().any(|grant| grant.granted && grant.scope == Scope::Global && grant.gives(privilege))
    }

    /// True if the account has `privilege` on all of `table`.
    #[must_use]
    pub(super) fn on_table(&self, privilege: &str, table: &TableId) -> bool {
        let revoked = self.0.iter().any(|grant| {
            !grant.granted
                && grant.gives(privilege)
                && matches!(&grant.scope, Scope::Database(name) if *name == table.database)
        });
        self.0.iter().filter(|grant| grant.granted && grant.gives(privilege)).any(|grant| {
            match &grant.scope {
                Scope::Global => !revoked,
                Scope::Database(pattern) => like(pattern, &table.database),
                Scope::Table { database, table: name } => *database == table.database && *name == table.table,
            }
        })
    }
}

impl Grant {
    fn gives(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|name| name == privilege || name == "ALL PRIVILEGES" || name == "ALL")
    }
}

fn parse_line(line: &str) -> Option<Grant> {
    let (granted, rest) = match line.split_once(' ')? {
        ("GRANT", rest) => (true, rest),
        ("REVOKE", rest) => (false, rest),
        _ => return None,
    };
    let (privileges, rest) = split_outside_quotes(rest, " ON ")?;
    let (object, _) = split_outside_quotes(rest, if granted { " TO " } else { " FROM " })?;
    let scope = parse_scope(object)?;
    Some(Grant { granted, privileges: parse_privileges(privileges), scope })
}

/// Splits at the first `separator` that is not inside of a quoted name.
fn split_outside_quotes<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut quoted = false;
    for (index, character) in text.char_indices() {
        if character == '`' {
            quoted = !quoted;
        } else if !quoted && let Some(tail) = text.get(index..).and_then(|rest| rest.strip_prefix(separator))
        {
            return Some((text.get(..index)?, tail));
        }
    }
    None
}

fn parse_privileges(mut text: &str) -> Vec<String> {
    let mut privileges = Vec::new();
    while !text.is_empty() {
        let end = text.find([',', '(']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        match rest.strip_prefix('(') {
            // Columns: quoted names may hold anything but an unquoted parenthesis.
            Some(columns) => text = split_outside_quotes(columns, ")").map_or("", |(_, after)| after),
            None => {
                let name = name.trim();
                if !name.is_empty() {
                    privileges.push(name.to_uppercase());
                }
                text = rest.strip_prefix(',').unwrap_or_default();
            }
        }
    }
    privileges
}

/// `*.*`, `` `db`.* `` or `` `db`.`table` ``; `None` for routines and for whatever else there may come.
fn parse_scope(text: &str) -> Option<Scope> {
    let text = text.strip_prefix("TABLE ").unwrap_or(text);
    if text == "*.*" {
        return Some(Scope::Global);
    }
    let (database, rest) = parse_name(text)?;
    match rest.strip_prefix('.')? {
        "*" => Some(Scope::Database(database)),
        table => {
            let (table, rest) = parse_name(table)?;
            rest.is_empty().then_some(Scope::Table { database, table })
        }
    }
}

/// A name in backquotes, a backquote inside of it doubled.
fn parse_name(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('`')?;
        name.push_str(part);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// LIKE as GRANT uses it for databases: `%` any run, `_` any character, a backslash in front of either means itself.
fn like(pattern: &str, text: &str) -> bool {
    let mut pattern_rest = pattern.chars();
    match pattern_rest.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = pattern_rest.as_str();
            text.char_indices().any(|(index, _)| text.get(index..).is_some_and(|tail| like(rest, tail)))
                || like(rest, "")
        }
        Some(first) => {
            let mut text_rest = text.chars();
            let Some(character) = text_rest.next() else { return false };
            let literal = if first == '\\' { pattern_rest.next().unwrap_or(first) } else { first };
            let same = (first == '_') || literal == character;
            same && like(pattern_rest.as_str(), text_rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(lines: &[&str], database: &str, table: &str) -> bool {
        Grants::parse(lines.iter().copied()).on_table("SELECT", &TableId::new(database, table))
    }

    #[test]
    fn scopes_are_told_apart() {
        let global = ["GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `r`@`%`"];
        assert!(on(&global, "shop", "orders"));
        let grants = Grants::parse(global);
        assert!(grants.globally("REPLICATION SLAVE") && !grants.globally("SUPER"));
        let database = ["GRANT USAGE ON *.* TO `r`@`%`", "GRANT SELECT ON `shop`.* TO `r`@`%`"];
        assert!(on(&database, "shop", "orders") && !on(&database, "crm", "orders"));
        assert!(!Grants::parse(database).globally("SELECT"));
        let table = ["GRANT INSERT, SELECT ON `sh``op`.`or ON ders` TO `r`@`%` WITH GRANT OPTION"];
        assert!(on(&table, "sh`op", "or ON ders") && !on(&table, "sh`op", "orders"));
        let all = ["GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' WITH GRANT OPTION"];
        assert!(on(&all, "a", "b") && Grants::parse(all).globally("REPLICATION CLIENT"));
    }

    #[test]
    fn columns_roles_routines_and_partial_revokes_do_not_mislead() {
        assert!(!on(&["GRANT SELECT (`a`, `b)c`), INSERT ON `shop`.`orders` TO `r`@`%`"], "shop", "orders"));
        assert!(on(&["GRANT INSERT (`a`), SELECT ON `shop`.`orders` TO `r`@`%`"], "shop", "orders"));
        assert!(!on(&["GRANT `reader`@`%` TO `r`@`%`"], "shop", "orders"));
        assert!(!on(&["GRANT EXECUTE ON PROCEDURE `shop`.`orders` TO `r`@`%`"], "shop", "orders"));
        let revoked = ["GRANT SELECT ON *.* TO `r`@`%`", "REVOKE SELECT ON `crm`.* FROM `r`@`%`"];
        assert!(on(&revoked, "shop", "orders") && !on(&revoked, "crm", "people"));
    }

    #[test]
    fn database_patterns_are_those_of_like() {
        let lines = [r"GRANT SELECT ON `shop\_%`.* TO `r`@`%`"];
        assert!(on(&lines, "shop_01", "t") && on(&lines, "shop_", "t") && !on(&lines, "shopx01", "t"));
        assert!(on(&["GRANT SELECT ON `sh_p`.* TO `r`@`%`"], "shop", "t"));
        assert!(on(&["GRANT SELECT ON `%`.* TO `r`@`%`"], "shop", "t"));
    }
}
