//! Does the binlog hold everything that is written to the tables? What `source::facts` found is judged by a
//! pure function, for the check and for each session's start: the session may be with another server than the last.
//!
//! What a session writes after `SET sql_log_bin = 0` is in no binlog either, and nothing shows it.

use crate::remedies;
use tributary_source::facts::BinlogContents;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's item.
    pub name: &'static str,
    pub found: String,
    /// What to do about what is missing; `None` if nothing is.
    pub remedy: Option<&'static str>,
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
