//! The status as numbers with names: one list, which Prometheus' text and OTLP both show.

use super::state::State;
use super::window::as_f64;
use super::{Role, Status, TableDocument};
use prometheus::TextEncoder;
use prometheus::proto::{self, LabelPair, Metric as Sample, MetricFamily, MetricType};
use tributary_schemas::printed::line;

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
    for contact in &document.contacts {
        let name = "tributary_last_contact_seconds";
        let help = "Time since the source (capture), or capture (apply), was heard.";
        let of = contact.task.iter().map(|task| ("of", task.clone()));
        let labels = [("with", contact.with.to_owned())].into_iter().chain(of).collect();
        if let Some(seconds) = contact.seconds_ago {
            push(name, help, Gauge, labels, seconds);
        }
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
    for reader in document.readers.unwrap_or_default() {
        let name = "tributary_reader_lag_records";
        let help = "How many records a reader of the topics is behind their ends, at most.";
        let labels = vec![("reader", reader.name), ("group", reader.group)];
        out.push(Metric { name, help, kind: Gauge, labels, value: as_f64(reader.lag_records) });
    }
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
///
/// # Errors
/// A family that the format cannot show.
pub fn prometheus(status: &Status) -> prometheus::Result<String> {
    let common = [pair("task", status.task()), pair("service", status.service().name())];
    let mut families: Vec<MetricFamily> = Vec::new();
    for metric in metrics(status) {
        let labels = common.iter().cloned();
        let labels = labels.chain(metric.labels.iter().map(|(name, value)| pair(name, value))).collect();
        let sample = sample(metric.kind, labels, metric.value);
        match families.last_mut() {
            Some(family) if family.name() == metric.name => family.mut_metric().push(sample),
            _ => families.push(family(&metric, sample)),
        }
    }
    families.extend(status.timings().families());
    TextEncoder::new().encode_to_string(&families)
}

fn family(metric: &Metric, first: Sample) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(vec![first]);
    family
}

fn sample(kind: MetricKind, labels: Vec<LabelPair>, value: f64) -> Sample {
    let mut sample = Sample::from_label(labels);
    match kind {
        MetricKind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        }
        MetricKind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
    }
    sample
}

/// A label, with what a terminal obeys in its value escaped.
fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(line(value).into_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use crate::status::{ReaderDocument, Readers, TableState, Timing};
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    #[test]
    fn the_text_has_each_name_once_and_escapes_labels() {
        let status = Status::new("shop", Service::Apply);
        status.counter("tributary_flushes_total", "Merges.").fetch_add(3, Ordering::Relaxed);
        for name in ["a.b", "odd\"na\\me\n\u{1b}[2J"] {
            let table = status.table(name);
            table.set_state(TableState::Loading);
            table.add_rows_applied(7);
        }
        let text = prometheus(&status).unwrap();
        assert!(text.contains("tributary_flushes_total{task=\"shop\",service=\"apply\"} 3\n"), "{text}");
        assert!(text.contains(
            "tributary_table_rows_applied_total{task=\"shop\",service=\"apply\",table=\"a.b\"} 7\n"
        ));
        assert!(text.contains("table=\"odd\\\"na\\\\me\\\\n\\\\u001b[2J\",state=\"loading\"} 1\n"), "{text}");
        assert!(text.contains("state=\"precheck\"} 1\n") && text.contains("state=\"failed\"} 0\n"));
        status.observe(Timing::Merge, Duration::from_millis(20));
        let text = prometheus(&status).unwrap();
        let merges = "tributary_merge_seconds_bucket{service=\"apply\",task=\"shop\",le=";
        assert!(text.contains(&format!("{merges}\"0.01\"}} 0\n{merges}\"0.025\"}} 1\n")), "{text}");
        assert!(
            text.contains("tributary_flush_seconds_count{service=\"apply\",task=\"shop\"} 0\n"),
            "{text}"
        );
        let reader = |name: &str, group: &str, lag_records| ReaderDocument {
            name: name.to_owned(),
            group: group.to_owned(),
            lag_records,
            ..ReaderDocument::default()
        };
        assert!(!text.contains("tributary_reader"), "what is not known has no sample");
        let list = Some(vec![reader("dw", "dw.1", 7), reader("dw", "dw.2", 0)]);
        status.set_readers(Readers { list, note: None, asked: None });
        let text = prometheus(&status).unwrap();
        let sample =
            "tributary_reader_lag_records{task=\"shop\",service=\"apply\",reader=\"dw\",group=\"dw.1\"} 7\n";
        assert!(text.contains(sample), "{text}");
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
