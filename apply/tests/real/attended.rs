//! Sessions whose client, or whose server, says nothing for a while.

use crate::postgres::{Session, connection};
use bytes::Bytes;
use std::time::Duration;
use tributary_warehouse::destination::holders;
use tributary_warehouse::merge::dialect::{Dialect, Probe};

#[tokio::test]
async fn a_dead_instances_copy_is_ended_also_by_kernels_that_do_not_tell_what_it_waits_for() {
    let (copying, working) = (Session::new("dead_copy").await, Session::new("dead_work").await);
    let (mine, all) = (format!("apply of {}", copying.schema), format!("apply of {} ", copying.schema));
    for (session, number) in [(&copying, 1), (&working, 2)] {
        session.run(&[format!("CREATE TABLE {}.t (id int)", session.schema)]).await;
        session.run(&[format!("SET application_name = '{all}{number}'"), "BEGIN".to_owned()]).await;
    }
    let statement = format!("COPY {}.t FROM STDIN WITH (FORMAT binary)", copying.schema);
    let rows = copying.client.copy_in::<_, Bytes>(&statement).await.unwrap();
    let work = tokio::spawn(async move {
        working.run(&["SELECT pg_sleep(1)"]).await;
        working
    });
    let pids = format!(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '{all}%' AND state = 'active' ORDER BY 1"
    );
    let connection = connection().await;
    let mut at_work = connection.query(&pids, &[]).await.unwrap();
    while at_work.len() < 2 {
        at_work = connection.query(&pids, &[]).await.unwrap();
    }
    let (version, names) =
        ("PostgreSQL 9.4.26 (Greenplum Database 6.24.3)".to_owned(), (mine.as_str(), all.as_str()));
    let old = Dialect::of(&Probe { version, on_conflict: false, merge: false, distributed: false });
    let spared = holders::end_dead(&connection, old, names, Duration::from_secs(3600)).await.unwrap();
    assert!(spared.is_empty(), "something was heard of it");
    let ended = holders::end_dead(&connection, old, names, Duration::ZERO).await.unwrap();
    assert_eq!(ended.len(), 1, "the one that works goes on");
    drop(rows);
    assert!(copying.client.batch_execute("ROLLBACK").await.is_err(), "it was ended");
    let working = work.await.unwrap();
    working.run(&["ROLLBACK"]).await;
    working.run(&[format!("DROP SCHEMA {} CASCADE", copying.schema)]).await;
    working.done().await;
}

#[tokio::test]
async fn a_statement_that_works_for_long_is_waited_for() {
    let connection = connection().await;
    connection.batch_execute("SELECT pg_catalog.pg_sleep(9)").await.unwrap();
    assert!(!connection.is_closed());
}
