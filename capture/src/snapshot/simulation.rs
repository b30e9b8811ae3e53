//! A seeded simulation of reading a table while it is being written: a source whose transactions are in the binlog before their rows are
//! visible, a stream that reads them at once, readers, Kafka transactions, crashes, DDL. The real windows and the real
//! planner run in it. `TRIBUTARY_SEED=17 cargo test simulation` replays one schedule.
//!
//! What is checked: once the table is complete, the topic's last states are the source's at the stream's position,
//! row by row, ever after. Each safeguard is also left out, and the simulation must notice.

use super::planner::{Order, OrderId, Planner, Work};
use super::simulation_source::{Event, Key, Rows, Source, apply, inside, key, numbers};
use super::windows::{WindowId, Windows};
use std::collections::BTreeMap;
use tributary_schemas::checkpoint::{ReadPhase, TableProgress};
use tributary_schemas::position::Position;

/// A safeguard to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    ReadWithoutWaiting,
    FindEndWithoutWaiting,
    WaitWithoutOpenTransaction,
    WaitWithoutPartTransaction,
    PublishTouchedRows,
    RecordAfterKeysOnly,
    OpenWindowAfterWaiting,
    KeepWindowsClosedForMemory,
    CompleteWithoutStream,
}

/// The table's number.
const TABLE: u32 = 2;

/// What Kafka has after a commit.
#[derive(Debug, Clone, Default)]
struct Stored {
    topic: Rows,
    transaction: usize,
    rows: usize,
    progress: Option<TableProgress>,
}

/// A reader that is not idle.
#[derive(Debug)]
struct Reader {
    order: Order,
    window: Option<WindowId>,
    /// The transactions to wait for.
    wait: Position,
    /// What the SELECT returned and has not been delivered yet, once it ran.
    rows: Option<Vec<(Key, u64)>>,
}

struct Simulation {
    random: fastrand::Rng,
    weights: [u32; 10],
    fault: Fault,
    source: Source,
    stored: Stored,
    /// What is written in the open Kafka transaction.
    topic: Rows,
    windows: Windows,
    planner: Planner,
    readers: Vec<Reader>,
    /// The transaction the stream is in front of, or in the middle of.
    transaction: usize,
    open: bool,
    /// Rows of it that were passed, and that a predecessor published.
    row: usize,
    skip: usize,
}

const ACTIONS: [fn(&mut Simulation); 10] = [
    |this| this.source.begin(&mut this.random),
    |this| this.source.commit(&mut this.random),
    Simulation::pass,
    Simulation::give_order,
    Simulation::read,
    Simulation::commit,
    Simulation::advance,
    Simulation::crash,
    Simulation::disturb,
    Simulation::fail,
];

/// What went wrong.
type Violation = String;

impl Simulation {
    /// The table is added while the stream is somewhere: what the stream passed before is not in the topic.
    fn new(seed: u64, fault: Fault) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut weights = [16, 16, 32, 16, 32, 8, 4, 1, 1, 1];
        weights.iter_mut().for_each(|weight| *weight *= [1, 4, 16][random.usize(0..3)]);
        let mut source = Source::default();
        for _ in 0..random.usize(0..20) {
            source.step(&mut random);
        }
        let transaction = random.usize(0..=source.log.len());
        let mut planner = Planner::new(1);
        planner.add(TABLE, Planner::begin(1, 0), 1);
        let stored = Stored { transaction, progress: planner.progress(TABLE), ..Stored::default() };
        Self {
            random,
            weights,
            fault,
            source,
            stored,
            topic: Rows::new(),
            windows: Windows::new(),
            planner,
            readers: Vec::new(),
            transaction,
            open: false,
            row: 0,
            skip: 0,
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        for _ in 0..self.random.usize(20..300) {
            self.step();
            // The check goes through the whole binlog; now and then will do.
            if self.random.u8(0..8) == 0 {
                self.check()?;
            }
        }
        for _ in 0..20_000 {
            if self.planner.is_complete() && self.transaction == self.source.log.len() {
                self.check()?;
                self.source.commit_all();
                return self.compare(&self.source.visible);
            }
            match self.random.u8(0..4) {
                0 => self.source.commit(&mut self.random),
                1 => self.pass(),
                2 => self.give_order(),
                _ => self.read(),
            }
            self.advance();
        }
        Err("the snapshot does not come to its end".into())
    }

    /// One of the actions, by weights that are the seed's own: in some schedules the source commits late, in others
    /// the stream is slow, or crashes are many.
    fn step(&mut self) {
        let mut chance = self.random.u32(0..self.weights.iter().sum());
        for (weight, action) in self.weights.into_iter().zip(ACTIONS) {
            if chance < weight {
                return action(self);
            }
            chance -= weight;
        }
    }

    /// The stream reads on by one event. The binlog shows a transaction as soon as it is written, committed or not.
    fn pass(&mut self) {
        let Some(transaction) = self.source.log.get(self.transaction) else { return };
        if !self.open {
            self.open = true;
            return;
        }
        let Some(event) = transaction.get(self.row).copied() else {
            (self.transaction, self.open, self.row, self.skip) = (self.transaction + 1, false, 0, 0);
            return;
        };
        if self.fault != Fault::RecordAfterKeysOnly
            && let Some(before) = event.before
        {
            self.windows.record(TABLE, &before.to_be_bytes());
        }
        if let Some((after, _)) = event.after {
            self.windows.record(TABLE, &after.to_be_bytes());
        }
        if self.row >= self.skip {
            apply(&mut self.topic, event);
        }
        self.row += 1;
    }

    /// All transactions the stream has reached.
    fn reached(&self) -> Position {
        let open = self.open && self.fault != Fault::WaitWithoutOpenTransaction;
        let part = self.skip > 0 && self.fault != Fault::WaitWithoutPartTransaction;
        numbers(self.transaction + usize::from(open || part))
    }

    fn give_order(&mut self) {
        if self.readers.len() < 3
            && let Some(order) = self.planner.next(|_| true)
        {
            let reads = matches!(order.work, Work::Read { .. });
            let now = self.fault != Fault::OpenWindowAfterWaiting;
            let window = (reads && now).then(|| self.windows.open(TABLE));
            self.readers.push(Reader { order, window, wait: self.reached(), rows: None });
        }
    }

    /// One reader goes on: it waits, runs its statement, or delivers a few rows.
    fn read(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let which = self.random.usize(0..self.readers.len());
        let reader = &mut self.readers[which];
        let id = reader.order.id;
        if let Some(rows) = &mut reader.rows {
            let batch: Vec<_> = rows.drain(..self.random.usize(0..=rows.len().min(3))).collect();
            let ended = rows.is_empty();
            let Some(window) = reader.window else { return };
            self.publish(id, window, &batch);
            if ended {
                self.planner.finished(id);
                self.end(id);
            }
            return;
        }
        let committed = self.source.executed.contains_all(&reader.wait.gtid_set);
        let visible = &self.source.visible;
        match &reader.order.work {
            Work::FindEnd if committed || self.fault == Fault::FindEndWithoutWaiting => {
                self.planner.end_found(id, visible.last_key_value().map(|(last, _)| key(*last)));
                self.end(id);
            }
            Work::FindBoundary { range, .. } => {
                let at = self.random.usize(0..5);
                let boundary = visible.keys().filter(|row| inside(range, **row)).nth(at);
                self.planner.boundary_found(id, boundary.map(|row| key(*row)));
                self.end(id);
            }
            Work::Read { range } if committed || self.fault == Fault::ReadWithoutWaiting => {
                let rows = visible.iter().filter(|(row, _)| inside(range, **row));
                reader.rows = Some(rows.map(|(row, version)| (*row, *version)).collect());
                let windows = &mut self.windows;
                reader.window.get_or_insert_with(|| windows.open(TABLE));
            }
            _ => {}
        }
    }

    fn publish(&mut self, id: OrderId, window: WindowId, batch: &[(Key, u64)]) {
        for (row, version) in batch {
            let mut touched = self.windows.is_touched(TABLE, window, &row.to_be_bytes());
            touched &= self.fault != Fault::PublishTouchedRows;
            if !touched {
                apply(&mut self.topic, Event { before: None, after: Some((*row, *version)) });
            }
        }
        if let Some((last, _)) = batch.last() {
            self.planner.published(id, key(*last), 1, 1);
        }
    }

    /// Nobody waits for this order any more.
    fn end(&mut self, id: OrderId) {
        let Some(place) = self.readers.iter().position(|reader| reader.order.id == id) else { return };
        if let Some(window) = self.readers.swap_remove(place).window {
            self.windows.close(TABLE, window);
        }
    }

    fn advance(&mut self) {
        let read = self.planner.read_through().next().is_some();
        if read {
            let mut mark = Position { gtid_set: self.source.executed.clone(), ..Position::default() };
            if self.fault == Fault::CompleteWithoutStream {
                mark = Position::default();
            }
            self.planner.set_consistent_after(TABLE, mark);
        }
        self.planner.passed(&numbers(self.transaction));
    }

    /// A Kafka transaction is committed: rows, the stream's place and the progress together.
    fn commit(&mut self) {
        self.stored = Stored {
            topic: self.topic.clone(),
            transaction: self.transaction,
            rows: self.row.max(self.skip),
            progress: self.planner.progress(TABLE),
        };
    }

    /// Capture is killed and started again. Readers' sessions end with it.
    fn crash(&mut self) {
        let Stored { topic, transaction, rows, progress } = self.stored.clone();
        self.topic = topic;
        (self.transaction, self.open, self.row, self.skip) = (transaction, false, 0, rows);
        self.readers.clear();
        self.windows = Windows::new();
        self.planner = Planner::new(1);
        if let Some(progress) = progress {
            self.planner.add(TABLE, progress, 1);
        }
    }

    fn disturb(&mut self) {
        if self.random.bool() { self.ddl() } else { self.shed() }
    }

    /// The stream passes a DDL: windows are discarded, and what they had not published is read again.
    fn ddl(&mut self) {
        for id in self.planner.pause(TABLE) {
            self.end(id);
        }
        assert_eq!(self.windows.discard_table(TABLE), []);
        self.planner.resume(TABLE);
    }

    /// The touched keys take too much memory.
    fn shed(&mut self) {
        for (_, window) in self.windows.shed(self.windows.bytes() / 2) {
            let Some(place) = self.readers.iter().position(|reader| reader.window == Some(window)) else {
                continue;
            };
            if self.fault == Fault::KeepWindowsClosedForMemory {
                // A new window in the middle of a chunk, as if it were the old one.
                self.readers[place].window = Some(self.windows.open(TABLE));
                continue;
            }
            let reader = self.readers.swap_remove(place);
            self.planner.returned(reader.order.id);
        }
    }

    /// A SELECT fails in the middle.
    fn fail(&mut self) {
        if let Some(id) = self.readers.first().map(|reader| reader.order.id) {
            self.planner.returned(id);
            self.end(id);
        }
    }

    /// Once complete, the topic is the source as it was at the stream's position.
    fn check(&self) -> Result<(), Violation> {
        if !self.planner.is_complete() {
            return Ok(());
        }
        let mut expected = Rows::new();
        for event in self.source.log.iter().take(self.transaction).flatten() {
            apply(&mut expected, *event);
        }
        if let Some(transaction) = self.source.log.get(self.transaction) {
            transaction.iter().take(self.row.max(self.skip)).for_each(|event| apply(&mut expected, *event));
        }
        self.compare(&expected)
    }

    fn compare(&self, expected: &BTreeMap<Key, u64>) -> Result<(), Violation> {
        if self.topic == *expected {
            return Ok(());
        }
        let phase = self.planner.progress(TABLE).map(|progress| progress.phase);
        assert_eq!(phase, Some(ReadPhase::Complete));
        Err(format!("at transaction {}: topic {:?}, source {expected:?}", self.transaction, self.topic))
    }
}

/// The first seed of `seeds` that goes wrong.
fn first_violation(fault: Fault, seeds: std::ops::Range<u64>) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| {
        let result = Simulation::new(seed, fault).run();
        result.err().map(|violation| (seed, violation))
    })
}

#[test]
fn no_row_is_lost_outdated_or_resurrected() {
    let seeds = match std::env::var("TRIBUTARY_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(seed) => seed.clone().unwrap()..seed.unwrap() + 1,
        Err(_) => 0..4_000,
    };
    if let Some((seed, violation)) = first_violation(Fault::Nothing, seeds) {
        panic!("TRIBUTARY_SEED={seed}: {violation}");
    }
}

/// Each safeguard, left out, is missed: so the simulation can fail, and none of them is there for nothing.
#[test]
fn every_safeguard_is_needed() {
    for fault in [
        Fault::ReadWithoutWaiting,
        Fault::FindEndWithoutWaiting,
        Fault::WaitWithoutOpenTransaction,
        Fault::WaitWithoutPartTransaction,
        Fault::PublishTouchedRows,
        Fault::RecordAfterKeysOnly,
        Fault::OpenWindowAfterWaiting,
        Fault::KeepWindowsClosedForMemory,
        Fault::CompleteWithoutStream,
    ] {
        let found = first_violation(fault, 0..20_000);
        assert!(found.is_some(), "{fault:?} goes unnoticed");
    }
}
