//! A stream that begins inside a binlog file. Asked by GTIDs alone the server reads the file from its beginning to find
//! what is missing: up to `max_binlog_size` (1 GiB) at every connection. Asked for the file from an offset on as well it
//! does not. A checkpoint enters, where to begin leaves; then the stream's first events enter, and whether they are what
//! follows the checkpoint leaves.
//!
//! Invariant: nothing behind the offset is taken before it is proven that the file is the one that was left and that no
//! transaction is missing in between: the name alone returns after RESET BINARY LOGS AND GTIDS, and with a data folder that
//! was put back.

use crate::binlog::batch::BatchedEvent;
use crate::binlog::event::kind;
use crate::binlog::{EventBody, FormatContext, parse};
use tributary_schemas::checkpoint::Checkpoint;
use tributary_schemas::gtid::{Gtid, GtidSet};

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seek {
    /// The server whose file it is.
    pub server_uuid: String,
    /// The file.
    pub file: String,
    /// Behind the last transaction that was read, bytes.
    pub offset: u64,
    /// When the file was created, seconds since 1970.
    pub created_seconds: u32,
}

impl Seek {
    /// The place of a checkpoint; `None` if it is one that only its GTID set tells.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Option<Self> {
        let position = &checkpoint.position;
        let created_seconds = checkpoint.file_created?;
        let told = !position.file.is_empty() && !position.gtid_set.is_empty();
        told.then(|| Self {
            server_uuid: position.server_uuid.clone(),
            file: position.file.clone(),
            offset: position.offset,
            created_seconds,
        })
    }
}

/// What an event says of the place.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// It is the place.
    Proven,
    /// It is another one: why.
    Refuted(String),
}

/// The first events of a stream that began at a [`Seek`], until one proves or refutes it.
#[derive(Debug)]
pub struct Doubt<'a> {
    seek: &'a Seek,
    known: &'a GtidSet,
    described: bool,
}

impl<'a> Doubt<'a> {
    /// `known` has the transactions that were asked behind.
    #[must_use]
    pub const fn new(seek: &'a Seek, known: &'a GtidSet) -> Self {
        Self { seek, known, described: false }
    }

    /// The next event, from the first.
    pub fn judge(&mut self, event: BatchedEvent<'_>) -> Verdict {
        match event.header.kind {
            // Of the file that was asked for; those that follow are of other files.
            kind::FORMAT_DESCRIPTION if !self.described => {
                self.described = true;
                let created = event.header.timestamp_seconds;
                if created == self.seek.created_seconds {
                    Verdict::Open
                } else {
                    Verdict::Refuted(format!(
                        "it was created at {created} (seconds since 1970), the one that was read at {}",
                        self.seek.created_seconds
                    ))
                }
            }
            kind::FORMAT_DESCRIPTION
            | kind::ROTATE
            | kind::PREVIOUS_GTIDS
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::STOP => Verdict::Open,
            kind::GTID | kind::GTID_TAGGED => {
                match parse(event.header.kind, event.data, &FormatContext::default()) {
                    Ok(EventBody::Gtid(first)) if self.described && follows(&first.gtid, self.known) => {
                        Verdict::Proven
                    }
                    Ok(EventBody::Gtid(first)) => Verdict::Refuted(format!(
                        "transaction {} is there, the one before it was not read",
                        first.gtid
                    )),
                    Ok(_) => Verdict::Refuted("it does not go on with a transaction".to_owned()),
                    Err(error) => Verdict::Refuted(error.to_string()),
                }
            }
            other => {
                Verdict::Refuted(format!("an event of type {other} is there, not a transaction's first"))
            }
        }
    }
}

/// True if no transaction of its source can lie between `known` and this one.
fn follows(gtid: &Gtid, known: &GtidSet) -> bool {
    let before = gtid.number - 1;
    before == 0 || known.contains(&Gtid { source: gtid.source.clone(), number: before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventHeader;
    use tributary_schemas::FORMAT_VERSION;
    use tributary_schemas::position::Position;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn checkpoint() -> Checkpoint {
        let position = Position {
            gtid_set: format!("{UUID}:1-50").parse().unwrap(),
            file: "binlog.000003".into(),
            offset: 500,
            server_uuid: UUID.into(),
        };
        Checkpoint {
            format: FORMAT_VERSION,
            position,
            file_created: Some(1000),
            transaction: 7,
            partials: Vec::new(),
        }
    }

    /// GTID_LOG_EVENT as far as it is needed: flags, uuid, number.
    fn gtid(number: u64) -> (u8, u32, Vec<u8>) {
        let uuid = u128::from_str_radix(&UUID.replace('-', ""), 16).unwrap().to_be_bytes();
        (kind::GTID, 2000, [&[0][..], &uuid, &number.to_le_bytes()].concat())
    }

    /// The last verdict on events of type, timestamp and data.
    fn verdict(events: &[(u8, u32, Vec<u8>)]) -> Verdict {
        let checkpoint = checkpoint();
        let seek = Seek::of(&checkpoint).unwrap();
        let mut doubt = Doubt::new(&seek, &checkpoint.position.gtid_set);
        let mut last = Verdict::Open;
        for (kind, timestamp_seconds, data) in events {
            assert_eq!(last, Verdict::Open);
            let header = EventHeader {
                timestamp_seconds: *timestamp_seconds,
                kind: *kind,
                server_id: 1,
                size_bytes: 0,
                next_offset: 0,
                flags: 0,
            };
            last = doubt.judge(BatchedEvent { header, data, inside_payload: false });
        }
        last
    }

    fn bare(kind: u8, timestamp: u32) -> (u8, u32, Vec<u8>) {
        (kind, timestamp, Vec::new())
    }

    #[test]
    fn the_file_that_was_left_is_proven_by_the_transaction_that_follows() {
        let beginning = [bare(kind::ROTATE, 0), bare(kind::FORMAT_DESCRIPTION, 1000)];
        assert_eq!(verdict(&beginning), Verdict::Open);
        assert_eq!(verdict(&[&beginning[..], &[gtid(51)]].concat()), Verdict::Proven);
        // It had been read to its end, and others follow.
        let next =
            [bare(kind::ROTATE, 0), bare(kind::FORMAT_DESCRIPTION, 3000), bare(kind::PREVIOUS_GTIDS, 1)];
        let heartbeat = [bare(kind::HEARTBEAT_V2, 0)];
        assert_eq!(verdict(&[&beginning[..], &next, &heartbeat, &[gtid(51)]].concat()), Verdict::Proven);
    }

    #[test]
    fn a_file_of_the_same_name_is_refuted_by_its_time_or_by_a_gap_or_by_what_is_at_the_offset() {
        let refuted = |events: &[(u8, u32, Vec<u8>)]| match verdict(events) {
            Verdict::Refuted(why) => why,
            other => panic!("{other:?}"),
        };
        let file = bare(kind::FORMAT_DESCRIPTION, 1000);
        assert!(refuted(&[bare(kind::FORMAT_DESCRIPTION, 1001)]).contains("created at 1001"));
        assert!(refuted(&[file.clone(), gtid(53)]).contains(":53 is there"));
        assert!(refuted(&[file.clone(), bare(kind::TABLE_MAP, 5)]).contains("type 19"));
        assert!(refuted(&[file.clone(), bare(kind::ANONYMOUS_GTID, 5)]).contains("type 34"));
        assert!(refuted(&[file, bare(kind::GTID, 5)]).contains("uuid"));
        assert!(refuted(&[gtid(51)]).contains(":51"), "no file was described");
    }

    #[test]
    fn a_checkpoint_that_does_not_know_its_file_gives_no_place() {
        assert!(Seek::of(&checkpoint()).is_some());
        assert_eq!(Seek::of(&Checkpoint { file_created: None, ..checkpoint() }), None);
        let mut elsewhere = checkpoint();
        elsewhere.position.file.clear();
        assert_eq!(Seek::of(&elsewhere), None);
        let mut without_gtid = checkpoint();
        without_gtid.position.gtid_set = GtidSet::default();
        assert_eq!(Seek::of(&without_gtid), None);
    }
}
