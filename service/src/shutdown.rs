//! The end that is asked for: SIGTERM or SIGINT lets every loop drain and finish with status 0; a second signal ends
//! the process at once, for a person who does not want to wait. A drain that meets a server which says nothing ends after
//! [`DRAIN_LIMIT`]: what it did not finish is done again after the next start, as after a crash.

use crate::exit::{Exit, Failure, end_now};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a drain may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(9);

/// A token that every task holds a clone of.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks for the end without a signal: `run --until-caught-up`, and a task that fails.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(watch::Sender<bool>);

/// A token and what triggers it, without signals.
#[must_use]
pub fn channel() -> (ShutdownHandle, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownHandle(sender), Shutdown(receiver))
}

/// A token that SIGTERM and SIGINT trigger too. Must be called on the runtime.
///
/// # Errors
/// A [`Failure`] if the signals cannot be listened for.
pub fn on_signals() -> Result<(ShutdownHandle, Shutdown), Failure> {
    let failed = |error: std::io::Error| Failure::new("cannot listen for SIGTERM and SIGINT", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (handle, shutdown) = channel();
    let triggered = handle.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if *triggered.0.borrow() {
                tracing::warn!(signal = name, "second signal: ending at once");
                end_now(Exit::Failed);
            }
            tracing::info!(signal = name, "draining; a second signal ends at once");
            limit_drain();
            triggered.request();
        }
    });
    Ok((handle, shutdown))
}

/// Ends the process if it has not ended by itself in time. A thread of its own: everything else may be stuck.
fn limit_drain() {
    let watch = std::thread::Builder::new().name("drain-limit".to_owned()).spawn(|| {
        std::thread::sleep(DRAIN_LIMIT);
        tracing::warn!(
            "not everything has come to its end within {} s, for a server does not answer: what is left is done again \
             after the next start",
            DRAIN_LIMIT.as_secs()
        );
        end_now(Exit::Done);
    });
    if let Err(error) = watch {
        tracing::warn!(%error, "the drain has no limit: no thread can be started");
    }
}

impl ShutdownHandle {
    /// Asks every holder of the token to end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// True once the end is asked for. Cheap enough for a hot loop.
    #[must_use]
    pub fn requested(&self) -> bool {
        // A handle that is gone can ask for nothing any more; only its last word counts.
        *self.0.borrow()
    }

    /// Returns once the end is asked for; never if nobody can ask any more.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_request() {
        let (handle, shutdown) = channel();
        let other = shutdown.clone();
        assert!(!shutdown.requested());
        handle.request();
        assert!(other.requested());
        tokio::time::timeout(Duration::from_secs(5), other.wait()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_handle_is_no_request() {
        let (handle, shutdown) = channel();
        drop(handle);
        assert!(!shutdown.requested());
        let waiting = tokio::time::timeout(Duration::from_millis(10), shutdown.wait()).await;
        assert!(waiting.is_err());
    }
}
