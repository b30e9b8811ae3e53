//! Reads a task's topics: the history, the records of its tables, where partitions end, who else is in the group, and whether
//! capture is there.

pub mod beat;
pub mod consumer;
pub mod ends;
pub mod error;
pub mod history;
pub mod members;
pub mod reader;
