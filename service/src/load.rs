//! The configuration's way in: a TOML file, environment variables over it, the command line over both. What leaves is
//! a [`Config`] that has been checked as far as that is possible without a server, or everything that is wrong with
//! it at once, each problem with file and line (or variable), the key's full path and what to do.
//!
//! The crate `config` puts the layers together and makes the types of them. Its own readers of files and variables are not used:
//! they stop at the first mistake, know no lines, and take a variable's text for a number or a list without asking what the key
//! wants.

mod environment;
mod file;
mod value;

use crate::Service;
use crate::exit::{Exit, Failure};
use crate::keys::{Absent, KEYS};
use config::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use tributary_config::{
    Config, ConfigIssue, DestinationConfig, SourceConfig, TableRules, unsupported, validate,
};

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `[source]`, which [`load`] has made sure of for capture.
///
/// # Errors
/// There is none.
pub fn source(config: &Config) -> Result<&SourceConfig, Failure> {
    let missing =
        || Failure::new("there is no source", "the configuration has no [source]").exit(Exit::Usage);
    config.source.as_ref().ok_or_else(|| missing().remedy("add [source] with host, user and password"))
}

/// `[destination]`, which [`load`] has made sure of for apply.
///
/// # Errors
/// There is none.
pub fn destination(config: &Config) -> Result<&DestinationConfig, Failure> {
    let missing = || Failure::new("there is no destination", "the configuration has no [destination]");
    config.destination.as_ref().ok_or_else(|| missing().exit(Exit::Usage))
}

/// `[[table]]`, which [`load`] has made sure of.
///
/// # Errors
/// Rules that contradict each other.
pub fn rules(config: &Config) -> Result<TableRules, Failure> {
    TableRules::new(config).map_err(|issues| {
        let lines: Vec<String> =
            issues.iter().map(|issue| format!("{}: {}", issue.key, issue.message)).collect();
        Failure::new("the configuration cannot be used", lines.join("\n")).exit(Exit::Usage)
    })
}

/// What the command line sets over file and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`: the service's own `listen`.
    pub listen: Option<String>,
}

/// Where a key was set, or where a problem is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPlace {
    /// Line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// The file as a whole.
    File,
    /// An option of the command line.
    Option(&'static str),
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub place: KeyPlace,
    /// Key, what is wrong, what to do.
    pub issue: ConfigIssue,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one, in the order of the file.
    pub problems: Vec<Located>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Located { place, issue }) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match place {
                KeyPlace::Line(line) => write!(f, "{}:{line}: ", self.path.display())?,
                KeyPlace::Variable(name) => write!(f, "{name}: ")?,
                KeyPlace::File => write!(f, "{}: ", self.path.display())?,
                KeyPlace::Option(name) => write!(f, "{name}: ")?,
            }
            if !issue.key.is_empty() {
                write!(f, "{}: ", issue.key)?;
            }
            f.write_str(&issue.message)?;
            if !issue.remedy.is_empty() {
                write!(f, " ({})", issue.remedy)?;
            }
        }
        Ok(())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let what = match error.problems.len() {
            1 => "the configuration cannot be used".to_owned(),
            count => format!("the configuration cannot be used: {count} problems"),
        };
        Self::new(what, error)
            .exit(Exit::Usage)
            .remedy("`config print` lists every key with type, default and unit")
    }
}

/// Reads, layers and checks the configuration in `path`.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path, service: Service, overrides: &Overrides) -> Result<Config, ConfigError> {
    // A variable that is not Unicode cannot be one of ours, nor a secret that a TOML string could hold.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let fail = |message: String, remedy: &str| ConfigError {
        path: path.to_owned(),
        problems: vec![Located { place: KeyPlace::File, issue: ConfigIssue::new("", message, remedy) }],
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        fail(format!("cannot be read: {error}"), "give the configuration with --config FILE")
    })?;
    load_text(path, &text, &variables.collect(), service, overrides)
}

/// As [`load`], with the file's text and the environment given.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load_text(
    path: &Path,
    text: &str,
    variables: &BTreeMap<String, String>,
    service: Service,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let mut reading = Reading {
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        variables: variables.clone(),
        service,
        places: BTreeMap::new(),
        problems: Vec::new(),
        unresolved: Vec::new(),
    };
    let mut values = file::read(&mut reading, text);
    let over_file = environment::read(&mut reading);
    reading.settle_secrets(&mut values, &over_file);
    reading.require();
    let config = reading.build(values, over_file, overrides);
    reading.problems.sort_by(|a, b| a.place.cmp(&b.place));
    match config {
        Some(config) if reading.problems.is_empty() => Ok(config),
        _ => Err(ConfigError { path: path.to_owned(), problems: reading.problems }),
    }
}

/// What is known while a configuration is read.
struct Reading {
    folder: PathBuf,
    variables: BTreeMap<String, String>,
    service: Service,
    /// Every key that is set, well or badly, and every section that is begun.
    places: BTreeMap<String, KeyPlace>,
    problems: Vec<Located>,
    /// References to files and variables that are not there: a problem only if the value is needed.
    unresolved: Vec<(String, Located)>,
}

impl Reading {
    fn report(&mut self, place: KeyPlace, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Located { place, issue: ConfigIssue::new(key, message, remedy) });
    }

    /// An unresolved reference does no harm where a variable sets the key anyway, or in a section that this service
    /// can do without: that section is then left out as a whole, so that nobody uses it half read.
    fn settle_secrets(&mut self, values: &mut Map<String, Value>, over_file: &Map<String, Value>) {
        let (_, spare) = self.service.sections();
        let inside = format!("{spare}.");
        let mut left_out = false;
        for (key, problem) in std::mem::take(&mut self.unresolved) {
            if over_file.contains_key(&key) {
                continue;
            }
            if key.starts_with(&inside) {
                left_out = true;
            } else {
                self.problems.push(problem);
            }
        }
        if left_out {
            values.remove(spare);
            self.places.retain(|path, _| path != spare && !path.starts_with(&inside));
        }
    }

    /// Reports the keys that must be set and are not.
    fn require(&mut self) {
        let (needed, _) = self.service.sections();
        let begun = |section: &str, places: &BTreeMap<String, KeyPlace>| {
            places.keys().any(|path| path == section || path.starts_with(&format!("{section}.")))
        };
        let tables: BTreeSet<String> = self
            .places
            .keys()
            .filter(|path| path.starts_with("table["))
            .filter_map(|path| Some(path.split_once(']')?.0.to_owned() + "]"))
            .collect();
        let names_others = self.places.contains_key("from[0]")
            || matches!(self.places.get("from"), Some(KeyPlace::Variable(_)));
        let reads_others = self.service == Service::Capture && names_others;
        if reads_others {
            let place = self.places.get("from").cloned().unwrap_or(KeyPlace::File);
            let message = "a task that reads the topics of other tasks has no source for capture to read";
            self.report(
                place,
                "from",
                message,
                "run `apply` with this file, and `capture` with those of the tasks that it names",
            );
        }
        for key in KEYS.iter().filter(|key| matches!(key.absent, Absent::Required(_))) {
            let section = key.path.split_once('.').map_or("", |(section, _)| section);
            let wanted: Vec<String> = match section {
                "table[]" => tables.iter().map(|table| key.path.replace("table[]", table)).collect(),
                "source" if reads_others => Vec::new(),
                "source" | "destination" if section != needed && !begun(section, &self.places) => Vec::new(),
                _ => vec![key.path.to_owned()],
            };
            for path in wanted {
                if self.places.contains_key(&path) {
                    continue;
                }
                let section = path.rsplit_once('.').map_or("", |(section, _)| section);
                let place = self.places.get(section).cloned().unwrap_or(KeyPlace::File);
                let Absent::Required(example) = key.absent else { continue };
                let name = path.rsplit('.').next().unwrap_or_default();
                self.report(place, &path, "is missing", format!("add {name} = {example}; {}", key.about));
            }
        }
    }

    /// Merges the layers into the types, and checks what the types cannot say.
    fn build(
        &mut self,
        values: Map<String, Value>,
        over_file: Map<String, Value>,
        overrides: &Overrides,
    ) -> Option<Config> {
        let mut builder =
            config::Config::builder().add_source(value::Layer(values)).add_source(value::Layer(over_file));
        if let Some(listen) = &overrides.listen {
            let key = format!("{}.listen", self.service);
            builder = builder.set_override(&key, listen.clone()).ok()?;
            self.places.insert(key, KeyPlace::Option("--listen"));
        }
        let config: Config = match builder.build().and_then(config::Config::try_deserialize) {
            Ok(config) => config,
            Err(error) => {
                // Whatever was reported before is the reason; without that, the table of keys has a gap.
                if self.problems.is_empty() {
                    self.report(KeyPlace::File, "", error.to_string(), "");
                }
                return None;
            }
        };
        for issue in validate(&config)
            .into_iter()
            .chain(unsupported(&config))
            .chain(crate::kafka::check_client(&config.kafka.client))
        {
            let place = self.place_of(&issue.key);
            self.problems.push(Located { place, issue });
        }
        Some(config)
    }

    /// Where `key`, or else what it is a part of, was set.
    fn place_of(&self, key: &str) -> KeyPlace {
        let mut path = key;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return KeyPlace::File,
            }
        }
    }
}

#[cfg(test)]
mod tests;
