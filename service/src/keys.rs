//! Every key of the configuration: what it takes, its default and unit, and one line about it. Checking, suggestions
//! for misspelt keys, environment variables and `config print` all read this table; a test proves that it and the
//! types of `tributary_config` name the same keys with the same defaults.

mod print;

pub use print::print;
pub(crate) use print::{describe, words};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string that is never shown.
    Secret,
    /// A task's name.
    Task,
    /// A file; relative to the configuration file.
    File,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A list of strings.
    TextList,
    /// A list of tasks' names.
    TaskList,
    /// A list of some words.
    ChoiceList(&'static [&'static str]),
    /// A table of strings under free keys.
    TextMap,
    /// A table of strings under free keys whose values are never shown.
    SecretMap,
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It must not be, with an example; in a section that is left out as a whole it may.
    Required(&'static str),
    /// A default, as TOML.
    Default(&'static str),
    /// Something that follows from other keys or servers, in words, with an example.
    Derived(&'static str, &'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Full path; `table[]` stands for each `[[table]]`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub absent: Absent,
    /// Unit of a number; empty for none.
    pub unit: &'static str,
    /// What it is for.
    pub about: &'static str,
}

use Absent::{Default, Derived, Required};
use Kind::{
    Boolean, Choice, ChoiceList, File, Integer, Secret, SecretMap, Task, TaskList, Text, TextList, TextMap,
};

const fn key(path: &'static str, kind: Kind, absent: Absent, unit: &'static str, about: &'static str) -> Key {
    Key { path, kind, absent, unit, about }
}

const PORT: Kind = Integer(1, 65_535);
/// A week: longer than anybody leaves a dead server.
const RETRY: Kind = Integer(0, 7 * 24 * 60);
const TLS_MODES: &[&str] = &["disable", "require", "verify-ca", "verify-full"];
const OPERATIONS: &[&str] = &["insert", "update", "delete", "alter"];
const EXISTING_DATA: &[&str] = &["refuse", "clear", "append"];
const INDEXES: &[&str] = &["none", "plain"];
const TIME_MS: Kind = Integer(1, 3_600_000);
const MEMORY: Kind = Integer(16 * MIB, 1024 * 1024 * MIB);
const MIB: i64 = 1024 * 1024;

/// One line about each section, in the order they are printed.
pub const SECTIONS: &[(&str, &str)] = &[
    ("source", "The MySQL or PolarDB server that is read. The primary endpoint: a replica may lag."),
    ("kafka", "The Kafka cluster between capture and apply."),
    ("registry", "Where schemas are registered."),
    ("topics", "How capture creates and writes topics."),
    ("destination", "The PostgreSQL-compatible warehouse that is written."),
    ("capture", "What `capture` does."),
    ("apply", "What `apply` does."),
    ("table[]", "What is replicated, and into what; a table follows the one rule that names or matches it."),
];

/// Every key, in the order it is printed.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("name", Task, Required("\"shop\""), "", "The task: prefix of its topics, transactional.id, consumer groups <name> and <name>.capture."),
    key("from", TaskList, Default("[]"), "", "The tasks whose topics an apply-only task reads; it has no [source] and no capture then."),
    key("strict", Boolean, Default("false"), "", "Stop when a table cannot be replicated, instead of leaving it out and showing its remedy."),

    key("source.host", Text, Required("\"127.0.0.1\""), "", "Host name or address."),
    key("source.port", PORT, Default("3306"), "", "TCP port."),
    key("source.user", Text, Required("\"reader\""), "", "Account; `capture check --print-grants` prints the SQL for what it needs."),
    key("source.password", Secret, Default("\"\""), "", "Its password."),
    key("source.tls.mode", Choice(TLS_MODES), Default("\"disable\""), "", "What encryption must achieve, in the words of libpq's sslmode."),
    key("source.tls.ca", File, Derived("the system's authorities", "\"ca.pem\""), "", "PEM file of the authorities that may have signed the server's certificate."),
    key("source.tls.cert", File, Derived("none", "\"client.pem\""), "", "PEM file with a client certificate."),
    key("source.tls.key", File, Derived("none", "\"client.key\""), "", "PEM file with the client certificate's key."),
    key("source.retry_minutes", RETRY, Default("720"), "minutes", "How long a server that is away is waited for; 0: at once an error."),
    key("source.server_id", Integer(1, 4_294_967_295), Derived("from the task's name", "4711"), "", "Replica id shown to the server; unique among its replicas."),
    key("source.heartbeat_ms", Integer(100, 600_000), Default("1000"), "milliseconds", "How often the server says that it lives while its binlog is quiet."),
    key("source.read_deadline_ms", Integer(1_000, 3_600_000), Default("20000"), "milliseconds", "How long the stream may be silent before its connection is taken for dead."),
    key("source.connect_timeout_ms", Integer(100, 600_000), Default("10000"), "milliseconds", "How long one attempt to connect may take."),

    key("kafka.brokers", Text, Required("\"127.0.0.1:9092\""), "", "Bootstrap servers, host:port separated by commas."),
    key("kafka.retry_minutes", RETRY, Default("720"), "minutes", "How long a cluster that is away is waited for; 0: at once an error."),
    key("kafka.session_timeout_ms", Integer(6_000, 300_000), Default("10000"), "milliseconds", "How long an instance may be silent before another takes over its work."),
    key("kafka.client", SecretMap, Default("{}"), "", "Properties of librdkafka, such as \"security.protocol\"; those that exactly-once rests on are refused."),

    key("registry.url", Text, Derived("schemas are in the history topic", "\"http://127.0.0.1:8085\""), "", "A Confluent-compatible registry to use instead of the one each service serves."),

    key("topics.partitions", Integer(1, 10_000), Default("4"), "", "Partitions of a table's topic; never changes for a topic that exists."),
    key("topics.replication_factor", Integer(1, 100), Default("1"), "", "Copies of each partition; 3 in production."),
    key("topics.before", Choice(&["none", "full"]), Default("\"none\""), "", "Whether events carry the old row; some readers, such as Flink, need \"full\"."),
    key("topics.delivery", Choice(&["exactly-once", "at-least-once"]), Default("\"exactly-once\""), "", "\"at-least-once\" is for brokers without transactions."),
    key("topics.max_message_bytes", Integer(65_536, 1_000_000_000), Default("33554432"), "bytes", "Largest record; a larger row parks its table. The broker must allow it."),
    key("topics.retention_hours", Integer(1, 87_600), Default("168"), "hours", "How long every single change, and every delete, stays in a topic."),

    key("destination.host", Text, Required("\"127.0.0.1\""), "", "Host name or address."),
    key("destination.port", PORT, Default("5432"), "", "TCP port."),
    key("destination.database", Text, Required("\"dw\""), "", "Database."),
    key("destination.user", Text, Required("\"loader\""), "", "Role; `apply check --print-grants` prints the SQL for what it needs."),
    key("destination.password", Secret, Default("\"\""), "", "Its password."),
    key("destination.tls.mode", Choice(TLS_MODES), Default("\"disable\""), "", "What encryption must achieve, in the words of libpq's sslmode."),
    key("destination.tls.ca", File, Derived("the system's authorities", "\"ca.pem\""), "", "PEM file of the authorities that may have signed the server's certificate."),
    key("destination.tls.cert", File, Derived("none", "\"client.pem\""), "", "PEM file with a client certificate."),
    key("destination.tls.key", File, Derived("none", "\"client.key\""), "", "PEM file with the client certificate's key."),
    key("destination.retry_minutes", RETRY, Default("720"), "minutes", "How long a server that is away is waited for; 0: at once an error."),
    key("destination.connections", Integer(1, 256), Default("4"), "", "Merges that may run at the same time."),
    key("destination.schema", Text, Default("\"tributary\""), "", "Schema for offsets, arrivals and staging tables."),
    key("destination.lock_timeout_ms", TIME_MS, Default("30000"), "milliseconds", "How long a statement waits for a lock before its transaction is tried again."),
    key("destination.connect_timeout_ms", Integer(100, 600_000), Default("10000"), "milliseconds", "How long one attempt to connect may take."),

    key("capture.listen", Text, Default("\"127.0.0.1:8081\""), "", "Address of status, metrics and registry; port 0 is any."),
    key("capture.tables", TextList, Default("[]"), "", "Captured tables, as in [\"shop.*\", \"!shop.tmp_*\"]; empty: what [[table]] names."),
    key("capture.exclude_columns", TextList, Default("[]"), "", "Columns that never reach Kafka, as in [\"shop.users.ssn\"]."),
    key("capture.keys", TextMap, Default("{}"), "", "By table, the index that is its key: unique, of NOT NULL columns. Left out: the key it had, the primary key, or the only other such index."),
    key("capture.readers", Integer(1, 64), Default("4"), "", "Connections that read tables at the same time."),
    key("capture.online_ddl_tables", Boolean, Default("false"), "", "Patterns match the tables in which gh-ost, pt-online-schema-change and DMS work, too; else only exact names do."),
    key("capture.start_at", Text, Derived("tables are read first", "\"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5\""), "", "GTID set to start at, to take over tables that another tool has loaded."),
    key("capture.chunk_bytes", Integer(65_536, 1024 * MIB), Default("4194304"), "bytes", "Size aimed at when a table is read in chunks."),
    key("capture.commit_interval_ms", Integer(1, 60_000), Default("100"), "milliseconds", "How long a Kafka transaction stays open; the latency of a quiet task."),
    key("capture.commit_bytes", Integer(65_536, 4096 * MIB), Default("67108864"), "bytes", "Size at which a Kafka transaction is committed at once."),
    key("capture.transaction_timeout_ms", Integer(1_000, 900_000), Default("60000"), "milliseconds", "Age at which the broker aborts what a dead leader left open."),
    key("capture.memory_bytes", MEMORY, Default("536870912"), "bytes", "Bound on rows and keys held in memory."),

    key("apply.listen", Text, Default("\"127.0.0.1:8082\""), "", "Address of status, metrics and registry; port 0 is any."),
    key("apply.existing_data", Choice(EXISTING_DATA), Default("\"refuse\""), "", "What to do with a target table that has rows before its first load."),
    key("apply.operations", ChoiceList(OPERATIONS), Default("[\"insert\", \"update\", \"delete\", \"alter\"]"), "", "What is applied."),
    key("apply.flush_interval_ms", Integer(1, 600_000), Default("100"), "milliseconds", "Age at which a small batch is merged; the latency of a quiet task."),
    key("apply.flush_rows", Integer(1, 100_000_000), Default("200000"), "rows", "Rows at which a table's batch is merged."),
    key("apply.flush_bytes", Integer(65_536, 65_536 * MIB), Default("67108864"), "bytes", "Size at which a table's batch is merged."),
    key("apply.memory_bytes", MEMORY, Default("167772160"), "bytes", "Bound on records held in memory, over all tables."),
    key("apply.retry_parked_ms", Integer(1_000, 3_600_000), Default("60000"), "milliseconds", "How often a parked table is tried again whose reason a person may have mended on the destination."),
    key("apply.on_zero_date", Choice(&["null", "clamp", "fail"]), Default("\"null\""), "", "What becomes of a zero or partial date; \"fail\" parks the table."),
    key("apply.on_nul_byte", Choice(&["remove", "replace", "fail"]), Default("\"remove\""), "", "What becomes of a NUL byte in a text; \"fail\" parks the table."),
    key("apply.indexes", Choice(INDEXES), Default("\"none\""), "", "Whether the source's secondary indexes are created, as plain ones."),

    key("table[].source", Text, Required("\"shop.orders\""), "", "database.table, with * for any run of characters; an exact name beats a pattern. With `from` also task:database.table."),
    key("table[].target", Text, Derived("{database}.{table}", "\"{database}.{table}\""), "", "schema.table, with {task} (the one that captures the table), {database} and {table}."),
    key("table[].distributed_by", TextList, Derived("the primary key", "[\"id\"]"), "", "Distribution key on an MPP destination."),
    key("table[].storage", Choice(&["heap", "column"]), Default("\"heap\""), "", "Row or column storage on an MPP destination."),
    key("table[].columns.drop", TextList, Default("[]"), "", "Columns the target does not get."),
    key("table[].columns.rename", TextMap, Default("{}"), "", "Source column = target column."),
    key("table[].indexes", Choice(INDEXES), Derived("apply.indexes", "\"plain\""), "", "As apply.indexes, for these tables."),
    key("table[].constants", TextMap, Default("{}"), "", "Column of the target = its value in every row of a source table, with {task}, {database}, {table}, or a part as in \"{database:shop_(\\\\d+)}\"; a bigint with :int at the end."),
    key("table[].primary_key", TextList, Default("[]"), "", "The target's key: the source's, and constants, which tell the tables of a shared target apart; empty: the source's."),
    key("table[].operations", ChoiceList(OPERATIONS), Derived("apply.operations", "[\"insert\", \"update\"]"), "", "As apply.operations, for these tables."),
    key("table[].existing_data", Choice(EXISTING_DATA), Derived("apply.existing_data", "\"append\""), "", "As apply.existing_data, for these tables."),
];

/// The key of this path, in which `[]` stands for an index.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// What a path that is no key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// Keys below it.
    Section,
    /// Keys below each element of a list.
    List,
}

/// Whether keys lie below `path`.
#[must_use]
pub fn branch(path: &str) -> Option<Branch> {
    let below = |tail: &str| {
        KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(tail)))
    };
    if below(".") {
        Some(Branch::Section)
    } else if below("[].") {
        Some(Branch::List)
    } else {
        None
    }
}

/// The known key or section that `path` was most likely meant to be; `None` if none is near.
#[must_use]
pub fn nearest(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut best: Option<(usize, String)> = None;
    for candidate in paths() {
        let (candidate_parent, candidate_name) = candidate.rsplit_once('.').unwrap_or(("", &candidate));
        let plain = candidate_name.trim_end_matches("[]");
        let distance = strsim::damerau_levenshtein(name, plain);
        // A third of the letters may be wrong; a word that begins another ("rows" for "rows_read") is near too.
        let begins =
            name.len() >= 4 && (plain.starts_with(name) || name.starts_with(plain) && plain.len() >= 4);
        if distance > name.chars().count().div_ceil(3) && !begins {
            continue;
        }
        // The same section comes before another one, whatever the distance.
        let score = distance + if candidate_parent == parent { 0 } else { 100 };
        if best.as_ref().is_none_or(|(least, _)| score < *least) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, path)| path)
}

/// The names that may stand directly in the section `parent`.
#[must_use]
pub fn names_in(parent: &str) -> Vec<String> {
    let names = paths().into_iter().filter_map(|path| {
        let (section, name) = path.rsplit_once('.').unwrap_or(("", &path));
        (section == parent).then(|| name.trim_end_matches("[]").to_owned())
    });
    names.collect()
}

/// Every key and section, in order, each once.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for key in KEYS {
        let ends = key.path.match_indices('.').map(|(end, _)| end).chain([key.path.len()]);
        for path in ends.filter_map(|end| key.path.get(..end)) {
            if !paths.iter().any(|known| known == path) {
                paths.push(path.to_owned());
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_in_the_section_first_and_elsewhere_then() {
        assert_eq!(nearest("source.hots").as_deref(), Some("source.host"));
        assert_eq!(nearest("destination.hots").as_deref(), Some("destination.host"));
        assert_eq!(nearest("topics.readers").as_deref(), Some("capture.readers"));
        assert_eq!(nearest("tables").as_deref(), Some("table[]"));
        assert_eq!(nearest("sorce").as_deref(), Some("source"));
        assert_eq!(nearest("table[].distribute_by").as_deref(), Some("table[].distributed_by"));
        assert_eq!(nearest("source.zzzzzz"), None);
    }

    #[test]
    fn branches_are_told_from_keys() {
        assert_eq!(branch("source"), Some(Branch::Section));
        assert_eq!(branch("source.tls"), Some(Branch::Section));
        assert_eq!(branch("table"), Some(Branch::List));
        assert_eq!(branch("table[].columns"), Some(Branch::Section));
        assert_eq!(branch("name"), None);
        assert_eq!(branch("sour"), None);
        assert!(find("kafka.client").is_some() && find("kafka").is_none());
        assert!(names_in("kafka").contains(&"client".to_owned()));
        assert!(names_in("").contains(&"table".to_owned()));
    }
}
