//! Logs to stderr, and metrics and traces over OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Metrics are read
//! from the status when they are exported; no hot loop knows about them.

use crate::Service;
use crate::exit::{Exit, Failure};
use crate::status::{MetricKind, Status, metrics};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use tributary_schemas::printed::line;

/// Few lines: what a person wants to know of a service that works. `RUST_LOG` replaces it.
const DEFAULT_FILTER: &str =
    "info,hyper=warn,reqwest=warn,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry_otlp=warn";
/// How often new names among the metrics are looked for.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end waits for the last export.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What must be flushed at the end.
#[derive(Debug, Default)]
#[must_use = "dropped telemetry exports nothing"]
pub struct Telemetry {
    providers: Option<Providers>,
}

#[derive(Debug)]
struct Providers {
    metrics: SdkMeterProvider,
    traces: SdkTracerProvider,
}

/// Begins logging, and exporting where the environment asks for it. Called once, before anything is logged.
///
/// # Errors
/// A [`Failure`] with status 2 if `RUST_LOG` or the endpoint cannot be understood.
pub fn start(service: Service) -> Result<Telemetry, Failure> {
    let usage = |what: &str, why: &dyn std::fmt::Display| Failure::new(what, why).exit(Exit::Usage);
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(text).map_err(|error| usage("RUST_LOG cannot be understood", &error))?
        }
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_default();
    let providers = match endpoint.trim_end_matches('/') {
        "" => None,
        endpoint => Some(Providers::new(service, endpoint).map_err(|why| {
            usage("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used", &why)
                .at(endpoint)
                .remedy("give the HTTP address of a collector, as in http://127.0.0.1:4318")
        })?),
    };
    if let Some(providers) = &providers {
        // Whoever times something asks for it.
        opentelemetry::global::set_meter_provider(providers.metrics.clone());
    }
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| HarmlessLines).with_ansi(terminal);
    let lines = match std::env::var("TRIBUTARY_LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().flatten_event(true).boxed(),
        _ => lines.compact().boxed(),
    };
    let spans = providers
        .as_ref()
        .map(|providers| tracing_opentelemetry::layer().with_tracer(providers.traces.tracer("tributary")));
    let subscriber = tracing_subscriber::registry().with(spans).with(lines).with(filter);
    // Another subscriber is there only in tests, and then serves as well.
    let _ = subscriber.try_init();
    Ok(Telemetry { providers })
}

/// Stderr, a line of the log at a time. Names and words of servers stand in it: what they hold of line feeds and of a
/// terminal's commands is escaped, but for the colours that the formatter sets.
#[derive(Debug)]
struct HarmlessLines;

impl Write for HarmlessLines {
    /// The formatter gives each event whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        std::io::stderr().lock().write_all(harmless(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        std::io::stderr().lock().flush()
    }
}

/// One line and its end, without anything a terminal obeys but a change of colour, which the formatter escapes in values.
fn harmless(event: &str) -> String {
    let mut out = String::with_capacity(event.len());
    let mut rest = event.strip_suffix('\n').unwrap_or(event);
    while let Some(start) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(start);
        out.push_str(&line(before));
        let parameters = sequence.get(2..).unwrap_or_default();
        let length = parameters.find(|character: char| !character.is_ascii_digit() && character != ';');
        match length {
            Some(length) if parameters.as_bytes().get(length) == Some(&b'm') => {
                let (colour, after) = sequence.split_at(2 + length + 1);
                out.push_str(colour);
                rest = after;
            }
            _ => {
                out.push_str(&line("\u{1b}["));
                rest = parameters;
            }
        }
    }
    out.push_str(&line(rest));
    out.push('\n');
    out
}

impl Telemetry {
    /// Exports the numbers of `status` from now on. Runs until it is aborted with the runtime.
    pub async fn export(&self, status: &Status) {
        let Some(providers) = &self.providers else { return std::future::pending().await };
        let meter = providers.metrics.meter("tributary");
        let mut known = BTreeSet::new();
        let mut interval = tokio::time::interval(DISCOVERY_INTERVAL);
        loop {
            interval.tick().await;
            observe(&meter, status, &mut known);
        }
    }

    /// Sends what has not been sent. Blocks, for some seconds at most: call it after the runtime has ended.
    pub fn finish(self) {
        let Some(Providers { metrics, traces }) = self.providers else { return };
        // A collector that is away must not turn a clean end into a failure.
        let _ = metrics.shutdown_with_timeout(FLUSH_TIMEOUT);
        let _ = traces.shutdown_with_timeout(FLUSH_TIMEOUT);
    }
}

impl Providers {
    fn new(service: Service, endpoint: &str) -> Result<Self, String> {
        if !endpoint.starts_with("http://") {
            return Err(
                "only http:// is spoken; a collector beside the service can speak TLS for it".to_owned()
            );
        }
        let failed = |error: ExporterBuildError| error.to_string();
        let resource = resource(service);
        let spans = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .build()
            .map_err(failed)?;
        let numbers = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/metrics"))
            .build()
            .map_err(failed)?;
        Ok(Self {
            metrics: SdkMeterProvider::builder()
                .with_resource(resource.clone())
                .with_periodic_exporter(numbers)
                .build(),
            traces: SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(spans).build(),
        })
    }
}

/// `tributary-capture` or `tributary-apply`, unless `OTEL_SERVICE_NAME` says otherwise.
fn resource(service: Service) -> Resource {
    let builder = Resource::builder();
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => builder.build(),
        None => builder.with_service_name(format!("tributary-{service}")).build(),
    }
}

/// Registers an instrument for every name that is not `known` yet: tables and counters come later than the start.
fn observe(meter: &Meter, status: &Status, known: &mut BTreeSet<&'static str>) {
    for metric in metrics(status) {
        if !known.insert(metric.name) {
            continue;
        }
        let (name, status) = (metric.name, status.clone());
        let read = move |observe: &dyn Fn(f64, &[KeyValue])| {
            for metric in metrics(&status).into_iter().filter(|metric| metric.name == name) {
                let mut labels = vec![
                    KeyValue::new("task", status.task().to_owned()),
                    KeyValue::new("service", status.service().name()),
                ];
                labels.extend(metric.labels.into_iter().map(|(name, value)| KeyValue::new(name, value)));
                observe(metric.value, &labels);
            }
        };
        match metric.kind {
            MetricKind::Counter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_description(metric.help)
                    .with_callback(move |instrument| read(&|value, labels| instrument.observe(value, labels)))
                    .build(),
            ),
            MetricKind::Gauge => drop(
                meter
                    .f64_observable_gauge(name)
                    .with_description(metric.help)
                    .with_callback(move |instrument| read(&|value, labels| instrument.observe(value, labels)))
                    .build(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Timing;
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::time::Instant;

    /// Answers every request with 200 and passes on its path and body.
    fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                let (head, body) = loop {
                    let count = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..count]);
                    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&request[..end]).into_owned();
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(": ")?;
                        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
                    });
                    if request.len() >= end + 4 + length.unwrap_or(0) {
                        break (head, request[end + 4..].to_vec());
                    }
                    assert!(count > 0, "the request ends early");
                };
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                if sender.send((path, body)).is_err() {
                    return;
                }
            }
        });
        (address, receiver)
    }

    #[test]
    fn an_event_is_one_line_and_moves_no_cursor() {
        assert_eq!(
            harmless("\u{1b}[2m10:00\u{1b}[0m a\nb\u{1b}[2Jc\u{9b}\n"),
            "\u{1b}[2m10:00\u{1b}[0m a\\nb\\u001b[2Jc\\u009b\n"
        );
        assert_eq!(harmless("{\"a\":1}\n"), "{\"a\":1}\n");
        assert_eq!(harmless("cut \u{1b}["), "cut \\u001b[\n");
    }

    #[test]
    fn metrics_and_traces_reach_a_collector() {
        let (endpoint, received) = collector();
        let providers = Providers::new(Service::Capture, &endpoint).unwrap();
        opentelemetry::global::set_meter_provider(providers.metrics.clone());
        let status = Status::new("shop", Service::Capture);
        let mut known = BTreeSet::new();
        let meter = providers.metrics.meter("tributary");
        observe(&meter, &status, &mut known);
        // A counter and a table that come after the start are found as well.
        status.counter("tributary_reconnects_total", "Reconnects.").fetch_add(1, Ordering::Relaxed);
        status.table("shop.orders").add_rows_applied(5);
        observe(&meter, &status, &mut known);
        status.observe(Timing::Commit, Duration::from_millis(5));
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(providers.traces.tracer("tributary")));
        tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("flush_batch").entered()));
        Telemetry { providers: Some(providers) }.finish();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut wanted = BTreeSet::from([
            ("/v1/metrics", "tributary_uptime_seconds"),
            ("/v1/metrics", "tributary_reconnects_total"),
            ("/v1/metrics", "tributary_commit_seconds"),
            ("/v1/metrics", "shop.orders"),
            ("/v1/metrics", "tributary-capture"),
            ("/v1/traces", "flush_batch"),
        ]);
        while !wanted.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let (path, body) =
                received.recv_timeout(left).unwrap_or_else(|_| panic!("not received: {wanted:?}"));
            let body = String::from_utf8_lossy(&body).into_owned();
            wanted.retain(|(wanted_path, text)| path != *wanted_path || !body.contains(text));
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_spoken_to_is_refused() {
        assert!(Providers::new(Service::Apply, "https://collector:4318").unwrap_err().contains("http://"));
    }
}
