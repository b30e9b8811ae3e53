//! Reading MySQL: connection, dialect, catalog, rows to Avro, the SQL of chunks.

pub mod attended;
pub mod catalog;
pub mod charset;
pub mod chunk;
mod columns;
pub mod connect;
pub mod definition;
pub mod dialect;
pub mod error;
pub mod facts;
pub mod keys;
mod options;
pub mod publish;
pub mod replication;
pub mod rows;
