//! What is around the rows: GTIDs, compressed and prepared transactions, statements, images that leave columns out.

use super::replay::Replay;
use super::{check, database, options, place, published, rows, run};
use std::time::Duration;
use tributary_capture::binlog::event::kind;
use tributary_capture::binlog::stream::{Checksum, accept};
use tributary_capture::binlog::{EventBody, FormatContext, parse};
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::row::RowError;
use tributary_source::connect::SourceConnection;
use tributary_source::replication::{DumpRequest, Packet, Replication};

#[tokio::test]
async fn compressed_transactions() {
    let mut connection = database("tributary_binlog_compressed").await;
    run(
        &mut connection,
        &[
            "CREATE TABLE compressed (id int PRIMARY KEY, t text)",
            "SET SESSION binlog_transaction_compression = ON",
        ],
    )
    .await;
    let table = published(&mut connection, "tributary_binlog_compressed", "compressed", &[]).await;
    let replay = check(
        &mut connection,
        &[table],
        &[
            "BEGIN",
            "INSERT INTO compressed VALUES (1, repeat('a', 5000)), (2, 'b')",
            "UPDATE compressed SET t = repeat('c', 3000) WHERE id = 2",
            "COMMIT",
            "SET SESSION binlog_transaction_compression = OFF",
            "INSERT INTO compressed VALUES (3, 'plain')",
            "SET SESSION binlog_transaction_compression = ON",
            "DELETE FROM compressed WHERE id = 1",
        ],
    )
    .await;
    assert!(replay.has(kind::TRANSACTION_PAYLOAD));
    let inner: Vec<_> =
        replay.headers.iter().filter(|(_, inside)| *inside).map(|(header, _)| header).collect();
    assert!(inner.len() >= 8);
    assert!(inner.iter().all(|header| header.next_offset == 0));
    assert!(inner.iter().any(|header| header.kind == kind::XID));
    assert!(!inner.iter().any(|header| header.kind == kind::GTID));
}

#[tokio::test]
async fn gtids_with_and_without_tags() {
    let mut connection = database("tributary_binlog_gtids").await;
    let (file, offset) = place(&mut connection).await;
    run(
        &mut connection,
        &[
            "CREATE TABLE plain (id int PRIMARY KEY)",
            "SET SESSION gtid_next = 'AUTOMATIC:Tributary_test'",
            "CREATE TABLE tagged (id int PRIMARY KEY)",
            "SET SESSION gtid_next = 'AUTOMATIC'",
            "FLUSH BINARY LOGS",
        ],
    )
    .await;
    let replay = Replay::read(&file, offset, &[]).await;
    let executed = executed_after(&mut connection, &replay).await;
    assert!(replay.has(kind::GTID) && replay.has(kind::GTID_TAGGED) && replay.has(kind::PREVIOUS_GTIDS));
    assert_eq!(replay.gtids.iter().filter(|event| event.gtid.source.tag == "tributary_test").count(), 1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    for event in &replay.gtids {
        assert!(executed.contains(&event.gtid), "{} is not in {executed}", event.gtid);
        let committed = u128::from(event.immediate_commit_micros.unwrap());
        assert!(now.abs_diff(committed) < 600_000_000);
        assert_eq!(event.original_commit_micros, event.immediate_commit_micros);
        assert!(event.transaction_bytes.unwrap() > 100);
    }
    let previous = replay.previous.as_ref().unwrap();
    assert!(executed.contains_all(previous));
    assert!(replay.gtids.iter().filter(|event| previous.contains(&event.gtid)).count() >= 2);
}

/// The server's `gtid_executed` once it has all that was replayed. Other tests commit meanwhile, and a transaction is in
/// the binlog before it is in the set.
async fn executed_after(connection: &mut SourceConnection, replay: &Replay) -> GtidSet {
    for event in &replay.gtids {
        let waited: Vec<i64> =
            rows(connection, &format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', 60)", event.gtid)).await;
        assert_eq!(waited, [0], "{} does not come into gtid_executed", event.gtid);
    }
    let executed: Vec<String> = rows(connection, "SELECT @@GLOBAL.gtid_executed").await;
    executed[0].replace('\n', "").parse().unwrap()
}

#[tokio::test]
async fn prepared_transactions_and_statements() {
    let mut connection = database("tributary_binlog_xa").await;
    run(&mut connection, &["CREATE TABLE xa (id int PRIMARY KEY, r double)"]).await;
    let table = published(&mut connection, "tributary_binlog_xa", "xa", &[]).await;
    let replay = check(
        &mut connection,
        &[table],
        &[
            "XA START 'tributary','branch',7",
            "INSERT INTO xa VALUES (1, 0.5)",
            "XA END 'tributary','branch',7",
            "XA PREPARE 'tributary','branch',7",
            "XA COMMIT 'tributary','branch',7",
        ],
    )
    .await;
    let xid = "X'747269627574617279',X'6272616e6368',7".to_owned();
    assert_eq!(replay.prepared, [(xid.clone(), false)]);
    assert!(replay.statements.contains(&format!("XA COMMIT {xid}")), "{:?}", replay.statements);

    let (file, offset) = place(&mut connection).await;
    run(
        &mut connection,
        &[
            "SET SESSION binlog_format = STATEMENT",
            "SET @variable = 2",
            "INSERT INTO xa VALUES (@variable, rand())",
        ],
    )
    .await;
    let replay = Replay::read(&file, offset, &[]).await;
    assert!(
        replay.statement_format.contains(&kind::USER_VAR) && replay.statement_format.contains(&kind::RAND)
    );
    assert!(replay.statements.contains(&"INSERT INTO xa VALUES (@variable, rand())".to_owned()));
    assert!(replay.databases.contains(&"tributary_binlog_xa".to_owned()));
}

#[tokio::test]
async fn heartbeats_name_the_place_and_carry_a_checksum() {
    let mut connection = database("tributary_binlog_heartbeats").await;
    let (file, offset) = place(&mut connection).await;
    let mut session = Replication::open(&options()).await.unwrap();
    let period = "SET @source_heartbeat_period = 50000000, @master_heartbeat_period = 50000000";
    session.execute("asking for heartbeats", period).await.unwrap();
    let place = Some((file.as_str(), offset));
    let request = DumpRequest { server_id: 0x3fff_ffff, place, gtids: None, until_end: false };
    let mut stream = session.dump("reading", &request).await.unwrap();
    let mut checksum = Checksum::default();
    let heartbeat = async {
        loop {
            while let Some(frame) = stream.take("reading").unwrap() {
                let Packet::Event(event) = stream.read("reading", &frame).unwrap() else { panic!("the end") };
                let (header, data) = accept(event, &mut checksum).unwrap();
                if let EventBody::Heartbeat { file, offset } =
                    parse(header.kind, data, &FormatContext::default()).unwrap()
                {
                    assert_eq!(checksum, Checksum::Crc32);
                    return (
                        String::from_utf8(file.to_vec()).unwrap(),
                        offset,
                        u64::from(header.next_offset),
                    );
                }
            }
            stream.fill("reading").await.unwrap();
        }
    };
    let (named, wide_offset, next_offset) =
        tokio::time::timeout(Duration::from_secs(60), heartbeat).await.unwrap();
    // Other tests write to the binlog meanwhile, so that it may be further on.
    assert!(
        named >= file && wide_offset.is_none() && next_offset > 0,
        "{named} {wide_offset:?} {next_offset}"
    );
}

#[tokio::test]
async fn images_that_leave_columns_out_are_refused() {
    let mut connection = database("tributary_binlog_images").await;
    run(&mut connection, &["CREATE TABLE images (id int PRIMARY KEY, a int, b blob)"]).await;
    let table = published(&mut connection, "tributary_binlog_images", "images", &[]).await;
    let (file, offset) = place(&mut connection).await;
    run(
        &mut connection,
        &[
            "INSERT INTO images VALUES (1, 1, 'x'), (2, 2, 'y')",
            "SET SESSION binlog_row_image = MINIMAL",
            "UPDATE images SET a = 3 WHERE id = 1",
            "SET SESSION binlog_row_image = NOBLOB",
            "UPDATE images SET a = 3 WHERE id = 2",
        ],
    )
    .await;
    let replay = Replay::read(&file, offset, &[table]).await;
    let missing = |column: &str| RowError::PartialImage { column: column.to_owned() };
    assert_eq!(replay.refused, [missing("a"), missing("b")]);
}
