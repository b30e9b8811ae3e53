//! Wiring: what is connected to what, and what happens when one of them ends. No decisions about rows here.

pub mod completeness;
mod driver;
pub mod leader;
pub mod position;
mod restore;
pub mod seek;
mod service;
pub mod session;
mod source;
mod standby;
pub mod stream;
pub mod target;
mod watch;

pub use service::run;
