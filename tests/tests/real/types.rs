//! Every type, its edges and NULL, from the tables and from the binlog alike.

use mysql_async::prelude::Queryable;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::Task;

/// A column of every type, and a key of two columns.
pub(crate) const COLUMNS: &str = "
    id BIGINT UNSIGNED NOT NULL, part VARCHAR(20) NOT NULL,
    ti TINYINT, tiu TINYINT UNSIGNED, si SMALLINT, siu SMALLINT UNSIGNED, mi MEDIUMINT, miu MEDIUMINT UNSIGNED,
    i INT, iu INT UNSIGNED, bi BIGINT, biu BIGINT UNSIGNED, flag BOOLEAN,
    d1 DECIMAL(1,0), d2 DECIMAL(10,2), d3 DECIMAL(65,30), d4 DECIMAL(18,9) UNSIGNED, d5 DECIMAL(30,0),
    f FLOAT, db DOUBLE,
    c CHAR(10), vc VARCHAR(200), tt TINYTEXT, t TEXT, mt MEDIUMTEXT, lt LONGTEXT,
    l1 VARCHAR(50) CHARACTER SET latin1, gb VARCHAR(50) CHARACTER SET gbk, u16 VARCHAR(50) CHARACTER SET utf16,
    bn BINARY(8), vb VARBINARY(100), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
    da DATE, dt DATETIME, dt3 DATETIME(3), dt6 DATETIME(6),
    ts TIMESTAMP NULL, ts4 TIMESTAMP(4) NULL, ti0 TIME, ti6 TIME(6), y YEAR,
    e ENUM('small','it''s','größe','') , el ENUM('back\\\\slash','new\\nline','😀'), se SET('a','b','c d','é'), j JSON,
    b1 BIT(1), b7 BIT(7), b64 BIT(64), gen INT GENERATED ALWAYS AS (i + 1) VIRTUAL, sto INT AS (ti * 2) STORED,
    `Odd name-1` INT,
    PRIMARY KEY (id, part)";

/// Rows of edges; the key is filled in front.
const ROWS: [&str; 6] = [
    "ti=-128, tiu=255, si=-32768, siu=65535, mi=-8388608, miu=16777215, i=-2147483648, iu=4294967295,
     bi=-9223372036854775808, biu=18446744073709551615, flag=TRUE, d1=9, d2=-99999999.99,
     d3=12345678901234567890123456789012345.123456789012345678901234567890, d4=123456789.123456789,
     d5=-999999999999999999999999999999, f=-3.402823466e38, db=-1.7976931348623157e308,
     c='ab', vc='smörgås 😀', tt='tiny', t='text', mt='medium', lt='long', l1='né€ü', gb='中文', u16='汉😀',
     bn=X'00FF00', vb=X'00', tb=X'', bl=X'DEADBEEF00', mb='m', lb='l',
     da='9999-12-31', dt='9999-12-31 23:59:59', dt3='1000-01-01 00:00:00.001', dt6='2024-02-29 12:34:56.654321',
     ts='2038-01-19 03:14:07', ts4='1970-01-01 00:00:01.0001', ti0='-838:59:59', ti6='838:59:58.999999', y=2155,
     e='größe', el='😀', se='a,c d,é', j='{\"a\": [1, 2.5, \"x\", null, true], \"é\": {\"b\": -1}}',
     b1=b'1', b7=b'1010101', b64=b'1111111111111111111111111111111111111111111111111111111111111111', `Odd name-1`=1",
    "ti=127, tiu=0, si=32767, siu=0, mi=8388607, miu=0, i=2147483646, iu=0, bi=9223372036854775807, biu=0, flag=FALSE,
     d1=-9, d2=0, d3=-0.000000000000000000000000000001, d4=0.000000001, d5=0, f=1.17549435e-38, db=4.9e-324,
     c='', vc='', tt='', t='', mt='', lt='', l1='', gb='', u16='', bn='', vb='', bl='', mb='', lb='',
     da='1000-01-01', dt='1000-01-01 00:00:00', dt3='9999-12-31 23:59:59.999', dt6='1970-01-01 00:00:00.000001',
     ts='1970-01-01 00:00:01', ts4='2038-01-19 03:14:07.9999', ti0='838:59:59', ti6='-00:00:00.000001', y=1901,
     e='', el='new\\nline', se='', j='[]', b1=b'0', b7=b'0', b64=b'0'",
    "c='x   ', vc='trailing   ', t=REPEAT('ab', 20000), mt=REPEAT('ü', 70000), bl=REPEAT(CHAR(0), 300), da='0000-00-00',
     dt='0000-00-00 00:00:00', dt3='2024-00-10 00:00:00', dt6='0000-00-00 00:00:00', ts='0000-00-00 00:00:00', y=0,
     e=0, j='\"text\"', ti0='00:00:00', f=0.1, db=0.1, d2=0.01",
    "j='123', el='back\\\\slash', f=16777217, db=123456789.123456789, d2=1.10, vc='quote '' back \\\\ tab \\t', b7=b'1', y='2000'",
    "j='{\"dec\": 1.10, \"big\": 18446744073709551615, \"neg\": -9223372036854775808, \"exp\": 1e100, \"nested\": [[[]]]}',
     da='2024-02-29', ti0='-00:00:01', ti6='12:00:00.5', se='b'",
    "ti = NULL",
];

/// Writes the rows of edges behind `first`; the one with `part = 'p0'` has no NULL.
pub(crate) async fn write_rows(mysql: &mut mysql_async::Conn, database: &str, first: u64) {
    for (number, row) in ROWS.iter().enumerate() {
        let id = if number == 0 { u64::MAX - first } else { first + u64::try_from(number).unwrap() };
        let sql = format!("INSERT INTO `{database}`.everything SET id = {id}, part = 'p{number}', {row}");
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

/// The same rows once read from the table and once from the binlog; then changed through the binlog.
async fn both_ways(test: &str, servers: &Servers) {
    let task = Task::with(test, servers, |config| config);
    let mut mysql = task.servers.mysql().await;
    let database = &task.name;
    mysql.query_drop(format!("CREATE DATABASE `{database}`")).await.unwrap();
    mysql.query_drop(format!("CREATE TABLE `{database}`.everything ({COLUMNS})")).await.unwrap();
    write_rows(&mut mysql, database, 100).await;
    task.catch_up();
    assert_equal(&task).await;
    write_rows(&mut mysql, database, 200).await;
    for change in [
        "UPDATE everything SET i = 5, vc = CONCAT(vc, '!'), j = JSON_SET(j, '$.a', 'changed'), dt6 = NULL WHERE id < 200",
        "UPDATE everything SET part = CONCAT(part, 'moved'), da = '0000-00-00' WHERE id = 201",
        "DELETE FROM everything WHERE id = 203",
        "UPDATE everything SET id = id + 1000 WHERE id = 204",
    ] {
        mysql.query_drop(format!("USE `{database}`")).await.unwrap();
        mysql.query_drop(change).await.unwrap_or_else(|error| panic!("{error}: {change}"));
    }
    task.catch_up();
    assert_equal(&task).await;
}

#[tokio::test]
async fn every_type_arrives_from_tables_and_binlog_with_minimal_metadata() {
    both_ways("types", Servers::shared()).await;
}

#[tokio::test]
async fn every_type_arrives_with_full_metadata_partial_json_and_compressed_transactions() {
    let flags = [
        "--binlog-row-metadata=FULL",
        "--binlog-row-value-options=PARTIAL_JSON",
        "--binlog-transaction-compression=ON",
    ];
    let servers = Servers::up("test-full", &flags);
    both_ways("types_full", &servers).await;
    servers.discard();
}
