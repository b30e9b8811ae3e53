//! The destination's side: a binary COPY of the whole table, or rows by key, enter; digests and Avro keys leave.

use super::buckets::Digest;
use super::canonical::{Canonical, RowColumns};
use super::error::VerifyError;
use super::keys::{put_avro, put_params};
use super::stream::{Fields, NotCopy, Tuples};
use crate::destination::{Connection, DestinationError};
use crate::merge::layout::TableRule;
use crate::merge::names::{quote, quote_list};
use crate::merge::plan::TransferPlan;
use crate::merge::target::TargetKind;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tributary_schemas::table::Table;
use tributary_schemas::types::ColumnType;

/// Keys that one SELECT looks up.
const LOOKUP_KEYS: usize = 100;

/// The table in the destination.
pub struct DestinationSide {
    connection: Connection,
    plan: Arc<TransferPlan>,
    canonical: Canonical,
    key: AvroKey,
    select: String,
}

impl DestinationSide {
    /// Prepares the reading of the plan's target, as the rows of `table`.
    #[must_use]
    pub fn new(
        connection: Connection,
        table: &Arc<Table>,
        rule: &TableRule,
        plan: &Arc<TransferPlan>,
        canonical: Canonical,
    ) -> Self {
        let columns = quote_list(canonical.names());
        let select = format!("SELECT {columns} FROM {}", plan.target());
        let key = AvroKey::new(table, rule, plan);
        Self { connection, plan: Arc::clone(plan), canonical, key, select }
    }

    /// The session, for other questions.
    pub const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Reads the whole table; `visit` gets each row's digest, and a way to its Avro key, which is `None` where no row
    /// of the source can have it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn scan(
        &mut self,
        mut visit: impl FnMut(Digest, &dyn Fn() -> Option<Vec<u8>>),
    ) -> Result<(), VerifyError> {
        let during = || DestinationError::during("reading rows to compare");
        let sql = format!("COPY ({}) TO STDOUT (FORMAT binary)", self.select);
        let mut stream = pin!(self.connection.copy_out(&sql).await.map_err(during())?);
        let mut tuples = Tuples::default();
        while let Some(bytes) = stream.try_next().await.map_err(during())? {
            tuples.feed(&bytes);
            while let Some(fields) = tuples.next_tuple()? {
                let digest = self.canonical.digest(fields);
                visit(digest, &|| self.key.of(fields));
            }
        }
        if tuples.is_ended() { Ok(()) } else { Err(NotCopy.into()) }
    }

    /// The rows of these Avro keys, by the key's hash.
    ///
    /// # Errors
    /// What the server says; a key that the plan cannot write.
    pub async fn lookup(&mut self, keys: &[&[u8]]) -> Result<HashMap<u128, Vec<RowColumns>>, VerifyError> {
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
                let fields: Result<Vec<Option<RawField<'_>>>, _> =
                    (0..row.len()).map(|index| row.try_get(index)).collect();
                let fields = fields.map_err(during())?;
                let fields = fields.iter().map(|field| field.as_ref().map(|field| field.0));
                let columns = self.canonical.columns(fields);
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
    fn new(table: &Arc<Table>, rule: &TableRule, plan: &Arc<TransferPlan>) -> Self {
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
    fn of(&self, fields: Fields<'_>) -> Option<Vec<u8>> {
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

/// A parameter that is in the server's binary form already.
#[derive(Debug)]
struct RawParam(Vec<u8>);

impl ToSql for RawParam {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A field in the server's binary form.
struct RawField<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawField<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
