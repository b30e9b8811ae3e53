//! The clauses of ALTER TABLE, one by one. A clause that is not read is kept as [`AlterStep::Unknown`]: the catalog
//! must then be read from the source again, but the table's name, and every other clause, are known all the same.

use super::column::{ColumnDefinition, charset_name, charset_words, column_definition};
use super::cursor::Cursor;
use super::default::DefaultClause;
use super::index::{Constraint, IndexDefinition, constraint, is_constraint};
use tributary_schemas::table::{IndexPart, TableId};

/// One clause of ALTER TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterStep {
    AddColumn {
        definition: ColumnDefinition,
        position: ColumnPosition,
    },
    DropColumn {
        name: String,
    },
    ModifyColumn {
        definition: ColumnDefinition,
        position: ColumnPosition,
    },
    ChangeColumn {
        old: String,
        definition: ColumnDefinition,
        position: ColumnPosition,
    },
    RenameColumn {
        old: String,
        new: String,
    },
    /// ALTER COLUMN … SET DEFAULT.
    SetDefault {
        column: String,
        default: DefaultClause,
    },
    /// ALTER COLUMN … DROP DEFAULT.
    DropDefault {
        column: String,
    },
    /// ALTER COLUMN … SET VISIBLE or INVISIBLE.
    SetVisibility {
        column: String,
        invisible: bool,
    },
    AddPrimaryKey {
        parts: Vec<IndexPart>,
    },
    DropPrimaryKey,
    /// ADD INDEX, CREATE INDEX.
    AddIndex(IndexDefinition),
    /// ADD FOREIGN KEY: MySQL adds an index over its columns where there is none.
    AddForeignKey {
        name: Option<String>,
        columns: Vec<String>,
    },
    DropIndex {
        name: String,
    },
    RenameIndex {
        old: String,
        new: String,
    },
    /// DROP CONSTRAINT: an index, the primary key, or a check or foreign key that is in no catalog here.
    DropConstraint {
        name: String,
    },
    TableComment(String),
    Engine(String),
    /// DEFAULT CHARACTER SET, or with `convert` CONVERT TO CHARACTER SET; both `None` for the database's default.
    TableCharset {
        charset: Option<String>,
        collation: Option<String>,
        convert: bool,
    },
    /// PARTITION BY and REMOVE PARTITIONING; no row changes.
    Partitioning {
        partitioned: bool,
    },
    /// Rows come or go without row events: DROP, TRUNCATE or EXCHANGE PARTITION, IMPORT TABLESPACE.
    RowsChange {
        clause: String,
    },
    /// Changes neither columns nor rows.
    Harmless,
    /// A clause that could not be read.
    Unknown {
        clause: String,
    },
}

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPosition {
    /// Not said: a new column goes last, a known one stays.
    Unsaid,
    First,
    /// AFTER this column, by the name it has when the statement is done.
    After(String),
}

/// What an ALTER TABLE says in all.
#[derive(Debug, Default)]
pub(super) struct Alteration {
    pub steps: Vec<AlterStep>,
    pub renamed_to: Option<TableId>,
    /// The other table of EXCHANGE PARTITION.
    pub exchanged_with: Option<TableId>,
}

/// Reads the clauses behind the table's name.
pub(super) fn alteration(cursor: &mut Cursor<'_, '_>, default_database: &str) -> Alteration {
    let mut found = Alteration::default();
    while !cursor.is_empty() {
        if cursor.symbol(",") {
            continue;
        }
        let start = *cursor;
        if found.clause(cursor, default_database).is_none() || cursor.text().len() == start.text().len() {
            *cursor = start;
            let clause = cursor.skip_to_comma().text().to_owned();
            found.steps.push(AlterStep::Unknown { clause });
        }
    }
    found
}

impl Alteration {
    fn clause(&mut self, cursor: &mut Cursor<'_, '_>, default_database: &str) -> Option<()> {
        let start = *cursor;
        if partition_clause(cursor) {
            let step = self.partition_step(start, cursor, default_database)?;
            self.steps.push(step);
            return Some(());
        }
        if cursor.word("ADD") {
            return self.add(cursor);
        }
        if cursor.word("RENAME") && !["COLUMN", "INDEX", "KEY"].iter().any(|word| cursor.is_word(word)) {
            if cursor.any_word(&["TO", "AS"]).is_none() {
                cursor.symbol("=");
            }
            self.renamed_to = Some(cursor.table(default_database)?);
            return Some(());
        }
        *cursor = start;
        let step = if cursor.word("DROP") {
            drop_step(cursor)
        } else if cursor.word("MODIFY") {
            cursor.word("COLUMN");
            let name = cursor.name()?;
            let definition = column_definition(name, cursor)?;
            Some(AlterStep::ModifyColumn { definition, position: position(cursor)? })
        } else if cursor.word("CHANGE") {
            cursor.word("COLUMN");
            let old = cursor.name()?;
            let name = cursor.name()?;
            let definition = column_definition(name, cursor)?;
            Some(AlterStep::ChangeColumn { old, definition, position: position(cursor)? })
        } else if cursor.word("RENAME") {
            rename_step(cursor)
        } else if cursor.word("ALTER") {
            alter_step(cursor)
        } else {
            option_step(cursor)
        }?;
        self.steps.push(step);
        Some(())
    }

    fn add(&mut self, cursor: &mut Cursor<'_, '_>) -> Option<()> {
        if is_constraint(cursor) {
            self.steps.push(constraint_step(constraint(cursor)?));
            return Some(());
        }
        cursor.word("COLUMN");
        let Some(list) = cursor.parenthesized() else {
            let name = cursor.name_except(&["IF", "PARTITION"])?;
            let definition = column_definition(name, cursor)?;
            self.steps.push(AlterStep::AddColumn { definition, position: position(cursor)? });
            return Some(());
        };
        for mut element in list.split_commas() {
            if is_constraint(&element) {
                self.steps.push(constraint_step(constraint(&mut element)?));
            } else {
                let definition = column_definition(element.name()?, &mut element)?;
                self.steps.push(AlterStep::AddColumn { definition, position: ColumnPosition::Unsaid });
            }
            element.is_empty().then_some(())?;
        }
        Some(())
    }

    fn partition_step(
        &mut self,
        start: Cursor<'_, '_>,
        cursor: &mut Cursor<'_, '_>,
        default_database: &str,
    ) -> Option<AlterStep> {
        let mut verb = start;
        // These clauses stand alone, and the commas in them are their own.
        let clause = start.text().to_owned();
        let changes = if verb.word("EXCHANGE") {
            while !cursor.words(&["WITH", "TABLE"]) {
                cursor.next()?;
            }
            self.exchanged_with = Some(cursor.table(default_database)?);
            true
        } else {
            ["DROP", "TRUNCATE", "DISCARD", "IMPORT"].iter().any(|word| verb.is_word(word))
        };
        let partitioned = !start.is_word("REMOVE");
        let scheme = start.is_word("PARTITION") || start.is_word("REMOVE");
        cursor.skip_all();
        Some(if changes {
            AlterStep::RowsChange { clause }
        } else if scheme {
            AlterStep::Partitioning { partitioned }
        } else {
            AlterStep::Harmless
        })
    }
}

/// True if a clause about partitions or the tablespace begins here.
fn partition_clause(cursor: &mut Cursor<'_, '_>) -> bool {
    const MAINTENANCE: [&str; 12] = [
        "ADD",
        "DROP",
        "TRUNCATE",
        "EXCHANGE",
        "COALESCE",
        "REORGANIZE",
        "REBUILD",
        "OPTIMIZE",
        "ANALYZE",
        "CHECK",
        "REPAIR",
        "DISCARD",
    ];
    let found = MAINTENANCE.iter().chain(&["IMPORT"]).any(|verb| cursor.words(&[verb, "PARTITION"]));
    found
        || cursor.words(&["DISCARD", "TABLESPACE"])
        || cursor.words(&["IMPORT", "TABLESPACE"])
        || cursor.words(&["PARTITION", "BY"])
        || cursor.words(&["REMOVE", "PARTITIONING"])
        || cursor.words(&["UPGRADE", "PARTITIONING"])
}

pub(super) fn constraint_step(constraint: Constraint) -> AlterStep {
    match constraint {
        Constraint::Primary(parts) => AlterStep::AddPrimaryKey { parts },
        Constraint::Index(index) => AlterStep::AddIndex(index),
        Constraint::ForeignKey { name, columns } => AlterStep::AddForeignKey { name, columns },
        Constraint::Check => AlterStep::Harmless,
    }
}

fn position(cursor: &mut Cursor<'_, '_>) -> Option<ColumnPosition> {
    if cursor.word("FIRST") {
        Some(ColumnPosition::First)
    } else if cursor.word("AFTER") {
        cursor.name().map(ColumnPosition::After)
    } else {
        Some(ColumnPosition::Unsaid)
    }
}

fn drop_step(cursor: &mut Cursor<'_, '_>) -> Option<AlterStep> {
    if cursor.words(&["PRIMARY", "KEY"]) {
        return Some(AlterStep::DropPrimaryKey);
    }
    if cursor.words(&["FOREIGN", "KEY"]) || cursor.word("CHECK") {
        cursor.name()?;
        return Some(AlterStep::Harmless);
    }
    if cursor.any_word(&["INDEX", "KEY"]).is_some() {
        return cursor.name().map(|name| AlterStep::DropIndex { name });
    }
    if cursor.word("CONSTRAINT") {
        return cursor.name().map(|name| AlterStep::DropConstraint { name });
    }
    cursor.word("COLUMN");
    let name = cursor.name_except(&["IF"])?;
    cursor.any_word(&["RESTRICT", "CASCADE"]);
    Some(AlterStep::DropColumn { name })
}

fn rename_step(cursor: &mut Cursor<'_, '_>) -> Option<AlterStep> {
    let column = cursor.word("COLUMN");
    if !column {
        cursor.any_word(&["INDEX", "KEY"])?;
    }
    let old = cursor.name()?;
    cursor.word("TO").then_some(())?;
    let new = cursor.name()?;
    Some(if column { AlterStep::RenameColumn { old, new } } else { AlterStep::RenameIndex { old, new } })
}

fn alter_step(cursor: &mut Cursor<'_, '_>) -> Option<AlterStep> {
    if cursor.word("INDEX") {
        cursor.name()?;
        cursor.any_word(&["VISIBLE", "INVISIBLE"])?;
        return Some(AlterStep::Harmless);
    }
    if cursor.any_word(&["CHECK", "CONSTRAINT"]).is_some() {
        cursor.name()?;
        cursor.word("NOT");
        cursor.word("ENFORCED").then_some(())?;
        return Some(AlterStep::Harmless);
    }
    cursor.word("COLUMN");
    let column = cursor.name()?;
    if cursor.words(&["DROP", "DEFAULT"]) {
        return Some(AlterStep::DropDefault { column });
    }
    cursor.word("SET").then_some(())?;
    if let Some(word) = cursor.any_word(&["VISIBLE", "INVISIBLE"]) {
        return Some(AlterStep::SetVisibility { column, invisible: word == "INVISIBLE" });
    }
    cursor.word("DEFAULT").then_some(())?;
    Some(AlterStep::SetDefault { column, default: DefaultClause::read(cursor)? })
}

/// An option of a table, in ALTER TABLE or behind CREATE TABLE's columns.
pub(super) fn option_step(cursor: &mut Cursor<'_, '_>) -> Option<AlterStep> {
    if cursor.words(&["CONVERT", "TO"]) {
        charset_words(cursor).then_some(())?;
        let charset = if cursor.word("DEFAULT") { None } else { Some(charset_name(cursor)?) };
        let collation = if cursor.word("COLLATE") { Some(charset_name(cursor)?) } else { None };
        return Some(AlterStep::TableCharset { charset, collation, convert: true });
    }
    cursor.word("DEFAULT");
    if charset_words(cursor) {
        cursor.symbol("=");
        let charset = if cursor.word("DEFAULT") { None } else { Some(charset_name(cursor)?) };
        return Some(AlterStep::TableCharset { charset, collation: None, convert: false });
    }
    if cursor.word("COLLATE") {
        cursor.symbol("=");
        let collation = Some(charset_name(cursor)?);
        return Some(AlterStep::TableCharset { charset: None, collation, convert: false });
    }
    if cursor.word("COMMENT") {
        cursor.symbol("=");
        return cursor.string().map(|text| AlterStep::TableComment(text.into_owned()));
    }
    if cursor.word("ENGINE") {
        cursor.symbol("=");
        let name = cursor.name().or_else(|| cursor.string().map(std::borrow::Cow::into_owned))?;
        return Some(AlterStep::Engine(name));
    }
    harmless_option(cursor).map(|()| AlterStep::Harmless)
}

fn harmless_option(cursor: &mut Cursor<'_, '_>) -> Option<()> {
    const WITH_VALUE: [&str; 28] = [
        "ALGORITHM",
        "AUTOEXTEND_SIZE",
        "AUTO_INCREMENT",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "COMPRESSION",
        "CONNECTION",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "ENGINE_ATTRIBUTE",
        "INSERT_METHOD",
        "KEY_BLOCK_SIZE",
        "LOCK",
        "MAX_ROWS",
        "MIN_ROWS",
        "NODEGROUP",
        "PACK_KEYS",
        "PASSWORD",
        "ROW_FORMAT",
        "SECONDARY_ENGINE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "STATS_AUTO_RECALC",
        "STATS_PERSISTENT",
        "STATS_SAMPLE_PAGES",
        "STORAGE",
        "TABLESPACE",
        "TABLE_CHECKSUM",
        "UNION",
    ];
    if cursor.any_word(&["FORCE", "SECONDARY_LOAD", "SECONDARY_UNLOAD"]).is_some()
        || cursor.words(&["START", "TRANSACTION"])
        || cursor.words(&["ENABLE", "KEYS"])
        || cursor.words(&["DISABLE", "KEYS"])
        || cursor.words(&["WITH", "VALIDATION"])
        || cursor.words(&["WITHOUT", "VALIDATION"])
    {
        return Some(());
    }
    if cursor.words(&["ORDER", "BY"]) {
        return order_by(cursor);
    }
    let directory = cursor.words(&["DATA", "DIRECTORY"]) || cursor.words(&["INDEX", "DIRECTORY"]);
    if !directory {
        cursor.any_word(&WITH_VALUE)?;
    }
    cursor.symbol("=");
    if cursor.parenthesized().is_none() {
        cursor.next().filter(|token| token.text != ",")?;
    }
    Some(())
}

/// `ORDER BY a, b DESC`: the commas between the names are its own.
fn order_by(cursor: &mut Cursor<'_, '_>) -> Option<()> {
    loop {
        cursor.table("")?;
        cursor.any_word(&["ASC", "DESC"]);
        let mut ahead = *cursor;
        let another = ahead.symbol(",") && ahead.table("").is_some() && {
            ahead.any_word(&["ASC", "DESC"]);
            ahead.is_empty() || ahead.is_symbol(",")
        };
        if !another {
            return Some(());
        }
        cursor.symbol(",");
    }
}
