//! Reading MySQL: connection, dialect, catalog, rows to Avro, the SQL of chunks.

pub mod catalog;
pub mod connect;
pub mod dialect;
pub mod error;
pub mod publish;
