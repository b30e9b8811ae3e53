//! When `run --until-caught-up` is done: the snapshots are complete and the stream is past what the source had when
//! the process started.

use crate::remedies;
use crate::sequencer::Sequencer;
use tributary_schemas::position::Position;
use tributary_service::exit::{Exit, Failure};
use tributary_service::status::{TableDocument, TableState};

/// Where the source stood.
#[derive(Debug, Clone)]
pub(super) struct Target(Position);

impl Target {
    /// Everything before `position` is to be published.
    #[must_use]
    pub(super) const fn new(position: Position) -> Self {
        Self(position)
    }

    /// True once everything is.
    #[must_use]
    pub(super) fn is_reached(&self, sequencer: &Sequencer) -> bool {
        sequencer.is_loaded() && sequencer.passed().covers(&self.0)
    }
}

/// What a run that came to its target is: done; or a failure if tables are parked, for those are not caught up.
///
/// # Errors
/// The tables, each with what is to be done. Their messages, which may hold the key of a row, are in the status alone.
pub(super) fn verdict(tables: &[TableDocument]) -> Result<Exit, Failure> {
    let parked = tables.iter().filter(|table| table.state == TableState::Parked);
    let lines: Vec<String> = parked
        .map(|table| match &table.error {
            Some(error) => format!("{} is parked ({}): {}", table.name, error.code, error.remedy),
            None => format!("{} is parked", table.name),
        })
        .collect();
    match lines.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Failure::new("not every table could be published", lines.join("\n"))
            .remedy(remedies::parked_at_the_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_service::Service;
    use tributary_service::status::{ErrorDocument, Status};

    #[test]
    fn a_run_that_leaves_parked_tables_behind_fails_and_names_them() {
        let status = Status::new("t", Service::Capture);
        status.table("t.a").set_state(TableState::Synchronizing);
        let error = || ErrorDocument::new("bad-key", "the row id=4711: a zero date", "correct the row");
        status.table("t.b").exclude(error());
        assert_eq!(verdict(&status.document().tables), Ok(Exit::Done), "left out is said by the check");
        status.table("t.c").park(error());
        let failure = verdict(&status.document().tables).unwrap_err();
        assert_eq!(failure.why, "t.c is parked (bad-key): correct the row");
        assert_eq!(failure.exit, Exit::Failed);
    }
}
