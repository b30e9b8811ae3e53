//! What the statuses say over time: answers of `/status` with the time they came enter, a panel to be drawn leaves.
//! Pure: the caller brings the clock.

use crate::format::{count, rate, sparkline, whole_seconds};
use crate::shop::{Size, Table};
use crate::status::Status;
use crate::writer::Written;
use std::collections::VecDeque;
use std::time::Duration;

/// Rates are means over this time: flushes come in bursts.
const WINDOW: Duration = Duration::from_secs(2);
/// Blocks of the sparkline, one a second.
const HISTORY: usize = 24;

/// All that is shown at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Panel {
    /// What the services are doing.
    pub header: String,
    /// One line a table.
    pub tables: Vec<TableLine>,
    /// What the live writer has done.
    pub writer: String,
    /// Rows a second, and the lag.
    pub throughput: String,
}

/// One table of the panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLine {
    /// Its name.
    pub name: &'static str,
    /// How much of it is loaded.
    pub percent: u64,
    /// Rows, rate and time left, or the lag.
    pub text: String,
    /// True once it follows the source.
    pub in_step: bool,
}

/// The memory that rates need.
#[derive(Debug)]
pub struct Progress {
    tables: Vec<TableProgress>,
    capture_state: String,
    apply_state: String,
    now: Duration,
    /// Rows applied a second, second by second.
    history: VecDeque<u64>,
    last_second: (Duration, u64),
    peak: u64,
}

#[derive(Debug)]
struct TableProgress {
    table: Table,
    total: u64,
    applied: u64,
    samples: VecDeque<(Duration, u64)>,
    lag_seconds: Option<f64>,
    is_catching_up: bool,
    in_step: bool,
    stopped: Option<(&'static str, String)>,
}

impl Progress {
    /// Nothing has been seen yet; `size` is what was loaded into the source.
    pub fn new(size: Size) -> Self {
        let tables = Table::ALL
            .map(|table| TableProgress {
                table,
                total: size.rows(table),
                applied: 0,
                samples: VecDeque::new(),
                lag_seconds: None,
                is_catching_up: false,
                in_step: false,
                stopped: None,
            })
            .into();
        Self {
            tables,
            capture_state: String::new(),
            apply_state: String::new(),
            now: Duration::ZERO,
            history: VecDeque::new(),
            last_second: (Duration::ZERO, 0),
            peak: 0,
        }
    }

    /// Takes what both services answered at `now`, the time since the demo's services were started.
    pub fn observe(&mut self, now: Duration, capture: Option<&Status>, apply: Option<&Status>) {
        self.now = now;
        if let Some(capture) = capture {
            self.capture_state.clone_from(&capture.state);
        }
        if let Some(apply) = apply {
            self.apply_state.clone_from(&apply.state);
        }
        for progress in &mut self.tables {
            progress.observe(now, capture, apply);
        }
        let applied = self.tables.iter().map(|table| table.applied).sum::<u64>();
        let (since, before) = self.last_second;
        if now >= since + Duration::from_secs(1) {
            let per_second = per_second(applied.saturating_sub(before), now.saturating_sub(since));
            self.history.push_back(per_second);
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
            self.peak = self.peak.max(per_second);
            self.last_second = (now, applied);
        }
    }

    /// True once every table follows the source.
    pub fn in_step(&self) -> bool {
        self.tables.iter().all(|table| table.in_step)
    }

    /// The largest lag of a table; `None` if a table has not said any.
    pub fn lag_seconds(&self) -> Option<f64> {
        self.tables
            .iter()
            .map(|table| table.lag_seconds)
            .try_fold(0.0, |largest, lag| Some(lag?.max(largest)))
    }

    /// Most rows applied in any one second.
    pub const fn peak(&self) -> u64 {
        self.peak
    }

    /// The first table that will not go on: which service says so, the table, and why.
    pub fn stopped(&self) -> Option<(&'static str, &'static str, &str)> {
        self.tables.iter().find_map(|table| {
            table.stopped.as_ref().map(|(service, reason)| (*service, table.table.name(), reason.as_str()))
        })
    }

    /// What is to be drawn.
    pub fn panel(&self, written: Written) -> Panel {
        Panel {
            header: format!(
                "capture: {:<16} apply: {:<16} {:>12}",
                said(&self.capture_state),
                said(&self.apply_state),
                whole_seconds(self.now.as_secs())
            ),
            tables: self.tables.iter().map(TableProgress::line).collect(),
            writer: format!("live writer  {}", written_line(written)),
            throughput: format!(
                "warehouse    {:<24} {:>9} rows/s, lag {}",
                sparkline(self.history.iter().copied()),
                count(self.history.back().copied().unwrap_or_default()),
                lag(self.lag_seconds())
            ),
        }
    }
}

impl TableProgress {
    fn observe(&mut self, now: Duration, capture: Option<&Status>, apply: Option<&Status>) {
        let captured = capture.and_then(|status| status.table(self.table.name()));
        let applied = apply.and_then(|status| status.table(self.table.name()));
        for (service, status) in [("capture", captured), ("apply", applied)] {
            if let Some(reason) = status.and_then(crate::status::TableStatus::stopped) {
                self.stopped = Some((service, reason));
            }
        }
        if let (Some(captured), Some(applied)) = (captured, applied) {
            self.in_step = captured.in_step() && applied.in_step();
        }
        let Some(applied) = applied else { return };
        self.lag_seconds = applied.lag_seconds;
        self.is_catching_up = applied.state == "catching-up";
        self.applied = applied.rows_applied.unwrap_or(self.applied);
        self.samples.push_back((now, self.applied));
        while self.samples.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.samples.pop_front();
        }
    }

    fn rate(&self) -> u64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return 0 };
        per_second(last.1.saturating_sub(first.1), last.0.saturating_sub(first.0))
    }

    fn line(&self) -> TableLine {
        // Live changes are applied too, so that more than all would be possible.
        let percent = if self.in_step { 100 } else { (self.applied * 100 / self.total.max(1)).min(99) };
        TableLine { name: self.table.name(), percent, text: self.text(), in_step: self.in_step }
    }

    fn text(&self) -> String {
        if let Some((service, reason)) = &self.stopped {
            return format!("stopped by {service}: {reason}");
        }
        if self.in_step {
            return format!("{:>9} rows  in step, lag {}", count(self.applied), lag(self.lag_seconds));
        }
        let rows_per_second = self.rate();
        let left = self.total.saturating_sub(self.applied).checked_div(rows_per_second);
        let remaining = match left {
            _ if self.is_catching_up => "  catching up".to_owned(),
            Some(seconds) if self.applied < self.total => {
                format!("  {} left", whole_seconds(seconds.max(1)))
            }
            _ => String::new(),
        };
        format!("{:>9} rows {:>9}{remaining}", count(self.applied), rate(rows_per_second))
    }
}

/// What the live writer has done, in a line: `+` inserted, `~` updated, `−` deleted.
pub fn written_line(written: Written) -> String {
    format!(
        "{} transactions: +{} ~{} −{} rows, {} key changes",
        count(written.transactions),
        count(written.inserts),
        count(written.updates),
        count(written.deletes),
        count(written.key_changes)
    )
}

fn said(state: &str) -> &str {
    if state.is_empty() { "starting" } else { state }
}

fn lag(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn per_second(rows: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    rows.saturating_mul(1000).checked_div(milliseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::TableStatus;

    const SIZE: Size = Size { customers: 1000, products: 1000, orders: 1000 };

    fn status(state: &str, applied: u64) -> Status {
        let tables = Table::ALL.map(|table| TableStatus {
            name: format!("shop.{}", table.name()),
            state: state.to_owned(),
            rows_applied: Some(applied),
            lag_seconds: Some(0.25),
            ..TableStatus::default()
        });
        Status { state: state.to_owned(), tables: tables.into() }
    }

    fn customers(progress: &Progress) -> TableLine {
        progress.panel(Written::default()).tables.remove(0)
    }

    #[test]
    fn a_loading_table_has_a_rate_and_a_time_left() {
        let mut progress = Progress::new(SIZE);
        progress.observe(Duration::from_secs(1), None, Some(&status("loading", 200)));
        progress.observe(Duration::from_secs(2), None, Some(&status("loading", 400)));
        let line = customers(&progress);
        assert_eq!((line.percent, line.in_step), (40, false));
        assert_eq!(line.text, "      400 rows     200/s  3 s left");
        assert_eq!(progress.peak(), 1000);
    }

    #[test]
    fn a_table_is_in_step_only_if_both_services_say_so() {
        let mut progress = Progress::new(SIZE);
        let (loading, done) = (status("loading", 990), status("synchronizing", 1003));
        progress.observe(Duration::from_secs(1), Some(&loading), Some(&done));
        assert!(!progress.in_step());
        assert_eq!(customers(&progress).percent, 99);
        progress.observe(Duration::from_secs(2), Some(&done), Some(&done));
        assert!(progress.in_step());
        assert_eq!(customers(&progress).text, "    1,003 rows  in step, lag 0.2 s");
    }

    #[test]
    fn old_samples_do_not_slow_the_rate_down() {
        let mut progress = Progress::new(SIZE);
        for second in 0..10 {
            progress.observe(
                Duration::from_secs(second),
                None,
                Some(&status("loading", second.max(5) * 100)),
            );
        }
        assert!(customers(&progress).text.contains(" 100/s"));
    }

    #[test]
    fn the_lag_is_unknown_while_a_table_has_none() {
        let mut progress = Progress::new(SIZE);
        assert_eq!(progress.lag_seconds(), None);
        let mut partly = status("loading", 1);
        partly.tables[0].lag_seconds = Some(3.0);
        progress.observe(Duration::from_secs(1), None, Some(&partly));
        assert_eq!(progress.lag_seconds(), Some(3.0));
        partly.tables[1].lag_seconds = None;
        progress.observe(Duration::from_secs(2), None, Some(&partly));
        assert_eq!(progress.lag_seconds(), None);
    }

    #[test]
    fn a_parked_table_is_found() {
        let mut progress = Progress::new(SIZE);
        let mut parked = status("loading", 0);
        parked.tables[2].state = "parked".to_owned();
        progress.observe(Duration::from_secs(1), Some(&parked), None);
        assert_eq!(progress.stopped(), Some(("capture", "orders", "parked")));
    }

    #[test]
    fn a_service_that_does_not_answer_is_starting() {
        let panel = Progress::new(SIZE).panel(Written::default());
        assert!(panel.header.contains("capture: starting"));
        assert!(panel.throughput.ends_with("0 rows/s, lag –"));
    }
}
