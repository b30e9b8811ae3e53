//! What a destination server is and can do. What enters is its `version()` text and what two harmless statements
//! came to; what leaves is which merges it takes. Asked, not guessed: kernels of one version number differ.

/// A statement that is never carried out, for its table does not exist: the answer tells whether the kernel knows
/// ON CONFLICT (see [`accepts_syntax`]).
pub(crate) const PROBE_ON_CONFLICT: &str =
    "INSERT INTO pg_catalog.tributary_probe_of_syntax VALUES (1) ON CONFLICT DO NOTHING";
/// The same for MERGE.
pub(crate) const PROBE_MERGE: &str = "MERGE INTO pg_catalog.tributary_probe_of_syntax t USING \
     pg_catalog.tributary_probe_of_syntax s ON t.a = s.a WHEN MATCHED THEN DELETE";
/// One row, one boolean: the server is a cluster of the Greenplum family.
pub(crate) const PROBE_DISTRIBUTED: &str =
    "SELECT to_regclass('pg_catalog.gp_distribution_policy') IS NOT NULL";

/// What the SQLSTATE of a probe says: 42P01 (undefined table) means that the statement was understood.
#[must_use]
pub(crate) fn accepts_syntax(sqlstate: &str) -> bool {
    sqlstate == "42P01"
}

/// What was learned from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `SELECT version()`.
    pub version: String,
    /// [`PROBE_ON_CONFLICT`].
    pub on_conflict: bool,
    /// [`PROBE_MERGE`].
    pub merge: bool,
    /// [`PROBE_DISTRIBUTED`].
    pub distributed: bool,
}

/// Which family of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A single PostgreSQL server, or a service that behaves as one.
    PostgreSql,
    /// AnalyticDB for PostgreSQL 7: a PostgreSQL 12 kernel or later on many nodes, with ON CONFLICT.
    AnalyticDb7,
    /// AnalyticDB for PostgreSQL 6: a 9.4 kernel with ON CONFLICT.
    AnalyticDb6,
    /// Apache Cloudberry.
    Cloudberry,
    /// Greenplum 7.
    Greenplum7,
    /// Greenplum 6: a 9.4 kernel without ON CONFLICT.
    Greenplum6,
}

/// How a batch is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Merge,
    /// `DELETE … USING`, then `INSERT … ON CONFLICT DO UPDATE`.
    OnConflict,
    /// `LOCK TABLE`, then DELETE and INSERT: nothing but SQL-92 and one Greenplum lock.
    LockDeleteInsert,
}

/// A server's dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Family.
    pub product: Product,
    /// Major version of the PostgreSQL kernel; 9 for 9.4.
    pub kernel: u32,
    /// Tables have a distribution key.
    pub distributed: bool,
    /// Knows ON CONFLICT.
    pub on_conflict: bool,
    /// Knows MERGE.
    pub merge: bool,
}

impl Dialect {
    /// The dialect of a probed server.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        let kernel = probe
            .version
            .strip_prefix("PostgreSQL ")
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|major| major.parse().ok())
            .unwrap_or(9);
        let product = if !probe.distributed {
            Product::PostgreSql
        } else if probe.version.contains("Cloudberry") {
            Product::Cloudberry
        } else if kernel <= 9 {
            if probe.on_conflict { Product::AnalyticDb6 } else { Product::Greenplum6 }
        } else if probe.version.contains("Greenplum") && !probe.version.contains("AnalyticDB") {
            Product::Greenplum7
        } else {
            Product::AnalyticDb7
        };
        Self {
            product,
            kernel,
            distributed: probe.distributed,
            on_conflict: probe.on_conflict,
            merge: probe.merge,
        }
    }

    /// The merges that a table takes, the preferred one first. `unique_key`: a valid unique index covers exactly
    /// the key.
    #[must_use]
    pub(crate) fn strategies(self, append_optimized: bool, unique_key: bool) -> &'static [Strategy] {
        let single = !self.distributed;
        match (append_optimized, unique_key) {
            (false, true) if self.merge && single && self.on_conflict => {
                &[Strategy::Merge, Strategy::OnConflict, Strategy::LockDeleteInsert]
            }
            (false, true) if self.on_conflict => &[Strategy::OnConflict, Strategy::LockDeleteInsert],
            _ => &[Strategy::LockDeleteInsert],
        }
    }

    /// The preferred merge of a table.
    #[must_use]
    pub fn strategy(self, append_optimized: bool, unique_key: bool) -> Strategy {
        self.strategies(append_optimized, unique_key).first().copied().unwrap_or(Strategy::LockDeleteInsert)
    }

    /// True if `ADD COLUMN IF NOT EXISTS` is known (PostgreSQL 9.6); else the catalog must be asked first.
    #[must_use]
    pub(crate) const fn knows_if_not_exists(self) -> bool {
        self.kernel >= 10
    }

    /// What makes a table one of rows whatever the default is; goes before DISTRIBUTED BY, and before or in place of WITH.
    #[must_use]
    pub(crate) const fn heap_clause(self) -> &'static str {
        match (self.kernel >= 12, self.distributed) {
            (true, _) => " USING heap",
            (false, true) => " WITH (appendonly = false)",
            (false, false) => "",
        }
    }

    /// True if the server keeps schemas of this name for itself.
    #[must_use]
    pub fn reserves_schema(self, schema: &str) -> bool {
        schema.starts_with("pg_") || (self.distributed && schema.starts_with("gp_"))
    }

    /// True if a table takes one writer at a time, across instances: without the global deadlock detector UPDATE
    /// and DELETE take the whole table.
    #[must_use]
    pub const fn one_writer(self) -> bool {
        self.distributed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(version: &str, on_conflict: bool, merge: bool, distributed: bool) -> Dialect {
        Dialect::of(&Probe { version: version.into(), on_conflict, merge, distributed })
    }

    #[test]
    fn servers_are_told_apart() {
        let debian = dialect("PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64", true, true, false);
        assert_eq!((debian.product, debian.kernel), (Product::PostgreSql, 15));
        assert_eq!(debian.strategy(false, true), Strategy::Merge);
        assert_eq!(debian.strategy(false, false), Strategy::LockDeleteInsert);
        let older = dialect("PostgreSQL 13.4 on aarch64", true, false, false);
        assert_eq!(older.strategy(false, true), Strategy::OnConflict);

        let open6 = "PostgreSQL 9.4.26 (Greenplum Database 6.24.3 build commit:25d3498) on x86_64";
        let greenplum = dialect(open6, false, false, true);
        assert_eq!((greenplum.product, greenplum.kernel), (Product::Greenplum6, 9));
        assert_eq!(greenplum.strategy(false, true), Strategy::LockDeleteInsert);
        assert!(!greenplum.knows_if_not_exists() && greenplum.one_writer());
        assert!(greenplum.reserves_schema("gp_shop") && greenplum.reserves_schema("pg_shop"));
        assert!(!debian.reserves_schema("gp_shop") && debian.reserves_schema("pg_shop"));
        let analytic = dialect("PostgreSQL 9.4.24 (Greenplum Database 6.6.0 build dev)", true, false, true);
        assert_eq!(analytic.product, Product::AnalyticDb6);
        assert_eq!(analytic.strategy(false, true), Strategy::OnConflict);
        assert_eq!(analytic.strategy(true, true), Strategy::LockDeleteInsert);

        let cloudberry = dialect("PostgreSQL 14.4 (Apache Cloudberry 1.6.0 build)", true, false, true);
        assert_eq!(cloudberry.product, Product::Cloudberry);
        let seven = dialect("PostgreSQL 12.12 (Greenplum Database 7.0.0 build)", true, false, true);
        assert_eq!(seven.product, Product::Greenplum7);
        let analytic = dialect("PostgreSQL 12.12 (AnalyticDB PostgreSQL 7.0.6)", true, true, true);
        assert_eq!(analytic.product, Product::AnalyticDb7);
        // A MERGE on many nodes has not been measured: it is not preferred.
        assert_eq!(analytic.strategy(false, true), Strategy::OnConflict);
        assert_eq!(dialect("something else", false, false, false).kernel, 9);
    }

    #[test]
    fn only_an_undefined_table_means_that_the_syntax_was_understood() {
        assert!(accepts_syntax("42P01"));
        assert!(!accepts_syntax("42601"));
    }
}
