//! A table read whole in pieces by its key, each with a statement of its own: no lock and no snapshot outlives a piece, so
//! that an ALTER waits for one piece at the most, and nobody waits behind it. The server orders and compares.
//!
//! Invariant: a row that is there from the beginning to the end is visited exactly once, which needs a key that is unique
//! and never null: [`Pieces::new`] gives one statement for the whole table where there is none.

use super::{Connection, DestinationError};
use crate::merge::names::quote_list;
use crate::merge::target::TargetShape;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use std::error::Error;
use std::pin::pin;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// How a table is read.
#[derive(Debug)]
pub struct Pieces {
    /// The first piece, or everything.
    first: String,
    /// The piece behind a key; `None`: the first is everything.
    next: Option<String>,
    /// Places of the key among the columns, in the order of the index.
    key: Vec<usize>,
    rows: u64,
}

impl Pieces {
    /// `columns` of the table of `shape`, in pieces of `rows` rows by `key`, whose columns are among them; only rows of which
    /// `condition` is true, if there is one.
    #[must_use]
    pub fn new(
        shape: &TargetShape,
        columns: &[String],
        (key, condition): (&[String], Option<&str>),
        rows: u64,
    ) -> Self {
        let (mut whole, mut and) = (format!("SELECT {} FROM {}", quote_list(columns), shape.name), "WHERE");
        if let Some(condition) = condition {
            whole += &format!(" WHERE {condition}");
            and = "AND";
        }
        let index = shape.unique_key(key).filter(|index| index.iter().all(|name| shape.is_not_null(name)));
        let places =
            index.map(|index| index.iter().map(|name| columns.iter().position(|column| column == name)));
        let places: Option<Vec<usize>> = places.and_then(Iterator::collect);
        let (Some(index), Some(key)) = (index, places) else {
            return Self { first: whole, next: None, key: Vec::new(), rows: u64::MAX };
        };
        let names = quote_list(index);
        let params: Vec<String> = (1..=index.len()).map(|number| format!("${number}")).collect();
        let end = format!("ORDER BY {names} LIMIT {rows}");
        let next = format!("{whole} {and} ({names}) > ({}) {end}", params.join(", "));
        Self { first: format!("{whole} {end}"), next: Some(next), key, rows }
    }

    /// True if the table has no key to read it in pieces by: one statement holds its lock for as long as it is read.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.next.is_none()
    }

    /// Reads the table; `visit` gets the fields of each row, in the server's binary form.
    pub async fn read(
        &self,
        connection: &mut Connection,
        mut visit: impl FnMut(Fields<'_>),
    ) -> Result<(), DestinationError> {
        let mut sql = &self.first;
        let mut after: Vec<RawParam> = Vec::new();
        loop {
            let (count, last) = piece(connection, sql, &after, &mut visit).await?;
            match (&self.next, last) {
                (Some(next), Some(last)) if count >= self.rows => {
                    after = self.key_of(&last)?;
                    sql = next;
                }
                _ => return Ok(()),
            }
        }
    }

    fn key_of(&self, row: &Row) -> Result<Vec<RawParam>, DestinationError> {
        let fields = self.key.iter().map(|place| row.try_get::<_, RawField<'_>>(*place));
        let params = fields.map(|field| field.map(|field| RawParam(field.0.to_vec())));
        params.collect::<Result<_, _>>().map_err(during())
    }
}

fn during() -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    DestinationError::during("reading rows to compare")
}

/// How many rows came, and the last of them.
async fn piece(
    connection: &mut Connection,
    sql: &str,
    params: &[RawParam],
    visit: &mut impl FnMut(Fields<'_>),
) -> Result<(u64, Option<Row>), DestinationError> {
    let statement = connection.prepared(sql).await.map_err(during())?;
    let params = params.iter().map(|param| param as &(dyn ToSql + Sync));
    let mut stream = pin!(connection.query_raw(&statement, params).await.map_err(during())?);
    let (mut count, mut last) = (0_u64, None);
    while let Some(row) = connection.attend("rows to compare", stream.try_next()).await.map_err(during())? {
        visit(Fields::of(&row));
        count += 1;
        last = Some(row);
    }
    Ok((count, last))
}

/// The fields of a row in the server's binary form; `None` is NULL.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    row: &'a Row,
    at: usize,
}

impl<'a> Fields<'a> {
    /// Of a row that was read in another way.
    #[must_use]
    pub const fn of(row: &'a Row) -> Self {
        Self { row, at: 0 }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        // Every type is accepted as it is, so that only a place behind the last field is an error.
        let field = self.row.try_get::<_, Option<RawField<'_>>>(self.at).ok()?;
        self.at += 1;
        Some(field.map(|field| field.0))
    }
}

/// A parameter that is in the server's binary form already.
#[derive(Debug)]
pub struct RawParam(pub Vec<u8>);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::names::TargetName;
    use crate::merge::target::TargetColumn;

    fn shape(unique_keys: &[&[&str]], nullable: &str) -> TargetShape {
        let column =
            |name: &str| TargetColumn { not_null: name != nullable, ..TargetColumn::new(name, "integer") };
        let key = |key: &&[&str]| key.iter().map(|name| (*name).to_owned()).collect();
        TargetShape {
            unique_keys: unique_keys.iter().map(key).collect(),
            ..TargetShape::new(TargetName::new("dw", "t"), ["a", "b", "c"].map(column).to_vec())
        }
    }

    fn pieces(shape: &TargetShape) -> Pieces {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Pieces::new(shape, &names(&["a", "b", "c"]), (&names(&["a", "b"]), None), 10)
    }

    #[test]
    fn pieces_follow_the_index_and_not_the_order_of_the_key() {
        let pieces = pieces(&shape(&[&["c"], &["b", "a"]], ""));
        assert_eq!(
            pieces.next.as_deref(),
            Some(
                "SELECT \"a\", \"b\", \"c\" FROM \"dw\".\"t\" WHERE (\"b\", \"a\") > ($1, $2) \
                 ORDER BY \"b\", \"a\" LIMIT 10"
            )
        );
        assert_eq!(pieces.key, [1, 0]);
    }

    #[test]
    fn without_a_key_that_is_unique_and_not_null_it_is_one_piece() {
        assert!(pieces(&shape(&[&["c"]], "")).is_whole());
        assert!(pieces(&shape(&[&["a", "b", "c"]], "")).is_whole());
        assert!(pieces(&shape(&[&["a", "b"]], "b")).is_whole());
        assert!(!pieces(&shape(&[&["a", "b"]], "c")).is_whole());
    }
}
