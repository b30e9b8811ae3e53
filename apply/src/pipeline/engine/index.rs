//! Which table of the loop: small, and handed on with each event.

/// A table of the loop. Only `Tables` gives one out: it cannot miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableIndex(pub(super) usize);
