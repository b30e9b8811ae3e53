//! What a service says over HTTP: a page for people, the status, metrics, probes, and the schemas over the read-only
//! API of Confluent's registry. Everything is read from memory; no request can change or wait for anything, and what
//! clients take is bounded ([`connections`]).

mod connections;
mod registry_api;

use crate::exit::Failure;
use crate::registry::Registry;
use crate::status::{Role, State, Status, prometheus};
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use connections::{Limits, descriptors};
use prometheus::TEXT_FORMAT;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The page: one file without anything from elsewhere, for warehouses stand in networks without a way out.
const PAGE: &str = include_str!("http/page.html");
/// How often the rates take a sample.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long `stop` waits for answers that are under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the port is the real one where 0 was asked for.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Ends the server once the answers under way are sent. Called last, so that the draining can be watched.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let mut task = self.task;
        if tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Listens on `listen` (port 0: any) and answers from then on.
///
/// # Errors
/// A [`Failure`] if the address is none, or is taken.
pub async fn serve(listen: &str, status: Status, registry: Registry) -> Result<Server, Failure> {
    let of_process = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    serve_within(Limits::of_process(descriptors(&of_process)), listen, status, registry).await
}

async fn serve_within(
    limits: Limits,
    listen: &str,
    status: Status,
    registry: Registry,
) -> Result<Server, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new("cannot serve HTTP", why)
            .at(listen)
            .remedy("choose a free address with --listen or `listen`; port 0 takes any")
    };
    let listener = TcpListener::bind(listen).await.map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let (stop, stopped) = watch::channel(false);
    let sampled = status.clone();
    let task = tokio::spawn(async move {
        tokio::select! {
            () = connections::serve(listener, routes(status, registry), limits, stopped) => {}
            () = sample(&sampled) => {}
        }
    });
    Ok(Server { address, stop, task })
}

async fn sample(status: &Status) {
    let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
    loop {
        interval.tick().await;
        status.sample(Instant::now());
    }
}

fn routes(status: Status, registry: Registry) -> Router {
    let pages = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/status", get(|Shared(status): Shared<Status>| async move { axum::Json(status.document()) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(status);
    pages.merge(registry_api::routes(registry)).fallback(registry_api::not_found)
}

async fn metrics(Shared(status): Shared<Status>) -> Response {
    match prometheus(&status) {
        Ok(text) => ([(header::CONTENT_TYPE, format!("{TEXT_FORMAT}; charset=utf-8"))], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "writing the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Ready: it moves rows and hears what it follows, or it stands by for the instance that does.
async fn ready(Shared(status): Shared<Status>) -> Response {
    let document = status.document();
    let silent = document.contact.lost && document.role != Role::Standby;
    let ready = match document.state {
        State::Loading | State::CatchingUp | State::Synchronizing => !silent,
        State::Precheck => document.role == Role::Standby,
        State::Retrying | State::Parked | State::Stopped | State::Failed => false,
    };
    let role = match document.role {
        Role::Starting => "starting",
        Role::Leader => "leader",
        Role::Standby => "standby",
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let silence = match document.contact.seconds_ago {
        Some(seconds) if silent => {
            format!(": {} was heard {seconds:.0} s ago", document.contact.whom())
        }
        _ => String::new(),
    };
    (code, format!("{} ({role}){silence}\n", document.headline())).into_response()
}

#[cfg(test)]
mod tests;
