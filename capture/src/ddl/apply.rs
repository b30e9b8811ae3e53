//! The next definition of a table, step by step as MySQL does it: first every known column is dropped, changed or
//! kept by the name it had, then new and moved columns are put in by the names that hold when all is done.

use super::alter::{AlterStep, ColumnPosition};
use super::catalog::{Change, NeedsCatalogRead, Next, Session};
use super::charset::named_collation;
use super::conversion::{fills_row_by_row, is_same_type, recomputed, value_change};
use super::indexes::next_indexes;
use super::resolve::{Resolved, convert, resolve};
use tributary_schemas::table::same_name;
use tributary_source::catalog::{CatalogColumn, CatalogTable};
use tributary_source::publish::PRIMARY;

/// A column on its way to the next definition.
struct Draft {
    column: CatalogColumn,
    /// Place in the old definition; `None` for a new column.
    origin: Option<usize>,
    said: Said,
}

/// What the statement says of a column.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// It declares the column anew.
    declared: bool,
    /// It adds or redefines the column in any way.
    concerned: bool,
    /// What only the server can say.
    doubt: Option<&'static str>,
}

/// The definition of `table` after `steps`.
///
/// # Errors
/// [`NeedsCatalogRead`] if a clause is not understood, or does not fit the table.
pub fn apply(table: &CatalogTable, steps: &[AlterStep], session: &Session) -> Result<Next, NeedsCatalogRead> {
    next(table, steps, session).map_err(|why| NeedsCatalogRead { table: table.id.clone(), why })
}

fn next(table: &CatalogTable, steps: &[AlterStep], session: &Session) -> Result<Next, String> {
    require_known(table, steps)?;
    let (collation, converted) = table_collation(table, steps, session)?;
    let mut drafts = Vec::with_capacity(table.columns.len());
    for (origin, column) in table.columns.iter().enumerate() {
        let kept = kept(column, steps, &collation, session)?;
        if let Some((mut column, mut said)) = kept {
            if converted && !said.declared && column.charset.is_some() {
                convert(&mut column, &collation, session)?;
                said.concerned = true;
            }
            drafts.push(Draft { column, origin: Some(origin), said });
        }
    }
    place(&mut drafts, steps, &collation, session)?;
    let renamed = |old: &str| {
        let (origin, _) = table.column(old)?;
        drafts.iter().find(|draft| draft.origin == Some(origin)).map(|draft| draft.column.name.clone())
    };
    let names: Vec<&str> = drafts.iter().map(|draft| draft.column.name.as_str()).collect();
    let indexes = next_indexes(&table.indexes, steps, &names, renamed)?;
    let mut after = CatalogTable { indexes, collation, columns: Vec::new(), ..table.clone() };
    for step in steps {
        match step {
            AlterStep::TableComment(comment) => comment.clone_into(&mut after.comment),
            AlterStep::Engine(engine) => engine.clone_into(&mut after.engine),
            AlterStep::Partitioning { partitioned } => after.partitioned = *partitioned,
            _ => {}
        }
    }
    let origins: Vec<Option<usize>> = drafts.iter().map(|draft| draft.origin).collect();
    let concerned = drafts.iter().enumerate().filter(|(_, draft)| draft.said.concerned);
    let declared = concerned.map(|(place, draft)| (place, draft.said.doubt)).collect();
    let anew = drafts.iter().map(|draft| draft.said.declared).collect();
    after.columns = drafts.into_iter().map(|draft| draft.column).collect();
    require_primary(&mut after);
    let mut next =
        Next { table: after, origins, anew, change: Change::Unchanged, declared, rereads: by_clause(steps) };
    next.judge(table, session);
    Ok(next)
}

impl Next {
    /// Tells how the definition changed from `old`, and whether rows did. Again after a column was corrected.
    pub(super) fn judge(&mut self, old: &CatalogTable, session: &Session) {
        let known = |origin: &Option<usize>| origin.and_then(|place| old.columns.get(place));
        let columns = self.table.columns.iter().zip(self.origins.iter().zip(&self.anew));
        let by_column = || {
            columns.clone().find_map(|(column, (origin, anew))| match known(origin) {
                None => fills_row_by_row(column),
                // What is not declared anew is only renamed, moved or converted; its expression is the same.
                Some(before) => value_change(before, column, *anew, session),
            })
        };
        let by_expression = || {
            let column = recomputed(old, &self.table, &self.origins)?;
            Some(format!("generated column {} follows from a column that changed", column.name))
        };
        self.rereads = self.rereads.take().or_else(by_column).or_else(by_expression);
        self.change = change(old, &self.table, &self.origins);
    }
}

/// Every column that a step names must be there, or the catalog is not that of this place in the stream.
fn require_known(table: &CatalogTable, steps: &[AlterStep]) -> Result<(), String> {
    for step in steps {
        let name = match step {
            AlterStep::Unknown { clause } => return Err(format!("the clause {clause:?} is not understood")),
            AlterStep::DropColumn { name } => name,
            AlterStep::ModifyColumn { definition, .. } => &definition.name,
            AlterStep::ChangeColumn { old, .. } | AlterStep::RenameColumn { old, .. } => old,
            AlterStep::SetDefault { column, .. }
            | AlterStep::DropDefault { column }
            | AlterStep::SetVisibility { column, .. } => column,
            _ => continue,
        };
        if table.column(name).is_none() {
            return Err(format!("there is no column {name}"));
        }
    }
    Ok(())
}

/// The table's collation after the statement, and whether its columns are converted to it.
fn table_collation(
    table: &CatalogTable,
    steps: &[AlterStep],
    session: &Session,
) -> Result<(String, bool), String> {
    let (mut named_charset, mut named, mut converted, mut said) = (None, None, false, false);
    for step in steps {
        if let AlterStep::TableCharset { charset, collation, convert } = step {
            named_charset = charset.as_deref().or(named_charset);
            named = collation.as_deref().or(named);
            converted |= convert;
            said = true;
        }
    }
    let otherwise = if said { &session.database_collation } else { &table.collation };
    Ok((named_collation(named_charset, named, otherwise, session)?, converted))
}

/// What becomes of a known column, and what the statement says of it; `None` if it is dropped or will be put elsewhere
/// by [`place`].
fn kept(
    column: &CatalogColumn,
    steps: &[AlterStep],
    collation: &str,
    session: &Session,
) -> Result<Option<(CatalogColumn, Said)>, String> {
    let mut kept = (column.clone(), Said::default());
    for step in steps {
        match step {
            AlterStep::DropColumn { name } if same_name(name, &column.name) => return Ok(None),
            AlterStep::ModifyColumn { definition, .. } if same_name(&definition.name, &column.name) => {
                kept = declared(resolve(definition, collation, session)?);
            }
            AlterStep::ChangeColumn { old, definition, .. } if same_name(old, &column.name) => {
                kept = declared(resolve(definition, collation, session)?);
            }
            AlterStep::RenameColumn { old, new } if same_name(old, &column.name) => {
                new.clone_into(&mut kept.0.name);
            }
            AlterStep::SetDefault { column: name, default } if same_name(name, &column.name) => {
                let column_type = column.declared_type.parse().map_err(|_| {
                    format!("column {name} has the type {}, which is not known", column.declared_type)
                })?;
                let resolved = default.resolve(&column_type);
                kept.0.default = resolved.default;
                kept.1.concerned = true;
                kept.1.doubt = kept.1.doubt.or(resolved.doubtful.then_some("its default"));
            }
            AlterStep::DropDefault { column: name } if same_name(name, &column.name) => kept.0.default = None,
            AlterStep::SetVisibility { column: name, invisible } if same_name(name, &column.name) => {
                kept.0.invisible = *invisible;
            }
            _ => {}
        }
    }
    Ok(Some(kept))
}

fn declared(Resolved { column, doubt }: Resolved) -> (CatalogColumn, Said) {
    (column, Said { declared: true, concerned: true, doubt })
}

/// Puts new columns in, and moves those that the statement moves, in its order.
fn place(
    drafts: &mut Vec<Draft>,
    steps: &[AlterStep],
    collation: &str,
    session: &Session,
) -> Result<(), String> {
    let mut moving = Vec::new();
    for step in steps {
        let (draft, position) = match step {
            AlterStep::AddColumn { definition, position } => {
                let (column, said) = declared(resolve(definition, collation, session)?);
                (Draft { column, origin: None, said }, position)
            }
            AlterStep::ModifyColumn { definition, position }
            | AlterStep::ChangeColumn { definition, position, .. }
                if *position != ColumnPosition::Unsaid =>
            {
                let found = drafts.iter().position(|draft| {
                    draft.origin.is_some() && same_name(&draft.column.name, &definition.name)
                });
                let found = found.ok_or_else(|| format!("column {} cannot be moved", definition.name))?;
                (drafts.remove(found), position)
            }
            _ => continue,
        };
        moving.push((draft, position));
    }
    for (draft, position) in moving {
        let at = match position {
            ColumnPosition::Unsaid => drafts.len(),
            ColumnPosition::First => 0,
            ColumnPosition::After(name) => {
                let found = drafts.iter().position(|other| same_name(&other.column.name, name));
                found.ok_or_else(|| format!("there is no column {name} to come after"))? + 1
            }
        };
        drafts.insert(at, draft);
    }
    Ok(())
}

/// The columns of a primary key are NOT NULL without saying so.
fn require_primary(table: &mut CatalogTable) {
    let primary = table.indexes.iter().filter(|index| index.name == PRIMARY).flat_map(|index| &index.parts);
    for name in primary.filter_map(|part| part.column.as_deref()) {
        for column in table.columns.iter_mut().filter(|column| same_name(&column.name, name)) {
            column.nullable = false;
        }
    }
}

/// Why rows changed without row events by a clause that concerns no column.
fn by_clause(steps: &[AlterStep]) -> Option<String> {
    steps.iter().find_map(|step| match step {
        AlterStep::RowsChange { clause } => Some(format!("rows came or went without row events: {clause}")),
        AlterStep::Engine(engine) if engine.eq_ignore_ascii_case("BLACKHOLE") => {
            Some("the engine BLACKHOLE keeps no rows".to_owned())
        }
        _ => None,
    })
}

fn change(old: &CatalogTable, new: &CatalogTable, origins: &[Option<usize>]) -> Change {
    if old == new {
        return Change::Unchanged;
    }
    let known: Vec<(usize, &CatalogColumn)> =
        origins.iter().zip(&new.columns).filter_map(|(origin, column)| Some(((*origin)?, column))).collect();
    let same = known.len() == old.columns.len()
        && known
            .iter()
            .zip(old.columns.iter().enumerate())
            .all(|((origin, now), (place, before))| *origin == place && is_same_column(before, now));
    match (same, known.len() == new.columns.len()) {
        (true, true) => Change::Metadata,
        (true, false) => Change::AddsColumns,
        (false, _) => Change::Columns,
    }
}

/// True if neither name nor values nor the bytes that stand for them differ.
fn is_same_column(before: &CatalogColumn, now: &CatalogColumn) -> bool {
    is_same_type(before, now) && before.name == now.name && before.nullable == now.nullable
}
