//! A task for each test: topics and history written by the test, a configuration, child processes of the real binary.

use crate::process::Process;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::envelope::{Operation, key_schema, value_schema};
use tributary_schemas::history::{
    Cause, GenerationRecord, HistoryKey, LoadRecord, SchemaRecord, SelectedTable, SelectionRecord,
};
use tributary_schemas::key::partition;
use tributary_schemas::position::Position;
use tributary_schemas::table::{Column, Table, TableId};
use tributary_schemas::topic::{history_topic, key_subject, table_topic, value_subject};
use tributary_tests::servers::Servers;
use tributary_tests::wait_for;

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The servers; those that the tests need are started on the first call.
pub(crate) static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["kafka", "postgres"]));

/// One of their addresses and passwords.
pub(crate) fn env(name: &str) -> &'static str {
    SERVERS.get(name)
}

/// A table of the source as the test plays it.
pub(crate) struct Topic {
    pub table: Table,
    pub topic: String,
    pub generation: u32,
    pub key_schema_id: u32,
    pub value_schema_id: u32,
}

/// A row: id, and whatever columns follow as texts.
pub(crate) type Row<'a> = (i32, &'a [Option<&'a str>]);

pub(crate) struct Task {
    pub name: String,
    pub directory: PathBuf,
    producer: BaseProducer,
    selected: Vec<SelectedTable>,
    next_schema: u32,
    started: std::cell::Cell<u32>,
    /// Nobody answers a question.
    pub unanswered: std::cell::Cell<bool>,
}

fn producer(name: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", env("KAFKA_BROKERS"))
        .set("transactional.id", name)
        .set("linger.ms", "5")
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    producer
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", env("KAFKA_BROKERS")).create().unwrap()
}

fn blocking<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn column(id: u32, name: &str, declaration: &str, nullable: bool) -> Column {
    Column { nullable, ..Column::new(id, name, declaration.parse().unwrap()) }
}

impl Task {
    pub(crate) fn new(test: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let name = format!("{test}_{:x}", since.as_millis() & 0xffff_ffff);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        let producer = producer(&name);
        let task = Self {
            name,
            directory,
            producer,
            selected: Vec::new(),
            next_schema: 1,
            started: 0.into(),
            unanswered: false.into(),
        };
        task.configure("", "");
        task.create_topic(&history_topic(&task.name), 1);
        task
    }

    /// What apply's own consumers are made from.
    pub(crate) fn consumer_client(&self) -> rdkafka::ClientConfig {
        rdkafka::ClientConfig::new()
            .set("bootstrap.servers", env("KAFKA_BROKERS"))
            .set("group.id", &self.name)
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .clone()
    }

    /// Writes the configuration; `destination` and `apply` are more keys of these sections.
    pub(crate) fn configure(&self, destination: &str, apply: &str) {
        let Self { name, .. } = self;
        let text = format!(
            "name = \"{name}\"\n{}retry_minutes = 1\nsession_timeout_ms = 6000\n{}schema = \"bk_{name}\"\n\
             {}{destination}\n\
             [[table]]\nsource = \"shop.*\"\ntarget = \"{name}.{{table}}\"\n[apply]\nlisten = \"127.0.0.1:0\"\n{apply}\n",
            SERVERS.section("kafka"),
            SERVERS.section("destination"),
            if destination.contains("retry_minutes") { "" } else { "retry_minutes = 1\n" },
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Replaces the first `from` in the configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }

    /// As [`Self::configure`], with another role.
    pub(crate) fn configure_role(&self, role: &str, password: &str, apply: &str) {
        self.configure("", apply);
        self.edit(&format!("password = \"{}\"", env("PG_PASSWORD")), &format!("password = \"{password}\""));
        self.edit(&format!("user = \"{}\"", env("PG_USER")), &format!("user = \"{role}\""));
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("task.toml")
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) {
        let new =
            NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
        // A topic that was just deleted is in the way for a moment.
        wait_for("a new topic", SOON, || {
            let created = blocking(admin().create_topics([&new], &AdminOptions::new())).unwrap();
            created[0].is_ok().then_some(())
        });
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, topic: &str) {
        blocking(admin().delete_topics(&[topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    }

    /// Deletes a topic and creates it again, empty.
    pub(crate) fn recreate_topic(&mut self, topic: &str, partitions: i32) {
        self.delete_topic(topic);
        self.create_topic(topic, partitions);
        // The old producer knows the topic that is gone.
        self.producer = producer(&self.name);
    }

    /// As `capture drop` and `capture run`: everything begins anew under the old names.
    pub(crate) fn recreate(&mut self, topic: &mut Topic) {
        self.recreate_topic(&history_topic(&self.name), 1);
        topic.topic = table_topic(&self.name, &topic.table.id);
        self.recreate_topic(&topic.topic, i32::try_from(PARTITIONS).unwrap());
        let selected = self.selected.iter_mut().find(|selected| selected.id == topic.table.id).unwrap();
        selected.topic.clone_from(&topic.topic);
        (self.next_schema, topic.generation) = (1, 0);
        self.advance(topic, Cause::Initial);
        self.select();
    }

    /// As capture does where a topic cannot be used any more: the table is read anew into another.
    pub(crate) fn succeed(&mut self, topic: &mut Topic) {
        topic.topic.push_str(".r2");
        self.create_topic(&topic.topic, i32::try_from(PARTITIONS).unwrap());
        self.advance(topic, Cause::Reset);
        let selected = self.selected.iter_mut().find(|selected| selected.id == topic.table.id).unwrap();
        selected.topic.clone_from(&topic.topic);
        self.select();
    }

    /// As capture does where a table is selected no more.
    pub(crate) fn deselect(&mut self, topic: &Topic) {
        self.selected.retain(|selected| selected.id != topic.table.id);
        self.select();
    }

    fn select(&self) {
        self.transaction(|task| {
            let selection =
                SelectionRecord { format: FORMAT_VERSION, tables: task.selected.clone(), retention_ms: None };
            task.history(&HistoryKey::Selection, &selection);
        });
    }

    /// A new table `shop.<table>` (id int, name varchar(50)), defined and selected.
    pub(crate) fn table(&mut self, table: &str) -> Topic {
        let id = TableId::new("shop", table);
        let topic = table_topic(&self.name, &id);
        self.create_topic(&topic, i32::try_from(PARTITIONS).unwrap());
        let table = Table {
            id: id.clone(),
            columns: vec![column(1, "id", "int", false), column(2, "name", "varchar(50)", true)],
            key: vec![1],
            ..Table::default()
        };
        let mut new =
            Topic { table, topic: topic.clone(), generation: 0, key_schema_id: 0, value_schema_id: 0 };
        self.selected.push(SelectedTable { id, topic, partitions: PARTITIONS, excluded: None });
        self.advance(&mut new, Cause::Initial);
        self.select();
        new
    }

    /// Runs `work` in a Kafka transaction.
    pub(crate) fn transaction(&self, work: impl FnOnce(&Self)) {
        self.producer.begin_transaction().unwrap();
        work(self);
        self.producer.commit_transaction(SOON).unwrap();
    }

    /// Runs `work` in a Kafka transaction that is aborted.
    pub(crate) fn aborted(&self, work: impl FnOnce(&Self)) {
        self.producer.begin_transaction().unwrap();
        work(self);
        self.producer.flush(SOON).unwrap();
        self.producer.abort_transaction(SOON).unwrap();
    }

    pub(crate) fn history(&self, key: &HistoryKey, value: &impl serde::Serialize) {
        let (key, value) = (serde_json::to_vec(key).unwrap(), serde_json::to_vec(value).unwrap());
        self.send(&history_topic(&self.name), Some(0), Some(&key), Some(&value));
    }

    /// Sends anything anywhere.
    pub(crate) fn send(&self, topic: &str, to: Option<i32>, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.partition = to;
        record.key = key;
        record.payload = value;
        while let Err((error, returned)) = self.producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull));
            self.producer.poll(Duration::from_millis(10));
            record = returned;
        }
    }

    /// The next generation, with the table as it is now in `topic`.
    pub(crate) fn advance(&mut self, topic: &mut Topic, cause: Cause) {
        topic.generation += 1;
        let key = key_schema(&topic.topic, &topic.table).unwrap();
        let value = value_schema(&topic.topic, &topic.table, topic.generation).unwrap();
        let barrier = ends(&topic.topic);
        (topic.key_schema_id, topic.value_schema_id) = (self.next_schema, self.next_schema + 1);
        self.next_schema += 2;
        let generation = topic.generation;
        let record = GenerationRecord {
            format: FORMAT_VERSION,
            topic: topic.topic.clone(),
            generation,
            table: topic.table.clone(),
            same_as: None,
            cause,
            statement: String::new(),
            barrier,
            key_schema_id: topic.key_schema_id,
            value_schema_id: topic.value_schema_id,
            value_version: None,
            incarnation: None,
            transaction: 0,
            position: Position::default(),
        };
        let schema = |subject: String, id: u32, schema: String| {
            let record =
                SchemaRecord { subject: subject.clone(), version: generation, id, schema, deleted: false };
            (HistoryKey::Schema { subject, version: generation, magic: 1 }, record)
        };
        let schemas = [
            schema(key_subject(&topic.topic), topic.key_schema_id, key),
            schema(value_subject(&topic.topic), topic.value_schema_id, value),
        ];
        let TableId { database, table } = topic.table.id.clone();
        self.transaction(|task| {
            for (key, record) in &schemas {
                task.history(key, record);
            }
            task.history(&HistoryKey::Table { database, table, generation }, &record.stored());
        });
    }

    /// Says how far the initial load is.
    pub(crate) fn load(&self, topic: &Topic, rows: u64, complete: bool) {
        let TableId { database, table } = topic.table.id.clone();
        let record = LoadRecord { format: FORMAT_VERSION, rows_estimated: rows, rows_read: rows, complete };
        self.transaction(|task| task.history(&HistoryKey::Load { database, table }, &record));
    }

    /// One event in the current transaction; a delete with its tombstone.
    pub(crate) fn write(&self, topic: &Topic, operation: Operation, row: Row<'_>) {
        let key = topic.key(row.0);
        let to = i32::try_from(partition(&key, PARTITIONS)).unwrap();
        self.send(&topic.topic, Some(to), Some(&key), Some(&topic.value(operation, row)));
        if operation == Operation::Delete {
            self.send(&topic.topic, Some(to), Some(&key), None);
        }
    }

    /// `apply` with a command; its output goes to a file.
    pub(crate) fn start(&self, command: &[&str]) -> Process {
        self.started.set(self.started.get() + 1);
        let log = self.directory.join(format!("{:02}.log", self.started.get()));
        // What asks a person before it empties a target is answered, unless the test is about that.
        let asks = command.contains(&"--clear") && !command.contains(&"--yes") && !self.unanswered.get();
        // What only looks has an output that people read.
        let writes = ["run", "replay", "drop"].iter().any(|name| command.contains(name));
        let mut apply = Command::new(env!("CARGO_BIN_EXE_apply"));
        apply.args(command).args(asks.then_some("--yes")).arg("--config").arg(self.config());
        apply.env("RUST_LOG", if writes { crate::order::FILTER } else { "info" });
        Process::spawn(&mut apply, log)
    }

    /// `apply run --until-caught-up`, which must work.
    pub(crate) fn catch_up(&self) {
        self.start(&["run", "--until-caught-up"]).expect_exit(0);
    }

    /// Carries out `sql` in a session that stays open, in the middle of a transaction, until the process is killed.
    pub(crate) fn hold(&self, sql: &str) -> std::process::Child {
        let mut session = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", env("PG_HOST"), "-p", env("PG_PORT")])
            .args(["-U", env("PG_USER"), "-d", env("PG_DATABASE")])
            .env("PGPASSWORD", env("PG_PASSWORD"))
            .env("PGAPPNAME", &self.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(session.stdin.as_mut().unwrap(), format!("BEGIN; {sql};\n").as_bytes())
            .unwrap();
        let held = format!(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = '{}' AND state = 'idle in transaction'",
            self.name
        );
        wait_for("a session in a transaction", SOON, || self.query(&held).filter(|row| row == "1"));
        session
    }

    /// What a query gives in the destination, rows with newlines and fields with bars between; `None` if it fails.
    pub(crate) fn query(&self, sql: &str) -> Option<String> {
        self.query_as((env("PG_USER"), env("PG_PASSWORD")), sql)
    }

    /// As [`Self::query`], as the server's administrator.
    pub(crate) fn administer(&self, sql: &str) -> Option<String> {
        self.query_as(("postgres", env("PG_SUPERUSER_PASSWORD")), sql)
    }

    /// As [`Self::query`], as a role with its password.
    pub(crate) fn query_as(&self, (role, password): (&str, &str), sql: &str) -> Option<String> {
        let Output { status, stdout, .. } = Command::new("psql")
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", env("PG_HOST"), "-p", env("PG_PORT")])
            .args(["-U", role, "-d", env("PG_DATABASE"), "-c", sql])
            .env("PGPASSWORD", password)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        status.success().then(|| String::from_utf8(stdout).unwrap().trim().to_owned())
    }

    /// The rows of a target, by id.
    pub(crate) fn rows(&self, table: &str) -> String {
        self.query(&format!("SELECT * FROM \"{}\".\"{table}\" ORDER BY 1", self.name)).unwrap_or_default()
    }
}

/// Settings of a client that only asks.
pub(crate) fn client() -> ClientConfig {
    ClientConfig::new().set("bootstrap.servers", env("KAFKA_BROKERS")).set("group.id", "test").clone()
}

/// The last stable offsets of a topic.
pub(crate) fn ends(topic: &str) -> Vec<i64> {
    let consumer: BaseConsumer = client().create().unwrap();
    let end = |number: u32| {
        let number = i32::try_from(number).unwrap();
        wait_for("watermarks", SOON, || consumer.fetch_watermarks(topic, number, SOON).ok()).1
    };
    (0..PARTITIONS).map(end).collect()
}
