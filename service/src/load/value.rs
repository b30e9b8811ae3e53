//! One value against what its key takes. File and environment share these rules; a value that passes is stored in
//! the form the types read.

use super::{KeyPlace, Located, Reading};
use crate::keys::{Key, Kind};
use config::{ConfigError, Map, Source, Value};
use std::path::Path;
use tributary_config::{ConfigIssue, TaskName};

/// Checked values under paths such as `source.port` and `table[0].target`, as a layer of the `config` crate.
#[derive(Debug, Clone)]
pub(super) struct Layer(pub Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// A scalar as it was written.
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

impl Scalar {
    fn name(&self) -> String {
        match self {
            Self::Text(_) => "a string".to_owned(),
            Self::Integer(_) => "an integer".to_owned(),
            Self::Boolean(_) => "a boolean".to_owned(),
            Self::Other(name) => format!("a value of type {name}"),
        }
    }
}

impl Reading {
    /// Checks `scalar` against `kind`, which for a list or a map is that of its elements.
    pub(super) fn scalar(
        &mut self,
        place: &KeyPlace,
        path: &str,
        key: &Key,
        scalar: Scalar,
    ) -> Option<Value> {
        let mut wrong = |message: String| {
            self.problems
                .push(Located { place: place.clone(), issue: ConfigIssue::new(path, message, key.about) });
            None
        };
        match (key.kind, scalar) {
            (Kind::Text | Kind::TextList | Kind::TextMap, Scalar::Text(text)) if text.is_empty() => {
                wrong("is empty".to_owned())
            }
            (
                Kind::Text | Kind::TextList | Kind::TextMap | Kind::Secret | Kind::SecretMap,
                Scalar::Text(text),
            ) => Some(text.into()),
            // Properties of librdkafka are text to it, whatever they look like.
            (Kind::SecretMap, Scalar::Integer(number)) => Some(number.to_string().into()),
            (Kind::SecretMap, Scalar::Boolean(value)) => Some(value.to_string().into()),
            (Kind::Task | Kind::TaskList, Scalar::Text(text)) => match text.parse::<TaskName>() {
                Ok(_) => Some(text.into()),
                Err(error) => wrong(error.to_string()),
            },
            (Kind::File, Scalar::Text(text)) => {
                Some(self.folder.join(Path::new(&text)).to_string_lossy().into_owned().into())
            }
            (Kind::Integer(least, most), Scalar::Integer(number)) => {
                if (least..=most).contains(&number) {
                    Some(number.into())
                } else {
                    wrong(format!("{number} is not from {least} to {most}"))
                }
            }
            (Kind::Boolean, Scalar::Boolean(value)) => Some(value.into()),
            (Kind::Choice(choices) | Kind::ChoiceList(choices), Scalar::Text(text)) => {
                if choices.contains(&text.as_str()) {
                    return Some(text.into());
                }
                let nearest = choices.iter().min_by_key(|choice| strsim::damerau_levenshtein(choice, &text));
                let hint = nearest
                    .filter(|choice| strsim::damerau_levenshtein(choice, &text) <= 2)
                    .map_or_else(String::new, |choice| format!("; did you mean {choice:?}?"));
                wrong(format!("{text:?} is not one of {}{hint}", crate::keys::words(choices)))
            }
            (kind, scalar) => wrong(format!("expected {}, found {}", element(kind), scalar.name())),
        }
    }

    /// The text behind `{ file = "…" }` or `{ env = "…" }`.
    pub(super) fn reference(
        &mut self,
        place: &KeyPlace,
        path: &str,
        way: &str,
        name: &str,
    ) -> Option<String> {
        let failed = match way {
            "env" => match self.variables.get(name) {
                Some(text) => return Some(text.clone()),
                None => format!("the environment variable {name} is not set"),
            },
            _ => {
                let file = self.folder.join(name);
                match std::fs::read_to_string(&file) {
                    // Editors end a file with a newline, and no password does.
                    Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => format!("{} cannot be read: {error}", file.display()),
                }
            }
        };
        let remedy = if way == "env" { "set it" } else { "create it, readable for this user" };
        let issue = ConfigIssue::new(path, failed, remedy);
        self.unresolved.push((path.to_owned(), Located { place: place.clone(), issue }));
        None
    }
}

/// What an element of a list or map of this kind is, in words.
fn element(kind: Kind) -> String {
    match kind {
        Kind::TextList | Kind::TextMap => "a string".to_owned(),
        Kind::SecretMap => "a string, a number or a boolean".to_owned(),
        Kind::TaskList => crate::keys::describe(Kind::Task),
        Kind::ChoiceList(choices) => crate::keys::describe(Kind::Choice(choices)),
        kind => crate::keys::describe(kind),
    }
}
