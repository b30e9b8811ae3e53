//! A table's indexes after a statement.

use super::alter::AlterStep;
use super::index::IndexDefinition;
use tributary_schemas::table::{Index, IndexPart, same_name};
use tributary_source::publish::PRIMARY;

/// The indexes after `steps`, in name order, on a table whose columns are then `columns`. `renamed` gives the name
/// that an old column has now, or `None` if it is gone.
pub(super) fn next_indexes(
    old: &[Index],
    steps: &[AlterStep],
    columns: &[&str],
    renamed: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Index>, String> {
    let mut list = without_dropped(old, steps)?;
    for index in &mut list {
        index.parts.retain_mut(|part| match &mut part.column {
            Some(column) => renamed(column).map(|name| *column = name).is_some(),
            None => true,
        });
    }
    list.retain(|index| !index.parts.is_empty());
    let mut indexes = Indexes { list, columns };
    for step in steps {
        indexes.add(step)?;
    }
    // The index of a foreign key is made only if none of the others serves it.
    for step in steps {
        if let AlterStep::AddForeignKey { name, columns } = step
            && !indexes.list.iter().any(|index| leads_with(index, columns))
        {
            let parts = columns.iter().map(|name| plain_part(name)).collect();
            indexes.push(name.clone(), false, "BTREE", parts)?;
        }
    }
    indexes.list.sort_by_key(|index| index.name.to_lowercase());
    Ok(indexes.list)
}

fn without_dropped(old: &[Index], steps: &[AlterStep]) -> Result<Vec<Index>, String> {
    let mut indexes = old.to_vec();
    for step in steps {
        let (name, certain) = match step {
            AlterStep::DropPrimaryKey => (PRIMARY, true),
            AlterStep::DropIndex { name } => (name.as_str(), true),
            AlterStep::DropConstraint { name } => (name.as_str(), false),
            _ => continue,
        };
        let known = indexes.len();
        indexes.retain(|index| !same_name(&index.name, name));
        if certain && indexes.len() == known {
            return Err(format!("there is no index {name}"));
        }
    }
    for step in steps {
        if let AlterStep::RenameIndex { old, new } = step {
            let index = indexes.iter_mut().find(|index| same_name(&index.name, old));
            new.clone_into(&mut index.ok_or_else(|| format!("there is no index {old}"))?.name);
        }
    }
    Ok(indexes)
}

struct Indexes<'a> {
    list: Vec<Index>,
    columns: &'a [&'a str],
}

impl Indexes<'_> {
    fn add(&mut self, step: &AlterStep) -> Result<(), String> {
        match step {
            AlterStep::AddIndex(IndexDefinition { name, unique, kind, parts }) => {
                self.push(name.clone(), *unique, kind, parts.clone())
            }
            AlterStep::AddPrimaryKey { parts } => {
                self.push(Some(PRIMARY.to_owned()), true, "BTREE", parts.clone())
            }
            AlterStep::AddColumn { definition, .. }
            | AlterStep::ModifyColumn { definition, .. }
            | AlterStep::ChangeColumn { definition, .. } => {
                let parts = || vec![plain_part(&definition.name)];
                if definition.primary_key {
                    self.push(Some(PRIMARY.to_owned()), true, "BTREE", parts())?;
                }
                if definition.unique { self.push(None, true, "BTREE", parts()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Adds an index, which names columns as the table spells them.
    fn push(
        &mut self,
        name: Option<String>,
        unique: bool,
        kind: &str,
        mut parts: Vec<IndexPart>,
    ) -> Result<(), String> {
        for part in &mut parts {
            if let Some(name) = &mut part.column {
                let column = self.columns.iter().find(|column| same_name(column, name));
                *name =
                    (*column.ok_or_else(|| format!("there is no column {name} for an index"))?).to_owned();
            }
            if kind == "SPATIAL" {
                // What is in the index is a rectangle, and MySQL prints its size as a prefix.
                part.prefix = Some(32);
            }
        }
        let name = name.unwrap_or_else(|| self.free_name(&parts));
        self.list.push(Index { name, unique, kind: kind.to_owned(), parts });
        Ok(())
    }

    /// The name that MySQL makes up: the first column's, with a number if it is taken.
    fn free_name(&self, parts: &[IndexPart]) -> String {
        let first = parts.first().and_then(|part| part.column.as_deref());
        let base = first.unwrap_or("functional_index");
        let taken = |name: &str| self.list.iter().any(|index| same_name(&index.name, name));
        let numbered = (2_u32..).map(|number| format!("{base}_{number}"));
        let mut candidates = std::iter::once(base.to_owned()).chain(numbered).take(self.list.len() + 2);
        let free = candidates.find(|name| !taken(name) && !same_name(name, PRIMARY));
        free.unwrap_or_else(|| base.to_owned())
    }
}

fn plain_part(column: &str) -> IndexPart {
    IndexPart { column: Some(column.to_owned()), prefix: None }
}

fn leads_with(index: &Index, columns: &[String]) -> bool {
    index.parts.len() >= columns.len()
        && index.parts.iter().zip(columns).all(|(part, column)| {
            part.prefix.is_none() && part.column.as_deref().is_some_and(|name| same_name(name, column))
        })
}
