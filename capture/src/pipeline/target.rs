//! When `run --until-caught-up` is done: the snapshots are complete and the stream is past what the source had when
//! the process started.

use crate::sequencer::Sequencer;
use tributary_schemas::position::Position;

/// Where the source stood.
#[derive(Debug, Clone)]
pub struct Target(Position);

impl Target {
    /// Everything before `position` is to be published.
    #[must_use]
    pub const fn new(position: Position) -> Self {
        Self(position)
    }

    /// True once everything is.
    #[must_use]
    pub fn is_reached(&self, sequencer: &Sequencer) -> bool {
        sequencer.is_loaded() && sequencer.passed().covers(&self.0)
    }
}
