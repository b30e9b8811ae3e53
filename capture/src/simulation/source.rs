//! The source of the simulation: tables of integers, transactions that lock what they touch and are in the binlog before they
//! are committed, DDL, XA, and servers that take over from each other.

use super::binlog::{self, Server};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::gtid::{Gtid, GtidSet, GtidSource};
use tributary_schemas::position::Position;
use tributary_schemas::table::{ColumnDefault, Index, IndexPart, TableId};
use tributary_source::catalog::{CatalogColumn, CatalogTable};

/// Who gave the transactions their numbers, whatever server they are on now.
pub(super) const ORIGIN: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
/// Keys that a table can have.
const KEYS: i32 = 12;
/// Names that tables can have.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Values in the order of the table's columns; the first is the key.
pub(super) type Row = Vec<Option<i32>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) default: Option<i32>,
    pub(super) not_null: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: BTreeMap<i32, Row>,
    /// As its row events name it; another after each DDL.
    pub(super) number: u64,
}

pub(super) type Tables = BTreeMap<TableId, Table>;

/// A row that a transaction changes.
#[derive(Debug, Clone)]
pub(super) struct RowChange {
    pub(super) table: TableId,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

/// What a DDL does.
#[derive(Debug, Clone)]
pub(super) enum Ddl {
    Create(TableId),
    Drop(TableId),
    Truncate(TableId),
    Add(TableId, Column),
    DropColumn(TableId, String),
    RenameColumn(TableId, String, String),
    Rename(Vec<(TableId, TableId)>),
}

/// What a transaction does.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Rows(Vec<RowChange>),
    /// Logged as a statement: no row event tells of it.
    Statement(TableId, Vec<RowChange>),
    Ddl(Ddl),
    Prepare(u32, Vec<RowChange>),
    Decide(u32, bool),
}

/// A transaction as the binlog holds it.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) change: Change,
    /// Behind the one with its GTID: type and data.
    pub(super) events: Vec<(u8, Vec<u8>)>,
}

/// Tables, and the XA transactions that are prepared.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) tables: Tables,
    prepared: BTreeMap<u32, Vec<RowChange>>,
    /// Counts the DDLs, for the numbers of tables.
    ddl: u64,
}

impl State {
    /// Carries a transaction out.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Rows(rows) | Change::Statement(_, rows) => rows.iter().for_each(|row| self.change(row)),
            Change::Prepare(xid, rows) => drop(self.prepared.insert(*xid, rows.clone())),
            Change::Decide(xid, commit) => {
                let rows = self.prepared.remove(xid).unwrap_or_default();
                rows.iter().filter(|_| *commit).for_each(|row| self.change(row));
            }
            Change::Ddl(ddl) => self.define(ddl),
        }
    }

    /// Carries a row event out.
    pub(super) fn change(&mut self, change: &RowChange) {
        let table = self.tables.get_mut(&change.table).expect("the table is there");
        if let Some(before) = &change.before {
            table.rows.remove(&before[0].unwrap());
        }
        if let Some(after) = &change.after {
            table.rows.insert(after[0].unwrap(), after.clone());
        }
    }

    fn define(&mut self, ddl: &Ddl) {
        self.ddl += 1;
        let number = self.ddl;
        let tables = &mut self.tables;
        let mut alter = |id: &TableId, alter: &dyn Fn(&mut Table)| {
            let table = tables.get_mut(id).expect("the table is there");
            table.number = number;
            alter(table);
        };
        match ddl {
            Ddl::Create(id) => {
                let columns = vec![column("id", None, true), column("v", None, false)];
                self.tables.insert(id.clone(), Table { columns, rows: BTreeMap::new(), number });
            }
            Ddl::Drop(id) => drop(self.tables.remove(id)),
            Ddl::Truncate(id) => alter(id, &|table| table.rows.clear()),
            Ddl::Add(id, column) => alter(id, &|table| {
                table.columns.push(column.clone());
                let filled = column.default.or(column.not_null.then_some(0));
                table.rows.values_mut().for_each(|row| row.push(filled));
            }),
            Ddl::DropColumn(id, name) => alter(id, &|table| {
                let place = table.columns.iter().position(|column| column.name == *name).unwrap();
                table.columns.remove(place);
                for row in table.rows.values_mut() {
                    row.remove(place);
                }
            }),
            Ddl::RenameColumn(id, from, to) => alter(id, &|table| {
                let column = table.columns.iter_mut().find(|column| column.name == *from).unwrap();
                column.name.clone_from(to);
            }),
            Ddl::Rename(renames) => {
                for (place, (from, to)) in renames.iter().enumerate() {
                    let mut table = self.tables.remove(from).expect("the table is there");
                    table.number = number * 8 + u64::try_from(place).unwrap() + (1 << 32);
                    self.tables.insert(to.clone(), table);
                }
            }
        }
    }
}

fn column(name: &str, default: Option<i32>, not_null: bool) -> Column {
    Column { name: name.to_owned(), default, not_null }
}

/// The table's definition as the catalog states it.
pub(super) fn catalog(id: &TableId, table: &Table) -> CatalogTable {
    let column = |column: &Column| CatalogColumn {
        nullable: !column.not_null,
        default: column.default.map(|number| ColumnDefault::Constant(number.to_string())),
        ..CatalogColumn::new(column.name.clone(), "int")
    };
    let part = IndexPart { column: Some("id".to_owned()), prefix: None };
    let primary =
        Index { name: "PRIMARY".to_owned(), unique: true, kind: "BTREE".to_owned(), parts: vec![part] };
    CatalogTable {
        id: id.clone(),
        columns: table.columns.iter().map(column).collect(),
        indexes: vec![primary],
        collation: "utf8mb4_0900_ai_ci".to_owned(),
        engine: "InnoDB".to_owned(),
        ..CatalogTable::default()
    }
}

/// The GTID of the transaction at `index`.
pub(super) fn gtid(index: usize) -> Gtid {
    let source = GtidSource { uuid: ORIGIN.to_owned(), tag: String::new() };
    Gtid { source, number: u64::try_from(index).unwrap() + 1 }
}

/// What a transaction that is not committed keeps others from.
#[derive(Debug, Clone, Default)]
struct Locks {
    rows: BTreeSet<(TableId, i32)>,
    tables: BTreeSet<TableId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) log: Vec<Transaction>,
    pub(super) server: Server,
    /// What a SELECT sees.
    pub(super) visible: State,
    /// `gtid_executed`.
    pub(super) executed: GtidSet,
    /// With the transactions that are in the binlog but not committed.
    written: State,
    pending: Vec<(usize, Locks)>,
    /// Of XA transactions that are prepared.
    held: BTreeMap<u32, Locks>,
    /// Counts everything that must be told apart.
    count: u32,
    /// Where one schedule is replayed.
    pub(super) tells: bool,
}

impl Source {
    /// With two tables.
    pub(super) fn new() -> Self {
        let mut source = Self {
            log: Vec::new(),
            server: Server::new(1),
            visible: State::default(),
            executed: GtidSet::default(),
            written: State::default(),
            pending: Vec::new(),
            held: BTreeMap::new(),
            count: 0,
            tells: false,
        };
        for name in &NAMES[..2] {
            source.write(Change::Ddl(Ddl::Create(TableId::new("shop", *name))), Locks::default());
        }
        source.commit_all();
        source
    }

    /// Where a statement of now stands.
    pub(super) fn place(&self) -> Position {
        Position { gtid_set: self.executed.clone(), ..self.server.end() }
    }

    fn number(&mut self) -> i32 {
        self.count += 1;
        i32::try_from(self.count).unwrap()
    }

    fn locks(&self) -> impl Iterator<Item = &Locks> {
        self.pending.iter().map(|(_, locks)| locks).chain(self.held.values())
    }

    /// Writes a transaction to the binlog.
    fn write(&mut self, change: Change, locks: Locks) {
        let events = binlog::events(&self.written.tables, &change);
        self.written.apply(&change);
        if self.tells {
            eprintln!("transaction {}: {change:?}", self.log.len() + 1);
        }
        self.server.append(self.log.len(), &events);
        self.pending.push((self.log.len(), locks));
        self.log.push(Transaction { change, events });
    }

    /// A transaction runs and is written to the binlog. It touches nothing that another keeps.
    pub(super) fn begin(&mut self, random: &mut fastrand::Rng) {
        match random.u8(0..16) {
            0..3 => self.define(random),
            3 => self.decide(random),
            4 => self.prepare(random),
            5 => {
                let (rows, locks) = self.rows(random, 1);
                if let Some(first) = rows.first() {
                    self.write(Change::Statement(first.table.clone(), rows), locks);
                }
            }
            _ => {
                let (rows, locks) = self.rows(random, 3);
                if !rows.is_empty() {
                    self.write(Change::Rows(rows), locks);
                }
            }
        }
    }

    fn prepare(&mut self, random: &mut fastrand::Rng) {
        let (rows, locks) = self.rows(random, 3);
        if rows.is_empty() || self.held.len() > 1 {
            return;
        }
        let xid = u32::try_from(self.number()).unwrap();
        self.write(Change::Prepare(xid, rows), Locks::default());
        self.held.insert(xid, locks);
    }

    /// An XA transaction that is prepared, and whose PREPARE is committed, is decided.
    fn decide(&mut self, random: &mut fastrand::Rng) {
        let prepared: Vec<u32> = self.visible.prepared.keys().copied().collect();
        let open: Vec<u32> = prepared.into_iter().filter(|xid| self.held.contains_key(xid)).collect();
        if let Some(xid) = random.choice(open) {
            let locks = self.held.remove(&xid).unwrap();
            self.write(Change::Decide(xid, random.u8(0..4) > 0), locks);
        }
    }

    /// Up to `most` rows of one or two tables.
    fn rows(&mut self, random: &mut fastrand::Rng, most: usize) -> (Vec<RowChange>, Locks) {
        let mut state = self.written.clone();
        let (mut rows, mut locks) = (Vec::new(), Locks::default());
        let altered: BTreeSet<TableId> = self.locks().flat_map(|locks| locks.tables.clone()).collect();
        let locked: BTreeSet<(TableId, i32)> = self.locks().flat_map(|locks| locks.rows.clone()).collect();
        let free: Vec<TableId> = state.tables.keys().filter(|id| !altered.contains(id)).cloned().collect();
        for _ in 0..random.usize(1..=most) {
            let Some(id) = random.choice(&free) else { break };
            let id = id.clone();
            let (key, other) = (random.i32(0..KEYS), random.i32(0..KEYS));
            if [key, other].iter().any(|key| locked.contains(&(id.clone(), *key))) {
                continue;
            }
            let before = state.tables[&id].rows.get(&key).cloned();
            let moved = before.is_some() && !state.tables[&id].rows.contains_key(&other) && random.bool();
            let deleted = before.is_some() && random.u8(0..4) == 0;
            let columns = state.tables[&id].columns.clone();
            let mut value = |(place, column): (usize, &Column)| match place {
                0 => Some(if moved { other } else { key }),
                _ if column.not_null || random.u8(0..5) > 0 => Some(self.number()),
                _ => None,
            };
            let after: Option<Row> = (!deleted).then(|| columns.iter().enumerate().map(&mut value).collect());
            let change = RowChange { table: id.clone(), before, after };
            state.change(&change);
            locks.rows.extend([(id.clone(), key), (id, other)]);
            rows.push(change);
        }
        (rows, locks)
    }

    fn define(&mut self, random: &mut fastrand::Rng) {
        let busy: BTreeSet<TableId> = self
            .locks()
            .flat_map(|locks| locks.tables.iter().chain(locks.rows.iter().map(|(id, _)| id)).cloned())
            .collect();
        let name = || TableId::new("shop", NAMES[0]);
        let mut names: Vec<TableId> =
            NAMES.iter().map(|table| TableId { table: (*table).into(), ..name() }).collect();
        names.retain(|id| !busy.contains(id));
        random.shuffle(&mut names);
        let Some(id) = names.pop() else { return };
        let Some(table) = self.written.tables.get(&id) else {
            return self.write_ddl(Ddl::Create(id.clone()), [id]);
        };
        let other = names.pop();
        let more: Vec<String> = table.columns.iter().skip(1).map(|column| column.name.clone()).collect();
        let fresh = format!("x{}", self.count % 5);
        let taken = table.columns.iter().any(|column| column.name == fresh);
        let not_null = random.bool();
        let default = (random.u8(0..3) > 0).then(|| random.i32(100_000..200_000));
        match (random.u8(0..10), random.choice(&more), other) {
            (0, _, _) => self.write_ddl(Ddl::Drop(id.clone()), [id]),
            (1 | 2, _, _) => self.write_ddl(Ddl::Truncate(id.clone()), [id]),
            (3, _, Some(other)) => {
                let mut renames = vec![(id.clone(), other.clone())];
                if self.written.tables.contains_key(&other) {
                    // A swap, over a name that is nobody's.
                    let between = TableId::new("other", "between");
                    renames = vec![
                        (id.clone(), between.clone()),
                        (other.clone(), id.clone()),
                        (between, other.clone()),
                    ];
                }
                self.write_ddl(Ddl::Rename(renames), [id, other]);
            }
            (4, Some(column), _) if more.len() > 1 => {
                self.write_ddl(Ddl::DropColumn(id.clone(), column.clone()), [id]);
            }
            (5 | 6, Some(column), _) if !taken => {
                self.write_ddl(Ddl::RenameColumn(id.clone(), column.clone(), fresh), [id]);
            }
            _ if !taken && more.len() < 4 => {
                self.write_ddl(Ddl::Add(id.clone(), column(&fresh, default, not_null)), [id]);
            }
            _ => {}
        }
        self.number();
    }

    fn write_ddl(&mut self, ddl: Ddl, tables: impl IntoIterator<Item = TableId>) {
        let locks = Locks { rows: BTreeSet::new(), tables: tables.into_iter().collect() };
        self.write(Change::Ddl(ddl), locks);
    }

    /// One of the written transactions becomes visible.
    pub(super) fn commit(&mut self, random: &mut fastrand::Rng) {
        if !self.pending.is_empty() {
            self.commit_at(random.usize(0..self.pending.len()));
        }
    }

    fn commit_at(&mut self, place: usize) {
        let (index, _) = self.pending.remove(place);
        if self.tells {
            eprintln!("transaction {} is committed", index + 1);
        }
        self.visible.apply(&self.log[index].change);
        self.executed.insert(&gtid(index));
    }

    /// Everything in `set` becomes visible.
    pub(super) fn commit_those(&mut self, set: &GtidSet) {
        while let Some(place) = self.pending.iter().position(|(index, _)| set.contains(&gtid(*index))) {
            self.commit_at(place);
        }
    }

    pub(super) fn commit_all(&mut self) {
        while !self.pending.is_empty() {
            self.commit_at(0);
        }
    }

    /// Another server takes over. What was not committed yet may come in another order there.
    pub(super) fn fail_over(&mut self, random: &mut fastrand::Rng) {
        let open: BTreeSet<usize> = self.pending.iter().map(|(index, _)| *index).collect();
        let mut last: Vec<usize> = open.iter().copied().collect();
        random.shuffle(&mut last);
        let order = self.server.order().into_iter().filter(|index| !open.contains(index)).chain(last);
        let mut server = Server::new(self.server.number + 1);
        for index in order {
            if random.u8(0..8) == 0 {
                server.rotate();
            }
            server.append(index, &self.log[index].events);
        }
        self.server = server;
    }

    /// The tables once exactly the transactions of `set` are carried out.
    pub(super) fn at(&self, set: &GtidSet) -> State {
        let mut state = State::default();
        for index in self.server.order() {
            if set.contains(&gtid(index)) {
                state.apply(&self.log[index].change);
            }
        }
        state
    }
}
