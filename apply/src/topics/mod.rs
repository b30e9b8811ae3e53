//! The task's topics as apply reads them: the history, and the records of the tables.

pub mod beat;
pub mod consumer;
pub mod ends;
pub mod error;
pub mod history;
pub mod members;
pub mod reader;
