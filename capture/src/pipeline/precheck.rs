//! The check at the start of `run`: wrong settings end it, a server that is away is waited for, a table that cannot
//! be replicated is shown and left out.

use super::session::Shared;
use crate::check::{Away, Outcome, Precheck, Proof, examine};
use crate::remedies;
use std::time::Duration;
use tributary_service::codes::Code;
use tributary_service::exit::Failure;
use tributary_service::retry::{Policy, RetryError, Transient, retry_while_transient};
use tributary_service::status::ErrorDocument;

/// Servers that are away: the one thing that is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
struct ServersAway(Vec<Away>);

/// Every error of the check that is worth telling apart.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Away(#[from] ServersAway),
    #[error(transparent)]
    Wrong(#[from] Box<Failure>),
}

impl Transient for Obstacle {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// Checks until the run can begin; false if the end is asked for meanwhile. Blocks.
///
/// # Errors
/// A [`Failure`] with every item that no run can begin with, or with the server that stayed away.
pub(super) fn precheck(shared: &Shared) -> Result<bool, Failure> {
    let config = &shared.config;
    let source = &shared.source_config;
    let attempt = async || {
        let check = examine(config, source, &shared.deselect, Proof::OfNewTasks).await;
        let obstacles = check.obstacles(config.strict, &shared.ignore);
        if !obstacles.is_empty() {
            let lines: Vec<String> = obstacles
                .iter()
                .map(|item| format!("{}: {}\n  to do: {}", item.name, item.found, item.remedy))
                .collect();
            let failure = Failure::new("the check before the run failed", lines.join("\n"))
                .remedy(remedies::failed_items());
            return Err(Obstacle::Wrong(Box::new(failure)));
        }
        if check.away.is_empty() { Ok(check) } else { Err(ServersAway(check.away).into()) }
    };
    // One server can be away longer than the other; the longer limit decides, and the message names which it is.
    let limit = source.retry().max(config.kafka.retry());
    let outcome = shared.runtime.block_on(retry_while_transient(
        Policy::for_limit(limit),
        &shared.status,
        &shared.shutdown,
        "checking source and Kafka",
        attempt,
    ));
    match outcome {
        Ok(check) => {
            show(shared, &check);
            Ok(true)
        }
        Err(RetryError::Shutdown) => Ok(false),
        Err(RetryError::Definite(Obstacle::Wrong(failure))) => Err(*failure),
        Err(
            RetryError::Definite(Obstacle::Away(away))
            | RetryError::Limit { error: Obstacle::Away(away), .. },
        ) => Err(stayed_away(&away, limit)),
        Err(RetryError::Limit { error: Obstacle::Wrong(failure), .. }) => Err(*failure),
    }
}

fn stayed_away(away: &ServersAway, limit: Duration) -> Failure {
    Failure::new("a server that capture needs is away", format!("{away}\ntried for {} s", limit.as_secs()))
        .remedy(remedies::server_away())
}

/// Warnings go to the log, tables that are left out also into the status.
fn show(shared: &Shared, check: &Precheck) {
    for item in check.items.iter().filter(|item| item.outcome != Outcome::Pass) {
        tracing::warn!(item = %item.name, remedy = %item.remedy, "check: {}", item.found);
    }
    for (id, reason) in &check.excluded {
        let remedy = remedies::table_not_replicable();
        shared.status.table(&id.to_string()).exclude(ErrorDocument::new(
            Code::TableNotReplicable.name(),
            reason,
            remedy,
        ));
    }
}
