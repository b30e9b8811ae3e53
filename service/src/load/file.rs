//! The file's layer: every key looked up, every value checked, with the line it stands on.

use super::value::Scalar;
use super::{KeyPlace, Reading};
use crate::keys::{self, Branch, Key, Kind};
use config::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads `text`; problems and places go into `reading`.
pub(super) fn read(reading: &mut Reading, text: &str) -> Map<String, Value> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk { reading, text };
    if errors.is_empty() {
        return walk.table(table.get_ref(), "", "");
    }
    for error in errors {
        let line = error.span().map_or(KeyPlace::File, |span| walk.place(span.start));
        walk.reading.report(line, "", format!("not valid TOML: {}", error.message()), "");
    }
    Map::new()
}

/// Reads one TOML value that stands in an environment variable, for keys that take more than a scalar.
pub(super) fn read_value(reading: &mut Reading, place: &KeyPlace, path: &str, text: &str) -> Option<Value> {
    let (value, errors) = DeValue::parse_recoverable(text);
    if let Some(error) = errors.first() {
        reading.report(place.clone(), path, format!("not a TOML value: {}", error.message()), "");
        return None;
    }
    // Every place in a one-line text is the variable itself, so the walk's lines are replaced afterwards.
    let known: Vec<String> = reading.places.keys().cloned().collect();
    let problems = reading.problems.len();
    let mut walk = Walk { reading, text };
    let out = walk.any(&value, path, &schema_path(path));
    for (key, found) in &mut reading.places {
        if !known.contains(key) {
            *found = place.clone();
        }
    }
    for problem in reading.problems.iter_mut().skip(problems) {
        problem.place = place.clone();
    }
    out
}

/// `table[2].target` → `table[].target`.
pub(super) fn schema_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut index = false;
    for character in path.chars() {
        index = index && character != ']';
        if !index {
            out.push(character);
        }
        index = index || character == '[';
    }
    out
}

struct Walk<'a> {
    reading: &'a mut Reading,
    text: &'a str,
}

impl Walk<'_> {
    fn place(&self, offset: usize) -> KeyPlace {
        let before = self.text.as_bytes().iter().take(offset);
        KeyPlace::Line(1 + before.filter(|byte| **byte == b'\n').count())
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str, schema: &str) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, value) in table {
            let place = self.place(name.span().start);
            let join = |parent: &str| {
                if parent.is_empty() {
                    name.get_ref().to_string()
                } else {
                    format!("{parent}.{}", name.get_ref())
                }
            };
            let (path, schema) = (join(path), join(schema));
            if keys::find(&schema).is_none() && keys::branch(&schema).is_none() {
                self.unknown(place, &path, &schema);
                continue;
            }
            self.reading.places.insert(path.clone(), place);
            if let Some(value) = self.any(value, &path, &schema) {
                out.insert(name.get_ref().to_string(), value);
            }
        }
        out
    }

    fn unknown(&mut self, place: KeyPlace, path: &str, schema: &str) {
        let remedy = match keys::nearest(schema) {
            Some(near) => format!("did you mean {}?", near.trim_end_matches("[]")),
            None => {
                let section = schema.rsplit_once('.').map_or("", |(section, _)| section);
                format!("known here: {}", keys::names_in(section).join(", "))
            }
        };
        self.reading.report(place, path, "unknown key", remedy);
    }

    fn any(&mut self, value: &Spanned<DeValue<'_>>, path: &str, schema: &str) -> Option<Value> {
        if let Some(key) = keys::find(schema) {
            return self.leaf(key, value, path);
        }
        let place = self.place(value.span().start);
        match (keys::branch(schema), value.get_ref()) {
            (Some(Branch::Section), DeValue::Table(table)) => Some(self.table(table, path, schema).into()),
            (Some(Branch::List), DeValue::Array(elements)) => {
                let element = |(index, element): (usize, &Spanned<DeValue<'_>>)| {
                    let path = format!("{path}[{index}]");
                    let place = self.place(element.span().start);
                    self.reading.places.insert(path.clone(), place.clone());
                    let DeValue::Table(table) = element.get_ref() else {
                        self.reading.report(place, &path, "expected a table", "");
                        return None;
                    };
                    Some(Value::from(self.table(table, &path, &format!("{schema}[]"))))
                };
                Some(elements.iter().enumerate().filter_map(element).collect::<Vec<_>>().into())
            }
            (Some(Branch::List), _) => {
                self.reading.report(place, path, "expected a list of tables", format!("write [[{path}]]"));
                None
            }
            _ => {
                self.reading.report(
                    place,
                    path,
                    "expected a section",
                    format!("write [{path}], with keys below it"),
                );
                None
            }
        }
    }

    fn leaf(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        let place = self.place(value.span().start);
        match (key.kind, value.get_ref()) {
            (Kind::TextList | Kind::TaskList | Kind::ChoiceList(_), DeValue::Array(elements)) => {
                let mut out: Vec<Value> = Vec::new();
                for (index, element) in elements.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let place = self.place(element.span().start);
                    self.reading.places.insert(path.clone(), place);
                    out.extend(self.scalar(key, element, &path));
                }
                Some(out.into())
            }
            (Kind::TextMap | Kind::SecretMap, DeValue::Table(table)) => {
                let mut out = Map::new();
                self.map(key, table, path, "", &mut out);
                Some(out.into())
            }
            (Kind::TextList | Kind::TaskList | Kind::ChoiceList(_) | Kind::TextMap | Kind::SecretMap, _) => {
                let expected = format!("expected a {}", keys::describe(key.kind));
                self.reading.report(place, path, expected, key.about);
                None
            }
            _ => self.scalar(key, value, path),
        }
    }

    /// Free keys. One that is written with dots but without quotes arrives as tables in tables; it is put together
    /// again, for `security.protocol = "SSL"` can mean nothing else.
    fn map(
        &mut self,
        key: &Key,
        table: &DeTable<'_>,
        path: &str,
        before: &str,
        out: &mut Map<String, Value>,
    ) {
        for (name, value) in table {
            let name_here = format!("{before}{}", name.get_ref());
            let place = self.place(name.span().start);
            self.reading.places.insert(format!("{path}.{name_here}"), place);
            match value.get_ref() {
                DeValue::Table(below) if reference(below).is_none() => {
                    self.map(key, below, path, &format!("{name_here}."), out);
                }
                _ => {
                    if let Some(value) = self.scalar(key, value, &format!("{path}.{name_here}")) {
                        out.insert(name_here, value);
                    }
                }
            }
        }
    }

    fn scalar(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        let place = self.place(value.span().start);
        let textual = !matches!(key.kind, Kind::Integer(..) | Kind::Boolean);
        let scalar = match value.get_ref() {
            DeValue::String(text) => Scalar::Text(text.to_string()),
            DeValue::Boolean(value) => Scalar::Boolean(*value),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Scalar::Integer(number),
                Err(_) => Scalar::Other("integer beyond 64 bits"),
            },
            DeValue::Table(table) if textual => match reference(table) {
                Some((way, name)) => Scalar::Text(self.reading.reference(&place, path, way, name)?),
                None => Scalar::Other("table, which is neither { file = \"…\" } nor { env = \"…\" }"),
            },
            other => Scalar::Other(other.type_str()),
        };
        self.reading.scalar(&place, path, key, scalar)
    }
}

/// The two ways a string may stand elsewhere.
fn reference<'t>(table: &'t DeTable<'_>) -> Option<(&'static str, &'t str)> {
    let way = ["file", "env"].into_iter().find(|way| table.contains_key(*way))?;
    if table.len() > 1 {
        return None;
    }
    Some((way, table.get(way)?.get_ref().as_str()?))
}
