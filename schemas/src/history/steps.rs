//! How a series of numbers goes up, as a text: the differences in their order, one that comes several times in a row
//! once, with how often. `5x9999 3 7 2x4`.

use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use thiserror::Error;

/// Differences, each with how often it comes in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Steps(Vec<(u32, u32)>);

/// A text that does not say how a series goes up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not the step of a series: expected as in 5x3 or 5, neither of them 0")]
pub struct NotAStep(String);

impl Steps {
    /// No difference: the series is one number.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The same difference, `times` in a row.
    #[must_use]
    pub fn even(step: u32, times: u32) -> Self {
        Self(Vec::from_iter((step > 0 && times > 0).then_some((step, times))))
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the next difference.
    pub fn push(&mut self, step: u32) {
        match self.0.last_mut() {
            Some((last, times)) if *last == step && *times < u32::MAX => *times += 1,
            _ => self.0.push((step, 1)),
        }
    }

    /// From the first number to the last.
    #[must_use]
    pub fn distance(&self) -> u32 {
        let all = self.0.iter().map(|(step, times)| step.saturating_mul(*times));
        all.fold(0, u32::saturating_add)
    }

    /// True if the series comes by the number that lies `distance` behind the first one.
    #[must_use]
    pub fn meets(&self, mut distance: u32) -> bool {
        for (step, times) in &self.0 {
            let span = step.saturating_mul(*times);
            if distance <= span {
                return distance.checked_rem(*step) == Some(0);
            }
            distance -= span;
        }
        distance == 0
    }

    /// The series that begins with `first`.
    pub fn into_series(self, first: u32) -> impl Iterator<Item = u32> {
        let steps = self.0.into_iter().flat_map(|(step, times)| (0..times).map(move |_| step));
        let behind = steps.scan(first, |number, step| {
            *number = number.saturating_add(step);
            Some(*number)
        });
        std::iter::once(first).chain(behind)
    }
}

impl Display for Steps {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        for (place, (step, times)) in self.0.iter().enumerate() {
            out.write_str(if place == 0 { "" } else { " " })?;
            match times {
                1 => write!(out, "{step}")?,
                _ => write!(out, "{step}x{times}")?,
            }
        }
        Ok(())
    }
}

impl From<Steps> for String {
    fn from(steps: Steps) -> Self {
        steps.to_string()
    }
}

impl TryFrom<String> for Steps {
    type Error = NotAStep;

    fn try_from(text: String) -> Result<Self, NotAStep> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        let parse = |word: &str| {
            let (step, times) = word.split_once('x').unwrap_or((word, "1"));
            number(step).zip(number(times)).ok_or_else(|| NotAStep(word.to_owned()))
        };
        text.split_whitespace().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_was_made_of() {
        let mut steps = Steps::even(5, 3);
        [3, 3, 7].into_iter().for_each(|step| steps.push(step));
        assert_eq!(steps.to_string(), "5x3 3x2 7");
        assert_eq!(Steps::try_from(steps.to_string()), Ok(steps.clone()));
        assert_eq!(steps.distance(), 28);
        let series: Vec<u32> = steps.clone().into_series(10).collect();
        assert_eq!(series, [10, 15, 20, 25, 28, 31, 38]);
        for number in 10..50 {
            assert_eq!(steps.meets(number - 10), series.contains(&number), "{number}");
        }
        for wrong in ["0", "x", "5x", "x5", "5x0", "-1", "5,3"] {
            assert!(Steps::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(Steps::try_from(String::new()).is_ok_and(|steps| steps.is_empty()));
    }
}
