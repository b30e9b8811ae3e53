//! Which properties of librdkafka a user may set. Those that exactly-once rests on are refused, with the reason,
//! rather than overridden: somebody who sets one expects it to hold.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use tributary_config::{ConfigIssue, Secret};

/// Refused properties and why; librdkafka's aliases stand beside the names.
const REFUSED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "kafka.brokers sets it"),
    (&["transactional.id"], "it is the task's name, so that a second leader is fenced"),
    (&["transaction.timeout.ms"], "capture.transaction_timeout_ms sets it"),
    (&["enable.idempotence"], "without it a lost acknowledgement writes a row twice"),
    (&["acks", "request.required.acks"], "anything but all loses rows when a broker fails"),
    (
        &["max.in.flight", "max.in.flight.requests.per.connection"],
        "the idempotent producer sets it, so that order survives a retry",
    ),
    (&["retries", "message.send.max.retries"], "the idempotent producer sets it"),
    (&["enable.gapless.guarantee"], "the transaction gives it"),
    (&["allow.auto.create.topics"], "capture creates topics with the settings that they need"),
    (&["partitioner"], "keys must stay in the partition where their earlier changes are"),
    (&["message.max.bytes", "max.message.bytes"], "topics.max_message_bytes sets it for topic and producer"),
    (&["queue.buffering.max.kbytes"], "capture bounds what is not acknowledged yet"),
    (&["isolation.level"], "apply must not see what capture has not committed"),
    (&["enable.auto.commit", "auto.commit.enable"], "the destination holds the offsets"),
    (&["enable.auto.offset.store"], "the destination holds the offsets"),
    (&["auto.offset.reset"], "a topic that was created anew must be noticed, not read from somewhere"),
    (&["enable.partition.eof"], "barriers rest on it"),
    (&["group.id"], "it is the task's name"),
    (&["group.instance.id"], "instances come and go under names of their own"),
    (&["group.protocol", "partition.assignment.strategy"], "the services depend on how partitions are given"),
    (&["session.timeout.ms"], "kafka.session_timeout_ms sets it"),
    (&["client.rack"], "a follower's end of a partition is behind the leader's"),
];

/// Everything under `[kafka.client]` that is refused, or that librdkafka does not know.
#[must_use]
pub fn check_client(client: &BTreeMap<String, Secret>) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    for (name, value) in client {
        let key = format!("kafka.client.{name}");
        let refused = REFUSED.iter().find(|(names, _)| names.contains(&name.as_str()));
        if let Some((_, why)) = refused {
            issues.push(ConfigIssue::new(key, format!("must not be set: {why}"), "remove it"));
            continue;
        }
        // The text of the error repeats the value, which may be a secret.
        let mut config = ClientConfig::new();
        if let Err(error) = config.set(name, value.reveal()).create_native_config() {
            let known = !matches!(&error, KafkaError::ClientConfig(_, why, _, _) if why.contains("No such"));
            issues.push(if known {
                ConfigIssue::new(key, "librdkafka does not take this value", "see its CONFIGURATION.md")
            } else {
                ConfigIssue::new(key, "librdkafka has no such property", "see its CONFIGURATION.md")
            });
        }
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Vec<ConfigIssue> {
        check_client(&BTreeMap::from([(name.to_owned(), Secret::new(value))]))
    }

    #[test]
    fn what_exactly_once_rests_on_is_refused_with_the_reason() {
        for name in ["acks", "enable.idempotence", "isolation.level", "auto.offset.reset", "partitioner"] {
            let issues = check(name, "1");
            assert_eq!(issues.len(), 1, "{name}");
            assert!(issues[0].key.ends_with(name) && issues[0].message.starts_with("must not be set: "));
        }
    }

    #[test]
    fn security_and_tuning_pass_and_misspelt_ones_do_not() {
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "hunter2"),
            ("ssl.ca.location", "/etc/ca.pem"),
            ("compression.type", "zstd"),
            ("socket.timeout.ms", "1000"),
        ] {
            assert_eq!(check(name, value), [], "{name}");
        }
        assert!(check("securty.protocol", "x")[0].message.contains("no such property"));
        let issues = check("security.protocol", "hunter2");
        assert!(issues[0].message.contains("does not take") && !format!("{issues:?}").contains("hunter2"));
    }

    #[test]
    fn every_refused_property_is_one_librdkafka_has() {
        // A name that it does not have would be reported anyway, and with the wrong reason.
        let topic_only = ["max.message.bytes"];
        for name in REFUSED.iter().flat_map(|(names, _)| *names).filter(|name| !topic_only.contains(name)) {
            let error = ClientConfig::new().set(*name, "\u{1}").create_native_config();
            let unknown =
                matches!(&error, Err(KafkaError::ClientConfig(_, why, _, _)) if why.contains("No such"));
            assert!(!unknown, "{name}");
        }
    }
}
