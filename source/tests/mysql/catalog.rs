//! Connection, dialect and catalog.

use crate::{config, connect, database, reader, run};
use std::collections::BTreeSet;
use tributary_config::{Secret, SourceConfig, TlsConfig, TlsMode};
use tributary_schemas::table::{ColumnDefault, TableId};
use tributary_source::catalog::{list_tables, read_table, read_tables};
use tributary_source::connect::SourceOptions;
use tributary_source::dialect::SourceDialect;
use tributary_source::publish::Wishes;

#[tokio::test]
async fn a_session_is_neutral_with_and_without_tls() {
    for mode in [TlsMode::Disable, TlsMode::Require] {
        let config = SourceConfig { tls: TlsConfig { mode, ..TlsConfig::default() }, ..config("reader") };
        let mut connection = connect(&config).await.unwrap();
        let settings: Option<(String, String, String, u64)> = connection
            .first(
                "settings",
                "SELECT @@time_zone, @@sql_mode, @@character_set_results, @@max_execution_time",
            )
            .await
            .unwrap();
        assert_eq!(settings, Some(("+00:00".into(), String::new(), "utf8mb4".into(), 0)));
        let cipher = connection.query("cipher", "SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
        let cipher: String = cipher[0].get(1).unwrap();
        assert_eq!(cipher.is_empty(), mode == TlsMode::Disable);
        connection.close().await.unwrap();
    }
    // The server's certificate is its own, so both verifying modes must refuse it.
    for mode in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let config = SourceConfig { tls: TlsConfig { mode, ..TlsConfig::default() }, ..config("reader") };
        let error = connect(&config).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
    }
    let ca = Some("/nowhere/ca.pem".into());
    let tls = TlsConfig { mode: TlsMode::VerifyCa, ca, ..TlsConfig::default() };
    let error = SourceOptions::new(&SourceConfig { tls, ..config("reader") }).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn refusals_are_told_from_outages() {
    let wrong = SourceConfig { password: Secret::new("wrong"), ..config("reader") };
    let error = connect(&wrong).await.unwrap_err();
    assert!(!error.is_transient() && error.code() == Some(1045), "{error}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let away = SourceConfig { port, ..config("reader") };
    let error = connect(&away).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let mut victim = reader().await;
    let mut root = connect(&config("root")).await.unwrap();
    root.execute("killing", &format!("KILL {}", victim.id())).await.unwrap();
    let error = victim.query("reading", "SELECT 1").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn the_dialect_is_what_the_server_has() {
    let mut connection = reader().await;
    let dialect = SourceDialect::probe(&mut connection).await.unwrap();
    assert!(dialect.has_gtid() && dialect.log_bin() && !dialect.polardb, "{dialect:?}");
    assert_eq!(dialect.status_statement, "SHOW BINARY LOG STATUS");
    assert_eq!(dialect.shared_lock, "FOR SHARE");
    assert_eq!(dialect.variable("binlog_row_image"), Some("FULL"));
    assert_eq!(dialect.server_uuid.len(), 36);
    let before = dialect.current_position(&mut connection).await.unwrap();
    assert_eq!(Some(&before.file), dialect.binary_logs.last().map(|log| &log.name));
    let mut root = database("source_dialect").await;
    run(&mut root, &["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let after = dialect.current_position(&mut connection).await.unwrap();
    assert!(after.gtid_set.contains_all(&before.gtid_set) && after.gtid_set != before.gtid_set);
}

#[tokio::test]
async fn the_catalog_has_every_column_and_index() {
    let mut root = database("source_catalog").await;
    run(
        &mut root,
        &[
            "CREATE TABLE t (b VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'it''s' COMMENT 'name', \
             a INT UNSIGNED NOT NULL AUTO_INCREMENT, hidden INT INVISIBLE, twice INT AS (hidden * 2) VIRTUAL, \
             seen TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3), made JSON DEFAULT (JSON_ARRAY()), \
             bits BIT(3) DEFAULT b'101', e ENUM('x','it''s') , UNIQUE KEY two (a, b), KEY part (b(3)), \
             KEY fn ((hidden + 1)), PRIMARY KEY (b, a)) COMMENT 'things' PARTITION BY KEY (a) PARTITIONS 2",
            "CREATE VIEW v AS SELECT * FROM t",
            "CREATE TABLE `odd ``name` (id INT PRIMARY KEY)",
            "CREATE TABLE T (id INT PRIMARY KEY)",
            "INSERT INTO t (b) VALUES ('one'), ('two')",
            "ANALYZE TABLE t",
        ],
    )
    .await;
    let mut connection = reader().await;
    let ours = |id: &TableId, _: &BTreeSet<TableId>| id.database == "source_catalog";
    let tables = read_tables(&mut connection, ours).await.unwrap();
    let names: Vec<_> = tables.iter().map(|table| table.id.table.as_str()).collect();
    assert_eq!(names, ["T", "odd `name", "t"]);
    assert!(list_tables(&mut connection).await.unwrap().iter().all(|id| id.database != "mysql"));
    let table = read_table(&mut connection, &TableId::new("source_catalog", "t")).await.unwrap().unwrap();
    assert_eq!(table, tables[2]);
    assert_eq!((table.comment.as_str(), table.engine.as_str()), ("things", "InnoDB"));
    assert_eq!((table.rows_estimated, table.partitioned), (2, true));
    let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["b", "a", "hidden", "twice", "seen", "made", "bits", "e"]);
    assert_eq!(table.columns[0].default, Some(ColumnDefault::Constant("it's".into())));
    assert_eq!(table.columns[0].charset.as_deref(), Some("latin1"));
    assert!(table.columns[1].auto_increment && table.columns[2].invisible && table.columns[3].generated);
    assert!(
        matches!(&table.columns[4].default, Some(ColumnDefault::Expression(text)) if text == "CURRENT_TIMESTAMP(3)")
    );
    assert!(matches!(&table.columns[5].default, Some(ColumnDefault::Expression(_))));
    assert_eq!(table.columns[6].default, Some(ColumnDefault::Constant("b'101'".into())));
    let wishes = Wishes::new(|charset| ["latin1", "utf8mb4"].contains(&charset));
    let published = table.published(&wishes).unwrap();
    let key: Vec<_> = published.key_columns().map(|column| column.name.as_str()).collect();
    assert_eq!(key, ["b", "a"]);
    let part = table.index("part").unwrap();
    assert_eq!((part.unique, part.parts[0].prefix), (false, Some(3)));
    assert_eq!(table.index("fn").unwrap().parts[0].column, None);
    assert!(read_table(&mut connection, &TableId::new("source_catalog", "v")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_locked_table_holds_up_no_other() {
    let mut root = database("source_locked").await;
    run(
        &mut root,
        &[
            "CREATE TABLE a (id INT PRIMARY KEY, f FLOAT DEFAULT 1.5)",
            "CREATE TABLE b (id INT PRIMARY KEY, f FLOAT DEFAULT 1.5)",
            "CREATE TABLE c (id INT PRIMARY KEY, e ENUM('😀','?'), f FLOAT DEFAULT 1.5)",
            "LOCK TABLES a WRITE, c WRITE",
        ],
    )
    .await;
    let mut connection = reader().await;
    let ours = |id: &TableId, _: &BTreeSet<TableId>| id.database == "source_locked";
    let tables = read_tables(&mut connection, ours).await.unwrap();
    let inexact: Vec<bool> =
        tables.iter().map(|table| table.columns.last().unwrap().inexact_default).collect();
    assert_eq!(inexact, [true, false, true]);
    let unasked: Vec<bool> = tables.iter().map(|table| table.unasked).collect();
    assert_eq!(unasked, [false, false, true]);
    let wait: Option<u64> = connection.first("settings", "SELECT @@lock_wait_timeout").await.unwrap();
    assert_eq!(wait, Some(60), "only these questions are in a hurry");
    run(&mut root, &["UNLOCK TABLES"]).await;
    let tables = read_tables(&mut connection, ours).await.unwrap();
    assert!(tables.iter().all(|table| !table.unasked && !table.columns.last().unwrap().inexact_default));
    assert_eq!(tables[2].columns[1].declared_type, "enum('😀','?')");
}
