//! The crate against real servers, which `deploy/local/servers` starts if they do not run, and its pure parts against
//! oracles of other people's making. Each test has a schema of its own.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod alter;
mod attended;
mod decoder;
mod limits;
mod merge_model;
mod pieces;
mod postgres;
mod random_rows;
mod transcode;
mod union_model;
