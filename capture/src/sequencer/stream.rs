//! Binlog events, one by one: transactions begin and end, statements and row events are passed on to where they are
//! understood. Invariant: an event that cannot be understood and may not be ignored stops the task; it is never
//! skipped.

use super::Sequencer;
use super::halt::Halt;
use super::output::Now;
use super::tables::TableIndex;
use crate::binlog::batch::{BatchedEvent, EventBatch};
use crate::binlog::event::kind;
use crate::binlog::query::Query;
use crate::binlog::{EventBody, EventHeader, parse};
use crate::ddl::{Effect, SqlMode, Statement, classify};
use crate::remedies;
use tributary_schemas::gtid::{Gtid, GtidSet};
use tributary_schemas::table::TableId;

/// Records are sent when so much of them waits, in the middle of a batch, bytes.
pub(super) const PUBLISH_BYTES: usize = 256 << 10;

/// Why tables are read anew whose rows may not have happened.
pub(super) const ROLLED_BACK: &str = "a part of a transaction was rolled back in the binlog";

impl Sequencer {
    /// A batch of events of the stream, in order. Row events are handled where they stand; only what may need the world is
    /// a decision that can sleep.
    pub(crate) async fn on_events(&mut self, events: &EventBatch, now: Now) -> Result<(), Halt> {
        self.output.tick(now);
        for event in events.iter() {
            if self.passing.is_some() && self.pass_over(event)? {
                continue;
            }
            let header = event.header;
            if matches!(header.kind, kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID)
                && self.progress.open().is_some()
            {
                // CREATE TABLE … SELECT may leave its group without an event that ends it.
                self.end().await?;
            }
            match self.take_in(event)? {
                None => {}
                Some(EventBody::Rows(rows)) => self.on_rows(&header, &rows)?,
                Some(EventBody::TableMap(map)) => self.on_table_map(&map)?,
                Some(body) => self.on_body(&header, body).await?,
            }
            if self.output.outbox().uncommitted_bytes() >= self.setup.commit_bytes {
                self.commit().await;
            } else {
                self.publish(PUBLISH_BYTES).await;
            }
        }
        self.freshness.heard(now.instant, u64::try_from(now.wall_ms).unwrap_or(0));
        self.publish(0).await;
        Ok(())
    }

    /// What is in the event, unless it is kept for later.
    fn take_in<'e>(&mut self, event: BatchedEvent<'e>) -> Result<Option<EventBody<'e>>, Halt> {
        let BatchedEvent { header, data, inside_payload } = event;
        // The file's FORMAT_DESCRIPTION comes first wherever the stream begins, and may tell the place behind itself.
        if !inside_payload && !header.is_artificial() && header.kind != kind::FORMAT_DESCRIPTION {
            self.progress.advance(header.next_offset);
        }
        let body = parse(header.kind, data, &self.format)?;
        if self.collect(event, &body) {
            return Ok(None);
        }
        if header.timestamp_seconds > 0 && !matches!(body, EventBody::FormatDescription(_)) {
            self.freshness.event(header.timestamp_seconds);
        }
        Ok(Some(body))
    }

    /// Everything but row events.
    async fn on_body(&mut self, header: &EventHeader, body: EventBody<'_>) -> Result<(), Halt> {
        match body {
            // Without `gtid_mode = ON` only some transactions have one, and the place is file and offset.
            EventBody::Gtid(event) => {
                self.freshness.transaction(event.immediate_commit_micros);
                self.begin(Some(event.gtid).filter(|_| self.snapshot.has_gtid()));
            }
            EventBody::AnonymousGtid => {
                self.freshness.transaction(None);
                self.begin(None);
            }
            EventBody::Xid(_) => self.end().await?,
            EventBody::Query(query) => self.on_query(&query).await?,
            EventBody::FormatDescription(context) => {
                self.format = context;
                self.progress.describe(header.timestamp_seconds);
            }
            EventBody::Rotate { offset, file } => self.progress.rotate(file.to_owned(), offset),
            EventBody::Heartbeat { .. } => {
                self.freshness.heartbeat();
                self.settle().await?;
            }
            EventBody::PreviousGtids(before) => self.on_previous_gtids(&before).await?,
            EventBody::XaPrepare { xid, one_phase } => {
                self.on_xa_prepare(xid, one_phase).await?;
            }
            EventBody::Incident { message, .. } => {
                let message = String::from_utf8_lossy(message).into_owned();
                return Err(self.lost("the source lost events (an INCIDENT event)", &message));
            }
            EventBody::LoadQuery(query) => {
                let (text, _) = query.text();
                let mut statement = classify(&text, query.database, SqlMode::new(query.sql_mode));
                if self.setup.lowercase_names {
                    statement = statement.with_lowercase_names();
                }
                let tables = match statement {
                    Statement::Dml { tables } => tables,
                    _ => None,
                };
                self.on_statement_dml(tables.as_deref(), &text);
            }
            EventBody::Unknown(kind) if !header.is_ignorable() => {
                let why = format!("events of type {kind} are not known to this version");
                return Err(self.lost("the binlog holds an event of an unknown type", &why));
            }
            EventBody::Rows(_)
            | EventBody::TableMap(_)
            | EventBody::RowsQuery(_)
            | EventBody::Stop
            | EventBody::StatementFormat(_)
            | EventBody::Other(_)
            | EventBody::Unknown(_) => {}
        }
        Ok(())
    }

    fn lost(&self, what: &str, why: &str) -> Halt {
        Halt::stop(what, self.progress.position(), why, remedies::stream_broken())
    }

    /// A file begins, behind these transactions. Asked for an offset, the server passes over a file that does not begin with
    /// its PREVIOUS_GTIDS; asked by GTIDs alone, it does not.
    async fn on_previous_gtids(&mut self, before: &GtidSet) -> Result<(), Halt> {
        if self.snapshot.has_gtid() && self.progress.misses(before) {
            self.progress.forget_file();
            self.commit().await;
            let file = self.progress.file();
            return Err(Halt::Restart(format!(
                "transactions before the file {file} were not sent; the binlog is searched for them by GTID"
            )));
        }
        self.settle().await
    }

    /// An event of no transaction ends. A source that writes nothing more has brought the stream to the place that a table
    /// waits for all the same.
    async fn settle(&mut self) -> Result<(), Halt> {
        self.progress.settle();
        if self.progress.open().is_none() && self.tables.is_waiting() {
            self.join_arrived().await
        } else {
            Ok(())
        }
    }

    fn begin(&mut self, gtid: Option<Gtid>) {
        self.progress.begin(gtid, |id| self.tables.find(id));
    }

    /// A statement that commits by itself ends its transaction, unless it stands between BEGIN and COMMIT.
    pub(super) async fn end_implicit(&mut self) -> Result<(), Halt> {
        if self.explicit { Ok(()) } else { self.end().await }
    }

    /// The open transaction ends.
    pub(super) async fn end(&mut self) -> Result<(), Halt> {
        if let Some(group) = self.prepared.take_collected() {
            self.abandon(&group.events)?;
        }
        self.progress.end();
        self.explicit = false;
        self.transaction_tables.clear();
        self.maps.trim();
        self.prove_definitions();
        // What is to be read anew is written down before anything can commit a checkpoint behind it.
        if self.tables.is_reread_due() {
            self.begin_rereads().await
        } else if self.tables.is_waiting() {
            self.join_arrived().await
        } else {
            Ok(())
        }
    }

    async fn on_query(&mut self, query: &Query<'_>) -> Result<(), Halt> {
        // MySQL writes BEGIN for every transaction: not worth a parser.
        if query.statement == b"BEGIN" {
            self.explicit = true;
            return Ok(());
        }
        // The statement's session decides how its text is read and what a MODIFY did to values; where the event does not
        // say, the careful reading is the one that reads the table anew.
        let mode = SqlMode::new(query.sql_mode);
        self.setup.session.mode = mode;
        self.setup.session.explicit_timestamps =
            query.explicit_timestamps.unwrap_or(self.setup.explicit_timestamps);
        let (text, faithful) = query.text();
        let mut statement = classify(&text, query.database, mode);
        if let (Statement::Ddl(effects), false) = (&mut statement, faithful) {
            let reason = "a statement in a character set that is not known here";
            for effect in effects.iter_mut().filter(|effect| matches!(effect.effect, Effect::Alter(_))) {
                effect.effect = Effect::Unknown { reason: reason.to_owned() };
            }
        }
        if self.setup.lowercase_names {
            statement = statement.with_lowercase_names();
        }
        match statement {
            Statement::Begin => {
                self.explicit = true;
                Ok(())
            }
            Statement::Savepoint { .. } | Statement::XaEnd { .. } => Ok(()),
            Statement::Commit => self.end().await,
            Statement::Rollback => {
                self.rolled_back();
                self.end().await
            }
            Statement::RollbackTo { .. } => {
                self.rolled_back();
                Ok(())
            }
            Statement::XaStart { .. } => {
                self.explicit = true;
                self.prepared.start();
                Ok(())
            }
            Statement::XaPrepare { xid } => self.on_xa_prepare(xid, false).await,
            Statement::XaCommit { xid, one_phase } => {
                if one_phase {
                    self.on_xa_prepare(xid, true).await
                } else {
                    self.on_xa_commit(&xid).await
                }
            }
            Statement::XaRollback { xid } => {
                let group = self.prepared.decide(&xid);
                self.progress.decided(&xid.to_string(), group.and_then(|group| group.gtid).as_ref());
                self.end().await
            }
            Statement::Dml { tables } => {
                self.on_statement_dml(tables.as_deref(), &text);
                Ok(())
            }
            Statement::Other | Statement::DatabaseCharset { .. } => self.end_implicit().await,
            Statement::Unreadable { reason } => {
                Err(self
                    .lost("a statement of the binlog cannot be understood", &format!("{text:?}: {reason}")))
            }
            Statement::Ddl(effects) => self.on_ddl(effects, &text).await,
            Statement::DropDatabase { database } => self.on_drop_database(&database, &text).await,
        }
    }

    /// Rows that were published did not happen after all (only a transaction that mixes engines is logged like this).
    pub(super) fn rolled_back(&mut self) {
        self.prepared.roll_back_part();
        for index in std::mem::take(&mut self.transaction_tables) {
            self.tables.reread(index, ROLLED_BACK);
        }
    }

    /// Rows changed that no row event tells of: the tables that the statement may have written are read anew; all of
    /// them, where it does not show, or where a name may be a view's.
    fn on_statement_dml(&mut self, tables: Option<&[TableId]>, text: &str) {
        let why = format!(
            "a change was logged in statement format, and binlog_format must be ROW for every session: {}",
            outline(text, tables)
        );
        let is_excluded =
            |id: &TableId| self.selected.get(id).is_some_and(|selected| selected.excluded.is_some());
        let is_table = |id: &TableId| self.exists(id) || is_excluded(id) || !self.setup.selection.selects(id);
        self.reread_tables(tables.filter(|tables| tables.iter().all(is_table)), &why);
    }

    /// Has those of `tables` that are replicated read anew once the open transaction has ended; `None`: every one. A table
    /// that waits to join is read behind this place in any case.
    pub(super) fn reread_tables(&mut self, tables: Option<&[TableId]>, why: &str) {
        let concerned: Vec<TableIndex> = self
            .tables
            .iter()
            .filter(|(index, _)| self.tables.is_streaming(*index))
            .filter(|(_, table)| tables.is_none_or(|tables| tables.contains(&table.id)))
            .map(|(index, _)| index)
            .collect();
        for index in concerned {
            self.tables.reread(index, why);
        }
    }
}

/// What is said of a statement: its kind and the tables that it names, for its text holds values of rows.
fn outline(text: &str, tables: Option<&[TableId]>) -> String {
    const KINDS: [&str; 7] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "WITH", "CALL"];
    let first = text.split_whitespace().next().unwrap_or_default();
    let kind = KINDS.into_iter().find(|kind| first.eq_ignore_ascii_case(kind)).unwrap_or("a statement");
    match tables {
        Some(tables) => {
            let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
            format!("{kind} on {}", names.join(", "))
        }
        None => format!("{kind} whose tables cannot be told"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_statement_is_told() {
        let tables = [TableId::new("shop", "a"), TableId::new("shop", "b")];
        assert_eq!(outline("update a, b SET n = 'secret'", Some(&tables)), "UPDATE on shop.a, shop.b");
        assert_eq!(outline("/*secret*/DELETE FROM a", None), "a statement whose tables cannot be told");
    }
}
