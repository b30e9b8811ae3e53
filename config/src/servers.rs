//! The sections that name servers and topics. Every field has the unit last in its name, and the default it takes when it is left
//! out; ranges are in `service::keys`.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Default of every `retry_minutes`: twelve hours, so that a night's outage needs nobody.
const RETRY_MINUTES: u32 = 720;

/// `[source]`: the MySQL or PolarDB server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Host name or address; the primary endpoint of a PolarDB cluster.
    pub host: String,
    /// TCP port; 3306.
    #[serde(default = "mysql_port")]
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password; empty for none.
    #[serde(default)]
    pub password: Secret,
    /// Encryption; off.
    #[serde(default)]
    pub tls: TlsConfig,
    /// How long a server that is away is waited for; 720. 0: at once an error.
    #[serde(default = "retry_minutes")]
    pub retry_minutes: u32,
    /// The id this replica shows; must be unique among the server's replicas. Derived from the task if left out.
    #[serde(default)]
    pub server_id: Option<u32>,
    /// How often the server sends a heartbeat when the binlog is quiet; 1,000.
    #[serde(default = "heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// How long the stream may be silent, heartbeats included, before its connection is taken for dead; 20,000.
    #[serde(default = "read_deadline_ms")]
    pub read_deadline_ms: u64,
    /// How long one attempt to connect may take; 10,000.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

/// `tls` of `[source]` and `[destination]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// What is demanded of the server; `disable`.
    pub mode: TlsMode,
    /// PEM or DER file with the authorities that may have signed the server's certificate; the system's if left out.
    pub ca: Option<PathBuf>,
    /// PEM file with a client certificate, and those between it and the authority that the server knows.
    pub cert: Option<PathBuf>,
    /// PEM file with the client certificate's key, without a pass phrase.
    pub key: Option<PathBuf>,
}

/// What encryption must achieve; the words of libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No encryption.
    #[default]
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with a certificate of a known authority.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyFull,
}

/// `[kafka]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port` separated by commas.
    pub brokers: String,
    /// How long a cluster that is away is waited for; 720. 0: at once an error.
    #[serde(default = "retry_minutes")]
    pub retry_minutes: u32,
    /// How long an instance may be silent before another takes over its work; 10,000.
    #[serde(default = "session_timeout_ms")]
    pub session_timeout_ms: u32,
    /// Properties of librdkafka. Those that exactly-once rests on are refused.
    #[serde(default)]
    pub client: BTreeMap<String, Secret>,
}

/// `[registry]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// A Confluent-compatible registry; without one, schemas are in the history topic and served by each service.
    pub url: Option<String>,
}

/// `[topics]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicsConfig {
    /// Partitions of a table's topic; 4. Never changes for a topic that exists.
    pub partitions: u32,
    /// Copies of each partition; 1.
    pub replication_factor: u16,
    /// Whether events carry the old row; `none`.
    pub before: BeforeImages,
    /// What a restart may do; `exactly-once`.
    pub delivery: Delivery,
    /// Largest record; 32 MiB. A larger row parks its table.
    pub max_message_bytes: u32,
    /// How long every change, and every delete, stays in a topic; 168, a week.
    pub retention_hours: u32,
}

/// `topics.before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeforeImages {
    /// `before` is null.
    #[default]
    None,
    /// `before` is the old row.
    Full,
}

/// `topics.delivery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Transactions: no change is lost or written twice.
    #[default]
    ExactlyOnce,
    /// For brokers without transactions: a restart may write changes again.
    AtLeastOnce,
}

/// `[destination]`: the PostgreSQL-compatible warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port; 5432.
    #[serde(default = "postgres_port")]
    pub port: u16,
    pub database: String,
    /// Role.
    pub user: String,
    /// Its password; empty for none.
    #[serde(default)]
    pub password: Secret,
    /// Encryption; off.
    #[serde(default)]
    pub tls: TlsConfig,
    /// How long a server that is away is waited for; 720. 0: at once an error.
    #[serde(default = "retry_minutes")]
    pub retry_minutes: u32,
    /// Merges that may run at the same time; 4.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Schema that holds offsets, arrivals and staging tables; `tributary`.
    #[serde(default = "bookkeeping_schema")]
    pub schema: String,
    /// How long a statement waits for a lock before its transaction is tried again; 30,000.
    #[serde(default = "lock_timeout_ms")]
    pub lock_timeout_ms: u64,
    /// How long one attempt to connect may take; 10,000.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

impl SourceConfig {
    /// `retry_minutes`.
    #[must_use]
    pub fn retry(&self) -> Duration {
        Duration::from_secs(u64::from(self.retry_minutes) * 60)
    }
}

impl KafkaConfig {
    /// `retry_minutes`.
    #[must_use]
    pub fn retry(&self) -> Duration {
        Duration::from_secs(u64::from(self.retry_minutes) * 60)
    }
}

impl DestinationConfig {
    /// `retry_minutes`.
    #[must_use]
    pub fn retry(&self) -> Duration {
        Duration::from_secs(u64::from(self.retry_minutes) * 60)
    }
}

impl TopicsConfig {
    /// `retention_hours` in the unit of Kafka's `min.compaction.lag.ms` and `delete.retention.ms`.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        u64::from(self.retention_hours) * 3_600_000
    }
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            partitions: 4,
            replication_factor: 1,
            before: BeforeImages::None,
            delivery: Delivery::ExactlyOnce,
            max_message_bytes: 32 * 1024 * 1024,
            retention_hours: 7 * 24,
        }
    }
}

const fn mysql_port() -> u16 {
    3306
}
const fn postgres_port() -> u16 {
    5432
}
const fn retry_minutes() -> u32 {
    RETRY_MINUTES
}
const fn heartbeat_ms() -> u64 {
    1_000
}
const fn read_deadline_ms() -> u64 {
    20_000
}
const fn connect_timeout_ms() -> u64 {
    10_000
}
const fn session_timeout_ms() -> u32 {
    10_000
}
const fn lock_timeout_ms() -> u64 {
    30_000
}
const fn connections() -> u32 {
    4
}
fn bookkeeping_schema() -> String {
    "tributary".to_owned()
}
