//! `make test` stops the servers that it started, and no other.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tributary_tests::servers::root;

/// Runs a script of `deploy/local` whose instances are those of `home` alone.
fn run(home: &Path, script: &str, arguments: &[&str]) -> Output {
    let command = Command::new(root().join("deploy/local").join(script))
        .args(arguments)
        .env("TRIBUTARY_LOCAL_HOME", home)
        .output();
    command.unwrap()
}

fn is_up(home: &Path, instance: &str) -> bool {
    run(home, "servers", &["--instance", instance, "status", "postgres"]).status.success()
}

#[test]
fn servers_that_a_command_started_are_stopped_behind_it_and_those_of_before_stay() {
    let home = std::env::temp_dir().join(format!("tributary-around-{}", std::process::id()));
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
    let installed =
        std::env::var("TRIBUTARY_LOCAL_HOME").unwrap_or_else(|_| "/var/lib/tributary-local".to_owned());
    std::os::unix::fs::symlink(Path::new(&installed).join("software"), home.join("software")).unwrap();
    let before = run(&home, "servers", &["--instance", "before", "up", "postgres"]);
    assert!(before.status.success(), "{}", String::from_utf8_lossy(&before.stderr));
    let servers = root().join("deploy/local/servers");
    let start = format!("{} --instance during up postgres >&2 && exit 7", servers.display());
    let around = run(&home, "around", &["sh", "-c", &start]);
    assert_eq!(around.status.code(), Some(7), "{}", String::from_utf8_lossy(&around.stderr));
    assert!(is_up(&home, "before") && !is_up(&home, "during"));
    run(&home, "servers", &["--instance", "before", "reset"]);
    std::fs::remove_dir_all(&home).unwrap();
}
