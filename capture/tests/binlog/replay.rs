//! A reader of the binlog that keeps the last state of every row, as the warehouse would.

use super::options;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use tributary_capture::binlog::batch::{BatchedEvent, EventBatch};
use tributary_capture::binlog::decoder::RowDecoder;
use tributary_capture::binlog::event::kind;
use tributary_capture::binlog::gtid::GtidEvent;
use tributary_capture::binlog::intake::Intake;
use tributary_capture::binlog::rows::{RowsEvent, RowsKind};
use tributary_capture::binlog::table_map::{TableMap, TableMapEvent};
use tributary_capture::binlog::{EventBody, EventHeader, FormatContext, parse};
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::row::{EncodedRow, RowError};
use tributary_schemas::table::Table;
use tributary_source::replication::{DumpRequest, Packet, Replication};

/// Rows by the bytes of their key.
pub(crate) type Rows = BTreeMap<Vec<u8>, EncodedRow>;

/// What a stretch of the binlog held.
#[derive(Default)]
pub(crate) struct Replay {
    context: FormatContext,
    /// By table id: the table's index in the caller's list and the decoder.
    decoders: HashMap<u64, (usize, RowDecoder)>,
    tables: Vec<(Table, u32)>,
    rows: Vec<Rows>,
    /// Headers of all events, with true for those inside a compressed transaction.
    pub headers: Vec<(EventHeader, bool)>,
    /// The last TABLE_MAP of the caller's tables.
    pub last_map: Option<TableMap>,
    /// Why rows were refused.
    pub refused: Vec<RowError>,
    /// What began the transactions.
    pub gtids: Vec<GtidEvent>,
    /// The last PREVIOUS_GTIDS.
    pub previous: Option<GtidSet>,
    /// Texts of the statements.
    pub statements: Vec<String>,
    /// Databases that they ran in.
    pub databases: Vec<String>,
    /// Prepared transactions: xid, and whether they were committed in one phase.
    pub prepared: Vec<(String, bool)>,
    /// Types of the events of DML in statement format.
    pub statement_format: Vec<u8>,
}

impl Replay {
    /// Reads from an offset of a file to the end of the binlog.
    pub(crate) async fn read(file: &str, offset: u64, tables: &[(Table, u32)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A second reader with the same server id would end the first.
        let server_id = 0x4000_0000 + (std::process::id() << 6) + NEXT.fetch_add(1, Ordering::Relaxed);
        let session = Replication::open(&options()).await.unwrap();
        let request = DumpRequest { server_id, place: Some((file, offset)), gtids: None, until_end: true };
        let mut stream = session.dump("reading", &request).await.unwrap();
        let mut replay =
            Self { tables: tables.to_vec(), rows: vec![Rows::new(); tables.len()], ..Self::default() };
        let (mut intake, mut batch) = (Intake::default(), EventBatch::default());
        'stream: loop {
            while let Some(frame) = stream.take("reading").unwrap() {
                let Packet::Event(event) = stream.read("reading", &frame).unwrap() else { break 'stream };
                intake.take(event, &mut batch).unwrap();
                while intake.is_unfolding() {
                    intake.unfold(event, &mut batch).unwrap();
                }
            }
            stream.fill("reading").await.unwrap();
        }
        for event in batch.iter() {
            replay.on_event(event);
        }
        replay
    }

    pub(crate) fn rows(&self, table: &Table) -> &Rows {
        let index = self.tables.iter().position(|(other, _)| other.id == table.id).unwrap();
        &self.rows[index]
    }

    pub(crate) fn has(&self, kind: u8) -> bool {
        self.headers.iter().any(|(header, _)| header.kind == kind)
    }

    fn on_event(&mut self, event: BatchedEvent<'_>) {
        let BatchedEvent { header, data, inside_payload } = event;
        self.headers.push((header, inside_payload));
        if header.kind == kind::TRANSACTION_PAYLOAD {
            assert!(data.is_empty());
            return;
        }
        match parse(header.kind, data, &self.context).unwrap() {
            EventBody::FormatDescription(context) => self.context = context,
            EventBody::TableMap(map) => self.on_table_map(&map),
            EventBody::Rows(rows) => self.on_rows(&rows),
            EventBody::Unknown(kind) => assert!(header.is_ignorable(), "event type {kind}"),
            EventBody::Gtid(event) => self.gtids.push(event),
            EventBody::PreviousGtids(set) => self.previous = Some(set),
            EventBody::Query(query) => {
                self.statements.push(String::from_utf8(query.statement.to_vec()).unwrap());
                self.databases.push(query.database.to_owned());
            }
            EventBody::XaPrepare { xid, one_phase } => self.prepared.push((xid.to_string(), one_phase)),
            EventBody::StatementFormat(kind) => self.statement_format.push(kind),
            EventBody::Rotate { file, .. } => assert!(file.starts_with("binlog."), "{file:?}"),
            body => assert!(matches!(body, EventBody::Xid(_) | EventBody::Stop), "{body:?}"),
        }
    }

    fn on_table_map(&mut self, event: &TableMapEvent<'_>) {
        let found = self
            .tables
            .iter()
            .position(|(table, _)| table.id.database == event.database && table.id.table == event.table);
        if let Some(index) = found {
            let (table, column_count) = &self.tables[index];
            let map = event.decode().unwrap();
            map.agrees(table, *column_count, true).unwrap_or_else(|error| panic!("{}: {error}", table.id));
            self.decoders.insert(event.table_id, (index, RowDecoder::compile(table, &map).unwrap()));
            self.last_map = Some(map);
        } else {
            self.decoders.remove(&event.table_id);
        }
    }

    fn on_rows(&mut self, event: &RowsEvent<'_>) {
        let Some((index, decoder)) = self.decoders.get(&event.table_id) else { return };
        let rows = &mut self.rows[*index];
        let mut images = event.images;
        let (mut before, mut after) = (EncodedRow::default(), EncodedRow::default());
        while !images.is_empty() {
            let done = match event.kind {
                RowsKind::Insert => decoder.encode(&mut images, event.present, &mut after),
                RowsKind::Delete => decoder.encode_key(&mut images, event.present, &mut before),
                RowsKind::Update | RowsKind::PartialUpdate => {
                    let mut first = images;
                    let full = decoder.encode(&mut first, event.present, &mut before).map(|()| {
                        // The full before image is the row as it was.
                        let old = rows.get(&before.key).unwrap();
                        assert_eq!((&old.value, &old.raw), (&before.value, &before.raw));
                    });
                    full.and_then(|()| decoder.encode_update(event, &mut images, &mut before, &mut after))
                }
            };
            if let Err(error) = done {
                self.refused.push(error);
                return;
            }
            if event.kind != RowsKind::Insert {
                rows.remove(&before.key).expect("a row that was there");
            }
            if event.kind != RowsKind::Delete {
                assert!(rows.insert(after.key.clone(), after.clone()).is_none(), "two rows of one key");
            }
        }
    }
}
