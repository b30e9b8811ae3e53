//! The task's topics as apply reads them: the history, and the records of the tables.

pub mod history;
