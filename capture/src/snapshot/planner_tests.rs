//! The planner against a model: tables of whole numbers, answered by chance, stopped and resumed by chance.

use super::planner::{Order, OrderId, Planner, Work};
use super::windows::TableNumber;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::checkpoint::{KeyRange, KeyValue, ReadPhase};
use tributary_schemas::position::Position;

fn key(number: i64) -> Vec<KeyValue> {
    vec![KeyValue::Int(number)]
}

fn number(key: &[KeyValue]) -> i64 {
    match key {
        [KeyValue::Int(number)] => *number,
        other => panic!("{other:?}"),
    }
}

fn inside(range: &KeyRange, candidate: i64) -> bool {
    range.after.as_deref().is_none_or(|after| number(after) < candidate)
        && range.through.as_deref().is_none_or(|through| candidate <= number(through))
}

/// Tables and what of them was published.
struct Model {
    rows: BTreeMap<TableNumber, BTreeSet<i64>>,
    published: BTreeMap<TableNumber, BTreeSet<i64>>,
    planner: Planner,
    out: Vec<Order>,
}

impl Model {
    fn new(tables: &[BTreeSet<i64>]) -> Self {
        let rows: BTreeMap<TableNumber, _> = (0..).zip(tables.iter().cloned()).collect();
        let mut planner = Planner::new(64);
        for table in rows.keys() {
            planner.add(*table, Planner::begin(1, 0), 1);
        }
        let published = rows.keys().map(|table| (*table, BTreeSet::new())).collect();
        Self { rows, published, planner, out: Vec::new() }
    }

    /// Carries a part of an order out; `part` decides how much.
    fn work(&mut self, which: usize, part: usize) {
        let order = self.out[which].clone();
        let rows = &self.rows[&order.table];
        match order.work {
            Work::FindEnd => {
                self.planner.end_found(order.id, rows.last().map(|last| key(*last)));
                self.out.remove(which);
            }
            Work::FindBoundary { range, rows: count } => {
                // The planner's smallest chunk is larger than these tables.
                let count = usize::try_from(count).unwrap() / 8;
                let boundary = rows.iter().filter(|row| inside(&range, **row)).nth(count - 1);
                self.planner.boundary_found(order.id, boundary.map(|row| key(*row)));
                self.out.remove(which);
            }
            Work::Read { range } => {
                let published = self.published.get_mut(&order.table).unwrap();
                let mut left = rows.iter().filter(|row| inside(&range, **row) && !published.contains(row));
                let batch: Vec<i64> = left.by_ref().take(part).copied().collect();
                if let Some(last) = batch.last() {
                    self.planner.published(order.id, key(*last), u64::try_from(batch.len()).unwrap(), 1);
                    published.extend(&batch);
                } else {
                    self.planner.finished(order.id);
                    self.out.remove(which);
                }
            }
        }
    }

    /// A row is in `remaining` exactly if it was not published.
    fn check(&self) {
        for (table, rows) in &self.rows {
            let progress = self.planner.progress(*table).unwrap();
            for row in rows {
                let ranges = progress.remaining.iter().filter(|range| inside(range, *row)).count();
                let published = self.published[table].contains(row);
                assert_eq!(ranges, usize::from(!published), "table {table} row {row} {progress:?}");
            }
            assert_eq!(progress.rows_read, u64::try_from(self.published[table].len()).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn progress_is_exact_at_any_moment_and_everything_is_read(
        tables in prop::collection::vec(prop::collection::btree_set(0_i64..60, 0..40), 1..4),
        steps in prop::collection::vec((0_u8..12, 0_usize..4, 1_usize..6), 0..150),
    ) {
        let mut model = Model::new(&tables);
        for (kind, which, part) in steps {
            match kind {
                0..4 if model.out.len() < 4 => model.out.extend(model.planner.next(|_| true)),
                4..9 if which < model.out.len() => model.work(which, part),
                9 if which < model.out.len() => {
                    let order = model.out.remove(which);
                    model.planner.returned(order.id);
                    prop_assert!(!model.planner.orders.contains_key(&order.id));
                }
                10 => {
                    let table = TableNumber::try_from(which).unwrap();
                    let ids = model.planner.pause(table);
                    model.out.retain(|order| order.table != table);
                    prop_assert!(model.out.iter().all(|order| !ids.contains(&order.id)));
                    model.planner.resume(table);
                }
                // A crash: only the progress is left.
                11 => {
                    let mut planner = Planner::new(64);
                    for table in model.rows.keys() {
                        let text = serde_json::to_string(&model.planner.progress(*table).unwrap()).unwrap();
                        planner.add(*table, serde_json::from_str(&text).unwrap(), 1);
                    }
                    model.planner = planner;
                    model.out.clear();
                }
                _ => {}
            }
            model.check();
            prop_assert_eq!(model.planner.orders.len(), model.out.len());
        }
        while let Some(order) = model.out.pop().or_else(|| model.planner.next(|_| true)) {
            model.out.push(order);
            model.work(0, 3);
        }
        model.check();
        let read: Vec<TableNumber> = model.planner.read_through().collect();
        prop_assert_eq!(read.len(), tables.len());
        prop_assert_eq!(&model.published, &model.rows);
    }
}

fn orders(planner: &mut Planner, count: usize) -> Vec<Order> {
    (0..count).map_while(|_| planner.next(|_| true)).collect()
}

#[test]
fn tables_that_are_passed_over_leave_their_orders_for_later() {
    let mut planner = Planner::new(1000);
    for table in [1, 2] {
        planner.add(table, Planner::begin(1, 100), 10);
    }
    assert_eq!(planner.next(|table| table != 1).unwrap().table, 2);
    assert_eq!(planner.next(|table| table != 1), None, "the search of the other is out");
    assert_eq!(planner.next(|_| true).unwrap().table, 1);
}

#[test]
fn idle_readers_steal_from_the_same_table_and_from_the_next() {
    let mut planner = Planner::new(6400);
    planner.add(5, Planner::begin(1, 1000), 100);
    planner.add(2, Planner::begin(1, 10), 100);
    let first = orders(&mut planner, 4);
    assert_eq!(first.iter().map(|order| order.table).collect::<Vec<_>>(), [5, 2]);
    planner.end_found(first[0].id, Some(key(1000)));
    let search = planner.next(|_| true).unwrap();
    let range = KeyRange { after: None, through: Some(key(1000)) };
    assert_eq!(search.work, Work::FindBoundary { range, rows: 64 });
    assert_eq!(planner.next(|_| true), None);
    planner.boundary_found(search.id, Some(key(64)));
    let both = orders(&mut planner, 4);
    assert_eq!(both[0].work, Work::Read { range: KeyRange { after: None, through: Some(key(64)) } });
    assert!(matches!(&both[1].work, Work::FindBoundary { range, .. } if range.after == Some(key(64))));
    // The measured size of rows replaces the estimate.
    planner.published(both[0].id, key(60), 400, 400);
    planner.returned(both[1].id);
    let again = orders(&mut planner, 1);
    assert!(matches!(again[0].work, Work::FindBoundary { rows: 6400, .. }), "{again:?}");
    let progress = planner.progress(5).unwrap();
    assert_eq!(progress.remaining, [KeyRange { after: Some(key(60)), through: Some(key(1000)) }]);
}

#[test]
fn a_table_is_complete_only_once_the_stream_has_passed() {
    let mut planner = Planner::new(1);
    planner.add(0, Planner::begin(1, 0), 1);
    let order = planner.next(|_| true).unwrap();
    planner.set_consistent_after(0, Position::default());
    assert_eq!(planner.progress(0).unwrap().phase, ReadPhase::Reading);
    planner.end_found(order.id, None);
    assert_eq!(planner.read_through().collect::<Vec<_>>(), [0]);
    let at = |set: &str| Position { gtid_set: set.parse().unwrap(), ..Position::default() };
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    planner.set_consistent_after(0, at(&format!("{uuid}:1-9")));
    assert_eq!(planner.passed(&at(&format!("{uuid}:1-8"))), [0; 0]);
    assert!(!planner.is_complete());
    assert_eq!(planner.passed(&at(&format!("{uuid}:1-10"))), [0]);
    assert_eq!(planner.progress(0).unwrap().phase, ReadPhase::Complete);
    assert!(planner.is_complete());
}

#[test]
fn answers_to_orders_that_are_not_out_change_nothing() {
    let mut planner = Planner::new(1);
    planner.add(0, Planner::begin(1, 0), 1);
    let order = planner.next(|_| true).unwrap();
    let ids: Vec<OrderId> = planner.pause(0);
    assert_eq!(ids, [order.id]);
    let before = planner.progress(0);
    planner.end_found(order.id, None);
    planner.finished(order.id);
    planner.published(order.id, key(1), 1, 1);
    assert_eq!(planner.progress(0), before);
    assert_eq!(planner.next(|_| true), None);
    planner.resume(0);
    assert!(planner.next(|_| true).is_some());
}
