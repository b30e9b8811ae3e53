//! The configuration file as types. TOML enters through `service::load`, which adds file and
//! line to what is wrong; what leaves is a [`Config`] whose every key is known and whose names have been checked.
//!
//! Defaults are given here once; `service::keys` explains each key, and a test keeps the two in step.

mod check;
mod constants;
mod rules;
mod secret;
mod selector;
mod servers;
mod services;
mod shadow;
mod task;

pub use check::{ConfigIssue, unsupported, validate};
pub use constants::{Constant, ConstantError, ConstantValue};
pub use rules::{RuleConflict, TableRules, TableSelection, TargetError, TargetSchemas};
pub use secret::Secret;
pub use selector::{SelectorError, TableSelector};
pub use servers::{
    BeforeImages, Delivery, DestinationConfig, KafkaConfig, RegistryConfig, SourceConfig, TlsConfig, TlsMode,
    TopicsConfig,
};
pub use services::{
    AllowedOperation, ApplyConfig, CaptureConfig, ColumnRules, ExistingData, Indexes, NulBytePolicy, Storage,
    TableRule, ZeroDatePolicy,
};
pub use task::{TaskName, TaskNameError};

use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The task: prefix of the topics, transactional id, names of the consumer groups.
    pub name: TaskName,
    /// Tasks whose topics an apply-only task reads; empty for a task that has its own source.
    #[serde(default)]
    pub from: Vec<TaskName>,
    /// A table that cannot be replicated stops the task. Default false: it is left out and shown with its remedy.
    #[serde(default)]
    pub strict: bool,
    /// The MySQL server that is read; `None` where the file has no such section.
    #[serde(default)]
    pub source: Option<SourceConfig>,
    /// The Kafka cluster between the two services.
    pub kafka: KafkaConfig,
    /// Where schemas are registered.
    #[serde(default)]
    pub registry: RegistryConfig,
    /// How topics are created and written.
    #[serde(default)]
    pub topics: TopicsConfig,
    /// The warehouse that is written; `None` where the file has no such section.
    #[serde(default)]
    pub destination: Option<DestinationConfig>,
    /// What `capture` does.
    #[serde(default)]
    pub capture: CaptureConfig,
    /// What `apply` does.
    #[serde(default)]
    pub apply: ApplyConfig,
    /// `[[table]]`: what is replicated, and into what.
    #[serde(default, rename = "table")]
    pub tables: Vec<TableRule>,
}

impl Config {
    /// The tasks whose topics apply reads: those of `from`, or else the task itself.
    #[must_use]
    pub fn origins(&self) -> &[TaskName] {
        if self.from.is_empty() { std::slice::from_ref(&self.name) } else { &self.from }
    }

    /// True for a task that has no capture of its own: its topics are other tasks'.
    #[must_use]
    pub const fn is_apply_only(&self) -> bool {
        !self.from.is_empty()
    }

    /// What people call the table `database.table` of the task `origin`: with the task in front where several are read.
    #[must_use]
    pub fn label(&self, origin: &str, table: impl Display) -> String {
        if self.from.len() > 1 { format!("{origin}:{table}") } else { table.to_string() }
    }
}
