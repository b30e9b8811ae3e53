//! `--print-grants`: exactly what apply needs in the destination and on Kafka. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;
use tributary_config::{Config, DestinationConfig, TargetSchemas};
use tributary_schemas::printed::{line, shell_word};
use tributary_warehouse::merge::names::{TargetName, identifier, literal, quote};
use tributary_warehouse::merge::operations::Operations;
use tributary_warehouse::tables::task::Planned;

/// SQL and ACLs. `schemas` is what the `[[table]]` rules say; `planned` is what the history adds, and empty while capture
/// has not written it.
pub(crate) fn print(
    config: &Config,
    destination: &DestinationConfig,
    schemas: &TargetSchemas,
    planned: &[Planned],
) -> String {
    let (user, database) = (quote(&destination.user), quote(&destination.database));
    let bookkeeping = identifier(&destination.schema);
    let tasks = || planned.iter().filter_map(|(_, task)| task.as_ref().ok());
    let known = tasks().map(|task| task.target.schema.as_str());
    let named: BTreeSet<&str> = known.chain(schemas.named.iter().map(String::as_str)).collect();
    let mut out = String::from("-- destination: as an administrator, in the database itself\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "CREATE ROLE {user} LOGIN PASSWORD '<password>';  -- unless it exists");
    let _ = writeln!(out, "GRANT CONNECT ON DATABASE {database} TO {user};");
    let _ = writeln!(out, "-- offsets, marks and staging tables");
    let _ = writeln!(out, "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {user};", quote(&bookkeeping));
    let _ = writeln!(out, "-- target tables that apply creates belong to it; it needs nothing else for them");
    for schema in named {
        let schema = quote(schema);
        let _ = writeln!(out, "CREATE SCHEMA IF NOT EXISTS {schema};");
        let _ = writeln!(out, "GRANT USAGE, CREATE ON SCHEMA {schema} TO {user};");
    }
    if !schemas.open.is_empty() {
        let rules: Vec<String> = schemas.open.iter().map(|source| format!("{source:?}")).collect();
        let _ = writeln!(
            out,
            "-- the schemas of {} are named after what the pattern matches, now or later: apply creates those that are not \
             there.\n-- To do without this grant, create each of them beforehand, as above; tables wait, parked, until then.",
            rules.join(", ")
        );
        let _ = writeln!(out, "GRANT CREATE ON DATABASE {database} TO {user};");
    }
    let _ = writeln!(
        out,
        "-- only for target tables that exist and belong to another role: the first for their rows, the second for DDL, re-reads and \
         statistics as well"
    );
    for task in tasks() {
        for statement in on_target(&task.name, &task.target, task.operations, &user) {
            let _ = writeln!(out, "--   {statement}");
        }
    }
    let acl = |operations: &[&str], resource: &str| {
        let operations: String = operations.iter().map(|name| format!(" --operation {name}")).collect();
        format!(
            "kafka-acls --bootstrap-server {} --add --allow-principal 'User:<principal>'{operations} {resource}",
            shell_word(&config.kafka.brokers)
        )
    };
    let _ = writeln!(out, "\n# Kafka: apply");
    for task in config.origins() {
        let topics = format!("--topic {task}. --resource-pattern-type prefixed");
        let _ = writeln!(out, "{}", acl(&["Read", "Describe"], &topics));
    }
    let name = config.name.as_str();
    if config.is_apply_only() {
        // The identity of the destination stands behind it; `apply drop` removes the group.
        let groups = format!("--group {name}. --resource-pattern-type prefixed");
        let _ = writeln!(out, "{}", acl(&["Read", "Describe", "Delete"], &groups));
    } else {
        let _ = writeln!(out, "{}", acl(&["Read", "Describe"], &format!("--group {name}")));
    }
    out
}

/// The rest of a comment: a name with a line feed would end it, and what follows would run as the administrator.
fn on_target(table: &str, target: &TargetName, operations: Operations, user: &str) -> [String; 2] {
    let name = literal(&target.to_string());
    let mut privileges = operations.privileges();
    if operations.delete {
        privileges.push("TRUNCATE");
    }
    [
        format!("GRANT {} ON {target} TO {user};", privileges.join(", ")),
        format!("ALTER TABLE {target} OWNER TO {user};"),
    ]
    .map(|sql| line(&format!("{table}: {sql}  -- if to_regclass({name}) is not null")).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_config::TableRules;

    fn grants(config: &Config) -> String {
        let schemas = TableRules::new(config).unwrap().schemas(config.origins());
        print(config, config.destination.as_ref().unwrap(), &schemas, &[])
    }

    #[test]
    fn before_the_history_exists_the_rules_name_the_schemas() {
        let text = |tables: &str| {
            let head = "name = \"shop\"\nkafka.brokers = \"b:9092\"\n[destination]\nhost = \"h\"\ndatabase = \"dw\"\n\
                        user = \"loader\"\n";
            grants(&toml::from_str(&format!("{head}{tables}")).unwrap())
        };
        let exact = text(
            "[[table]]\nsource = \"crm.*\"\n[[table]]\nsource = \"eu_*.*\"\ntarget = \"d\\\"w.{table}\"\n",
        );
        for schema in ["\"crm\"", "\"d\"\"w\""] {
            assert!(
                exact.contains(&format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO \"loader\";")),
                "{exact}"
            );
        }
        let grant = "GRANT CREATE ON DATABASE \"dw\" TO \"loader\";";
        assert!(!exact.contains(grant), "{exact}");
        // A newline in a pattern must not end the comment that it stands in.
        let open = text("[[table]]\nsource = \"eu_*.*\"\n[[table]]\nsource = \"x*\\n; DROP.y\"\n");
        assert!(open.contains(grant) && !open.contains("\n; DROP"), "{open}");
    }

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let hostile = "orders\nCREATE TABLE pwned (a int); --\r\u{2028}";
        let (table, target) = (format!("shop.{hostile}"), TargetName::new("shop", hostile));
        for text in on_target(&table, &target, Operations::ALL, "\"u\"") {
            assert!(!text.contains(['\n', '\r', '\u{2028}']) && text.contains("orders\\nCREATE"), "{text}");
        }
    }

    #[test]
    fn the_group_and_the_prefix_are_the_task() {
        let config: Config = toml::from_str(
            "name = \"shop\"\nkafka.brokers = \"b:9092\"\n[destination]\nhost = \"h\"\ndatabase = \"dw\"\n\
             user = \"lo\\\"ader\"\n[[table]]\nsource = \"a.*\"\n",
        )
        .unwrap();
        let text = grants(&config);
        assert!(
            text.contains("--group shop\n")
                && text.contains("--topic shop. --resource-pattern-type prefixed")
        );
        assert!(text.contains("AUTHORIZATION \"lo\"\"ader\";"), "{text}");
        let copy =
            grants(&Config { name: "copy".parse().unwrap(), from: vec![config.name.clone()], ..config });
        assert!(copy.contains("--topic shop. ") && !copy.contains("--topic copy"), "{copy}");
        assert!(copy.contains("--group copy. --resource-pattern-type prefixed"), "{copy}");
    }
}
