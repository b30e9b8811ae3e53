//! The pipeline end to end on real servers: `cargo test -p tributary-tests`. Each test has a task, a database and a
//! schema of its own, so that they run side by side.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absent;
mod around;
mod columns;
mod compressed;
mod copies;
mod definitions;
mod destination;
mod documents;
mod equality;
mod followed;
mod format;
mod gaps;
mod history;
mod instances;
mod joining;
mod kafka_clients;
mod keys;
mod leadership;
mod live;
mod merged;
mod plain;
mod readers;
mod refusals;
mod remedies;
mod replay;
mod silence;
mod slices;
mod source;
mod topics;
mod types;
mod unique_keys;
mod verify;
mod wide;
