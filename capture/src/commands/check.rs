//! `capture check`: arguments enter, a report on stdout and an exit status leave.

use crate::check::{Proof, examine, ignorable, print_grants};
use tributary_config::Config;
use tributary_service::check::Report;
use tributary_service::cli::{CheckArgs, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::source;
use tributary_service::shell::runtime;

/// Checks once, whether or not a server is away, and prints what was found.
///
/// # Errors
/// A [`Failure`] only for what keeps the check itself from running.
pub fn run(config: &Config, arguments: &CheckArgs, deselect: &[String]) -> Result<Exit, Failure> {
    let source = source(config)?;
    if arguments.print_grants {
        write_out(&print_grants(config, source));
        return Ok(Exit::Done);
    }
    let check = runtime(1)?.block_on(examine(config, source, deselect, Proof::Always));
    Ok(Report::new(check.items, &ignorable(&arguments.ignore)).print(arguments.json))
}
