//! The source's side: rows of SELECTs enter, digests and Avro keys leave. A table is read in pieces by key, each with a
//! SELECT of its own, so that no transaction and no metadata lock outlives a piece.

use super::buckets::Digest;
use super::canonical::{Canonical, RowColumns};
use super::error::VerifyError;
use super::keys::{condition, put_params};
use super::tuple::Fields;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH};
use tributary_schemas::checkpoint::KeyRange;
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::Table;
use tributary_source::catalog::read_table;
use tributary_source::chunk::{ChunkSql, quote};
use tributary_source::connect::SourceConnection;
use tributary_source::error::SourceError;
use tributary_source::rows::RowEncoder;
use tributary_warehouse::merge::encode::Shape;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::raw::{RawValues, put_raw};

/// Keys that one SELECT looks up.
const LOOKUP_KEYS: usize = 100;

/// The table on the source.
pub(crate) struct SourceSide {
    connection: SourceConnection,
    table: Arc<Table>,
    sql: ChunkSql,
    /// The index that is the key, quoted.
    key_index: String,
    piece_rows: u64,
    rows: RowMaker,
}

impl SourceSide {
    /// Prepares the reading of `table`, in pieces of `piece_rows`.
    ///
    /// # Errors
    /// A definition that cannot be read in pieces or encoded.
    pub(crate) async fn new(
        mut connection: SourceConnection,
        table: &Arc<Table>,
        plan: &Arc<TransferPlan>,
        canonical: Canonical,
        piece_rows: u64,
    ) -> Result<Self, VerifyError> {
        let catalog = read_table(&mut connection, &table.id).await?;
        let catalog = catalog.ok_or_else(|| VerifyError::Gone(table.id.to_string()))?;
        let index = catalog.index_of_key(table).ok_or(VerifyError::NoKey)?;
        let index = index.name.as_str();
        Ok(Self {
            connection,
            sql: ChunkSql::new(table, index)?,
            key_index: quote(index),
            piece_rows,
            rows: RowMaker {
                encoder: RowEncoder::compile(table)?,
                plan: Arc::clone(plan),
                table: Arc::clone(table),
                canonical,
                encoded: EncodedRow::default(),
                envelope: Vec::new(),
                raw: Vec::new(),
                tuple: Vec::new(),
            },
            table: Arc::clone(table),
        })
    }

    /// The session, for other questions.
    pub(crate) const fn connection(&mut self) -> &mut SourceConnection {
        &mut self.connection
    }

    /// Reads the whole table; `visit` gets each row's digest and Avro key.
    ///
    /// # Errors
    /// What the server says, and rows that cannot be written to the destination.
    pub(crate) async fn scan(&mut self, mut visit: impl FnMut(Digest, &[u8])) -> Result<(), VerifyError> {
        let mut after = None;
        loop {
            let mut statement = self.sql.select(&KeyRange { after, through: None }, None)?;
            // Writing to a String cannot fail.
            let _ = write!(statement.sql, " LIMIT {}", self.piece_rows);
            let (mut count, mut last) = (0_u64, None);
            read(&mut self.connection, &mut self.rows, &statement.sql, statement.params, |rows, row| {
                count += 1;
                // Two keys of one text would be taken for one.
                self.sql.check_key(&row)?;
                rows.make(&row)?;
                visit(rows.canonical.digest(Fields::of_tuple(&rows.tuple)), &rows.encoded.key);
                last = Some(row);
                Ok(())
            })
            .await?;
            match last {
                Some(row) if count >= self.piece_rows => after = Some(self.sql.key_of(&row)?),
                _ => return Ok(()),
            }
        }
    }

    /// The rows of these Avro keys, by the key's hash.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(crate) async fn lookup(
        &mut self,
        keys: &[&[u8]],
    ) -> Result<HashMap<u128, Vec<RowColumns>>, VerifyError> {
        let mut found: HashMap<u128, Vec<RowColumns>> = HashMap::new();
        let condition = condition(&self.table);
        let columns: Vec<String> = self.table.columns.iter().map(|column| quote(&column.name)).collect();
        let id = &self.table.id;
        let select = format!(
            "SELECT {} FROM {}.{} FORCE INDEX ({}) WHERE ",
            columns.join(", "),
            quote(&id.database),
            quote(&id.table),
            self.key_index
        );
        for keys in keys.chunks(LOOKUP_KEYS) {
            let mut params = Vec::new();
            for key in keys {
                // A key that is not looked for would pass as equal.
                put_params(&self.table, key, &mut params).ok_or(VerifyError::Key)?;
            }
            let sql = format!("{select}{}", vec![condition.as_str(); keys.len()].join(" OR "));
            read(&mut self.connection, &mut self.rows, &sql, params, |rows, row| {
                rows.make(&row)?;
                let columns = rows.canonical.columns(Fields::of_tuple(&rows.tuple));
                // The source's collation may find a row under another spelling of the key: it has another hash.
                found.entry(columns.id).or_default().push(columns);
                Ok(())
            })
            .await?;
        }
        for rows in found.values_mut() {
            // One key may be asked for in two spellings, and be found by both.
            rows.dedup();
        }
        Ok(found)
    }
}

/// Runs a SELECT of the table's columns.
async fn read(
    connection: &mut SourceConnection,
    rows: &mut RowMaker,
    sql: &str,
    params: Vec<Value>,
    mut take: impl FnMut(&mut RowMaker, Row) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    const DURING: &str = "reading rows to compare";
    let address = connection.address().to_owned();
    let failed = |error: mysql_async::Error| SourceError::from_driver(DURING, &address, &error);
    let params = Params::from(params);
    let attendant = connection.attendant();
    let asked = attendant.attend(DURING, connection.driver().exec_iter(sql, params)).await?;
    let mut result = asked.map_err(failed)?;
    rows.encoder.check_columns(result.columns_ref())?;
    while let Some(row) = attendant.attend(DURING, result.next()).await?.map_err(failed)? {
        take(rows, row)?;
    }
    Ok(())
}

/// Makes of a row of the source the tuple that apply would write.
struct RowMaker {
    encoder: RowEncoder,
    plan: Arc<TransferPlan>,
    table: Arc<Table>,
    canonical: Canonical,
    encoded: EncodedRow,
    envelope: Vec<u8>,
    raw: Vec<u8>,
    tuple: Vec<u8>,
}

impl RowMaker {
    fn make(&mut self, row: &Row) -> Result<(), VerifyError> {
        self.encoder.encode_row(row, &mut self.encoded)?;
        self.raw.clear();
        for raw in &self.encoded.raw {
            if let Some(column) = self.table.columns.get(raw.column) {
                put_raw(&mut self.raw, &column.name, raw.text.as_bytes());
            }
        }
        // The plan reads an envelope's `before` and `after`, and nothing behind them.
        self.envelope.clear();
        self.envelope.extend_from_slice(&[NULL_BRANCH, VALUE_BRANCH]);
        self.envelope.extend_from_slice(&self.encoded.value);
        self.tuple.clear();
        self.plan.encode_upsert(Shape::Direct, &self.envelope, RawValues::new(&self.raw), &mut self.tuple)?;
        Ok(())
    }
}
