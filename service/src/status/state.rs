//! The words that states are told in.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Before anything moves.
    Precheck,
    /// Some table is in its initial load.
    Loading,
    /// The loads are done; the stream is behind.
    CatchingUp,
    /// The stream is followed as it comes.
    Synchronizing,
    /// A server is away.
    Retrying,
    /// No table can go on.
    Parked,
    /// Ended in good order.
    Stopped,
    /// Ended by an error.
    Failed,
}

impl State {
    /// As it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Precheck => "precheck",
            Self::Loading => "loading",
            Self::CatchingUp => "catching-up",
            Self::Synchronizing => "synchronizing",
            Self::Retrying => "retrying",
            Self::Parked => "parked",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Precheck,
        Self::Loading,
        Self::CatchingUp,
        Self::Synchronizing,
        Self::Retrying,
        Self::Parked,
        Self::Stopped,
        Self::Failed,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableState {
    /// Its load has not begun.
    #[default]
    Waiting,
    /// In its initial load.
    Loading,
    /// Loaded; behind the stream.
    CatchingUp,
    /// Followed as it comes.
    Synchronizing,
    /// Stopped by its data, its DDL or its target; its error says what to do.
    Parked,
    /// Cannot be replicated; its error says why.
    Excluded,
    /// Gone on the source.
    Dropped,
}

impl TableState {
    const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Loading,
        Self::CatchingUp,
        Self::Synchronizing,
        Self::Parked,
        Self::Excluded,
        Self::Dropped,
    ];

    /// As it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Loading => "loading",
            Self::CatchingUp => "catching-up",
            Self::Synchronizing => "synchronizing",
            Self::Parked => "parked",
            Self::Excluded => "excluded",
            Self::Dropped => "dropped",
        }
    }

    pub(super) fn to_byte(self) -> u8 {
        let index = Self::ALL.iter().position(|state| *state == self);
        index.and_then(|index| u8::try_from(index).ok()).unwrap_or(0)
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// Whether an instance works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Not known yet.
    Starting,
    /// Waits, ready, for the instance that works to end.
    Standby,
    /// Works: leads the task (capture), or has partitions (apply).
    Leader,
}

/// The state to show: an end before an outage, an outage before what it interrupts, `parked` where every table that could
/// move is, and `synchronizing` only while what is followed is not `lost` and every table is in step.
pub(super) fn overall(
    state: State,
    retrying: bool,
    lost: bool,
    tables: impl Iterator<Item = TableState>,
) -> State {
    match state {
        State::Stopped | State::Failed => state,
        _ if retrying => State::Retrying,
        State::Precheck | State::Retrying | State::Parked => state,
        State::Loading | State::CatchingUp | State::Synchronizing => {
            let (mut parked, mut moving, mut behind) = (false, false, lost);
            for table in tables {
                match table {
                    TableState::Parked => parked = true,
                    TableState::Excluded | TableState::Dropped => {}
                    TableState::CatchingUp => (moving, behind) = (true, true),
                    TableState::Waiting | TableState::Loading | TableState::Synchronizing => moving = true,
                }
            }
            match state {
                _ if parked && !moving => State::Parked,
                State::Synchronizing if behind => State::CatchingUp,
                state => state,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serde_writes_and_bytes_round_trip() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for state in TableState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(TableState::from_byte(state.to_byte()), state);
        }
    }

    #[test]
    fn the_worst_that_holds_for_the_whole_is_shown() {
        use TableState::{Excluded, Parked, Synchronizing};
        let over =
            |state, retrying, tables: &[TableState]| overall(state, retrying, false, tables.iter().copied());
        assert_eq!(over(State::Synchronizing, false, &[Parked, Synchronizing]), State::Synchronizing);
        assert_eq!(over(State::Synchronizing, false, &[Parked, Excluded]), State::Parked);
        assert_eq!(over(State::Synchronizing, false, &[Excluded]), State::Synchronizing);
        assert_eq!(over(State::Loading, true, &[Parked]), State::Retrying);
        assert_eq!(over(State::Failed, true, &[Parked]), State::Failed);
        let behind = [Synchronizing, TableState::CatchingUp, Parked];
        assert_eq!(over(State::Synchronizing, false, &behind), State::CatchingUp);
        let lost = overall(State::Synchronizing, false, true, [Synchronizing].into_iter());
        assert_eq!(lost, State::CatchingUp);
    }
}
