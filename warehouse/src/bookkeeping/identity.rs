//! Which destination this is. Two that run under one task's name would share its consumer group, and each get a part of
//! the rows; so each has an identity of its own here, and shows it to the group (see `topics::members`).
//!
//! Invariant: a bookkeeping that was copied, with the database or out of a dump, has another identity than its original.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError};

/// A text in the shape of a UUID: chance and the clock. No kernel before 13 makes one without an extension, and `md5` is
/// refused where only approved algorithms are.
const UNIQUE: &str = "lpad(to_hex(trunc(random() * 4294967296)::bigint), 8, '0') || '-' || \
     lpad(to_hex(trunc(random() * 65536)::bigint), 4, '0') || '-' || \
     lpad(to_hex(trunc(random() * 65536)::bigint), 4, '0') || '-' || \
     lpad(to_hex(trunc(random() * 65536)::bigint), 4, '0') || '-' || \
     lpad(to_hex(trunc(extract(epoch FROM clock_timestamp()) * 100000)::bigint), 12, '0')";

impl Bookkeeping {
    /// The identity of the task's destination; made the first time, and anew in a copy, where the catalog's numbers of
    /// database and table are others than those that were stored.
    pub async fn identity(&self, connection: &mut Connection) -> Result<String, DestinationError> {
        let during = || DestinationError::during("reading the identity of the destination");
        let (schema, key) = (&self.schema, self.lock_key("bookkeeping"));
        connection
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({key})"))
            .await
            .map_err(during())?;
        let origin = "SELECT (SELECT d.oid::text FROM pg_catalog.pg_database d WHERE d.datname = current_database()) \
                      || '.' || c.oid::text FROM pg_catalog.pg_class c \
                      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                      WHERE n.nspname = $1 AND c.relname = 'identities'";
        let origin: String =
            connection.query_one(origin, &[&self.schema_name()]).await.map_err(during())?.get(0);
        let sql = format!("DELETE FROM {schema}.identities WHERE task = $1 AND origin <> $2");
        connection.execute(&sql, &[&self.task, &origin]).await.map_err(during())?;
        let sql = format!(
            "INSERT INTO {schema}.identities (task, identity, origin) \
             SELECT $1, {UNIQUE}, $2 \
             WHERE NOT EXISTS (SELECT 1 FROM {schema}.identities WHERE task = $1)"
        );
        connection.execute(&sql, &[&self.task, &origin]).await.map_err(during())?;
        let sql = format!("SELECT identity FROM {schema}.identities WHERE task = $1");
        let identity = connection.query_one(&sql, &[&self.task]).await.map_err(during())?.get(0);
        connection.commit().await?;
        Ok(identity)
    }
}
