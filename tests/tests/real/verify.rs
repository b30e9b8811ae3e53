//! Filled by the verify command's own tests.
