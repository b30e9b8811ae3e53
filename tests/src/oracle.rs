//! Equality of source and destination, told by the servers' own texts: no code of the product takes part.
//!
//! Each column is asked for in a form that both servers print alike (or that is compared as a number); rows are
//! compared as multisets by all their columns.

use crate::eventually;
use crate::task::{RUN, Task};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use tokio_postgres::error::SqlState;

/// How a column is printed by both sides.
#[derive(Debug, Clone, Copy)]
enum Form {
    Plain,
    Year,
    Float,
    Double,
    Hex,
    Bits(u32),
    Moment,
    Date,
    Duration,
    Json,
}

struct OracleColumn {
    name: String,
    form: Form,
}

/// Rows of one side: the text of each column, `None` for NULL.
pub type Rows = BTreeMap<Vec<Option<String>>, usize>;

/// Every base table of the task's database.
///
/// # Panics
/// If MySQL fails.
pub async fn tables(task: &Task) -> Vec<String> {
    let mut mysql = task.servers.mysql().await;
    mysql
        .exec(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? ORDER BY 1",
            (&task.name,),
        )
        .await
        .expect("the tables can be listed")
}

/// Expects every table of the task's database to be equal in the warehouse.
///
/// # Panics
/// With the first rows that differ.
pub async fn assert_equal(task: &Task) {
    for table in tables(task).await {
        assert_table_equal(task, &table).await;
    }
}

/// Waits until a table is in the warehouse with the rows that the source has now; `what` says what that shows.
///
/// # Panics
/// If it does not come to that within [`RUN`].
pub async fn eventually_equal(task: &Task, table: &str, what: &str) {
    let found = format!("SELECT to_regclass('\"{}\".\"{table}\"') IS NOT NULL", task.name);
    eventually("the table is there", RUN, || async {
        let row = task.servers.postgres().await.query_one(&found, &[]).await;
        row.expect("the warehouse can be asked for a table").get(0)
    })
    .await;
    let expected = source_rows(task, table).await;
    eventually(what, RUN, || async { destination_rows(task, table).await == expected }).await;
}

/// Expects one table to be equal in the warehouse.
///
/// # Panics
/// With the first rows that differ.
pub async fn assert_table_equal(task: &Task, table: &str) {
    let target = target_of(task, table);
    assert_equal_to(task, (&task.name, table), &target).await;
}

/// Expects the rows of `target` (schema and table, quoted) of which `condition` is true to be those of a table of the source, by its
/// columns; what else is in them is not looked at.
///
/// # Panics
/// With the first rows that differ.
pub async fn assert_slice_equal(task: &Task, table: (&str, &str), (target, condition): (&str, &str)) {
    assert_equal_to(task, table, &format!("{target} WHERE {condition}")).await;
}

/// Expects the rows of `target` (schema and table, quoted) of which `condition` is true to be NULL in every column that a table of the
/// source does not have; `constants` are the columns that the target has of itself.
///
/// # Panics
/// With those columns, if a row holds something in one of them.
pub async fn assert_rest_is_null(
    task: &Task,
    (database, table): (&str, &str),
    (target, condition): (&str, &str),
    constants: &[&str],
) {
    let own = columns(task, (database, table)).await;
    let postgres = task.servers.postgres().await;
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
    let found = postgres.query(sql, &[&target]).await.expect("the target's columns can be listed");
    let names = found.iter().map(|row| row.get::<_, String>(0));
    let others = names
        .filter(|name| !constants.contains(&name.as_str()) && !own.iter().any(|column| column.name == *name));
    let filled: Vec<String> = others.map(|name| format!("\"{name}\" IS NOT NULL")).collect();
    if filled.is_empty() {
        return;
    }
    let filled = filled.join(" OR ");
    let sql = format!("SELECT count(*) FROM {target} WHERE ({condition}) AND ({filled})");
    let rows: i64 = postgres.query_one(&sql, &[]).await.expect("the target can be read").get(0);
    assert_eq!(rows, 0, "{database}.{table}: rows where {filled}");
}

fn target_of(task: &Task, table: &str) -> String {
    format!("\"{}\".\"{table}\"", task.name)
}

async fn assert_equal_to(task: &Task, (database, table): (&str, &str), target: &str) {
    let columns = columns(task, (database, table)).await;
    let source = rows_of_source(task, &columns, (database, table)).await;
    let destination = rows_of_destination(task, &columns, target).await;
    if source == destination {
        return;
    }
    let names: Vec<String> = columns.into_iter().map(|column| column.name).collect();
    let only = |left: &Rows, right: &Rows| -> Vec<Vec<Option<String>>> {
        left.iter()
            .filter(|(row, count)| right.get(*row) != Some(count))
            .map(|(row, _)| row.clone())
            .collect()
    };
    let (missing, surplus) = (only(&source, &destination), only(&destination, &source));
    panic!(
        "{database}.{table}: {} rows in the source, {} in the destination; only in the source {}, only in the destination {}\n{}",
        source.values().sum::<usize>(),
        destination.values().sum::<usize>(),
        missing.len(),
        surplus.len(),
        missing.iter().take(5).map(|row| nearest(&names, row, &surplus)).collect::<String>(),
    );
}

/// A row of the source, and in what the row of the destination differs that is most like it.
fn nearest(names: &[String], row: &[Option<String>], others: &[Vec<Option<String>>]) -> String {
    let short = |text: &Option<String>| {
        format!("{:?}", text.as_ref().map(|text| text.chars().take(60).collect::<String>()))
    };
    let differing = |other: &Vec<Option<String>>| -> Vec<String> {
        let pairs = names.iter().zip(row.iter().zip(other));
        let unlike = pairs.filter(|(_, (mine, theirs))| mine != theirs);
        unlike.map(|(name, (mine, theirs))| format!("{name}: {} is {}", short(mine), short(theirs))).collect()
    };
    let best = others.iter().map(differing).min_by_key(Vec::len).unwrap_or_default();
    let key: Vec<String> = row.iter().take(3).map(short).collect();
    format!("({}, …) {}\n", key.join(", "), best.join("; "))
}

async fn columns(task: &Task, (database, table): (&str, &str)) -> Vec<OracleColumn> {
    let mut mysql = task.servers.mysql().await;
    let found: Vec<(String, String, String)> = mysql
        .exec(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (database, table),
        )
        .await
        .expect("the columns can be listed");
    let form = |data_type: &str, column_type: &str| match data_type {
        "year" => Form::Year,
        "float" => Form::Float,
        // Printed with so many decimals, whatever its value.
        "double" if column_type.contains('(') => Form::Float,
        "double" => Form::Double,
        "bit" => {
            let width = column_type.trim_start_matches("bit(").trim_end_matches(')');
            Form::Bits(width.parse().expect("a width"))
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Form::Hex,
        "date" => Form::Date,
        "datetime" | "timestamp" => Form::Moment,
        "time" => Form::Duration,
        "json" => Form::Json,
        _ => Form::Plain,
    };
    found
        .into_iter()
        .map(|(name, data_type, column_type)| OracleColumn { name, form: form(&data_type, &column_type) })
        .collect()
}

/// The rows of the source. A date that the warehouse cannot hold is NULL there, so it is here.
///
/// # Panics
/// If MySQL fails.
pub async fn source_rows(task: &Task, table: &str) -> Rows {
    let table = (task.name.as_str(), table);
    rows_of_source(task, &columns(task, table).await, table).await
}

async fn rows_of_source(task: &Task, columns: &[OracleColumn], (database, table): (&str, &str)) -> Rows {
    let list: Vec<String> = columns
        .iter()
        .map(|OracleColumn { name, form }| {
            let name = format!("`{name}`");
            match form {
                Form::Plain | Form::Double | Form::Json => format!("CAST({name} AS CHAR)"),
                Form::Year => format!("CAST({name} + 0 AS CHAR)"),
                Form::Float => format!("CAST({name} + 0e0 AS CHAR)"),
                Form::Hex => format!("HEX({name})"),
                Form::Bits(width) => format!("LPAD(BIN({name} + 0), {width}, '0')"),
                Form::Moment => {
                    format!("IF(TO_DAYS({name}) IS NULL, NULL, DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f'))")
                }
                Form::Date => format!("IF(TO_DAYS({name}) IS NULL, NULL, DATE_FORMAT({name}, '%Y-%m-%d'))"),
                Form::Duration => format!("CAST(CAST({name} AS TIME(6)) AS CHAR)"),
            }
        })
        .collect();
    let mut mysql = task.servers.mysql().await;
    let sql = format!("SELECT {} FROM `{database}`.`{table}`", list.join(", "));
    let rows: Vec<mysql_async::Row> = mysql.query(sql).await.expect("the table can be read");
    let mut all = Rows::new();
    for row in rows {
        let texts = columns.iter().enumerate().map(|(index, column)| {
            let text: Option<String> = row.get(index).expect("a column");
            text.map(|text| canonical(column.form, text))
        });
        *all.entry(texts.collect()).or_default() += 1;
    }
    all
}

/// The rows of the warehouse's table of the same name.
///
/// # Panics
/// If PostgreSQL fails.
pub async fn destination_rows(task: &Task, table: &str) -> Rows {
    let columns = columns(task, (&task.name, table)).await;
    rows_of_destination(task, &columns, &target_of(task, table)).await
}

async fn rows_of_destination(task: &Task, columns: &[OracleColumn], target: &str) -> Rows {
    let list: Vec<String> = columns
        .iter()
        .map(|OracleColumn { name, form }| {
            let name = format!("\"{name}\"");
            match form {
                Form::Plain | Form::Year | Form::Double | Form::Json | Form::Bits(_) => {
                    format!("{name}::text")
                }
                Form::Float => format!("({name}::double precision)::text"),
                Form::Hex => format!("upper(encode({name}, 'hex'))"),
                Form::Moment => format!("to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"),
                Form::Date => format!("to_char({name}, 'YYYY-MM-DD')"),
                Form::Duration => format!("(extract(epoch FROM {name}) * 1000000)::bigint::text"),
            }
        })
        .collect();
    let postgres = task.servers.postgres().await;
    let sql = format!("SELECT {} FROM {target}", list.join(", "));
    let mut all = Rows::new();
    let rows = match postgres.query(&sql, &[]).await {
        // It may still come: until then no table of the source is equal to this.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            all.insert(vec![Some(error.to_string())], 1);
            return all;
        }
        rows => rows.expect("the target can be read"),
    };
    for row in rows {
        let texts = columns.iter().enumerate().map(|(index, column)| {
            let text: Option<String> = row.get(index);
            text.map(|text| match column.form {
                // Microseconds already.
                Form::Duration => text,
                form => canonical(form, text),
            })
        });
        *all.entry(texts.collect()).or_default() += 1;
    }
    all
}

/// Brings what the servers print differently into one form.
fn canonical(form: Form, text: String) -> String {
    match form {
        Form::Float | Form::Double => {
            let number: f64 = text.parse().expect("a number");
            // Negative zero prints as it likes.
            format!("{:?}", number + 0.0)
        }
        Form::Duration => duration_micros(&text).to_string(),
        Form::Json => json_text(&serde_json::from_str(&text).expect("JSON")),
        _ => text,
    }
}

/// `-838:59:59.000000` in microseconds.
fn duration_micros(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let parts: Vec<i64> = digits.split([':', '.']).map(|part| part.parse().expect("a number")).collect();
    let [hours, minutes, seconds, micros] = parts[..] else { panic!("{text} is not a time") };
    sign * (((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

/// JSON with sorted keys and numbers as doubles.
fn json_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Number(number) => format!("{:?}", number.as_f64().expect("a number")),
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(json_text).collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields = sorted.iter().map(|(name, value)| format!("{name:?}:{}", json_text(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_one() {
        assert_eq!(duration_micros("-838:59:59.000000"), -3_020_399_000_000);
        assert_eq!(
            canonical(Form::Json, r#"{"b": 1, "a": [1.0, null]}"#.into()),
            r#"{"a":[1.0,null],"b":1.0}"#
        );
        assert_eq!(canonical(Form::Double, "1e3".into()), canonical(Form::Double, "1000".into()));
    }
}
