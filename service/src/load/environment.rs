//! The environment's layer: `TRIBUTARY__SECTION__KEY`, names in upper case, an index for a `[[table]]`
//! (`TRIBUTARY__TABLE__0__TARGET`). Scalars are written bare; lists as a,b or as TOML; tables as TOML. Under a key
//! with free names the rest is joined with dots: `TRIBUTARY__KAFKA__CLIENT__SECURITY__PROTOCOL`.

use super::file::{read_value, schema_path};
use super::value::Scalar;
use super::{KeyPlace, Reading};
use crate::keys::{self, Branch, Key, Kind};
use config::{Map, Value};

/// Two underscores, so that a name may hold one; other programs' TRIBUTARY_* are not ours to judge.
const PREFIX: &str = "TRIBUTARY__";

/// Values under paths; problems and places go into `reading`.
pub(super) fn read(reading: &mut Reading) -> Map<String, Value> {
    let mut out = Map::new();
    let variables: Vec<(String, String)> = reading
        .variables
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(PREFIX)?.to_owned(), text.clone())))
        .collect();
    let mut clients: Map<String, Map<String, Value>> = Map::new();
    for (name, text) in variables {
        let place = KeyPlace::Variable(format!("{PREFIX}{name}"));
        let path = path(&name);
        let schema = schema_path(&path);
        if keys::find(&schema).is_some() || keys::branch(&schema) == Some(Branch::List) {
            reading.places.insert(path.clone(), place.clone());
            if let Some(value) = value(reading, &place, &path, &schema, &text) {
                out.insert(path, value);
            }
        } else if let Some((key, rest)) = free_key(&path) {
            let path = format!("{}.{rest}", key.path);
            reading.places.insert(path.clone(), place.clone());
            if let Some(value) = reading.scalar(&place, &path, key, Scalar::Text(text)) {
                clients.entry(key.path.to_owned()).or_default().insert(rest, value);
            }
        } else {
            let remedy = match keys::nearest(&schema) {
                Some(near) => format!("did you mean {}?", variable(&near)),
                None => "remove it, or correct its name".to_owned(),
            };
            reading.report(place, &path, "no such key", remedy);
        }
    }
    check_indexes(reading);
    // A table merges with what the file has under the same key.
    out.extend(clients.into_iter().map(|(path, values)| (path, values.into())));
    out
}

/// `TABLE__0__TARGET` → `table[0].target`.
fn path(name: &str) -> String {
    let mut out = String::new();
    for part in name.split("__") {
        if part.parse::<usize>().is_ok() && !out.is_empty() {
            out.push_str(&format!("[{part}]"));
            continue;
        }
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(&part.to_ascii_lowercase());
    }
    out
}

/// The reverse, for suggestions.
fn variable(schema: &str) -> String {
    format!("{PREFIX}{}", schema.replace("[]", "__0").replace('.', "__").to_ascii_uppercase())
}

fn free_key(path: &str) -> Option<(&'static Key, String)> {
    keys::KEYS.iter().filter(|key| !key.path.contains("[]")).find_map(|key| {
        let rest = path.strip_prefix(key.path)?.strip_prefix('.')?;
        matches!(key.kind, Kind::TextMap | Kind::SecretMap).then(|| (key, rest.to_owned()))
    })
}

fn value(reading: &mut Reading, place: &KeyPlace, path: &str, schema: &str, text: &str) -> Option<Value> {
    let Some(key) = keys::find(schema) else { return read_value(reading, place, path, text) };
    let scalar = match key.kind {
        Kind::TextMap | Kind::SecretMap => return read_value(reading, place, path, text),
        Kind::TextList | Kind::TaskList | Kind::ChoiceList(_) => {
            if text.trim_start().starts_with('[') {
                return read_value(reading, place, path, text);
            }
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            let checked = elements
                .filter_map(|element| reading.scalar(place, path, key, Scalar::Text(element.to_owned())));
            return Some(checked.collect::<Vec<_>>().into());
        }
        Kind::Integer(..) => match text.trim().parse() {
            Ok(number) => Scalar::Integer(number),
            Err(_) => Scalar::Text(text.to_owned()),
        },
        Kind::Boolean => match text.trim() {
            "true" => Scalar::Boolean(true),
            "false" => Scalar::Boolean(false),
            _ => Scalar::Text(text.to_owned()),
        },
        Kind::Text | Kind::Secret | Kind::Task | Kind::File | Kind::Choice(_) => {
            Scalar::Text(text.to_owned())
        }
    };
    reading.scalar(place, path, key, scalar)
}

/// Tables may be added behind those of the file, but not with a gap between them.
fn check_indexes(reading: &mut Reading) {
    let mut indexes: Vec<(usize, KeyPlace)> = Vec::new();
    for (path, place) in &reading.places {
        let index = path.strip_prefix("table[").and_then(|rest| rest.split_once(']')?.0.parse().ok());
        indexes.extend(index.map(|index| (index, place.clone())));
    }
    indexes.sort();
    let mut expected = 0;
    for (index, place) in indexes {
        if index > expected {
            let message = format!("there is no [[table]] number {expected}");
            reading.report(place, &format!("table[{index}]"), message, "count from 0, without a gap");
            return;
        }
        expected = index + 1;
    }
}
