//! A task of its own for each test: name, database, schema and configuration, and its processes.

use crate::process::Process;
use crate::servers::{Servers, root};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A task.
#[derive(Debug)]
pub struct Task {
    /// Its name; the source database and the target schema have the same.
    pub name: String,
    /// The servers it runs on.
    pub servers: Servers,
    directory: PathBuf,
    /// Configuration file.
    pub config: PathBuf,
    started: AtomicU32,
}

/// How long a run until caught up may take in a test.
pub const RUN: Duration = Duration::from_secs(240);

impl Task {
    /// A task on the shared servers that replicates every table of its database. `extra` is TOML that goes behind the
    /// sections; `[capture]` and `[apply]` keys go through [`Task::with`].
    #[must_use]
    pub fn new(test: &str) -> Self {
        Self::with(test, Servers::shared(), |config| config)
    }

    /// A task whose configuration text is changed before it is written.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn with(test: &str, servers: &Servers, change: impl Fn(String) -> String) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{test}_{:x}", since.as_millis() & 0xffff_ffff);
        let directory = root().join("target/tests").join(&name);
        std::fs::create_dir_all(&directory).expect("the test's folder can be made");
        let config = directory.join("task.toml");
        let text = format!(
            r#"name = "{name}"

{source}retry_minutes = 2

{kafka}retry_minutes = 2

[topics]
partitions = 4

{destination}retry_minutes = 2

[capture]
listen = "127.0.0.1:0"

[apply]
listen = "127.0.0.1:0"

[[table]]
source = "{name}.*"
"#,
            source = servers.section("source"),
            kafka = servers.section("kafka"),
            destination = servers.section("destination"),
        );
        std::fs::write(&config, change(text)).expect("the configuration can be written");
        Self { name, servers: servers.clone(), directory, config, started: AtomicU32::new(0) }
    }

    /// A task that reads the topics of `origins` and has no source of its own; it writes into `database`, which is made if
    /// need be. `rules` are its `[[table]]`, and other keys before them.
    ///
    /// # Panics
    /// If the database or the files cannot be made.
    pub async fn reading(test: &str, origins: &[&Self], database: &str, rules: &str) -> Self {
        let servers = origins.first().expect("there is a task to be read").servers.clone();
        servers.make_database(database).await;
        let from: Vec<String> = origins.iter().map(|origin| format!("{:?}", origin.name)).collect();
        let own = format!("database = {:?}", servers.get("PG_DATABASE"));
        let destination = servers.section("destination").replace(&own, &format!("database = {database:?}"));
        Self::with(test, &servers.in_database(database), |text| {
            let name = text.lines().next().unwrap_or_default();
            format!(
                "{name}\nfrom = [{}]\n\n{}retry_minutes = 2\nsession_timeout_ms = 6000\n\n{destination}retry_minutes = 2\n\n\
                 [apply]\nlisten = \"127.0.0.1:0\"\n{rules}\n",
                from.join(", "),
                servers.section("kafka"),
            )
        })
    }

    /// Starts `program` with a command and this task's configuration.
    #[must_use]
    pub fn start(&self, program: &str, command: &[&str]) -> Process {
        let (arguments, log) = self.invocation(program, command);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(program, &arguments, log)
    }

    /// As [`Task::start`], with the program that can be broken on purpose.
    #[must_use]
    pub fn sabotaged(&self, program: &str, command: &[&str], directives: &str) -> Process {
        let (arguments, log) = self.invocation(program, command);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::sabotaged(program, &arguments, directives, log)
    }

    fn invocation(&self, program: &str, command: &[&str]) -> (Vec<String>, PathBuf) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let config = self.config.to_string_lossy().into_owned();
        // What asks a person before it empties a target is answered.
        let asks = command.contains(&"--clear") && !command.contains(&"--yes");
        let answer = asks.then(|| "--yes".to_owned());
        let arguments = command.iter().map(|&word| word.to_owned()).chain(answer);
        let arguments = arguments.chain(["--config".to_owned(), config]);
        (arguments.collect(), self.directory.join(format!("{number:03}-{program}.log")))
    }

    /// `capture run`.
    #[must_use]
    pub fn capture(&self) -> Process {
        self.start("capture", &["run"])
    }

    /// `apply run`.
    #[must_use]
    pub fn apply(&self) -> Process {
        self.start("apply", &["run"])
    }

    /// Runs `capture run --until-caught-up`, then `apply run --until-caught-up`.
    pub fn catch_up(&self) {
        self.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
        self.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    }
}
