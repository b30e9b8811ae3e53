//! The binlog of the simulation's source: what MySQL writes of a transaction, files of it, and the stream that a client is
//! sent.

use super::source::{Change, Ddl, Row, RowChange, Tables, Transaction, gtid};
use crate::binlog::EventHeader;
use crate::binlog::batch::{BatchedEvent, EventBatch};
use crate::binlog::event::kind;
use std::collections::VecDeque;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;

/// Size of an event's header.
const HEADER: usize = 19;
/// An event that is in no file.
const ARTIFICIAL: u16 = 0x20;

fn query(text: &str) -> (u8, Vec<u8>) {
    let mut data = vec![0; 8];
    data.push(4);
    data.extend([0, 0, 0, 0]);
    data.extend(b"shop\0");
    data.extend(text.as_bytes());
    (kind::QUERY, data)
}

fn table_map(tables: &Tables, change: &RowChange) -> (u8, Vec<u8>) {
    let (id, table) = (&change.table, &tables[&change.table]);
    let mut data = table.number.to_le_bytes()[..6].to_vec();
    data.extend([1, 0]);
    for name in [&id.database, &id.table] {
        data.push(u8::try_from(name.len()).unwrap());
        data.extend(name.as_bytes());
        data.push(0);
    }
    let columns = table.columns.len();
    data.push(u8::try_from(columns).unwrap());
    data.extend(vec![3; columns]);
    data.push(0);
    let nullable = table.columns.iter().enumerate().filter(|(_, column)| !column.not_null);
    data.push(nullable.fold(0, |bits, (place, _)| bits | 1 << place));
    (kind::TABLE_MAP, data)
}

fn image(row: &Row) -> Vec<u8> {
    let nulls = row.iter().enumerate().filter(|(_, value)| value.is_none());
    let mut data = vec![nulls.fold(0, |bits, (place, _)| bits | 1_u8 << place)];
    data.extend(row.iter().flatten().flat_map(|value| value.to_le_bytes()));
    data
}

fn row_event(tables: &Tables, change: &RowChange) -> (u8, Vec<u8>) {
    let table = &tables[&change.table];
    let kind = match (&change.before, &change.after) {
        (None, Some(_)) => kind::WRITE_ROWS,
        (Some(_), None) => kind::DELETE_ROWS,
        _ => kind::UPDATE_ROWS,
    };
    let mut data = table.number.to_le_bytes()[..6].to_vec();
    data.extend([1, 0, 2, 0]);
    data.push(u8::try_from(table.columns.len()).unwrap());
    let images = [&change.before, &change.after].into_iter().flatten();
    data.extend(images.clone().map(|_| 0xff));
    images.for_each(|row| data.extend(image(row)));
    (kind, data)
}

fn xid_text(xid: u32) -> String {
    format!("X'{}',X'',1", format!("{xid}").bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What the server writes of a transaction, on tables that are as they were before it.
pub(super) fn events(tables: &Tables, change: &Change) -> Vec<(u8, Vec<u8>)> {
    let of_rows = |rows: &[RowChange]| -> Vec<(u8, Vec<u8>)> {
        rows.iter().flat_map(|row| [table_map(tables, row), row_event(tables, row)]).collect()
    };
    match change {
        Change::Rows(rows) => {
            let mut events = vec![query("BEGIN")];
            events.extend(of_rows(rows));
            events.push((kind::XID, vec![0; 8]));
            events
        }
        Change::Statement(id, _) => {
            vec![query("BEGIN"), query(&format!("UPDATE {} SET v = 1", id.table)), (kind::XID, vec![0; 8])]
        }
        Change::Ddl(ddl) => vec![query(&statement(ddl))],
        Change::Prepare(xid, rows) => {
            let mut events = vec![query(&format!("XA START {}", xid_text(*xid)))];
            events.extend(of_rows(rows));
            events.push(query(&format!("XA END {}", xid_text(*xid))));
            let name = xid.to_string();
            let mut data = vec![0, 1, 0, 0, 0];
            data.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            data.extend([0; 4]);
            data.extend(name.as_bytes());
            events.push((kind::XA_PREPARE, data));
            events
        }
        Change::Decide(xid, commit) => {
            let verb = if *commit { "COMMIT" } else { "ROLLBACK" };
            vec![query(&format!("XA {verb} {}", xid_text(*xid)))]
        }
    }
}

fn statement(ddl: &Ddl) -> String {
    match ddl {
        Ddl::Create(id) => format!("CREATE TABLE {id} (id INT NOT NULL PRIMARY KEY, v INT)"),
        Ddl::Drop(id) => format!("DROP TABLE {id}"),
        Ddl::Truncate(id) => format!("TRUNCATE TABLE {id}"),
        Ddl::Add(id, column) => {
            let null = if column.not_null { " NOT NULL" } else { "" };
            let default = column.default.map(|number| format!(" DEFAULT {number}")).unwrap_or_default();
            format!("ALTER TABLE {id} ADD COLUMN {} INT{null}{default}", column.name)
        }
        Ddl::DropColumn(id, name) => format!("ALTER TABLE {id} DROP COLUMN {name}"),
        Ddl::RenameColumn(id, from, to) => format!("ALTER TABLE {id} RENAME COLUMN {from} TO {to}"),
        Ddl::Rename(renames) => {
            let parts: Vec<String> = renames.iter().map(|(from, to)| format!("{from} TO {to}")).collect();
            format!("RENAME TABLE {}", parts.join(", "))
        }
    }
}

#[derive(Debug, Clone)]
struct Group {
    transaction: usize,
    start: u32,
}

/// A binlog file.
#[derive(Debug, Clone)]
struct File {
    name: String,
    created: u32,
    previous: GtidSet,
    groups: Vec<Group>,
    size: u32,
}

/// A server with its binlog.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) number: u32,
    files: Vec<File>,
    all: GtidSet,
    /// `gtid_purged`, and the same in order.
    pub(super) purged: GtidSet,
    gone: Vec<usize>,
    rotations: u32,
}

fn size(data: &[u8]) -> u32 {
    u32::try_from(HEADER + data.len()).unwrap()
}

impl Server {
    pub(super) fn new(number: u32) -> Self {
        let mut server = Self {
            number,
            files: Vec::new(),
            all: GtidSet::default(),
            purged: GtidSet::default(),
            gone: Vec::new(),
            rotations: 0,
        };
        server.rotate();
        server
    }

    pub(super) fn uuid(&self) -> String {
        format!("{:08x}-0000-0000-0000-000000000000", self.number)
    }

    /// A new file begins.
    pub(super) fn rotate(&mut self) {
        self.rotations += 1;
        let number = self.rotations;
        let previous = self.all.clone();
        let head = 4 + size(&format_description(0)) + size(&previous_gtids(&previous));
        self.files.push(File {
            name: format!("binlog.{number:06}"),
            created: self.number * 1000 + number,
            previous,
            groups: Vec::new(),
            size: head,
        });
    }

    /// A transaction is written.
    pub(super) fn append(&mut self, transaction: usize, events: &[(u8, Vec<u8>)]) {
        self.all.insert(&gtid(transaction));
        let file = self.files.last_mut().unwrap();
        file.groups.push(Group { transaction, start: file.size });
        file.size += size(&gtid_data(transaction));
        file.size += events.iter().map(|(_, data)| size(data)).sum::<u32>();
    }

    /// Deletes the oldest file, unless it is the only one, or has what `needed` lacks. True if it did.
    pub(super) fn purge(&mut self, needed: &GtidSet) -> bool {
        let passed = |file: &File| file.groups.iter().all(|group| needed.contains(&gtid(group.transaction)));
        if self.files.len() < 2 || !passed(&self.files[0]) {
            return false;
        }
        for group in self.files.remove(0).groups {
            self.purged.insert(&gtid(group.transaction));
            self.gone.push(group.transaction);
        }
        true
    }

    /// The end of the binlog, without GTIDs.
    pub(super) fn end(&self) -> Position {
        let file = self.files.last().unwrap();
        Position {
            gtid_set: GtidSet::default(),
            file: file.name.clone(),
            offset: u64::from(file.size),
            server_uuid: self.uuid(),
        }
    }

    /// Files and their sizes.
    pub(super) fn files(&self) -> Vec<(String, u64)> {
        self.files.iter().map(|file| (file.name.clone(), u64::from(file.size))).collect()
    }

    /// The transactions in their order here, also those that are purged.
    pub(super) fn order(&self) -> Vec<usize> {
        let there = self.files.iter().flat_map(|file| &file.groups).map(|group| group.transaction);
        self.gone.iter().copied().chain(there).collect()
    }
}

fn gtid_data(transaction: usize) -> Vec<u8> {
    let gtid = gtid(transaction);
    let mut data = vec![0];
    data.extend(uuid_bytes(&gtid.source.uuid));
    data.extend(gtid.number.to_le_bytes());
    data
}

fn uuid_bytes(uuid: &str) -> Vec<u8> {
    let hex: String = uuid.chars().filter(|letter| *letter != '-').collect();
    (0..16).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
}

fn format_description(created: u32) -> Vec<u8> {
    let mut data = vec![4, 0];
    data.extend([0; 50]);
    data.extend(created.to_le_bytes());
    data.push(19);
    data
}

fn previous_gtids(set: &GtidSet) -> Vec<u8> {
    let mut data = u64::try_from(set.intervals().count()).unwrap().to_le_bytes().to_vec();
    for (source, intervals) in set.intervals() {
        data.extend(uuid_bytes(&source.uuid));
        data.extend(u64::try_from(intervals.len()).unwrap().to_le_bytes());
        for (first, last) in intervals {
            data.extend(first.to_le_bytes());
            data.extend((last + 1).to_le_bytes());
        }
    }
    data
}

/// What a client is sent, event by event.
#[derive(Debug)]
pub(super) struct Stream {
    known: GtidSet,
    file: usize,
    group: usize,
    queue: VecDeque<(EventHeader, Vec<u8>)>,
}

impl Stream {
    /// Everything that `position` does not have: from its place on if `by_place`, else from the first file that has something
    /// of it.
    pub(super) fn new(server: &Server, position: &Position, by_place: bool) -> Self {
        let known = position.gtid_set.clone();
        let missing = |file: &File| file.groups.iter().any(|group| !known.contains(&gtid(group.transaction)));
        let place = server.files.iter().position(|file| file.name == position.file).filter(|_| by_place);
        let file = place.or_else(|| server.files.iter().position(missing));
        let file = file.unwrap_or(server.files.len() - 1);
        let inside = &server.files[file];
        let offset = u32::try_from(position.offset).unwrap();
        let from =
            inside.groups.iter().position(|group| group.start >= offset).unwrap_or(inside.groups.len());
        let group = if place.is_some() { from } else { 0 };
        let mut stream = Self { known, file, group, queue: VecDeque::new() };
        let offset = if place.is_some() { position.offset } else { 4 };
        stream.open(server, offset, place.is_none());
        stream
    }

    fn push(&mut self, (kind, data): (u8, Vec<u8>), timestamp_seconds: u32, next_offset: u32, flags: u16) {
        let size_bytes = size(&data);
        let header = EventHeader { timestamp_seconds, kind, server_id: 1, size_bytes, next_offset, flags };
        self.queue.push_back((header, data));
    }

    /// The head of the file that the stream is in.
    fn open(&mut self, server: &Server, offset: u64, from_beginning: bool) {
        let file = &server.files[self.file];
        let mut rotate = offset.to_le_bytes().to_vec();
        rotate.extend(file.name.as_bytes());
        self.push((kind::ROTATE, rotate), 0, 0, ARTIFICIAL);
        let description = format_description(file.created);
        let behind = 4 + size(&description);
        self.push(
            (kind::FORMAT_DESCRIPTION, description),
            file.created,
            if from_beginning { behind } else { 0 },
            0,
        );
        if from_beginning {
            let previous = previous_gtids(&file.previous);
            let behind = behind + size(&previous);
            self.push((kind::PREVIOUS_GTIDS, previous), file.created, behind, 0);
        }
    }

    /// The next events, up to `most`; none once everything is sent.
    pub(super) fn next(&mut self, server: &Server, log: &[Transaction], most: usize) -> EventBatch {
        let mut batch = EventBatch::default();
        for _ in 0..most {
            if self.queue.is_empty() {
                self.refill(server, log);
            }
            let Some((header, data)) = self.queue.pop_front() else { break };
            batch.push(BatchedEvent { header, data: &data, inside_payload: false });
        }
        batch
    }

    fn refill(&mut self, server: &Server, log: &[Transaction]) {
        loop {
            let file = &server.files[self.file];
            let Some(group) = file.groups.get(self.group) else {
                let Some(next) = server.files.get(self.file + 1) else { return };
                let mut rotate = 4_u64.to_le_bytes().to_vec();
                rotate.extend(next.name.as_bytes());
                self.push((kind::ROTATE, rotate), 1, file.size, 0);
                (self.file, self.group) = (self.file + 1, 0);
                return self.open(server, 4, true);
            };
            self.group += 1;
            if self.known.contains(&gtid(group.transaction)) {
                continue;
            }
            let gtid_event = (kind::GTID, gtid_data(group.transaction));
            let mut offset = group.start;
            let seconds = 10 + u32::try_from(group.transaction).unwrap();
            for event in std::iter::once(gtid_event).chain(log[group.transaction].events.iter().cloned()) {
                offset += size(&event.1);
                self.push(event, seconds, offset, 0);
            }
            return;
        }
    }

    /// True once everything is sent.
    pub(super) fn is_at_end(&self, server: &Server) -> bool {
        let files = server.files.len();
        self.queue.is_empty() && self.file + 1 == files && self.group == server.files[self.file].groups.len()
    }

    /// The server has nothing to say.
    pub(super) fn heartbeat(&mut self, server: &Server) {
        if self.is_at_end(server) {
            let file = &server.files[self.file];
            let name = file.name.as_bytes().to_vec();
            self.push((kind::HEARTBEAT, name), 0, file.size, 0);
        }
    }
}
