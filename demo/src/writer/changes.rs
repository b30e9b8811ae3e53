//! What the live writer does next, and the SQL of it. Pure: a random generator and the state of one session enter,
//! statements leave.

use crate::shop::{self, EDGE_ROWS, ORDER_STATUSES, Size, Table};
use crate::writer::Written;
use fastrand::Rng;
use std::collections::HashMap;

/// A statement, and what each row that it touches counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// What it does.
    pub effect: Effect,
}

/// How the rows that a statement touches are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Rows that are new.
    Insert,
    /// Rows that stay where they are.
    Update,
    /// Rows that go.
    Delete,
    /// Rows that move to another key.
    KeyChange,
}

impl Effect {
    /// Counts `rows` into `written`.
    pub const fn count(self, rows: u64, written: &mut Written) {
        match self {
            Self::Insert => written.inserts += rows,
            Self::Update => written.updates += rows,
            Self::Delete => written.deletes += rows,
            Self::KeyChange => written.key_changes += rows,
        }
    }
}

/// The rows that belong to one of several sessions: those whose index, divided by their number, leaves its own.
#[derive(Debug)]
pub struct Share {
    rng: Rng,
    number: u64,
    of: u64,
    size: Size,
    /// Order that is placed next.
    next_order: u64,
    /// Order that is deleted next.
    oldest_order: u64,
    /// How often each product was renamed.
    revisions: HashMap<u64, u64>,
}

impl Share {
    /// The share of session `number` of `of`.
    pub fn new(number: u64, of: u64, size: Size) -> Self {
        let own_from = |from: u64| (from..).find(|index| index % of == number).unwrap_or(from);
        Self {
            rng: Rng::with_seed(number),
            number,
            of,
            size,
            next_order: own_from(size.orders),
            oldest_order: own_from(EDGE_ROWS),
            revisions: HashMap::new(),
        }
    }

    /// The statements of the next transaction.
    pub fn next_transaction(&mut self, gift_notes: bool) -> Vec<Statement> {
        match self.rng.u8(0..100) {
            0..40 => self.place_order(gift_notes),
            40..65 => self.advance_order(),
            65..82 => self.sell_product(),
            82..90 => self.change_customer(),
            90..97 => self.delete_order(),
            _ => self.rename_product(),
        }
    }

    fn place_order(&mut self, gift_notes: bool) -> Vec<Statement> {
        let order = self.next_order;
        self.next_order += self.of;
        let mut statements: Vec<Statement> = [Table::Orders, Table::OrderLines, Table::Payments]
            .into_iter()
            .map(|table| {
                let mut sql = String::new();
                shop::insert(table, order..order + 1, self.size, &mut sql);
                Statement { sql, effect: Effect::Insert }
            })
            .collect();
        if gift_notes && self.rng.bool() {
            let note = self.rng.choice(["Happy birthday 🎂", "With love ♥", "谢谢", ""]).unwrap_or_default();
            statements
                .push(update(format!("UPDATE orders SET gift_note = '{note}' WHERE id = {}", order + 1)));
        }
        statements
    }

    fn advance_order(&mut self) -> Vec<Statement> {
        let id = self.own(self.oldest_order, self.next_order) + 1;
        let status = self.rng.choice(ORDER_STATUSES).unwrap_or_default();
        vec![update(format!("UPDATE orders SET status = '{status}' WHERE id = {id}"))]
    }

    fn sell_product(&mut self) -> Vec<Statement> {
        let product = self.own(EDGE_ROWS, self.size.products);
        let sku = self.sku(product);
        let pieces = self.rng.u8(1..9);
        vec![update(format!(
            "UPDATE products SET stock = stock - {pieces}, sold = sold + {pieces}, \
             attributes = JSON_SET(attributes, '$.views', {}) WHERE sku = '{sku}'",
            self.rng.u32(1..1_000_000)
        ))]
    }

    fn change_customer(&mut self) -> Vec<Statement> {
        let id = self.own(EDGE_ROWS, self.size.customers) + 1;
        vec![update(if self.rng.bool() {
            format!("UPDATE customers SET page_views = page_views + 1, nickname = '🐝 {id}' WHERE id = {id}")
        } else {
            // The NULLs come and go.
            format!("UPDATE customers SET nickname = NULL, household = {} WHERE id = {id}", self.rng.u8(..))
        })]
    }

    fn delete_order(&mut self) -> Vec<Statement> {
        let order = self.oldest_order;
        if order >= self.next_order {
            return self.place_order(false);
        }
        self.oldest_order += self.of;
        let id = order + 1;
        [
            format!("DELETE FROM payments WHERE id = {}", shop::payment_id(order)),
            format!("DELETE FROM order_lines WHERE order_id = {id}"),
            format!("DELETE FROM orders WHERE id = {id}"),
        ]
        .map(|sql| Statement { sql, effect: Effect::Delete })
        .into()
    }

    /// Three keys in turn, so that a key that was left is taken again.
    fn rename_product(&mut self) -> Vec<Statement> {
        let product = self.own(EDGE_ROWS, self.size.products);
        let before = self.sku(product);
        let revision = self.revisions.entry(product).or_default();
        *revision = (*revision + 1) % 3;
        let after = shop::sku(product, *revision);
        vec![Statement {
            sql: format!("UPDATE products SET sku = '{after}' WHERE sku = '{before}'"),
            effect: Effect::KeyChange,
        }]
    }

    fn sku(&self, product: u64) -> String {
        shop::sku(product, self.revisions.get(&product).copied().unwrap_or_default())
    }

    /// An index of this share from `from` up to, but not including, `to`.
    fn own(&mut self, from: u64, to: u64) -> u64 {
        let index = self.rng.u64(from..to.max(from + 1));
        let own = index - index % self.of + self.number;
        if own < from {
            own + self.of
        } else if own >= to && own >= from + self.of {
            own - self.of
        } else {
            own
        }
    }
}

const fn update(sql: String) -> Statement {
    Statement { sql, effect: Effect::Update }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { customers: 100, products: 100, orders: 100 };

    fn transactions(share: &mut Share, count: usize) -> Vec<Vec<Statement>> {
        (0..count).map(|_| share.next_transaction(false)).collect()
    }

    #[test]
    fn a_session_does_the_same_every_time() {
        let run = || transactions(&mut Share::new(0, 2, SIZE), 200);
        assert_eq!(run(), run());
    }

    #[test]
    fn every_kind_of_change_comes_up() {
        let all: Vec<Statement> = transactions(&mut Share::new(1, 2, SIZE), 300).concat();
        for effect in [Effect::Insert, Effect::Update, Effect::Delete, Effect::KeyChange] {
            assert!(all.iter().any(|statement| statement.effect == effect), "no {effect:?}");
        }
    }

    #[test]
    fn sessions_never_choose_the_same_row_nor_one_of_the_edges() {
        for number in 0..2 {
            let mut share = Share::new(number, 2, SIZE);
            for to in [4, 5, 99, 100] {
                for _ in 0..200 {
                    let index = share.own(EDGE_ROWS, to);
                    assert_eq!(index % 2, number);
                    assert!((EDGE_ROWS..=to).contains(&index), "{index} of {to}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_was_left_is_taken_again() {
        let mut share = Share::new(0, 1, Size { products: EDGE_ROWS + 1, ..SIZE });
        let sql: Vec<String> = (0..3).map(|_| share.rename_product().remove(0).sql).collect();
        assert!(sql[2].contains(&format!("sku = '{}' WHERE", shop::sku(EDGE_ROWS, 0))), "{sql:?}");
    }

    #[test]
    fn gift_notes_come_only_when_the_column_is_there() {
        let mut share = Share::new(0, 1, SIZE);
        let count = |share: &mut Share, gift_notes| {
            (0..200)
                .flat_map(|_| share.next_transaction(gift_notes))
                .filter(|statement| statement.sql.contains("gift_note"))
                .count()
        };
        assert_eq!(count(&mut share, false), 0);
        assert!(count(&mut share, true) > 0);
    }
}
