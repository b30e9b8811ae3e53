//! Dates as MySQL stores them, part by part, turned into the counts that Avro holds. Shared by the two ways a row is
//! read, so that both call the same dates impossible.
//!
//! Invariant: `None` for exactly the dates the proleptic Gregorian calendar does not have: a zero month or day, a day
//! past its month's end (`ALLOW_INVALID_DATES`), and what is out of a field's range. Year 0 exists.

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Days from 1970-01-01 to this date.
#[must_use]
pub fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let year = i32::from(year);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > length || year > 9999 {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last; 4800 years more keep everything positive.
    let month = i32::from(month);
    let before_march = i32::from(month < 3);
    let years = year + 4800 - before_march;
    let months = month + 12 * before_march - 3;
    let in_year = (153 * months + 2) / 5 + i32::from(day) - 1;
    Some(years * 365 + years / 4 - years / 100 + years / 400 + in_year - 2_472_632)
}

/// Microseconds from 1970-01-01 00:00 to this moment.
#[must_use]
pub fn micros(date: (u16, u8, u8), time: (u8, u8, u8), micros: u32) -> Option<i64> {
    let (hour, minute, second) = time;
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let days = i64::from(days(date.0, date.1, date.2)?);
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some((days * SECONDS_PER_DAY + seconds) * MICROS_PER_SECOND + i64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_follows_the_one_before() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 3, 1), Some(11017));
        assert_eq!(days(0, 1, 1), Some(-719_528));
        assert_eq!(days(9999, 12, 31), Some(2_932_896));
        let mut expected = -719_528;
        for year in 0..=9999 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(days) = days(year, month, day) {
                        assert_eq!(days, expected, "{year}-{month}-{day}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, 2_932_897);
    }

    #[test]
    fn what_the_calendar_does_not_have_is_none() {
        for (year, month, day) in
            [(0, 0, 0), (2024, 0, 1), (2024, 1, 0), (2023, 2, 29), (2024, 4, 31), (2024, 13, 1)]
        {
            assert_eq!(days(year, month, day), None);
        }
        assert_eq!(micros((1969, 12, 31), (23, 59, 59), 999_999), Some(-1));
        assert_eq!(micros((1970, 1, 1), (24, 0, 0), 0), None);
    }
}
