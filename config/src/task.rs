//! A task's name. It becomes part of topics, groups, transactional ids and table names, so its alphabet is the
//! smallest common one.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use thiserror::Error;

/// Longest name, in bytes.
const MAX_LENGTH: usize = 64;

/// A checked task name: `[A-Za-z][A-Za-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskName(String);

/// A text that cannot name a task.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} cannot name a task: a name is 1 to {MAX_LENGTH} characters out of A-Z, a-z, 0-9, _ and -, and begins with a letter"
)]
pub struct TaskNameError(String);

impl TaskName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskName {
    type Err = TaskNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.len() <= MAX_LENGTH
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(legal)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(TaskNameError(text.to_owned()))
        }
    }
}

impl Deref for TaskName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "shop", "shop_2", "Shop-eu", &"a".repeat(64)] {
            assert_eq!(good.parse::<TaskName>().unwrap().as_str(), good);
        }
        for bad in ["", "2shop", "_shop", "-shop", "shop eu", "shop.eu", "shöp", &"a".repeat(65)] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad}");
        }
    }
}
