//! `run`, `status` and `drop` of one task.

use crate::servers::{SERVERS, database, sql};
use crate::{SOON, Task};
use tributary_tests::{free_port, wait_for};

fn status(task: &Task, listen: &str) -> Option<serde_json::Value> {
    let ended = task.capture(&["status", "--json", "--listen", listen]);
    (ended.status == 0).then(|| serde_json::from_str(&ended.stdout).unwrap())
}

#[test]
fn a_task_is_shown_protected_and_dropped() {
    database(
        &SERVERS,
        "commands_life",
        &["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE keyless (id INT)"],
    );
    sql(&SERVERS, &["INSERT INTO commands_life.t VALUES (1), (2), (3)"]);
    let task = Task::new(&SERVERS, "commands_life", &["commands_life.*"]);
    let listen = format!("127.0.0.1:{}", free_port());
    let mut running = task.start(&["--listen", &listen]);
    let document = wait_for("the task is synchronizing", SOON, || {
        status(&task, &listen).filter(|document| document["state"] == "synchronizing")
    });
    assert_eq!((&document["role"], &document["task"]), (&"leader".into(), &task.name.as_str().into()));
    // The address of the configuration has port 0: the leader's own is in the state topic.
    let people = task.capture(&["status"]);
    assert!(people.status == 0 && people.stdout.contains("commands_life.t "), "{people:?}");
    assert!(people.stdout.contains("excluded") && people.stdout.contains("has no primary key"), "{people:?}");
    let refused = task.capture(&["drop", "--yes"]);
    assert!(refused.status == 1 && refused.stderr.contains("the task is in use"), "{refused:?}");
    running.stop();

    let stopped = task.capture(&["status"]);
    assert_eq!(stopped.status, 1);
    assert!(stopped.stdout.contains("what is stored on Kafka"), "{stopped:?}");
    assert!(stopped.stdout.contains("3/3  100"), "{stopped:?}");
    let unasked = task.capture(&["drop"]);
    assert!(unasked.status == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(status(&task, &listen), None);
    let dropped = task.capture(&["drop", "--yes"]);
    assert_eq!(dropped.status, 0, "{dropped:?}");
    for topic in ["history", "state", "commands_life.t"] {
        assert!(dropped.stdout.contains(&format!("{}.{topic}\n", task.name)), "{dropped:?}");
    }
    wait_for("the topics are gone", SOON, || {
        let again = task.capture(&["drop", "--yes"]);
        again.stdout.starts_with("nothing to drop").then_some(())
    });
}

#[test]
fn a_partition_count_that_changes_is_refused() {
    database(&SERVERS, "commands_count", &["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let mut task = Task::new(&SERVERS, "commands_count", &["commands_count.t"]);
    let first = task.capture(&["run", "--until-caught-up"]);
    assert_eq!(first.status, 0, "{first:?}");
    let report = task.check();
    assert!(report.passed && report.get("task-state").1.contains("goes on at binlog."), "{report:?}");
    task.replace("partitions = 2", "partitions = 3");
    let second = task.capture(&["run", "--until-caught-up"]);
    assert_eq!(second.status, 1);
    assert!(second.stderr.contains("was created with 2 partitions, topics.partitions = 3"), "{second:?}");
    assert_eq!(task.check().failed(), ["topic-settings"]);
}

#[test]
fn strict_ends_a_run_that_would_leave_a_table_out() {
    database(
        &SERVERS,
        "commands_strict",
        &["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE keyless (id INT)"],
    );
    let mut task = Task::new(&SERVERS, "commands_strict", &["commands_strict.*"]);
    task.replace("[source]", "strict = true\n[source]");
    let ended = task.capture(&["run", "--until-caught-up"]);
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("primary-keys: table commands_strict.keyless"), "{ended:?}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let task = Task::new(&SERVERS, "commands_port", &["commands_port.t"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = task.capture(&["run", "--listen", &address]);
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("in use"), "{ended:?}");
}

#[test]
fn a_source_that_is_away_is_waited_for_and_shown() {
    let mut task = Task::new(&SERVERS, "commands_wait", &["commands_wait.t"]);
    let (port, listen) =
        (format!("port = {}", SERVERS.port("MYSQL_PORT")), format!("127.0.0.1:{}", free_port()));
    task.replace(&port, &format!("port = {}", free_port()));
    let at_once = task.capture(&["run"]);
    assert!(at_once.status == 1 && at_once.stderr.contains("source-reachable: connecting at"), "{at_once:?}");
    task.replace("retry_minutes = 0\n[kafka]", "retry_minutes = 60\n[kafka]");
    let mut running = task.start(&["--listen", &listen]);
    let document = wait_for("the task retries", SOON, || {
        status(&task, &listen).filter(|document| document["state"] == "retrying")
    });
    let error = document["retrying"]["error"].as_str().unwrap();
    assert!(error.contains("source-reachable: connecting at"), "{error}");
    // SIGTERM ends the waiting.
    running.stop();
}
