//! Numbers enter, short texts for people leave. Pure.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration as a person says it: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // Rounded to the nearest.
    whole_seconds((duration + Duration::from_millis(500)).as_secs())
}

/// The same, of a number that has no parts.
pub fn whole_seconds(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {:02} s", seconds / 60, seconds % 60) }
}

/// Rows a second, to three digits, since the last ones dance.
pub fn rate(rows_per_second: u64) -> String {
    let mut unit = 1;
    while rows_per_second / unit >= 1000 {
        unit *= 10;
    }
    format!("{}/s", count(rows_per_second / unit * unit))
}

/// The last values as a row of blocks, as high as they are large beside the largest.
pub fn sparkline(values: impl ExactSizeIterator<Item = u64> + Clone) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.clone().max().unwrap_or_default().max(1);
    values
        .map(|value| {
            let height = usize::try_from(value.saturating_mul(7) / largest).unwrap_or_default();
            BLOCKS.get(height).copied().unwrap_or('█')
        })
        .collect()
}

/// `left` and, far enough behind it, `right`: a column of durations.
pub fn with_right(left: &str, right: &str) -> String {
    const WIDTH: usize = 74;
    let used = left.chars().count() + right.chars().count();
    format!("{left}{}{right}", " ".repeat(WIDTH.saturating_sub(used).max(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn durations_keep_what_matters() {
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_millis(9_960)), "10 s");
        assert_eq!(duration(Duration::from_millis(59_400)), "59 s");
        assert_eq!(duration(Duration::from_millis(59_700)), "1 min 00 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(987), "987/s");
        assert_eq!(rate(123_456), "123,000/s");
    }

    #[test]
    fn a_sparkline_reaches_from_bottom_to_top() {
        assert_eq!(sparkline([0, 50, 100].into_iter()), "▁▄█");
        assert_eq!(sparkline([0, 0].into_iter()), "▁▁");
        assert_eq!(sparkline([u64::MAX].into_iter()), "▂");
    }

    #[test]
    fn the_right_side_is_in_one_column() {
        assert_eq!(with_right("✓ a", "1 s").chars().count(), 74);
        assert_eq!(with_right(&"x".repeat(80), "1 s"), format!("{}  1 s", "x".repeat(80)));
    }
}
