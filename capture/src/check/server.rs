//! What the source's version and settings mean for a task: facts enter, one [`Item`] each leaves. Pure.

use super::item::{Item, fail, pass, warn};
use std::net::IpAddr;
use tributary_config::TlsMode;
use tributary_source::dialect::{SUPPORTED, SourceDialect, refused};
use tributary_source::facts::Replica;
use tributary_source::replication;

/// A variable's value; empty if the server does not have it.
fn variable<'a>(server: &'a SourceDialect, name: &str) -> &'a str {
    server.variable(name).unwrap_or_default()
}

/// `source-version`.
#[must_use]
pub(super) fn version(version: &str) -> Item {
    const NAME: &str = "source-version";
    refused(version).map_or_else(|| pass(NAME, version), |found| fail(NAME, found, SUPPORTED))
}

/// The items about the binlog's settings, in the order of the report.
#[must_use]
pub(super) fn settings(server: &SourceDialect) -> Vec<Item> {
    let enabled = binlog_enabled(server);
    if variable(server, "log_bin") != "ON" {
        return vec![enabled];
    }
    vec![
        enabled,
        binlog_format(server),
        binlog_row_image(server),
        binlog_row_metadata(server),
        row_value_options(server),
        gtid_mode(server),
        sync_binlog(server),
    ]
}

fn binlog_enabled(server: &SourceDialect) -> Item {
    const NAME: &str = "binlog-enabled";
    if variable(server, "log_bin") == "ON" {
        return pass(NAME, "log_bin = ON");
    }
    let remedy = if server.polardb {
        "set loose_polar_log_bin = ON in the cluster's parameters, let it restart, and use the primary endpoint"
    } else {
        "start the server with log_bin (my.cnf: log_bin = binlog, server_id = 1)"
    };
    fail(NAME, "log_bin = OFF: the server writes no binlog", remedy)
}

fn binlog_format(server: &SourceDialect) -> Item {
    const NAME: &str = "binlog-format";
    match variable(server, "binlog_format") {
        // The variable is deprecated; a server without it knows no other format.
        "ROW" | "" => pass(NAME, "binlog_format = ROW"),
        other => fail(
            NAME,
            format!("binlog_format = {other}: changes are logged as statements, not as rows"),
            "SET PERSIST binlog_format = 'ROW', then reconnect every client that writes",
        ),
    }
}

fn binlog_row_image(server: &SourceDialect) -> Item {
    const NAME: &str = "binlog-row-image";
    match variable(server, "binlog_row_image") {
        "FULL" => pass(NAME, "binlog_row_image = FULL"),
        other => fail(
            NAME,
            format!("binlog_row_image = {other}: row events leave columns out"),
            "SET PERSIST binlog_row_image = 'FULL' (5.7: SET GLOBAL, and my.cnf), then reconnect every client that writes",
        ),
    }
}

fn binlog_row_metadata(server: &SourceDialect) -> Item {
    const NAME: &str = "binlog-row-metadata";
    match variable(server, "binlog_row_metadata") {
        "FULL" => pass(NAME, "binlog_row_metadata = FULL: the binlog names its columns"),
        "" => pass(NAME, "the server has no binlog_row_metadata: definitions are followed through the DDL"),
        other => pass(
            NAME,
            format!(
                "binlog_row_metadata = {other}: definitions are followed through the DDL; FULL would prove them"
            ),
        ),
    }
}

fn row_value_options(server: &SourceDialect) -> Item {
    const NAME: &str = "binlog-row-value-options";
    match variable(server, "binlog_row_value_options") {
        "" => pass(NAME, "JSON values are logged whole"),
        options => pass(NAME, format!("binlog_row_value_options = {options}: partial updates are applied")),
    }
}

fn gtid_mode(server: &SourceDialect) -> Item {
    const NAME: &str = "gtid-mode";
    if server.has_gtid() {
        return pass(NAME, "gtid_mode = ON");
    }
    let mode = variable(server, "gtid_mode");
    let mode = if mode.is_empty() { "OFF" } else { mode };
    warn(
        NAME,
        format!(
            "gtid_mode = {mode}: tables are read with shared row locks, which block writers to the rows of a chunk \
             while it is read, and a failover of the source ends the task"
        ),
        "set gtid_mode = ON step by step (MySQL manual, \"Enabling GTID Transactions Online\"), or accept the locks",
    )
}

fn sync_binlog(server: &SourceDialect) -> Item {
    const NAME: &str = "sync-binlog";
    match variable(server, "sync_binlog") {
        "1" => pass(NAME, "sync_binlog = 1"),
        other => warn(
            NAME,
            format!(
                "sync_binlog = {other}: after a crash of its machine the server may have lost transactions that were \
                 published, and give their GTIDs to others"
            ),
            "SET PERSIST sync_binlog = 1",
        ),
    }
}

/// `binlog-expiry`: the binlog must outlive an outage of `outage_minutes`, and a day in any case.
#[must_use]
pub(super) fn binlog_expiry(server: &SourceDialect, outage_minutes: u32) -> Item {
    const NAME: &str = "binlog-expiry";
    const DAY: u64 = 86_400;
    let number = |name: &str| variable(server, name).parse::<u64>().unwrap_or(0);
    let seconds = match number("binlog_expire_logs_seconds") {
        0 => number("expire_logs_days").saturating_mul(DAY),
        seconds => seconds,
    };
    let wanted = DAY.max(u64::from(outage_minutes) * 60);
    if seconds == 0 {
        return pass(NAME, "the server itself deletes no binary log");
    }
    let found = format!("binary logs are deleted after {:.1} hours", hours(seconds));
    if seconds >= wanted {
        return pass(NAME, found);
    }
    warn(
        NAME,
        format!("{found}; a task that is down for longer has to read its tables again"),
        format!("SET PERSIST binlog_expire_logs_seconds = {} or more", (3 * DAY).max(wanted)),
    )
}

fn hours(seconds: u64) -> f64 {
    // Only printed; 2^32 seconds are 136 years.
    f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)) / 3600.0
}

/// `server-id`: the server ends the stream of a replica as soon as another one comes with the same id.
#[must_use]
pub(super) fn server_id(ours: u32, server: u32, replicas: &[Replica]) -> Item {
    const NAME: &str = "server-id";
    let remedy = "set source.server_id to a number that no server and no replica of this cluster has";
    if ours == server {
        return fail(NAME, format!("{ours} is the source's own server_id"), remedy);
    }
    match replicas.iter().find(|replica| replica.server_id == ours) {
        Some(own) if own.host == replication::HOST => {
            pass(NAME, format!("{ours} is in use by Tributary, as it is while this task runs"))
        }
        Some(other) => fail(NAME, format!("{ours} is in use by the replica {:?}", other.host), remedy),
        None => pass(NAME, format!("{ours} is free")),
    }
}

/// `source-encryption`: whether others on the way can read along.
pub(super) fn encryption(host: &str, mode: TlsMode) -> Item {
    const NAME: &str = "source-encryption";
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match mode {
        TlsMode::Disable if is_loopback => pass(NAME, "not encrypted, and within this machine"),
        TlsMode::Disable => warn(
            NAME,
            format!(
                "the connection to {host} is not encrypted: whoever is on the way reads the rows, and may pose as the server"
            ),
            "set source.tls.mode (verify-full), unless nobody else is on that network",
        ),
        _ => pass(NAME, "encrypted"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Outcome;
    use super::*;
    use std::collections::HashMap;

    fn facts(variables: &[(&str, &str)]) -> SourceDialect {
        let mut all: HashMap<String, String> = [
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("gtid_mode", "ON"),
            ("sync_binlog", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        SourceDialect { variables: all, ..SourceDialect::default() }
    }

    fn outcomes(facts: &SourceDialect) -> Vec<(String, Outcome)> {
        let judged = settings(facts).into_iter().filter(|item| item.outcome != Outcome::Pass);
        judged.map(|item| (item.name.to_string(), item.outcome)).collect()
    }

    #[test]
    fn only_a_connection_that_leaves_the_machine_is_to_be_encrypted() {
        for host in ["localhost", "127.0.0.1", "127.8.0.1", "::1"] {
            assert_eq!(encryption(host, TlsMode::Disable).outcome, Outcome::Pass, "{host}");
        }
        for host in ["db", "10.0.0.7", "127.0.0.1.example"] {
            assert_eq!(encryption(host, TlsMode::Disable).outcome, Outcome::Warn, "{host}");
            assert_eq!(encryption(host, TlsMode::Require).outcome, Outcome::Pass, "{host}");
        }
    }

    #[test]
    fn old_servers_and_mariadb_are_refused() {
        for good in ["5.7.28-log", "8.0.18", "8.4.3", "9.7.4-2"] {
            assert_eq!(version(good).outcome, Outcome::Pass, "{good}");
        }
        for bad in ["5.6.51-log", "10.11.6-MariaDB-0+deb12u1", "5.5.5-10.4.1-MariaDB"] {
            assert_eq!(version(bad).outcome, Outcome::Fail, "{bad}");
        }
    }

    #[test]
    fn a_server_set_up_well_passes_and_each_setting_counts() {
        assert_eq!(settings(&facts(&[])).len(), 7);
        assert_eq!(outcomes(&facts(&[])), []);
        for (variable, value, name, outcome) in [
            ("log_bin", "OFF", "binlog-enabled", Outcome::Fail),
            ("binlog_format", "MIXED", "binlog-format", Outcome::Fail),
            ("binlog_row_image", "MINIMAL", "binlog-row-image", Outcome::Fail),
            ("binlog_row_image", "NOBLOB", "binlog-row-image", Outcome::Fail),
            ("gtid_mode", "ON_PERMISSIVE", "gtid-mode", Outcome::Warn),
            ("sync_binlog", "0", "sync-binlog", Outcome::Warn),
        ] {
            assert_eq!(outcomes(&facts(&[(variable, value)])), [(name.to_owned(), outcome)]);
        }
    }

    #[test]
    fn polardb_has_a_switch_of_its_own() {
        let cluster = SourceDialect { polardb: true, ..facts(&[("log_bin", "OFF")]) };
        assert!(settings(&cluster)[0].remedy.contains("loose_polar_log_bin"));
    }

    #[test]
    fn the_binlog_must_outlive_an_outage() {
        let judge = |variables: &[(&str, &str)], minutes| binlog_expiry(&facts(variables), minutes).outcome;
        assert_eq!(judge(&[("binlog_expire_logs_seconds", "2592000")], 720), Outcome::Pass);
        assert_eq!(judge(&[("binlog_expire_logs_seconds", "3600")], 0), Outcome::Warn);
        assert_eq!(judge(&[("binlog_expire_logs_seconds", "172800")], 4 * 1440), Outcome::Warn);
        assert_eq!(
            judge(&[("binlog_expire_logs_seconds", "0"), ("expire_logs_days", "7")], 0),
            Outcome::Pass
        );
        assert_eq!(judge(&[("expire_logs_days", "0")], 0), Outcome::Pass);
    }

    #[test]
    fn a_server_id_must_be_free() {
        let replica = |host: &str| [Replica { server_id: 7, host: host.into() }];
        assert_eq!(server_id(7, 1, &[]).outcome, Outcome::Pass);
        assert_eq!(server_id(1, 1, &[]).outcome, Outcome::Fail);
        assert_eq!(server_id(7, 1, &replica("standby")).outcome, Outcome::Fail);
        assert_eq!(server_id(7, 1, &replica(replication::HOST)).outcome, Outcome::Pass);
        assert_eq!(server_id(8, 1, &replica("standby")).outcome, Outcome::Pass);
    }
}
