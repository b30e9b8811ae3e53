//! Lines that go silent between the services and their servers, and forget the connections that there were.

use crate::eventually;
use crate::load::Writer;
use crate::oracle::{destination_rows, source_rows};
use crate::process::Process;
use crate::proxy::Proxy;
use crate::servers::Servers;
use crate::task::{RUN, Task};
use std::time::{Duration, Instant};

/// How long the services may take to be in step again after a silence: 30 s are promised, and the machine is busy.
const BACK: Duration = Duration::from_secs(60);
/// How long a service may take to end on SIGTERM: 10 s, and a little.
const ENDS: Duration = Duration::from_secs(12);

/// A line to each server.
#[derive(Debug)]
pub struct Lines {
    mysql: Proxy,
    kafka: Proxy,
    postgres: Proxy,
}

impl Lines {
    /// Has Kafka say that it is where the line begins: clients go there.
    ///
    /// # Panics
    /// If a server does not run.
    #[must_use]
    pub fn before(servers: &Servers) -> Self {
        let to = |name: &str| Proxy::start(servers.port(name));
        let kafka = Proxy::start_behind(|port| servers.up_behind(port));
        Self { mysql: to("MYSQL_PORT"), kafka, postgres: to("PG_PORT") }
    }

    /// A task that goes over the lines.
    #[must_use]
    pub fn task(&self, name: &str, servers: &Servers) -> Task {
        let port = |text: &str, name: &str, proxy: &Proxy| {
            text.replace(&format!("port = {}\n", servers.get(name)), &format!("port = {}\n", proxy.port()))
        };
        Task::with(name, servers, |config| {
            let config = port(&config, "MYSQL_PORT", &self.mysql);
            let brokers = format!("127.0.0.1:{}", self.kafka.port());
            port(&config, "PG_PORT", &self.postgres)
                .replace(servers.get("KAFKA_BROKERS"), &brokers)
                .replace("retry_minutes = 2\n", "retry_minutes = 10\n")
                .replace("[capture]\n", "[capture]\nchunk_bytes = 65536\nreaders = 2\n")
        })
    }

    /// Each line, under the name by which the services speak of its server.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, &Proxy); 3] {
        [("the source", &self.mysql), ("the destination", &self.postgres), ("Kafka", &self.kafka)]
    }

    /// Has every line say nothing.
    pub fn silence(&self) {
        self.all().iter().for_each(|(_, line)| line.silence());
    }

    /// Has every line carry again what is connected from now on.
    pub fn forget(&self) {
        self.all().iter().for_each(|(_, line)| line.forget());
    }
}

/// Leaves the line to `whom` silent for a while over which there is always something to wait for, and expects both
/// services to say whom they wait for, to live, and to be in step soon after the line has forgotten them.
///
/// # Panics
/// If it does not come to that.
pub async fn live_through(
    task: &Task,
    (capture, apply): (&mut Process, &mut Process),
    (whom, line): (&str, &Proxy),
    silent: Duration,
) {
    let beat = Some(Duration::from_millis(100));
    let writer = Writer::paced(&task.servers, &task.name, "a", 120_000, (1, beat), 5);
    line.silence();
    let (mut shown, until) = (false, Instant::now() + silent);
    while Instant::now() < until {
        for process in [&mut *capture, &mut *apply] {
            assert!(process.is_running(), "ended while {whom} was silent:\n{}", process.output());
            let status = process.status();
            shown |= names(&status.unwrap_or_else(|| panic!("no status:\n{}", process.output())), whom);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(shown, "nobody says that {whom} is waited for");
    line.forget();
    let began = Instant::now();
    writer.stop().await;
    let expected = source_rows(task, "a").await;
    let what = format!("in step after {whom} was silent for {} s", silent.as_secs());
    eventually(&what, BACK, || async { destination_rows(task, "a").await == expected }).await;
    println!("{what}: within {} s", began.elapsed().as_secs());
    for process in [capture, apply] {
        process.expect_state("synchronizing", RUN);
    }
}

/// True if a wait of the status is for `whom`.
fn names(status: &serde_json::Value, whom: &str) -> bool {
    let waits = status["waits"].as_array().cloned().unwrap_or_default();
    waits.iter().any(|wait| wait["what"].as_str().is_some_and(|what| what.contains(whom)))
}

/// Has both services end while every line is silent.
///
/// # Panics
/// If one does not, with status 0.
pub fn end_in_silence(lines: &Lines, (capture, apply): (&mut Process, &mut Process)) {
    lines.silence();
    for process in [&*capture, &*apply] {
        process.signal("TERM");
    }
    for process in [capture, apply] {
        process.expect_exit(0, ENDS);
    }
    lines.forget();
}
