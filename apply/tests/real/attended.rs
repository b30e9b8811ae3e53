//! A slow answer is not taken for a lost one.

use crate::postgres::connection;

#[tokio::test]
async fn a_statement_that_works_for_long_is_waited_for() {
    let connection = connection().await;
    connection.batch_execute("SELECT pg_catalog.pg_sleep(9)").await.unwrap();
    assert!(!connection.is_closed());
}
