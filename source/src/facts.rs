//! What a check and each session ask the source about, beyond what kind of server it is ([`SourceDialect`]): a connection enters,
//! facts leave. What follows from them is decided by whoever asks; here is decided only what a statement that was refused
//! means.

use crate::connect::SourceConnection;
use crate::definition::wait_until_committed;
use crate::dialect::{SourceDialect, gtid_executed};
use crate::error::SourceError;
use mysql_async::from_row_opt;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::table::TableId;

/// What the server leaves out of its binlog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BinlogContents {
    /// `binlog_do_db`: only these databases are logged; empty for all.
    pub do_databases: String,
    /// `binlog_ignore_db`: these databases are not logged.
    pub ignored_databases: String,
    /// The server applies the transactions of another one; `None` if the account may not ask.
    pub replica: Option<bool>,
    /// `log_replica_updates`.
    pub logs_replica_updates: bool,
}

/// One line of `SHOW REPLICAS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub server_id: u32,
    /// The host name it reports.
    pub host: String,
}

/// What was prepared by XA and is undecided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// This many transactions.
    Count(usize),
    /// The account may not ask.
    Unknown,
}

/// Whether changes by cascading foreign keys are missing from the binlog, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cascades {
    /// The server writes them.
    Logged,
    /// It does not; the child tables with such a key.
    Silent(Vec<TableId>),
}

/// `version()`.
pub async fn version(connection: &mut SourceConnection) -> Result<String, SourceError> {
    Ok(connection.first("reading the version", "SELECT version()").await?.unwrap_or_default())
}

/// What the account may do: the lines of `SHOW GRANTS`. Called without FOR, the statement already counts in the privileges
/// of the roles that are active in the session.
pub async fn grants(connection: &mut SourceConnection) -> Result<Vec<String>, SourceError> {
    let rows = connection.query("reading the grants", "SHOW GRANTS").await?;
    Ok(rows.into_iter().filter_map(|row| from_row_opt::<String>(row).ok()).collect())
}

/// What kind of server it is. `published` is waited for if it is not yet in `gtid_executed`: the binlog shows a transaction
/// before the engine has committed it, and a checkpoint can be that fresh. A source that waits for a replica's
/// acknowledgement, or for its disk, takes its time over that. What it neither has nor is about to have is not waited for.
pub async fn dialect_after(
    connection: &mut SourceConnection,
    published: Option<&GtidSet>,
) -> Result<SourceDialect, SourceError> {
    let mut dialect = SourceDialect::probe(connection).await?;
    if let Some(set) = published.filter(|set| dialect.has_gtid() && !dialect.gtid_executed.contains_all(set))
    {
        // Asked for first: a transaction that is in neither answer was not being committed when this one was given.
        let owned: Option<String> =
            connection.first("asking what is being committed", "SELECT @@GLOBAL.gtid_owned").await?;
        dialect.gtid_executed = gtid_executed(connection).await?;
        if !never_comes(set, &dialect.gtid_executed, &dialect.server_uuid, &owned.unwrap_or_default()) {
            // If they do not come all the same, what is in the set then says so.
            let _ = wait_until_committed(connection, set).await?;
            dialect.gtid_executed = gtid_executed(connection).await?;
        }
    }
    Ok(dialect)
}

/// True if a transaction of `set` is one that this server alone makes, and it has neither committed it nor begun to: `owned`
/// has those, as `:number#thread` for each.
fn never_comes(set: &GtidSet, executed: &GtidSet, server_uuid: &str, owned: &str) -> bool {
    let mut own = set.without(executed).filter(|gtid| gtid.source.uuid == server_uuid);
    own.any(|gtid| !owned.contains(&format!(":{}#", gtid.number)))
}

/// What the server leaves out of its binlog. `status_statement` is the dialect's.
pub async fn binlog_contents(
    connection: &mut SourceConnection,
    status_statement: &str,
) -> Result<BinlogContents, SourceError> {
    const DURING: &str = "reading what the binlog leaves out";
    let status = connection.query(DURING, status_statement).await?;
    let text = |place: usize| {
        let row = status.first()?;
        row.get_opt::<Option<String>, _>(place)?.ok()?
    };
    let updates = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_replica_updates', 'log_slave_updates')";
    let updates = connection.query(DURING, updates).await?;
    let mut updates = updates.into_iter().filter_map(|row| from_row_opt::<(String, String)>(row).ok());
    Ok(BinlogContents {
        do_databases: text(2).unwrap_or_default(),
        ignored_databases: text(3).unwrap_or_default(),
        replica: is_replica(connection).await?,
        logs_replica_updates: updates.any(|(_, value)| value == "ON"),
    })
}

async fn is_replica(connection: &mut SourceConnection) -> Result<Option<bool>, SourceError> {
    for statement in ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"] {
        match connection.query("asking whether the source is a replica", statement).await {
            Ok(rows) => return Ok(Some(!rows.is_empty())),
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// The replicas that stream from the server now. Empty if it may not be asked: then nobody can be in the way whom
/// this account could see.
pub async fn replicas(connection: &mut SourceConnection) -> Result<Vec<Replica>, SourceError> {
    for statement in ["SHOW REPLICAS", "SHOW SLAVE HOSTS"] {
        match connection.query("listing the replicas", statement).await {
            Ok(rows) => {
                let replicas = rows.into_iter().filter_map(|row| {
                    let host = row.get_opt::<Option<String>, _>(1)?.ok()?.unwrap_or_default();
                    Some(Replica { server_id: row.get_opt(0)?.ok()?, host })
                });
                return Ok(replicas.collect());
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(Vec::new())
}

/// `XA RECOVER`.
pub async fn prepared(connection: &mut SourceConnection) -> Result<Prepared, SourceError> {
    match connection.query("listing prepared transactions", "XA RECOVER").await {
        Ok(rows) => Ok(Prepared::Count(rows.len())),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(Prepared::Unknown),
    }
}

/// The foreign keys that change rows by themselves. From 9.6 the server carries them out above the engine and logs
/// them, unless `innodb_native_foreign_keys` is ON; an older server does not have the variable.
pub async fn cascades(connection: &mut SourceConnection) -> Result<Cascades, SourceError> {
    const DURING: &str = "reading the foreign keys";
    let variable = "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'";
    let native: Option<(String, String)> = connection.first(DURING, variable).await?;
    if native.is_some_and(|(_, value)| value == "OFF") {
        return Ok(Cascades::Logged);
    }
    let keys = "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
                WHERE DELETE_RULE IN ('CASCADE', 'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL') \
                ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME";
    let rows = connection.query(DURING, keys).await?;
    let names = rows.into_iter().filter_map(|row| from_row_opt::<(String, String)>(row).ok());
    Ok(Cascades::Silent(names.map(|(database, table)| TableId { database, table }).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_still_be_committed_or_come_from_another_server_is_waited_for() {
        const OWN: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        const OTHER: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set = |text: &str| text.parse::<GtidSet>().unwrap();
        let published = set(&format!("{OWN}:1-12,{OTHER}:1-5"));
        let never = |executed: &str, owned: &str| never_comes(&published, &set(executed), OWN, owned);
        assert!(never("", ""), "reset");
        assert!(never(&format!("{OWN}:1-11,{OTHER}:1-5"), ""));
        assert!(!never(&format!("{OWN}:1-11,{OTHER}:1-5"), &format!("{OWN}:12#36")));
        assert!(never(&format!("{OWN}:1-10,{OTHER}:1-5"), &format!("{OWN}:12#36")), "but not its 11th");
        assert!(!never(&format!("{OWN}:1-12,{OTHER}:1-4"), ""), "replication may bring it");
    }
}
