//! Durations enter, percentiles in milliseconds leave.

use std::fmt;
use std::time::Duration;

/// Sorted durations.
pub(super) struct Percentiles(Vec<Duration>);

impl Percentiles {
    /// Of at least one duration; of none, all are zero.
    pub(super) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// Nearest rank: the smallest duration that at least this share, in thousandths, does not exceed.
    fn at(&self, thousandths: usize) -> Duration {
        let rank = (self.0.len() * thousandths).div_ceil(1000);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Cells of a table: p50, p90, p99, p99.9, max, samples.
impl fmt::Display for Percentiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for thousandths in [500, 900, 990, 999, 1000] {
            write!(formatter, "{:.1} | ", self.at(thousandths).as_secs_f64() * 1e3)?;
        }
        write!(formatter, "{}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let percentiles = Percentiles::of((1..=1000).rev().map(Duration::from_millis).collect());
        assert_eq!(percentiles.to_string(), "500.0 | 900.0 | 990.0 | 999.0 | 1000.0 | 1000");
        assert_eq!(Percentiles::of(vec![Duration::from_millis(7)]).at(1), Duration::from_millis(7));
        assert_eq!(Percentiles::of(vec![]).at(990), Duration::ZERO);
    }
}
