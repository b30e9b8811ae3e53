//! May the stream go on at a stored position? Pure: the position and what the server says of itself enter, yes or the
//! reason leaves.

use crate::remedies;
use tributary_schemas::checkpoint::{BinlogPlace, Checkpoint};
use tributary_schemas::gtid::{Gtid, GtidSet};
use tributary_schemas::position::Position;
use tributary_service::exit::Failure;

/// What the server says of its history.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerHistory {
    /// `server_uuid`.
    pub server_uuid: String,
    /// `gtid_mode` is ON.
    pub has_gtid: bool,
    /// `gtid_executed`.
    pub executed: GtidSet,
    /// `gtid_purged`.
    pub purged: GtidSet,
    /// Binlog files and their sizes in bytes; empty if the account may not list them.
    pub files: Vec<(String, u64)>,
}

/// So much of the binlog is read again at each start for the sake of a prepared transaction; for one that is further back its
/// tables are read anew.
const MOST_READ_AGAIN_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Leaves out prepared XA transactions whose groups the server has purged: they cannot be had any more, and once one of
/// them is committed its tables are read anew. So it goes with those that are too far back, and to be had only by reading
/// all that followed once more. A transaction that was forgotten does not hold the task.
pub(crate) fn give_up_purged(checkpoint: &mut Checkpoint, server: &ServerHistory) {
    let gone: Vec<Gtid> = checkpoint.prepared().filter(|gtid| server.purged.contains(gtid)).collect();
    gone.iter().for_each(|gtid| checkpoint.position.gtid_set.insert(gtid));
    // By GTIDs no place is asked for; without, one in a file that is not listed cannot be.
    let here = &checkpoint.position;
    for undecided in &mut checkpoint.undecided {
        // One of no selected table has no rows to be had.
        let needed = !server.has_gtid && !undecided.tables.is_empty();
        undecided.place.take_if(|place| {
            !needed || distance(&server.files, place, here).is_none_or(|bytes| bytes > MOST_READ_AGAIN_BYTES)
        });
    }
}

/// Bytes of the binlog from a place to the position; `None` if the place's file is not listed. Files are listed in their
/// order.
fn distance(files: &[(String, u64)], place: &BinlogPlace, here: &Position) -> Option<u64> {
    let first = files.iter().position(|(name, _)| *name == place.file)?;
    let between = files.iter().skip(first).take_while(|(name, _)| *name != here.file);
    let whole = between.fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    Some(whole.saturating_add(here.offset).saturating_sub(place.offset))
}

/// Refuses a checkpoint that the server's history does not hold: neither its position nor a transaction of which a part is
/// published may be missing.
///
/// # Errors
/// A [`Failure`] that says what is missing and what to do.
pub(crate) fn resumable(checkpoint: &Checkpoint, server: &ServerHistory) -> Result<(), Failure> {
    let position = &checkpoint.position;
    held(position, server)?;
    held(&Position { gtid_set: checkpoint.published(), ..position.clone() }, server)
}

fn held(position: &Position, server: &ServerHistory) -> Result<(), Failure> {
    let refuse =
        |what: &str, why: String| Err(Failure::new(what, why).at(position).remedy(remedies::position_lost()));
    let same_server = position.server_uuid == server.server_uuid;
    if server.has_gtid && !position.gtid_set.is_empty() {
        if !position.gtid_set.contains_all(&server.purged) {
            return refuse(
                "the source has purged binlog that was not read yet",
                format!("gtid_purged is {}", server.purged),
            );
        }
        if !server.executed.contains_all(&position.gtid_set) {
            return refuse(
                "the source does not know transactions that were already published",
                format!(
                    "gtid_executed is {}: this is another server, or one that lost its newest transactions",
                    server.executed
                ),
            );
        }
    } else if !same_server {
        return refuse(
            "the source is another server",
            format!(
                "server_uuid is {}, and without GTID a position cannot be carried over",
                server.server_uuid
            ),
        );
    }
    if same_server && !server.files.is_empty() {
        match server.files.iter().find(|(name, _)| *name == position.file) {
            Some((name, size)) if *size < position.offset => {
                return refuse(
                    "the source lost the end of its binlog",
                    format!(
                        "{name} has {size} bytes: after a crash (sync_binlog) GTIDs may have been given twice"
                    ),
                );
            }
            None if !server.has_gtid => {
                return refuse(
                    "the source has purged binlog that was not read yet",
                    "the file is gone".to_owned(),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::checkpoint::{Partial, Undecided};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn at(gtids: &str) -> Position {
        Position {
            gtid_set: gtids.parse().unwrap(),
            file: "binlog.000003".into(),
            offset: 500,
            server_uuid: UUID.into(),
        }
    }

    fn server(executed: &str, purged: &str) -> ServerHistory {
        ServerHistory {
            server_uuid: UUID.into(),
            has_gtid: true,
            executed: executed.parse().unwrap(),
            purged: purged.parse().unwrap(),
            files: vec![("binlog.000003".into(), 900)],
        }
    }

    fn checkpoint(position: Position, undecided: Vec<Undecided>) -> Checkpoint {
        Checkpoint {
            format: 1,
            position,
            file_created: None,
            source_started: None,
            transaction: 50,
            partials: Vec::new(),
            undecided,
        }
    }

    /// Prepared on shop.orders without a GTID, behind `place`.
    fn prepared_at(place: BinlogPlace) -> Undecided {
        let tables = vec![tributary_schemas::table::TableId::new("shop", "orders")];
        Undecided { xid: "X'61',X'',1".into(), gtid: None, place: Some(place), tables }
    }

    #[test]
    fn a_position_is_refused_exactly_where_the_history_does_not_hold_it() {
        let all = format!("{UUID}:1-90");
        let position = at(&format!("{UUID}:1-50"));
        assert!(held(&position, &server(&all, &format!("{UUID}:1-50"))).is_ok());
        let purged = held(&position, &server(&all, &format!("{UUID}:1-51"))).unwrap_err();
        assert!(purged.what.contains("purged") && purged.remedy.contains("capture drop"), "{purged}");
        let lost = held(&position, &server(&format!("{UUID}:1-49"), "")).unwrap_err();
        assert!(lost.what.contains("does not know"), "{lost}");
    }

    #[test]
    fn a_prepared_transaction_that_was_purged_does_not_hold_the_task() {
        let undecided = |number: u32| Undecided {
            xid: format!("X'6{number}',X'',1"),
            gtid: Some(format!("{UUID}:{number}")),
            place: None,
            tables: Vec::new(),
        };
        let mut checkpoint =
            checkpoint(at(&format!("{UUID}:1-2:4-5:7-50")), vec![undecided(3), undecided(6)]);
        let server = server(&format!("{UUID}:1-90"), &format!("{UUID}:1-4"));
        assert!(resumable(&checkpoint, &server).is_err());
        give_up_purged(&mut checkpoint, &server);
        assert!(resumable(&checkpoint, &server).is_ok());
        assert_eq!(
            checkpoint.position.gtid_set.to_string(),
            format!("{UUID}:1-5:7-50"),
            "the other is sent again"
        );
    }

    #[test]
    fn a_transaction_that_is_published_in_part_must_be_there() {
        let mut checkpoint = checkpoint(at(&format!("{UUID}:1-50")), Vec::new());
        let gtid = Some(format!("{UUID}:60"));
        checkpoint.partials.push(Partial { gtid, tables: Vec::new() });
        assert!(resumable(&checkpoint, &server(&format!("{UUID}:1-60"), "")).is_ok());
        let lost = resumable(&checkpoint, &server(&format!("{UUID}:1-59"), "")).unwrap_err();
        assert!(lost.what.contains("does not know"), "{lost}");
        let purged = resumable(&checkpoint, &server(&format!("{UUID}:1-60"), &format!("{UUID}:60")));
        assert!(purged.unwrap_err().what.contains("purged"), "its other rows are gone");
    }

    #[test]
    fn the_place_of_a_prepared_transaction_is_given_up_with_its_file() {
        let mut server = server("", "");
        server.has_gtid = false;
        let undecided = |file: &str| prepared_at(BinlogPlace { file: file.to_owned(), offset: 4 });
        let mut checkpoint = checkpoint(at(""), vec![undecided("binlog.000002"), undecided("binlog.000003")]);
        give_up_purged(&mut checkpoint, &server);
        let places: Vec<bool> =
            checkpoint.undecided.iter().map(|undecided| undecided.place.is_some()).collect();
        assert_eq!(places, [false, true]);
        checkpoint.undecided[1].tables.clear();
        give_up_purged(&mut checkpoint, &server);
        assert_eq!(checkpoint.undecided[1].place, None, "it has rows of no selected table");
    }

    #[test]
    fn a_place_too_far_back_is_given_up() {
        let place = |number: u32, offset| BinlogPlace { file: format!("binlog.00000{number}"), offset };
        let gib = 1024 * 1024 * 1024;
        let files: Vec<(String, u64)> = (1..=4).map(|number| (place(number, 4).file, 4 * gib)).collect();
        let here = at("");
        assert_eq!(distance(&files, &place(3, 200), &here), Some(300));
        assert_eq!(distance(&files, &place(1, 600), &here), Some(8 * gib - 100));
        assert_eq!(distance(&files, &place(9, 4), &here), None);
        let mut server = server("", "");
        (server.has_gtid, server.files) = (false, files);
        let kept = |place: BinlogPlace| {
            let mut checkpoint = checkpoint(at(""), vec![prepared_at(place)]);
            give_up_purged(&mut checkpoint, &server);
            checkpoint.undecided[0].place.is_some()
        };
        assert!(kept(place(1, 500)) && !kept(place(1, 499)));
    }

    #[test]
    fn a_shorter_file_of_the_same_server_is_refused() {
        let position = at(&format!("{UUID}:1-50"));
        let mut server = server(&format!("{UUID}:1-90"), "");
        server.files = vec![("binlog.000003".into(), 499)];
        assert!(held(&position, &server).unwrap_err().what.contains("lost the end"));
        server.server_uuid = UUID.replace('3', "4");
        assert!(held(&position, &server).is_ok(), "after a failover the GTID set decides");
    }

    #[test]
    fn without_gtid_the_file_must_be_there_and_the_server_the_same() {
        let mut server = server("", "");
        server.has_gtid = false;
        assert!(held(&at(""), &server).is_ok());
        server.files = vec![("binlog.000009".into(), 10)];
        assert!(held(&at(""), &server).unwrap_err().what.contains("purged"));
        server.server_uuid = "other".into();
        assert!(held(&at(""), &server).unwrap_err().what.contains("another server"));
    }
}
