//! Connections to the source: [`SourceOptions`] enter, a [`SourceConnection`] leaves whose session is the same whatever the
//! server's defaults are. Invariant: in every session times are in UTC, text is utf8mb4 and no SQL mode changes what
//! a SELECT returns.

use crate::attended::{Attendant, IDENTITY};
use crate::error::SourceError;
use crate::options::{CONNECTING, OPTIONAL, SESSION, UNKNOWN_VARIABLE};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Row};
use std::time::Duration;

pub use crate::options::SourceOptions;

/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

impl SourceOptions {
    /// Opens a connection and sets its session up.
    ///
    /// # Errors
    /// Transient if the server is away, definite if it refuses us.
    pub async fn connect(&self) -> Result<SourceConnection, SourceError> {
        self.within_connect_timeout(self.open()).await
    }

    async fn open(&self) -> Result<SourceConnection, SourceError> {
        let conn = Conn::new(self.opts.clone()).await;
        let conn = conn.map_err(|error| SourceError::from_driver(CONNECTING, self.address(), &error))?;
        let attendant = Attendant::new(self.clone());
        let mut connection = SourceConnection { conn, address: self.address().to_owned(), attendant };
        for statement in SESSION {
            connection.execute("setting up the session", statement).await?;
        }
        for statement in OPTIONAL {
            match connection.execute("setting up the session", statement).await {
                Err(error) if !error.code().is_some_and(|code| UNKNOWN_VARIABLE.contains(&code)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        // A server of another kind may refuse the question; what is said of it comes later.
        let identity: Option<String> = match connection.first(CONNECTING, IDENTITY).await {
            Err(error) if error.code().is_some() => None,
            identity => identity?,
        };
        connection.attendant.knows(identity.as_deref());
        Ok(connection)
    }
}

/// An open session on the source. Errors name the server and what was being done.
#[derive(Debug)]
pub struct SourceConnection {
    conn: Conn,
    address: String,
    attendant: Attendant,
}

impl SourceConnection {
    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's id of this session, for KILL.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// The driver's connection, for what this type has no method for.
    pub fn driver(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Who attends to what is waited for over [`Self::driver`].
    #[must_use]
    pub fn attendant(&self) -> Attendant {
        self.attendant.clone()
    }

    /// Sorts an error of [`Self::driver`].
    #[must_use]
    pub fn explain(&self, during: &str, error: &mysql_async::Error) -> SourceError {
        SourceError::from_driver(during, &self.address, error)
    }

    /// Runs a statement whose result does not matter.
    pub async fn execute(&mut self, during: &str, sql: &str) -> Result<(), SourceError> {
        let result = self.attendant.attend(during, self.conn.query_drop(sql)).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement by the text protocol and collects its rows.
    pub async fn query(&mut self, during: &str, sql: &str) -> Result<Vec<Row>, SourceError> {
        let result = self.attendant.attend(during, self.conn.query(sql)).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement with parameters by the binary protocol and collects its rows.
    pub async fn query_with(
        &mut self,
        during: &str,
        sql: &str,
        params: impl Into<Params>,
    ) -> Result<Vec<Row>, SourceError> {
        let result = self.attendant.attend(during, self.conn.exec(sql, params.into())).await?;
        result.map_err(|error| self.explain(during, &error))
    }

    /// Runs a statement by the text protocol and converts its first row, if there is one.
    ///
    /// # Errors
    /// What the server or the network said, or a row of another shape.
    pub async fn first<T>(&mut self, during: &str, sql: &str) -> Result<Option<T>, SourceError>
    where
        T: FromRow + Send + 'static,
    {
        let rows = self.query(during, sql).await?;
        rows.into_iter().next().map(T::from_row_opt).transpose().map_err(|_| {
            SourceError::definite(during, &self.address, "the answer has another shape", "report this")
        })
    }

    /// Ends the session in good order, if the server still listens.
    ///
    /// # Errors
    /// What the network said; the session is gone in any case.
    pub async fn close(self) -> Result<(), SourceError> {
        let said = tokio::time::timeout(GOODBYE, self.conn.disconnect()).await.unwrap_or(Ok(()));
        said.map_err(|error| SourceError::from_driver("disconnecting", &self.address, &error))
    }
}
