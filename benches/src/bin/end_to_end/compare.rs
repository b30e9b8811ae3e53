//! Source against warehouse: sums over the rows of both enter, equal or not leaves. The source's are taken once for all
//! the phases that replicate the same state of it.

use crate::servers::Servers;
use crate::sysbench::{DATABASE, Tables};
use tributary_benches::Result;

/// The source's rows, in numbers.
pub(crate) struct Expected {
    /// By table, cheap to compare with while a phase runs: the number of rows and sums that every kind of change moves.
    sums: Vec<Vec<String>>,
    /// By table, over every byte of every column.
    checksums: Vec<Vec<String>>,
}

impl Expected {
    /// Of the source as it is now.
    pub(crate) fn of_source(servers: &Servers, tables: Tables) -> Result<Self> {
        let each = |columns: &str| -> Result<Vec<Vec<String>>> {
            (1..=tables.tables)
                .map(|number| {
                    servers.source(&format!(
                        "SELECT concat_ws(' ', count(*), sum(id), sum(k), {columns}) FROM {DATABASE}.sbtest{number}"
                    ))
                })
                .collect()
        };
        Ok(Self {
            sums: each("sum(CAST(left(c, 11) AS UNSIGNED))")?,
            checksums: each("sum(CAST(conv(left(sha2(concat(c, pad), 256), 8), 16, 10) AS UNSIGNED))")?,
        })
    }

    /// Which tables of `schema` have everything, from the first on. A table that had it is not asked again: the source
    /// stands still, and every question costs a part of the machine that is measured.
    pub(crate) fn arrived(&self, servers: &Servers, schema: &str, known: usize) -> usize {
        let mut arrived = known;
        while let Some(sums) = self.sums.get(arrived) {
            let number = arrived + 1;
            let sql = format!(
                "SELECT concat_ws(' ', count(*), sum(id), sum(k), sum(left(c, 11)::bigint)) \
                 FROM {schema}.sbtest{number}"
            );
            // A table that does not exist yet has no sums.
            if !servers.warehouse(&sql).is_ok_and(|there| there == *sums) {
                break;
            }
            arrived += 1;
        }
        arrived
    }

    /// True if all tables have everything.
    pub(crate) fn has_arrived(&self, servers: &Servers, schema: &str) -> bool {
        self.arrived(servers, schema, 0) == self.tables()
    }

    /// How many tables there are.
    pub(crate) fn tables(&self) -> usize {
        self.sums.len()
    }

    /// An error unless the tables in `schema` have the source's rows, byte for byte.
    pub(crate) fn compare(&self, servers: &Servers, schema: &str) -> Result<()> {
        for (number, expected) in (1..).zip(&self.checksums) {
            let there = servers.warehouse(&format!(
                "SELECT concat_ws(' ', count(*), sum(id), sum(k), \
                 sum(('x' || left(encode(sha256(convert_to(c::text || pad::text, 'UTF8')), 'hex'), 8)) \
                 ::bit(32)::bigint)) FROM {schema}.sbtest{number}"
            ))?;
            if there != *expected {
                let message = format!("sbtest{number}: the source has {expected:?}, {schema} {there:?}");
                return Err(message.into());
            }
        }
        Ok(())
    }
}
