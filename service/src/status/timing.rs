//! How long that takes which happens once a transaction, as histograms. Prometheus reads them here; OTLP has an
//! instrument of its own for each, for OpenTelemetry knows no histogram that is read from elsewhere.
//!
//! Invariant: to observe allocates nothing; what is exported takes the lock of its instrument, once a transaction.

use crate::Service;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram as Exported;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts};
use std::time::Duration;
use tributary_schemas::printed::line;

/// Upper bounds, seconds: from the commit of one row on a fast disk to a merge that waits for somebody's lock.
const BOUNDS: [f64; 18] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    7200.0,
];

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// COMMIT, of a transaction on Kafka (capture) or of a flush in the destination (apply).
    Commit,
    /// All that is done for a batch, from the wait for a connection to the COMMIT.
    Flush,
    /// The statements that move staged rows into the target.
    Merge,
    /// From the source's write of a row to the destination's commit.
    Latency,
}

impl Timing {
    const ALL: [Self; 4] = [Self::Commit, Self::Flush, Self::Merge, Self::Latency];

    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::Commit => ("tributary_commit_seconds", "COMMIT of a transaction on the other side."),
            Self::Flush => ("tributary_flush_seconds", "Writing a batch into the destination, in all."),
            Self::Merge => ("tributary_merge_seconds", "Merging the staged rows of a batch into the target."),
            Self::Latency => (
                "tributary_latency_seconds",
                "From the source's write of a row to its commit in the destination.",
            ),
        }
    }

    fn is_of(self, service: Service) -> bool {
        self == Self::Commit || service == Service::Apply
    }
}

/// The histograms of a service.
#[derive(Debug)]
pub(super) struct Timings {
    /// `task` and `service`, for OTLP.
    labels: [KeyValue; 2],
    timed: Vec<(Timing, Histogram, Exported<f64>)>,
}

impl Timings {
    /// Exports to the provider that is the process's own by now (see [`crate::telemetry`]).
    pub(super) fn new(task: &str, service: Service) -> Self {
        let meter = opentelemetry::global::meter("tributary");
        let timed = Timing::ALL.into_iter().filter(|timing| timing.is_of(service)).map(|timing| {
            let (name, help) = timing.name_and_help();
            let shown = HistogramOpts::new(name, help)
                .buckets(BOUNDS.to_vec())
                .const_label("task", line(task))
                .const_label("service", service.name());
            let shown =
                Histogram::with_opts(shown).expect("names and bounds are constants that are in order");
            let exported = meter.f64_histogram(name).with_description(help).with_unit("s");
            (timing, shown, exported.with_boundaries(BOUNDS.to_vec()).build())
        });
        let labels = [KeyValue::new("task", task.to_owned()), KeyValue::new("service", service.name())];
        Self { labels, timed: timed.collect() }
    }

    pub(super) fn observe(&self, timing: Timing, took: Duration) {
        let found = self.timed.iter().find(|(of, ..)| *of == timing);
        debug_assert!(found.is_some(), "{timing:?} is another service's");
        if let Some((_, shown, exported)) = found {
            shown.observe(took.as_secs_f64());
            exported.record(took.as_secs_f64(), &self.labels);
        }
    }

    /// As Prometheus has them.
    pub(super) fn families(&self) -> impl Iterator<Item = MetricFamily> {
        self.timed.iter().flat_map(|(_, shown, _)| shown.collect())
    }
}
