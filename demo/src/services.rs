//! `capture` and `apply` as child processes: addresses enter, a config file, two processes, their logs and files with
//! their process ids leave. Invariant: whatever runs has such a file, so that a later demo, or `demo down`, can end
//! it even if this one is killed.

use crate::error::DemoError;
use crate::servers::Addresses;
use crate::shop;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The two, in the order in which they start.
pub const NAMES: [&str; 2] = ["capture", "apply"];
/// Where people expect them; others are taken if these are in use.
const PREFERRED_PORTS: [u16; 2] = [8081, 8082];
/// How long a service may take to end in good order.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 15;

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    /// `capture` or `apply`.
    pub name: &'static str,
    /// Where its page is.
    pub address: SocketAddr,
    /// Its output.
    pub log: PathBuf,
    child: Child,
    pid_file: PathBuf,
}

/// Chooses where the two listen.
pub fn choose_addresses() -> Result<[SocketAddr; 2], DemoError> {
    let mut chosen = Vec::new();
    // Both are held until both are chosen, so that they differ.
    for port in PREFERRED_PORTS {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        chosen.push(bind(port).or_else(|_| bind(0)).map_err(DemoError::io("listen on", "127.0.0.1"))?);
    }
    let address = |listener: Option<&TcpListener>| {
        listener
            .map_or_else(|| Err(io::Error::other("no listener")), TcpListener::local_addr)
            .map_err(DemoError::io("listen on", "127.0.0.1"))
    };
    Ok([address(chosen.first())?, address(chosen.get(1))?])
}

/// The configuration of both services.
pub fn config(addresses: &Addresses, listen: [SocketAddr; 2]) -> String {
    let Addresses {
        mysql_host,
        mysql_port,
        mysql_reader_password,
        kafka_brokers,
        warehouse_host,
        warehouse_port,
        warehouse_database,
        warehouse_user,
        warehouse_password,
        ..
    } = addresses;
    let [capture, apply] = listen;
    let database = shop::DATABASE;
    format!(
        r#"# Written by `make demo` for this run.
name = "demo"

[source]
host = "{mysql_host}"
port = {mysql_port}
user = "reader"
password = "{mysql_reader_password}"

[kafka]
brokers = "{kafka_brokers}"

[destination]
host = "{warehouse_host}"
port = {warehouse_port}
database = "{warehouse_database}"
user = "{warehouse_user}"
password = "{warehouse_password}"

[capture]
listen = "{capture}"

[apply]
listen = "{apply}"

[[table]]
source = "{database}.*"
"#
    )
}

impl Service {
    /// Starts `binaries/NAME run --config CONFIG`.
    pub fn start(
        name: &'static str,
        address: SocketAddr,
        binaries: &Path,
        config: &Path,
    ) -> Result<Self, DemoError> {
        let directory = config.parent().unwrap_or(Path::new("."));
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).map_err(DemoError::io("write", &log))?;
        let errors = output.try_clone().map_err(DemoError::io("write", &log))?;
        let binary = binaries.join(name);
        let child = Command::new(&binary)
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C is for the demo, which then ends it; and what is kept must not end with the terminal's next Ctrl-C.
            .process_group(0)
            .spawn()
            .map_err(DemoError::io("run", &binary))?;
        let pid_file = directory.join(format!("{name}.pid"));
        let pid = child.id().unwrap_or_default();
        fs::write(&pid_file, format!("{pid}\n")).map_err(DemoError::io("write", &pid_file))?;
        Ok(Self { name, address, log, child, pid_file })
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait().map_err(DemoError::io("wait for", self.name))? {
            None => Ok(()),
            Some(status) => Err(DemoError::Died {
                service: self.name,
                status: status.to_string(),
                log: self.log.clone(),
                lines: last_lines(&self.log),
            }),
        }
    }

    /// Ends it with SIGTERM, or by force if it does not hear.
    pub async fn stop(&mut self) -> Result<(), DemoError> {
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::TERM);
            if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
                self.child.kill().await.map_err(DemoError::io("end", self.name))?;
            }
        }
        remove(&self.pid_file)
    }
}

/// Ends the services that another demo left running in `directory`, and returns their names.
pub async fn stop_left(directory: &Path) -> Result<Vec<&'static str>, DemoError> {
    let mut stopped = Vec::new();
    for name in NAMES {
        let pid_file = directory.join(format!("{name}.pid"));
        let Ok(text) = fs::read_to_string(&pid_file) else { continue };
        if let Ok(pid) = text.trim().parse::<u32>()
            && is_ours(pid, directory)
        {
            let asked = Instant::now();
            signal(pid, Signal::TERM);
            while is_ours(pid, directory) {
                if asked.elapsed() > GRACE {
                    signal(pid, Signal::KILL);
                }
                tokio::time::sleep(POLL).await;
            }
            stopped.push(name);
        }
        remove(&pid_file)?;
    }
    Ok(stopped)
}

/// A process id may be another process's by now: ours names the config file.
fn is_ours(pid: u32, directory: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let config = config_path(directory).into_os_string().into_encoded_bytes();
    command.split(|byte| *byte == 0).any(|argument| argument == config)
}

/// The config file below `directory`.
pub fn config_path(directory: &Path) -> PathBuf {
    directory.join("demo.toml")
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // One that ended a moment ago has what was wanted.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

fn remove(file: &Path) -> Result<(), DemoError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DemoError::io("remove", file)(error)),
        _ => Ok(()),
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.get(from..).unwrap_or_default().iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::config::{Config, unsupported, validate};

    #[test]
    fn the_config_is_one_that_the_services_accept() {
        let addresses = crate::servers::tests::sample();
        let listen = choose_addresses().unwrap();
        assert_ne!(listen[0], listen[1]);
        let config: Config = toml::from_str(&config(&addresses, listen)).unwrap();
        assert_eq!(validate(&config), []);
        assert_eq!(unsupported(&config), []);
        assert_eq!(config.source.unwrap().password.reveal(), "s=e");
    }

    /// One test, because a script that is being written while another test forks cannot be run.
    #[tokio::test]
    async fn services_are_watched_and_ended() {
        a_service_that_ends_shows_the_end_of_its_log().await;
        what_an_earlier_demo_left_is_ended_and_nothing_else().await;
    }

    async fn a_service_that_ends_shows_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        script(directory.path(), "seq 100; echo 'no such table' >&2; exit 2");
        let mut service = start(directory.path());
        let deadline = Instant::now() + Duration::from_secs(20);
        let error = loop {
            match service.check() {
                Ok(()) => assert!(Instant::now() < deadline, "it does not end"),
                Err(error) => break error.to_string(),
            }
            tokio::task::yield_now().await;
        };
        assert!(error.contains("exit status: 2") && error.contains("no such table"), "{error}");
        assert!(error.contains("  100\n") && !error.contains("  50\n"), "{error}");
    }

    async fn what_an_earlier_demo_left_is_ended_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        // A FIFO that is open for writing too is never at its end.
        script(directory.path(), "mkfifo \"$0.fifo\" && read -r line <>\"$0.fifo\"");
        let mut left = start(directory.path());
        // The command line appears a moment after the process.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_ours(left.pid().unwrap(), directory.path()) {
            assert!(Instant::now() < deadline, "it does not start");
            tokio::task::yield_now().await;
        }
        // A process id that belongs to somebody else by now: this test's own.
        let other = directory.path().join("apply.pid");
        fs::write(&other, format!("{}\n", std::process::id())).unwrap();
        let waiting = tokio::spawn(async move { left.child.wait().await });
        assert_eq!(stop_left(directory.path()).await.unwrap(), ["capture"]);
        assert!(!waiting.await.unwrap().unwrap().success());
        assert!(!other.exists());
        assert_eq!(stop_left(directory.path()).await.unwrap(), [""; 0]);
    }

    fn script(directory: &Path, body: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("capture");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn start(directory: &Path) -> Service {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Service::start("capture", address, directory, &config_path(directory)).unwrap()
    }
}
