//! `capture status`: asks the running instance, or else says what the task has stored on Kafka. What leaves is text
//! for people or the document of `/status`; status 0 if an instance answered.

use crate::remedies;
use crate::topics::stored::Stored;
use tributary_config::Config;
use tributary_schemas::checkpoint::ReadPhase;
use tributary_service::Service;
use tributary_service::ask::ask;
use tributary_service::cli::StatusArgs;
use tributary_service::exit::{Exit, Failure};
use tributary_service::shell::runtime;
use tributary_service::status::{Answer, AnsweredTable, ErrorDocument};

/// Prints the status.
///
/// # Errors
/// A [`Failure`] if neither an instance nor Kafka answers.
pub fn run(config: &Config, arguments: &StatusArgs) -> Result<Exit, Failure> {
    let runtime = runtime(1)?;
    let asked = |listen: &str| runtime.block_on(ask(listen, Service::Capture, &config.name));
    let answered = |document| Answer::print(&document, arguments.json, remedies::unlike_version());
    let silence = match asked(&config.capture.listen) {
        Ok(document) => return answered(document),
        Err(silence) => silence,
    };
    let stored = Stored::read(config).map_err(|error| {
        Failure::new("the status is not known", format!("{silence}\n{error}"))
            .at(&config.kafka.brokers)
            .remedy(remedies::nobody_answers())
    })?;
    // The leader may listen elsewhere: another machine, or a port of the system's choice.
    if let Some(leader) = &stored.state.leader
        && let Ok(document) = asked(&leader.address)
    {
        return answered(document);
    }
    Ok(from_stored(config, &stored).print_stored(arguments.json, &silence, "what is stored on Kafka"))
}

/// What the topics say, in the words that a running instance uses.
fn from_stored(config: &Config, stored: &Stored) -> Answer {
    let mut answer = Answer::stopped(&config.name, Service::Capture);
    answer.position = stored.state.checkpoint.as_ref().map(|checkpoint| checkpoint.position.to_string());
    let selected = stored.history.selection.iter().flat_map(|selection| &selection.tables);
    for table in selected {
        let progress = stored.state.progress.get(&table.id);
        let parked = stored.state.parked.get(&table.id);
        let state = match (&table.excluded, parked, progress.map(|progress| progress.phase)) {
            (Some(_), ..) => "excluded",
            (_, Some(_), _) => "parked",
            (.., None) => "waiting",
            (.., Some(ReadPhase::Reading)) => "loading",
            (.., Some(ReadPhase::Published)) => "catching-up",
            (.., Some(ReadPhase::Complete)) => "synchronizing",
        };
        let error = match (&table.excluded, parked) {
            (Some(reason), _) => Some(ErrorDocument::new("", reason, "")),
            (None, Some(parked)) => Some(ErrorDocument::new(&parked.code, &parked.message, &parked.remedy)),
            (None, None) => None,
        };
        let (read, estimated) =
            progress.map_or((0, 0), |progress| (progress.rows_read, progress.rows_estimated));
        let complete = progress.is_some_and(|progress| progress.phase != ReadPhase::Reading);
        answer.tables.push(AnsweredTable {
            name: table.id.to_string(),
            state: state.to_owned(),
            rows_read: read,
            rows_total: if complete { read } else { estimated.max(read) },
            error,
            ..AnsweredTable::default()
        });
    }
    answer
}
