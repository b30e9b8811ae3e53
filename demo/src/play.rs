//! The demo from beginning to end, as a person would tell it; each part prints one line when it is done. Invariant: whatever
//! was started is in the [`Stage`], so that [`Stage::stop`] can end it at any moment.

use crate::Settings;
use crate::processes::{self, Process};
use crate::screen::{Screen, TableState};
use crate::servers::{Addresses, Servers};
use crate::shop::{self, DATABASE, TABLES, Writer, Written};
use indicatif::HumanCount;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::MissedTickBehavior;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tributary_service::Service;
use tributary_service::ask;
use tributary_service::exit::{Exit, Failure};

/// Far more than anything here takes, even on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(900);
/// How often the services are asked, and the screen is drawn.
const POLL: Duration = Duration::from_millis(200);
/// What is said to be in step lags less than this, seconds.
const LAG_LIMIT_SECONDS: f64 = 1.0;
/// Orders with a note of their own that must have arrived.
const GIFT_NOTES: u64 = 100;
/// Where people expect the pages; others are taken if these are in use.
const PORTS: [u16; 2] = [8081, 8082];
/// What goes on being written for those who look at the pages, transactions a second.
pub(crate) const KEPT_RATE: &str = "--transactions-per-second=5";

/// Everything that goes on, and how it stands.
pub(crate) struct Stage {
    /// What people see.
    pub screen: Screen,
    /// The servers of the demo's own instance.
    pub servers: Servers,
    directory: PathBuf,
    binaries: PathBuf,
    config: PathBuf,
    writer: Option<Writer>,
    written: Arc<Written>,
    processes: Vec<Process>,
    /// Where capture and apply listen.
    listen: [SocketAddr; 2],
    /// Rows that the shop has before the writer begins, in the order of the tables.
    totals: Vec<u64>,
    tables: Vec<TableState>,
}

/// What the closing lines need.
pub(crate) struct Outcome {
    addresses: Addresses,
}

impl Stage {
    /// Looks for all that is needed; nothing is started.
    pub(crate) fn new(settings: &Settings, is_terminal: bool) -> Result<Self, Failure> {
        let directory = settings.make_directory()?;
        let own = std::env::current_exe().ok().and_then(|binary| binary.parent().map(Path::to_path_buf));
        let binaries = settings.binaries.clone().or(own).unwrap_or_default();
        for name in ["capture", "apply"] {
            let binary = binaries.join(name);
            let missing = |error| Failure::new(format!("{name} is not there"), error).at(binary.display());
            std::fs::metadata(&binary).map_err(|error| missing(error).remedy("`make demo` builds it"))?;
        }
        let config = directory.join("demo.toml");
        Ok(Self {
            screen: Screen::new(is_terminal),
            servers: Servers::new(&settings.instance),
            directory,
            binaries,
            config,
            writer: None,
            written: Arc::default(),
            processes: Vec::new(),
            listen: choose_addresses()?,
            totals: Vec::new(),
            tables: Vec::new(),
        })
    }

    /// Everything up to and with the comparison.
    pub(crate) async fn play(&mut self, settings: &Settings) -> Result<Outcome, Failure> {
        let addresses = self.open_shop(settings).await?;
        let writer = Writer::start(&addresses, settings.transactions_per_second);
        self.written = Arc::clone(&writer.written);
        self.writer = Some(writer);
        self.start_services(&addresses)?;

        let loading = self.watch("the load", async |tables| Ok(in_step(tables))).await?;
        let rows = self.totals.iter().sum::<u64>();
        self.screen.tick(
            &format!("{} rows loaded, every table in step with the source", HumanCount(rows)),
            Some(loading),
        );
        let rate = HumanCount(rows * 1000 / u64::try_from(loading.as_millis()).unwrap_or(u64::MAX).max(1));
        self.watch_for(settings.watch_seconds).await?;
        let warehouse = connect(&addresses).await?;
        self.add_column(&addresses, &warehouse).await?;
        self.watch_for(settings.watch_seconds).await?;

        if let Some(writer) = self.writer.take() {
            writer.stop().await?;
        }
        let rows = shop::rows(&addresses).await?;
        let arrived = async |tables: &[TableState]| {
            let near =
                tables.iter().all(|table| table.lag_seconds.is_some_and(|lag| lag < LAG_LIMIT_SECONDS));
            Ok(in_step(tables) && near && warehouse_rows(&warehouse).await? == rows)
        };
        let drained = self.watch("the last change", arrived).await?;
        self.screen.tick("the live writer has stopped, the warehouse has all it wrote", Some(drained));
        self.screen.close();
        self.verify().await?;
        let peak = HumanCount(self.screen.peak);
        self.screen.say(&format!(
            "\n  first load   {rate} rows/s, at the peak {peak}, while the shop was written to"
        ));
        self.screen.say(&format!("  live writer  {}", self.written.line()));
        Ok(Outcome { addresses })
    }

    async fn open_shop(&mut self, settings: &Settings) -> Result<Addresses, Failure> {
        let stopped = processes::stop_left(&self.directory).await?;
        if !stopped.is_empty() {
            self.screen.tick(&format!("stopped what an earlier demo left: {}", stopped.join(", ")), None);
        }
        let step =
            self.screen.begin("resetting and starting the demo's own MySQL, Kafka and PostgreSQL", None);
        let addresses = self.servers.start_anew().await?;
        self.screen.done(step, "MySQL, Kafka and PostgreSQL are up, all empty");
        self.fill_shop(settings, &addresses).await?;
        Ok(addresses)
    }

    async fn fill_shop(&mut self, settings: &Settings, addresses: &Addresses) -> Result<(), Failure> {
        let expected = shop::rows_at(settings.size_percent);
        let step = self.screen.begin("filling the shop", Some(expected));
        let filled = Arc::new(AtomicU64::new(0));
        let mut fill = std::pin::pin!(shop::fill(addresses, settings.size_percent, &filled));
        let mut beat = tokio::time::interval(POLL);
        loop {
            tokio::select! {
                result = &mut fill => break result?,
                _ = beat.tick() => step.0.set_position(filled.load(Ordering::Relaxed)),
            }
        }
        self.totals = shop::rows(addresses).await?;
        let rows = HumanCount(self.totals.iter().sum());
        self.screen
            .done(step, &format!("a shop of {rows} rows in {} tables, every column type", TABLES.len()));
        Ok(())
    }

    fn start_services(&mut self, addresses: &Addresses) -> Result<(), Failure> {
        let written = std::fs::write(&self.config, config(addresses, self.listen));
        written.map_err(|error| {
            Failure::new("the configuration cannot be written", error).at(self.config.display())
        })?;
        let config = self.config.to_string_lossy().into_owned();
        for (name, address) in ["capture", "apply"].into_iter().zip(self.listen) {
            let arguments = ["run", "--config", &config];
            self.processes.push(Process::start(
                name,
                &self.binaries.join(name),
                &arguments,
                &self.directory,
            )?);
            self.screen.tick(&format!("{name} runs, see http://{address}/"), None);
        }
        Ok(())
    }

    async fn add_column(&mut self, addresses: &Addresses, warehouse: &Client) -> Result<(), Failure> {
        let altering = Instant::now();
        shop::add_gift_note(addresses).await?;
        let altered = "ALTER TABLE orders ADD COLUMN gift_note …, while orders come in";
        self.screen.tick(altered, Some(altering.elapsed()));
        self.writer.iter().for_each(Writer::begin_gift_notes);
        let notes = format!("SELECT count(*) FROM {DATABASE}.orders WHERE gift_note <> 'none'");
        let column =
            self.watch("the new column", async |_| Ok(count(warehouse, &notes).await?.is_some())).await?;
        self.screen.tick("the warehouse has the column", Some(column));
        let many = async |_: &[TableState]| Ok(count(warehouse, &notes).await? >= Some(GIFT_NOTES));
        let values = self.watch("values of the new column", many).await?;
        self.screen.tick(&format!("{GIFT_NOTES} orders there have a note of their own"), Some(values));
        Ok(())
    }

    /// Watches until `is_done` says so, which is asked after every look; an error as soon as something that should run
    /// does not.
    async fn watch(
        &mut self,
        what: &str,
        mut is_done: impl AsyncFnMut(&[TableState]) -> Result<bool, Failure>,
    ) -> Result<Duration, Failure> {
        let from = Instant::now();
        let mut beat = tokio::time::interval(POLL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            self.look().await?;
            if is_done(&self.tables).await? {
                return Ok(from.elapsed());
            }
            if from.elapsed() > LIMIT {
                let why = format!("{what} did not come within {} s", LIMIT.as_secs());
                return Err(
                    Failure::new("the demo waits for ever", why).at(self.directory.join("*.log").display())
                );
            }
        }
    }

    async fn watch_for(&mut self, seconds: u64) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(seconds);
        self.watch("the time", async |_| Ok(Instant::now() >= until)).await.map(drop)
    }

    async fn look(&mut self) -> Result<(), Failure> {
        for process in &mut self.processes {
            process.check()?;
        }
        if self.writer.as_ref().is_some_and(Writer::has_ended)
            && let Some(writer) = self.writer.take()
        {
            writer.stop().await?;
        }
        let [capture, apply] = self.listen.map(|address| address.to_string());
        // One that does not answer yet may still be starting.
        let (capture, apply) =
            tokio::join!(ask::fetch(&capture, Service::Capture), ask::fetch(&apply, Service::Apply));
        let document = |answer: Result<(SocketAddr, serde_json::Value), String>| {
            answer.ok().map(|(_, document)| document)
        };
        let (capture, apply) = (document(capture), document(apply));
        if capture.is_some() && apply.is_some() {
            self.tables =
                TABLES.iter().map(|table| TableState::of(table, capture.as_ref(), apply.as_ref())).collect();
        }
        self.screen.draw(&self.totals, &self.tables, &self.written);
        let stopped =
            self.tables.iter().zip(TABLES).find_map(|(table, name)| Some((name, table.stopped.clone()?)));
        stopped.map_or(Ok(()), |(table, why)| {
            let logs = self.directory.join("*.log");
            Err(Failure::new(format!("table {table} does not go on"), why).at(logs.display()))
        })
    }

    /// On the terminal itself: what it prints is part of the demo.
    async fn verify(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        self.screen.say("\n  apply verify, every table, source against warehouse:");
        let binary = self.binaries.join("apply");
        let mut command = Command::new(&binary);
        command
            .arg("verify")
            .arg("--config")
            .arg(&self.config)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await;
        match status.as_ref().map(std::process::ExitStatus::code) {
            Ok(Some(0)) => {
                self.screen.tick("no difference", Some(began.elapsed()));
                Ok(())
            }
            Ok(Some(3)) => {
                Err(Failure::new("source and warehouse differ", "see above").exit(Exit::Differences))
            }
            _ => Err(Failure::new("the comparison failed", format!("{status:?}, see above"))),
        }
    }

    /// Leaves everything running, with a slow writer so that the pages live; says what that is, and how to end it.
    pub(crate) fn keep(
        &mut self,
        settings: &Settings,
        Outcome { addresses }: &Outcome,
    ) -> Result<(), Failure> {
        let binary = std::env::current_exe().unwrap_or_else(|_| "demo".into());
        let directory = self.directory.to_string_lossy().into_owned();
        let arguments = ["write", "--instance", &settings.instance, "--directory", &directory, KEPT_RATE];
        self.processes.push(Process::start("writer", &binary, &arguments, &self.directory)?);
        let get = |name: &str| addresses.get(name);
        let here = std::env::current_dir().unwrap_or_default();
        let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
        let (apply_binary, config) = (short(&self.binaries.join("apply")), short(&self.config));
        let (logs, [capture, apply]) = (short(&self.directory.join("*.log")), self.listen);
        let mysql = format!(
            "mysql -h{} -P{} -uroot -p{}",
            get("MYSQL_HOST"),
            get("MYSQL_PORT"),
            get("MYSQL_ROOT_PASSWORD")
        );
        let (user, password, host, port) =
            (get("PG_USER"), get("PG_PASSWORD"), get("PG_HOST"), get("PG_PORT"));
        self.screen.say(&format!(
            "\n  Still running, with a few orders a second, for you to look at and play with:\n    \
               pages      http://{capture}/  http://{apply}/\n    \
               status     {apply_binary} status --config {config}\n    \
               compare    {apply_binary} verify --config {config}\n    \
               source     {mysql} {DATABASE}\n    \
               warehouse  psql postgresql://{user}:{password}@{host}:{port}/{}\n    \
               Kafka      kcat -b {} -L\n    \
               logs       {logs}\n\n  Stop all of it: {}",
            get("PG_DATABASE"),
            get("KAFKA_BROKERS"),
            settings.down_command()
        ));
        Ok(())
    }

    /// Ends all that was started but the servers; the first failure is returned after everything was tried.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        // Dropped, not waited for: its server may be what failed.
        self.writer = None;
        let mut result = Ok(());
        while let Some(mut process) = self.processes.pop() {
            result = result.and(process.stop().await);
        }
        result
    }
}

fn in_step(tables: &[TableState]) -> bool {
    !tables.is_empty() && tables.iter().all(|table| table.in_step)
}

async fn connect(addresses: &Addresses) -> Result<Client, Failure> {
    let get = |name: &str| addresses.get(name);
    let connecting = tokio_postgres::Config::new()
        .host(get("PG_HOST"))
        .port(get("PG_PORT").parse().unwrap_or_default())
        .dbname(get("PG_DATABASE"))
        .user(get("PG_USER"))
        .password(get("PG_PASSWORD"))
        .connect(NoTls)
        .await;
    let (client, connection) =
        connecting.map_err(|error| Failure::new("the warehouse cannot be reached", error))?;
    // It ends with the client, and what goes wrong with it is the client's next error.
    tokio::spawn(connection);
    Ok(client)
}

/// `None` if the table or column is not there yet.
async fn count(warehouse: &Client, sql: &str) -> Result<Option<u64>, Failure> {
    match warehouse.query_one(sql, &[]).await.and_then(|row| row.try_get::<_, i64>(0)) {
        Ok(rows) => Ok(Some(rows.cast_unsigned())),
        Err(error)
            if matches!(error.code(), Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN)) =>
        {
            Ok(None)
        }
        Err(error) => Err(Failure::new("rows of the warehouse cannot be counted", error)),
    }
}

/// Rows of every table, in the order of [`TABLES`].
async fn warehouse_rows(warehouse: &Client) -> Result<Vec<u64>, Failure> {
    let mut rows = Vec::new();
    for table in TABLES {
        rows.push(
            count(warehouse, &format!("SELECT count(*) FROM {DATABASE}.{table}")).await?.unwrap_or_default(),
        );
    }
    Ok(rows)
}

/// Chooses where the two listen. Both are held until both are chosen, so that they differ.
fn choose_addresses() -> Result<[SocketAddr; 2], Failure> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listeners = PORTS.map(|port| bind(port).or_else(|_| bind(0)));
    let [capture, apply] =
        listeners.map(|listener| listener.and_then(|listener| Ok((listener.local_addr()?, listener))));
    let failed = |error| Failure::new("no port of 127.0.0.1 can be had", error);
    let (capture, apply) = (capture.map_err(failed)?, apply.map_err(failed)?);
    Ok([capture.0, apply.0])
}

/// The configuration of both services.
fn config(addresses: &Addresses, [capture, apply]: [SocketAddr; 2]) -> String {
    let get = |name: &str| addresses.get(name);
    format!(
        r#"# Written by `make demo` for this run.
name = "demo"

[source]
host = "{}"
port = {}
user = "reader"
password = "{}"

[kafka]
brokers = "{}"

[destination]
host = "{}"
port = {}
database = "{}"
user = "{}"
password = "{}"

[capture]
listen = "{capture}"

[apply]
listen = "{apply}"

[[table]]
source = "{DATABASE}.*"
"#,
        get("MYSQL_HOST"),
        get("MYSQL_PORT"),
        get("MYSQL_READER_PASSWORD"),
        get("KAFKA_BROKERS"),
        get("PG_HOST"),
        get("PG_PORT"),
        get("PG_DATABASE"),
        get("PG_USER"),
        get("PG_PASSWORD"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_config::{Config, unsupported, validate};

    #[test]
    fn the_config_is_one_that_the_services_accept() {
        let listen = choose_addresses().unwrap();
        assert_ne!(listen[0], listen[1]);
        let config: Config = toml::from_str(&config(&crate::servers::tests::sample(), listen)).unwrap();
        assert_eq!(validate(&config), []);
        assert_eq!(unsupported(&config), []);
        assert_eq!(config.source.unwrap().password.reveal(), "s=e");
    }
}
