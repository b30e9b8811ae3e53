//! Rows and definitions of the source become rows and tables of the warehouse. What enters is Avro datums, definitions of
//! tables and what the catalog says of the destination; what leaves is bytes of binary COPY and SQL texts. Pure: no connection
//! is made here.

pub mod belongings;
pub mod changes;
pub mod copy;
pub mod ddl;
pub(crate) mod defaults;
pub mod dependents;
pub mod dialect;
pub mod encode;
pub(crate) mod hazards;
pub mod layout;
pub mod limits;
pub mod names;
pub mod numeric;
pub mod operations;
mod pairing;
pub mod plan;
pub mod raw;
pub mod slice;
pub mod sql;
pub mod target;
pub mod union;
mod widened;
pub(crate) mod zero_date;
