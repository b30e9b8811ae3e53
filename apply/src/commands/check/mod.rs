//! `apply check`: what a run needs, tried or looked at without changing anything. A configuration enters, items leave.

mod grants;
mod tables;

use super::runtime;
use super::task::{destination, history, planned, rules};
use crate::bookkeeping::Bookkeeping;
use crate::destination::{Connection, Connector, DestinationError, catalog};
use crate::merge::dialect::Dialect;
use crate::topics::error::TopicError;
use crate::topics::history::History;
use std::io::IsTerminal;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::config::{Config, DestinationConfig};
use tributary_schemas::topic::history_topic;
use tributary_service::check::{CheckItem, Report};
use tributary_service::cli::{CheckArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::retry::Transient;

/// Checks once, whether or not a server is away, and prints what was found.
///
/// # Errors
/// A [`Failure`] only for what keeps the check itself from running.
pub fn run(config: &Config, arguments: &CheckArgs) -> Result<Exit, Failure> {
    let destination = destination(config)?;
    if arguments.print_grants {
        let history = history(config).unwrap_or_default();
        write_out(&grants::print(config, destination, &planned(config, &rules(config)?, &history)));
        return Ok(Exit::Done);
    }
    let items = runtime(2)?.block_on(examine(config));
    let report = Report::new(items, &arguments.ignore);
    if arguments.json {
        write_out(&report.json());
    } else {
        write_out(&report.render(std::io::stdout().is_terminal()));
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

/// Everything there is to look at.
pub async fn examine(config: &Config) -> Vec<CheckItem> {
    let mut items = Vec::new();
    let history = examine_kafka(config, &mut items).await;
    let Ok(destination) = destination(config) else { return items };
    let Some((mut connection, dialect)) = examine_destination(destination, &mut items).await else {
        return items;
    };
    examine_bookkeeping(config, destination, &mut connection, &mut items).await;
    if let (Some(history), Ok(rules)) = (history, rules(config)) {
        let planned = planned(config, &rules, &history);
        let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
        tables::examine(&mut connection, dialect, &bookkeeping, planned, &mut items).await;
    }
    items
}

async fn examine_kafka(config: &Config, items: &mut Vec<CheckItem>) -> Option<History> {
    let topic = history_topic(&config.name);
    let asked = config.clone();
    let read = tokio::task::spawn_blocking(move || history(&asked)).await;
    let read = read.unwrap_or_else(|error| Err(TopicError::Interrupted { reason: error.to_string() }));
    let brokers = &config.kafka.brokers;
    match read {
        Ok(history) => {
            items.push(CheckItem::pass("kafka-reachable", brokers));
            let tables = history.selected().map_or(0, <[_]>::len);
            items.push(CheckItem::pass("history", format!("{topic} defines {tables} tables")));
            Some(history)
        }
        Err(TopicError::Missing { .. }) => {
            items.push(CheckItem::pass("kafka-reachable", brokers));
            items.push(CheckItem::warn(
                "history",
                format!("{topic} does not exist yet: tables could not be looked at"),
                "start `capture run`, which creates it, and check again; `apply run` waits for it",
            ));
            None
        }
        Err(error @ TopicError::History { .. }) => {
            items.push(CheckItem::pass("kafka-reachable", brokers));
            let remedy = "update apply to the version of capture; look at what else writes to the topic";
            items.push(CheckItem::fail("history", error.to_string(), remedy));
            None
        }
        Err(error) => {
            let remedy = if error.is_transient() {
                "start Kafka, or correct kafka.brokers"
            } else {
                "correct [kafka.client], and the ACLs that `apply check --print-grants` lists"
            };
            items.push(CheckItem::fail("kafka-reachable", format!("{brokers}: {error}"), remedy));
            None
        }
    }
}

async fn examine_destination(
    destination: &DestinationConfig,
    items: &mut Vec<CheckItem>,
) -> Option<(Connection, Dialect)> {
    let connector = match Connector::new(destination) {
        Ok(connector) => connector,
        Err(failure) => {
            items.push(CheckItem::fail("destination-reachable", failure.to_string(), failure.remedy));
            return None;
        }
    };
    let mut connection = match connector.connect().await {
        Ok(connection) => connection,
        Err(error) => {
            let remedy = if error.is_transient() {
                "start the server, or correct destination.host and destination.port; look at its allow list"
            } else {
                "correct destination.user, destination.password and destination.database"
            };
            items.push(CheckItem::fail("destination-reachable", error.to_string(), remedy));
            return None;
        }
    };
    items.push(CheckItem::pass("destination-reachable", connector.address()));
    match catalog::probe(&mut connection).await {
        Ok((dialect, version)) => {
            let version = version.split(',').next().unwrap_or_default().to_owned();
            let strategy = dialect.strategy(false, true);
            items.push(CheckItem::pass(
                "destination-version",
                format!("{version}: {:?}, rows are merged by {strategy:?}", dialect.product),
            ));
            Some((connection, dialect))
        }
        Err(error) => {
            items.push(CheckItem::fail("destination-version", error.to_string(), "see the server's log"));
            None
        }
    }
}

async fn examine_bookkeeping(
    config: &Config,
    destination: &DestinationConfig,
    connection: &mut Connection,
    items: &mut Vec<CheckItem>,
) {
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    let looked = async {
        let (exists, may_create) = catalog::may_use_schema(connection, bookkeeping.schema_name()).await?;
        let tables = exists && bookkeeping.exists(connection).await?;
        let format = if tables { bookkeeping.newest_format(connection).await? } else { 0 };
        Ok::<_, DestinationError>((exists, may_create, format))
    };
    let schema = bookkeeping.schema_name();
    items.push(match looked.await {
        Ok((_, _, format)) if format > FORMAT_VERSION => CheckItem::fail(
            "bookkeeping",
            format!("schema {schema} has format {format}, and this version knows {FORMAT_VERSION}"),
            "update apply to the version that last ran, or newer",
        ),
        Ok((true, true, _)) => CheckItem::pass("bookkeeping", format!("schema {schema} can be used")),
        Ok((false, true, _)) => CheckItem::pass("bookkeeping", format!("schema {schema} can be created")),
        Ok((exists, false, _)) => {
            let what = if exists { "tables cannot be created in it" } else { "it cannot be created" };
            CheckItem::fail(
                "bookkeeping",
                format!("schema {schema}: {what}"),
                "grant what `apply check --print-grants` lists",
            )
        }
        Err(error) => {
            CheckItem::fail("bookkeeping", error.to_string(), "grant what `apply check --print-grants` lists")
        }
    });
}
