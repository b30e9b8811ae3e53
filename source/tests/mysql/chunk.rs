//! Walking tables chunk by chunk, and resuming inside every chunk: each row exactly once, in the source's order,
//! whatever the key's type and collation.

use crate::{database, reader, run};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tributary_schemas::checkpoint::{KeyRange, KeyValue};
use tributary_schemas::table::TableId;
use tributary_source::catalog::read_table;
use tributary_source::chunk::{ChunkSql, Statement};
use tributary_source::connect::SourceConnection;
use tributary_source::publish::{PRIMARY, Wishes};

/// Columns and key, then the rows' values, then whether the index gives the order without a sort.
struct Case {
    columns: &'static str,
    rows: fn(u64) -> String,
    sorted_by_index: bool,
}

const CASES: &[Case] = &[
    Case {
        columns: "k INT, PRIMARY KEY (k)",
        rows: |n| format!("{}", i64::try_from(n).unwrap() * 7 - 150),
        sorted_by_index: true,
    },
    Case {
        columns: "k BIGINT UNSIGNED, PRIMARY KEY (k)",
        rows: |n| format!("{}", u64::MAX - n * 3),
        sorted_by_index: true,
    },
    Case {
        columns: "k BIGINT, PRIMARY KEY (k)",
        rows: |n| format!("{}", i64::MIN + i64::try_from(n).unwrap()),
        sorted_by_index: true,
    },
    Case {
        columns: "a INT, b VARCHAR(20), c DATETIME(6), PRIMARY KEY (a, b, c)",
        rows: |n| format!("{}, CONCAT('x', {}), '2024-01-01 00:00:00.{:06}'", n / 20, n / 4, n % 4),
        sorted_by_index: true,
    },
    Case {
        columns: "b INT, a VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, PRIMARY KEY (a, b)",
        rows: |n| format!("{n}, ELT({} + 1, 'cote', 'Coté', 'côte', 'COTÉ', 'ß', 'ss', 'Z')", n % 7),
        sorted_by_index: true,
    },
    Case {
        columns: "a VARCHAR(20) COLLATE utf8mb4_general_ci, b INT, PRIMARY KEY (a, b)",
        rows: |n| format!("ELT({} + 1, 'a', 'a ', 'A  ', 'á', 'a\\t', 'b '), {n}", n % 6),
        sorted_by_index: true,
    },
    Case {
        columns: "k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, PRIMARY KEY (k)",
        rows: |n| format!("CONCAT(ELT({} + 1, 'å', 'ö', 'z', 'ü', 'é'), {n})", n % 5),
        sorted_by_index: true,
    },
    Case {
        columns: "k VARCHAR(20) CHARACTER SET utf8mb3, PRIMARY KEY (k)",
        rows: |n| format!("CONCAT(ELT({} + 1, 'ž', 'ö', 'Ж', '中'), {n})", n % 4),
        sorted_by_index: true,
    },
    Case {
        columns: "k VARCHAR(20) CHARACTER SET gbk, PRIMARY KEY (k)",
        rows: |n| format!("CONCAT(ELT({} + 1, '中', '文', 'a'), {n})", n % 3),
        sorted_by_index: true,
    },
    Case {
        // A byte that stands for no character, and two that do.
        columns: "a INT, k VARCHAR(20) CHARACTER SET cp1250 COLLATE cp1250_bin, PRIMARY KEY (k, a)",
        rows: |n| {
            format!(
                "{n}, CONVERT(UNHEX(CONCAT(ELT({} + 1, '81', '8A', 'E1'), HEX({n}))) USING cp1250)",
                n % 3
            )
        },
        sorted_by_index: true,
    },
    Case {
        columns: "k VARCHAR(20) CHARACTER SET utf16 COLLATE utf16_unicode_ci, PRIMARY KEY (k)",
        rows: |n| format!("CONCAT(ELT({} + 1, 'é', 'Z', '😀'), {n})", n % 3),
        sorted_by_index: true,
    },
    Case {
        columns: "k CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, PRIMARY KEY (k)",
        rows: |n| format!("CONCAT(ELT({} + 1, 'a', 'B', 'é', '😀'), {n})", n % 4),
        sorted_by_index: true,
    },
    Case {
        columns: "k VARBINARY(8), PRIMARY KEY (k)",
        rows: |n| format!("UNHEX(LPAD(HEX({}), {}, '0'))", n * 37, 4 + n % 3 * 2),
        sorted_by_index: true,
    },
    Case {
        columns: "k BINARY(3), PRIMARY KEY (k)",
        rows: |n| format!("UNHEX(LPAD(HEX({}), 4, '0'))", n * 257),
        sorted_by_index: true,
    },
    Case {
        columns: "k DATETIME(6), PRIMARY KEY (k)",
        rows: |n| format!("'1999-12-31 23:59:59.99' + INTERVAL {n} * 137 MICROSECOND"),
        sorted_by_index: true,
    },
    Case {
        columns: "k DATE, PRIMARY KEY (k)",
        rows: |n| format!("'0999-12-31' + INTERVAL {n} * 20000 DAY"),
        sorted_by_index: true,
    },
    Case {
        columns: "k TIMESTAMP(3), PRIMARY KEY (k)",
        rows: |n| format!("'2024-10-27 00:00:00.5' + INTERVAL {n} MINUTE"),
        sorted_by_index: true,
    },
    Case {
        columns: "k TIME(2), PRIMARY KEY (k)",
        rows: |n| format!("SEC_TO_TIME({n} * 40000.25 - 3000000)"),
        sorted_by_index: true,
    },
    Case {
        columns: "k YEAR, PRIMARY KEY (k)",
        rows: |n| format!("IF({n} = 0, 0, 1950 + {n})"),
        sorted_by_index: true,
    },
    Case {
        columns: "k DECIMAL(40,20), PRIMARY KEY (k)",
        rows: |n| format!("(CAST({n} AS SIGNED) - 50) * 0.00000000000000000001 + 12345678901234567890"),
        sorted_by_index: true,
    },
    Case {
        columns: "k FLOAT, PRIMARY KEY (k)",
        rows: |n| format!("0.1e0 * (CAST({n} AS SIGNED) - 40)"),
        sorted_by_index: true,
    },
    Case {
        columns: "k DOUBLE, PRIMARY KEY (k)",
        rows: |n| format!("1e0 / ({n} + 1)"),
        sorted_by_index: true,
    },
    Case {
        columns: "k BIT(40), PRIMARY KEY (k)",
        rows: |n| format!("{}", n * 10_345_678_901),
        sorted_by_index: true,
    },
    Case {
        columns: "e ENUM('z','b','a','m'), id INT, PRIMARY KEY (e, id)",
        rows: |n| format!("{} + 1, {n}", n % 4),
        sorted_by_index: false,
    },
    Case {
        columns: "id INT, e ENUM('z','b','a','m'), PRIMARY KEY (id, e)",
        rows: |n| format!("{}, {} + 1", n / 4, n % 4),
        sorted_by_index: true,
    },
    Case {
        columns: "k SET('z','b','a','m','x','y','c'), PRIMARY KEY (k)",
        rows: |n| format!("{n}"),
        sorted_by_index: true,
    },
];

const ROWS: u64 = 100;

async fn select(connection: &mut SourceConnection, statement: Statement) -> Vec<Row> {
    connection.driver().exec(statement.sql, statement.params).await.unwrap()
}

/// As the state topic would give it back.
fn stored(key: &[KeyValue]) -> Vec<KeyValue> {
    serde_json::from_str(&serde_json::to_string(key).unwrap()).unwrap()
}

async fn assert_plan(connection: &mut SourceConnection, statement: &Statement, case: &Case) {
    let sql = format!("EXPLAIN FORMAT=TRADITIONAL {}", statement.sql);
    let plan: Vec<Row> = connection.driver().exec(sql, statement.params.clone()).await.unwrap();
    let kind: String = plan[0].get("type").unwrap();
    let extra: Option<String> = plan[0].get("Extra").unwrap();
    let extra = extra.unwrap_or_default();
    let set = case.columns.contains(" SET(");
    assert!(kind == "range" || set, "{}: {kind} {extra} {}", case.columns, statement.sql);
    assert!(
        !case.sorted_by_index || !extra.contains("filesort"),
        "{}: {extra} {}",
        case.columns,
        statement.sql
    );
}

#[tokio::test]
async fn each_row_is_read_once_and_in_the_sources_order() {
    let mut root = database("source_chunks").await;
    let mut connection = reader().await;
    for (index, case) in CASES.iter().enumerate() {
        let name = format!("t{index}");
        run(&mut root, &[&format!("CREATE TABLE {name} (n INT NOT NULL, {})", case.columns)]).await;
        let values: Vec<String> = (0..ROWS).map(|n| format!("({n}, {})", (case.rows)(n))).collect();
        run(
            &mut root,
            &[&format!("INSERT INTO {name} VALUES {}", values.join(",")), &format!("ANALYZE TABLE {name}")],
        )
        .await;
        let catalog =
            read_table(&mut connection, &TableId::new("source_chunks", name)).await.unwrap().unwrap();
        let wishes = Wishes::new(|_| true);
        let sql = ChunkSql::new(&catalog.published(&wishes).unwrap(), PRIMARY).unwrap();
        let whole = KeyRange { after: None, through: None };
        let n = |row: &Row| row.get::<u64, _>("n").unwrap();
        let expected: Vec<u64> =
            select(&mut connection, sql.select(&whole, None).unwrap()).await.iter().map(n).collect();
        assert_eq!(expected.len(), 100, "{}", case.columns);

        let last = select(&mut connection, sql.last_key(Some("FOR SHARE"))).await;
        let cap = stored(&sql.key_of_bound(&last[0]).unwrap());
        // A row behind the cap is the stream's business.
        let mut rest = KeyRange { after: None, through: Some(cap) };
        let mut found = Vec::new();
        loop {
            let boundary = select(&mut connection, sql.boundary(&rest, 13).unwrap()).await;
            let chunk_end = boundary.first().map(|row| stored(&sql.key_of_bound(row).unwrap()));
            let through = chunk_end.clone().or(rest.through.clone());
            let chunk = KeyRange { after: rest.after.clone(), through: through.clone() };
            let rows = select(&mut connection, sql.select(&chunk, None).unwrap()).await;
            assert!(chunk_end.is_none() || rows.len() == 13, "{}: {}", case.columns, rows.len());
            for (place, row) in rows.iter().enumerate().step_by(5) {
                let after = Some(stored(&sql.key_of(row).unwrap()));
                let resumed = sql.select(&KeyRange { after, through: through.clone() }, None).unwrap();
                assert_plan(&mut connection, &resumed, case).await;
                let resumed = select(&mut connection, resumed).await;
                assert!(resumed.iter().map(n).eq(rows[place + 1..].iter().map(n)), "{}", case.columns);
            }
            found.extend(rows.iter().map(n));
            let Some(end) = chunk_end else { break };
            rest.after = Some(end);
        }
        assert_eq!(found, expected, "{}", case.columns);
    }
}
