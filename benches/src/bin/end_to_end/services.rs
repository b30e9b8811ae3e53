//! `capture` and `apply` as child processes: a configuration enters, CPU time and peak memory of each leave. Invariant:
//! none outlives the benchmark.

use crate::servers::Servers;
use crate::sysbench::DATABASE;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tributary_benches::Result;
use tributary_service::Service as Role;
use tributary_tests::servers::root;

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);
/// How often it is asked for its state.
const STATE_POLL: Duration = Duration::from_millis(20);

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Largest resident set.
    pub peak_megabytes: f64,
}

/// A running service; killed when dropped.
pub(crate) struct Service {
    name: &'static str,
    pid: libc::pid_t,
    log: PathBuf,
    ended: Option<Usage>,
    asked_to_end: bool,
}

/// A task with its configuration.
pub(crate) struct Task {
    /// Its name, with which its topics' names begin; letters only, because all else is escaped there.
    pub name: &'static str,
    /// Schema in the warehouse.
    pub schema: String,
    config: PathBuf,
}

impl Task {
    /// Writes the configuration of a task that replicates sysbench's tables into `schema`; all else as it is by default.
    pub(crate) fn new(name: &'static str, schema: &str, servers: &Servers) -> Result<Self> {
        Self::of(name, DATABASE, schema, servers)
    }

    /// The same, of all tables of a database.
    pub(crate) fn of(name: &'static str, database: &str, schema: &str, servers: &Servers) -> Result<Self> {
        let directory = root().join("target/bench");
        std::fs::create_dir_all(&directory)?;
        let config = directory.join(format!("{name}.toml"));
        let text = format!(
            r#"name = "{name}"

{}
{}
{}
[capture]
listen = "127.0.0.1:0"

[apply]
listen = "127.0.0.1:0"

[[table]]
source = "{database}.*"
target = "{schema}.{{table}}"
"#,
            servers.section("source"),
            servers.section("kafka"),
            servers.section("destination"),
        );
        std::fs::write(&config, text)?;
        Ok(Self { name, schema: schema.to_owned(), config })
    }

    /// Starts `name run`, a binary that lies beside this one.
    pub(crate) fn start(&self, name: &'static str, arguments: &[&str]) -> Result<Service> {
        let this = std::env::current_exe()?;
        let program = this.parent().unwrap_or(Path::new(".")).join(name);
        let log = self.config.with_file_name(format!("{}-{name}.log", self.name));
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&self.config).args(arguments);
        Service::spawn(name, log, command)
    }
}

impl Service {
    /// Starts a process whose output goes to `log`.
    pub(crate) fn spawn(name: &'static str, log: PathBuf, mut command: Command) -> Result<Self> {
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| format!("cannot run {command:?}: {error}"))?;
        Ok(Self { name, pid: child.id().try_into()?, log, ended: None, asked_to_end: false })
    }

    /// What it took, once it has ended with status 0; `None` while it runs.
    pub(crate) fn poll(&mut self) -> Result<Option<Usage>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let mut status = 0;
        #[allow(unsafe_code, reason = "the standard library's wait tells nothing of time and memory")]
        // SAFETY: both pointers are to locals that outlive the call, and rusage is plain numbers, for which zeros are
        // valid; the child is ours and has not been waited for.
        let (answer, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(self.pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
        };
        match answer {
            0 => return Ok(None),
            pid if pid == self.pid => {}
            _ => return Err(std::io::Error::last_os_error().into()),
        }
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        self.ended = Some(Usage {
            cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            peak_megabytes: usage.ru_maxrss as f64 * 1024.0 / 1e6,
        });
        // Java ends with 143 where it was asked to end, however good the order.
        if status == 0 || self.asked_to_end && libc::WEXITSTATUS(status) == 128 + libc::SIGTERM {
            return Ok(self.ended);
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        Err(format!("{} ended with wait status {status}; its log:\n{log}", self.name).into())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Usage> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(usage) = self.poll()? {
                return Ok(usage);
            }
            if Instant::now() > deadline {
                return Err(format!("{} still runs; see {}", self.name, self.log.display()).into());
            }
            std::thread::sleep(POLL);
        }
    }

    /// The state that its `/status` tells, of which it prints the address; `None` before it answers.
    pub(crate) fn state(&self, servers: &Servers) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let address = log.lines().find_map(|line| line.split_once(": http://"))?.1;
        let service = if self.name == "capture" { Role::Capture } else { Role::Apply };
        let (_, status) = servers.block_on(tributary_service::ask::fetch(address.trim(), service)).ok()?;
        Some(status.get("state")?.as_str()?.to_owned())
    }

    /// Waits until its state is one of those wanted.
    pub(crate) fn await_state(
        &mut self,
        servers: &Servers,
        limit: Duration,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.state(servers).is_some_and(|state| is_there(&state)) {
            if self.poll()?.is_some() || Instant::now() > deadline {
                return Err(format!("{} does not come to the state that is to be measured", self.name).into());
            }
            std::thread::sleep(STATE_POLL);
        }
        Ok(())
    }

    /// SIGTERM, after which it ends in good order.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<Usage> {
        self.asked_to_end = true;
        self.signal(libc::SIGTERM);
        self.wait(limit)
    }

    fn signal(&self, signal: libc::c_int) {
        if self.ended.is_none() {
            #[allow(unsafe_code, reason = "the standard library sends SIGKILL only")]
            // SAFETY: no memory is involved; the process is a child that was not waited for, so the id is still its.
            unsafe {
                libc::kill(self.pid, signal);
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        while self.ended.is_none() && matches!(self.poll(), Ok(None)) {
            std::thread::sleep(POLL);
        }
    }
}
