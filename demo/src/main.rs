//! `demo`, which `make demo` runs: Tributary at work on a sample shop, from empty servers to the comparison of source
//! and warehouse. Arguments enter; what leaves is a story on the terminal, and an exit status: 0, or 1 for a failure,
//! 3 for differences, 130 for Ctrl-C. Invariant: nothing is left running but what the last lines name.

mod error;
mod format;
mod load;
mod play;
mod progress;
mod servers;
mod services;
mod settings;
mod shop;
mod stage;
mod status;
mod view;
mod warehouse;
mod writer;

use clap::Parser;
use error::DemoError;
use settings::{Action, Settings};
use stage::Stage;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use view::View;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let result = match settings.command {
        None => run(&settings).await,
        Some(Action::Down) => down(&settings).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

async fn run(settings: &Settings) -> Result<(), DemoError> {
    let view = View::new(settings.is_interactive());
    let size = shop::Size::percent(settings.size_percent);
    let mut stage = Stage::new(view, size, settings.make_directory()?);
    let servers = settings.servers();
    let played = tokio::select! {
        played = play::play(&mut stage, settings, &servers) => played,
        interrupted = interrupted() => Err(interrupted),
    };
    match played {
        Ok(outcome) => {
            play::tell(&stage, &outcome);
            if settings.keeps() {
                play::tell_what_runs(&stage, &outcome, settings);
                return Ok(());
            }
            stage.stop_services().await?;
            servers.stop().await?;
            stage.view.say("\n  capture, apply and the servers are stopped; nothing is left running");
            Ok(())
        }
        Err(error) => {
            stage.view.close();
            eprintln!("  stopping what was started …");
            // The first error is the one that explains; these only add to it.
            for failure in [stage.clear().await, servers.stop().await].into_iter().filter_map(Result::err) {
                eprintln!("demo: while stopping: {failure}");
            }
            Err(error)
        }
    }
}

async fn down(settings: &Settings) -> Result<(), DemoError> {
    if let Ok(directory) = settings.directory.canonicalize() {
        for name in services::stop_left(&directory).await? {
            println!("{name}: stopped");
        }
    }
    let servers = settings.servers();
    servers.stop().await?;
    println!(
        "the demo's servers are stopped; their data is gone with the next demo, or with `{}`",
        servers.reset_command()
    );
    Ok(())
}

/// Resolves when somebody wants the demo to end.
async fn interrupted() -> DemoError {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    DemoError::Interrupted
}
