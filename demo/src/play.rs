//! The demo from beginning to end, as a person would tell it. Each part prints one line when it is done.

use crate::error::DemoError;
use crate::format::{count, duration, rate};
use crate::load;
use crate::progress::{Progress, written_line};
use crate::servers::{Addresses, Servers};
use crate::services::{self, Service};
use crate::settings::Settings;
use crate::shop::{Size, Table};
use crate::stage::Stage;
use crate::warehouse::{self, Warehouse};
use crate::writer::{LiveWriter, Written};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Far more than a load takes, even on a machine that does other things.
const LOAD_LIMIT: Duration = Duration::from_secs(900);
/// The same for a change to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(120);
/// How often a count on the screen moves.
const SHOW: Duration = Duration::from_millis(100);
/// What is said to be in step lags less than this, seconds.
const LAG_LIMIT_SECONDS: f64 = 1.0;
/// Orders with a note of their own that must have arrived.
const GIFT_NOTES: u64 = 100;

/// What the closing lines tell.
#[derive(Debug)]
pub struct Outcome {
    addresses: Addresses,
    written: Written,
    loading: Duration,
    loaded: u64,
    peak: u64,
    /// From the ALTER's end at the source until the warehouse had the column.
    column: Duration,
    /// From the last change at the source until the warehouse had it.
    drained: Duration,
}

/// Everything up to and with the comparison.
pub async fn play(stage: &mut Stage, settings: &Settings, servers: &Servers) -> Result<Outcome, DemoError> {
    let binaries = settings.find_binaries()?;
    let size = Size::percent(settings.size_percent);
    let addresses = open_shop(stage, size, servers).await?;
    stage.add_writer(LiveWriter::start(&addresses, size, settings.transactions_per_second));
    start_services(stage, &binaries, &addresses)?;

    let loaded = size.all_rows();
    let loading = stage.watch("the load", LOAD_LIMIT, async |progress| Ok(progress.in_step())).await?;
    let peak = stage.progress.peak();
    stage
        .view
        .tick(&format!("{} rows loaded, every table in step with the source", count(loaded)), Some(loading));

    let watch = Duration::from_secs(settings.watch_seconds);
    stage.watch_for(watch).await?;
    let warehouse = Warehouse::connect(&addresses).await?;
    let column = add_column(stage, &addresses, &warehouse).await?;
    stage.watch_for(watch).await?;

    let written = stage.stop_writer().await?;
    let rows = warehouse::source_rows(&addresses).await?;
    let drained = stage
        .watch("the last change", ARRIVAL_LIMIT, async |progress| {
            Ok(is_drained(progress) && warehouse.rows().await? == rows)
        })
        .await?;
    stage.view.tick("the live writer has stopped, the warehouse has all it wrote", Some(drained));
    stage.view.close();
    verify(stage, &binaries).await?;
    Ok(Outcome { addresses, written, loading, loaded, peak, column, drained })
}

async fn open_shop(stage: &mut Stage, size: Size, servers: &Servers) -> Result<Addresses, DemoError> {
    let stopped = services::stop_left(&stage.directory).await?;
    if !stopped.is_empty() {
        stage.view.tick(&format!("stopped the {} of an earlier demo", stopped.join(" and the ")), None);
    }
    let step = stage.view.begin("resetting and starting the demo's own MySQL, Kafka and PostgreSQL", None);
    let addresses = servers.start_anew().await?;
    stage.view.done(step, "MySQL, Kafka and PostgreSQL are up, all empty");

    fill_shop(stage, size, &addresses).await?;
    Ok(addresses)
}

async fn fill_shop(stage: &Stage, size: Size, addresses: &Addresses) -> Result<(), DemoError> {
    let step = stage.view.begin("filling the shop", Some(size.all_rows()));
    load::create(addresses).await?;
    let loaded = Arc::new(AtomicU64::new(0));
    let mut fill = std::pin::pin!(load::fill(addresses, size, &loaded));
    let mut beat = tokio::time::interval(SHOW);
    loop {
        tokio::select! {
            result = &mut fill => break result?,
            _ = beat.tick() => step.set(loaded.load(Ordering::Relaxed)),
        }
    }
    let rows = count(loaded.load(Ordering::Relaxed));
    stage.view.done(step, &format!("a shop of {rows} rows in {} tables", Table::ALL.len()));
    Ok(())
}

fn start_services(stage: &mut Stage, binaries: &Path, addresses: &Addresses) -> Result<(), DemoError> {
    let listen = services::choose_addresses()?;
    let config = services::config_path(&stage.directory);
    std::fs::write(&config, services::config(addresses, listen)).map_err(DemoError::io("write", &config))?;
    stage.begin();
    for (name, address) in services::NAMES.into_iter().zip(listen) {
        let service = Service::start(name, address, binaries, &config)?;
        stage.view.tick(&format!("{name} runs, see http://{address}/"), None);
        stage.services.push(service);
    }
    Ok(())
}

async fn add_column(
    stage: &mut Stage,
    addresses: &Addresses,
    warehouse: &Warehouse,
) -> Result<Duration, DemoError> {
    let altering = Instant::now();
    warehouse::add_gift_note(addresses).await?;
    stage
        .view
        .tick("ALTER TABLE orders ADD COLUMN gift_note …, while orders come in", Some(altering.elapsed()));
    if let Some(writer) = &stage.writer {
        writer.begin_gift_notes();
    }
    let arrived = stage
        .watch("the new column", ARRIVAL_LIMIT, async |_| warehouse.has_column("gift_note").await)
        .await?;
    stage.view.tick("the warehouse has the column", Some(arrived));
    let mut notes = 0;
    let values = stage
        .watch("values of the new column", ARRIVAL_LIMIT, async |_| {
            notes = warehouse.gift_notes().await?;
            Ok(notes >= GIFT_NOTES)
        })
        .await?;
    stage.view.tick(&format!("{} orders there have a note of their own", count(notes)), Some(values));
    Ok(arrived)
}

fn is_drained(progress: &Progress) -> bool {
    progress.in_step() && progress.lag_seconds().is_none_or(|lag| lag < LAG_LIMIT_SECONDS)
}

/// On the terminal itself: what it prints is part of the demo.
async fn verify(stage: &mut Stage, binaries: &Path) -> Result<(), DemoError> {
    let config = services::config_path(&stage.directory);
    let began = Instant::now();
    stage.view.say("\n  apply verify, every table, source against warehouse:");
    let binary = binaries.join("apply");
    let status = Command::new(&binary)
        .arg("verify")
        .arg("--config")
        .arg(&config)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(DemoError::io("run", &binary))?;
    match status.code() {
        Some(0) => {
            stage.view.tick("no difference", Some(began.elapsed()));
            Ok(())
        }
        Some(3) => Err(DemoError::Differences),
        _ => Err(DemoError::Verify(status.to_string())),
    }
}

/// The closing lines.
pub fn tell(stage: &Stage, outcome: &Outcome) {
    let Outcome { written, loading, loaded, peak, column, drained, .. } = outcome;
    let say = |line: &str| stage.view.say(line);
    let milliseconds = u64::try_from(loading.as_millis()).unwrap_or(u64::MAX).max(1);
    say(&format!(
        "\n  first load   {} rows in {}: {}, at the peak {}",
        count(*loaded),
        duration(*loading),
        rate(loaded.saturating_mul(1000) / milliseconds),
        rate(*peak)
    ));
    say(&format!("  meanwhile    {}", written_line(*written)));
    say(&format!(
        "  arrival      the new column after {}, the last change after {}",
        duration(*column),
        duration(*drained)
    ));
}

/// What goes on running, and how to end it.
pub fn tell_what_runs(stage: &Stage, outcome: &Outcome, settings: &Settings) {
    let say = |line: &str| stage.view.say(line);
    say("\n  Still running, for you to look at and play with:");
    for service in &stage.services {
        let pid = service.pid().unwrap_or_default();
        say(&format!("    {:<10} http://{}/   (process {pid})", service.name, service.address));
    }
    say(&format!("    their logs {}/*.log", stage.directory.display()));
    let Addresses { mysql_host, mysql_port, mysql_root_password, .. } = &outcome.addresses;
    say(&format!("    source     mysql -h{mysql_host} -P{mysql_port} -uroot -p{mysql_root_password} shop"));
    let Addresses { warehouse_host, warehouse_port, warehouse_database, .. } = &outcome.addresses;
    let Addresses { warehouse_user, warehouse_password, kafka_brokers, .. } = &outcome.addresses;
    say(&format!(
        "    warehouse  psql postgresql://{warehouse_user}:{warehouse_password}@{warehouse_host}:{warehouse_port}/{warehouse_database}"
    ));
    say(&format!("    Kafka      kcat -b {kafka_brokers} -L"));
    say(&format!("\n  Stop all of it: {}", settings.down_command()));
}
