//! What the binlog says, in the order it says it: from events to what is published and to the catalog that holds
//! at the stream's position.

pub mod ddl;
