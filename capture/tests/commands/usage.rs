//! What is wrong before any server is asked: status 2, and words that lead to the mistake.

use crate::servers::SERVERS;
use crate::{Ended, Task, capture};

fn bare(arguments: &[&str]) -> Ended {
    capture(arguments).output().unwrap().into()
}

#[test]
fn an_unknown_key_is_answered_with_its_place_and_the_nearest_one() {
    let mut task = Task::new(&SERVERS, "commands_key", &["commands_key.t"]);
    task.replace("partitions = 2", "partitons = 2");
    for command in ["run", "check", "status", "drop"] {
        let ended = task.capture(&[command]);
        assert_eq!(ended.status, 2, "{command}: {ended:?}");
        assert!(ended.stderr.contains("toml:12"), "{ended:?}");
        assert!(
            ended.stderr.contains("partitons") && ended.stderr.contains("topics.partitions"),
            "{ended:?}"
        );
    }
    task.replace("partitons = 2", "partitions = 2");
}

#[test]
fn bad_usage_is_2_and_help_is_0() {
    for arguments in [&["run"][..], &["fly"], &[], &["check", "--config", "x", "--json", "--print-grants"]] {
        assert_eq!(bare(arguments).status, 2, "{arguments:?}");
    }
    assert_eq!(bare(&["--help"]).status, 0);
    assert_eq!(bare(&["check", "--config", "/nowhere.toml"]).status, 2);
}

#[test]
fn config_print_is_a_file_that_can_be_used() {
    let printed = bare(&["config", "print"]);
    assert_eq!(printed.status, 0);
    let config: tributary_config::Config = toml::from_str(&printed.stdout).unwrap();
    assert_eq!(config.topics, tributary_config::TopicsConfig::default());
}
