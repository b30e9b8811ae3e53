//! Batches become rows of the warehouse. What enters is Avro datums, definitions of tables and what the catalog says
//! of the destination; what leaves is bytes of binary COPY and SQL texts. Pure: no connection is made here.

pub mod belongings;
pub mod changes;
pub mod copy;
pub mod ddl;
pub mod defaults;
pub mod dependents;
pub mod dialect;
pub mod encode;
pub mod hazards;
pub mod layout;
pub mod limits;
pub mod names;
pub mod numeric;
mod pairing;
pub mod plan;
pub mod sql;
pub mod target;
mod value;
mod widened;
pub mod zero_date;
