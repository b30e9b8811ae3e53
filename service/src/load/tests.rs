use super::*;

const FILE: &str = "\
name = \"shop\"

[source]
host = \"mysql\"
user = \"reader\"
password = { env = \"SOURCE_PASSWORD\" }

[kafka]
brokers = \"kafka:9092\"

[destination]
host = \"pg\"
database = \"dw\"
user = \"loader\"
password = { env = \"DESTINATION_PASSWORD\" }

[[table]]
source = \"shop.*\"
";

fn run(text: &str, variables: &[(&str, &str)], service: Service) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load_text(Path::new("etc/shop.toml"), text, &variables, service, &Overrides::default())
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let error = run(text, variables, Service::Capture).unwrap_err();
    error.to_string().lines().map(str::to_owned).collect()
}

/// [`FILE`] without references, with `extra` appended.
fn with(extra: &str) -> String {
    FILE.replace("password = { env = \"SOURCE_PASSWORD\" }\n", "")
        .replace("password = { env = \"DESTINATION_PASSWORD\" }\n", "")
        + extra
}

#[test]
fn a_service_reads_its_secrets_and_leaves_out_the_section_it_can_do_without() {
    let config = run(FILE, &[("SOURCE_PASSWORD", "s")], Service::Capture).unwrap();
    assert_eq!(config.source.unwrap().password.reveal(), "s");
    assert_eq!(config.destination, None);
    let error = run(FILE, &[("DESTINATION_PASSWORD", "d")], Service::Capture).unwrap_err();
    assert_eq!(
        error.to_string(),
        "etc/shop.toml:6: source.password: the environment variable SOURCE_PASSWORD is not set (set it)"
    );
    let both = [("SOURCE_PASSWORD", "s"), ("DESTINATION_PASSWORD", "d")];
    let config = run(FILE, &both, Service::Apply).unwrap();
    assert!(config.source.is_some() && config.destination.is_some());
}

#[test]
fn a_secret_may_lie_in_a_file_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("tributary-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("password"), "hunter2\n").unwrap();
    let path = folder.join("shop.toml");
    let text =
        with("").replace("user = \"reader\"\n", "user = \"reader\"\npassword = { file = \"password\" }\n");
    std::fs::write(&path, text).unwrap();
    let config = load(&path, Service::Capture, &Overrides { listen: Some("127.0.0.1:0".into()) }).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(config.source.unwrap().password.reveal(), "hunter2");
    assert_eq!(
        (config.capture.listen.as_str(), config.apply.listen.as_str()),
        ("127.0.0.1:0", "127.0.0.1:8082")
    );
    let missing = load(&path, Service::Capture, &Overrides::default()).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn unknown_keys_have_file_line_path_and_the_nearest_known_one() {
    let text = with("targt = \"x.y\"\n[capture]\nraeders = 4\nflush_rows = 1\nxyzzyx = 1\n[sourec]\n");
    assert_eq!(
        problems(&text, &[]),
        [
            "etc/shop.toml:17: table[0].targt: unknown key (did you mean table[].target?)",
            "etc/shop.toml:19: capture.raeders: unknown key (did you mean capture.readers?)",
            "etc/shop.toml:20: capture.flush_rows: unknown key (did you mean apply.flush_rows?)",
            "etc/shop.toml:21: capture.xyzzyx: unknown key (known here: listen, tables, exclude_columns, keys, readers, online_ddl_tables, start_at, chunk_bytes, commit_interval_ms, commit_bytes, transaction_timeout_ms, memory_bytes)",
            "etc/shop.toml:22: sourec: unknown key (did you mean source?)",
        ]
    );
}

#[test]
fn values_of_the_wrong_kind_have_a_line_and_are_reported_together() {
    let text = with(
        "operations = [\"insert\", \"updat\"]\n[topics]\npartitions = \"4\"\nbefore = \"ful\"\n[apply]\nlisten = 8082\n\
         flush_rows = 0\noperations = \"insert\"\n[capture]\nonline_ddl_tables = \"no\"\nreaders = { env = \"X\" }\n",
    );
    let found = problems(&text, &[]);
    let starts: Vec<&str> = found.iter().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "etc/shop.toml:17: table[0].operations[1]: \"updat\" is not one of \"insert\" | \"update\" | \"delete\" | \"alter\"; did you mean \"update\"?",
            "etc/shop.toml:19: topics.partitions: expected integer from 1 to 10000, found a string",
            "etc/shop.toml:20: topics.before: \"ful\" is not one of \"none\" | \"full\"; did you mean \"full\"?",
            "etc/shop.toml:22: apply.listen: expected string, found an integer",
            "etc/shop.toml:23: apply.flush_rows: 0 is not from 1 to 100000000",
            "etc/shop.toml:24: apply.operations: expected a list of \"insert\" | \"update\" | \"delete\" | \"alter\"",
            "etc/shop.toml:26: capture.online_ddl_tables: expected true or false, found a string",
            "etc/shop.toml:27: capture.readers: expected integer from 1 to 64, found a value of type table",
        ]
    );
}

#[test]
fn what_is_missing_is_named_in_the_section_that_lacks_it() {
    let found = problems("[source]\nport = 1\n[kafka]\n[destination]\n[[table]]\ntarget = \"a.b\"\n", &[]);
    let keys: Vec<&str> = found.iter().map(|line| line.split(" is missing").next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "etc/shop.toml:1: source.host:",
            "etc/shop.toml:1: source.user:",
            "etc/shop.toml:3: kafka.brokers:",
            "etc/shop.toml:4: destination.host:",
            "etc/shop.toml:4: destination.database:",
            "etc/shop.toml:4: destination.user:",
            "etc/shop.toml:5: table[0].source:",
            "etc/shop.toml: name:",
        ]
    );
    // Without [destination] capture is content, and apply is not.
    let text = "name = \"a\"\nkafka.brokers = \"b\"\nsource = { host = \"h\", user = \"u\" }\n[[table]]\nsource = \"a.*\"\n";
    assert!(run(text, &[], Service::Capture).is_ok());
    let error = run(text, &[], Service::Apply).unwrap_err().to_string();
    assert!(error.contains("destination.host: is missing"), "{error}");
}

#[test]
fn capture_has_nothing_to_do_in_a_task_that_reads_others() {
    let file = "name = \"lake\"\nfrom = [\"shop\"]\nkafka.brokers = \"b\"\n[destination]\nhost = \"h\"\ndatabase = \"d\"\n\
                user = \"u\"\n[[table]]\nsource = \"shop.*\"\n";
    assert!(run(file, &[], Service::Apply).unwrap().is_apply_only());
    let told = problems(file, &[]);
    assert_eq!(told.len(), 1, "no key of [source] is asked for: {told:?}");
    assert!(told.iter().all(|line| line.starts_with("etc/shop.toml:2: from: ")), "{told:?}");
    let told = problems(&file.replace("from = [\"shop\"]\n", ""), &[("TRIBUTARY__FROM", "eu,us")]);
    assert!(
        told.len() == 1 && told.iter().all(|line| line.starts_with("TRIBUTARY__FROM: from: ")),
        "{told:?}"
    );
    let own = problems(&file.replace("[\"shop\"]", "[]"), &[]);
    assert!(own.iter().any(|line| line.contains("source.host")), "{own:?}");
}

#[test]
fn problems_between_keys_and_unsupported_ones_have_lines_too() {
    let text = with("target = \"orders\"\n[topics]\nbefore = \"full\"\n[kafka.client]\nacks = 1\n");
    let found = problems(&text, &[]);
    assert!(
        found[0].starts_with("etc/shop.toml:17: table[0].target: \"orders\" is not a target"),
        "{found:?}"
    );
    assert!(found[1].starts_with("etc/shop.toml:19: topics.before: this version"), "{found:?}");
    assert!(found[2].starts_with("etc/shop.toml:21: kafka.client.acks: must not be set: "), "{found:?}");
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_lines() {
    let found = problems("name = \nname = \"x\"\n[kafka\n", &[]);
    assert!(found[0].starts_with("etc/shop.toml:1: not valid TOML"), "{found:?}");
}

#[test]
fn variables_win_over_the_file_by_kind() {
    let variables = [
        ("TRIBUTARY__SOURCE__PASSWORD", "{ not toml }"),
        ("TRIBUTARY__SOURCE__PORT", "3307"),
        ("TRIBUTARY__STRICT", "true"),
        ("TRIBUTARY__CAPTURE__TABLES", "shop.*, !shop.tmp_*"),
        ("TRIBUTARY__APPLY__OPERATIONS", "[\"insert\"]"),
        ("TRIBUTARY__TABLE__0__TARGET", "dw.{table}"),
        ("TRIBUTARY__TABLE__1__SOURCE", "crm.people"),
        ("TRIBUTARY__KAFKA__CLIENT__SASL__PASSWORD", "s"),
        ("TRIBUTARY__KAFKA__CLIENT__sasl.username", "u"),
        ("TRIBUTARY_LOCAL_HOME", "x"),
    ];
    let text = with("[kafka.client]\nsecurity.protocol = \"SASL_SSL\"\n\"socket.timeout.ms\" = 1000\n")
        .replace("user = \"reader\"\n", "user = \"reader\"\npassword = { env = \"NOWHERE\" }\n");
    let config = run(&text, &variables, Service::Capture).unwrap();
    let source = config.source.unwrap();
    assert_eq!(
        (source.password.reveal(), source.port, source.host.as_str()),
        ("{ not toml }", 3307, "mysql")
    );
    assert!(config.strict);
    assert_eq!(config.capture.tables, ["shop.*", "!shop.tmp_*"]);
    assert_eq!(config.apply.operations.len(), 1);
    let tables: Vec<_> =
        config.tables.iter().map(|table| (table.source.as_str(), table.target.as_deref())).collect();
    assert_eq!(tables, [("shop.*", Some("dw.{table}")), ("crm.people", None)]);
    let client: Vec<_> =
        config.kafka.client.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(
        client,
        [
            ("sasl.password", "s"),
            ("sasl.username", "u"),
            ("security.protocol", "SASL_SSL"),
            ("socket.timeout.ms", "1000")
        ]
    );
}

#[test]
fn variables_that_are_wrong_are_named() {
    let variables = [
        ("TRIBUTARY__SOURCE__PORTS", "1"),
        ("TRIBUTARY__SOURCE__PORT", "x"),
        ("TRIBUTARY__TABLE__3__SOURCE", "a.b"),
        ("TRIBUTARY__TOPICS__BEFORE", "full"),
    ];
    let found = problems(&with(""), &variables);
    let starts: Vec<&str> = found.iter().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "TRIBUTARY__SOURCE__PORT: source.port: expected integer from 1 to 65535, found a string",
            "TRIBUTARY__SOURCE__PORTS: source.ports: no such key",
            "TRIBUTARY__TABLE__3__SOURCE: table[3]: there is no [[table]] number 1",
        ]
    );
    assert!(found[1].ends_with("(did you mean TRIBUTARY__SOURCE__PORT?)"));
    let found = problems(&with(""), &[("TRIBUTARY__TOPICS__BEFORE", "full")]);
    assert!(found[0].starts_with("TRIBUTARY__TOPICS__BEFORE: topics.before: this version"), "{found:?}");
}

#[test]
fn what_config_print_prints_can_be_loaded() {
    for service in [Service::Capture, Service::Apply] {
        run(&crate::keys::print(), &[], service).unwrap();
    }
}

#[test]
fn certificates_are_found_beside_the_file_and_failures_exit_with_usage() {
    let text = with("").replace(
        "user = \"reader\"\n",
        "user = \"reader\"\ntls = { mode = \"verify-ca\", ca = \"ca.pem\" }\n",
    );
    let config = run(&text, &[], Service::Capture).unwrap();
    assert_eq!(config.source.unwrap().tls.ca.unwrap(), Path::new("etc/ca.pem"));
    let failure = Failure::from(run("x = 1", &[], Service::Capture).unwrap_err());
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.render(false).contains("etc/shop.toml:1: x: unknown key"));
}
