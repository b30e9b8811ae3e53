//! `apply check`: arguments enter, a report on stdout and an exit status leave.

use crate::check::{examine, print_grants};
use tributary_config::Config;
use tributary_service::check::Report;
use tributary_service::cli::{CheckArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::{destination, rules};
use tributary_service::shell::runtime;
use tributary_topics::reader::whole_histories;
use tributary_warehouse::tables::task::planned;

/// Checks once, whether or not a server is away, and prints what was found.
///
/// # Errors
/// A [`Failure`] only for what keeps the check itself from running.
pub fn run(config: &Config, arguments: &CheckArgs) -> Result<Exit, Failure> {
    let destination = destination(config)?;
    if arguments.print_grants {
        let histories = whole_histories(config).unwrap_or_default();
        let rules = rules(config)?;
        let schemas = rules.schemas(config.origins());
        write_out(&print_grants(config, destination, &schemas, &planned(config, &rules, &histories)));
        return Ok(Exit::Done);
    }
    let findings = runtime(2)?.block_on(examine(config));
    Ok(Report::new(findings.0, &arguments.ignore).print(arguments.json))
}
