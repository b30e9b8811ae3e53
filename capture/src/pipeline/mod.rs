//! Wiring: what is connected to what, and what happens when one of them ends. No decisions about rows here.

mod driver;
mod leader;
mod precheck;
mod restore;
pub(crate) mod seek;
mod service;
pub(crate) mod session;
mod shared;
mod source;
mod standby;
mod stream;
mod target;
mod watch;

pub use service::run;
