//! The connections of HTTP clients. Whoever reaches the port may open as many as it likes and say nothing; the
//! descriptors that replication needs must not be among them.
//!
//! Invariant: there are never more connections than [`Limits::connections`]: the oldest gives way to a new one, so that a
//! probe is answered however many others are held open.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once where the process may open many files. People, probes and scrapers need a handful.
const MOST_CONNECTIONS: usize = 64;
/// One in so many of the descriptors that the process may have is HTTP's, at most.
const SHARE_OF_DESCRIPTORS: usize = 8;
/// How long accepting rests after it has failed: descriptors are short, and only time gives one back.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// How long a request's head may take, and so how long a connection may be idle.
    pub head: Duration,
    /// How old a connection may become; then it ends after the answer under way, which gets as long as a head.
    pub age: Duration,
}

impl Limits {
    /// Those of a process that may have so many descriptors.
    pub(super) fn of_process(descriptors: Option<usize>) -> Self {
        let share = descriptors.map_or(MOST_CONNECTIONS, |descriptors| descriptors / SHARE_OF_DESCRIPTORS);
        Self {
            connections: share.clamp(4, MOST_CONNECTIONS),
            head: Duration::from_secs(10),
            age: Duration::from_secs(60),
        }
    }
}

/// The soft limit of open files in the text of `/proc/self/limits`; `None` if there is none.
pub(super) fn descriptors(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Answers until `stopped` holds true, or its sender is gone; then waits for the answers under way.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let answering = stopped.clone();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        while open.len() >= limits.connections.max(1) {
            if let Some(oldest) = open.pop_front() {
                oldest.abort();
            }
        }
        open.push_back(tasks.spawn(answer(stream, router.clone(), limits, answering.clone())));
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn answer(stream: TcpStream, router: Router, limits: Limits, mut stopped: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that went away, or was too slow, is no news.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.head, connection).await;
}
