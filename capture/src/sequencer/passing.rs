//! What lies between the place that a stream is resumed from and the place up to which all is published. Without GTIDs the stream
//! is resumed before the XA transactions that are prepared and not decided, for their rows are in no other place; what else is
//! there was published before.
//!
//! Invariant: exactly the events before `until` are passed over, whatever files they are in. The checkpoint stays where it is
//! meanwhile.

use super::Sequencer;
use super::halt::Halt;
use crate::binlog::batch::BatchedEvent;
use crate::binlog::event::kind;
use crate::binlog::query::Xid;
use crate::binlog::{EventBody, EventHeader, parse};
use crate::ddl::{SqlMode, Statement, classify};
use tributary_schemas::checkpoint::{BinlogPlace, Checkpoint};
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;

/// Where the first event of a file is.
const FIRST_OFFSET: u64 = 4;

/// Where the stream of a source without GTIDs is to be resumed: before the first prepared transaction whose rows may still be
/// had, or where everything is published. The request has 32 bits for an offset: for one behind 4 GiB the file is asked for
/// from its beginning.
#[must_use]
pub(crate) fn resume_from(checkpoint: &Checkpoint) -> Position {
    let here = &checkpoint.position;
    let places = checkpoint.undecided.iter().filter_map(|undecided| undecided.place.as_ref());
    let at = |place: &BinlogPlace| Position {
        file: place.file.clone(),
        offset: place.offset,
        gtid_set: GtidSet::default(),
        server_uuid: here.server_uuid.clone(),
    };
    let published = bare(here);
    let from =
        places.map(at).fold(published, |first, other| if first.covers(&other) { other } else { first });
    let offset = if from.offset > u64::from(u32::MAX) { FIRST_OFFSET } else { from.offset };
    Position { gtid_set: here.gtid_set.clone(), offset, ..from }
}

/// By file and offset alone.
fn bare(position: &Position) -> Position {
    Position { gtid_set: GtidSet::default(), ..position.clone() }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Passing {
    here: Position,
    until: Position,
    /// The last event that has a place was passed over; those inside it are, too.
    passed: bool,
}

impl Passing {
    /// `None` if the stream is resumed where everything is published.
    #[must_use]
    pub(super) fn new(from: &Position, until: &Position) -> Option<Self> {
        let (here, until) = (bare(from), bare(until));
        (!here.covers(&until)).then_some(Self { here, until, passed: true })
    }

    /// The next event of the stream: true if it is to be passed over, false once it and all that follow are new.
    pub(super) fn passes_over(
        &mut self,
        header: &EventHeader,
        inside_payload: bool,
        body: &EventBody<'_>,
    ) -> bool {
        if !inside_payload {
            self.passed = self.passes_over_placed(header, body);
        }
        self.passed
    }

    fn passes_over_placed(&mut self, header: &EventHeader, body: &EventBody<'_>) -> bool {
        if self.here.covers(&self.until) {
            return false;
        }
        if let EventBody::Rotate { offset, file } = body {
            // The server tells where it begins to send; a file's end tells where it goes on.
            (self.here.file, self.here.offset) = ((*file).to_owned(), *offset);
            return !self.here.covers(&self.until) || self.here == self.until;
        }
        if !header.is_artificial() && header.kind != kind::FORMAT_DESCRIPTION && header.next_offset > 0 {
            // 32 bits of it; the rest is counted, as in `progress`.
            let high = self.here.offset & !u64::from(u32::MAX);
            let offset = high | u64::from(header.next_offset);
            self.here.offset = if offset < self.here.offset { offset + (1 << 32) } else { offset };
        }
        true
    }
}

impl Sequencer {
    /// The stream is resumed at `from`.
    pub(crate) fn resume_at(&mut self, from: &Position) {
        self.passing = Passing::new(from, self.progress.position());
    }

    /// True if the event was before the place up to which everything is published. Of what is there the events of prepared
    /// transactions are kept.
    pub(super) fn pass_over(&mut self, event: BatchedEvent<'_>) -> Result<bool, Halt> {
        let Some(passing) = &mut self.passing else { return Ok(false) };
        let body = parse(event.header.kind, event.data, &self.format)?;
        if !passing.passes_over(&event.header, event.inside_payload, &body) {
            self.passing = None;
            return Ok(false);
        }
        if self.collect(event, &body) {
            return Ok(true);
        }
        match body {
            EventBody::FormatDescription(context) => self.format = context,
            EventBody::XaPrepare { xid, one_phase } => {
                self.pass_over_prepare(xid, one_phase);
            }
            EventBody::Query(query) if query.statement != b"BEGIN" => {
                let (text, _) = query.text();
                match classify(&text, query.database, SqlMode::new(query.sql_mode)) {
                    Statement::XaStart { xid } if self.progress.is_undecided(&xid.to_string()) => {
                        self.prepared.start();
                    }
                    Statement::XaPrepare { xid } => self.pass_over_prepare(xid, false),
                    Statement::XaCommit { xid, .. } | Statement::XaRollback { xid } => {
                        // An earlier transaction of the same name.
                        drop(self.prepared.decide(&xid));
                        drop(self.prepared.take_collected());
                    }
                    Statement::RollbackTo { .. } => self.prepared.roll_back_part(),
                    Statement::Commit | Statement::Rollback => drop(self.prepared.take_collected()),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn pass_over_prepare(&mut self, xid: Xid, one_phase: bool) {
        if one_phase {
            drop(self.prepared.take_collected());
        } else {
            self.prepared.prepare(xid, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::FormatContext;
    use proptest::prelude::*;
    use tributary_schemas::FORMAT_VERSION;
    use tributary_schemas::checkpoint::Undecided;

    fn at(file: usize, offset: u64) -> Position {
        Position {
            file: format!("binlog.{file:06}"),
            offset,
            gtid_set: GtidSet::default(),
            server_uuid: "u".into(),
        }
    }

    fn header(kind: u8, next_offset: u64, flags: u16) -> EventHeader {
        let next_offset = u32::try_from(next_offset % (1 << 32)).unwrap();
        EventHeader { timestamp_seconds: 1, kind, server_id: 1, size_bytes: 0, next_offset, flags }
    }

    /// Event of a stream: its place behind it and whether it is inside a payload.
    type Sent = (EventHeader, Vec<u8>, bool);

    fn rotate(file: usize, offset: u64, artificial: bool) -> Sent {
        let data = [&offset.to_le_bytes()[..], format!("binlog.{file:06}").as_bytes()].concat();
        (
            header(kind::ROTATE, if artificial { 0 } else { 999_999 }, if artificial { 0x20 } else { 0 }),
            data,
            false,
        )
    }

    /// What a server sends from a place on: files of events of 2 GiB, some with events inside them.
    fn sent(files: &[Vec<bool>], (from_file, from_offset): (usize, u64)) -> Vec<(Sent, Position)> {
        let mut all = vec![(rotate(from_file, from_offset, true), at(from_file, from_offset))];
        for (file, events) in files.iter().enumerate().skip(from_file) {
            let begin = (header(kind::FORMAT_DESCRIPTION, 126, 0), Vec::new(), false);
            all.push((begin, at(file, 4)));
            for (number, folded) in (1..).zip(events) {
                let behind = 4 + number * (1 << 31);
                if file == from_file && behind <= from_offset {
                    continue;
                }
                all.push(((header(kind::STOP, behind, 0), Vec::new(), false), at(file, behind)));
                if *folded {
                    all.push(((header(kind::STOP, 0, 0), Vec::new(), true), at(file, behind)));
                }
            }
            if file + 1 < files.len() {
                all.push((rotate(file + 1, 4, false), at(file + 1, 4)));
                all.push((rotate(file + 1, 4, true), at(file + 1, 4)));
            }
        }
        all
    }

    proptest! {
        #[test]
        fn exactly_what_was_published_is_passed_over(
            files in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..5), 1..4),
            places in prop::collection::vec((0_usize..4, 0_u64..5), 2),
        ) {
            let place = |(file, number): (usize, u64)| {
                let file = file.min(files.len() - 1);
                (file, 4 + number.min(u64::try_from(files[file].len()).unwrap()) * (1 << 31))
            };
            let mut ends = [place(places[0]), place(places[1])];
            ends.sort_unstable();
            let [from, until] = ends;
            let until = at(until.0, until.1);
            let mut passing = Passing::new(&at(from.0, from.1), &until);
            prop_assert_eq!(passing.is_none(), ends[0] == ends[1]);
            for ((header, data, inside), behind) in sent(&files, from) {
                let body = match header.kind {
                    kind::FORMAT_DESCRIPTION => EventBody::Stop,
                    other => parse(other, &data, &FormatContext::default()).unwrap(),
                };
                let passed = passing.as_mut().is_some_and(|passing| passing.passes_over(&header, inside, &body));
                // What has no place of its own may be either: it is looked at only for its file.
                let says_something = header.kind == kind::STOP;
                if says_something {
                    prop_assert_eq!(passed, until.covers(&behind), "{:?}", behind);
                }
                // A file that begins behind all is not missed.
                if header.kind == kind::ROTATE && !until.covers(&behind) {
                    prop_assert!(!passed);
                }
                if !passed {
                    passing = None;
                }
            }
        }
    }

    #[test]
    fn the_stream_is_resumed_before_the_first_transaction_that_is_not_decided() {
        let undecided = |place: Option<(usize, u64)>| Undecided {
            xid: "X'61',X'',1".into(),
            gtid: None,
            place: place.map(|(file, offset)| BinlogPlace { file: at(file, offset).file, offset }),
            tables: Vec::new(),
        };
        let mut checkpoint = Checkpoint {
            format: FORMAT_VERSION,
            position: at(10, 500),
            file_created: None,
            source_started: None,
            transaction: 7,
            partials: Vec::new(),
            undecided: vec![undecided(None)],
        };
        assert_eq!(resume_from(&checkpoint), at(10, 500));
        checkpoint.undecided.extend([
            undecided(Some((10, 300))),
            undecided(Some((9, 900))),
            undecided(Some((10, 4))),
        ]);
        assert_eq!(resume_from(&checkpoint), at(9, 900));
        checkpoint.undecided.push(undecided(Some((8, u64::from(u32::MAX)))));
        assert_eq!(resume_from(&checkpoint), at(8, u64::from(u32::MAX)));
        checkpoint.undecided.clear();
        checkpoint.position = at(10, 1 << 32);
        let from = resume_from(&checkpoint);
        assert_eq!(from, at(10, 4), "32 bits do not hold it");
        assert!(Passing::new(&from, &checkpoint.position).is_some(), "what is before it is passed over");
    }
}
