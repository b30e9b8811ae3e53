//! Statements whose text does not tell the definition: literals, labels and names that depend on the session, types
//! that change values without row events, ALTERs that are not in the binlog. Each is one small table; whatever the
//! statement says, the warehouse has the rows that the source has.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::oracle::{assert_table_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// A table, and what happens to it after its first rows were read.
struct Case {
    name: &'static str,
    /// Behind `id INT`, with its rows behind the id.
    columns: &'static str,
    rows: &'static [&'static str],
    /// The settings of the session that changes the table.
    session: &'static str,
    /// `{t}` stands for the table.
    statements: &'static [&'static [u8]],
    /// A row behind that, by names.
    after: &'static str,
    /// The table is read again; if not, all must be told by the statement.
    reread: bool,
}

const STRICT: &str = "sql_mode = 'STRICT_TRANS_TABLES'";
const LAX: &str = "sql_mode = ''";

/// A column with a default that old rows are filled with.
const fn added(name: &'static str, session: &'static str, statements: &'static [&'static [u8]]) -> Case {
    Case { name, columns: "", rows: &["", ""], session, statements, after: "id = 9", reread: false }
}

/// A column that is declared anew.
const fn modified(
    name: &'static str,
    columns: &'static str,
    rows: &'static [&'static str],
    session: &'static str,
    statement: &'static [&'static [u8]],
    reread: bool,
) -> Case {
    Case { name, columns, rows, session, statements: statement, after: "id = 9", reread }
}

const CASES: &[Case] = &[
    added("d_plain", STRICT, &[b"ALTER TABLE {t} ADD c INT NOT NULL DEFAULT 5, ADD d VARCHAR(9) DEFAULT 'x'", b"ALTER TABLE {t} ADD e INT"]),
    added("d_wildcards", STRICT, &[br"ALTER TABLE {t} ADD c VARCHAR(20) DEFAULT 'a\_b\%'"]),
    added("d_plain_backslash", "sql_mode = 'NO_BACKSLASH_ESCAPES'", &[br"ALTER TABLE {t} ADD c VARCHAR(20) DEFAULT 'C:\temp\new'"]),
    added("d_introducer", STRICT, &["ALTER TABLE {t} ADD c VARCHAR(20) DEFAULT _latin1'é'".as_bytes()]),
    added("d_client", "NAMES latin1", &[b"ALTER TABLE {t} ADD c VARBINARY(20) DEFAULT '\xe9', ADD d VARCHAR(9) DEFAULT '\xe9'"]),
    added("d_digits", STRICT, &[b"ALTER TABLE {t} ADD c FLOAT(7,2) DEFAULT 1.23456, ADD d DOUBLE(8,3) DEFAULT 1.23456, ADD e FLOAT DEFAULT 16777217"]),
    added("d_numbers", STRICT, &[b"ALTER TABLE {t} ADD c VARCHAR(20) DEFAULT 007, ADD d VARCHAR(20) DEFAULT 5., ADD e VARCHAR(20) DEFAULT -0, ADD f VARCHAR(20) DEFAULT 00.50, ADD g VARCHAR(20) DEFAULT 1e3"]),
    added("d_real", "sql_mode = 'REAL_AS_FLOAT'", &[b"ALTER TABLE {t} ADD c REAL DEFAULT 1.1"]),
    added("d_emoji", STRICT, &["ALTER TABLE {t} ADD c VARCHAR(20) CHARACTER SET utf8mb4 DEFAULT '😀?'".as_bytes()]),
    added("d_moment", "time_zone = '+03:00'", &[b"ALTER TABLE {t} ADD c TIMESTAMP NULL DEFAULT '2020-01-01 00:00:00'"]),
    added("d_bits", STRICT, &[b"ALTER TABLE {t} ADD c VARCHAR(9) DEFAULT 0x4142, ADD d INT DEFAULT b'101', ADD e VARBINARY(9) DEFAULT x'00ff', ADD f BIT(9) DEFAULT 5"]),
    added("d_decimal", STRICT, &[b"ALTER TABLE {t} ADD c DECIMAL(8,3) DEFAULT 1.0005, ADD d DECIMAL(8,3) UNSIGNED DEFAULT '7'"]),
    added("l_wildcards", STRICT, &[br"ALTER TABLE {t} ADD c ENUM('a\_b','c') NOT NULL DEFAULT 'a\_b', ADD d SET('\%','x\\y') DEFAULT '\%,x\\y'"]),
    added("l_emoji", STRICT, &["ALTER TABLE {t} ADD c ENUM('😀','?','n\nl') NOT NULL DEFAULT '😀', ADD d SET('?','😎') DEFAULT '😎'".as_bytes()]),
    modified("l_created", r", c ENUM('a\\b','n\nl','r\rl','😀','?','it''s') NOT NULL, d SET('a\\b','😀')", &[r"'a\\b', 'a\\b,😀'", "'n\nl', ''", "'😀', '😀'", "'?', NULL"], STRICT,
        &[r"INSERT INTO {t} VALUES (20, 'a\\b', 'a\\b'), (21, '😀', '😀'), (22, '?', ''), (23, 'r\rl', NULL)".as_bytes(), r"ALTER TABLE {t} MODIFY c ENUM('a\\b','n\nl','r\rl','😀','?','it''s','\\_') NOT NULL DEFAULT '\\_'".as_bytes()], false),
    Case { name: "l_key", columns: r", c ENUM('a\\b','😀','x') NOT NULL, UNIQUE (id), PRIMARY KEY (c, id)", rows: &[r"'a\\b'", "'😀'"], session: STRICT,
        statements: &[br"UPDATE {t} SET c = 'x' WHERE id = 1"], after: r"id = 9, c = 'a\\b'", reread: false },
    added("n_wide", STRICT, &["ALTER TABLE {t} ADD \u{3000}名 INT DEFAULT 4, ADD x INT DEFAULT 5 AFTER \u{3000}名".as_bytes()]),
    added("n_ansi", "sql_mode = 'ANSI_QUOTES'", &[br#"ALTER TABLE {t} ADD "a\b" INT DEFAULT 3, ADD "it's" INT DEFAULT 4"#]),
    Case { reread: true, ..added("t_implicit", "explicit_defaults_for_timestamp = OFF", &[b"ALTER TABLE {t} ADD c TIMESTAMP"]) },
    Case { reread: true, ..added("t_implicit_not_null", "explicit_defaults_for_timestamp = OFF", &[b"ALTER TABLE {t} ADD c TIMESTAMP NOT NULL"]) },
    modified("m_widens", ", c INT, d VARCHAR(9), e DECIMAL(8,2), f FLOAT", &["-1, 'x', 1.25, 0.1", "NULL, NULL, NULL, NULL"], STRICT,
        &[b"ALTER TABLE {t} MODIFY c BIGINT, MODIFY d VARCHAR(20), MODIFY e DECIMAL(12,4), MODIFY f DOUBLE"], false),
    modified("m_generated_decimal", ", c DECIMAL(10,2), d VARCHAR(40) AS (CONCAT(c)) STORED", &["1.5, DEFAULT"], STRICT, &[b"ALTER TABLE {t} MODIFY c DECIMAL(12,4)"], true),
    modified("m_generated_length", ", c VARCHAR(9) CHARACTER SET latin1, d INT AS (LENGTH(c))", &["'é', DEFAULT"], STRICT, &[b"ALTER TABLE {t} MODIFY c VARCHAR(9) CHARACTER SET utf8mb4"], true),
    modified("m_generated_converted", ", c JSON, d VARCHAR(9) CHARACTER SET latin1 AS (c->>'$.n')", &["'{\"n\": \"名\"}', DEFAULT"], LAX, &[b"ALTER TABLE {t} CONVERT TO CHARACTER SET utf8mb4"], true),
    modified("m_generated_other", ", c INT, d INT AS (id + 1)", &["5, DEFAULT"], STRICT, &[b"ALTER TABLE {t} MODIFY c BIGINT"], false),
    modified("m_moment", ", c TIMESTAMP NULL", &["NULL", "'2020-01-01 00:00:00'"], LAX, &[b"ALTER TABLE {t} MODIFY c TIMESTAMP NOT NULL DEFAULT '2021-01-01 00:00:00'"], true),
    modified("m_digits", ", c FLOAT, d DOUBLE", &["1.2345, 1.23456"], STRICT, &[b"ALTER TABLE {t} MODIFY c DOUBLE(8,2), MODIFY d DOUBLE(8,2)"], true),
    modified("m_unsigned", ", c DECIMAL(8,2), d FLOAT, e DOUBLE", &["-1.5, -1.5, -1.5", "2, 2, 2"], LAX, &[b"ALTER TABLE {t} MODIFY c DECIMAL(8,2) UNSIGNED, MODIFY d FLOAT UNSIGNED, MODIFY e DOUBLE UNSIGNED"], true),
    modified("m_int_decimal", ", c INT, d SMALLINT", &["12345678, 5"], STRICT, &[b"ALTER TABLE {t} MODIFY c DECIMAL(10,2), MODIFY d DECIMAL(7,2)"], true),
    modified("m_decimal", ", c DECIMAL(10,2)", &["1234.25"], STRICT, &[b"ALTER TABLE {t} MODIFY c DECIMAL(12,5)"], true),
    modified("m_narrows", ", c BIGINT, d INT", &["5, 6"], STRICT, &[b"ALTER TABLE {t} MODIFY c SMALLINT, MODIFY d INT UNSIGNED"], false),
    modified("m_text", ", c TINYTEXT CHARACTER SET latin1", &["REPEAT('é', 200)"], LAX, &[b"ALTER TABLE {t} MODIFY c TINYTEXT CHARACTER SET utf8mb4"], true),
    modified("m_padded", ", c CHAR(9)", &["'x'"], "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'", &[b"ALTER TABLE {t} MODIFY c VARCHAR(20)"], true),
    modified("m_charset", ", c VARCHAR(9) CHARACTER SET cp1250", &["'a'"], LAX, &[b"ALTER TABLE {t} MODIFY c VARCHAR(9) CHARACTER SET utf8mb4"], true),
    Case { name: "h_extra", columns: "", rows: &["", ""], session: "sql_log_bin = 0", statements: &[b"ALTER TABLE {t} ADD c BIGINT NOT NULL DEFAULT 7"],
        after: "id = 9", reread: true },
];

/// The cases whose statements the stream meets late: those in which the server is asked, or says what nobody else does.
fn late() -> Vec<&'static Case> {
    CASES.iter().filter(|case| !case.name.starts_with("m_") || case.name == "m_widens").collect()
}

/// Creates the tables with their rows.
async fn create(task: &Task, suffix: &str, cases: &[&Case]) {
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{0}`; USE `{0}`", task.name)).await.unwrap();
    mysql.query_drop("SET sql_mode = 'STRICT_TRANS_TABLES'").await.unwrap();
    for case in cases {
        let key = if case.columns.contains("PRIMARY KEY") { "" } else { " PRIMARY KEY" };
        let sql = format!("CREATE TABLE {}{suffix} (id INT{key}{})", case.name, case.columns);
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        for (id, row) in (1..).zip(case.rows) {
            let values = if row.is_empty() { id.to_string() } else { format!("{id}, {row}") };
            let ignore = if case.session == LAX { "IGNORE" } else { "" };
            let sql = format!("INSERT {ignore} INTO {}{suffix} VALUES ({values})", case.name);
            mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }
}

/// Changes each table in a session of its own, then writes a row.
async fn change(task: &Task, suffix: &str, cases: &[&Case]) {
    for case in cases {
        let table = format!("{}{suffix}", case.name);
        let mut mysql = task.servers.mysql().await;
        mysql.query_drop(format!("USE `{}`; SET sql_mode = 'STRICT_TRANS_TABLES'", task.name)).await.unwrap();
        mysql.query_drop(format!("SET {}", case.session)).await.unwrap();
        for statement in case.statements {
            let mut bytes = Vec::new();
            for (number, part) in statement.split(|byte| matches!(byte, b'{' | b'}')).enumerate() {
                bytes.extend_from_slice(if number == 1 { table.as_bytes() } else { part });
            }
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            mysql.query_drop(bytes).await.unwrap_or_else(|error| panic!("{error}: {shown}"));
        }
        let mut mysql = task.servers.mysql().await;
        let sql = format!("INSERT INTO `{}`.{table} SET {}", task.name, case.after);
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

/// Which tables were read again, as capture said.
fn reread(output: &str, table: &str) -> bool {
    output.lines().any(|line| line.contains("will be read anew") && line.contains(&format!(".{table} ")))
}

/// What becomes of it is for the destination to say, also where it comes from a default.
async fn a_nul_byte_is_removed_from_old_rows_and_new(task: &Task) {
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql.query_drop("CREATE TABLE nul (id INT PRIMARY KEY)").await.unwrap();
    mysql.query_drop("INSERT INTO nul VALUES (1)").await.unwrap();
    eventually_equal(task, "nul", "the new table").await;
    mysql.query_drop(r"ALTER TABLE nul ADD c VARCHAR(9) NOT NULL DEFAULT 'a\0b'").await.unwrap();
    mysql.query_drop("INSERT INTO nul (id) VALUES (2)").await.unwrap();
    let postgres = task.servers.postgres().await;
    let sql = format!("SELECT count(*) FROM \"{}\".nul WHERE to_jsonb(nul)->>'c' = 'ab'", task.name);
    eventually("both rows", RUN, || async {
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == 2
    })
    .await;
    mysql.query_drop("DROP TABLE nul").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_states_what_a_statement_only_says() {
    let task = Task::with("definitions", Servers::shared(), |config| config);
    let (all, late): (Vec<&Case>, Vec<&Case>) = (CASES.iter().collect(), late());
    create(&task, "_live", &all).await;
    create(&task, "_late", &late).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let tables = all.len() + late.len();
    eventually("every table is synchronizing", RUN, || async {
        let status = apply.status().unwrap_or_default();
        let found = status["tables"].as_array().cloned().unwrap_or_default();
        found.len() == tables && found.iter().all(|table| table["state"] == "synchronizing")
    })
    .await;
    change(&task, "_live", &all).await;
    for case in CASES {
        eventually_equal(&task, &format!("{}_live", case.name), case.name).await;
    }
    a_nul_byte_is_removed_from_old_rows_and_new(&task).await;
    let live = capture.output();
    capture.stop();
    apply.stop();
    // The stream is behind the server for all of these, and a later statement may have changed what it asks about.
    change(&task, "_late", &late).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql.query_drop(r"ALTER TABLE d_wildcards_late ALTER c SET DEFAULT 'other'").await.unwrap();
    mysql.query_drop(r"ALTER TABLE d_plain_late MODIFY d VARCHAR(30) DEFAULT 'other'").await.unwrap();
    mysql.query_drop(r"ALTER TABLE l_wildcards_late MODIFY c ENUM('a_b','c') NOT NULL").await.unwrap();
    // Not in the binlog, and no row behind it.
    mysql.query_drop("SET sql_log_bin = 0").await.unwrap();
    mysql.query_drop("ALTER TABLE m_widens_late ADD z BIGINT NOT NULL DEFAULT 7").await.unwrap();
    task.catch_up();
    for case in &late {
        assert_table_equal(&task, &format!("{}_late", case.name)).await;
    }
    let surplus: Vec<&str> = CASES
        .iter()
        .filter(|case| !case.reread && reread(&live, &format!("{}_live", case.name)))
        .map(|case| case.name)
        .collect();
    assert!(surplus.is_empty(), "read again without need: {surplus:?}");
}
