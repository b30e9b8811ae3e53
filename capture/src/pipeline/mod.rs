//! Wiring: what is connected to what, and what happens when one of them ends. No decisions about rows here.

pub mod leader;
pub mod stream;
