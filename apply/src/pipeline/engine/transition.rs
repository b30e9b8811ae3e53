//! [`EngineTable::transition`], the one way from one [`Standing`] to another, and what leads there.

use super::index::TableIndex;
use super::standing::{Parked, Standing};
use super::table::EngineTable;
use super::{Engine, Event};
use crate::pipeline::worker::statistics_of;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_service::exit::Failure;
use tributary_service::status::{ErrorDocument, TableState};
use tributary_warehouse::destination::{DestinationError, TableError, loggable};

impl EngineTable {
    pub(super) const fn is_parked(&self) -> bool {
        matches!(self.standing, Standing::Parked(_))
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.standing, Standing::Closing { .. })
    }

    /// Why a table that is closing is to be parked now: everything that came before is in the destination.
    pub(super) fn closed(&self) -> Option<TableError> {
        match &self.standing {
            Standing::Closing { error, .. } if self.flow.is_written() => Some(error.clone()),
            _ => None,
        }
    }

    /// From here on the table stands there: records, jobs, log and status follow.
    fn transition(&mut self, to: Standing) {
        let (table, tried) = (&self.task.name, self.tried());
        match &to {
            Standing::Running => {
                self.flow.unpark();
                self.status.set_state(TableState::CatchingUp);
            }
            Standing::Tried(_) => {
                tracing::debug!(%table, "parked: tried again");
                self.flow.unpark();
            }
            Standing::Closing { .. } => {
                self.flow.close();
                self.let_go();
            }
            Standing::Parked(Parked { error, marked_at, .. }) => {
                if tried == Some(error) {
                    tracing::debug!(%table, code = error.code, "still parked");
                } else if marked_at.is_some() {
                    tracing::info!(%table, code = error.code, "parked by another instance");
                } else {
                    tracing::error!(
                        %table, code = error.code, place = error.place, remedy = error.remedy, "parked: {}",
                        loggable(&error.message)
                    );
                }
                let message = format!("{} ({})", error.message, error.place);
                self.status.park(ErrorDocument::new(&*error.code, message, &*error.remedy));
                self.flow.park();
                self.let_go();
                self.forget_failures();
            }
        }
        self.standing = to;
    }

    /// What the table is tried for, while that has not come to an end.
    const fn tried(&self) -> Option<&TableError> {
        match &self.standing {
            Standing::Tried(error) => Some(error),
            Standing::Closing { tried, .. } => tried.as_ref(),
            Standing::Running | Standing::Parked(_) => None,
        }
    }

    /// Forgets what is held back.
    fn let_go(&mut self) {
        self.partitions.values_mut().for_each(|reading| reading.stash.clear());
    }

    /// Tries a parked table again if it is time.
    pub(super) fn try_again(&mut self, now: Instant) {
        if let Standing::Parked(Parked { error, retry: Some(retry), .. }) = &self.standing
            && now >= *retry
            && self.has_partitions()
        {
            self.transition(Standing::Tried(error.clone()));
        }
    }

    /// True while what is tried has neither written anything nor come to an end.
    pub(super) fn is_tried(&mut self) -> bool {
        if self.tried().is_some() {
            if !self.has_partitions() {
                self.end_trial();
            } else if self.flow.is_at_end() {
                self.recovered();
            }
        }
        self.tried().is_some()
    }

    /// What had stopped the table is gone.
    pub(super) fn recovered(&mut self) {
        if self.tried().is_some() {
            tracing::info!(table = %self.task.name, "goes on: what had parked it is mended");
            self.end_trial();
        }
    }

    fn end_trial(&mut self) {
        match &mut self.standing {
            Standing::Closing { tried, .. } => *tried = None,
            _ => self.transition(Standing::Running),
        }
    }

    /// What was taken is to be read again, the record at which the table was to be parked with it: only behind everything
    /// before it may it park the table.
    pub(super) fn reopen(&mut self) {
        if let Standing::Closing { tried, .. } = &mut self.standing {
            let to = tried.take().map_or(Standing::Running, Standing::Tried);
            self.transition(to);
        }
    }

    /// The table is emptied, or read anew: mostly the way out of what has stopped it, and else that stops it again.
    pub(super) fn begin_anew(&mut self) {
        if self.is_parked() || self.is_closing() {
            self.transition(Standing::Running);
        }
    }

    /// The replay command has taken the destination back.
    pub(super) fn replay(&mut self) {
        self.flow.forget();
        self.let_go();
        self.retries.forget();
        self.transition(Standing::Running);
    }

    /// The bookkeeping has a mark, or has none; `view` is the last one that was asked for when that was known.
    fn see_mark(&mut self, mark: Option<TableError>, view: u64, interval: Duration) {
        match (&mut self.standing, mark) {
            (Standing::Parked(parked), Some(_)) => parked.marked_at = Some(view),
            // A table that is loading takes its own mark away; what is shown here is older than that.
            (_, Some(error)) if self.flow.has_running() && !self.marks.may_show(view) => {
                self.transition(Standing::Parked(Parked::new(error, Some(view), Instant::now(), interval)));
            }
            // The mark was there and is gone: another instance, a replay or a restart has taken the table up again.
            (Standing::Parked(parked), None) if parked.marked_at.is_some_and(|marked| marked < view) => {
                let to = parked.retry.map(|_| Standing::Tried(parked.error.clone()));
                self.transition(to.unwrap_or(Standing::Running));
            }
            _ => {}
        }
    }

    /// Forgets what failed: nothing of the table is tried here now, or it begins anew.
    pub(super) fn forget_failures(&mut self) {
        self.retries.forget();
        self.stuck_since = None;
        for what in [self.retry_name(), statistics_of(&self.task)] {
            self.service.retried(&what);
        }
    }
}

impl Engine {
    /// Takes what a view of the bookkeeping says of a table's mark.
    pub(super) fn take_mark(&mut self, index: TableIndex, mark: Option<TableError>) {
        self.tables[index].see_mark(mark, self.beats.views(), self.retry_parked);
    }

    /// What parked a table here is stored, or could not be: `marked` says whether the row of the topic has a mark, if that is
    /// known. The view that is under way may be older than that.
    pub(super) fn marked(&mut self, index: TableIndex, marked: Option<bool>) {
        let (table, view) = (&mut self.tables[index], self.beats.views());
        table.marks.ended(view);
        match (&mut table.standing, marked) {
            (_, Some(false)) | (Standing::Parked(_), None) => {}
            (Standing::Parked(parked), Some(true)) => parked.marked_at = Some(view),
            // It has been taken up meanwhile: reading the offsets takes the mark away.
            _ => {
                table.flow.reload();
                table.reopen();
            }
        }
    }

    /// Stops a table at a record that it cannot take, behind everything that came before.
    pub(super) fn close(&mut self, index: TableIndex, error: TableError) {
        let table = &mut self.tables[index];
        if !table.is_closing() && !table.is_parked() {
            let tried = table.tried().cloned();
            table.transition(Standing::Closing { error, tried });
        }
    }

    /// Stops a table; under `strict`, everything.
    pub(super) fn park(&mut self, index: TableIndex, error: TableError) -> Result<(), Failure> {
        let table = &mut self.tables[index];
        table.transition(Standing::Parked(Parked::new(
            error.clone(),
            None,
            Instant::now(),
            self.retry_parked,
        )));
        if self.context.config.strict {
            return Err(Failure::new(
                format!("{} cannot go on (strict = true)", table.task.name),
                loggable(&error.message),
            )
            .at(&error.place)
            .remedy(error.remedy_of_an_end()));
        }
        table.marks.begun();
        let (worker, topic) = (Arc::clone(&self.context.worker), table.task.topic.clone());
        let source = table.task.id.to_string();
        let (storing, sender) = (Arc::clone(&self.storing), self.context.sender.clone());
        self.context.runtime.spawn(async move {
            let _storing = storing;
            let stored = async {
                let mut lease = worker.pool().acquire(format!("why {source} is parked")).await?;
                let topic = (topic.as_str(), source.as_str());
                let marked = worker.bookkeeping().mark_parked(&mut lease, topic, &error).await?;
                lease.release();
                Ok::<_, DestinationError>(marked)
            };
            let stored = stored.await.inspect_err(|failure| {
                tracing::warn!(topic, error = %failure, "the reason for parking could not be stored");
            });
            // Where the answer was lost, the mark may be there.
            let marked = stored.ok();
            // The loop has ended, and the instance with it.
            let _ = sender.send(Event::Marked { table: index, marked });
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::flush::FlushLimits;
    use crate::pipeline::job::{Job, JobOutcome, Loaded};
    use std::sync::mpsc::channel;
    use tributary_config::{Config, TableRules};
    use tributary_schemas::history::SelectedTable;
    use tributary_schemas::table::TableId;
    use tributary_service::Service;
    use tributary_service::status::Status;
    use tributary_topics::history::History;
    use tributary_warehouse::tables::task::TableTask;

    const MINUTE: Duration = Duration::from_secs(60);

    fn parked(code: &str, marked_at: Option<u64>, now: Instant) -> Standing {
        Standing::Parked(Parked::new(error(code), marked_at, now, MINUTE))
    }

    fn table() -> EngineTable {
        let config = "name = \"t\"\nkafka.brokers = \"b\"\n[[table]]\nsource = \"shop.*\"";
        let config: Config = toml::from_str(config).unwrap();
        let (id, topic) = (TableId::new("shop", "orders"), "t.shop.orders".to_owned());
        let selected = SelectedTable { id, topic, partitions: 1, excluded: None };
        let rules = TableRules::new(&config).unwrap();
        let task = TableTask::new(&config, &rules, &History::of(&config.name), &selected).unwrap();
        let mut table =
            EngineTable::new(task, &Status::new("t", Service::Apply), (MINUTE, MINUTE), channel().0);
        table.assign(0);
        table
    }

    #[test]
    fn rows_that_were_on_their_way_do_not_mend_a_table_and_those_of_a_trial_do() {
        let (mut table, now) = (table(), Instant::now());
        table.transition(parked("42501", None, now));
        table.recovered();
        assert!(table.is_parked() && table.status.state() == TableState::Parked);
        table.try_again(now + MINUTE / 2);
        assert!(table.is_parked());
        table.try_again(now + MINUTE);
        assert!(!table.is_parked() && table.is_tried());
        assert_eq!(table.status.state(), TableState::Parked, "until something is written");
        table.recovered();
        assert!(matches!(table.standing, Standing::Running));
        assert_eq!(table.status.state(), TableState::CatchingUp);
    }

    #[test]
    fn a_mark_that_a_later_view_does_not_show_was_taken_away() {
        let (mut table, now) = (table(), Instant::now());
        table.transition(parked("42501", None, now));
        table.see_mark(None, 3, MINUTE);
        assert!(table.is_parked(), "it is not marked yet");
        table.see_mark(Some(error("42501")), 3, MINUTE);
        table.see_mark(None, 3, MINUTE);
        assert!(table.is_parked(), "the view is as old as the mark");
        table.see_mark(None, 4, MINUTE);
        assert!(table.is_tried());
        table.transition(parked("bad-row", Some(4), now));
        table.see_mark(None, 5, MINUTE);
        assert!(matches!(table.standing, Standing::Running), "another instance knows more of it");
    }

    #[test]
    fn a_late_mark_of_its_own_does_not_park_a_table_that_goes_on() {
        let (mut table, now) = (table(), Instant::now());
        table.transition(parked("foreign-record", None, now));
        table.marks.begun();
        table.begin_anew();
        let job = table.flow.next_job(&FlushLimits::default(), false, now);
        let Some(Job::Load { partitions }) = job else { unreachable!("the offsets are read: {job:?}") };
        let offsets = partitions.iter().map(|(partition, epoch)| Loaded {
            partition: *partition,
            epoch: *epoch,
            next_offset: 0,
            generation: 0,
        });
        table.flow.finish(JobOutcome::Loaded { done: 0, offsets: offsets.collect() });
        table.flow.sought(0);
        assert!(table.flow.has_running());
        table.see_mark(Some(error("foreign-record")), 3, MINUTE);
        assert!(!table.is_parked(), "it is still being stored");
        table.marks.ended(3);
        table.see_mark(Some(error("foreign-record")), 3, MINUTE);
        assert!(!table.is_parked(), "the view was asked for before");
        table.see_mark(Some(error("foreign-record")), 4, MINUTE);
        assert!(table.is_parked(), "another instance's");
    }

    #[test]
    fn a_table_that_is_tried_and_closes_is_tried_for_what_parked_it() {
        let (mut table, now) = (table(), Instant::now());
        table.transition(parked("42501", None, now));
        table.try_again(now + MINUTE);
        let tried = table.tried().cloned();
        table.transition(Standing::Closing { error: error("foreign-record"), tried });
        assert!(table.is_tried() && table.is_closing());
        assert_eq!(table.closed(), Some(error("foreign-record")), "nothing is left to write");
        table.recovered();
        assert!(table.is_closing() && !table.is_tried());
        table.begin_anew();
        assert!(matches!(table.standing, Standing::Running));
    }

    #[test]
    fn a_table_that_must_read_again_what_it_took_is_not_parked_before() {
        let (mut table, now) = (table(), Instant::now());
        table.transition(Standing::Closing { error: error("foreign-record"), tried: None });
        table.reopen();
        assert!(matches!(table.standing, Standing::Running));
        table.transition(parked("42501", None, now));
        table.try_again(now + MINUTE);
        let tried = table.tried().cloned();
        table.transition(Standing::Closing { error: error("foreign-record"), tried });
        table.assign(1);
        table.revoke(0);
        assert!(!table.is_closing() && table.is_tried(), "its rows are another instance's to write");
        assert_eq!(table.closed(), None);
    }

    fn error(code: &str) -> TableError {
        let text = String::new;
        TableError { code: code.to_owned(), message: text(), place: text(), remedy: text() }
    }

    fn retry(code: &str, now: Instant) -> Option<Instant> {
        Parked::new(error(code), None, now, MINUTE).retry
    }

    #[test]
    fn what_a_person_mends_on_the_destination_is_tried_again() {
        let now = Instant::now();
        for code in [
            "42501",
            "42P01",
            "3F000",
            "22003",
            "existing-data",
            "target-kind",
            "target-definition",
            "target-gone",
        ] {
            assert_eq!(retry(code, now), Some(now + MINUTE), "{code}");
        }
    }

    #[test]
    fn what_wants_a_command_or_another_configuration_is_not() {
        for code in [
            "foreign-record",
            "retention-exceeded",
            "topic-recreated",
            "target-changed",
            "rule-conflict",
            "bad-row",
        ] {
            assert_eq!(retry(code, Instant::now()), None, "{code}");
        }
    }
}
