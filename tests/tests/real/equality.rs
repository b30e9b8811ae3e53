//! Equality of keys by three systems, over every type that a key can have: random values that lean on the edges. What MySQL
//! takes for one key is one on Kafka and one in PostgreSQL, and what it takes for two is two, whether a row was read from its
//! table or came through the binlog, and whatever its key was written as before.
//!
//! The servers are the oracles: MySQL throws out what it holds for equal (INSERT IGNORE, UPDATE IGNORE, REPLACE), Kafka's keys
//! are compared as bytes, and the targets have a primary key of PostgreSQL.

use fastrand::Rng;
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::visit_topic;

/// Another seed may be given in `TRIBUTARY_SEED`.
const SEED: u64 = 20_261_130;
/// Values that are written to each table before it is read, and changes after that.
const VALUES: usize = 60;

/// A literal of a type.
type Literal = fn(&mut Rng) -> String;

fn one_of(rng: &mut Rng, values: &[&str]) -> String {
    values[rng.usize(..values.len())].to_owned()
}

fn integer(rng: &mut Rng) -> String {
    const EDGES: [&str; 14] = [
        "0",
        "-0",
        "1",
        "-1",
        "127",
        "-128",
        "255",
        "32767",
        "-32768",
        "65535",
        "8388607",
        "-8388608",
        "16777215",
        "2147483647",
    ];
    match rng.u8(..3) {
        0 => one_of(rng, &EDGES),
        1 => one_of(
            rng,
            &[
                "-2147483648",
                "4294967295",
                "9223372036854775807",
                "-9223372036854775808",
                "18446744073709551615",
            ],
        ),
        _ => rng.i32(..).to_string(),
    }
}

fn decimal(rng: &mut Rng) -> String {
    const EDGES: [&str; 12] = [
        "0",
        "-0.0",
        "-0.00000000001",
        "1.1",
        "1.10",
        "1.1000000000",
        "99999",
        "-99999",
        "0.0000000001",
        "99999999999999999999.9999999999",
        "-99999999999999999999.9999999999",
        "1e3",
    ];
    if rng.bool() { one_of(rng, &EDGES) } else { format!("{}.{:03}", rng.i32(-999..999), rng.u32(..999)) }
}

fn real(rng: &mut Rng) -> String {
    const EDGES: [&str; 20] = [
        "0e0",
        "-0e0",
        "-(0e0)",
        "1e-46",
        "-1e-46",
        "1.4e-45",
        "1.17549435e-38",
        "3.40282346e38",
        "-3.40282346e38",
        "4.9e-324",
        "-4.9e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "9007199254740993e0",
        "9007199254740992e0",
        "16777217e0",
        "16777216e0",
        "0.1e0",
        "1e0/3e0",
        "0.30000000000000004e0",
    ];
    match rng.u8(..3) {
        0 => one_of(rng, &["0e0", "-0e0", "-1e-46", "1e-46", "-(0e0)"]),
        1 => one_of(rng, &EDGES),
        _ => format!("{}e{}", rng.i32(-99..99), rng.i32(-5..5)),
    }
}

fn bits(rng: &mut Rng) -> String {
    let value = if rng.bool() { 1_u64 << rng.u32(..64) } else { rng.u64(..) };
    format!("b'{:b}'", if rng.u8(..4) == 0 { value.wrapping_sub(1) } else { value })
}

fn year(rng: &mut Rng) -> String {
    if rng.bool() {
        one_of(rng, &["0", "1901", "2155", "2000", "1970", "'00'"])
    } else {
        rng.u32(1901..2156).to_string()
    }
}

fn day(rng: &mut Rng) -> String {
    const EDGES: [&str; 8] = [
        "1000-01-01",
        "0001-01-01",
        "9999-12-31",
        "1970-01-01",
        "1969-12-31",
        "1582-10-10",
        "2000-02-29",
        "1900-03-01",
    ];
    match rng.bool() {
        true => one_of(rng, &EDGES),
        false => format!("{:04}-{:02}-{:02}", rng.u32(1..9999), rng.u32(1..13), rng.u32(1..29)),
    }
}

fn clock(rng: &mut Rng) -> String {
    const EDGES: [&str; 7] = [
        "00:00:00",
        "00:00:00.0",
        "23:59:59.999999",
        "23:59:59.9999995",
        "00:00:00.000001",
        "12:00:00.5",
        "12:00:00.500000",
    ];
    match rng.bool() {
        true => one_of(rng, &EDGES),
        false => {
            format!("{:02}:{:02}:{:02}.{}", rng.u32(..24), rng.u32(..60), rng.u32(..60), rng.u32(..9_999_999))
        }
    }
}

fn date(rng: &mut Rng) -> String {
    format!("'{}'", day(rng))
}

fn moment(rng: &mut Rng) -> String {
    // A second before the end, so that rounding does not leave the range.
    let day = day(rng).replace("9999-12-31", "9999-12-30");
    format!("'{day} {}'", clock(rng))
}

fn timestamp(rng: &mut Rng) -> String {
    match rng.bool() {
        true => one_of(
            rng,
            &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:06.9994'", "'2000-01-01 00:00:00.0005'"],
        ),
        false => format!("'{}-06-15 {}'", rng.u32(1971..2038), clock(rng)),
    }
}

fn duration(rng: &mut Rng) -> String {
    const EDGES: [&str; 9] = [
        "'00:00:00'",
        "'-00:00:00'",
        "'-00:00:00.000001'",
        "'00:00:00.0000005'",
        "'838:59:59'",
        "'-838:59:59'",
        "'838:59:58.999999'",
        "'24:00:00'",
        "'-0:0:1'",
    ];
    match rng.bool() {
        true => one_of(rng, &EDGES),
        false => format!(
            "'{}{:03}:00:0{}.{}'",
            if rng.bool() { "-" } else { "" },
            rng.u32(..838),
            rng.u32(..9),
            rng.u32(..999_999)
        ),
    }
}

/// Few letters, so that values differ by case, accents, padding and nothing else.
fn text_of(rng: &mut Rng, letters: &[&str]) -> String {
    let mut text: String = (0..rng.usize(..4)).map(|_| one_of(rng, letters)).collect();
    text.push_str(["", "", " ", "  "][rng.usize(..4)]);
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn ascii(rng: &mut Rng) -> String {
    text_of(rng, &["a", "A", "b", "z", "0", " ", "\t", "'", "\\", "%", "_", "\"", "~", "\n"])
}

fn latin(rng: &mut Rng) -> String {
    text_of(rng, &["a", "A", "á", "Ä", "ß", "s", "S", "é", "E", " ", "\t", "ÿ"])
}

fn wide(rng: &mut Rng) -> String {
    text_of(
        rng,
        &[
            "a", "A", "á", "a\u{301}", "ß", "ss", "😀", "名", "\u{200b}", "\u{a0}", " ", "\t", "ǆ", "Ǆ", "İ",
            "i", "K", "k",
        ],
    )
}

fn east_asian(rng: &mut Rng) -> String {
    text_of(rng, &["a", "A", "名", "中", "Ａ", "ａ", " "])
}

fn bytes(rng: &mut Rng) -> String {
    const BYTES: [&str; 7] = ["00", "20", "41", "61", "5C", "7F", "FF"];
    let digits: String = (0..rng.usize(..5)).map(|_| one_of(rng, &BYTES)).collect();
    format!("X'{digits}'")
}

fn label(rng: &mut Rng) -> String {
    one_of(rng, &["'a'", "'B'", "'b '", "'ü'", "''", "1", "2", "3", "4"])
}

fn labels(rng: &mut Rng) -> String {
    one_of(rng, &["'a'", "'a,b'", "'b,a'", "''", "0", "1", "3", "7", "'ü'", "'ü,a'"])
}

/// Every type that a key can have, with the character sets and collations that compare in ways of their own.
const TYPES: [(&str, Literal); 41] = [
    ("TINYINT", integer),
    ("TINYINT UNSIGNED", integer),
    ("SMALLINT", integer),
    ("MEDIUMINT", integer),
    ("MEDIUMINT UNSIGNED", integer),
    ("INT", integer),
    ("INT UNSIGNED", integer),
    ("BIGINT", integer),
    ("BIGINT UNSIGNED", integer),
    ("DECIMAL(5,0)", decimal),
    ("DECIMAL(30,10)", decimal),
    ("DECIMAL(20,3)", decimal),
    ("FLOAT", real),
    ("DOUBLE", real),
    ("BIT(1)", bits),
    ("BIT(9)", bits),
    ("BIT(64)", bits),
    ("YEAR", year),
    ("DATE", date),
    ("DATETIME", moment),
    ("DATETIME(3)", moment),
    ("DATETIME(6)", moment),
    ("TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3)", timestamp),
    ("TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6)", timestamp),
    ("TIME", duration),
    ("TIME(6)", duration),
    ("CHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", wide),
    ("VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs", wide),
    ("VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin", wide),
    ("VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", wide),
    ("VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", wide),
    ("CHAR(9) CHARACTER SET latin1 COLLATE latin1_swedish_ci", latin),
    ("VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci", latin),
    ("VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_bin", latin),
    ("VARCHAR(9) CHARACTER SET ascii", ascii),
    ("VARCHAR(9) CHARACTER SET gbk", east_asian),
    ("VARCHAR(9) CHARACTER SET cp932 COLLATE cp932_bin", east_asian),
    ("BINARY(4)", bytes),
    ("VARBINARY(6)", bytes),
    ("ENUM('a','B','b ','ü') CHARACTER SET latin1", label),
    ("SET('a','b','ü')", labels),
];

/// Changes of a table: keys that are written otherwise, rows that go and come back, rows that only change.
fn changes(table: usize, literal: Literal, rng: &mut Rng) -> String {
    let mut statements = Vec::new();
    for number in 0..VALUES {
        let (value, n) = (literal(rng), rng.usize(..VALUES));
        let other = literal(rng);
        statements.push(match rng.u8(..6) {
            0 | 1 => format!("UPDATE IGNORE k{table} SET k = {value}, m = m + 1 WHERE n = {n}"),
            2 => format!("REPLACE INTO k{table} (k, n, m) VALUES ({value}, {}, 7)", VALUES + number),
            // Often by another way to write the same key.
            4 => format!("UPDATE IGNORE k{table} SET k = {value}, m = m + 1 WHERE k = {other}"),
            3 => format!("DELETE FROM k{table} WHERE n = {n}"),
            _ => format!("INSERT IGNORE INTO k{table} (k, n, m) VALUES ({value}, {}, 8)", VALUES + number),
        });
    }
    // Each row once through the binlog: by whatever bytes it was read, they must be the same there.
    statements.push(format!("UPDATE k{table} SET m = m + 100"));
    statements.join("; ")
}

/// The keys that live at the end of a table's topic, as bytes.
fn keys_on_kafka(task: &Task, table: &str) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    visit_topic(task, table, |record| {
        if record.value.is_some() {
            keys.insert(record.key);
        } else {
            keys.remove(&record.key);
        }
    });
    keys
}

async fn assert_as_many(task: &Task, seed: u64) {
    let mut mysql = task.servers.mysql().await;
    let postgres = task.servers.postgres().await;
    for (place, (kind, _)) in TYPES.iter().enumerate() {
        let table = format!("k{place}");
        let count = format!("SELECT COUNT(*) FROM `{}`.{table}", task.name);
        let rows: usize = mysql.query_first(count).await.unwrap().unwrap();
        let keys = keys_on_kafka(task, &table).len();
        let count = format!("SELECT count(DISTINCT k), count(*) FROM \"{}\".{table}", task.name);
        let row = postgres.query_one(&count, &[]).await.unwrap();
        let target = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        let expected = i64::try_from(rows).unwrap();
        assert_eq!((keys, target), (rows, (expected, expected)), "{kind} (k{place}), seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_one_key_to_mysql_is_one_on_kafka_and_in_postgresql() {
    let seed = std::env::var("TRIBUTARY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let task = Task::with("equality", Servers::shared(), |config| {
        config.replace("[topics]\npartitions = 4", "[topics]\npartitions = 1")
    });
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    for (place, (kind, literal)) in TYPES.iter().enumerate() {
        let rows: Vec<String> = (0..VALUES).map(|n| format!("({}, {n}, 0)", literal(&mut rng))).collect();
        let table = format!("CREATE TABLE k{place} (k {kind}, n INT, m INT, PRIMARY KEY (k))");
        let rows = format!("INSERT IGNORE INTO k{place} (k, n, m) VALUES {}", rows.join(","));
        for statement in [table, rows] {
            mysql.query_drop(&statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    }
    task.start("capture", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    for (place, (_, literal)) in TYPES.iter().enumerate() {
        let statements = changes(place, *literal, &mut rng);
        mysql.query_drop(&statements).await.unwrap_or_else(|error| panic!("{error}: {statements}"));
    }
    task.catch_up();
    assert_as_many(&task, seed).await;
    assert_equal(&task).await;
}
