//! The task's topics as apply reads them: the history, and the records of the tables.

pub(crate) mod beat;
pub(crate) mod consumer;
pub mod ends;
pub(crate) mod error;
pub mod history;
pub(crate) mod members;
pub mod reader;
