//! `apply status`: asks the running instance, or else says what the destination holds. Status 0 if an instance
//! answered.

use crate::bookkeeping::{Bookkeeping, Refusal, TaskView};
use crate::destination::{Connector, DestinationError, TableError};
use crate::pipeline::run::destination_failure;
use crate::remedies;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use tributary_schemas::config::Config;
use tributary_service::ask::fetch;
use tributary_service::cli::{StatusArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::{Service, destination};
use tributary_service::shell::runtime;
use tributary_service::status::{headline, place_in_list};
use tributary_service::waits::WaitDocument;

/// What is shown of `/status`; a field that is missing stays empty.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Answer {
    task: String,
    service: String,
    state: String,
    tables: Vec<Row>,
    throughput: f64,
    contact: Contact,
    retrying: Option<Outage>,
    waits: Vec<WaitDocument>,
    error: Option<Problem>,
}

/// When capture was heard.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Contact {
    seconds_ago: Option<f64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    name: String,
    target: Option<String>,
    state: String,
    generation: u32,
    rows_applied: u64,
    lag_seconds: Option<f64>,
    error: Option<Problem>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    message: String,
    remedy: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Outage {
    what: String,
    since_seconds: u64,
    error: String,
}

/// Prints the status.
///
/// # Errors
/// A [`Failure`] if neither an instance nor the destination answers.
pub fn run(config: &Config, arguments: &StatusArgs) -> Result<Exit, Failure> {
    runtime(1)?.block_on(async {
        let silence = match ask(&config.apply.listen, &config.name).await {
            Ok(document) if arguments.json => {
                write_out(&format!("{document:#}\n"));
                return Ok(Exit::Done);
            }
            Ok(document) => {
                let answer: Answer = serde_json::from_value(document).map_err(|error| {
                    Failure::new("the answer of the instance cannot be read", error)
                        .remedy(remedies::unlike_version())
                })?;
                write_out(&answer.render());
                return Ok(Exit::Done);
            }
            Err(silence) => silence,
        };
        let view = stored(config).await.map_err(|error| {
            destination_failure(config, &error).at(format!("no instance answers ({silence})"))
        })?;
        let Some((view, refusals)) = view else {
            write_out(&format!("no instance of {} answers: {silence}\nit has never run\n", config.name));
            return Ok(Exit::Failed);
        };
        let answer = Answer::stored(config, view, refusals);
        if arguments.json {
            write_out(&format!("{}\n", serde_json::to_string_pretty(&answer).unwrap_or_default()));
        } else {
            write_out(&format!(
                "no instance of {} answers: {silence}\nwhat the destination holds:\n\n{}",
                config.name,
                answer.render()
            ));
        }
        Ok(Exit::Failed)
    })
}

async fn stored(config: &Config) -> Result<Option<(TaskView, Vec<Refusal>)>, DestinationError> {
    let destination = destination(config).map_err(refused)?;
    let mut connection = Connector::new(destination).map_err(refused)?.connect().await?;
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    if !bookkeeping.exists(&connection).await? {
        return Ok(None);
    }
    let refusals = bookkeeping.refusals(&mut connection).await?;
    Ok(Some((bookkeeping.view(&mut connection).await?, refusals)))
}

fn refused(failure: Failure) -> DestinationError {
    DestinationError::Connect { address: failure.place, reason: failure.why, transient: false }
}

impl Answer {
    /// What the bookkeeping says, in the words that a running instance uses.
    fn stored(config: &Config, view: TaskView, refusals: Vec<Refusal>) -> Self {
        let problem = |error: TableError| Problem {
            code: error.code,
            message: format!("{} ({})", error.message, error.place),
            remedy: error.remedy,
        };
        let begun = view.targets.into_iter().map(|row| Row {
            name: row.source,
            target: Some(format!("{}.{}", row.target.schema, row.target.table)),
            state: if row.parked.is_some() { "parked" } else { "stopped" }.to_owned(),
            generation: row.applied,
            error: row.parked.map(problem),
            ..Row::default()
        });
        let refused = refusals.into_iter().map(|refusal| Row {
            name: refusal.source,
            state: "parked".to_owned(),
            error: Some(problem(refusal.error)),
            ..Row::default()
        });
        let rows = begun.chain(refused);
        Self {
            task: config.name.to_string(),
            service: "apply".to_owned(),
            state: "stopped".to_owned(),
            tables: rows.collect(),
            ..Self::default()
        }
    }

    /// Lines about the task, then a line for each table, its problem below it.
    fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let mut tables: Vec<&Row> = self.tables.iter().collect();
        tables.sort_by_key(|table| place_in_list(&table.state));
        let parked = tables.iter().filter(|table| table.state == "parked").count();
        let _ = writeln!(out, "task        {}\nstate       {}", self.task, headline(&self.state, parked));
        let _ = writeln!(out, "throughput  {:.0} rows/s", self.throughput);
        if let Some(seconds) = self.contact.seconds_ago {
            let _ = writeln!(out, "capture     heard {seconds:.1} s ago");
        }
        if let Some(outage) = &self.retrying {
            let _ =
                writeln!(out, "retrying    {} for {} s: {}", outage.what, outage.since_seconds, outage.error);
        }
        for wait in &self.waits {
            let _ = writeln!(out, "waiting     {}", wait.in_words());
        }
        if let Some(problem) = &self.error {
            let _ = writeln!(
                out,
                "error       {} [{}]\n         -> {}",
                problem.message, problem.code, problem.remedy
            );
        }
        let width = self.tables.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(5);
        if !self.tables.is_empty() {
            let _ = writeln!(
                out,
                "\n{:<width$}  {:<13}  {:>7}  {:>6}  TARGET",
                "TABLE", "STATE", "MERGED", "LAG"
            );
        }
        for row in tables {
            let lag = row.lag_seconds.map_or_else(|| "-".to_owned(), |lag| format!("{lag:.1} s"));
            let target = row.target.as_deref().unwrap_or("-");
            let _ = writeln!(
                out,
                "{:<width$}  {:<13}  {:>7}  {lag:>6}  {target}",
                row.name, row.state, row.rows_applied
            );
            if let Some(problem) = &row.error {
                let _ = writeln!(out, "  {} [{}]\n  -> {}", problem.message, problem.code, problem.remedy);
            }
        }
        out
    }
}

/// The document of this task's running apply, or why there is none.
async fn ask(listen: &str, task: &str) -> Result<serde_json::Value, String> {
    let (address, document) = fetch(listen, Service::Apply).await?;
    let text =
        |key: &str| document.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    if text("task") != task || text("service") != "apply" {
        return Err(format!("{address} is {} of task {}", text("service"), text("task")));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_table_shows_its_remedy() {
        let answer: Answer = serde_json::from_value(serde_json::json!({
            "task": "shop", "state": "parked", "tables": [
                {"name": "a.b", "state": "parked", "rows_applied": 3, "lag_seconds": null, "unknown": 1,
                 "error": {"code": "foreign-record", "message": "what", "remedy": "do this"}}]
        }))
        .unwrap();
        let text = answer.render();
        assert!(text.contains("-> do this") && text.contains("[foreign-record]"), "{text}");
    }
}
