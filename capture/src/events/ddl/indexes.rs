//! A table's indexes after a statement.

use super::alter::AlterStep;
use super::index::IndexDefinition;
use tributary_schemas::table::{Index, IndexPart};
use tributary_source::publish::PRIMARY;

/// MySQL compares names of columns and indexes without regard to case.
pub(super) fn same_name(left: &str, right: &str) -> bool {
    left == right || left.to_lowercase() == right.to_lowercase()
}

/// The indexes after `steps`, in name order. `renamed` gives the name that an old column has now, or `None` if it
/// is gone; the names in `steps` are those of after the statement.
pub(super) fn next_indexes(
    old: &[Index],
    steps: &[AlterStep],
    renamed: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Index>, String> {
    let mut indexes = without_dropped(old, steps)?;
    for index in &mut indexes {
        index.parts.retain_mut(|part| match &mut part.column {
            Some(column) => renamed(column).map(|name| *column = name).is_some(),
            None => true,
        });
    }
    indexes.retain(|index| !index.parts.is_empty());
    for step in steps {
        add(&mut indexes, step);
    }
    // The index of a foreign key is made only if none of the others serves it.
    for step in steps {
        if let AlterStep::AddForeignKey { name, columns } = step
            && !indexes.iter().any(|index| leads_with(index, columns))
        {
            let parts = columns.iter().map(|name| IndexPart { column: Some(name.clone()), prefix: None });
            let definition =
                IndexDefinition { name: name.clone(), unique: false, kind: "BTREE", parts: parts.collect() };
            push(&mut indexes, &definition);
        }
    }
    // MySQL prints column names as the table spells them.
    indexes.sort_by_key(|index| index.name.to_lowercase());
    Ok(indexes)
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

fn add(indexes: &mut Vec<Index>, step: &AlterStep) {
    match step {
        AlterStep::AddIndex(definition) => push(indexes, definition),
        AlterStep::AddPrimaryKey { parts } => push(indexes, &primary(parts.clone())),
        AlterStep::AddColumn { definition, .. }
        | AlterStep::ModifyColumn { definition, .. }
        | AlterStep::ChangeColumn { definition, .. } => {
            let parts = vec![IndexPart { column: Some(definition.name.clone()), prefix: None }];
            if definition.primary_key {
                push(indexes, &primary(parts.clone()));
            }
            if definition.unique {
                push(indexes, &IndexDefinition { name: None, unique: true, kind: "BTREE", parts });
            }
        }
        _ => {}
    }
}

fn primary(parts: Vec<IndexPart>) -> IndexDefinition {
    IndexDefinition { name: Some(PRIMARY.to_owned()), unique: true, kind: "BTREE", parts }
}

fn push(indexes: &mut Vec<Index>, definition: &IndexDefinition) {
    let name = definition.name.clone().unwrap_or_else(|| free_name(indexes, &definition.parts));
    let kind = definition.kind.to_owned();
    indexes.push(Index { name, unique: definition.unique, kind, parts: definition.parts.clone() });
}

/// The name that MySQL makes up: the first column's, with a number if it is taken.
fn free_name(indexes: &[Index], parts: &[IndexPart]) -> String {
    let first = parts.iter().find_map(|part| part.column.as_deref());
    let base = match parts.first() {
        Some(IndexPart { column: None, .. }) | None => "functional_index",
        Some(_) => first.unwrap_or_default(),
    };
    let taken = |name: &str| indexes.iter().any(|index| same_name(&index.name, name));
    let numbered = (2_u32..).map(|number| format!("{base}_{number}"));
    let candidates = std::iter::once(base.to_owned()).chain(numbered);
    let free = candidates.take(indexes.len() + 2).find(|name| !taken(name) && !same_name(name, PRIMARY));
    free.unwrap_or_else(|| base.to_owned())
}

fn leads_with(index: &Index, columns: &[String]) -> bool {
    index.parts.len() >= columns.len()
        && index.parts.iter().zip(columns).all(|(part, column)| {
            part.prefix.is_none() && part.column.as_deref().is_some_and(|name| same_name(name, column))
        })
}
