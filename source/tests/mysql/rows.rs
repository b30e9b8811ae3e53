//! Every type with its edge values: what the encoder wrote, read back by apache-avro, against the server's own text.

use crate::{database, reader, run};
use apache_avro::types::Value as Avro;
use apache_avro::{Schema, from_avro_datum};
use mysql_async::prelude::Queryable;
use tributary_schemas::checkpoint::KeyRange;
use tributary_schemas::decimal::Magnitude;
use tributary_schemas::envelope::{key_schema, value_schema};
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::{Table, TableId};
use tributary_schemas::types::ColumnType;
use tributary_source::catalog::read_table;
use tributary_source::chunk::{ChunkSql, quote};
use tributary_source::connect::SourceConnection;
use tributary_source::publish::{PRIMARY, Wishes};
use tributary_source::rows::RowEncoder;

/// Declaration and literals; NULL is added to each.
const COLUMNS: &[(&str, &[&str])] = &[
    ("TINYINT", &["-128", "127", "0"]),
    ("TINYINT UNSIGNED", &["255", "0"]),
    ("TINYINT(1)", &["1"]),
    ("SMALLINT", &["-32768", "32767"]),
    ("SMALLINT UNSIGNED", &["65535"]),
    ("MEDIUMINT", &["-8388608", "8388607"]),
    ("MEDIUMINT UNSIGNED", &["16777215"]),
    ("INT", &["-2147483648", "2147483647"]),
    ("INT UNSIGNED", &["4294967295"]),
    ("INT(8) UNSIGNED ZEROFILL", &["42"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807", "-1"]),
    ("BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808", "0"]),
    ("DECIMAL(10,2)", &["-12345678.90", "99999999.99", "0", "-0.01", "0.5"]),
    (
        "DECIMAL(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ],
    ),
    ("DECIMAL(18,0)", &["-999999999999999999", "7"]),
    ("DECIMAL(5,5)", &["0.12345", "-0.00001"]),
    ("FLOAT", &["1.1", "-3.4028234e38", "1.17549435e-38", "16777217", "0.1"]),
    ("FLOAT(7,4)", &["123.4567"]),
    ("DOUBLE", &["0.1", "-1.7976931348623157e308", "2.2250738585072014e-308", "1e22"]),
    ("BIT(1)", &["b'1'", "b'0'"]),
    ("BIT(12)", &["b'101010101010'", "b'1'"]),
    ("BIT(64)", &["b'1111111111111111111111111111111111111111111111111111111111111111'", "b'10'"]),
    ("CHAR(10)", &["'abc  '", "''", "'\u{1f600}'"]),
    ("CHAR(10) CHARACTER SET latin1", &["'é€'"]),
    ("VARCHAR(300)", &["'trailing  '", "'a\\0b'", "REPEAT('é', 300)"]),
    ("VARCHAR(20) CHARACTER SET utf16", &["'žluťoučký'"]),
    ("VARCHAR(20) CHARACTER SET gbk", &["'中文'"]),
    ("VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", &["'ß'"]),
    ("TINYTEXT", &["'x'", "REPEAT('x', 255)"]),
    ("TEXT", &["REPEAT('x', 65535)"]),
    ("MEDIUMTEXT", &["REPEAT('xy', 40000)"]),
    ("LONGTEXT CHARACTER SET latin1", &["REPEAT('é', 70000)"]),
    ("BINARY(4)", &["x'00'", "x'61'", "x'61620000'"]),
    ("VARBINARY(10)", &["x'00ff00'", "''"]),
    ("TINYBLOB", &["x'ff'"]),
    ("BLOB", &["REPEAT(x'00', 300)"]),
    ("MEDIUMBLOB", &["x'00'"]),
    ("LONGBLOB", &["REPEAT(x'fe', 70000)"]),
    ("ENUM('a','it''s','ü')", &["'a'", "'it''s'", "'ü'", "0"]),
    ("SET('a','b','ü')", &["''", "'a,ü'", "'b'"]),
    (
        "JSON",
        &[
            r#"'{"b": [1, 2.50, "x\\n", null, true], "a": {}}'"#,
            "'7'",
            "CAST(1.50 AS JSON)",
            "CAST(CAST('2020-01-01 00:00:01' AS DATETIME) AS JSON)",
            "CAST(x'00ff' AS JSON)",
        ],
    ),
    ("DATE", &["'1000-01-01'", "'9999-12-31'", "'1969-12-31'", "'2024-02-29'"]),
    ("DATETIME", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    ("DATETIME(6)", &["'1969-12-31 23:59:59.999999'", "'2024-01-01 00:00:00.000001'", "'2024-01-01'"]),
    ("DATETIME(3)", &["'2024-01-01 01:02:03.450'"]),
    ("TIMESTAMP", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"]),
    ("TIMESTAMP(6)", &["'2024-03-31 02:30:00.123456'"]),
    ("TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("TIME(6)", &["'-00:00:00.000001'", "'100:00:00.5'"]),
    ("YEAR", &["0", "1901", "2155"]),
];

/// The server's own text of a column, in the form of [`render`].
fn oracle(name: &str, column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Decimal { .. } => format!("REPLACE({name}, '.', '')"),
        ColumnType::Bit { width } => format!("LPAD(HEX({name}), {}, '0')", u32::from(*width).div_ceil(8) * 2),
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob(_) => {
            format!("HEX({name})")
        }
        ColumnType::Date => format!("DATEDIFF({name}, '1970-01-01')"),
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => {
            format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name})")
        }
        ColumnType::Time { .. } => {
            format!("IF({name} < 0, -1, 1) * (ABS(TIME_TO_SEC({name})) * 1000000 + MICROSECOND({name}))")
        }
        ColumnType::Float | ColumnType::Double => format!("CAST({name} AS DOUBLE)"),
        // Other types are cast, lest the text protocol sends bytes; a cast double loses digits.
        _ => format!("CAST({name} AS CHAR)"),
    }
}

fn render(value: &Avro, column_type: &ColumnType) -> Option<String> {
    Some(match value {
        Avro::Union(_, inner) => return render(inner, column_type),
        Avro::Null => return None,
        Avro::Int(number) | Avro::Date(number) => number.to_string(),
        Avro::Long(number) | Avro::LocalTimestampMicros(number) | Avro::TimestampMicros(number) => {
            number.to_string()
        }
        Avro::Float(number) => f64::from(*number).to_string(),
        Avro::Double(number) => number.to_string(),
        Avro::String(text) => text.clone(),
        Avro::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Avro::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.try_into().unwrap();
            let (negative, mut magnitude) = Magnitude::from_twos_complement(&bytes).unwrap();
            let mut digits = Vec::new();
            while !magnitude.is_zero() {
                let (rest, digit) = magnitude.divided(10);
                digits.push(char::from(b'0' + u8::try_from(digit).unwrap()));
                magnitude = rest;
            }
            digits.push(if negative { '-' } else { '+' });
            digits.iter().rev().collect()
        }
        other => panic!("{column_type}: {other:?}"),
    })
}

/// Brings the server's text into the form of [`render`].
fn normal(text: Option<String>, column_type: &ColumnType) -> Option<String> {
    let text = text?;
    Some(match column_type {
        ColumnType::Decimal { .. } | ColumnType::BigInt { unsigned: true } => {
            let sign = if text.starts_with('-') { '-' } else { '+' };
            format!("{sign}{}", text.trim_start_matches(['-', '0']))
        }
        ColumnType::Float | ColumnType::Double => text.parse::<f64>().unwrap().to_string(),
        // The number 0 and YEAR's four digits; ZEROFILL's zeros are display only.
        ColumnType::Year | ColumnType::Int { .. } => text.parse::<i64>().unwrap().to_string(),
        _ => text,
    })
}

async fn published(connection: &mut SourceConnection, database: &str, table: &str) -> Table {
    let table = read_table(connection, &TableId::new(database, table)).await.unwrap().unwrap();
    let wishes = Wishes::new(|_| true);
    table.published(&wishes).unwrap()
}

/// The row's record alone, out of the envelope.
fn row_schema(table: &Table) -> Schema {
    let envelope: serde_json::Value =
        serde_json::from_str(&value_schema("t.d.t", table, 1).unwrap()).unwrap();
    Schema::parse_str(&envelope["fields"][0]["type"][1].to_string()).unwrap()
}

#[tokio::test]
async fn every_type_reads_as_the_server_prints_it() {
    let mut root = database("source_rows").await;
    let mut connection = reader().await;
    for (index, (declaration, literals)) in COLUMNS.iter().enumerate() {
        let name = format!("t{index}");
        run(&mut root, &[&format!("CREATE TABLE {name} (id INT PRIMARY KEY, v {declaration})")]).await;
        for (id, literal) in literals.iter().chain(&["NULL"]).enumerate() {
            run(&mut root, &[&format!("INSERT INTO {name} VALUES ({id}, {literal})")]).await;
        }
        let table = published(&mut connection, "source_rows", &name).await;
        let column_type = table.columns[1].column_type.clone();
        let encoder = RowEncoder::compile(&table).unwrap();
        let sql = ChunkSql::new(&table, PRIMARY).unwrap();
        let statement = sql.select(&KeyRange { after: None, through: None }, None).unwrap();
        let text = oracle("v", &column_type);
        let from = format!("source_rows.{}", quote(&name));
        let expected: Vec<Option<String>> =
            connection.driver().query(format!("SELECT {text} FROM {from} ORDER BY id")).await.unwrap();
        let mut result = connection.driver().exec_iter(&statement.sql, statement.params).await.unwrap();
        encoder.check_columns(result.columns_ref()).unwrap();
        let schema = row_schema(&table);
        let mut out = EncodedRow::default();
        let mut found = Vec::new();
        while let Some(row) = result.next().await.unwrap() {
            encoder.encode_row(&row, &mut out).unwrap();
            let mut rest = out.value.as_slice();
            let Avro::Record(fields) = from_avro_datum(&schema, &mut rest, None).unwrap() else {
                panic!("not a record")
            };
            assert!(rest.is_empty() && out.raw.is_empty());
            found.push(render(&fields[1].1, &column_type));
        }
        let expected: Vec<_> = expected.into_iter().map(|text| normal(text, &column_type)).collect();
        assert_eq!(found, expected, "{declaration}");
        assert_eq!(found.len(), literals.len() + 1);
    }
}

#[tokio::test]
async fn impossible_dates_keep_the_servers_text() {
    let mut root = database("source_dates").await;
    run(
        &mut root,
        &[
            "SET sql_mode = 'ALLOW_INVALID_DATES'",
            "CREATE TABLE t (id INT PRIMARY KEY, a DATE NOT NULL, b DATETIME NOT NULL, c DATETIME(3) NOT NULL, \
             d TIMESTAMP(6) NOT NULL)",
            "INSERT INTO t VALUES (1, 0, 0, 0, 0), \
             (2, '2024-00-10', '2024-05-00 01:02:03', '0000-00-05 10:00:00.120', '2024-01-01'), \
             (3, '2023-02-31', '2023-04-31 00:00:00', '2024-00-00 00:00:00.001', '2024-01-01')",
        ],
    )
    .await;
    let mut connection = reader().await;
    let table = published(&mut connection, "source_dates", "t").await;
    let encoder = RowEncoder::compile(&table).unwrap();
    let rows: Vec<mysql_async::Row> =
        connection.driver().exec("SELECT * FROM source_dates.t ORDER BY id", ()).await.unwrap();
    let texts: Vec<(i32, String, String, String, String)> = connection
        .driver()
        .query(
            "SELECT id, CAST(a AS CHAR), CAST(b AS CHAR), CAST(c AS CHAR), CAST(d AS CHAR) \
             FROM source_dates.t ORDER BY id",
        )
        .await
        .unwrap();
    let mut out = EncodedRow::default();
    let mut checked = 0;
    for (row, (_, a, b, c, d)) in rows.iter().zip(texts) {
        encoder.encode_row(row, &mut out).unwrap();
        let texts = [a, b, c, d];
        for raw in &out.raw {
            assert_eq!(raw.text, texts[raw.column - 1]);
            checked += 1;
        }
    }
    assert_eq!(checked, 4 + 3 + 3);
}

#[tokio::test]
async fn keys_read_back_and_columns_are_compared_with_the_catalog() {
    let mut root = database("source_keys").await;
    run(
        &mut root,
        &[
            "CREATE TABLE t (a VARCHAR(10) NOT NULL, b BIGINT UNSIGNED NOT NULL, c INT, PRIMARY KEY (b, a))",
            "INSERT INTO t VALUES ('é', 18446744073709551615, 1)",
        ],
    )
    .await;
    let mut connection = reader().await;
    let table = published(&mut connection, "source_keys", "t").await;
    let encoder = RowEncoder::compile(&table).unwrap();
    let mut result = connection.driver().exec_iter("SELECT a, b, c FROM source_keys.t", ()).await.unwrap();
    let row = result.next().await.unwrap().unwrap();
    let mut out = EncodedRow::default();
    encoder.encode_row(&row, &mut out).unwrap();
    drop(result);
    let schema = Schema::parse_str(&key_schema("t.d.t", &table).unwrap()).unwrap();
    let Avro::Record(key) = from_avro_datum(&schema, &mut out.key.as_slice(), None).unwrap() else {
        panic!()
    };
    let big_int = ColumnType::BigInt { unsigned: true };
    assert_eq!(render(&key[0].1, &big_int).unwrap(), "+18446744073709551615");
    assert_eq!(key[1].1, Avro::String("é".into()));
    let mut mismatch = 0;
    for change in ["c BIGINT", "c INT UNSIGNED", "c VARCHAR(3)", "c ENUM('1')"] {
        run(&mut root, &[&format!("ALTER TABLE t MODIFY {change}")]).await;
        let mut connection = reader().await;
        let result = connection.driver().exec_iter("SELECT a, b, c FROM source_keys.t", ()).await.unwrap();
        mismatch += usize::from(encoder.check_columns(result.columns_ref()).is_err());
    }
    assert_eq!(mismatch, 4);
}
