//! What an index stands for, where more than one table must agree: an order's lines, its total and its payment.

use super::words;
use fastrand::Rng;

/// The states an order passes, in this order.
pub const ORDER_STATUSES: [&str; 6] = words::STATUSES;

/// Every run makes the same shop.
const SEED: u64 = 0x5472_6962_7574_6172;
/// Payment numbers lie beyond what a signed 64-bit number holds.
const FIRST_PAYMENT: u64 = 9_300_000_000_000_000_000;

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Index of the product.
    pub product: u64,
    /// Pieces.
    pub quantity: u64,
    /// Price of a piece in hundredths.
    pub price: u64,
}

/// A generator for one purpose and one index. `purpose` keeps those of different tables apart.
pub(super) fn rng(purpose: u64, index: u64) -> Rng {
    Rng::with_seed(SEED ^ (purpose << 56) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The key of a product. Its revision changes when the live writer renames it; 0 is what was loaded.
pub fn sku(product: u64, revision: u64) -> String {
    let category = pick(&words::CATEGORIES, product);
    let prefix: String = category.chars().take(3).collect::<String>().to_uppercase();
    match revision {
        0 => format!("{prefix}-{product:05}"),
        _ => format!("{prefix}-{product:05}/{revision}"),
    }
}

/// The key of an order's payment. Two of the edge rows have the two ends of the type.
pub fn payment_id(order: u64) -> u64 {
    match order {
        0 => 0,
        1 => u64::MAX,
        _ => FIRST_PAYMENT + order,
    }
}

/// Hundredths.
pub(super) fn price(product: u64) -> u64 {
    let mut rng = rng(10, product);
    let digits = rng.u32(1..4);
    rng.u64(1..10_u64.pow(digits)) * 100 + *rng.choice([0, 49, 50, 90, 95, 99].iter()).unwrap_or(&0)
}

/// How many lines an order has.
pub fn line_count(order: u64) -> u64 {
    rng(11, order).u64(1..5)
}

/// An order's lines; `products` is how many there are to choose from.
pub(super) fn lines(order: u64, products: u64) -> Vec<Line> {
    let mut rng = rng(12, order);
    (0..line_count(order))
        .map(|_| {
            // Some sell much better than others.
            let product = (rng.u64(0..products) * rng.u64(0..products)) / products.max(1);
            Line { product, quantity: rng.u64(1..6), price: price(product) }
        })
        .collect()
}

/// Hundredths.
pub(super) fn total(lines: &[Line]) -> u64 {
    lines.iter().map(|line| line.quantity * line.price).sum()
}

/// The entry of a list that an index stands for.
pub(super) fn pick<T: Copy, const N: usize>(list: &[T; N], index: u64) -> T {
    let position = usize::try_from(index % N as u64).unwrap_or_default();
    list[position]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_the_same_wherever_it_is_made() {
        assert_eq!(lines(77, 1000), lines(77, 1000));
        assert_ne!(lines(77, 1000), lines(78, 1000));
        for order in 0..500 {
            assert_eq!(lines(order, 10).len() as u64, line_count(order));
            assert!(
                lines(order, 10).iter().all(|line| line.product < 10 && line.price == price(line.product))
            );
        }
    }

    #[test]
    fn keys_are_unique_and_payments_need_an_unsigned_type() {
        assert_ne!(sku(7, 0), sku(7, 1));
        assert_ne!(sku(7, 0), sku(8, 0));
        assert!(payment_id(2) > i64::MAX.cast_unsigned());
        assert_eq!(payment_id(1), u64::MAX);
    }

    #[test]
    fn a_total_is_the_sum_of_the_lines() {
        let line = |quantity, price| Line { product: 0, quantity, price };
        assert_eq!(total(&[line(2, 150), line(1, 99)]), 399);
    }
}
