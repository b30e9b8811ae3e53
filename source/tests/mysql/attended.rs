//! A slow answer and a lost one.

use crate::reader;

#[tokio::test]
async fn a_statement_that_works_for_long_is_waited_for_and_a_lost_answer_is_not() {
    let mut connection = reader().await;
    connection.execute("sleeping", "SELECT SLEEP(9)").await.unwrap();
    // Nothing was asked, so that nothing is ever answered, and the server waits for a statement.
    let lost = connection.attendant().attend("waiting", std::future::pending::<()>()).await;
    let error = lost.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("lost on the way"), "{error}");
}
