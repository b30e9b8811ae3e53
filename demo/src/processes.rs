//! `capture`, `apply` and what else goes on behind the demo, as child processes: commands enter, processes, their logs and
//! files with their process ids leave. Invariant: whatever runs has such a file, so that a later demo, or `demo down`, can
//! end it even if this one is killed.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tributary_service::exit::Failure;

/// All that there can be, in the order in which they are ended: none loses what it still needs.
pub(crate) const NAMES: [&str; 3] = ["writer", "apply", "capture"];
/// How long one may take to end in good order.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 15;

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Process {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// Its output.
    log: PathBuf,
    child: Child,
    directory: PathBuf,
}

impl Process {
    /// Starts `binary` with `arguments`; `directory`, which must be in the arguments, is where its log goes.
    pub(crate) fn start(
        name: &'static str,
        binary: &Path,
        arguments: &[&str],
        directory: &Path,
    ) -> Result<Self, Failure> {
        let log = directory.join(format!("{name}.log"));
        let failed = |error| Failure::new(format!("{name} cannot be started"), error).at(binary.display());
        let output = File::create(&log).map_err(failed)?;
        let child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            // Ctrl-C is for the demo, which then ends it; and what is kept must not end with the terminal's next Ctrl-C.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        fs::write(pid_file(directory, name), child.id().unwrap_or_default().to_string()).map_err(failed)?;
        Ok(Self { name, log, child, directory: directory.to_owned() })
    }

    /// An error if it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        let ended = match self.child.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n");
        let what = format!("{} ended by itself ({ended})", self.name);
        Err(Failure::new(what, last).at(self.log.display()))
    }

    /// Ends it with SIGTERM, or by force if it does not hear.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let failed = |error| Failure::new(format!("{} cannot be stopped", self.name), error);
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::TERM);
            if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
                self.child.kill().await.map_err(failed)?;
            }
        }
        // One that is not there has nothing to tell.
        let _ = fs::remove_file(pid_file(&self.directory, self.name));
        Ok(())
    }
}

/// Ends what an earlier demo left below `directory`; returns what that was.
pub(crate) async fn stop_left(directory: &Path) -> Result<Vec<&'static str>, Failure> {
    let mut stopped = Vec::new();
    for name in NAMES {
        let file = pid_file(directory, name);
        let Some(pid) = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) else {
            continue;
        };
        if is_ours(pid, directory) {
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
        let failed =
            |error| Failure::new("a file of an earlier demo cannot be removed", error).at(file.display());
        fs::remove_file(&file).map_err(failed)?;
    }
    Ok(stopped)
}

fn pid_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.pid"))
}

/// A process id may be another process's by now: ours names the demo's folder.
fn is_ours(pid: u32, directory: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let directory = directory.as_os_str().as_encoded_bytes();
    command.split(|byte| *byte == 0).any(|argument| argument.starts_with(directory))
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // One that ended a moment ago has what was wanted.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(body: &str, directory: &Path) -> Process {
        let marker = directory.join("x");
        Process::start("capture", Path::new("/bin/sh"), &["-c", body, marker.to_str().unwrap()], directory)
            .unwrap()
    }

    #[tokio::test]
    async fn one_that_ends_shows_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = start("seq 100; echo 'no such table' >&2; exit 2", directory.path());
        let deadline = Instant::now() + Duration::from_secs(20);
        let error = loop {
            match process.check() {
                Ok(()) => assert!(Instant::now() < deadline, "it does not end"),
                Err(error) => break error.to_string(),
            }
            tokio::task::yield_now().await;
        };
        assert!(error.contains("exit status: 2") && error.contains("100\nno such table"), "{error}");
        assert!(!error.contains("\n50\n"), "{error}");
    }

    #[tokio::test]
    async fn what_an_earlier_demo_left_is_ended_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        // A FIFO that is open for writing too is never at its end.
        let mut left = start("mkfifo $0.fifo; read -r line <>$0.fifo", directory.path());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_ours(left.child.id().unwrap(), directory.path()) {
            assert!(Instant::now() < deadline, "it does not start");
            tokio::task::yield_now().await;
        }
        // A process id that belongs to somebody else by now: this test's own.
        fs::write(pid_file(directory.path(), "apply"), std::process::id().to_string()).unwrap();
        let waiting = tokio::spawn(async move { left.child.wait().await });
        assert_eq!(stop_left(directory.path()).await.unwrap(), ["capture"]);
        assert!(!waiting.await.unwrap().unwrap().success());
        assert_eq!(stop_left(directory.path()).await.unwrap(), [""; 0]);
    }
}
