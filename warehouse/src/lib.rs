//! The warehouse: its sessions, what a task keeps in it, what each table of the task is there, and the SQL and the bytes by
//! which rows and definitions get into it.
//!
//! `destination` talks to the server, `bookkeeping` is the task's own tables, `merge` makes statements and rows and asks
//! nobody, `tables` puts together what the history, the configuration and the catalog say of one table.

pub mod bookkeeping;
pub mod destination;
pub mod merge;
pub mod remedies;
pub mod tables;
