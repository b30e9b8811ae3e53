//! What runs while the demo does, and how it is watched: the live writer, the two services, the panel. Invariant:
//! whatever was started is in here, so that [`Stage::clear`] can end it at any moment.

use crate::error::DemoError;
use crate::progress::{Panel, Progress};
use crate::services::Service;
use crate::shop::Size;
use crate::status::{self, Status};
use crate::view::View;
use crate::writer::{Counters, LiveWriter, Written};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often the services are asked, and the panel is drawn.
const POLL: Duration = Duration::from_millis(200);

/// Everything that goes on.
#[derive(Debug)]
pub struct Stage {
    /// What people see.
    pub view: View,
    /// Rates and states.
    pub progress: Progress,
    /// Where the logs are.
    pub directory: PathBuf,
    /// The live writer, while it writes.
    pub writer: Option<LiveWriter>,
    /// capture and apply, in this order, while they run.
    pub services: Vec<Service>,
    counters: Arc<Counters>,
    began: Instant,
}

impl Stage {
    /// An empty one.
    pub fn new(view: View, size: Size, directory: PathBuf) -> Self {
        let progress = Progress::new(size);
        Self {
            view,
            progress,
            directory,
            writer: None,
            services: Vec::new(),
            counters: Arc::default(),
            began: Instant::now(),
        }
    }

    /// Lets the live writer in.
    pub fn add_writer(&mut self, writer: LiveWriter) {
        self.counters = writer.counters();
        self.writer = Some(writer);
    }

    /// Begins to count the time that the panel shows.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// What the live writer has done so far.
    pub fn written(&self) -> Written {
        self.counters.read()
    }

    /// Watches until `is_done` says so, which is asked after every look; an error after `limit`, or as soon as
    /// something that should run does not.
    pub async fn watch(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_done: impl AsyncFnMut(&Progress) -> Result<bool, DemoError>,
    ) -> Result<Duration, DemoError> {
        let from = Instant::now();
        let mut beat = tokio::time::interval(POLL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            self.look().await?;
            if is_done(&self.progress).await? {
                return Ok(from.elapsed());
            }
            if from.elapsed() > limit {
                let (what, logs) = (what.to_owned(), self.directory.clone());
                return Err(DemoError::TooLong { what, seconds: limit.as_secs(), logs });
            }
        }
    }

    /// Just watches, for `time`.
    pub async fn watch_for(&mut self, time: Duration) -> Result<(), DemoError> {
        let until = Instant::now() + time;
        self.watch("the time", time * 2 + Duration::from_secs(10), async |_| Ok(Instant::now() >= until))
            .await
            .map(drop)
    }

    async fn look(&mut self) -> Result<(), DemoError> {
        for service in &mut self.services {
            service.check()?;
        }
        if let Some(writer) = &mut self.writer {
            writer.check()?;
        }
        let (capture, apply) = tokio::join!(self.ask(0), self.ask(1));
        self.progress.observe(self.began.elapsed(), capture.as_ref(), apply.as_ref());
        let panel: Panel = self.progress.panel(self.written());
        self.view.draw(&panel);
        if let Some((name, table, reason)) = self.progress.stopped() {
            let log = self.directory.join(format!("{name}.log"));
            let (table, reason) = (table.to_owned(), reason.to_owned());
            return Err(DemoError::TableStopped { service: name, table, reason, log });
        }
        Ok(())
    }

    async fn ask(&self, service: usize) -> Option<Status> {
        status::fetch(self.services.get(service)?.address).await
    }

    /// Ends the live writer, and says what it did in all.
    pub async fn stop_writer(&mut self) -> Result<Written, DemoError> {
        if let Some(mut writer) = self.writer.take() {
            writer.stop().await?;
        }
        Ok(self.written())
    }

    /// Ends the services, apply before capture, so that none reads what is going away.
    pub async fn stop_services(&mut self) -> Result<(), DemoError> {
        while let Some(mut service) = self.services.pop() {
            service.stop().await?;
        }
        Ok(())
    }

    /// Ends all of it, whatever state it is in; the first failure is returned after everything was tried.
    pub async fn clear(&mut self) -> Result<(), DemoError> {
        self.view.close();
        // Dropped, not waited for: its server may be what failed.
        self.writer = None;
        let mut result = Ok(());
        while let Some(mut service) = self.services.pop() {
            result = result.and(service.stop().await);
        }
        result
    }
}
