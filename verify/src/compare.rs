//! One table compared in three passes. First both sides are summed bucket by bucket; then the rows of the buckets that
//! differ are paired; then the keys that looked different are looked at again, each time after the lag has passed,
//! until they are equal or twice the same and different. Writes may go on all the while.

use super::buckets::{Buckets, Group, suitable};
use super::canonical::Canonical;
use super::destination::DestinationSide;
use super::error::VerifyError;
use super::hash::Hash128;
use super::judge::{Difference, Judged, RowVerdict, Sight, judge};
use super::keys::describe;
use super::lag::Lag;
use super::matching::{Matcher, Suspects};
use super::progress::Progress;
use super::source::SourceSide;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_schemas::history::GenerationRecord;
use tributary_schemas::table::Table;
use tributary_source::catalog::read_table;
use tributary_source::connect::SourceOptions;
use tributary_warehouse::destination::{Connector, catalog};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::TransferPlan;

/// Memory that a row takes while it is paired, bytes, about.
const ROW_BYTES: u64 = 128;
/// Memory that a key takes while it is looked at again, bytes, about; and each of its columns.
const KEY_BYTES: u64 = 512;
const COLUMN_BYTES: u64 = 48;
/// Bytes that one SELECT of a scan shall read, by the source's estimate.
const PIECE_BYTES: u64 = 32 << 20;
/// Fewest and most rows of one SELECT.
const PIECE_ROWS: std::ops::RangeInclusive<u64> = 100..=100_000;
/// A distributed destination may sort every row for a piece: it gets fewer of them.
const DISTRIBUTED: u64 = 10;
/// How often keys that change are looked at again.
const ROUNDS: usize = 12;

/// A table that can be compared.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The newest definition.
    pub generation: Arc<GenerationRecord>,
    /// Columns and policies.
    pub rule: ColumnRule,
    /// Table of the destination.
    pub target: TargetName,
    /// Partitions of the topic.
    pub partitions: u32,
    /// What counts.
    pub judged: Judged,
    /// The target follows its definition.
    pub alter: bool,
}

/// The two servers.
pub(crate) struct Servers {
    pub source: SourceOptions,
    pub destination: Connector,
    /// What the destination is.
    pub dialect: Dialect,
    /// `apply.memory_bytes`.
    pub memory_bytes: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Rows that the source had when it was summed.
    pub source_rows: u64,
    /// Rows that the destination had.
    pub destination_rows: u64,
    /// How long it took.
    pub took: Duration,
    /// Keys that differ, as text, in order of the text.
    pub differences: BTreeMap<String, Difference>,
    /// Rows of the destination whose keys the source's types cannot hold.
    pub foreign: u64,
    /// Keys that looked different and were not looked at again.
    pub left_out: u64,
    /// The destination's table was read by one statement at a time.
    pub whole: bool,
    /// Names of the columns, by place.
    pub columns: Vec<String>,
    /// Rows that only one side has do not all count: the task does not carry everything over.
    pub partly: bool,
}

impl Compared {
    /// Rows that differ.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.differences.len()).unwrap_or(u64::MAX).saturating_add(self.foreign)
    }
}

/// Compares one table.
///
/// # Errors
/// What kept it from being compared.
pub(crate) async fn compare(
    servers: &Servers,
    lag: &mut Lag,
    subject: &Subject,
) -> Result<Compared, VerifyError> {
    let begun = Instant::now();
    let table = Arc::new(subject.generation.table.clone());
    let mut comparison = Comparison::open(servers, subject, &table).await?;
    let (ours, theirs) = comparison.sum().await?;
    let room = (servers.memory_bytes / ROW_BYTES).max(1);
    let mut suspects = Suspects::default();
    for group in ours.differing(&theirs, room) {
        suspects = comparison.pair(&group, suspects).await?;
    }
    let mut compared = Compared {
        source_rows: ours.rows(),
        destination_rows: theirs.rows(),
        foreign: if subject.judged.surplus { suspects.foreign } else { 0 },
        left_out: suspects.left_out,
        columns: comparison.columns.clone(),
        partly: !(subject.judged.missing && subject.judged.surplus),
        whole: comparison.destination.is_whole(),
        ..Compared::default()
    };
    let restless = comparison.recheck(lag, suspects, &mut compared).await?;
    compared.took = begun.elapsed();
    // With a difference at hand there is something to say; without one, what was not seen must not count as equal.
    if compared.count() == 0 && compared.left_out > 0 {
        return Err(VerifyError::TooMany(compared.left_out));
    }
    if compared.count() == 0 && restless > 0 {
        return Err(VerifyError::Restless(restless));
    }
    Ok(compared)
}

struct Comparison<'a> {
    subject: &'a Subject,
    table: Arc<Table>,
    source: SourceSide,
    destination: DestinationSide,
    columns: Vec<String>,
    rows_estimated: u64,
    key_limit: usize,
}

impl<'a> Comparison<'a> {
    async fn open(servers: &Servers, subject: &'a Subject, table: &Arc<Table>) -> Result<Self, VerifyError> {
        let mut source = servers.source.connect().await?;
        let found = read_table(&mut source, &table.id).await?;
        let found = found.ok_or_else(|| VerifyError::Gone(table.id.to_string()))?;
        let mut destination = servers.destination.connect().await?;
        let shape = catalog::shape(&mut destination, servers.dialect, &subject.target).await?;
        let shape = shape.ok_or_else(|| VerifyError::NoTarget(subject.target.to_string()))?;
        let plan = Arc::new(TransferPlan::compile(table, &subject.rule, &shape)?);
        let canonical = Canonical::new(&plan, table, &subject.rule, &Hash128::default());
        let columns = canonical.names().to_vec();
        let key_bytes = KEY_BYTES + COLUMN_BYTES * u64::try_from(columns.len()).unwrap_or(u64::MAX);
        let key_limit = (servers.memory_bytes / key_bytes).max(1_000);
        let piece_rows =
            (PIECE_BYTES / found.row_bytes_estimated().max(1)).clamp(*PIECE_ROWS.start(), *PIECE_ROWS.end());
        Ok(Self {
            subject,
            table: Arc::clone(table),
            source: SourceSide::new(source, table, &plan, canonical.clone(), piece_rows).await?,
            destination: DestinationSide::new(
                destination,
                table,
                &subject.rule,
                &plan,
                &shape,
                canonical,
                if servers.dialect.distributed { piece_rows * DISTRIBUTED } else { piece_rows },
            ),
            columns,
            rows_estimated: found.rows_estimated,
            key_limit: usize::try_from(key_limit).unwrap_or(usize::MAX),
        })
    }

    /// Both sides at the same time.
    async fn sum(&mut self) -> Result<(Buckets, Buckets), VerifyError> {
        let count = suitable(self.rows_estimated);
        let (mut ours, mut theirs) = (Buckets::new(count), Buckets::new(count));
        let progress = RefCell::new(self.progress("comparing"));
        let source = self.source.scan(|digest, _| {
            ours.add(digest);
            progress.borrow_mut().row();
        });
        let destination = self.destination.scan(|digest, _| {
            theirs.add(digest);
            progress.borrow_mut().row();
        });
        tokio::try_join!(source, destination)?;
        Ok((ours, theirs))
    }

    /// The source first: what the destination has is paired with it as it comes.
    async fn pair(&mut self, group: &Group, suspects: Suspects) -> Result<Suspects, VerifyError> {
        tracing::debug!(table = %self.table.id, rows = group.rows(), "looking for rows that differ");
        let mut matcher = Matcher::new(suspects, self.key_limit);
        let mut progress = self.progress("looking for rows that differ");
        self.source
            .scan(|digest, key| {
                progress.row();
                if group.has(digest.id) {
                    matcher.source(digest, key);
                }
            })
            .await?;
        self.destination
            .scan(|digest, key| {
                progress.row();
                if group.has(digest.id) {
                    matcher.destination(digest, key);
                }
            })
            .await?;
        Ok(matcher.finish())
    }

    fn progress(&self, what: &str) -> Progress {
        Progress::begin(format!("{}: {what}", self.table.id), self.rows_estimated.saturating_mul(2))
    }

    /// Returns how many keys could not be judged.
    async fn recheck(
        &mut self,
        lag: &mut Lag,
        suspects: Suspects,
        compared: &mut Compared,
    ) -> Result<usize, VerifyError> {
        let mut open = suspects.keys;
        let mut sights: HashMap<u128, Sight> = HashMap::new();
        for round in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            tracing::debug!(table = %self.table.id, round, keys = open.len(), "looking again");
            let keys: Vec<&[u8]> = open.values().map(|key| &**key).collect();
            let mut before = self.source.lookup(&keys).await?;
            let topic = &self.subject.generation.topic;
            lag.pass(self.source.connection(), self.destination.connection(), topic, self.subject.partitions)
                .await?;
            let mut destination = self.destination.lookup(&keys).await?;
            let mut after = self.source.lookup(&keys).await?;
            let mut previous = std::mem::take(&mut sights);
            open.retain(|id, key| {
                let take = |side: &mut HashMap<_, _>| side.remove(id).unwrap_or_default();
                let sight = Sight {
                    before: take(&mut before),
                    destination: take(&mut destination),
                    after: take(&mut after),
                };
                match judge(self.subject.judged, previous.remove(id).as_ref(), sight) {
                    RowVerdict::Equal => false,
                    RowVerdict::Different(difference) => {
                        compared.differences.insert(describe(&self.table, key), difference);
                        false
                    }
                    RowVerdict::Open(sight) => {
                        sights.insert(*id, sight);
                        true
                    }
                }
            });
        }
        Ok(open.len())
    }
}
