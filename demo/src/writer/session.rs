//! One connection of the live writer: transactions enter, what they changed leaves.

use super::Written;
use super::changes::Share;
use crate::load;
use crate::servers::Addresses;
use crate::shop::{self, Size};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, TxOpts};

/// Lock wait timeout, deadlock, and a table that was altered under a transaction: what a shop tries again.
const TRY_AGAIN: [u16; 3] = [1205, 1213, 1412];

/// A connection and the rows that are its own.
pub struct Session {
    conn: Conn,
    share: Share,
}

impl Session {
    /// Opens connection `number` of `of`.
    pub async fn open(addresses: &Addresses, number: u64, of: u64, size: Size) -> Result<Self, Error> {
        let conn = load::connect(addresses, Some(shop::DATABASE)).await?;
        Ok(Self { conn, share: Share::new(number, of, size) })
    }

    /// Carries out one transaction; nothing is counted of one that the server undid.
    pub async fn write(&mut self, gift_notes: bool) -> Result<Written, Error> {
        let statements = self.share.next_transaction(gift_notes);
        loop {
            let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
            let mut written = Written { transactions: 1, ..Written::default() };
            let mut result = Ok(());
            for statement in &statements {
                result = transaction.query_drop(statement.sql.as_str()).await;
                if result.is_err() {
                    break;
                }
                statement.effect.count(transaction.affected_rows(), &mut written);
            }
            match result {
                Ok(()) => {
                    transaction.commit().await?;
                    return Ok(written);
                }
                Err(Error::Server(error)) if TRY_AGAIN.contains(&error.code) => {
                    transaction.rollback().await?
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says goodbye to the server.
    pub async fn close(self) -> Result<(), Error> {
        self.conn.disconnect().await
    }
}
