//! `apply drop`: lists what the task has in the destination beside its target tables, asks, and removes it. Invariant:
//! a target table is never touched; nothing is removed while an instance of the task is alive.

use crate::pipeline::run::destination_failure;
use crate::remedies;
use rdkafka::admin::AdminOptions;
use std::collections::BTreeSet;
use tributary_config::Config;
use tributary_service::cli::{DropArgs, may_remove, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::admin_client;
use tributary_service::load::destination;
use tributary_service::shell::runtime;
use tributary_service::waits::Waits;
use tributary_topics::members::group;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connection, Connector, DestinationError, catalog};
use tributary_warehouse::merge::names::{TargetName, WRITERS};

/// Lists, asks, removes.
///
/// # Errors
/// A [`Failure`] if the destination does not answer, an instance is alive, or nobody can be asked.
pub fn run(config: &Config, arguments: &DropArgs) -> Result<Exit, Failure> {
    let destination = destination(config)?;
    let connector = Connector::new(destination)?;
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    runtime(1)?.block_on(async {
        let failed = |error: DestinationError| destination_failure(config, &error);
        let mut connection = connector.connect().await.map_err(failed)?;
        if !bookkeeping.exists(&connection).await.map_err(failed)? {
            write_out(&format!(
                "nothing to drop: there is no bookkeeping in schema {}\n",
                destination.schema
            ));
            return Ok(Exit::Done);
        }
        if !alone(&bookkeeping, &connection).await.map_err(failed)? {
            return Err(Failure::new(
                "the task is in use",
                "an instance of it is connected to the destination",
            )
            .remedy(remedies::in_use()));
        }
        let view = bookkeeping.view(&mut connection).await.map_err(failed)?;
        let targets: Vec<(&str, &TargetName)> =
            view.targets.iter().map(|row| (row.topic.as_str(), &row.target)).collect();
        let stages = stages(&bookkeeping, &connection, &targets).await.map_err(failed)?;
        if !may_remove(&list(config, &bookkeeping, &targets, &stages), arguments)? {
            return Ok(Exit::Failed);
        }
        // The group of a task that reads others' topics is called after what is about to go.
        let group = match config.is_apply_only() {
            true => Some(group(config, &bookkeeping.identity(&mut connection).await.map_err(failed)?)),
            false => None,
        };
        let gone = bookkeeping.forget_task(&mut connection, &stages).await.map_err(failed)?;
        if let Some(group) = group {
            forget_group(config, &group).await;
        }
        let rest = if gone { ", and the tables of the bookkeeping" } else { "" };
        write_out(&format!("removed the bookkeeping of task {}{rest}\n", config.name));
        Ok(Exit::Done)
    })
}

/// Kafka would show the reader for a week. That the group may be gone already, or stay, does no harm.
async fn forget_group(config: &Config, group: &str) {
    let _wait = Waits::of_process().answer("Kafka: deleting the group", None);
    let deleted = async { admin_client(&config.kafka)?.delete_groups(&[group], &AdminOptions::new()).await };
    if let Err(error) = deleted.await {
        tracing::debug!(%error, group, "deleting the group");
    }
}

/// True if no instance of the task is connected; none can come until this session ends.
async fn alone(bookkeeping: &Bookkeeping, connection: &Connection) -> Result<bool, DestinationError> {
    let row = connection
        .query_one("SELECT pg_try_advisory_lock($1)", &[&bookkeeping.task_lock_key()])
        .await
        .map_err(DestinationError::during("looking for running instances"))?;
    Ok(row.get(0))
}

/// Staging tables of these targets that exist.
async fn stages(
    bookkeeping: &Bookkeeping,
    connection: &Connection,
    targets: &[(&str, &TargetName)],
) -> Result<Vec<TargetName>, DestinationError> {
    let existing: BTreeSet<String> =
        catalog::tables_in(connection, bookkeeping.schema_name()).await?.into_iter().collect();
    let schema = bookkeeping.schema_name();
    let possible = targets.iter().flat_map(|(topic, target)| {
        let topics = [None, Some(*topic)];
        topics
            .into_iter()
            .flat_map(move |topic| (0..WRITERS).map(move |writer| target.stage(schema, topic, writer)))
    });
    let found: BTreeSet<TargetName> = possible.filter(|stage| existing.contains(&stage.table)).collect();
    Ok(found.into_iter().collect())
}

fn list(
    config: &Config,
    bookkeeping: &Bookkeeping,
    targets: &[(&str, &TargetName)],
    stages: &[TargetName],
) -> String {
    let mut list = format!("to be removed from schema {}:\n", bookkeeping.schema_name());
    list.push_str(&format!("  offsets and marks of task {} ({} tables)\n", config.name, targets.len()));
    for stage in stages {
        list.push_str(&format!("  staging table  {stage}\n"));
    }
    list.push_str("kept, with all their rows:\n");
    let kept: BTreeSet<&TargetName> = targets.iter().map(|(_, target)| *target).collect();
    for target in kept {
        list.push_str(&format!("  target table   {target}\n"));
    }
    if config.is_apply_only() {
        list.push_str("the topics belong to the tasks that are read, and are not touched\n");
    } else {
        list.push_str("topics are kept too: `capture drop` removes them\n");
    }
    list
}
