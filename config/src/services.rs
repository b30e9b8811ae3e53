//! The sections that say what each service does: `[capture]`, `[apply]` and `[[table]]`. Every field has the unit last
//! in its name, and the default it takes when it is left out; ranges are in `service::keys`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MEBIBYTE: u64 = 1024 * 1024;

/// `[capture]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Where HTTP answers; 127.0.0.1:8081. Port 0 is any.
    pub listen: String,
    /// Selected tables, patterns with `*`, `!` excludes. Empty: what `[[table]]` names.
    pub tables: Vec<String>,
    /// `database.table.column`, patterns with `*`: columns that never reach Kafka.
    pub exclude_columns: Vec<String>,
    /// By table, the NOT NULL unique key that is used in place of the primary key.
    pub keys: BTreeMap<String, String>,
    /// Connections that read tables at the same time; 4.
    pub readers: u32,
    /// Patterns match the tables of gh-ost, pt-online-schema-change and DMS too; false.
    pub online_ddl_tables: bool,
    /// GTID set to start at without reading the tables.
    pub start_at: Option<String>,
    /// Size aimed at for a chunk of a table; 4 MiB.
    pub chunk_bytes: u64,
    /// How long a Kafka transaction is kept open; 100.
    pub commit_interval_ms: u64,
    /// Bytes after which a Kafka transaction is committed at once; 64 MiB.
    pub commit_bytes: u64,
    /// Age at which the broker aborts a transaction that its leader left open; 60,000.
    pub transaction_timeout_ms: u32,
    /// Bound on rows and keys held in memory; 512 MiB.
    pub memory_bytes: u64,
}

/// `[apply]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApplyConfig {
    /// Where HTTP answers; 127.0.0.1:8082. Port 0 is any.
    pub listen: String,
    /// What to do with a target table that has rows before its first load; `refuse`.
    pub existing_data: ExistingData,
    /// What is applied; everything.
    pub operations: Vec<AllowedOperation>,
    /// Age at which a batch is merged though it is small; 100.
    pub flush_interval_ms: u64,
    /// Rows after which a batch of a table is merged; 200,000.
    pub flush_rows: u64,
    /// Bytes after which a batch of a table is merged; 64 MiB.
    pub flush_bytes: u64,
    /// Bound on the records held in memory, over all tables; 160 MiB.
    pub memory_bytes: u64,
    /// How often a parked table is tried again whose reason may have been taken away on the destination; 60,000.
    pub retry_parked_ms: u64,
    /// What becomes of a zero or partial date; `null`.
    pub on_zero_date: ZeroDatePolicy,
    /// What becomes of a NUL byte in a text; `remove`.
    pub on_nul_byte: NulBytePolicy,
    /// Whether secondary indexes are created; `none`.
    pub indexes: Indexes,
}

/// `apply.existing_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingData {
    /// A target with rows fails the check.
    #[default]
    Refuse,
    /// The target is emptied, once.
    Clear,
    /// Rows are merged into what is there.
    Append,
}

/// A member of `apply.operations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllowedOperation {
    /// New rows, and rows read from the table.
    Insert,
    /// Changed rows.
    Update,
    /// Removed rows, and TRUNCATE.
    Delete,
    /// Changed definitions.
    Alter,
}

impl AllowedOperation {
    /// Every operation.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Alter];
}

/// `apply.on_zero_date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroDatePolicy {
    /// NULL, counted.
    #[default]
    Null,
    /// The nearest real date, counted.
    Clamp,
    /// The table is parked.
    Fail,
}

/// `apply.on_nul_byte`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NulBytePolicy {
    /// The byte is left out, counted.
    #[default]
    Remove,
    /// U+FFFD takes its place, counted.
    Replace,
    /// The table is parked.
    Fail,
}

impl NulBytePolicy {
    /// What stands where a NUL character stood; `None` if that is not allowed.
    #[must_use]
    pub const fn substitute(self) -> Option<&'static str> {
        match self {
            Self::Remove => Some(""),
            Self::Replace => Some("\u{fffd}"),
            Self::Fail => None,
        }
    }
}

/// `apply.indexes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Indexes {
    /// None but the key's.
    #[default]
    None,
    /// As plain ones, never unique.
    Plain,
}

/// `storage` of a `[[table]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// Row storage.
    #[default]
    Heap,
    /// Column storage of an MPP destination.
    Column,
}

/// `[[table]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRule {
    /// `database.table`, patterns with `*`.
    pub source: String,
    /// `schema.table` with `{task}`, `{database}` and `{table}`; `{database}.{table}` if left out.
    #[serde(default)]
    pub target: Option<String>,
    /// Distribution key of an MPP destination; the primary key if left out.
    #[serde(default)]
    pub distributed_by: Option<Vec<String>>,
    /// `heap`.
    #[serde(default)]
    pub storage: Storage,
    /// Columns that are left out or renamed.
    #[serde(default)]
    pub columns: ColumnRules,
    /// As `apply.indexes`, which it overrides.
    #[serde(default)]
    pub indexes: Option<Indexes>,
    /// Column of the target → its value in every row of a source table; see [`super::TableRules::constants`].
    #[serde(default)]
    pub constants: BTreeMap<String, String>,
    /// The target's primary key where constants are part of it; empty: the source's.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// As `apply.operations`, which it overrides.
    #[serde(default)]
    pub operations: Option<Vec<AllowedOperation>>,
    /// As `apply.existing_data`, which it overrides.
    #[serde(default)]
    pub existing_data: Option<ExistingData>,
}

/// `columns` of a `[[table]]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnRules {
    /// Source columns the target does not get.
    pub drop: Vec<String>,
    /// Source column → target column.
    pub rename: BTreeMap<String, String>,
}

impl TableRule {
    /// What is applied to this table.
    #[must_use]
    pub fn operations<'a>(&'a self, apply: &'a ApplyConfig) -> &'a [AllowedOperation] {
        self.operations.as_deref().unwrap_or(&apply.operations)
    }

    /// What to do with rows that the target has before its first load.
    #[must_use]
    pub fn existing_data(&self, apply: &ApplyConfig) -> ExistingData {
        self.existing_data.unwrap_or(apply.existing_data)
    }

    /// Whether the target gets secondary indexes.
    #[must_use]
    pub fn indexes(&self, apply: &ApplyConfig) -> Indexes {
        self.indexes.unwrap_or(apply.indexes)
    }
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8081".to_owned(),
            tables: Vec::new(),
            exclude_columns: Vec::new(),
            keys: BTreeMap::new(),
            readers: 4,
            online_ddl_tables: false,
            start_at: None,
            chunk_bytes: 4 * MEBIBYTE,
            commit_interval_ms: 100,
            commit_bytes: 64 * MEBIBYTE,
            transaction_timeout_ms: 60_000,
            memory_bytes: 512 * MEBIBYTE,
        }
    }
}

impl Default for ApplyConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8082".to_owned(),
            existing_data: ExistingData::Refuse,
            operations: AllowedOperation::ALL.to_vec(),
            flush_interval_ms: 100,
            flush_rows: 200_000,
            flush_bytes: 64 * MEBIBYTE,
            memory_bytes: 160 * MEBIBYTE,
            retry_parked_ms: 60_000,
            on_zero_date: ZeroDatePolicy::Null,
            on_nul_byte: NulBytePolicy::Remove,
            indexes: Indexes::None,
        }
    }
}
