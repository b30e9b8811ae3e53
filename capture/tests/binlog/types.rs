//! Every type with its edge values.

use super::{METADATA, check, database, published, run};
use tributary_capture::binlog::event::kind;

const NUMBERS: &str = "CREATE TABLE numbers (
    id int PRIMARY KEY,
    t1 tinyint, t2 tinyint unsigned, s1 smallint, s2 smallint unsigned, m1 mediumint, m2 mediumint unsigned,
    i1 int, i2 int unsigned, b1 bigint, b2 bigint unsigned, bo boolean, zf int(8) zerofill,
    d1 decimal(65,30), d2 decimal(10,0), d3 decimal(9,9), d4 decimal(18,2), d5 decimal(19,2) unsigned,
    d6 decimal(1,0), d7 decimal(30,30), f1 float, f2 double, f3 float unsigned,
    k1 bit(1), k9 bit(9), k33 bit(33), k64 bit(64), y year)";

const NUMBER_ROWS: &str = "INSERT INTO numbers VALUES
    (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, 12345678,
     -99999999999999999999999999999999999.999999999999999999999999999999, -9999999999, -0.999999999,
     -9999999999999999.99, 0, -9, -0.999999999999999999999999999999, -3.40282e38, -1.7976931348623157e308, 0,
     b'0', b'0', b'0', b'0', 0),
    (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807,
     18446744073709551615, 1, 99999999,
     99999999999999999999999999999999999.999999999999999999999999999999, 9999999999, 0.999999999,
     9999999999999999.99, 99999999999999999.99, 9, 0.999999999999999999999999999999, 3.40282e38,
     1.7976931348623157e308, 1.1754943508222875e-38,
     b'1', b'111111111', 0x1FFFFFFFF, 0xFFFFFFFFFFFFFFFF, 2155),
    (3, -1, 1, -1, 256, -1, 65536, -1, 16777216, -1, 9223372036854775808, 1, 10000000, 0.000000000000000000000000000001,
     -1, 0.1, -0.01, 0.01, 0, 0.1, 0.1, 0.1, 0.1, b'1', b'100000000', 0x100000000, 0x8000000000000000, 1901),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

const MOMENTS: &str = "CREATE TABLE moments (
    id int PRIMARY KEY, d date, dn date NOT NULL,
    t0 datetime, t1 datetime(1), t2 datetime(2), t3 datetime(3), t4 datetime(4), t5 datetime(5), t6 datetime(6),
    s0 timestamp NULL, s1 timestamp(1) NULL, s3 timestamp(3) NULL, s6 timestamp(6) NULL,
    sn timestamp(4) NOT NULL DEFAULT 0,
    c0 time, c1 time(1), c2 time(2), c3 time(3), c4 time(4), c5 time(5), c6 time(6))";

const MOMENT_ROWS: &str = "INSERT INTO moments VALUES
    (1, '1000-01-01', '9999-12-31', '1000-01-01 00:00:00', '9999-12-31 23:59:59.9', '2024-02-29 12:34:56.78',
     '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.7891', '2024-02-29 12:34:56.78912',
     '2024-02-29 12:34:56.789123', '1970-01-01 00:00:01', '2038-01-19 03:14:07.9', '2001-09-09 01:46:40.001',
     '2038-01-19 03:14:07.999999', '2024-01-01 00:00:00.5', '-838:59:59', '-838:59:58.9', '-00:00:00.01',
     '838:59:58.999', '-12:34:56.7891', '00:00:00.00001', '-838:59:58.999999'),
    (2, '0000-00-00', '0000-00-00', '0000-00-00 00:00:00', '2024-00-10 00:00:00.5', '2024-02-00 01:02:03.04',
     '2023-02-30 00:00:00.001', '0000-00-00 00:00:00', '0000-05-10 00:00:00.00001', '2024-00-10 00:00:00.000001',
     '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00',
     '0000-00-00 00:00:00', '00:00:00', '00:00:00', '-00:00:01', '-00:00:00.001', '-00:00:00.0001',
     '-00:00:00.00001', '-00:00:00.000001'),
    (3, '2024-00-10', '2024-02-00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     '1970-01-01 00:00:01', '838:59:59', NULL, NULL, NULL, NULL, NULL, NULL),
    (4, NULL, '1969-12-31', '1969-12-31 23:59:59', '1969-12-31 23:59:59.1', '1900-02-28', '1600-02-29', '0001-01-01',
     NULL, '1969-12-31 23:59:59.999999', '2001-09-09 01:46:40', NULL, NULL, '1970-01-01 00:00:01.000001',
     '2038-01-19 03:14:07.9999', '-00:00:01', '12:00:00.1', '12:00:00.12', '12:00:00.123', '12:00:00.1234',
     '12:00:00.12345', '12:00:00.123456')";

const STRINGS: &str = "CREATE TABLE strings (
    id int PRIMARY KEY,
    c1 char(10), c2 char(255), c3 char(0), v1 varchar(10), v2 varchar(300), v3 varchar(3) CHARACTER SET latin1,
    x1 tinytext, x2 text, x3 mediumtext, x4 longtext, g text CHARACTER SET gbk, u char(4) CHARACTER SET utf16,
    n1 binary(5), n2 binary(255), w1 varbinary(10), w2 varbinary(300), l1 tinyblob, l2 blob, l3 mediumblob,
    l4 longblob, e enum('a','b,c','d''e','é'), eg enum('中','文') CHARACTER SET gbk, s set('x','y','z z','é'),
    inv int INVISIBLE, gv int GENERATED ALWAYS AS (id + 1) VIRTUAL, gs varchar(20) AS (concat('<', v1, '>')) STORED)";

const STRING_ROWS: &str = "INSERT INTO strings (id, c1, c2, c3, v1, v2, v3, x1, x2, x3, x4, g, u, n1, n2, w1, w2, l1, l2,
    l3, l4, e, eg, s, inv) VALUES
    (1, 'trailing  ', repeat('😀', 255), '', 'space  ', repeat('é', 300), '€é', repeat('t', 255), repeat('x', 70000),
     repeat('é', 40000), repeat('l', 100000), '中文字', '😀a', 'ab', 0x00FF00, 0x0000, repeat(0x00, 300), 0xFF00,
     repeat(0x01, 65535), repeat(0x02, 66000), repeat(0x00, 70000), 'd''e', '文', 'x,z z,é', 5),
    (2, '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', 'not a label', 0, '', 0),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 'a\\0b', 'x', '', '\\r\\n', 'x', 'ÿ', 'x', 'x', 'x', 'x', 'x', 'x', 0x0001000000, 0x20, 0x20, 'a', 'a', 'a',
     'a', 'a', 4, 1, 15, -1)";

const DOCUMENTS: &str = "CREATE TABLE documents (id int PRIMARY KEY, j json, k json)";

const DOCUMENT_ROWS: &str = r#"INSERT INTO documents VALUES
    (1, '{"a": 1, "b": [true, null, false], "long name": {"nested": {}}, "": [], "é": "ü😀\\u0000\\b\\f\\n\\r\\t\\"\\\\/"}', '[]'),
    (2, '[0, -1, 32767, -32768, 32768, 65535, 65536, 2147483647, -2147483648, 4294967295, 4294967296,
      9223372036854775807, -9223372036854775808, 9223372036854775808, 18446744073709551615, 18446744073709551616]', '{}'),
    (3, '[0.0, -0.0, 1.0, 1e1, 0.1, 1e14, 1e15, 1e16, 123456789012345.0, 1234567890123456.0, 1e17, 1e-4, 1e-5, 1e-14,
      1e-15, 1e-16, 1.5e300, -2.5e-300, 5e-324, 1.7976931348623157e308, 3.141592653589793, 100.125, 2e22,
      0.000001234, 0.00000000000001234]', '1'),
    (4, JSON_ARRAY(CAST(1.50 AS DECIMAL(10,2)), CAST(-0.5 AS DECIMAL(30,20)), CAST(0 AS DECIMAL(5,3)),
      CAST('2024-02-29' AS DATE), CAST('2024-02-29 12:34:56.789' AS DATETIME(3)), CAST('-838:59:59' AS TIME),
      CAST('12:34:56.789123' AS TIME(6)), TIMESTAMP('2024-01-01 00:00:00')), 'null'),
    (5, JSON_OBJECT('bin', CAST(0x00FF AS BINARY), 'blob', repeat(0xAB, 100), 'bit', b'101', 'year', CAST(2024 AS YEAR)),
      '"text"'),
    (6, NULL, 'true'),
    (7, (SELECT JSON_OBJECTAGG(concat('key', n), n) FROM (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s
      WHERE n < 900) SELECT n FROM s) AS series), JSON_ARRAY(repeat('large ', 20000), 2147483647, 4294967295, 70000, 1)),
    (8, CAST(concat(repeat('[', 99), repeat(']', 99)) AS JSON), CAST(repeat('9', 20) AS JSON)),
    (9, '"\\u0001\\u001f\\u007f\\u2028</script>"', '-12345678901234567890.5')"#;

#[tokio::test]
async fn every_type_under_both_kinds_of_metadata() {
    let mut connection = database("tributary_binlog_types").await;
    run(&mut connection, &[NUMBERS, MOMENTS, STRINGS, DOCUMENTS]).await;
    let mut tables = Vec::new();
    for name in ["numbers", "moments", "strings", "documents"] {
        tables.push(published(&mut connection, "tributary_binlog_types", name, &[]).await);
    }
    let _turn = METADATA.lock().await;
    for full in [true, false] {
        let set = format!("SET GLOBAL binlog_row_metadata = {}", if full { "FULL" } else { "MINIMAL" });
        let clear: Vec<String> = tables.iter().map(|(table, _)| format!("TRUNCATE {}", table.id)).collect();
        run(&mut connection, &clear.iter().map(String::as_str).chain([set.as_str()]).collect::<Vec<_>>())
            .await;
        let replay = check(
            &mut connection,
            &tables,
            &[
                NUMBER_ROWS,
                MOMENT_ROWS,
                STRING_ROWS,
                DOCUMENT_ROWS,
                "UPDATE numbers SET t1 = 5, id = 40, d1 = NULL WHERE id = 4",
                "UPDATE moments SET c6 = '-100:00:00.000001', d = NULL WHERE id = 2",
                "UPDATE strings SET c1 = 'é', v1 = NULL WHERE id = 1",
                "DELETE FROM strings WHERE id = 2",
                "UPDATE documents SET k = j",
                "DELETE FROM numbers WHERE id = 1",
            ],
        )
        .await;
        assert!(replay.refused.is_empty(), "{:?}", replay.refused);
        let map = replay.last_map.as_ref().unwrap();
        assert_eq!(map.columns[0].name.is_some(), full);
        assert_eq!(map.columns[0].unsigned, Some(false));
        assert_eq!(map.primary_key.len(), usize::from(full));
    }
}

#[tokio::test]
async fn bits_of_every_width() {
    let mut connection = database("tributary_binlog_bits").await;
    let columns: Vec<String> = (1..=64).map(|width| format!("b{width} bit({width})")).collect();
    run(&mut connection, &[&format!("CREATE TABLE bits (id int PRIMARY KEY, {})", columns.join(", "))]).await;
    let table = published(&mut connection, "tributary_binlog_bits", "bits", &[]).await;
    let row = |id: u8, value: fn(u32) -> u64| {
        let values: Vec<String> = (1..=64).map(|width| value(width).to_string()).collect();
        format!("INSERT INTO bits VALUES ({id}, {})", values.join(", "))
    };
    let rows = [
        row(1, |_| 0),
        row(2, |width| u64::MAX >> (64 - width)),
        row(3, |width| 1 << (width - 1)),
        row(4, |_| 1),
    ];
    check(&mut connection, &[table], &rows.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn keys_of_several_columns_and_columns_left_out() {
    let mut connection = database("tributary_binlog_keys").await;
    run(
        &mut connection,
        &["CREATE TABLE keyed (a varchar(20), place point, vec vector(3), l varchar(9) CHARACTER SET latin1, hidden_json json, b bigint unsigned, c decimal(20,5), secret blob,
            d datetime(3), e enum('x','y'), n binary(4), bits bit(12), tail char(3), PRIMARY KEY (d, b, a, n, e, c, bits),
            KEY functional ((length(a) + 1)), KEY multi ((CAST(hidden_json AS UNSIGNED ARRAY))))"],
    )
    .await;
    let excluded = ["secret", "hidden_json", "place", "vec"].map(str::to_owned);
    let table = published(&mut connection, "tributary_binlog_keys", "keyed", &excluded).await;
    assert_eq!((table.0.columns.len(), table.1), (9, 13));
    check(
        &mut connection,
        &[table],
        &[
            "INSERT INTO keyed VALUES ('é', POINT(1, 2), TO_VECTOR('[1,2,3]'), 'é', '[3]', 18446744073709551615, -1.5, repeat('s', 1000), '2024-01-01 00:00:00.5', 'y',
              0x01, b'101', 'end'), ('', NULL, NULL, 'ü', NULL, 0, 0, NULL, '1000-01-01', 'x', 0x00, 0, NULL)",
            "UPDATE keyed SET b = 7, tail = 'new' WHERE tail = 'end'",
            "UPDATE keyed SET secret = 'other', hidden_json = '[1]'",
            "DELETE FROM keyed WHERE a = ''",
        ],
    )
    .await;
}

#[tokio::test]
async fn doubles_in_json() {
    let mut connection = database("tributary_binlog_doubles").await;
    run(&mut connection, &["CREATE TABLE doubles (id int PRIMARY KEY, j json, d double)"]).await;
    let table = published(&mut connection, "tributary_binlog_doubles", "doubles", &[]).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut number = || match random.u8(..4) {
        // Half-way between two forms of seventeen digits.
        3 => f64::from(random.u32(..)) * 65_536.0 + f64::from(random.u16(..)) / 16.0,
        0 => f64::from_bits(random.u64(..)),
        // Around the places where an exponent begins to be printed.
        1 => random.f64() * 10_f64.powi(random.i32(-20..20)),
        _ => f64::from(random.i32(..)) * 10_f64.powi(random.i32(-17..17)),
    };
    let statements: Vec<String> = (0..40)
        .map(|id| {
            let numbers: Vec<_> =
                std::iter::repeat_with(&mut number).filter(|n| n.is_finite()).take(100).collect();
            let list: Vec<_> = numbers.iter().map(|number| format!("{number:e}")).collect();
            format!("INSERT INTO doubles VALUES ({id}, JSON_ARRAY({}), {:e})", list.join(", "), numbers[0])
        })
        .collect();
    check(&mut connection, &[table], &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn partial_updates_of_json() {
    let mut connection = database("tributary_binlog_partial").await;
    run(
        &mut connection,
        &[
            "CREATE TABLE partial (id int PRIMARY KEY, secret json, j json, t text, k json)",
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
        ],
    )
    .await;
    let excluded = ["secret".to_owned()];
    let table = published(&mut connection, "tributary_binlog_partial", "partial", &excluded).await;
    let replay = check(
        &mut connection,
        &[table],
        &[
            r#"INSERT INTO partial SELECT n, JSON_OBJECT('p', repeat('s', 200), 'q', 1),
               JSON_OBJECT('a', repeat('x', 300), 'b', JSON_ARRAY(1, 2, 3), 'c d"', JSON_OBJECT('e.[1]', 1.5)), 'text',
               JSON_ARRAY(repeat('y', 300), 1, JSON_ARRAY(2)) FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3) AS s"#,
            "UPDATE partial SET j = JSON_SET(j, '$.b[1]', 'two') WHERE id = 1",
            "UPDATE partial SET j = JSON_REPLACE(j, '$.a', 'short'), k = JSON_REMOVE(k, '$[1]') WHERE id = 1",
            r#"UPDATE partial SET j = JSON_SET(j, '$."c d\\""."e.[1]"', 2.5), secret = JSON_SET(secret, '$.q', 2)"#,
            "UPDATE partial SET k = JSON_ARRAY_INSERT(k, '$[0]', 0) WHERE id = 2",
            "UPDATE partial SET k = JSON_SET(k, '$[2][5]', CAST('\"tail\"' AS JSON)), t = 'changed' WHERE id = 2",
            "UPDATE partial SET secret = JSON_REMOVE(secret, '$.p'), k = JSON_SET(k, '$[1]', 7) WHERE id = 3",
            "UPDATE partial SET j = JSON_REMOVE(j, '$.b'), k = NULL WHERE id = 3",
            "UPDATE partial SET j = JSON_SET(j, '$.b', JSON_OBJECT('new', true), '$.z', 1, '$.aa', 2) WHERE id = 3",
            "UPDATE partial SET j = JSON_SET(j, '$.b[last]', 'end', '$.b[last-1]', 'before') WHERE id = 2",
            "UPDATE partial SET k = JSON_REMOVE(k, '$[last]') WHERE id = 2",
            "UPDATE partial SET k = JSON_SET(k, '$[last-9]', 'first', '$[last-1]', 1) WHERE id = 2",
            "UPDATE partial SET j = JSON_REPLACE(j, '$.a[0]', 'x', '$.b[last][last]', 'y') WHERE id = 2",
            "UPDATE partial SET j = JSON_SET(j, '$.a[last]', 'z', '$.a[1]', 'w', '$.b[9]', 9) WHERE id = 2",
            "UPDATE partial SET j = JSON_REMOVE(j, '$.b[last-1]', '$.b[last-99]', '$.a[0]') WHERE id = 2",
            "UPDATE partial SET t = NULL",
            "DELETE FROM partial WHERE id = 1",
        ],
    )
    .await;
    assert!(replay.has(kind::PARTIAL_UPDATE_ROWS));
    assert!(replay.refused.is_empty(), "{:?}", replay.refused);
}
