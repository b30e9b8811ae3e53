//! `--print-grants`: exactly what apply needs in the destination and on Kafka. Pure.

use crate::commands::task::Planned;
use crate::merge::names::{identifier, literal, quote};
use std::collections::BTreeSet;
use std::fmt::Write;
use tributary_schemas::config::{Config, DestinationConfig};

/// SQL and ACLs. `planned` is empty while capture has not written the history.
pub(super) fn print(config: &Config, destination: &DestinationConfig, planned: &[Planned]) -> String {
    let (user, database) = (quote(&destination.user), quote(&destination.database));
    let bookkeeping = identifier(&destination.schema);
    let tasks = || planned.iter().filter_map(|(_, task)| task.as_ref().ok());
    let schemas: BTreeSet<&str> = tasks().map(|task| task.target.schema.as_str()).collect();
    let mut out = String::from("-- destination: as an administrator, in the database itself\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "CREATE ROLE {user} LOGIN PASSWORD '<password>';  -- unless it exists");
    let _ = writeln!(out, "GRANT CONNECT ON DATABASE {database} TO {user};");
    let _ = writeln!(out, "-- offsets, marks and staging tables");
    let _ = writeln!(out, "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {user};", quote(&bookkeeping));
    let _ = writeln!(out, "-- target tables that apply creates belong to it; it needs nothing else for them");
    if schemas.is_empty() {
        let _ = writeln!(
            out,
            "-- (capture has not written the history yet: print this again to see the schemas)"
        );
    }
    for schema in schemas {
        let schema = quote(schema);
        let _ = writeln!(out, "CREATE SCHEMA IF NOT EXISTS {schema};");
        let _ = writeln!(out, "GRANT USAGE, CREATE ON SCHEMA {schema} TO {user};");
    }
    let _ = writeln!(
        out,
        "-- only for target tables that exist and belong to another role; the owner is needed for DDL"
    );
    for task in tasks() {
        let name = literal(&format!("{}", task.target));
        let _ = writeln!(
            out,
            "--   {}: GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO {user};  -- if to_regclass({name}) is not null",
            task.id, task.target
        );
    }
    let acl = |operations: &[&str], resource: &str| {
        let operations: String = operations.iter().map(|name| format!(" --operation {name}")).collect();
        format!(
            "kafka-acls --bootstrap-server {} --add --allow-principal 'User:<principal>'{operations} {resource}",
            config.kafka.brokers
        )
    };
    let task = config.name.as_str();
    let _ = writeln!(out, "\n# Kafka: apply");
    let topics = format!("--topic {task}. --resource-pattern-type prefixed");
    let _ = writeln!(out, "{}", acl(&["Read", "Describe"], &topics));
    let _ = writeln!(out, "{}", acl(&["Read", "Describe"], &format!("--group {task}")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_and_the_prefix_are_the_task() {
        let config: Config = toml::from_str(
            "name = \"shop\"\nkafka.brokers = \"b:9092\"\n[destination]\nhost = \"h\"\ndatabase = \"dw\"\n\
             user = \"lo\\\"ader\"\n[[table]]\nsource = \"a.*\"\n",
        )
        .unwrap();
        let text = print(&config, config.destination.as_ref().unwrap(), &[]);
        assert!(
            text.contains("--group shop\n")
                && text.contains("--topic shop. --resource-pattern-type prefixed")
        );
        assert!(text.contains("AUTHORIZATION \"lo\"\"ader\";"), "{text}");
    }
}
