//! A stream that begins inside a binlog file. Asked by GTIDs alone the server reads the file from its beginning to find
//! what is missing: up to `max_binlog_size` (1 GiB) at every connection. Asked for the file from an offset on as well it
//! does not. A checkpoint and what the server says of itself enter, whether its file and offset may be asked for leaves;
//! then the stream's first events enter, and whether they are what follows the checkpoint leaves.
//!
//! Invariant: no transaction is taken before it is proven that none is missing before it. The file's name alone returns
//! after RESET BINARY LOGS AND GTIDS, and with a data folder that was put back.

use crate::binlog::batch::BatchedEvent;
use crate::binlog::event::kind;
use crate::binlog::{EventBody, FormatContext, parse};
use crate::check::position::ServerHistory;
use tributary_schemas::checkpoint::Checkpoint;
use tributary_schemas::gtid::{Gtid, GtidSet};

/// What the file of a position is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seek {
    /// Timestamp of its FORMAT_DESCRIPTION, seconds since 1970.
    created_seconds: u32,
    /// What the server had committed before the stream was asked for.
    executed: GtidSet,
}

impl Seek {
    /// `None` if only the checkpoint's GTID set tells where to begin, or the server does not list its file. Past 4 GiB the
    /// offset is counted here, and may be one that was counted wrong.
    #[must_use]
    pub(crate) fn of(checkpoint: &Checkpoint, server: &ServerHistory) -> Option<Self> {
        let position = &checkpoint.position;
        let created_seconds = checkpoint.file_created?;
        let (_, size) = server.files.iter().find(|(name, _)| *name == position.file)?;
        let told = server.has_gtid
            && !position.gtid_set.is_empty()
            && position.server_uuid == server.server_uuid
            && position.offset <= *size
            && *size <= u64::from(u32::MAX);
        told.then(|| Self { created_seconds, executed: server.executed.clone() })
    }
}

/// What an event says of the place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SeekVerdict {
    /// Nothing yet.
    Open,
    /// It is the place.
    Proven,
    /// It is another one, or cannot be proven: why.
    Refuted(String),
}

/// The first events of a stream that began at a [`Seek`], until one proves or refutes it.
#[derive(Debug)]
pub(crate) struct Doubt<'a> {
    seek: &'a Seek,
    known: &'a GtidSet,
    described: bool,
}

impl<'a> Doubt<'a> {
    /// `known` has the transactions that were asked behind.
    #[must_use]
    pub(crate) const fn new(seek: &'a Seek, known: &'a GtidSet) -> Self {
        Self { seek, known, described: false }
    }

    /// The next event, from the first.
    pub(crate) fn judge(&mut self, event: BatchedEvent<'_>) -> SeekVerdict {
        match event.header.kind {
            // Of the file that was asked for; those that follow are of other files.
            kind::FORMAT_DESCRIPTION if !self.described => {
                self.described = true;
                let created = event.header.timestamp_seconds;
                if created == self.seek.created_seconds {
                    SeekVerdict::Open
                } else {
                    SeekVerdict::Refuted(format!(
                        "the file is of {created} (seconds since 1970), the one that was read of {}",
                        self.seek.created_seconds
                    ))
                }
            }
            kind::FORMAT_DESCRIPTION | kind::ROTATE | kind::STOP => SeekVerdict::Open,
            _ if !self.described => SeekVerdict::Refuted("no file was described".to_owned()),
            // At the end of the binlog; or among transactions that are known, where it says nothing either.
            kind::HEARTBEAT | kind::HEARTBEAT_V2 if self.known.contains_all(&self.seek.executed) => {
                SeekVerdict::Open
            }
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => SeekVerdict::Refuted(
                "the server has committed more than what was read, and none of it follows".to_owned(),
            ),
            kind::GTID | kind::GTID_TAGGED | kind::PREVIOUS_GTIDS => {
                match parse(event.header.kind, event.data, &FormatContext::default()) {
                    Ok(EventBody::Gtid(first)) if follows(&first.gtid, self.known) => SeekVerdict::Proven,
                    Ok(EventBody::Gtid(first)) => SeekVerdict::Refuted(format!(
                        "transaction {} is there, and the one before it was not read",
                        first.gtid
                    )),
                    // Of the next file: all that is in those before it.
                    Ok(EventBody::PreviousGtids(before)) if self.known.contains_all(&before) => {
                        SeekVerdict::Proven
                    }
                    Ok(_) => {
                        SeekVerdict::Refuted("the next file begins behind more than what was read".to_owned())
                    }
                    Err(error) => SeekVerdict::Refuted(error.to_string()),
                }
            }
            // Lost events have no GTID; searching for one would pass over them.
            kind::INCIDENT => SeekVerdict::Proven,
            _ if event.header.is_ignorable() => SeekVerdict::Open,
            other => {
                SeekVerdict::Refuted(format!("an event of type {other} is there, not a transaction's first"))
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
            source_started: None,
            transaction: 7,
            partials: Vec::new(),
            undecided: Vec::new(),
        }
    }

    fn server() -> ServerHistory {
        ServerHistory {
            server_uuid: UUID.into(),
            has_gtid: true,
            executed: format!("{UUID}:1-50").parse().unwrap(),
            purged: GtidSet::default(),
            files: vec![("binlog.000003".into(), 900)],
        }
    }

    fn uuid() -> [u8; 16] {
        u128::from_str_radix(&UUID.replace('-', ""), 16).unwrap().to_be_bytes()
    }

    /// GTID_LOG_EVENT as far as it is needed: flags, uuid, number.
    fn gtid(number: u64) -> (u8, u32, Vec<u8>) {
        (kind::GTID, 2000, [&[0][..], &uuid(), &number.to_le_bytes()].concat())
    }

    /// PREVIOUS_GTIDS of one source, from its first transaction to before `end`.
    fn previous(end: u64) -> (u8, u32, Vec<u8>) {
        let numbers = [1_u64, 1, end].map(u64::to_le_bytes).concat();
        (kind::PREVIOUS_GTIDS, 2000, [&1_u64.to_le_bytes()[..], &uuid(), &numbers].concat())
    }

    /// The last verdict on events of type, timestamp and data.
    fn verdict(server: &ServerHistory, events: &[(u8, u32, Vec<u8>)]) -> SeekVerdict {
        let checkpoint = checkpoint();
        let seek = Seek::of(&checkpoint, server).unwrap();
        let mut doubt = Doubt::new(&seek, &checkpoint.position.gtid_set);
        let mut last = SeekVerdict::Open;
        for (kind, timestamp_seconds, data) in events {
            assert_eq!(last, SeekVerdict::Open);
            let header = EventHeader {
                timestamp_seconds: *timestamp_seconds,
                kind: *kind,
                server_id: 1,
                size_bytes: 0,
                next_offset: 0,
                flags: if *kind == kind::IGNORABLE { 0x80 } else { 0 },
            };
            last = doubt.judge(BatchedEvent { header, data, inside_payload: false });
        }
        last
    }

    fn bare(kind: u8, timestamp: u32) -> (u8, u32, Vec<u8>) {
        (kind, timestamp, Vec::new())
    }

    #[test]
    fn the_file_that_was_left_is_proven_by_what_follows() {
        let beginning =
            [bare(kind::ROTATE, 0), bare(kind::FORMAT_DESCRIPTION, 1000), bare(kind::IGNORABLE, 1)];
        let after = |events: &[(u8, u32, Vec<u8>)]| verdict(&server(), &[&beginning[..], events].concat());
        assert_eq!(after(&[]), SeekVerdict::Open);
        assert_eq!(after(&[gtid(51)]), SeekVerdict::Proven);
        assert_eq!(after(&[bare(kind::HEARTBEAT_V2, 0), gtid(51)]), SeekVerdict::Proven);
        // It had been read to its end, and others follow.
        assert_eq!(
            after(&[bare(kind::ROTATE, 0), bare(kind::FORMAT_DESCRIPTION, 3000), previous(51)]),
            SeekVerdict::Proven
        );
        assert_eq!(after(&[bare(kind::INCIDENT, 9)]), SeekVerdict::Proven, "it stops the task");
    }

    #[test]
    fn another_file_of_the_same_name_is_refuted_by_whatever_shows_it() {
        let refuted = |server: &ServerHistory, events: &[(u8, u32, Vec<u8>)]| match verdict(server, events) {
            SeekVerdict::Refuted(why) => why,
            other => panic!("{other:?}"),
        };
        let behind = |event| refuted(&server(), &[bare(kind::FORMAT_DESCRIPTION, 1000), event]);
        assert!(refuted(&server(), &[bare(kind::FORMAT_DESCRIPTION, 1001)]).contains("of 1001"));
        assert!(refuted(&server(), &[gtid(51)]).contains("described"));
        assert!(behind(gtid(53)).contains(":53 is there"));
        assert!(behind(previous(52)).contains("more than what was read"));
        assert!(behind(bare(kind::TABLE_MAP, 5)).contains("type 19"));
        assert!(behind(bare(kind::ANONYMOUS_GTID, 5)).contains("type 34"));
        assert!(behind(bare(kind::GTID, 5)).contains("uuid"));
        let mut ahead = server();
        ahead.executed = format!("{UUID}:1-51").parse().unwrap();
        let idle = [bare(kind::FORMAT_DESCRIPTION, 1000), bare(kind::HEARTBEAT, 0)];
        assert!(refuted(&ahead, &idle).contains("none of it follows"));
    }

    #[test]
    fn only_a_file_that_the_same_server_lists_is_asked_for() {
        let at = checkpoint();
        assert!(Seek::of(&at, &server()).is_some());
        assert_eq!(Seek::of(&Checkpoint { file_created: None, ..checkpoint() }, &server()), None);
        let mut without_gtid = checkpoint();
        without_gtid.position.gtid_set = GtidSet::default();
        assert_eq!(Seek::of(&without_gtid, &server()), None);
        assert_eq!(Seek::of(&at, &ServerHistory { server_uuid: "another".into(), ..server() }), None);
        assert_eq!(Seek::of(&at, &ServerHistory { has_gtid: false, ..server() }), None);
        for files in [vec![], vec![("binlog.000003".into(), 499)], vec![("binlog.000003".into(), 1 << 32)]] {
            assert_eq!(Seek::of(&at, &ServerHistory { files, ..server() }), None);
        }
    }
}
