//! The pipeline end to end on real servers: `cargo test -p tributary-tests`. Each test has a task, a database and a
//! schema of its own, so that they run side by side.

mod format;
mod leadership;
mod live;
mod refusals;
mod replay;
mod types;
mod verify;
