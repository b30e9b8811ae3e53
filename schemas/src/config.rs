//! The configuration, as types.
