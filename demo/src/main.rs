//! `demo`, which `make demo` runs: Tributary at work on a sample shop, from empty servers to the comparison of source
//! and warehouse. Arguments enter; what leaves is a story on the terminal, and an exit status: that of `apply verify` for
//! differences, 130 for Ctrl-C, 1 for a failure. Invariant: nothing is left running but what the last lines name.

mod play;
mod processes;
mod screen;
mod servers;
mod shop;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tributary_service::exit::Failure;

const INSTANCE: &str = "demo";
const DIRECTORY: &str = "target/demo";
/// The exit status that shells have for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Shows Tributary at work on a sample shop.
///
/// MySQL, Kafka and PostgreSQL are started anew in an instance of their own, the shop is filled and written to all the
/// time, capture and apply replicate it, a column is added in the middle, and at the end both sides are compared.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Settings {
    /// Without a command: the demo
    #[command(subcommand)]
    command: Option<Action>,
    /// Instance of the local servers; what is in it is deleted
    #[arg(long, default_value = INSTANCE, global = true)]
    instance: String,
    /// Where config, logs and process ids go
    #[arg(long, default_value = DIRECTORY, global = true)]
    directory: PathBuf,
    /// Folder of the binaries capture and apply [default: that of this one]
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// How large the shop is: 100 is more than 400,000 rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5000))]
    size_percent: u64,
    /// How much the live writer does
    #[arg(long, default_value_t = 200, global = true, value_parser = clap::value_parser!(u32).range(1..=2000))]
    transactions_per_second: u32,
    /// How long everything is shown in step, before the new column and after it, in seconds
    #[arg(long, default_value_t = 6)]
    watch_seconds: u64,
    /// Stop everything at the end [default where there is no terminal]
    #[arg(long)]
    no_keep: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Stop what a demo left running
    Down,
    /// Write to the shop until it is stopped; the demo starts this for what it leaves running
    Write,
}

impl Settings {
    /// True if people watch: then the screen is redrawn, and everything is left running for them to look at.
    fn is_interactive() -> bool {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty());
        !in_ci && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// What ends all that was kept, as a person types it.
    fn down_command(&self) -> String {
        let Self { instance, directory, .. } = self;
        if (instance.as_str(), directory.as_path()) == (INSTANCE, Path::new(DIRECTORY)) {
            return "make demo-down".to_owned();
        }
        let binary = std::env::current_exe().unwrap_or_else(|_| "demo".into());
        format!("{} down --instance {instance} --directory {}", binary.display(), directory.display())
    }

    /// The folder for config and logs, made if it is not there; absolute, as the processes are known by it.
    fn make_directory(&self) -> Result<PathBuf, Failure> {
        let failed =
            |error| Failure::new("the demo's folder cannot be made", error).at(self.directory.display());
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        self.directory.canonicalize().map_err(failed)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let result = match settings.command {
        None => run(&settings).await,
        Some(Action::Down) => down(&settings).await,
        Some(Action::Write) => write(&settings).await,
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprint!("{}", failure.render(std::io::stderr().is_terminal()));
            failure.exit.into()
        }
    }
}

async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut stage = play::Stage::new(settings, Settings::is_interactive())?;
    let played = tokio::select! {
        played = stage.play(settings) => Some(played),
        () = interrupted() => None,
    };
    if let Some(Ok(outcome)) = &played
        && Settings::is_interactive()
        && !settings.no_keep
    {
        stage.keep(settings, outcome)?;
        return Ok(ExitCode::SUCCESS);
    }
    stage.screen.close();
    println!("\n  stopping capture, apply and the servers …");
    // The first failure is the one that explains; these only add to it.
    for failure in [stage.stop().await, stage.servers.stop().await].into_iter().filter_map(Result::err) {
        eprint!("{}", failure.render(std::io::stderr().is_terminal()));
    }
    println!("  nothing is left running");
    played.map_or(Ok(ExitCode::from(INTERRUPTED)), |played| played.map(|_| ExitCode::SUCCESS))
}

async fn down(settings: &Settings) -> Result<ExitCode, Failure> {
    for name in processes::stop_left(&settings.make_directory()?).await? {
        println!("{name}: stopped");
    }
    let servers = servers::Servers::new(&settings.instance);
    servers.stop().await?;
    let reset = servers.typed("reset");
    println!("the demo's servers are stopped; their data is gone with the next demo, or with `{reset}`");
    Ok(ExitCode::SUCCESS)
}

async fn write(settings: &Settings) -> Result<ExitCode, Failure> {
    let addresses = servers::Servers::new(&settings.instance).addresses().await?;
    let writer = shop::Writer::start(&addresses, settings.transactions_per_second);
    interrupted().await;
    writer.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves when somebody wants the demo to end.
async fn interrupted() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
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
        assert!(settings.down_command().ends_with("down --instance x --directory target/demo"));
        // What a demo starts for those who look.
        let kept = ["demo", "write", "--instance", "x", "--directory", "/y", crate::play::KEPT_RATE];
        assert_eq!(Settings::try_parse_from(kept).unwrap().transactions_per_second, 5);
        assert_eq!(Settings::try_parse_from(["demo"]).unwrap().down_command(), "make demo-down");
    }
}
