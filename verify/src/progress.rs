//! How far a table is: a bar on a terminal, a line now and then elsewhere. Always on stderr; stdout has the results.

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(10);
/// Rows between two looks at the clock.
const STRIDE: u64 = 1_024;

/// The progress of one pass over both sides of a table.
pub(crate) struct Progress {
    label: String,
    bar: Option<ProgressBar>,
    total: u64,
    rows: u64,
    begun: Instant,
    shown: Instant,
}

impl Progress {
    /// Begins; `total` is about the number of rows of both sides.
    #[must_use]
    pub(crate) fn begin(label: String, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(label.clone());
            bar
        });
        let now = Instant::now();
        Self { label, bar, total, rows: 0, begun: now, shown: now }
    }

    /// Another row has been read.
    pub(crate) fn row(&mut self) {
        self.rows += 1;
        if self.rows.is_multiple_of(STRIDE) {
            self.show();
        }
    }

    fn show(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_length(self.total.max(self.rows));
            bar.set_position(self.rows);
            bar.set_message(line(self.rows, self.total, self.begun.elapsed()));
        } else if self.shown.elapsed() >= LINE {
            self.shown = Instant::now();
            let text = format!("{}: {}\n", self.label, line(self.rows, self.total, self.begun.elapsed()));
            // With stderr closed there is nobody left to tell.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `rows` of `total` rows of both sides, as a person counts them: a row of the table is one row.
fn line(rows: u64, total: u64, took: Duration) -> String {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = (rows.saturating_mul(500) / milliseconds).max(1);
    let (rows, total) = (rows / 2, total / 2);
    let left = total.saturating_sub(rows) / rate;
    let [rows, total, rate] = [rows, total, rate].map(HumanCount);
    format!("{rows} of about {total} rows, {rate} rows/s, {left} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rows_rate_and_time_left() {
        let text = line(10_000, 40_000, Duration::from_secs(2));
        assert_eq!(text, "5,000 of about 20,000 rows, 2,500 rows/s, 6 s left");
        assert!(line(9, 5, Duration::ZERO).ends_with(" 0 s left"));
    }
}
