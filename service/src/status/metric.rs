//! The status as numbers with names: one list, which Prometheus' text and OTLP both show.

use super::state::State;
use super::window::as_f64;
use super::{Role, Status, TableDocument};
use std::fmt::Write;
use tributary_schemas::printed::label;

/// Whether a number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One number with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `tributary_…`; counters end in `_total`.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    pub kind: MetricKind,
    /// Label names and values, beside `task` and `service`.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Every metric; those of one name lie together.
#[must_use]
pub fn metrics(status: &Status) -> Vec<Metric> {
    use MetricKind::{Counter, Gauge};
    let document = status.document();
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    let mut out = Vec::new();
    let mut push = |name, help, kind, labels, value| out.push(Metric { name, help, kind, labels, value });
    push(
        "tributary_info",
        "Version and instance, always 1.",
        Gauge,
        vec![("version", document.version.to_owned()), ("instance_id", document.instance.clone())],
        1.0,
    );
    push(
        "tributary_uptime_seconds",
        "Time since the process began.",
        Gauge,
        vec![],
        as_f64(document.uptime_seconds),
    );
    push(
        "tributary_leader",
        "1 if this instance works, 0 if it stands by.",
        Gauge,
        vec![],
        flag(document.role == Role::Leader),
    );
    if let Some(seconds) = document.contact.seconds_ago {
        let name = "tributary_last_contact_seconds";
        let help = "Time since the source (capture), or capture (apply), was heard.";
        push(name, help, Gauge, vec![("with", document.contact.with.to_owned())], seconds);
    }
    push(
        "tributary_tables_parked",
        "Tables that are parked.",
        Gauge,
        vec![],
        as_f64(u64::try_from(document.parked).unwrap_or(u64::MAX)),
    );
    for state in State::ALL {
        let labels = vec![("state", state.name().to_owned())];
        push(
            "tributary_state",
            "1 for the state the service is in.",
            Gauge,
            labels,
            flag(state == document.state),
        );
    }
    push(
        "tributary_throughput_rows_per_second",
        "Rows that reached the other side, over ten seconds.",
        Gauge,
        vec![],
        document.throughput,
    );
    push(
        "tributary_bytes_applied_total",
        "Bytes that reached the other side.",
        Counter,
        vec![],
        as_f64(document.bytes_applied),
    );
    for (name, help, value) in status.counters() {
        push(name, help, Counter, vec![], as_f64(value));
    }
    table_metrics(&document.tables, &mut out);
    out
}

/// Those of the tables, a name at a time.
fn table_metrics(tables: &[TableDocument], out: &mut Vec<Metric>) {
    use MetricKind::{Counter, Gauge};
    type Read = fn(&TableDocument) -> Option<f64>;
    let named: [(&'static str, &'static str, MetricKind, Read); 5] = [
        ("tributary_table_rows_read", "Rows of the initial load that have been read.", Gauge, |table| {
            Some(as_f64(table.rows_read))
        }),
        ("tributary_table_rows_estimated", "Rows of the initial load.", Gauge, |table| {
            Some(as_f64(table.rows_total))
        }),
        ("tributary_table_rows_applied_total", "Row events safe on the other side.", Counter, |table| {
            Some(as_f64(table.rows_applied))
        }),
        ("tributary_table_values_substituted_total", "Values that a policy replaced.", Counter, |table| {
            Some(as_f64(table.values_substituted))
        }),
        ("tributary_table_lag_seconds", "How far the table is behind the source.", Gauge, |table| {
            table.lag_seconds
        }),
    ];
    for table in tables {
        let labels = vec![("table", table.name.clone()), ("state", table.state.name().to_owned())];
        let help = "1 for the state the table is in.";
        out.push(Metric { name: "tributary_table_state", help, kind: Gauge, labels, value: 1.0 });
    }
    for (name, help, kind, read) in named {
        for table in tables {
            let labels = vec![("table", table.name.clone())];
            out.extend(read(table).map(|value| Metric { name, help, kind, labels, value }));
        }
    }
}

/// Prometheus' text format 0.0.4.
#[must_use]
pub fn prometheus(status: &Status) -> String {
    let mut out = String::new();
    let mut last = "";
    for metric in metrics(status) {
        // Writing to a String cannot fail.
        if metric.name != last {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
            };
            let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
            last = metric.name;
        }
        let task = label(status.task());
        let _ = write!(out, "{}{{task=\"{task}\",service=\"{}\"", metric.name, status.service());
        for (name, value) in &metric.labels {
            let _ = write!(out, ",{name}=\"{}\"", label(value));
        }
        let _ = writeln!(out, "}} {}", metric.value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use crate::status::TableState;
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;

    #[test]
    fn the_text_has_each_name_once_and_escapes_labels() {
        let status = Status::new("shop", Service::Apply);
        status.counter("tributary_flushes_total", "Merges.").fetch_add(3, Ordering::Relaxed);
        for name in ["a.b", "odd\"na\\me"] {
            let table = status.table(name);
            table.set_state(TableState::Loading);
            table.add_rows_applied(7);
        }
        let text = prometheus(&status);
        assert!(text.contains("tributary_flushes_total{task=\"shop\",service=\"apply\"} 3\n"), "{text}");
        assert!(text.contains(
            "tributary_table_rows_applied_total{task=\"shop\",service=\"apply\",table=\"a.b\"} 7\n"
        ));
        assert!(text.contains("table=\"odd\\\"na\\\\me\",state=\"loading\"} 1\n"));
        assert!(text.contains("state=\"precheck\"} 1\n") && text.contains("state=\"failed\"} 0\n"));
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len());
        for metric in metrics(&status) {
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{}",
                metric.name
            );
        }
    }
}
