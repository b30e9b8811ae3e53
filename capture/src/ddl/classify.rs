//! From a statement's text to what it means. Which tables a statement concerns is found with the least of its
//! grammar, so that it is known also where the rest is not.

use super::alter::{AlterStep, alteration};
use super::column::{charset_name, charset_words};
use super::cursor::Cursor;
use super::index::index_after_name;
use super::mode::SqlMode;
use super::statement::{Effect, Statement, TableEffect};
use super::token::{Kind, tokenize};
use crate::binlog::query::Xid;
use tributary_schemas::table::TableId;

/// What `statement` means, if `default_database` is the session's database and `mode` its mode.
#[must_use]
pub fn classify(statement: &str, default_database: &str, mode: SqlMode) -> Statement {
    let mut tokens = tokenize(statement, mode);
    while tokens.last().is_some_and(|t| t.kind == Kind::Symbol && t.text == ";") {
        tokens.pop();
    }
    let mut cursor = Cursor::new(statement, &tokens, mode);
    let start = cursor;
    top(&mut cursor, default_database).unwrap_or_else(|| Statement::Unreadable {
        reason: format!(
            "cannot tell what it concerns: {}",
            start.text().chars().take(120).collect::<String>()
        ),
    })
}

/// `None` if the statement is one that matters, but its tables cannot be told.
fn top(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    const WORDS: [&str; 19] = [
        "BEGIN",
        "START",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "XA",
        "CREATE",
        "ALTER",
        "DROP",
        "RENAME",
        "TRUNCATE",
        "INSERT",
        "REPLACE",
        "UPDATE",
        "DELETE",
        "LOAD",
        "WITH",
        "IMPORT",
        "CALL",
    ];
    match cursor.any_word(&WORDS) {
        Some("BEGIN") => Some(Statement::Begin),
        Some("START") if cursor.is_word("TRANSACTION") => Some(Statement::Begin),
        Some("COMMIT") => Some(Statement::Commit),
        Some("ROLLBACK") => rollback(cursor),
        Some("SAVEPOINT") => cursor.name().map(|name| Statement::Savepoint { name }),
        Some("XA") => xa(cursor),
        Some("CREATE") => create(cursor, default_database),
        Some("ALTER") => alter(cursor, default_database),
        Some("DROP") => drop_statement(cursor, default_database),
        Some("RENAME") if cursor.any_word(&["TABLE", "TABLES"]).is_some() => {
            renames(cursor, default_database).map(Statement::Ddl)
        }
        Some("TRUNCATE") => {
            cursor.word("TABLE");
            let table = cursor.table(default_database)?;
            Some(ddl(table, Effect::Truncate))
        }
        Some("INSERT" | "REPLACE") => {
            cursor.skip_words(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
            Some(Statement::Dml { tables: cursor.table(default_database).map(|table| vec![table]) })
        }
        Some("UPDATE" | "DELETE") => Some(Statement::Dml { tables: written(cursor, default_database) }),
        Some("LOAD") if !cursor.is_word("INDEX") => {
            while !cursor.is_empty() && !cursor.words(&["INTO", "TABLE"]) {
                cursor.next();
            }
            Some(Statement::Dml { tables: cursor.table(default_database).map(|table| vec![table]) })
        }
        Some("WITH") => Some(with(cursor, default_database).unwrap_or(Statement::Dml { tables: None })),
        Some("CALL") => Some(Statement::Dml { tables: None }),
        _ => Some(Statement::Other),
    }
}

/// The statement behind the common table expressions.
fn with(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    cursor.word("RECURSIVE");
    loop {
        cursor.name()?;
        // Names of columns may stand before AS.
        let _ = cursor.parenthesized();
        if !cursor.word("AS") {
            return None;
        }
        cursor.parenthesized()?;
        if !cursor.symbol(",") {
            break;
        }
    }
    match cursor.any_word(&["UPDATE", "DELETE", "SELECT", "TABLE", "VALUES"])? {
        "UPDATE" | "DELETE" => Some(Statement::Dml { tables: written(cursor, default_database) }),
        _ => Some(Statement::Other),
    }
}

fn ddl(table: TableId, effect: Effect) -> Statement {
    Statement::Ddl(vec![TableEffect { table, effect }])
}

fn rollback(cursor: &mut Cursor<'_, '_>) -> Option<Statement> {
    cursor.word("WORK");
    if !cursor.word("TO") {
        return Some(Statement::Rollback);
    }
    cursor.word("SAVEPOINT");
    cursor.name().map(|name| Statement::RollbackTo { name })
}

fn xa(cursor: &mut Cursor<'_, '_>) -> Option<Statement> {
    let verb = cursor.any_word(&["START", "BEGIN", "END", "PREPARE", "COMMIT", "ROLLBACK"]);
    let Some(verb) = verb else { return Some(Statement::Other) };
    let xid = xid(cursor)?;
    Some(match verb {
        "START" | "BEGIN" => Statement::XaStart { xid },
        "END" => Statement::XaEnd { xid },
        "PREPARE" => Statement::XaPrepare { xid },
        "COMMIT" => Statement::XaCommit { xid, one_phase: cursor.words(&["ONE", "PHASE"]) },
        _ => Statement::XaRollback { xid },
    })
}

/// `X'6162',X'',1`, as the binlog has it, or as people write it: `'ab','',1`.
fn xid(cursor: &mut Cursor<'_, '_>) -> Option<Xid> {
    let gtrid = xid_bytes(cursor)?;
    let bqual = if cursor.symbol(",") { xid_bytes(cursor)? } else { Vec::new() };
    let format = if cursor.symbol(",") { cursor.number()?.parse().ok()? } else { 1 };
    Some(Xid { format, gtrid, bqual })
}

fn xid_bytes(cursor: &mut Cursor<'_, '_>) -> Option<Vec<u8>> {
    let token = cursor.next()?;
    match token.kind {
        Kind::Text | Kind::DoubleQuoted => Some(token.text.as_bytes().to_vec()),
        Kind::Hex => {
            let digits = token.text.as_bytes().chunks(2);
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
        }
        _ => None,
    }
}

fn create(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    if cursor.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        cursor.words(&["IF", "NOT", "EXISTS"]);
        return database_charset(cursor, default_database);
    }
    let kind = cursor.any_word(&["UNIQUE", "FULLTEXT", "SPATIAL"]);
    if cursor.word("INDEX") {
        let name = cursor.name_except(&["USING", "ON"]);
        while !cursor.is_empty() && !cursor.word("ON") {
            cursor.next();
        }
        let table = cursor.table(default_database)?;
        let index_kind = kind.filter(|kind| *kind != "UNIQUE").unwrap_or("BTREE");
        let clause = cursor.text().to_owned();
        let step = index_after_name(cursor, name, kind == Some("UNIQUE"), index_kind)
            .map_or(AlterStep::Unknown { clause }, AlterStep::AddIndex);
        return Some(ddl(table, Effect::Alter(vec![step])));
    }
    if !cursor.word("TABLE") {
        return Some(Statement::Other);
    }
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    let table = cursor.table(default_database)?;
    Some(ddl(table, Effect::Create { if_not_exists }))
}

/// `[name] {[DEFAULT] CHARACTER SET [=] x | [DEFAULT] COLLATE [=] y | …}`.
fn database_charset(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    const OPTIONS: [&str; 9] =
        ["CHARACTER", "CHAR", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION", "READ", "COMMENT", "UPGRADE"];
    let named = cursor.name_except(&OPTIONS);
    let database = named.unwrap_or_else(|| default_database.to_owned());
    let (mut charset, mut collation) = (None, None);
    while !cursor.is_empty() {
        if charset_words(cursor) {
            cursor.symbol("=");
            charset = charset_name(cursor);
        } else if cursor.word("COLLATE") {
            cursor.symbol("=");
            collation = charset_name(cursor);
        } else {
            cursor.next();
        }
    }
    Some(Statement::DatabaseCharset { database, charset, collation })
}

fn alter(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    if cursor.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        return database_charset(cursor, default_database);
    }
    cursor.skip_words(&["IGNORE", "ONLINE", "OFFLINE"]);
    if !cursor.word("TABLE") {
        return Some(Statement::Other);
    }
    cursor.words(&["IF", "EXISTS"]);
    let table = cursor.table(default_database)?;
    let found = alteration(cursor, default_database);
    let mut effects = Vec::new();
    if let Some(other) = found.exchanged_with {
        let clause = "EXCHANGE PARTITION".to_owned();
        let effect = Effect::Alter(vec![AlterStep::RowsChange { clause }]);
        effects.push(TableEffect { table: other, effect });
    }
    if !found.steps.is_empty() || found.renamed_to.is_none() {
        effects.push(TableEffect { table: table.clone(), effect: Effect::Alter(found.steps) });
    }
    if let Some(new) = found.renamed_to {
        effects.push(TableEffect { table, effect: Effect::RenameTo(new) });
    }
    Some(Statement::Ddl(effects))
}

fn drop_statement(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Statement> {
    if cursor.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        cursor.words(&["IF", "EXISTS"]);
        return cursor.name().map(|database| Statement::DropDatabase { database });
    }
    cursor.any_word(&["ONLINE", "OFFLINE"]);
    if cursor.word("INDEX") {
        let name = cursor.name()?;
        cursor.word("ON").then_some(())?;
        let table = cursor.table(default_database)?;
        return Some(ddl(table, Effect::Alter(vec![AlterStep::DropIndex { name }])));
    }
    if cursor.any_word(&["TABLE", "TABLES"]).is_none() {
        return Some(Statement::Other);
    }
    cursor.words(&["IF", "EXISTS"]);
    let mut effects = Vec::new();
    loop {
        effects.push(TableEffect { table: cursor.table(default_database)?, effect: Effect::Drop });
        if !cursor.symbol(",") {
            return Some(Statement::Ddl(effects));
        }
    }
}

fn renames(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Vec<TableEffect>> {
    let mut effects = Vec::new();
    loop {
        let table = cursor.table(default_database)?;
        cursor.word("TO").then_some(())?;
        let effect = Effect::RenameTo(cursor.table(default_database)?);
        effects.push(TableEffect { table, effect });
        if !cursor.symbol(",") {
            return Some(effects);
        }
    }
}

/// A table, unless a query stands there.
fn table_named(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<TableId> {
    let is_query = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| cursor.is_word(word));
    if is_query { None } else { cursor.table(default_database) }
}

/// Every table that UPDATE or DELETE may write: all that are named where tables are named, also those only read,
/// for which of them is written takes the rest of the grammar.
fn written(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<Vec<TableId>> {
    cursor.skip_words(&["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]);
    let (mut tables, mut depth) = (Vec::new(), 0_u32);
    // What a DELETE from several names first, as `t.*` or by an alias, is named again behind FROM.
    let mut names_table = true;
    while !cursor.is_empty() {
        if cursor.symbol("(") {
            depth += 1;
        } else if cursor.symbol(")") {
            (depth, names_table) = (depth.saturating_sub(1), false);
        } else if cursor.symbol(",") || cursor.any_word(&["FROM", "JOIN", "USING", "STRAIGHT_JOIN"]).is_some()
        {
            names_table = true;
        } else if depth == 0 && (cursor.word("SET") || cursor.word("WHERE")) {
            break;
        } else if let Some(table) = names_table.then(|| table_named(cursor, default_database)).flatten() {
            names_table = false;
            if !tables.contains(&table) {
                tables.push(table);
            }
        } else {
            names_table = false;
            cursor.next();
        }
    }
    (!tables.is_empty()).then_some(tables)
}
