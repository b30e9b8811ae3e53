//! A child process of the product: started, watched through its HTTP, stopped, killed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `capture` or `apply`. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// Where cargo puts the binaries: beside the directory of the test's own executable.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is not built: `make test` and `make test-faults` build what they need",
        path.display()
    );
    path
}

impl Process {
    /// Starts `program` with its output going to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str], log: PathBuf) -> Self {
        Self::spawn(Command::new(binary(program)).args(arguments).env("RUST_LOG", "info"), log)
    }

    /// Starts the `program` that can be broken on purpose; `directives` say where (see `service::sabotage`).
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn sabotaged(program: &str, arguments: &[&str], directives: &str, log: PathBuf) -> Self {
        let mut command = Command::new(binary(&format!("sabotage/{program}")));
        command.args(arguments).env("RUST_LOG", "info").env("TRIBUTARY_SABOTAGE", directives);
        Self::spawn(&mut command, log)
    }

    /// Starts `command` with nothing to read and its output going to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command, log: PathBuf) -> Self {
        let output = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let errors = output.try_clone().expect("the log can be shared");
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Self { child: command.spawn().expect("the program can be started"), log }
    }

    /// What it printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended when `limit` is over.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running after {} s:\n{}",
                limit.as_secs(),
                self.output()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits for its end and expects this exit status.
    ///
    /// # Panics
    /// If it ends with another, or not in time.
    pub fn expect_exit(&mut self, code: i32, limit: Duration) {
        let status = self.wait(limit);
        assert_eq!(status.code(), Some(code), "{}", self.output());
    }

    /// Waits until it has killed itself at `point`, as it was told when it was started.
    ///
    /// # Panics
    /// If it ends in another way, or not in time.
    pub fn expect_sabotage(&mut self, point: &str, limit: Duration) {
        let status = self.wait(limit);
        assert_eq!(status.signal(), Some(9), "{status}: {}", self.output());
        assert!(self.output().contains(&format!("sabotage: SIGKILL at {point}")), "{}", self.output());
    }

    /// Waits until it has stopped itself at `point`, as it was told when it was started.
    ///
    /// # Panics
    /// If it ends, or does not get there in time.
    pub fn expect_frozen(&mut self, point: &str, limit: Duration) {
        let told = format!("sabotage: SIGSTOP at {point}");
        self.poll(&told, limit, |process| process.output().contains(&told));
    }

    /// Waits until `/status` names this role, such as `leader`.
    ///
    /// # Panics
    /// If it ends, or does not have the role in time.
    pub fn expect_role(&mut self, role: &str, limit: Duration) {
        self.poll(role, limit, |process| process.role() == role);
    }

    /// Waits until `/status` names this state, such as `synchronizing`.
    ///
    /// # Panics
    /// If it ends, or does not get there in time.
    pub fn expect_state(&mut self, state: &str, limit: Duration) {
        self.poll(state, limit, |process| process.status().is_some_and(|status| status["state"] == state));
    }

    /// Its role in `/status`; empty while nobody answers.
    #[must_use]
    pub fn role(&self) -> String {
        self.status().and_then(|status| status["role"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn poll(&mut self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !condition(self) {
            assert!(self.is_running(), "ended, not {what}:\n{}", self.output());
            assert!(Instant::now() < deadline, "not within {} s: {what}\n{}", limit.as_secs(), self.output());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Its memory in kB by a name of `/proc/<pid>/status`, such as `VmHWM`, the most it ever had.
    #[must_use]
    pub fn memory_kb(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by name, as `kill` does.
    ///
    /// # Panics
    /// If `kill` cannot be run.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill can be run").success(), "kill -{name}");
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM, and expects it to drain and end with 0.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.expect_exit(0, Duration::from_secs(60));
    }

    /// Where its HTTP answers, once it printed that.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let output = self.output();
        let place = output.rfind("http://")?;
        output.get(place + 7..)?.split_whitespace().next().map(str::to_owned)
    }

    /// GET of a path: status line's code and body; `None` while nobody answers.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address()?).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split_whitespace().nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((code, body.to_owned()))
    }

    /// `/status` as JSON; `None` while nobody answers.
    #[must_use]
    pub fn status(&self) -> Option<serde_json::Value> {
        self.get("/status").and_then(|(_, body)| serde_json::from_str(&body).ok())
    }

    /// A table in `/status`, by its name with the database; `None` while it is not shown.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<serde_json::Value> {
        let status = self.status()?;
        status["tables"].as_array()?.iter().find(|table| table["name"] == name).cloned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
