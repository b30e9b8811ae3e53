//! The shell that `capture` and `apply` share: from the command line and the configuration to logs, retries, HTTP
//! and an orderly end. Nothing here knows about binlogs or merges.

pub mod ask;
pub mod attended;
pub mod check;
pub mod cli;
pub mod codes;
pub mod exit;
pub mod http;
pub mod kafka;
pub mod keys;
pub mod load;
pub mod registry;
pub mod retry;
pub mod sabotage;
pub mod shell;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod waits;
