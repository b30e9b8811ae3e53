//! The commands of `apply`: each takes a checked configuration and ends with an exit status.

pub mod check;
pub mod drop;
pub mod replay;
pub mod run;
pub mod status;
pub mod verify;
