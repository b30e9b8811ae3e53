//! The one question that every error answers: can trying again help?

/// Errors that say whether trying again can help. A server that is away can come back; a wrong password, a missing
/// privilege and broken data stay as they are.
pub trait Transient {
    /// True if the same attempt may succeed later.
    fn is_transient(&self) -> bool;
}
