//! Zero and partial dates (`0000-00-00`, `2024-05-00`), and the nearest date that exists.

/// An instant in no time zone that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    /// Microseconds since midnight.
    micros: i64,
    /// The text said just this.
    exact: bool,
}

/// Microseconds since 1970-01-01 00:00 of the valid instant nearest to a date as MySQL prints it, with or without a
/// time: day 0 is the first of its month, month 0 the January of its year, year 0 the year 1, and a day past the
/// end of its month the month's last. `None` if the text is no date.
#[must_use]
pub(crate) fn nearest_micros(text: &[u8]) -> Option<i64> {
    let civil = parse(std::str::from_utf8(text).ok()?)?;
    Some(days_from_civil(civil.year, civil.month, civil.day) * 86_400_000_000 + civil.micros)
}

/// The same as text, `YYYY-MM-DD` and, unless `date_only`, the time; with whether it is what the text said.
#[must_use]
pub(crate) fn nearest_text(text: &str, date_only: bool) -> Option<(String, bool)> {
    let Civil { year, month, day, micros, exact } = parse(text)?;
    let mut out = format!("{year:04}-{month:02}-{day:02}");
    if !date_only {
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        out += &format!(" {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if fraction > 0 {
            out += &format!(".{fraction:06}");
        }
    }
    Some((out, exact))
}

fn parse(text: &str) -> Option<Civil> {
    let (date, time) = text.split_once(' ').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.splitn(3, '-').map(number);
    let said = (parts.next()??, parts.next()??, parts.next()??);
    let (year, month, day) = said;
    if year > 9999 || month > 12 || day > 31 {
        return None;
    }
    let year = year.max(1);
    let (month, day) = if month == 0 { (1, 1) } else { (month, day.max(1)) };
    let day = day.min(days_in(year, month));
    let micros = match time {
        Some(time) => time_micros(time)?,
        None => 0,
    };
    Some(Civil { year, month, day, micros, exact: said == (year, month, day) })
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn time_micros(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').map_or((text, ""), |(clock, fraction)| (clock, fraction));
    let mut parts = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"))? };
    Some((hour * 3600 + minute * 60 + second) * 1_000_000 + fraction)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years from 1 on. The year is counted from March,
/// so that the leap day is its last and 153 days are five months.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> i64 {
        let datetime: jiff::civil::DateTime = text.parse().unwrap();
        datetime.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_microsecond()
    }

    #[test]
    fn the_nearest_valid_date_is_taken() {
        for (text, nearest) in [
            ("0000-00-00", "0001-01-01T00:00:00"),
            ("0000-00-00 00:00:00.000000", "0001-01-01T00:00:00"),
            ("2024-00-15", "2024-01-01T00:00:00"),
            ("2024-05-00 12:34:56.789", "2024-05-01T12:34:56.789"),
            ("2023-02-31", "2023-02-28T00:00:00"),
            ("2024-02-30", "2024-02-29T00:00:00"),
            ("1900-02-29", "1900-02-28T00:00:00"),
            ("9999-12-29 23:59:59.999999", "9999-12-29T23:59:59.999999"),
        ] {
            assert_eq!(nearest_micros(text.as_bytes()), Some(instant(nearest)), "{text}");
        }
    }

    #[test]
    fn dates_are_printed_as_they_are_taken() {
        for (text, date_only, printed, exact) in [
            ("2020-02-03 04:05:06.070", false, "2020-02-03 04:05:06.070000", true),
            ("2020-02-03 04:05:06", false, "2020-02-03 04:05:06", true),
            ("2020-02-03", true, "2020-02-03", true),
            ("0000-00-00", true, "0001-01-01", false),
        ] {
            assert_eq!(nearest_text(text, date_only), Some((printed.to_owned(), exact)));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "2024-13-01", "2024-01-32", "2024-01", "a-b-c", "2024-01-01 24:00:00", "2024-01-01 1:2"]
        {
            assert_eq!(nearest_micros(text.as_bytes()), None, "{text}");
        }
        assert_eq!(nearest_micros(&[0xff]), None);
    }

    #[test]
    fn every_day_of_four_centuries_agrees_with_the_calendar() {
        let mut date = jiff::civil::date(1799, 12, 31);
        while date.year() < 2201 {
            let days = days_from_civil(date.year().into(), date.month().into(), date.day().into());
            let expected = date.since(jiff::civil::date(1970, 1, 1)).unwrap().get_days();
            assert_eq!(days, i64::from(expected));
            date = date.tomorrow().unwrap();
        }
    }
}
