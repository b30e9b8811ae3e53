//! Does the binlog hold everything that is written to the tables? A connection is asked; what was found is judged by a
//! pure function, for the check and for each session's start: the session may be with another server than the last.
//!
//! What a session writes after `SET sql_log_bin = 0` is in no binlog either, and nothing shows it.

use crate::remedies;
use mysql_async::from_row_opt;
use tributary_source::connect::Connection;
use tributary_source::error::SourceError;

/// What the server leaves out of its binlog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BinlogContents {
    /// `binlog_do_db`: only these databases are logged; empty for all.
    pub do_databases: String,
    /// `binlog_ignore_db`: these databases are not logged.
    pub ignored_databases: String,
    /// The server applies the transactions of another one; `None` if the account may not ask.
    pub replica: Option<bool>,
    /// `log_replica_updates`.
    pub logs_replica_updates: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's item.
    pub name: &'static str,
    pub found: String,
    /// What to do about what is missing; `None` if nothing is.
    pub remedy: Option<&'static str>,
}

/// Asks. `status_statement` is the dialect's.
pub(crate) async fn ask(
    connection: &mut Connection,
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

async fn is_replica(connection: &mut Connection) -> Result<Option<bool>, SourceError> {
    for statement in ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"] {
        match connection.query("asking whether the source is a replica", statement).await {
            Ok(rows) => return Ok(Some(!rows.is_empty())),
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// `binlog-filters` and `replica-updates`.
#[must_use]
pub(crate) fn findings(contents: &BinlogContents) -> [Finding; 2] {
    [filters(contents), replica_updates(contents)]
}

/// Any filter is refused: DDL is filtered by the database that its session uses, not by the one of its table.
fn filters(contents: &BinlogContents) -> Finding {
    let named = [("binlog_do_db", &contents.do_databases), ("binlog_ignore_db", &contents.ignored_databases)];
    let set: Vec<String> = named
        .iter()
        .filter(|(_, databases)| !databases.is_empty())
        .map(|(option, databases)| format!("{option} = {databases}"))
        .collect();
    let name = "binlog-filters";
    if set.is_empty() {
        let found = "no database is left out (what a session writes with sql_log_bin = 0 shows nowhere)";
        return Finding { name, found: found.to_owned(), remedy: None };
    }
    Finding {
        name,
        found: format!("{}: changes are missing from the binlog", set.join(", ")),
        remedy: Some(remedies::binlog_filters()),
    }
}

fn replica_updates(contents: &BinlogContents) -> Finding {
    let name = "replica-updates";
    let remedy = remedies::replica_updates();
    let pass = |found: &str| Finding { name, found: found.to_owned(), remedy: None };
    match (contents.logs_replica_updates, contents.replica) {
        (true, _) => pass("what a replica applies is logged"),
        (false, Some(false)) => pass("the source is no replica"),
        (false, Some(true)) => Finding {
            name,
            found: "the source is a replica with log_replica_updates = OFF: what it applies is missing from its binlog"
                .to_owned(),
            remedy: Some(remedy),
        },
        (false, None) => Finding {
            name,
            found: "log_replica_updates = OFF, and the account may not ask whether the source is a replica".to_owned(),
            remedy: Some(remedy),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_binlog_leaves_out_is_refused() {
        let whole = BinlogContents { logs_replica_updates: true, ..BinlogContents::default() };
        let refused = |contents: &BinlogContents| -> Vec<&str> {
            let findings = findings(contents);
            findings.iter().filter(|finding| finding.remedy.is_some()).map(|finding| finding.name).collect()
        };
        assert_eq!(refused(&whole), [""; 0]);
        for filtered in [
            BinlogContents { do_databases: "shop".into(), ..whole.clone() },
            BinlogContents { ignored_databases: "crm".into(), ..whole.clone() },
        ] {
            assert_eq!(refused(&filtered), ["binlog-filters"]);
        }
        let silent = |replica| BinlogContents { replica, ..BinlogContents::default() };
        assert_eq!(refused(&silent(Some(true))), ["replica-updates"]);
        assert_eq!(refused(&silent(None)), ["replica-updates"]);
        assert_eq!(refused(&silent(Some(false))), [""; 0]);
        assert_eq!(refused(&BinlogContents { replica: Some(true), ..whole }), [""; 0]);
    }
}
