//! Rates over a sliding window, from running totals. Pure: the time comes in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back a rate looks. Long enough to hide the rhythm of batches, short enough to show a stop.
const SPAN: Duration = Duration::from_secs(10);

/// Totals at times, newest last; never empty once sampled.
#[derive(Debug, Clone, Default)]
pub struct Window {
    samples: VecDeque<(Instant, u64)>,
}

impl Window {
    /// Takes the total at `now`. One sample older than the span is kept, so that a rate always covers the span.
    pub fn sample(&mut self, now: Instant, total: u64) {
        self.samples.push_back((now, total));
        while let Some((second, _)) = self.samples.get(1)
            && now.saturating_duration_since(*second) >= SPAN
        {
            self.samples.pop_front();
        }
    }

    /// Units a second over the span, or over what has been sampled so far.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let (Some((from, least)), Some((to, most))) = (self.samples.front(), self.samples.back()) else {
            return 0.0;
        };
        let seconds = to.saturating_duration_since(*from).as_secs_f64();
        if seconds <= 0.0 { 0.0 } else { as_f64(most.saturating_sub(*least)) / seconds }
    }
}

/// The nearest float; counts of rows below 2^52 are exact.
#[must_use]
pub fn as_f64(count: u64) -> f64 {
    let [a, b, c, d, e, f, g, h] = count.to_be_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) * 4_294_967_296.0
        + f64::from(u32::from_be_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(samples: &[(u64, u64)]) -> f64 {
        let start = Instant::now();
        let mut window = Window::default();
        for (second, total) in samples {
            window.sample(start + Duration::from_secs(*second), *total);
        }
        window.per_second()
    }

    #[test]
    fn a_rate_covers_the_last_ten_seconds() {
        assert!(rate(&[]).abs() < 1e-9);
        assert!(rate(&[(0, 100)]).abs() < 1e-9);
        assert!((rate(&[(0, 0), (1, 500), (2, 1_000)]) - 500.0).abs() < 1e-9);
        // A burst twenty seconds ago is forgotten.
        assert!(rate(&[(0, 0), (1, 9_999), (11, 9_999), (21, 9_999)]).abs() < 1e-9);
        let steady: Vec<(u64, u64)> = (0..100).map(|second| (second, second * 7)).collect();
        assert!((rate(&steady) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn old_samples_are_let_go() {
        let start = Instant::now();
        let mut window = Window::default();
        for second in 0..1_000 {
            window.sample(start + Duration::from_secs(second), second);
        }
        assert!(window.samples.len() <= 12);
        assert!((as_f64(u64::MAX) - 1.844_674_407_370_955_2e19).abs() < 1e4);
        assert!((as_f64(4_294_967_297) - 4_294_967_297.0).abs() < 1e-9);
    }
}
