//! DDL against a real MySQL server, which `deploy/local/servers` starts if it does not run: after each statement, as
//! the binlog has it, the definition that follows from it must be the one that `information_schema` has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::LazyLock;
use tributary_capture::ddl::{
    Effect, NeedsCatalogRead, Next, Session, SqlMode, Statement, TableEffect, apply, classify,
};
use tributary_schemas::table::{ColumnDefault, TableId};
use tributary_schemas::types::ColumnType;
use tributary_source::catalog::{CatalogColumn, CatalogTable, read_table};
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_tests::servers::Servers;

/// A session of root in the new, empty database `name`.
async fn database(name: &str) -> SourceConnection {
    static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["mysql"]));
    let options = SourceOptions::new(&serde_json::from_value(SERVERS.source("root")).unwrap()).unwrap();
    let mut connection = options.connect().await.unwrap();
    for statement in [
        format!("DROP DATABASE IF EXISTS {name}"),
        format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
        format!("USE {name}"),
        "SET SESSION sql_mode = 'STRICT_TRANS_TABLES'".to_owned(),
    ] {
        connection.execute("preparing", &statement).await.unwrap();
    }
    connection
}

fn session() -> Session {
    Session {
        mode: SqlMode::new(Some(1 << 21)),
        explicit_timestamps: true,
        database_collation: "utf8mb4_0900_ai_ci".to_owned(),
        utf8mb4_collation: "utf8mb4_0900_ai_ci".to_owned(),
        utf8_name: "utf8mb3".to_owned(),
    }
}

/// Runs a statement and returns it as the binlog has it.
async fn logged(connection: &mut SourceConnection, database: &str, statement: &str) -> String {
    let prefix = format!("use `{database}`; ");
    let events = events_of(connection, statement).await;
    let mut own = events.iter().filter_map(|event| event.strip_prefix(&prefix));
    own.next().unwrap_or_else(|| panic!("{statement} is not in the binlog: {events:?}")).to_owned()
}

/// What the binlog says while a statement runs, also of other sessions.
async fn events_of(connection: &mut SourceConnection, statement: &str) -> Vec<String> {
    type Status = (String, u64, Option<String>, Option<String>, Option<String>);
    let status: Vec<Status> = rows(connection, "SHOW BINARY LOG STATUS").await;
    let (file, position, ..) = status.into_iter().next().unwrap();
    connection.execute("running", statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    type Event = (String, u64, String, u64, u64, String);
    let events: Vec<Event> =
        rows(connection, &format!("SHOW BINLOG EVENTS IN '{file}' FROM {position}")).await;
    events.into_iter().map(|event| event.5).collect()
}

async fn rows<R: mysql_async::prelude::FromRow + Send + 'static>(
    connection: &mut SourceConnection,
    statement: &str,
) -> Vec<R> {
    let rows = connection.query("asking", statement).await.unwrap();
    rows.into_iter().map(mysql_async::from_row).collect()
}

async fn catalog(connection: &mut SourceConnection, id: &TableId) -> CatalogTable {
    read_table(connection, id).await.unwrap().unwrap_or_else(|| panic!("{id} is not there"))
}

/// Without what is an estimate, or only prints in more than one way.
fn comparable(mut table: CatalogTable) -> CatalogTable {
    table.rows_estimated = 0;
    table.data_bytes = 0;
    for column in &mut table.columns {
        let CatalogColumn { declared_type, default, expression, .. } = column;
        // Only the server knows it.
        expression.clear();
        *declared_type = declared_type.parse::<ColumnType>().unwrap().to_string();
        if let Some(ColumnDefault::Expression(text)) = default
            && !text.starts_with("CURRENT_TIMESTAMP")
        {
            text.clear();
        }
    }
    table
}

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT, a INT, b VARCHAR(20) NOT NULL DEFAULT 'x', \
    c TEXT CHARACTER SET latin1, d DECIMAL(10,2), e ENUM('x','y'), f DATETIME, g TIMESTAMP NULL, \
    h CHAR(10) CHARACTER SET latin1 COLLATE latin1_bin, i SET('p','q'), PRIMARY KEY (id), UNIQUE (b), \
    KEY by_a (a, d)) COMMENT 'first' DEFAULT CHARSET=utf8mb4";

/// What a step is expected to do to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Row events tell everything.
    Same,
    /// They must be read again.
    Reread,
}
use Rows::{Reread, Same};

/// Each follows on the one before.
const ALTERATIONS: &[(&str, Rows)] = &[
    ("ALTER TABLE t ADD COLUMN n1 INT", Same),
    ("ALTER TABLE t ADD n2 VARCHAR(10) NOT NULL DEFAULT 'it''s' COMMENT 'a, (b)' FIRST", Same),
    ("ALTER TABLE t ADD COLUMN n3 TINYINT(1) UNSIGNED NOT NULL AFTER a, ADD COLUMN n4 INT AFTER n3", Same),
    ("ALTER TABLE t ADD COLUMN (n5 BOOLEAN DEFAULT TRUE, n6 DOUBLE PRECISION DEFAULT 1.50, KEY (n5))", Same),
    (
        "ALTER TABLE t ADD n7 DECIMAL(8,3) DEFAULT 1.0005, ADD n8 DEC(5) DEFAULT '7', ADD n9 NUMERIC(6,2) DEFAULT -.5",
        Same,
    ),
    (
        "ALTER TABLE t ADD o1 BIT(9) DEFAULT b'0101', ADD o2 BIT(8) DEFAULT 5, ADD o3 BINARY(3) DEFAULT 'ab', ADD o4 VARBINARY(9) DEFAULT 'ab'",
        Same,
    ),
    (
        "ALTER TABLE t ADD o5 DATE DEFAULT '2020-01-31', ADD o6 DATETIME(3) DEFAULT '2020-01-31 01:02:03.5', ADD o7 TIME(1) DEFAULT '-838:59:59', ADD o8 YEAR DEFAULT 2020",
        Same,
    ),
    ("ALTER TABLE t ADD o9 FLOAT DEFAULT 1e3, ADD p1 FLOAT(30) DEFAULT 0, ADD p2 REAL DEFAULT '2.5'", Same),
    (
        "ALTER TABLE t ADD p3 ENUM('a','B','it''s',\"d'q\",'e\\'f') DEFAULT 'b', ADD p4 SET('a','b') DEFAULT 'b,a'",
        Same,
    ),
    (
        "ALTER TABLE t ADD p5 NCHAR(5), ADD p6 NATIONAL VARCHAR(5) DEFAULT N'x', ADD p7 CHARACTER VARYING(5) CHARSET latin1, ADD p8 CHAR(4) BYTE",
        Same,
    ),
    (
        "ALTER TABLE t ADD p9 LONG VARCHAR, ADD q1 LONG VARBINARY, ADD q2 TEXT(100), ADD q3 TEXT(60), ADD q4 BLOB(300), ADD q5 TEXT(70000)",
        Same,
    ),
    (
        "ALTER TABLE t ADD q6 VARCHAR(5) BINARY, ADD q7 VARCHAR(5) COLLATE latin1_german1_ci, ADD q8 CHAR(5) ASCII, ADD q9 VARCHAR(5) CHARACTER SET binary",
        Same,
    ),
    (
        "ALTER TABLE t ADD r1 JSON, ADD r2 TINYTEXT, ADD r3 MEDIUMBLOB, ADD r4 INT ZEROFILL, ADD r5 INT8, ADD r6 MIDDLEINT",
        Same,
    ),
    ("ALTER TABLE t ADD r7 DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)", Reread),
    ("ALTER TABLE t ADD r8 TIMESTAMP DEFAULT NOW() NOT NULL", Reread),
    ("ALTER TABLE t ADD r9 VARCHAR(40) DEFAULT (concat('a', 'b'))", Reread),
    (
        "ALTER TABLE t ADD s1 INT GENERATED ALWAYS AS (a + 1) VIRTUAL, ADD s2 INT AS (a * 2) STORED NOT NULL COMMENT 'g'",
        Reread,
    ),
    (
        "ALTER TABLE t ADD s3 INT INVISIBLE DEFAULT 0x10, ADD s4 VARCHAR(5) DEFAULT 0x6162, ADD s5 INT DEFAULT b'11'",
        Same,
    ),
    (
        "ALTER TABLE t ADD s6 VARCHAR(9) DEFAULT 1.50, ADD s7 CHAR(9) DEFAULT 'y  ', ADD s8 BIGINT UNSIGNED DEFAULT 18446744073709551615",
        Same,
    ),
    ("ALTER TABLE t ADD `s 9.x``y` INT DEFAULT - 5, ADD ütf INT", Same),
    ("ALTER TABLE t DROP `s 9.x``y`, DROP COLUMN ütf", Same),
    ("ALTER TABLE t DROP COLUMN s1, DROP s2", Same),
    ("ALTER TABLE t MODIFY a BIGINT NOT NULL DEFAULT 3", Same),
    ("ALTER TABLE t MODIFY COLUMN A INT UNSIGNED NULL COMMENT 'now unsigned' AFTER b", Same),
    ("ALTER TABLE t MODIFY d DECIMAL(10,1)", Reread),
    ("ALTER TABLE t MODIFY b VARCHAR(30) NOT NULL FIRST, MODIFY d DECIMAL(12,2) AFTER b", Same),
    ("ALTER TABLE t MODIFY e ENUM('x','y','z')", Same),
    ("ALTER TABLE t MODIFY e ENUM('y','x','z')", Reread),
    ("ALTER TABLE t CHANGE a a2 BIGINT, ADD COLUMN after_a2 INT AFTER a2", Same),
    ("ALTER TABLE t CHANGE COLUMN a2 a BIGINT NULL DEFAULT NULL", Same),
    ("ALTER TABLE t RENAME COLUMN n1 TO n2, RENAME COLUMN n2 TO n1", Same),
    ("ALTER TABLE t RENAME COLUMN b TO `b b`, RENAME INDEX by_a TO by_aa", Same),
    ("ALTER TABLE t ALTER COLUMN n4 SET DEFAULT 9, ALTER n1 DROP DEFAULT", Same),
    ("ALTER TABLE t ALTER n4 SET DEFAULT (1 + 1), ALTER d SET INVISIBLE", Same),
    ("ALTER TABLE t ALTER COLUMN d SET VISIBLE, ALTER INDEX by_aa INVISIBLE", Same),
    (
        "ALTER TABLE t ADD UNIQUE (d), ADD UNIQUE KEY (d, a), ADD INDEX USING BTREE (c(10)), ADD KEY named (h DESC) COMMENT 'k'",
        Same,
    ),
    ("ALTER TABLE t ADD CONSTRAINT uq UNIQUE (n3, n4), ADD FULLTEXT INDEX ft (c) WITH PARSER ngram", Same),
    (
        "ALTER TABLE t ADD INDEX ((a + 1)), ADD CONSTRAINT chk CHECK (a > 0), ADD CHECK (d < 100000) NOT ENFORCED",
        Same,
    ),
    ("ALTER TABLE t DROP CHECK chk, DROP CONSTRAINT uq", Same),
    ("CREATE UNIQUE INDEX made ON t (f, g)", Same),
    ("DROP INDEX made ON t", Same),
    ("ALTER TABLE t ADD COLUMN u1 INT UNIQUE, ADD u2 INT UNIQUE KEY COMMENT 'u'", Same),
    ("ALTER TABLE t DROP COLUMN u1, DROP INDEX u2", Same),
    ("ALTER TABLE t DROP KEY functional_index", Same),
    ("ALTER TABLE t DROP COLUMN a", Same),
    ("ALTER TABLE t ADD a INT NOT NULL DEFAULT 1 AFTER id, DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)", Same),
    ("ALTER TABLE t DROP COLUMN n1, ADD COLUMN n1 INT FIRST", Same),
    (
        "ALTER TABLE t COMMENT = 'it''s second', ENGINE=InnoDB, ROW_FORMAT=DYNAMIC, ALGORITHM=COPY, LOCK=SHARED",
        Same,
    ),
    ("ALTER TABLE t DEFAULT CHARACTER SET latin1", Same),
    ("ALTER TABLE t ADD v1 VARCHAR(5), ADD v2 TEXT(200), ADD v3 VARCHAR(5) CHARACTER SET utf8mb4", Same),
    ("ALTER TABLE t CHARSET utf8mb3 COLLATE utf8mb3_bin, ADD v4 VARCHAR(5)", Same),
    ("ALTER TABLE t COLLATE utf8mb4_unicode_ci", Same),
    ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", Same),
    ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", Same),
    ("ALTER TABLE t FORCE, DROP INDEX ft, ALGORITHM=COPY", Same),
    (
        "ALTER TABLE /* gh-ost */ ddl_oracle.t ADD COLUMN v5 INT /*!80013 DEFAULT 4 */ -- why\n, /*!50000 ADD v6 INT */;",
        Same,
    ),
    ("ALTER TABLE t AUTO_INCREMENT = 1000, ORDER BY id, a DESC", Same),
    (
        "ALTER TABLE t ADD w1 GEOMETRY, ADD w2 POINT SRID 4326, ADD w3 GEOMETRYCOLLECTION, ADD w4 VECTOR(3)",
        Same,
    ),
    ("ALTER TABLE t ADD w5 VARCHAR(10) CHARACTER SET gbk COLLATE gbk_bin NOT NULL DEFAULT 'a' 'b'", Same),
    ("ALTER TABLE t MODIFY w5 VARCHAR(10) CHARACTER SET latin1", Reread),
    (
        "ALTER TABLE t ADD x1 BIGINT, ADD x0 INT, ADD CONSTRAINT fk FOREIGN KEY by_x (x1, x0) REFERENCES t (id, a) ON DELETE SET NULL ON UPDATE CASCADE, ADD x2 INT CHECK (x2 > 0) COLUMN_FORMAT DYNAMIC",
        Same,
    ),
    ("ALTER TABLE t DROP FOREIGN KEY fk", Same),
    ("ALTER TABLE t MODIFY id INT NOT NULL, ADD x3 INT SERIAL DEFAULT VALUE", Reread),
];

const CREATE_PARTITIONED: &str = "CREATE TABLE IF NOT EXISTS `t` (`id` int NOT NULL PRIMARY KEY, a INT) \
    ENGINE=InnoDB /*!50100 PARTITION BY HASH (id) PARTITIONS 3 */";

const PARTITIONING: &[(&str, Rows)] = &[
    ("ALTER TABLE t ADD v7 INT PARTITION BY HASH (id) PARTITIONS 4", Same),
    ("ALTER TABLE t COALESCE PARTITION 1", Same),
    ("ALTER TABLE t TRUNCATE PARTITION p0, p1", Reread),
    ("ALTER TABLE t REBUILD PARTITION p0, p1", Same),
    ("ALTER TABLE t REMOVE PARTITIONING", Same),
    (
        "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (15))",
        Same,
    ),
    (
        "ALTER TABLE t REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN (30))",
        Same,
    ),
    ("ALTER TABLE t ADD PARTITION (PARTITION p3 VALUES LESS THAN (40))", Same),
    ("ALTER TABLE t DROP PARTITION p2, p3", Reread),
    ("ALTER TABLE t DISCARD PARTITION p1 TABLESPACE", Reread),
];

/// Tables as people create them; each is the table `t` of a database of its own.
const CREATIONS: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS t (a CHAR(5), b TEXT, c ENUM('x') NOT NULL, PRIMARY KEY (a, c)) ENGINE InnoDB \
     CHARACTER SET = latin1 COMMENT 'c'",
    "CREATE TABLE t (Ab INT, `key` INT, UNIQUE KEY (aB, `KEY`), CHECK (`key` > 0), primary key (`key`)) \
     /*!50100 PARTITION BY KEY (`key`) PARTITIONS 2 */",
    "CREATE TABLE t (a INT, b INT NOT NULL DEFAULT 7, PRIMARY KEY (a)) AS SELECT 1 AS a",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_creates_and_drops_a_table_is_told() {
    const DATABASE: &str = "ddl_creations";
    let mut connection = database(DATABASE).await;
    let table = TableId::new(DATABASE, "t");
    for creation in CREATIONS {
        for statement in [*creation, "DROP TABLE t"] {
            let logged = logged(&mut connection, DATABASE, statement).await;
            let effect = match statement {
                "DROP TABLE t" => Effect::Drop,
                _ => Effect::Create { if_not_exists: creation.contains("IF NOT EXISTS") },
            };
            let expected = Statement::Ddl(vec![TableEffect { table: table.clone(), effect }]);
            assert_eq!(classify(&logged, DATABASE, session().mode), expected, "{logged}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn xa_statements_name_the_xid_of_the_prepare_event() {
    const DATABASE: &str = "ddl_xa";
    let mut connection = database(DATABASE).await;
    logged(&mut connection, DATABASE, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let xid = "'\u{e4}b', X'00ff', 7";
    for statement in [format!("XA START {xid}"), "INSERT INTO t VALUES (1)".into(), format!("XA END {xid}")] {
        connection.execute("changing", &statement).await.unwrap();
    }
    let printed = "X'c3a462',X'00ff',7";
    let events = events_of(&mut connection, &format!("XA PREPARE {xid}")).await;
    assert!(events.iter().any(|event| event == &format!("XA PREPARE {printed}")), "{events:?}");
    let is_start = |event: &String| match classify(event, DATABASE, session().mode) {
        Statement::XaStart { xid } => xid.to_string() == printed,
        _ => false,
    };
    assert!(events.iter().any(is_start), "{events:?}");
    let events = events_of(&mut connection, &format!("XA COMMIT {xid}")).await;
    let is_commit = |event: &String| match classify(event, DATABASE, session().mode) {
        Statement::XaCommit { xid, one_phase } => xid.to_string() == printed && !one_phase,
        _ => false,
    };
    assert!(events.iter().any(is_commit), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_definition_is_that_of_information_schema() {
    compare("ddl_oracle", CREATE, ALTERATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_change_rows_but_no_definition() {
    compare("ddl_partitions", CREATE_PARTITIONED, PARTITIONING).await;
}

async fn compare(database_name: &str, creation: &str, alterations: &[(&str, Rows)]) {
    let mut connection = database(database_name).await;
    let id = TableId::new(database_name, "t");
    logged(&mut connection, database_name, creation).await;
    let mut current = catalog(&mut connection, &id).await;
    let mut wrong = Vec::new();
    for (alteration, rows) in alterations {
        let statement = logged(&mut connection, database_name, alteration).await;
        let real = catalog(&mut connection, &id).await;
        match follow(&current, &statement, database_name) {
            Ok(next) => {
                let (follows, expected) = (comparable(next.table), comparable(real.clone()));
                let reread = if next.rereads.is_some() { Reread } else { Same };
                if follows != expected {
                    wrong.push(format!("{statement}\n{}", differences(&follows, &expected)));
                } else if reread != *rows {
                    wrong.push(format!("{statement}: rereads: {:?}", next.rereads));
                }
            }
            Err(error) => wrong.push(format!("{statement}: {error}")),
        }
        current = real;
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), alterations.len(), wrong.join("\n"));
}

fn follow(current: &CatalogTable, statement: &str, database: &str) -> Result<Next, NeedsCatalogRead> {
    let Statement::Ddl(effects) = classify(statement, database, session().mode) else {
        panic!("{statement}")
    };
    let [TableEffect { table, effect: Effect::Alter(steps) }] = effects.as_slice() else {
        panic!("{statement}: {effects:?}")
    };
    assert_eq!(table, &current.id, "{statement}");
    apply(current, steps, &session())
}

fn differences(follows: &CatalogTable, real: &CatalogTable) -> String {
    let mut lines = Vec::new();
    let mut differ = |what: String, follows: String, real: String| {
        if follows != real {
            lines.push(format!("  {what}: {follows}\n  instead of {real}"));
        }
    };
    for place in 0..follows.columns.len().max(real.columns.len()) {
        let print = |table: &CatalogTable| format!("{:?}", table.columns.get(place));
        differ(format!("column {place}"), print(follows), print(real));
    }
    differ("indexes".to_owned(), format!("{:?}", follows.indexes), format!("{:?}", real.indexes));
    let options = |table: &CatalogTable| {
        format!("{} {} {} {}", table.comment, table.collation, table.engine, table.partitioned)
    };
    differ("options".to_owned(), options(follows), options(real));
    lines.join("\n")
}
