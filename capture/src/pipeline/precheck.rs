//! The check at the start of `run`: wrong settings end it, a server that is away is waited for, a table that cannot
//! be replicated is shown and left out.

use super::shared::Shared;
use crate::check::{Proof, examine};
use crate::remedies;
use tributary_service::check::{CheckItem, precheck};
use tributary_service::codes::Code;
use tributary_service::exit::Failure;
use tributary_service::status::ErrorDocument;

/// Checks until the run can begin; false if the end is asked for meanwhile. Blocks.
///
/// # Errors
/// A [`Failure`] with every item that no run can begin with.
pub(super) fn check(shared: &Shared) -> Result<bool, Failure> {
    let Shared { config, source_config: source, status, shutdown, .. } = shared;
    let examine = async || {
        let found = examine(config, source, &shared.deselect, Proof::OfNewTasks).await;
        let obstacles = found.obstacles(config.strict, &shared.ignore);
        (found, obstacles)
    };
    let limit = |item: &CheckItem| {
        if item.name.starts_with("source-") { source.retry() } else { config.kafka.retry() }
    };
    let checked =
        precheck((status, shutdown), "checking source and Kafka", limit, remedies::failed_items(), examine);
    let Some(found) = shared.runtime.block_on(checked)? else { return Ok(false) };
    for (id, reason) in &found.excluded {
        let remedy = remedies::table_not_replicable();
        let error = ErrorDocument::new(Code::TableNotReplicable.name(), reason, remedy);
        status.table(&id.to_string()).exclude(error);
    }
    Ok(true)
}
