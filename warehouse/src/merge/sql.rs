//! The statements of a flush: staging table, COPY, merge. What enters is names, what leaves is SQL texts, made once
//! per plan. Invariants: keys are never NULL, so `=` compares them; a key stands in the staging table at most once
//! (twice, as a delete and a row, only where updates are not taken); deletes come before inserts; no key or
//! distribution column is ever in SET.

use super::dialect::{Dialect, Strategy};
use super::encode::Shape;
use super::names::{TargetName, quote, quote_list};
use super::plan::{Fill, StageColumn, TransferPlan};
use super::slice::Slice;
use crate::merge::operations::Operations;

/// SQLSTATE of the error that a direct load may meet.
pub const UNIQUE_VIOLATION: &str = "23505";

/// Keeps the planner from a join that reads the whole destination, which it prefers once a batch is a few percent of
/// the table: looking each key up in the unique index took a third less CPU there (50,000 rows into a million), and
/// stays as fast as the table grows. For the transaction.
const INDEX_JOINS: &str = "SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off";

/// Keys up to which a merge on many nodes looks each up in the index of the target. By a hash join one deleted key costs a
/// scan of the whole table on all segments: 2.1 s of two million rows, where nested loops took 1.2 ms.
const SMALL_MERGE_KEYS: usize = 10_000;

/// What comes before the statements of a merge on many nodes; `unique_key`: the target has an index of its key.
#[must_use]
pub fn plan_of_merge(dialect: Dialect, unique_key: bool, keys: usize) -> Option<&'static str> {
    (dialect.distributed && unique_key && keys <= SMALL_MERGE_KEYS).then_some(INDEX_JOINS)
}

/// What the statements of a flush are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge<'a> {
    /// Destination table.
    pub target: &'a TargetName,
    /// Staging table.
    pub stage: &'a TargetName,
    /// Columns that are written.
    pub columns: &'a [StageColumn],
    /// Columns that are written with a constant, because the rows are of before they were added.
    pub fills: &'a [Fill],
    /// The destination's key.
    pub key: &'a [String],
    /// The staging table's flag of deletes.
    pub deleted_column: &'a str,
    /// The destination has columns that are not written; a row that changes keeps them.
    pub extra_columns: bool,
    /// Which changes are taken.
    pub operations: Operations,
}

impl<'a> Merge<'a> {
    /// Of a plan that stages into `stage`.
    #[must_use]
    pub fn of(plan: &'a TransferPlan, stage: &'a TargetName, operations: Operations) -> Self {
        Self {
            target: plan.target(),
            stage,
            columns: plan.columns(),
            fills: plan.fills(),
            key: plan.key(),
            deleted_column: plan.deleted_column(),
            extra_columns: plan.has_extra_columns(),
            operations,
        }
    }

    /// The statements that merge the staging table into the destination, in order.
    #[must_use]
    pub fn statements(&self, strategy: Strategy) -> Vec<String> {
        match strategy {
            // Where updates are not taken a key may stand in the staging table twice, which one MERGE refuses.
            Strategy::Merge if self.operations.update => vec![INDEX_JOINS.to_owned(), self.merge()],
            Strategy::Merge | Strategy::OnConflict => self.on_conflict(),
            Strategy::LockDeleteInsert => self.lock_delete_insert(),
        }
    }

    /// `stage → target` on the key.
    fn on_key(&self) -> String {
        let pairs = self.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name)));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// Columns of an INSERT.
    fn names(&self) -> String {
        let names = self.columns.iter().map(|column| &column.name);
        let filled = self.fills.iter().map(|fill| &fill.name);
        names.chain(filled).map(|name| quote(name)).collect::<Vec<_>>().join(", ")
    }

    fn values(&self) -> String {
        let names = self.columns.iter().map(|column| format!("s.{}", quote(&column.name)));
        names.chain(self.fills.iter().map(|fill| fill.value.clone())).collect::<Vec<_>>().join(", ")
    }

    fn deleted(&self) -> String {
        format!("s.{}", quote(self.deleted_column))
    }

    /// `column = <from>.column` for all that is not key; `None` if there is none.
    fn assignments(&self, from: &str) -> Option<String> {
        let others = self.columns.iter().filter(|column| !self.key.contains(&column.name));
        let pairs = others.map(|column| format!("{0} = {from}.{0}", quote(&column.name)));
        let filled = self.fills.iter().map(|fill| format!("{} = {}", quote(&fill.name), fill.value));
        let pairs: Vec<_> = pairs.chain(filled).collect();
        (!pairs.is_empty()).then(|| pairs.join(", "))
    }

    fn merge(&self) -> String {
        let (target, stage, on, deleted) = (self.target, self.stage, self.on_key(), self.deleted());
        let mut sql = format!("MERGE INTO {target} AS t USING {stage} AS s ON {on}");
        if self.operations.delete {
            sql += &format!(" WHEN MATCHED AND {deleted} THEN DELETE");
        }
        if let Some(assignments) = self.assignments("s") {
            sql += &format!(" WHEN MATCHED AND NOT {deleted} THEN UPDATE SET {assignments}");
        }
        if self.operations.insert {
            let (columns, values) = (self.names(), self.values());
            sql += &format!(" WHEN NOT MATCHED AND NOT {deleted} THEN INSERT ({columns}) VALUES ({values})");
        }
        // A MERGE without any WHEN is no statement; all columns in the key and nothing to insert or delete.
        if sql.contains(" WHEN ") { sql } else { sql + " WHEN MATCHED THEN DO NOTHING" }
    }

    fn delete_rows(&self, which: &str) -> String {
        format!("DELETE FROM {} AS t USING {} AS s WHERE {which}{}", self.target, self.stage, self.on_key())
    }

    fn update_rows(&self) -> Option<String> {
        let (assignments, on, deleted) = (self.assignments("s")?, self.on_key(), self.deleted());
        let (target, stage) = (self.target, self.stage);
        Some(format!("UPDATE {target} AS t SET {assignments} FROM {stage} AS s WHERE NOT {deleted} AND {on}"))
    }

    fn insert_rows(&self, condition: &str) -> String {
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} AS s WHERE NOT {}{condition}",
            self.target,
            self.names(),
            self.values(),
            self.stage,
            self.deleted()
        )
    }

    fn insert_missing(&self) -> String {
        self.insert_rows(&format!(
            " AND NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            self.target,
            self.on_key()
        ))
    }

    fn on_conflict(&self) -> Vec<String> {
        let mut statements = Vec::with_capacity(2);
        let Operations { insert, update, delete } = self.operations;
        if delete {
            statements.push(self.delete_rows(&format!("{} AND ", self.deleted())));
        }
        if insert {
            let assignments = self.assignments("EXCLUDED").filter(|_| update);
            let action = assignments
                .map_or_else(|| "NOTHING".to_owned(), |assignments| format!("UPDATE SET {assignments}"));
            let key = quote_list(self.key);
            statements.push(self.insert_rows(&format!(" ON CONFLICT ({key}) DO {action}")));
        } else if update {
            statements.extend(self.update_rows());
        }
        statements
    }

    fn lock_delete_insert(&self) -> Vec<String> {
        let mut statements = vec![format!("LOCK TABLE {} IN EXCLUSIVE MODE", self.target)];
        let Operations { insert, update, delete } = self.operations;
        // Where deletes are not chosen, the role need not have the right to.
        if insert && update && delete && !self.extra_columns {
            statements.push(self.delete_rows(""));
            statements.push(self.insert_rows(""));
            return statements;
        }
        if delete {
            statements.push(self.delete_rows(&format!("{} AND ", self.deleted())));
        }
        if update {
            statements.extend(self.update_rows());
        }
        if insert {
            statements.push(self.insert_missing());
        }
        statements
    }
}

/// COPY of a plan's tuples in binary form, into the staging table or straight into the destination.
#[must_use]
pub fn copy_statement(plan: &TransferPlan, stage: &TargetName, shape: Shape) -> String {
    let mut columns = plan.columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
    let table = match shape {
        Shape::Stage => {
            columns.push(plan.deleted_column());
            stage
        }
        Shape::Direct => plan.target(),
    };
    format!("COPY {table} ({}) FROM STDIN WITH (FORMAT binary)", quote_list(&columns))
}

/// Creates the staging table of a plan: its columns with the destination's types and distribution, without
/// constraints or indexes. The caller drops it first when its columns are no longer the plan's.
#[must_use]
pub fn stage_table_ddl(dialect: Dialect, plan: &TransferPlan, stage: &TargetName) -> String {
    let mut columns: Vec<String> =
        plan.columns().iter().map(|column| format!("{} {}", quote(&column.name), column.type_name)).collect();
    columns.push(format!("{} boolean NOT NULL", quote(plan.deleted_column())));
    let heap = dialect.heap_clause();
    let mut sql = format!("CREATE UNLOGGED TABLE IF NOT EXISTS {stage} ({}){heap}", columns.join(", "));
    if !dialect.distributed {
        // Its rows are those of one flush: statistics of it are wrong by the time they are used.
        return sql + " WITH (autovacuum_enabled = false)";
    }
    // A target may be distributed by a column that the source does not have.
    let staged = |name: &String| plan.columns().iter().any(|column| column.name == *name);
    let wanted = plan.distributed_by();
    let by = if !wanted.is_empty() && wanted.iter().all(staged) { wanted } else { plan.key() };
    sql += &format!(" DISTRIBUTED BY ({})", quote_list(by));
    sql
}

/// Takes the staging table for this transaction, empty: what is left in it is deleted, because TRUNCATE would give the
/// table a new file.
#[must_use]
pub fn take_stage(stage: &TargetName) -> String {
    format!("LOCK TABLE {stage} IN EXCLUSIVE MODE; DELETE FROM {stage}")
}

/// Empties the staging table, outside of the transactions that fill it.
#[must_use]
pub fn truncate_stage(stage: &TargetName) -> String {
    format!("TRUNCATE TABLE {stage}")
}

/// Removes the staging table.
#[must_use]
pub fn drop_stage(stage: &TargetName) -> String {
    format!("DROP TABLE IF EXISTS {stage}")
}

/// Empties a destination; of one that several topics share, the rows of `slice`.
#[must_use]
pub fn clear_target(target: &TargetName, slice: &Slice) -> String {
    match slice.condition() {
        Some(condition) => format!("DELETE FROM {target} WHERE {condition}"),
        None => format!("TRUNCATE TABLE {target}"),
    }
}

/// Refreshes the planner's statistics, once the initial load is over.
#[must_use]
pub fn analyze(target: &TargetName) -> String {
    format!("ANALYZE {target}")
}

#[cfg(test)]
mod tests;
