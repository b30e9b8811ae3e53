//! What the types cannot say about a configuration: keys that contradict each other, and keys that are part of the
//! contract but that this version does not carry out. The latter are refused: a setting must never be ignored.

use super::rules::MAX_NAME_BYTES;
use super::{
    BeforeImages, Config, Delivery, Storage, TableRule, TableRules, TableSelection, TableSelector, TlsConfig,
    TlsMode,
};
use std::net::SocketAddr;
use tributary_schemas::table::TableId;

/// Something that is wrong with a configuration, before a file and a line are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Full path of the key, as in `table[2].target`.
    pub key: String,
    /// What is wrong, and why.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigIssue {
    /// Puts the three together.
    pub fn new(key: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), remedy: remedy.into() }
    }
}

/// Everything that is wrong with `config` whichever service reads it, in the order of the sections.
#[must_use]
pub fn validate(config: &Config) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    if !config.from.is_empty() && config.source.is_some() {
        issues.push(ConfigIssue::new(
            "from",
            "a task with `from` reads the topics of other tasks, and so has no [source]",
            "remove either `from` or [source]",
        ));
    }
    check_origins(&mut issues, config);
    if let Some(source) = &config.source {
        check_tls(&mut issues, "source.tls", &source.tls);
        if source.read_deadline_ms < source.heartbeat_ms.saturating_mul(2) {
            issues.push(ConfigIssue::new(
                "source.read_deadline_ms",
                format!(
                    "a stream that is silent for {} ms would be taken for dead, and its heartbeat comes every {} ms",
                    source.read_deadline_ms, source.heartbeat_ms
                ),
                "set it to at least twice source.heartbeat_ms",
            ));
        }
    }
    if let Some(destination) = &config.destination {
        check_tls(&mut issues, "destination.tls", &destination.tls);
    }
    check_listen(&mut issues, "capture.listen", &config.capture.listen);
    check_listen(&mut issues, "apply.listen", &config.apply.listen);
    if u64::from(config.capture.transaction_timeout_ms) <= config.capture.commit_interval_ms {
        issues.push(ConfigIssue::new(
            "capture.transaction_timeout_ms",
            "a Kafka transaction would be aborted before it is committed",
            "set it well above capture.commit_interval_ms; 60000 is the default",
        ));
    }
    for (key, bytes, memory) in [
        ("capture.commit_bytes", config.capture.commit_bytes, config.capture.memory_bytes),
        ("capture.chunk_bytes", config.capture.chunk_bytes, config.capture.memory_bytes),
        ("apply.flush_bytes", config.apply.flush_bytes, config.apply.memory_bytes),
    ] {
        if bytes > memory {
            issues.push(ConfigIssue::new(
                key,
                format!("{bytes} bytes do not fit in the section's memory_bytes, {memory}"),
                "lower it, or raise memory_bytes",
            ));
        }
    }
    match TableSelection::new(config) {
        Ok(selection) => check_keys(&mut issues, config, &selection),
        Err(wrong) => issues.extend(wrong),
    }
    issues.extend(TableRules::new(config).err().unwrap_or_default());
    for (index, rule) in config.tables.iter().enumerate() {
        check_columns(&mut issues, index, rule);
    }
    issues
}

/// Whose topics are read, and which of them each rule is for.
fn check_origins(issues: &mut Vec<ConfigIssue>, config: &Config) {
    for (index, origin) in config.from.iter().enumerate() {
        let key = format!("from[{index}]");
        if *origin == config.name {
            let message = format!(
                "{origin} is this task itself: what it keeps in the destination would be mixed with that of the task it reads"
            );
            issues.push(ConfigIssue::new(key, message, "give this task a `name` of its own"));
        } else if config.from.iter().take(index).any(|earlier| earlier == origin) {
            issues.push(ConfigIssue::new(key, format!("{origin} is there already"), "name each task once"));
        }
    }
    for (index, rule) in config.tables.iter().enumerate() {
        // What is no pattern is told with the rules.
        let Ok(selector) = rule.source.parse::<TableSelector>() else { continue };
        let Some(task) = selector.task() else { continue };
        let (message, remedy) = if !config.is_apply_only() {
            let message = format!(
                "`{task}:` names a task whose topics are read, and this task has a source of its own"
            );
            (message, "remove it, or name the tasks in `from`")
        } else if config.from.iter().any(|origin| selector.is_of(origin)) {
            continue;
        } else {
            (
                format!("{task:?} is none of the tasks in `from`"),
                "add the task to `from`, or correct its name",
            )
        };
        issues.push(ConfigIssue::new(format!("table[{index}].source"), message, remedy));
    }
}

fn check_tls(issues: &mut Vec<ConfigIssue>, key: &str, tls: &TlsConfig) {
    let files = tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
    if tls.mode == TlsMode::Disable && files {
        issues.push(ConfigIssue::new(
            format!("{key}.mode"),
            "certificates are given, but encryption is off",
            "set mode = \"verify-full\", or remove the files",
        ));
    }
    if tls.cert.is_some() != tls.key.is_some() {
        issues.push(ConfigIssue::new(
            key,
            "a client certificate needs both cert and key",
            "give both or neither",
        ));
    }
}

fn check_listen(issues: &mut Vec<ConfigIssue>, key: &str, listen: &str) {
    if listen.parse::<SocketAddr>().is_err() {
        issues.push(ConfigIssue::new(
            key,
            format!("{listen:?} is not an address to listen on"),
            "write an IP address and a port, as in \"127.0.0.1:8081\" or \"0.0.0.0:0\"",
        ));
    }
}

/// A table in `capture.keys` that the task could never select would be passed over in silence.
fn check_keys(issues: &mut Vec<ConfigIssue>, config: &Config, selection: &TableSelection) {
    for table in config.capture.keys.keys() {
        let id = table.split_once('.').map(|(database, table)| TableId::new(database, table));
        if !id.is_some_and(|id| selection.selects(&id)) {
            issues.push(ConfigIssue::new(
                "capture.keys",
                format!("{table:?} is no table that this task selects"),
                "write it as database.table, as the source spells it, or take it out",
            ));
        }
    }
}

fn check_columns(issues: &mut Vec<ConfigIssue>, index: usize, rule: &TableRule) {
    let columns = &rule.columns;
    for (from, to) in &columns.rename {
        let key = format!("table[{index}].columns.rename.{from}");
        if columns.drop.contains(from) {
            issues.push(ConfigIssue::new(&key, "the column is dropped and renamed", "do one of the two"));
        }
        if to.is_empty() || to.len() > MAX_NAME_BYTES {
            let message = format!("{to:?} is not a column name: 1 to {MAX_NAME_BYTES} bytes");
            issues.push(ConfigIssue::new(&key, message, "choose a shorter name"));
        }
        if columns.rename.iter().any(|(other, name)| other != from && name == to) {
            let message = format!("two columns would be named {to:?}");
            issues.push(ConfigIssue::new(key, message, "give each column a name of its own"));
        }
    }
    for column in rule.constants.keys().filter(|column| column.is_empty() || column.len() > MAX_NAME_BYTES) {
        let message = format!("{column:?} is not a column name: 1 to {MAX_NAME_BYTES} bytes");
        let key = format!("table[{index}].constants.{column}");
        issues.push(ConfigIssue::new(key, message, "choose a shorter name"));
    }
    for (place, name) in rule.primary_key.iter().enumerate() {
        if rule.primary_key.iter().take(place).any(|earlier| earlier == name) {
            let key = format!("table[{index}].primary_key");
            issues.push(ConfigIssue::new(key, format!("{name:?} is there twice"), "name each column once"));
        }
    }
    if rule.distributed_by.as_ref().is_some_and(Vec::is_empty) {
        issues.push(ConfigIssue::new(
            format!("table[{index}].distributed_by"),
            "a distribution key has at least one column",
            "name the columns, or remove the key to distribute by the primary key",
        ));
    }
}

/// The keys that are set and that this version does not carry out.
#[must_use]
pub fn unsupported(config: &Config) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    let mut refuse = |set: bool, key: String, remedy: &str| {
        if set {
            issues.push(ConfigIssue::new(
                key,
                "this version of Tributary does not carry this out yet",
                remedy,
            ));
        }
    };
    refuse(
        config.topics.delivery == Delivery::AtLeastOnce,
        "topics.delivery".to_owned(),
        "use \"exactly-once\", on a broker with transactions",
    );
    refuse(config.topics.before == BeforeImages::Full, "topics.before".to_owned(), "use \"none\"");
    refuse(
        config.capture.start_at.is_some(),
        "capture.start_at".to_owned(),
        "remove it: the tables are then read from their beginning",
    );
    refuse(
        config.registry.url.is_some(),
        "registry.url".to_owned(),
        "remove it, and use the registry API that each service serves on its `listen` address",
    );
    for (index, rule) in config.tables.iter().enumerate() {
        refuse(rule.storage == Storage::Column, format!("table[{index}].storage"), "use \"heap\"");
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "name = \"t\"\nkafka.brokers = \"b\"\n[[table]]\nsource = \"shop.*\"\n";

    fn keys(issues: &[ConfigIssue]) -> Vec<&str> {
        issues.iter().map(|issue| issue.key.as_str()).collect()
    }

    #[test]
    fn a_minimal_file_is_valid_and_every_default_is_supported() {
        let config: Config = toml::from_str(MINIMAL).unwrap();
        assert_eq!(validate(&config), []);
        assert_eq!(unsupported(&config), []);
    }

    #[test]
    fn contradictions_are_reported_together() {
        let config: Config = toml::from_str(
            "name = \"t\"\nfrom = [\"eu\"]\nkafka.brokers = \"b\"\n\
             [source]\nhost = \"h\"\nuser = \"u\"\nheartbeat_ms = 20000\ntls = { ca = \"ca.pem\", cert = \"c.pem\" }\n\
             [capture]\nlisten = \"8081\"\ncommit_bytes = 999999999999\ncommit_interval_ms = 70000\n\
             [[table]]\nsource = \"shop.*\"\ndistributed_by = []\n\
             columns = { drop = [\"a\"], rename = { a = \"x\", b = \"x\" } }\n\
             constants = { s = \"{shop}\", t = \"{database:(}\", \"\" = \"x\" }\nprimary_key = [\"s\", \"s\"]\n",
        )
        .unwrap();
        let issues = validate(&config);
        assert_eq!(
            keys(&issues),
            [
                "from",
                "source.tls.mode",
                "source.tls",
                "source.read_deadline_ms",
                "capture.listen",
                "capture.transaction_timeout_ms",
                "capture.commit_bytes",
                "table[0].constants.s",
                "table[0].constants.t",
                "table[0].columns.rename.a",
                "table[0].columns.rename.a",
                "table[0].columns.rename.b",
                "table[0].constants.",
                "table[0].primary_key",
                "table[0].distributed_by",
            ]
        );
    }

    #[test]
    fn whose_topics_are_read_must_make_sense() {
        let told = |head: &str, source: &str| {
            let text =
                format!("name = \"t\"\n{head}\nkafka.brokers = \"b\"\n[[table]]\nsource = {source:?}\n");
            let config: Config = toml::from_str(&text).unwrap();
            keys(&validate(&config)).join(" ")
        };
        assert_eq!(told("from = [\"eu\", \"us\"]", "eu:shop.*"), "");
        assert_eq!(told("from = [\"eu\", \"us\"]", "*s:shop.*"), "");
        assert_eq!(told("from = [\"eu\", \"t\", \"eu\"]", "shop.*"), "from[1] from[2]");
        assert_eq!(told("from = [\"eu\"]", "us:shop.*"), "table[0].source");
        assert_eq!(told("", "eu:shop.*"), "table[0].source");
        assert_eq!(told("from = [\"eu\"]", "eu:shop"), "table[0].source", "once");
    }

    #[test]
    fn keys_of_tables_that_are_not_selected_are_told() {
        let with = |key: &str| {
            let text = MINIMAL.to_owned() + &format!("[capture.keys]\n\"{key}\" = \"uk\"\n");
            let config: Config = toml::from_str(&text).unwrap();
            keys(&validate(&config)).join(" ")
        };
        assert_eq!(
            (with("shop.t").as_str(), with("other.t").as_str(), with("t").as_str()),
            ("", "capture.keys", "capture.keys")
        );
    }

    #[test]
    fn what_is_not_built_yet_is_refused_by_name() {
        let config: Config = toml::from_str(
            "name = \"t\"\nkafka.brokers = \"b\"\nregistry.url = \"http://r\"\n\
             [topics]\nbefore = \"full\"\ndelivery = \"at-least-once\"\n\
             [capture]\nstart_at = \"x\"\n\
             [[table]]\nsource = \"shop.*\"\nstorage = \"column\"\n",
        )
        .unwrap();
        assert_eq!(
            keys(&unsupported(&config)),
            ["topics.delivery", "topics.before", "capture.start_at", "registry.url", "table[0].storage",]
        );
    }
}
