//! How a process ends: the exit status that scripts rely on, and the few lines that say what went wrong. Every
//! fatal error becomes one [`Failure`] and is printed once, by [`conclude`].

use crate::kafka::finish_closing;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;
use tributary_schemas::printed::line;

/// Exit status of `capture` and `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The work is done, or SIGTERM was followed.
    Done,
    /// Something failed.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// `verify` found rows that differ.
    Differences,
    /// Another instance leads the task.
    Fenced,
}

impl Exit {
    /// The number a shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Differences => 3,
            Self::Fenced => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ends before its work is done: what, where, why and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status it leads to.
    pub exit: Exit,
    /// What could not be done, without a full stop.
    pub what: String,
    /// File and line, table, position or offset; empty where there is none.
    pub place: String,
    /// The reason, possibly over several lines.
    pub why: String,
    /// What to do; empty where the reason says it.
    pub remedy: String,
}

impl Failure {
    /// A failure that ends with status 1.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Failed,
            what: what.into(),
            place: String::new(),
            why: why.to_string(),
            remedy: String::new(),
        }
    }

    /// Ends with another status.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = place.to_string();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The lines a person reads. People look at the place before they read on, so each part has a line of its own.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let (red, dim, off) = if colour { ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut out = format!("{red}error:{off} {}\n", line(&self.what));
        for (label, text) in [("where", &self.place), ("why", &self.why), ("to do", &self.remedy)] {
            let mut lines = text.lines().map(line);
            if let Some(first) = lines.next() {
                out.push_str(&format!("  {dim}{label:<6}{off} {first}\n"));
            }
            for line in lines {
                out.push_str(&format!("         {line}\n"));
            }
        }
        out
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (before, text) in [(" at ", &self.place), (": ", &self.why), ("; ", &self.remedy)] {
            if !text.is_empty() {
                write!(f, "{before}{text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Turns what a command came to into the process's status, once its Kafka clients are closed; prints a failure to
/// stderr, in colour on a terminal.
#[must_use]
pub fn conclude(result: Result<Exit, Failure>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            let mut stderr = std::io::stderr().lock();
            let text = failure.render(stderr.is_terminal());
            // With stderr closed there is nobody left to tell.
            let _ = stderr.write_all(text.as_bytes());
            failure.exit
        }
    };
    if finish_closing(CLOSE_LIMIT) && is_alone() {
        return exit.into();
    }
    end_now(exit)
}

/// True if no thread but this one is left: one that was waiting for a server when the end came may still hold a client.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() <= 1)
}

/// How long clients may take to close at the end of the process.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// Tells the program that it is only to end, and how.
const END_WITH: &str = "TRIBUTARY_END_WITH_STATUS";

/// Ends the process at once, whatever its threads are doing. The usual end of a program takes memory down that the
/// threads of the Kafka client may be using, and then ends by a signal instead of a status. Becoming another program
/// ends all threads before anything is taken down, so this becomes the same program once more, which only ends.
pub fn end_now(exit: Exit) -> ! {
    let _ = std::process::Command::new("/proc/self/exe").env(END_WITH, exit.code().to_string()).exec();
    // There is no /proc here.
    std::process::exit(i32::from(exit.code()))
}

/// The status that a program which [`end_now`] began is to end with: asked for before anything else.
#[must_use]
pub fn ends_with() -> Option<ExitCode> {
    std::env::var(END_WITH).ok()?.parse::<u8>().ok().map(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_contract() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Differences, Exit::Fenced].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_failure_is_printed_part_by_part() {
        let failure = Failure::new("cannot resume", "the server purged it\nsecond line")
            .at("binlog.000003:4711")
            .remedy("run replay")
            .exit(Exit::Fenced);
        assert_eq!(
            failure.render(false),
            "error: cannot resume\n  where  binlog.000003:4711\n  why    the server purged it\n         second line\n  to do  run replay\n"
        );
        assert!(failure.render(true).starts_with("\x1b[1;31merror:"));
        assert_eq!(Failure::new("x", "").render(false), "error: x\n");
        assert_eq!(Failure::new("x", "y").at("z").to_string(), "x at z: y");
    }
}
