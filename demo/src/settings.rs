//! The command line: arguments enter, settings whose paths are absolute leave.

use crate::error::DemoError;
use crate::servers::Servers;
use crate::services;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

const INSTANCE: &str = "demo";
const DIRECTORY: &str = "target/demo";

/// Shows Tributary at work on a sample shop.
///
/// MySQL, Kafka and PostgreSQL are started anew in an instance of their own, the shop is loaded and written to all
/// the time, capture and apply replicate it, a column is added in the middle, and at the end both sides are compared.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
pub struct Settings {
    /// Without a command: the demo
    #[command(subcommand)]
    pub command: Option<Action>,
    /// The script that starts the servers
    #[arg(long, default_value = "deploy/local/servers", global = true)]
    pub servers: PathBuf,
    /// Its instance; what is in it is deleted
    #[arg(long, default_value = INSTANCE, global = true)]
    pub instance: String,
    /// Where config, logs and process ids go
    #[arg(long, default_value = DIRECTORY, global = true)]
    pub directory: PathBuf,
    /// Where the binaries capture and apply are [default: beside this one]
    #[arg(long)]
    pub binaries: Option<PathBuf>,
    /// How large the shop is: 100 is more than 400,000 rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub size_percent: u32,
    /// How much the live writer does
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub transactions_per_second: u32,
    /// How long everything is shown in step, before the new column and after it, in seconds
    #[arg(long, default_value_t = 6)]
    pub watch_seconds: u64,
    /// Stop everything at the end [default where there is no terminal]
    #[arg(long)]
    pub no_keep: bool,
}

/// What else it can do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Action {
    /// Stop what a demo left running
    Down,
}

impl Settings {
    /// True if people watch: then the screen is redrawn, and the services are left for them to look at.
    pub fn is_interactive(&self) -> bool {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty());
        !in_ci && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// True if capture, apply and the servers are left running.
    pub fn keeps(&self) -> bool {
        self.is_interactive() && !self.no_keep
    }

    /// What ends all that was kept, as a person types it.
    pub fn down_command(&self) -> String {
        let Self { servers, instance, directory, .. } = self;
        if (instance.as_str(), directory.as_path()) == (INSTANCE, Path::new(DIRECTORY)) {
            return "make demo-down".to_owned();
        }
        let binary = std::env::current_exe().unwrap_or_else(|_| "demo".into());
        format!(
            "{} down --servers {} --instance {instance} --directory {}",
            binary.display(),
            servers.display(),
            directory.display()
        )
    }

    /// The servers of the demo's own instance.
    pub fn servers(&self) -> Servers {
        Servers { script: self.servers.clone(), instance: self.instance.clone() }
    }

    /// The folder for logs, made if it is not there; absolute, as the processes are known by it.
    pub fn make_directory(&self) -> Result<PathBuf, DemoError> {
        std::fs::create_dir_all(&self.directory).map_err(DemoError::io("make", &self.directory))?;
        self.directory.canonicalize().map_err(DemoError::io("find", &self.directory))
    }

    /// The folder with `capture` and `apply`, which are looked for now rather than when they are needed.
    pub fn find_binaries(&self) -> Result<PathBuf, DemoError> {
        let own = || std::env::current_exe().ok()?.parent().map(Path::to_path_buf);
        let binaries = self.binaries.clone().or_else(own).unwrap_or_else(|| "target/release".into());
        for name in services::NAMES {
            let binary = binaries.join(name);
            std::fs::metadata(&binary).map_err(DemoError::io("find", binary))?;
        }
        Ok(binaries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Settings::command().debug_assert();
        let settings = Settings::try_parse_from(["demo", "down", "--instance", "x"]).unwrap();
        assert!(matches!(settings.command, Some(Action::Down)));
        assert_eq!(settings.servers().instance, "x");
        assert!(settings.down_command().ends_with("--instance x --directory target/demo"));
        assert_eq!(Settings::try_parse_from(["demo"]).unwrap().down_command(), "make demo-down");
        assert!(Settings::try_parse_from(["demo", "--size-percent", "0"]).is_err());
    }
}
