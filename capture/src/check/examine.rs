//! The whole check, in order: Kafka is reached and the task's state read, the source is asked, the tables are judged,
//! and what the task wants of Kafka is tried. What cannot be examined because of an earlier failure is left out.

use super::account::{Needs, foreign_key_cascades, privileges, xa_prepared};
use super::grants::Grants;
use super::item::{Item, fail, pass};
use super::kafka::{Refusal, TaskTopics};
use super::position::{ServerHistory, give_up_purged, resumable};
use super::probe::Cluster;
use super::server::{binlog_expiry, server_id, settings};
use super::tables::{Judgement, Known, judge};
use super::{Examined, Proof, completeness, deselected, kafka, server};
use crate::sequencer::bootstrap::is_wanted;
use crate::topics::lost;
use crate::topics::names::TopicNames;
use crate::topics::stored::{Stored, StoredError};
use std::collections::BTreeSet;
use std::time::Instant;
use tributary_config::{Config, SourceConfig, TableRules, TableSelection};
use tributary_schemas::checkpoint::Checkpoint;
use tributary_schemas::printed::counted;
use tributary_schemas::table::TableId;
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::check::KAFKA_REACHABLE;
use tributary_service::sabotage;
use tributary_service::waits::Waits;
use tributary_source::catalog::{list_tables, read_tables};
use tributary_source::charset::Charset;
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::dialect::SourceDialect;
use tributary_source::error::SourceError;
use tributary_source::{facts, replication};

/// Items in the order of the report.
#[derive(Debug, Default)]
struct Findings {
    source: Vec<Item>,
    tables: Judgement,
    kafka: Vec<Item>,
}

/// Examines everything that can be reached. With [`Proof::OfNewTasks`] what Kafka can do is not tried again for a task
/// that has a checkpoint: it made one, and its restart is to be quick.
pub(super) async fn examine(
    config: &Config,
    source: &SourceConfig,
    deselect: &[String],
    proof: Proof,
) -> Examined {
    let mut findings = Findings::default();
    let cluster = reach(config, &mut findings).await;
    let default = Stored::default();
    let (cluster, stored) = match cluster {
        Some((cluster, stored)) => (Some(cluster), stored),
        None => (None, default),
    };
    // The configuration was validated before; what is wrong there was said there.
    if let (Some(_), Ok(selection)) = (&cluster, TableSelection::new(config)) {
        let recorded = stored.history.selection.as_ref();
        findings.kafka.push(deselected::item(recorded, &selection, deselect));
    }
    let mut names = stored.history.names(&config.name);
    cluster.iter().flat_map(|cluster| cluster.facts.topics.keys()).for_each(|topic| names.see(topic));
    if let Err(error) = ask_source(config, source, &stored, names, &mut findings).await {
        findings.source.retain(|item| item.name != "source-reachable");
        findings.source.insert(0, unreachable_source(&error));
    }
    if let Some(cluster) = cluster {
        try_kafka(config, cluster, stored, proof, &mut findings).await;
    }
    let Findings { mut source, mut tables, mut kafka } = findings;
    source.append(&mut tables.items);
    source.append(&mut kafka);
    Examined { items: source, selected: tables.selected, excluded: tables.excluded }
}

fn unreachable_source(error: &SourceError) -> Item {
    let (SourceError::Transient { during, address, reason, remedy, .. }
    | SourceError::Definite { during, address, reason, remedy, .. }) = error;
    fail("source-reachable", format!("{during} at {address} failed: {reason}"), *remedy)
        .passing(error.is_transient())
}

/// `kafka-reachable` and `task-state`.
async fn reach(config: &Config, findings: &mut Findings) -> Option<(Cluster, Stored)> {
    let owned = config.clone();
    let runtime = tokio::runtime::Handle::current();
    let reached = tokio::task::spawn_blocking(move || {
        let cluster = Cluster::reach(&owned.kafka, &capture_group(&owned.name), runtime)?;
        sabotage::pass("check-reached");
        let stored = read_stored(&owned)?;
        Ok::<_, Refusal>((cluster, stored))
    })
    .await;
    let refusal = match reached {
        Ok(Ok((cluster, stored))) => {
            let brokers = counted(cluster.facts.brokers, "broker");
            findings.kafka.push(pass(KAFKA_REACHABLE, format!("{}: {brokers}", config.kafka.brokers)));
            return match stored {
                Ok(stored) => {
                    let found = stored.state.checkpoint.as_ref().map_or_else(
                        || "the task has no checkpoint: it begins with reading its tables".to_owned(),
                        |checkpoint| format!("the task goes on at {}", checkpoint.position),
                    );
                    findings.kafka.push(pass("task-state", found));
                    Some((cluster, stored))
                }
                Err(reason) => {
                    let remedy = "upgrade this binary, or choose another `name` for the task";
                    findings.kafka.push(fail("task-state", reason, remedy));
                    Some((cluster, Stored::default()))
                }
            };
        }
        Ok(Err(refusal)) => refusal,
        Err(error) => {
            Refusal { action: "asking Kafka", reason: error.to_string(), denied: false, transient: false }
        }
    };
    findings.kafka.push(unreachable_kafka(config, &refusal));
    None
}

fn unreachable_kafka(config: &Config, refusal: &Refusal) -> Item {
    let found = format!("{} at {} failed: {}", refusal.action, config.kafka.brokers, refusal.reason);
    let remedy =
        "start the brokers, or correct kafka.brokers and [kafka.client] (security.protocol, sasl.*, ssl.*)";
    fail(KAFKA_REACHABLE, found, remedy).passing(refusal.transient)
}

/// The inner error is about what stands in the topics.
fn read_stored(config: &Config) -> Result<Result<Stored, String>, Refusal> {
    match Stored::read(config) {
        Ok(stored) => Ok(Ok(stored)),
        Err(StoredError::Record(error)) => Ok(Err(error.to_string())),
        Err(StoredError::Read(error)) => Err(Refusal::from_read("reading the task's state", &error)),
    }
}

/// Everything that a connection to the source is needed for.
async fn ask_source(
    config: &Config,
    source: &SourceConfig,
    stored: &Stored,
    names: TopicNames,
    findings: &mut Findings,
) -> Result<(), SourceError> {
    let options = SourceOptions::new(source)?;
    let mut connection = options.connect().await?;
    let items = &mut findings.source;
    items.push(pass("source-reachable", options.address()));
    items.push(server::encryption(&source.host, source.tls.mode));
    let version = facts::version(&mut connection).await?;
    let judged = server::version(&version);
    let refused = judged.outcome == super::item::Outcome::Fail;
    items.push(judged);
    if refused {
        return Ok(());
    }
    let grants = Grants::parse(facts::grants(&mut connection).await?.iter().map(String::as_str));
    let position = stored.state.checkpoint.as_ref().map(|checkpoint| &checkpoint.position);
    let published = position.map(|position| &position.gtid_set);
    let dialect = match facts::dialect_after(&mut connection, published).await {
        Ok(dialect) => dialect,
        // Without this privilege the server does not even say where its binlog is.
        Err(error) if !error.is_transient() && !grants.globally("REPLICATION CLIENT") => {
            items.push(privileges(&grants, Needs { tables: &[], has_gtid: true, version: &version }));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    items.extend(settings(&dialect));
    let contents = facts::binlog_contents(&mut connection, dialect.status_statement).await?;
    items.extend(completeness::findings(&contents).into_iter().map(Item::from));
    let (Ok(selection), Ok(rules)) = (TableSelection::new(config), TableRules::new(config)) else {
        // The configuration was validated before; what is wrong there was said there.
        return Ok(());
    };
    let listed = list_tables(&mut connection).await?;
    let followed = stored.history.followed();
    let wanted = |id: &TableId, all: &BTreeSet<TableId>| is_wanted(&selection, &followed, id, all);
    let catalog = read_tables(&mut connection, wanted).await?;
    let selected: Vec<TableId> = catalog.iter().map(|table| table.id.clone()).collect();
    items.push(privileges(
        &grants,
        Needs { tables: &selected, has_gtid: dialect.has_gtid(), version: &version },
    ));
    let ours = source.server_id.unwrap_or_else(|| replication::default_server_id(&config.name));
    items.push(server_id(ours, dialect.server_id, &facts::replicas(&mut connection).await?));
    items.push(position_retained(stored.state.checkpoint.as_ref(), &dialect));
    items.push(binlog_expiry(&dialect, source.retry_minutes));
    items.push(xa_prepared(&facts::prepared(&mut connection).await?));
    let cascades = facts::cascades(&mut connection).await?;
    items.push(foreign_key_cascades(&cascades, &selected.into_iter().collect()));
    findings.tables = judge(
        config,
        &selection,
        &rules,
        Known {
            listed: &listed,
            catalog,
            previous: &stored.definitions(),
            names,
            charset_supported: |name| Charset::named(name).is_some(),
        },
    );
    close(connection).await;
    Ok(())
}

/// The server would otherwise log an aborted connection; that it could not be told does not matter.
async fn close(connection: SourceConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the connection of the check");
    }
}

fn position_retained(checkpoint: Option<&Checkpoint>, server: &SourceDialect) -> Item {
    const NAME: &str = "position-retained";
    let Some(mut checkpoint) = checkpoint.cloned() else {
        return pass(NAME, "the task has no position yet: it begins at the end of the binlog");
    };
    let history = ServerHistory {
        server_uuid: server.server_uuid.clone(),
        has_gtid: server.has_gtid(),
        executed: server.gtid_executed.clone(),
        purged: server.gtid_purged.clone(),
        files: server.binary_logs.iter().map(|log| (log.name.clone(), log.size_bytes)).collect(),
    };
    give_up_purged(&mut checkpoint, &history);
    let position = &checkpoint.position;
    match resumable(&checkpoint, &history) {
        Ok(()) => pass(NAME, format!("the server still has everything behind {position}")),
        Err(gap) => fail(NAME, format!("{}: {} (checkpoint {position})", gap.what, gap.why), gap.remedy),
    }
}

/// The items that something is tried for on Kafka.
async fn try_kafka(
    config: &Config,
    mut cluster: Cluster,
    stored: Stored,
    proof: Proof,
    findings: &mut Findings,
) {
    let own = vec![state_topic(&config.name), history_topic(&config.name)];
    let selected = findings.tables.selected.iter();
    let tables: Vec<String> = selected.map(|selected| selected.topic.clone()).collect();
    let probe_topic = format!("{}.probe-{}", config.name, uuid::Uuid::new_v4().simple());
    let (owned, fresh) = (config.clone(), stored.state.checkpoint.is_none());
    let wanted: Vec<String> = own.iter().chain(&tables).cloned().collect();
    let table_topics = tables.clone();
    let names: BTreeSet<&String> = tables.iter().collect();
    let selected = stored.history.selection.iter().flat_map(|selection| &selection.tables);
    let recorded = selected.filter(|table| table.excluded.is_none() && names.contains(&table.topic));
    let recorded: Vec<String> = recorded.map(|table| table.topic.clone()).collect();
    let known = lost::known(&stored.history, &stored.state);
    let wait = Waits::of_process().answer("Kafka: trying what the task needs", None);
    let tried = tokio::task::spawn_blocking(move || {
        sabotage::pass("check-read");
        cluster.look_again_for_brokers(usize::from(owned.topics.replication_factor));
        wait.heard(Instant::now());
        cluster.look_again_for(&recorded);
        wait.heard(Instant::now());
        cluster.describe(&wanted);
        wait.heard(Instant::now());
        if fresh {
            let begun = || {
                let stored = read_stored(&owned)?;
                // What this version cannot read says nothing, and `run` says that.
                Ok(stored.map_or(true, |stored| stored.state.checkpoint.is_some()))
            };
            cluster.find_orphans(&table_topics, begun);
            wait.heard(Instant::now());
        }
        let probe = (fresh || proof == Proof::Always).then(|| cluster.probe(&owned, &probe_topic));
        wait.heard(Instant::now());
        let lost = cluster.lost_topics(known);
        (cluster.into_facts(), probe, lost)
    })
    .await;
    let items = &mut findings.kafka;
    let (cluster, probe, lost) = match tried {
        Ok(tried) => tried,
        Err(error) => {
            items.push(fail("kafka-transactions", error.to_string(), "report this as a bug"));
            return;
        }
    };
    let refusals: Vec<&Refusal> = cluster
        .refusals
        .iter()
        .chain(probe.iter().flat_map(|probe| {
            let transactions = probe.transactions.iter().filter_map(|tried| tried.as_ref().err());
            probe.settings.as_ref().err().into_iter().chain(transactions).chain(probe.deleted.as_ref().err())
        }))
        .collect();
    let away = refusals.iter().find(|refusal| refusal.transient);
    let away = away.map(|refusal| unreachable_kafka(config, refusal));
    items.push(kafka::acl(refusals));
    if let Some(probe) = &probe {
        items.push(kafka::transactions(probe));
        items.push(kafka::compaction(probe));
        items.push(kafka::message_size(probe, &cluster, config.topics.max_message_bytes));
    }
    let recorded = stored.history.selection.as_ref();
    let topics = TaskTopics { own: &own, tables: &tables, recorded, lost: &lost };
    items.push(kafka::topic_settings(topics, &cluster, &config.topics));
    if let Some(away) = away {
        // What was tried on a cluster that went away in the middle says nothing about the cluster.
        items.iter_mut().filter(|item| item.name.starts_with("kafka-")).for_each(|item| item.passing = true);
        items.retain(|item| item.name != KAFKA_REACHABLE);
        items.insert(0, away);
    }
}
