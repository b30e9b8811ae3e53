//! `apply verify`: are source and destination equal? Rows of both enter, each brought to one form; what leaves is the
//! keys that differ, and an exit status.
//!
//! Invariants: nothing is written anywhere, and no lock of a reader outlives a piece of a table; memory does not grow with the tables; a row is called
//! different only after everything that the source had was merged, twice.

mod buckets;
mod canonical;
mod compare;
mod destination;
mod error;
mod hash;
mod json;
mod judge;
mod keys;
mod lag;
mod matching;
mod progress;
mod remedies;
mod report;
mod select;
mod source;
mod strays;
mod tuple;

use compare::{Servers, Subject, compare};
use error::VerifyError;
use lag::Lag;
use report::{TableComparison, TableReport, summary};
use select::{Catalog, Wanted};
use std::collections::BTreeMap;
use std::path::PathBuf;
use strays::{Member, leftovers, strays};
use tokio::task::block_in_place;
use tributary_config::{Config, SourceConfig, TableRules, TableSelector, TaskName};
use tributary_schemas::FORMAT_VERSION;
use tributary_service::Service;
use tributary_service::cli::write_out;
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::rules;
use tributary_service::load::{Overrides, load};
use tributary_source::connect::SourceOptions;
use tributary_source::dialect::SourceDialect;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connection, Connector, catalog};
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::union::written;

/// What the command line says beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tables of the source to compare, as `database.table`, with `*` for any run of characters; all by default.
    pub table: Option<String>,
    /// Configurations of the tasks whose topics are read, for their `[source]`.
    pub sources: Vec<PathBuf>,
}

/// Compares, prints, and says how it went. To be run on a multi-threaded runtime: calls to
/// Kafka block.
///
/// # Errors
/// A [`Failure`] if nothing could be compared at all.
pub async fn run(config: &Config, options: &Options) -> Result<Exit, Failure> {
    let only = options.table.as_deref().map(selector).transpose()?;
    let mut sources = sources(config, options, only.as_ref())?;
    let rules = rules(config)?;
    let mut found = Vec::new();
    for task in config.origins() {
        let Some(source) = sources.remove(task) else { continue };
        let session = Session::open(config, task, &source).await?;
        let wanted = session.catalog.wanted(config, &rules, only.as_ref());
        if !wanted.is_empty() {
            found.push((task, session, wanted));
        }
    }
    if found.is_empty() {
        let why = match &options.table {
            Some(table) => format!("{table} matches no table that the task selects"),
            None => "the task selects no table".to_owned(),
        };
        return Err(Failure::new("there is nothing to compare", why)
            .at(format!("task {}", config.name))
            .remedy(remedies::nothing_to_compare())
            .exit(if options.table.is_some() { Exit::Usage } else { Exit::Failed }));
    }
    let (mut reports, mut members, mut last) = (Vec::new(), Vec::new(), None);
    for (task, mut session, wanted) in found {
        let count = wanted.len();
        write_out(&format!(
            "task {task}: comparing {count} table{} of {} with {}\n",
            if count == 1 { "" } else { "s" },
            session.servers.source.address(),
            session.servers.destination.address()
        ));
        for wanted in wanted {
            let report = session.table(config, &rules, wanted).await;
            write_out(&report.text());
            reports.push(report);
        }
        members.append(&mut session.members);
        last = Some(session);
    }
    if let Some(mut session) = last.filter(|_| only.is_none()) {
        for report in session.strays(&members).await {
            write_out(&report.text());
            reports.push(report);
        }
    }
    let (text, exit) = summary(&reports, config.strict || only.is_some_and(|only| only.is_exact()));
    write_out(&text);
    Ok(exit)
}

fn selector(text: &str) -> Result<TableSelector, Failure> {
    text.parse().map_err(|error| Failure::new("--table cannot be understood", error).exit(Exit::Usage))
}

fn cannot(error: VerifyError) -> Failure {
    Failure::new("source and destination cannot be compared", &error).remedy(error.remedy())
}

/// The source of each task whose topics are read, as far as `only` needs it: of the file that belongs to that task, or else
/// the configuration's own.
fn sources(
    config: &Config,
    options: &Options,
    only: Option<&TableSelector>,
) -> Result<BTreeMap<TaskName, SourceConfig>, Failure> {
    let (mut known, mut others) = (BTreeMap::new(), Vec::new());
    for path in &options.sources {
        let other = load(path, Service::Capture, &Overrides::default())?;
        match other.source {
            Some(source) if config.origins().contains(&other.name) => {
                known.insert(other.name, source);
            }
            _ => others.push(format!("{} is of task {}", path.display(), other.name)),
        }
    }
    if let Some(source) = config.source.clone().filter(|_| others.is_empty()) {
        known.entry(config.name.clone()).or_insert(source);
    }
    let needed = |task: &&TaskName| only.is_none_or(|only| only.is_of(task));
    match config.origins().iter().filter(needed).find(|task| !known.contains_key(*task)) {
        Some(task) => Err(no_source(config, task, &others)),
        None => {
            // Those that `only` leaves out are not connected to.
            known.retain(|task, _| needed(&task));
            Ok(known)
        }
    }
}

fn no_source(config: &Config, task: &TaskName, others: &[String]) -> Failure {
    let why = if !others.is_empty() {
        others.join("\n")
    } else if config.is_apply_only() {
        format!("the configuration reads the topics of {task}, and so has no [source]")
    } else {
        "the configuration has no [source], or a secret in it cannot be read here".to_owned()
    };
    Failure::new(format!("the source of task {task} is not known"), why)
        .at("[source]")
        .remedy(remedies::source_unknown())
        .exit(Exit::Usage)
}

/// The servers, and what is known of the task.
struct Session {
    servers: Servers,
    lag: Lag,
    catalog: Catalog,
    /// For the bookkeeping.
    connection: Connection,
    bookkeeping: Bookkeeping,
    /// What was compared of targets that may be shared.
    members: Vec<Member>,
}

impl Session {
    async fn open(config: &Config, task: &TaskName, source: &SourceConfig) -> Result<Self, Failure> {
        let Some(destination) = &config.destination else {
            return Err(Failure::new("the configuration has no [destination]", "").exit(Exit::Usage));
        };
        let source = SourceOptions::new(source).map_err(|error| cannot(error.into()))?;
        let connector = Connector::new(destination)?;
        let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
        let opened = async {
            let mut on_source = source.connect().await?;
            let source_dialect = SourceDialect::probe(&mut on_source).await?;
            let mut connection = connector.connect().await?;
            let (dialect, _) = catalog::probe(&mut connection).await?;
            let known = bookkeeping.exists(&connection).await?;
            Ok::<_, VerifyError>((source_dialect, connection, dialect, known))
        };
        let (source_dialect, connection, dialect, known) = opened.await.map_err(cannot)?;
        if !known {
            let why = format!("schema {} of the destination has no bookkeeping tables", destination.schema);
            return Err(Failure::new("apply has never run here", why).remedy(remedies::never_run()));
        }
        let format = bookkeeping.newest_format(&connection).await.map_err(|error| cannot(error.into()))?;
        if format > FORMAT_VERSION {
            let why = format!("they have format {format}, and this version knows {FORMAT_VERSION}");
            return Err(Failure::new("the bookkeeping tables belong to a newer version", why)
                .at(format!("schema {} of the destination", destination.schema))
                .remedy(remedies::newer_bookkeeping()));
        }
        let (lag, catalog) = block_in_place(|| {
            let lag = Lag::open(config, task, bookkeeping.clone(), source_dialect)?;
            Ok::<_, VerifyError>((lag, Catalog::open(config, task, bookkeeping.clone(), dialect)?))
        })
        .map_err(cannot)?;
        let memory_bytes = config.apply.memory_bytes;
        let servers = Servers { source, destination: connector, dialect, memory_bytes };
        Ok(Self { servers, lag, catalog, connection, bookkeeping, members: Vec::new() })
    }

    /// Compares a table if that can be done.
    async fn table(&mut self, config: &Config, rules: &TableRules, wanted: Wanted) -> TableReport {
        let (source, target) = (wanted.name.clone(), wanted.target.clone());
        let mut notes = Vec::new();
        let outcome = match wanted.left {
            Some(why) => TableComparison::NotCarried(why),
            None => match self.try_table(config, rules, &wanted, &mut notes).await {
                Ok(outcome) => outcome,
                Err(error) => TableComparison::Failed(error.to_string(), error.remedy().to_owned()),
            },
        };
        TableReport { source, target, notes, outcome }
    }

    /// What is wrong with targets that are shared, beside their tables one by one.
    async fn strays(&mut self, members: &[Member]) -> Vec<TableReport> {
        let report = |target: &TargetName, outcome| TableReport {
            source: String::new(),
            target: format!("{}.{}", target.schema, target.table),
            notes: Vec::new(),
            outcome,
        };
        let looked = async {
            let found = strays(&mut self.connection, &self.bookkeeping, members).await?;
            let left =
                leftovers((&mut self.connection, self.servers.dialect), &self.bookkeeping, members).await?;
            Ok::<_, VerifyError>((found, left))
        };
        match looked.await {
            Ok((found, left)) => {
                let left = left.into_iter().map(|(member, leftovers)| TableReport {
                    source: member.name,
                    ..report(&member.target, TableComparison::Leftovers(leftovers))
                });
                let found = found
                    .into_iter()
                    .map(|(target, strays)| report(&target, TableComparison::Strays(target.clone(), strays)));
                left.chain(found).collect()
            }
            Err(error) => {
                let outcome = TableComparison::Failed(error.to_string(), error.remedy().to_owned());
                members.first().map(|member| report(&member.target, outcome)).into_iter().collect()
            }
        }
    }

    async fn try_table(
        &mut self,
        config: &Config,
        rules: &TableRules,
        wanted: &Wanted,
        notes: &mut Vec<String>,
    ) -> Result<TableComparison, VerifyError> {
        let parked = self.lag.state.parked(&wanted.id);
        if let Some(parked) = parked {
            return Err(VerifyError::Parked {
                by: "capture",
                code: parked.code.clone(),
                message: parked.message.clone(),
                remedy: parked.remedy.clone(),
            });
        }
        let Some(ready) = self.catalog.ready(&mut self.connection, config, rules, wanted).await? else {
            return Ok(TableComparison::NotCarried("it was dropped on the source".to_owned()));
        };
        notes.extend(ready.notes);
        let Subject { generation, target, judged, .. } = &ready.subject;
        self.members.push(Member {
            topic: generation.topic.clone(),
            target: target.clone(),
            slice: Slice::of(&ready.subject.rule),
            name: wanted.name.clone(),
            written: written(&generation.table, &ready.subject.rule).ok().filter(|_| ready.subject.alter),
            surplus: judged.surplus,
        });
        let outcome = compare(&self.servers, &mut self.lag, &ready.subject).await;
        // What was found about a definition of before says nothing.
        let newest = block_in_place(|| self.catalog.newest(&ready.subject.generation.topic))?;
        if newest != Some(ready.subject.generation.generation) {
            return Err(VerifyError::Changed);
        }
        let compared = outcome?;
        if compared.whole {
            notes.push(format!(
                "{} has no unique key without NULL to read it in pieces by: each look at it was one statement, and an ALTER \
                 of it waited for that",
                ready.subject.target
            ));
        }
        Ok(TableComparison::Compared(compared))
    }
}
