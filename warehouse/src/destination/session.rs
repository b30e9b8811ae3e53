//! What a session of the destination is set to before anything else is said in it. A role or a database has settings of
//! its own (`ALTER ROLE … SET`), and each of them may change what a statement means, how a value reads, or how long
//! anything may take.
//!
//! Invariant: every session looks names up in `pg_catalog` alone, so that no operator or function that somebody has put
//! into another schema is ever called (CVE-2018-1058); and each setting below has the value given here, or the session
//! says that it has another. Settings that a server does not have are left out: it is asked, not guessed.

use super::error::describe;
use tokio_postgres::Client;

/// Before the server is asked for anything. Every kernel has these. Temporary tables come last: by themselves they are
/// looked at first.
const FIRST: &str =
    "SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0; SET client_min_messages = warning";

/// What decides how statements and values are read. Every session has them, or the caller is told.
const MEANING: [(&str, &str); 30] = [
    ("client_encoding", "UTF8"),
    // TimeZone decides how a timestamp becomes a timestamptz, DateStyle and IntervalStyle how text does.
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("standard_conforming_strings", "on"),
    ("bytea_output", "hex"),
    // 0, as on Greenplum 6, loses digits of doubles.
    ("extra_float_digits", "3"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("quote_all_identifiers", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // An error where a policy would hide rows or refuse them in silence.
    ("row_security", "off"),
    // `replica` keeps triggers and foreign keys of the target from working.
    ("session_replication_role", "origin"),
    // Limits of the server on how long things may take: apply has its own.
    ("transaction_timeout", "0"),
    ("idle_session_timeout", "0"),
    // Tables that are made must be what they are taken for.
    ("default_table_access_method", "heap"),
    ("default_with_oids", "off"),
    ("gp_default_storage_options", "appendonly=false"),
    // How a merge is planned. On Greenplum nested loops are off and ORCA does not know them for a DELETE.
    ("enable_nestloop", "on"),
    ("enable_indexscan", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_seqscan", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("plan_cache_mode", "auto"),
    ("optimizer", "off"),
    // Else the first COPY into a table takes statistics of its own rows, which then stay.
    ("gp_autostats_mode", "none"),
    ("gp_autostats_mode_in_functions", "none"),
];

/// By what the server notices that nobody is there any more: the locks of an instance whose host is gone, or that hangs
/// in a transaction, would stay with its session.
const ALIVE: [(&str, &str); 6] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
    ("client_connection_check_interval", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// A setting as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    value: String,
    /// Any role may set it.
    settable: bool,
}

/// What is to be said, given what the server knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Orders {
    /// For one batch.
    all: Vec<String>,
    /// Settings that only some roles may change, and that are not as they should be: name, value, statement.
    asked: Vec<(String, String, String)>,
}

impl Orders {
    fn of(known: &[Known], lock_timeout_ms: u64) -> Self {
        let mut orders = Self::default();
        orders.all.push(format!("SET lock_timeout = {lock_timeout_ms}"));
        for (name, wanted) in MEANING.iter().chain(&ALIVE) {
            let Some(there) = known.iter().find(|there| there.name.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let statement = format!("SET {name} = '{wanted}'");
            if there.settable {
                orders.all.push(statement);
            } else if there.value != *wanted {
                orders.asked.push(((*name).to_owned(), there.value.clone(), statement));
            }
        }
        orders
    }
}

fn question() -> String {
    let names: Vec<String> =
        MEANING.iter().chain(&ALIVE).map(|(name, _)| format!("'{}'", name.to_ascii_lowercase())).collect();
    format!(
        "SELECT name::text, setting::text, context = 'user' FROM pg_catalog.pg_settings WHERE lower(name) IN ({})",
        names.join(", ")
    )
}

/// Sets a new session up. What is returned are the settings that the server did not let this role change, for people to
/// read.
///
/// # Errors
/// The connection broke, or the server refused what every server takes.
pub(super) async fn set_up(
    client: &Client,
    lock_timeout_ms: u64,
) -> Result<Vec<String>, tokio_postgres::Error> {
    client.batch_execute(FIRST).await?;
    let rows = client.query(&question(), &[]).await?;
    let known: Vec<Known> =
        rows.iter().map(|row| Known { name: row.get(0), value: row.get(1), settable: row.get(2) }).collect();
    let orders = Orders::of(&known, lock_timeout_ms);
    let mut unlike = Vec::new();
    if let Err(error) = client.batch_execute(&orders.all.join("; ")).await {
        if error.code().is_none() {
            return Err(error);
        }
        // Some server refuses a value of some setting that it has: the others are set all the same.
        for statement in &orders.all {
            try_one(client, statement, None, &mut unlike).await?;
        }
    }
    for (name, value, statement) in &orders.asked {
        try_one(client, statement, Some((name, value)), &mut unlike).await?;
    }
    Ok(unlike)
}

async fn try_one(
    client: &Client,
    statement: &str,
    now: Option<(&str, &str)>,
    unlike: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    match client.batch_execute(statement).await {
        Err(error) if error.code().is_some() => {
            let now = now.map(|(name, value)| format!("{name} is '{value}', and ")).unwrap_or_default();
            unlike.push(format!("{now}`{statement}` was refused: {}", describe(&error)));
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, value: &str, settable: bool) -> Known {
        Known { name: name.into(), value: value.into(), settable }
    }

    #[test]
    fn only_what_the_server_has_is_set_and_what_not_every_role_may_set_only_if_it_is_unlike() {
        let server = [
            known("TimeZone", "Asia/Tokyo", true),
            known("session_replication_role", "origin", false),
            known("tcp_user_timeout", "0", true),
        ];
        let orders = Orders::of(&server, 700);
        assert_eq!(
            orders.all,
            ["SET lock_timeout = 700", "SET TimeZone = 'UTC'", "SET tcp_user_timeout = '60s'"]
        );
        assert!(orders.asked.is_empty());
        let orders = Orders::of(&[known("session_replication_role", "replica", false)], 700);
        assert_eq!(orders.asked.len(), 1, "asked for, and told if it is refused");
    }

    #[test]
    fn a_cluster_plans_with_nested_loops_and_takes_no_statistics_inside_a_flush() {
        let server = ["optimizer", "gp_autostats_mode", "enable_nestloop", "extra_float_digits"];
        let all = Orders::of(&server.map(|name| known(name, "", true)), 1).all.join("; ");
        for wanted in [
            "SET optimizer = 'off'",
            "SET gp_autostats_mode = 'none'",
            "SET enable_nestloop = 'on'",
            "SET extra_float_digits = '3'",
        ] {
            assert!(all.contains(wanted), "{wanted} is not in {all}");
        }
    }
}
