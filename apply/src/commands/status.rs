//! `apply status`: asks the running instance, or else says what the destination holds. Status 0 if an instance
//! answered.

use crate::pipeline::run::{destination_failure, unusable};
use crate::remedies;
use tributary_config::Config;
use tributary_schemas::topic::task_of;
use tributary_service::Service;
use tributary_service::ask::ask;
use tributary_service::cli::{StatusArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::destination;
use tributary_service::shell::runtime;
use tributary_service::status::{Answer, AnsweredTable, ErrorDocument};
use tributary_warehouse::bookkeeping::{Bookkeeping, Refusal, TaskView};
use tributary_warehouse::destination::{Connector, DestinationError, TableError};

/// Prints the status.
///
/// # Errors
/// A [`Failure`] if neither an instance nor the destination answers.
pub fn run(config: &Config, arguments: &StatusArgs) -> Result<Exit, Failure> {
    runtime(1)?.block_on(async {
        let silence = match ask(&config.apply.listen, Service::Apply, &config.name).await {
            Ok(document) => return Answer::print(&document, arguments.json, remedies::unlike_version()),
            Err(silence) => silence,
        };
        let view = stored(config).await.map_err(|error| {
            destination_failure(config, &error).at(format!("no instance answers ({silence})"))
        })?;
        let Some((view, refusals)) = view else {
            write_out(&format!("no instance of {} answers: {silence}\nit has never run\n", config.name));
            return Ok(Exit::Failed);
        };
        let answer = from_stored(config, view, refusals);
        Ok(answer.print_stored(arguments.json, &silence, "what the destination holds"))
    })
}

async fn stored(config: &Config) -> Result<Option<(TaskView, Vec<Refusal>)>, DestinationError> {
    let destination = destination(config).map_err(unusable)?;
    let mut connection = Connector::new(destination).map_err(unusable)?.connect().await?;
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    if !bookkeeping.exists(&connection).await? {
        return Ok(None);
    }
    let refusals = bookkeeping.refusals(&mut connection).await?;
    Ok(Some((bookkeeping.view(&mut connection).await?, refusals)))
}

/// What the bookkeeping says, in the words that a running instance uses.
fn from_stored(config: &Config, view: TaskView, refusals: Vec<Refusal>) -> Answer {
    let problem = |error: TableError| {
        ErrorDocument::new(error.code, format!("{} ({})", error.message, error.place), error.remedy)
    };
    let name = |topic: &str, source: &str| config.label(task_of(topic), source);
    let begun = view.targets.into_iter().map(|row| AnsweredTable {
        name: name(&row.topic, &row.source),
        target: Some(format!("{}.{}", row.target.schema, row.target.table)),
        state: if row.parked.is_some() { "parked" } else { "stopped" }.to_owned(),
        generation: row.applied,
        error: row.parked.map(problem),
        ..AnsweredTable::default()
    });
    let refused = refusals.into_iter().map(|refusal| AnsweredTable {
        name: name(&refusal.topic, &refusal.source),
        state: "parked".to_owned(),
        error: Some(problem(refusal.error)),
        ..AnsweredTable::default()
    });
    let mut answer = Answer::stopped(&config.name, Service::Apply);
    answer.tables = begun.chain(refused).collect();
    answer
}
