//! `check --print-grants`: the least that the source's account and Kafka's principal need. The configuration enters,
//! statements leave. Nothing is asked of a server, so that it can be run before there is an account. Pure.

use super::tables;
use std::fmt::Write;
use tributary_config::{Config, SourceConfig, TableSelector};
use tributary_schemas::printed::shell_word;
use tributary_source::chunk;

/// SQL for the source and commands for Kafka, with comments.
#[must_use]
pub(crate) fn print(config: &Config, source: &SourceConfig) -> String {
    let mut out = sql(config, source);
    out.push('\n');
    out.push_str(&acls(config));
    out
}

fn sql(config: &Config, source: &SourceConfig) -> String {
    let account = format!("{}@'%'", quote(&source.user));
    let mut out = String::from("-- MySQL: on the source, as an administrator\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '<password>';");
    let _ = writeln!(out, "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account};");
    let mut lines: Vec<String> = tables::included(config)
        .iter()
        .map(|selector| format!("GRANT SELECT ON {} TO {account};", sql_scope(selector)))
        .collect();
    lines.sort();
    lines.dedup();
    // What is granted on everything need not be granted again.
    if let Some(all) = lines.iter().find(|line| line.contains(" ON *.* ")).cloned() {
        lines = vec![all];
    }
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
    out.push_str(
        "-- only for a server with gtid_mode other than ON and older than 8.0.22, per database: GRANT LOCK TABLES\n",
    );
    out
}

/// The narrowest scope GRANT has for a pattern: it knows patterns of databases, but none of tables.
fn sql_scope(selector: &TableSelector) -> String {
    let text = selector.to_string();
    let (database, table) = text.split_once('.').unwrap_or((&text, "*"));
    if selector.is_exact() {
        return format!("{}.{}", chunk::quote(database), chunk::quote(table));
    }
    if database == "*" {
        return "*.*".to_owned();
    }
    let pattern = database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%").replace('*', "%");
    format!("{}.*", chunk::quote(&pattern))
}

fn acls(config: &Config) -> String {
    let task = config.name.as_str();
    let principal = config
        .kafka
        .client
        .get("sasl.username")
        .map_or("User:<principal>".to_owned(), |user| format!("User:{}", user.reveal()));
    let command = format!(
        "kafka-acls --bootstrap-server {} --add --allow-principal {}",
        shell_word(config.kafka.brokers.split(',').next().unwrap_or_default()),
        shell_word(&principal)
    );
    let mut out = String::from("# Kafka: capture\n");
    for line in [
        format!(
            "--operation Create --operation Describe --operation DescribeConfigs --operation Read --operation Write \
             --operation Delete --topic {task}. --resource-pattern-type prefixed"
        ),
        format!("--operation Read --operation Describe --group {task}.capture"),
        format!("--operation Write --operation Describe --transactional-id {task}"),
        format!(
            "--operation Write --operation Describe --transactional-id {task}. --resource-pattern-type prefixed"
        ),
    ] {
        let _ = writeln!(out, "{command} {line}");
    }
    out.push_str("# only for the list of who reads the topics, which otherwise has the groups that the account may describe:\n");
    let _ = writeln!(out, "{command} --operation Describe --group '*'");
    out.push_str(
        "# (Delete: for the probe topic of `check` and for `capture drop`; the prefixed id: for the probe)\n",
    );
    out
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(tail: &str) -> String {
        let head = "name = \"shop\"\nkafka.brokers = \"k1:9092,k2:9092\"\n[source]\nhost = \"h\"\nuser = \"o'reader\"\n";
        let config: Config = toml::from_str(&format!("{head}{tail}")).unwrap();
        print(&config, config.source.as_ref().unwrap())
    }

    #[test]
    fn grants_are_as_narrow_as_the_selection() {
        let text = printed(
            "[[table]]\nsource = \"shop.orders\"\n[[table]]\nsource = \"crm_*.people\"\n[[table]]\nsource = \"eu_1.*\"\n",
        );
        assert!(text.contains("GRANT SELECT ON `shop`.`orders` TO 'o''reader'@'%';\n"), "{text}");
        assert!(text.contains("GRANT SELECT ON `crm\\_%`.* TO "), "{text}");
        assert!(text.contains("GRANT SELECT ON `eu\\_1`.* TO "), "{text}");
        assert!(text.contains("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO "), "{text}");
        assert!(!text.contains("SELECT ON *.*"), "{text}");
    }

    #[test]
    fn everything_is_granted_once() {
        let text = printed("[[table]]\nsource = \"*.*\"\n[[table]]\nsource = \"shop.orders\"\n");
        assert_eq!(text.matches("GRANT SELECT").count(), 1);
        assert!(text.contains("GRANT SELECT ON *.* TO "), "{text}");
    }

    #[test]
    fn acls_cover_topics_group_and_transactions() {
        let text = printed("[kafka.client]\n\"sasl.username\" = \"cap\"\n[[table]]\nsource = \"a.b\"\n");
        let text = if text.contains("User:cap") { text } else { panic!("{text}") };
        for part in [
            "--bootstrap-server k1:9092 ",
            "--topic shop. --resource-pattern-type prefixed",
            "--group shop.capture",
            "--transactional-id shop\n",
            "--operation Describe --group '*'\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
