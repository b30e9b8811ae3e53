//! What a task needs of Kafka and of its destination, tried or looked at without changing anything, for `apply check` and at
//! the start of `run`. A configuration enters, items leave.

mod grants;
mod tables;

pub(crate) use grants::print as print_grants;
pub(crate) use tables::is_of_table;

use tributary_config::{Config, DestinationConfig, TaskName};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::topic::history_topic;
use tributary_service::check::{CheckItem, KAFKA_REACHABLE};
use tributary_service::load::destination;
use tributary_service::transient::Transient;
use tributary_topics::error::TopicError;
use tributary_topics::history::History;
use tributary_topics::reader::whole_history;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::pooled::{is_of_pooler, sharing};
use tributary_warehouse::destination::{Connection, Connector, DestinationError, catalog};
use tributary_warehouse::merge::dialect::Dialect;

/// The item about the tables of the destination's schema.
const BOOKKEEPING: &str = "bookkeeping";
/// The item about a pooler in front of the server.
const POOLED: &str = "destination-pooled";
/// What to do about a missing privilege on it.
const GRANT: &str = "grant what `apply check --print-grants` lists";

/// What was found, in the order of the report.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub Vec<CheckItem>);

impl AsRef<[CheckItem]> for Findings {
    fn as_ref(&self) -> &[CheckItem] {
        &self.0
    }
}

impl Findings {
    fn push(&mut self, item: CheckItem) {
        self.0.push(item);
    }

    /// As [`Self::fail`], for an item that had come out well before.
    fn replace(&mut self, name: &str, found: String, error: &impl Transient, remedies: Remedies<'_>) {
        self.0.retain(|item| item.name != name);
        self.fail(name, found, error, remedies);
    }

    /// An item that could not be looked at.
    fn fail(&mut self, name: &str, found: String, error: &impl Transient, remedies: Remedies<'_>) {
        let remedy = if error.is_transient() { remedies.passing } else { remedies.lasting };
        self.push(CheckItem::fail(name, found, remedy).passing(error.is_transient()));
    }
}

/// What to do about an error that may pass by itself, and about one that does not.
struct Remedies<'a> {
    passing: &'a str,
    lasting: &'a str,
}

/// Everything there is to look at.
pub(crate) async fn examine(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let histories = examine_kafka(config, &mut findings).await;
    let Ok(destination) = destination(config) else { return findings };
    let Some((mut connection, dialect)) = examine_destination(destination, &mut findings).await else {
        return findings;
    };
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    if dialect.reserves_schema(bookkeeping.schema_name()) {
        let found = format!("the destination keeps the schema {} for itself", bookkeeping.schema_name());
        findings.push(CheckItem::fail(BOOKKEEPING, found, "choose another destination.schema"));
        return findings;
    }
    let usable = examine_bookkeeping(&bookkeeping, &mut connection, &mut findings).await;
    if usable && !histories.is_empty() {
        tables::examine(config, (&mut connection, dialect), &bookkeeping, histories, &mut findings).await;
    }
    findings
}

/// Reads the history of a task to its end, anew each time.
async fn read_history(config: &Config, task: &TaskName) -> Result<History, TopicError> {
    let (asked, task) = (config.clone(), task.clone());
    let read = tokio::task::spawn_blocking(move || whole_history(&asked, &task)).await;
    read.unwrap_or_else(|error| Err(TopicError::Interrupted { reason: error.to_string() }))
}

/// The histories that there are, of the tasks whose topics are read.
async fn examine_kafka(config: &Config, findings: &mut Findings) -> Vec<History> {
    let (mut histories, mut reached) = (Vec::new(), false);
    for task in config.origins() {
        let topic = history_topic(task);
        let name = if config.from.len() > 1 { format!("history-{task}") } else { "history".to_owned() };
        let read = read_history(config, task).await;
        if !reached && matches!(read, Ok(_) | Err(TopicError::Missing { .. } | TopicError::Record(_))) {
            findings.push(CheckItem::pass(KAFKA_REACHABLE, &config.kafka.brokers));
            reached = true;
        }
        match read {
            Ok(history) => {
                let tables = history.selected().map_or(0, <[_]>::len);
                findings.push(CheckItem::pass(name, format!("{topic} defines {tables} tables")));
                histories.push(history);
            }
            Err(TopicError::Missing { .. }) => findings.push(CheckItem::warn(
                name,
                format!("{topic} does not exist yet: tables could not be looked at"),
                format!("start `capture run` for task {task}, which creates it, and check again; `apply run` waits for it"),
            )),
            Err(error @ TopicError::Record(_)) => {
                let remedy = "update apply to the version of capture; look at what else writes to the topic";
                findings.push(CheckItem::fail(name, error.to_string(), remedy));
            }
            Err(error) => {
                unreachable(config, &error, findings);
                return Vec::new();
            }
        }
    }
    histories
}

fn unreachable(config: &Config, error: &TopicError, findings: &mut Findings) {
    let remedies = Remedies {
        passing: "start Kafka, or correct kafka.brokers",
        lasting: "correct [kafka.client], and the ACLs that `apply check --print-grants` lists",
    };
    findings.replace(KAFKA_REACHABLE, format!("{}: {error}", config.kafka.brokers), error, remedies);
}

async fn examine_destination(
    destination: &DestinationConfig,
    findings: &mut Findings,
) -> Option<(Connection, Dialect)> {
    let connector = match Connector::new(destination) {
        Ok(connector) => connector,
        Err(failure) => {
            findings.push(CheckItem::fail("destination-reachable", failure.to_string(), failure.remedy));
            return None;
        }
    };
    let mut connection = match connector.connect().await {
        Ok(connection) => connection,
        Err(error) => {
            if is_of_pooler(&error) {
                findings.push(pooled(&error.to_string()));
                return None;
            }
            let remedies = Remedies {
                passing: "start the server, or correct destination.host and destination.port; look at its allow list",
                lasting: "correct destination.user, destination.password and destination.database",
            };
            findings.fail("destination-reachable", error.to_string(), &error, remedies);
            return None;
        }
    };
    findings.push(CheckItem::pass("destination-reachable", connector.address()));
    if !connection.unlike().is_empty() {
        findings.push(CheckItem::warn(
            "destination-session",
            connection.unlike().join("\n"),
            "ALTER ROLE … RESET the setting, or GRANT SET ON PARAMETER (PostgreSQL 15) to destination.user",
        ));
    }
    if let Some(found) = sharing(&connector, &connection).await {
        findings.push(pooled(&found));
        return None;
    }
    match catalog::probe(&mut connection).await {
        Ok((dialect, version)) => {
            let version = version.split(',').next().unwrap_or_default().to_owned();
            let strategy = dialect.strategy(false, true);
            findings.push(CheckItem::pass(
                "destination-version",
                format!("{version}: {:?}, rows are merged by {strategy:?}", dialect.product),
            ));
            Some((connection, dialect))
        }
        Err(error) => {
            let remedies = Remedies { passing: "see the server's log", lasting: "see the server's log" };
            findings.fail("destination-version", error.to_string(), &error, remedies);
            None
        }
    }
}

/// Sessions that a pooler shares.
fn pooled(found: &str) -> CheckItem {
    CheckItem::fail(
        POOLED,
        format!("a pooler between apply and the server gives each transaction another session: {found}"),
        "let destination.host and destination.port be the server's own, or a pool whose mode is session (pgbouncer: \
         `pool_mode = session` for this database or user)",
    )
}

/// True if what is in it can be read.
async fn examine_bookkeeping(
    bookkeeping: &Bookkeeping,
    connection: &mut Connection,
    findings: &mut Findings,
) -> bool {
    let looked = async {
        let (exists, may_create) = catalog::may_use_schema(connection, bookkeeping.schema_name()).await?;
        let tables = exists && bookkeeping.exists(connection).await?;
        let format = if tables { bookkeeping.newest_format(connection).await? } else { 0 };
        Ok::<_, DestinationError>((exists, may_create, format))
    };
    let schema = bookkeeping.schema_name();
    match looked.await {
        Ok((_, _, format)) if format > FORMAT_VERSION => {
            findings.push(CheckItem::fail(
                BOOKKEEPING,
                format!("schema {schema} has format {format}, and this version knows {FORMAT_VERSION}"),
                "update apply to the version that last ran, or newer",
            ));
            return false;
        }
        Ok((exists, true, _)) => {
            let can = if exists { "used" } else { "created" };
            findings.push(CheckItem::pass(BOOKKEEPING, format!("schema {schema} can be {can}")));
        }
        Ok((exists, false, _)) => {
            let what = if exists { "tables cannot be created in it" } else { "it cannot be created" };
            findings.push(CheckItem::fail(BOOKKEEPING, format!("schema {schema}: {what}"), GRANT));
        }
        Err(error) => {
            unreadable(&error, findings);
            return false;
        }
    }
    true
}

fn unreadable(error: &DestinationError, findings: &mut Findings) {
    let remedies = Remedies { passing: "see the server's log", lasting: GRANT };
    findings.replace(BOOKKEEPING, error.to_string(), error, remedies);
}
