//! The parts of the command line that both binaries have in common. Bad usage ends with status 2.

use crate::exit::{Exit, Failure};
use crate::load::Overrides;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tributary_schemas::printed;

/// Options of every command that reads the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Common {
    /// The configuration (TOML); `config print` lists every key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Address to serve status, metrics and the schema registry on; port 0 is any
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

impl Common {
    /// What the command line sets over file and environment.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { listen: self.listen.clone() }
    }
}

/// Options of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// End with status 0 once everything that existed at the start is on the other side
    #[arg(long)]
    pub until_caught_up: bool,
    /// Go on although this item of the check fails; may be repeated
    #[arg(long, value_name = "ITEM")]
    pub ignore: Vec<String>,
}

/// Options of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// Do not fail because of this item; may be repeated
    #[arg(long, value_name = "ITEM")]
    pub ignore: Vec<String>,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "print_grants")]
    pub json: bool,
    /// Print the SQL and the Kafka ACLs that grant exactly what is needed, and check nothing
    #[arg(long)]
    pub print_grants: bool,
}

/// Options of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `drop`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DropArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `config …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with type, default and unit, as a configuration to start from
    Print,
}

impl ConfigCommand {
    /// Carries it out.
    pub fn run(self) {
        match self {
            Self::Print => write_out(&crate::keys::print()),
        }
    }
}

/// Writes lines to stdout, without what a terminal would obey; a reader that has seen enough (`| head`) is no error.
pub fn write_out(text: &str) {
    write_painted(&printed::block(text));
}

/// Writes text that has colours of our own to stdout; whoever made it has escaped the rest of it.
pub fn write_painted(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints what `drop` would remove, and asks unless `--yes` was given.
///
/// # Errors
/// A [`Failure`] if nobody can be asked.
pub fn may_remove(list: &str, arguments: &DropArgs) -> Result<bool, Failure> {
    write_out(list);
    let may = arguments.yes || confirmed("remove all of this")?;
    if !may {
        write_out("nothing was removed\n");
    }
    Ok(may)
}

/// Asks a person to type yes; `what` says to what, as in "remove all of this".
///
/// # Errors
/// A [`Failure`] if nobody can be asked.
pub fn confirmed(what: &str) -> Result<bool, Failure> {
    use std::io::{BufRead, IsTerminal, Write};
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("nobody can be asked", "stdin is no terminal")
            .exit(Exit::Usage)
            .remedy(format!("give --yes to {what} without a question")));
    }
    let unanswered = |error: std::io::Error| Failure::new("the answer cannot be read", error);
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "type yes to {what}: ").and_then(|()| stdout.flush()).map_err(unanswered)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unanswered)?;
    Ok(line.trim() == "yes")
}

/// Parses the command line; `Err` is the status to end with: 0 after help and version, 2 after bad usage.
///
/// # Errors
/// The exit status, after clap has printed why.
pub fn parse<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    P::try_parse_from(arguments).map_err(|error| {
        // With the streams closed there is nobody left to tell.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        Run(RunArgs),
        Check(CheckArgs),
        Config {
            #[command(subcommand)]
            command: ConfigCommand,
        },
    }

    fn run(line: &str) -> Result<Cli, ExitCode> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_contracts_commands_are_taken() {
        let Command::Run(args) =
            run("capture run --config a.toml --until-caught-up --listen 127.0.0.1:0").unwrap().command
        else {
            panic!("run")
        };
        assert!(args.until_caught_up && args.common.config.as_os_str() == "a.toml");
        assert_eq!(args.common.overrides().listen.as_deref(), Some("127.0.0.1:0"));
        let Command::Check(args) =
            run("apply check --config a --ignore binlog-format --ignore xa --json").unwrap().command
        else {
            panic!("check")
        };
        assert_eq!((args.ignore.len(), args.json, args.print_grants), (2, true, false));
        assert!(matches!(
            run("apply config print").unwrap().command,
            Command::Config { command: ConfigCommand::Print }
        ));
    }

    #[test]
    fn bad_usage_is_told_from_help() {
        let code = |line: &str| format!("{:?}", run(line).unwrap_err());
        assert_eq!(code("capture run"), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code("capture fly"), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code("capture --help"), format!("{:?}", ExitCode::SUCCESS));
    }
}
