//! `config print`: the table of keys as a TOML file that can be used as it is, with every default in a comment.

use super::{Absent, KEYS, Key, Kind, SECTIONS};
use std::fmt::Write;

const HEAD: &str = "\
# Every key of Tributary's configuration. Keys that must be given are set to examples; a line `#key = value` shows the
# default, or an example where none is fixed. Any string may be { file = \"path\" } or { env = \"NAME\" }. Any key may be
# given as an environment variable too, which wins over the file: TRIBUTARY__SOURCE__PASSWORD, TRIBUTARY__TABLE__0__TARGET.
";

/// Every key with type, default, unit and one line about it, as commented TOML.
#[must_use]
pub fn print() -> String {
    let mut out = HEAD.to_owned();
    for key in KEYS.iter().filter(|key| !key.path.contains('.')) {
        print_key(&mut out, key, key.path);
    }
    for (section, about) in SECTIONS {
        let header =
            section.strip_suffix("[]").map_or_else(|| format!("[{section}]"), |name| format!("[[{name}]]"));
        // Writing to a String cannot fail.
        let _ = write!(out, "\n# {about}\n{header}\n");
        for key in KEYS {
            if let Some(name) = key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) {
                print_key(&mut out, key, name);
            }
        }
    }
    out
}

fn print_key(out: &mut String, key: &Key, name: &str) {
    let (fate, hash, value) = match key.absent {
        Absent::Required(example) => ("required".to_owned(), "", example),
        Absent::Default(value) => (format!("default {value}"), "#", value),
        Absent::Derived(words, example) => (format!("default: {words}"), "#", example),
    };
    let unit = if key.unit.is_empty() { String::new() } else { format!(", {}", key.unit) };
    let _ =
        write!(out, "\n# {}\n# ({}{unit}; {fate})\n{hash}{name} = {value}\n", key.about, describe(key.kind));
}

/// The words one may choose from.
pub(crate) fn words(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" | ")
}

/// What a kind takes, in words.
pub(crate) fn describe(kind: Kind) -> String {
    let words = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" | ");
    match kind {
        Kind::Text => "string".to_owned(),
        Kind::Secret => "secret string".to_owned(),
        Kind::Task => "task name: letters, digits, _ and -, a letter first, at most 64".to_owned(),
        Kind::File => "file, relative to this one".to_owned(),
        Kind::Integer(least, most) => format!("integer from {least} to {most}"),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Choice(choices) => words(choices),
        Kind::TextList => "list of strings".to_owned(),
        Kind::TaskList => "list of task names".to_owned(),
        Kind::ChoiceList(choices) => format!("list of {}", words(choices)),
        Kind::TextMap => "table of strings".to_owned(),
        Kind::SecretMap => "table of secret strings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tributary_config::{Config, unsupported, validate};

    /// The printed file with every commented key in effect.
    fn everything() -> String {
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        print().lines().map(uncomment).collect()
    }

    /// Paths of the leaves, `[]` for an index; maps and lists of strings are leaves.
    fn leaves(value: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
        if super::super::find(path).is_some() {
            out.insert(path.to_owned());
            return;
        }
        match value {
            serde_json::Value::Object(fields) => {
                for (name, field) in fields {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(field, &below, out);
                }
            }
            serde_json::Value::Array(elements) if !elements.is_empty() => {
                elements.iter().for_each(|element| leaves(element, &format!("{path}[]"), out));
            }
            _ => {
                out.insert(path.to_owned());
            }
        }
    }

    #[test]
    fn the_table_and_the_types_name_the_same_keys() {
        // Every key of the table is one the types take: unknown fields are errors there.
        let config: Config = toml::from_str(&everything()).unwrap();
        // Every field of the types is in the table: serialization leaves none out.
        let mut found = BTreeSet::new();
        leaves(&serde_json::to_value(&config).unwrap(), "", &mut found);
        assert_eq!(found, KEYS.iter().map(|key| key.path.to_owned()).collect());
    }

    #[test]
    fn the_table_and_the_types_have_the_same_defaults() {
        let config: Config = toml::from_str(&print()).unwrap();
        assert_eq!((validate(&config), unsupported(&config)), (Vec::new(), Vec::new()));
        let actual = serde_json::to_value(&config).unwrap();
        for key in KEYS {
            let pointer = format!("/{}", key.path.replace("[]", ".0").replace('.', "/"));
            let actual = actual.pointer(&pointer).unwrap_or(&serde_json::Value::Null);
            let expected = match (key.absent, key.kind) {
                (Absent::Default(_), Kind::Secret) => serde_json::json!("<empty>"),
                (Absent::Default(text), _) | (Absent::Required(text), _) => {
                    let table: toml::Table = toml::from_str(&format!("x = {text}")).unwrap();
                    serde_json::to_value(&table["x"]).unwrap()
                }
                (Absent::Derived(..), _) => serde_json::Value::Null,
            };
            assert_eq!(*actual, expected, "{}", key.path);
        }
    }

    #[test]
    fn every_key_is_explained_and_every_section_introduced() {
        for key in KEYS {
            assert!(key.about.ends_with('.') && !key.about.contains('\n'), "{}", key.path);
            let unit = key.path.rsplit('_').next().unwrap_or_default();
            let expected = match unit {
                "ms" => "milliseconds",
                "bytes" => "bytes",
                "minutes" => "minutes",
                "hours" => "hours",
                "rows" => "rows",
                _ => "",
            };
            assert_eq!(key.unit, expected, "{}", key.path);
            if let Some((section, _)) = key.path.split_once('.') {
                assert!(SECTIONS.iter().any(|(name, _)| *name == section), "{}", key.path);
            }
        }
    }
}
