//! Short names for the items of a report.

use super::completeness::Finding;

pub(crate) use tributary_service::check::{CheckItem as Item, Outcome};

/// Fine as it is.
pub(super) fn pass(name: &'static str, found: impl Into<String>) -> Item {
    Item::pass(name, found)
}

/// The task can run; something may go wrong later.
pub(super) fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Item {
    Item::warn(name, found, remedy)
}

/// The task, or one of its tables, cannot run.
pub(super) fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Item {
    Item::fail(name, found, remedy)
}

/// What to do about tables that cannot be replicated; with `strict`, none is left out.
pub(super) const fn left_out(strict: bool) -> &'static str {
    if strict {
        "change what is named, or take the tables out of capture.tables, or set strict = false: `run` then leaves them out \
         and replicates the others"
    } else {
        "`run` leaves these tables out and replicates the others"
    }
}

impl From<Finding> for Item {
    fn from(Finding { name, found, remedy }: Finding) -> Self {
        match remedy {
            Some(remedy) => fail(name, found, remedy),
            None => pass(name, found),
        }
    }
}
