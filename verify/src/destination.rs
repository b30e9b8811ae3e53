//! The destination's side: the table in pieces, or rows by key, enter; digests and Avro keys leave.

use super::buckets::Digest;
use super::canonical::{Canonical, RowColumns};
use super::error::VerifyError;
use super::keys::{put_avro, put_params};
use super::tuple::Fields;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tributary_schemas::table::Table;
use tributary_schemas::types::ColumnType;
use tributary_warehouse::destination::pieces::{self, Pieces, RawParam};
use tributary_warehouse::destination::{Connection, DestinationError};
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::names::{quote, quote_list};
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::target::{TargetKind, TargetShape};

/// Keys that one SELECT looks up.
const LOOKUP_KEYS: usize = 100;

/// The table in the destination.
pub(crate) struct DestinationSide {
    connection: Connection,
    plan: Arc<TransferPlan>,
    canonical: Canonical,
    key: AvroKey,
    select: String,
    pieces: Pieces,
}

impl DestinationSide {
    /// Prepares the reading of the plan's target, which has this `shape`, as the rows of `table`; in pieces of `piece_rows`.
    #[must_use]
    pub(crate) fn new(
        connection: Connection,
        table: &Arc<Table>,
        rule: &ColumnRule,
        plan: &Arc<TransferPlan>,
        shape: &TargetShape,
        canonical: Canonical,
        piece_rows: u64,
    ) -> Self {
        let slice = Slice::of(rule).condition();
        let pieces = Pieces::new(shape, canonical.names(), (plan.key(), slice.as_deref()), piece_rows);
        let columns = quote_list(canonical.names());
        let select = format!("SELECT {columns} FROM {}", plan.target());
        let key = AvroKey::new(table, rule, plan);
        Self { connection, plan: Arc::clone(plan), canonical, key, select, pieces }
    }

    /// The session, for other questions.
    pub(crate) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Reads the whole table; `visit` gets each row's digest, and a way to its Avro key, which is `None` where no row
    /// of the source can have it.
    pub(crate) async fn scan(
        &mut self,
        mut visit: impl FnMut(Digest, &dyn Fn() -> Option<Vec<u8>>),
    ) -> Result<(), VerifyError> {
        let (canonical, key) = (&mut self.canonical, &self.key);
        let read = self.pieces.read(&mut self.connection, |fields| {
            let digest = canonical.digest(fields);
            visit(digest, &|| key.of(fields));
        });
        Ok(read.await?)
    }

    /// True if the table has to be read by one statement, which holds its lock for as long.
    #[must_use]
    pub(crate) const fn is_whole(&self) -> bool {
        self.pieces.is_whole()
    }

    /// The rows of these Avro keys, by the key's hash.
    ///
    /// # Errors
    /// What the server says; a key that the plan cannot write.
    pub(crate) async fn lookup(
        &mut self,
        keys: &[&[u8]],
    ) -> Result<HashMap<u128, Vec<RowColumns>>, VerifyError> {
        let during = || DestinationError::during("reading rows to compare again");
        let mut found: HashMap<u128, Vec<RowColumns>> = HashMap::new();
        let width = self.plan.key().len();
        for keys in keys.chunks(LOOKUP_KEYS) {
            let mut params: Vec<RawParam> = Vec::with_capacity(keys.len() * width);
            for key in keys {
                let mut tuple = Vec::new();
                self.plan.encode_delete(key, &mut tuple)?;
                let fields: Vec<Option<&[u8]>> = Fields::of_tuple(&tuple).collect();
                for place in self.canonical.key() {
                    let field = fields.get(*place).copied().flatten().unwrap_or_default();
                    params.push(RawParam(field.to_vec()));
                }
            }
            let conditions: Vec<String> = (0..keys.len())
                .map(|row| {
                    let parts = self.plan.key().iter().enumerate();
                    let parts =
                        parts.map(|(place, name)| format!("{} = ${}", quote(name), row * width + place + 1));
                    format!("({})", parts.collect::<Vec<_>>().join(" AND "))
                })
                .collect();
            let sql = format!("{} WHERE {}", self.select, conditions.join(" OR "));
            let statement = self.connection.prepared(&sql).await.map_err(during())?;
            let params: Vec<&(dyn ToSql + Sync)> =
                params.iter().map(|param| -> &(dyn ToSql + Sync) { param }).collect();
            let rows = self.connection.query(&statement, &params).await.map_err(during())?;
            for row in &rows {
                let columns = self.canonical.columns(pieces::Fields::of(row));
                found.entry(columns.id).or_default().push(columns);
            }
        }
        Ok(found)
    }
}

/// How a row's Avro key is made of its fields.
struct AvroKey {
    table: Arc<Table>,
    plan: Arc<TransferPlan>,
    /// Place in the row, type on the source, type in the destination; in the order of the key record.
    columns: Vec<(usize, ColumnType, TargetKind)>,
}

impl AvroKey {
    fn new(table: &Arc<Table>, rule: &ColumnRule, plan: &Arc<TransferPlan>) -> Self {
        let columns = table.key_columns().filter_map(|column| {
            let name = rule.target_name(column);
            let place = plan.columns().iter().position(|planned| planned.name == name)?;
            let kind = TargetKind::parse(&plan.columns().get(place)?.type_name);
            Some((place, column.column_type.clone(), kind))
        });
        let columns = columns.collect();
        Self { table: Arc::clone(table), plan: Arc::clone(plan), columns }
    }

    /// `None` for a key that could not lead back to a row of the source and to this one.
    fn of<'a>(&self, fields: impl Iterator<Item = Option<&'a [u8]>>) -> Option<Vec<u8>> {
        let fields: Vec<Option<&[u8]>> = fields.collect();
        let mut key = Vec::new();
        for (place, source, kind) in &self.columns {
            put_avro(source, kind, fields.get(*place).copied().flatten()?, &mut key)?;
        }
        put_params(&self.table, &key, &mut Vec::new())?;
        self.plan.encode_delete(&key, &mut Vec::new()).ok()?;
        Some(key)
    }
}
