//! `capture status`: asks the running instance, or else says what the task has stored on Kafka. What leaves is text
//! for people or the document of `/status`; status 0 if an instance answered.

mod ask;
mod show;

use super::stored::Stored;
use crate::remedies;
use ask::ask;
use show::{Answer, Row};
use tributary_schemas::checkpoint::ReadPhase;
use tributary_schemas::config::Config;
use tributary_service::cli::{StatusArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::shell::runtime;

/// Prints the status.
///
/// # Errors
/// A [`Failure`] if neither an instance nor Kafka answers.
pub fn run(config: &Config, arguments: &StatusArgs) -> Result<Exit, Failure> {
    let runtime = runtime(1)?;
    let task = config.name.as_str();
    let configured = runtime.block_on(ask(&config.capture.listen, task));
    let silence = match configured {
        Ok(document) => return answered(&document, arguments.json),
        Err(silence) => silence,
    };
    let stored = Stored::read(config).map_err(|error| {
        Failure::new("the status is not known", format!("{silence}\n{error}"))
            .at(&config.kafka.brokers)
            .remedy(remedies::nobody_answers())
    })?;
    // The leader may listen elsewhere: another machine, or a port of the system's choice.
    if let Some(leader) = &stored.state.leader
        && let Ok(document) = runtime.block_on(ask(&leader.address, task))
    {
        return answered(&document, arguments.json);
    }
    let answer = from_stored(config, &stored);
    if arguments.json {
        write_out(&format!("{}\n", serde_json::to_string_pretty(&answer).unwrap_or_default()));
    } else {
        write_out(&format!(
            "no instance of {task} answers: {silence}\nwhat is stored on Kafka:\n\n{}",
            answer.render()
        ));
    }
    Ok(Exit::Failed)
}

fn answered(document: &serde_json::Value, json: bool) -> Result<Exit, Failure> {
    if json {
        write_out(&format!("{document:#}\n"));
        return Ok(Exit::Done);
    }
    let answer: Answer = serde_json::from_value(document.clone()).map_err(|error| {
        Failure::new("the answer of the instance cannot be read", error).remedy(remedies::unlike_version())
    })?;
    write_out(&answer.render());
    Ok(Exit::Done)
}

/// What the topics say, in the words that a running instance uses.
fn from_stored(config: &Config, stored: &Stored) -> Answer {
    let mut answer = Answer {
        task: config.name.to_string(),
        service: "capture".to_owned(),
        state: "stopped".to_owned(),
        role: "none".to_owned(),
        position: stored.state.checkpoint.as_ref().map(|checkpoint| checkpoint.position.to_string()),
        ..Answer::default()
    };
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
            (Some(reason), _) => Some(show::Problem { message: reason.clone(), ..show::Problem::default() }),
            (None, Some(parked)) => Some(show::Problem {
                code: parked.code.clone(),
                message: parked.message.clone(),
                remedy: parked.remedy.clone(),
            }),
            (None, None) => None,
        };
        let (read, estimated) =
            progress.map_or((0, 0), |progress| (progress.rows_read, progress.rows_estimated));
        let complete = progress.is_some_and(|progress| progress.phase != ReadPhase::Reading);
        answer.tables.push(Row {
            name: table.id.to_string(),
            state: state.to_owned(),
            rows_read: read,
            rows_total: if complete { read } else { estimated.max(read) },
            error,
            ..Row::default()
        });
    }
    answer
}
