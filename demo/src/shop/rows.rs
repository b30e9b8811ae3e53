//! Rows as multi-row INSERT statements: a table and a range of indexes enter, SQL leaves. Pure, and the same for the
//! same range, whoever asks.

use super::facts::{self, line_count, lines, payment_id, pick, rng, sku, total};
use super::literal::{bytes, display, money, text};
use super::row::Row;
use super::{Size, Table, words};
use fastrand::Rng;
use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use std::ops::Range;

/// Writes into `sql` one INSERT of the rows with `indexes`, and returns how many rows that is.
pub fn insert(table: Table, indexes: Range<u64>, size: Size, sql: &mut String) -> u64 {
    sql.clear();
    display(sql, format_args!("INSERT INTO {} ({}) VALUES ", table.name(), columns(table)));
    let mut rows = 0;
    for index in indexes {
        if rows > 0 {
            sql.push(',');
        }
        rows += match table {
            Table::Customers => one(sql, index, customer),
            Table::Products => one(sql, index, product),
            Table::Orders => one(sql, index, |sql, index| order(sql, index, size)),
            Table::OrderLines => order_lines(sql, index, size),
            Table::Payments => one(sql, index, |sql, index| payment(sql, index, size)),
        };
    }
    rows
}

/// Columns that are named: a column that is added later takes its default, as in a shop's own statements.
const fn columns(table: Table) -> &'static str {
    match table {
        Table::Customers => {
            "id,public_id,full_name,nickname,email,street,city,country,segment,interests,birth_date,household,\
             credit_score,loyalty_points,page_views,newsletter,password_hash,preferences,registered_at"
        }
        Table::Products => {
            "sku,title,description,category,price,cost,price_trend,stock,sold,pack_size,weight_kg,rating,labels,\
             features,model_year,assembly_time,thumbnail,attributes"
        }
        Table::Orders => {
            "id,customer_id,status,options,total,currency,note,client_address,partner_reference,placed_at,promised_for"
        }
        Table::OrderLines => "order_id,line_no,sku,quantity,unit_price,is_gift,engraving",
        Table::Payments => {
            "id,order_id,method,amount,exchange_rate,card_digits,reply,receipt,paid_at,booked_on"
        }
    }
}

fn one(sql: &mut String, index: u64, write: impl FnOnce(&mut String, u64)) -> u64 {
    write(sql, index);
    1
}

fn customer(sql: &mut String, index: u64) {
    let mut row = Row::begin(sql, rng(1, index), index);
    let mut names = rng(2, index);
    let (first, last) = (choose(&mut names, &words::FIRST_NAMES), choose(&mut names, &words::LAST_NAMES));
    let (city, country) = choose(&mut names, &words::PLACES);
    row.fixed(|_, sql| display(sql, index + 1));
    // Trailing zero bytes, which the binlog leaves out of a BINARY column.
    let zeros = format!("x'{}'", "00".repeat(16));
    let ones = format!("x'{}'", "ff".repeat(16));
    row.column(&zeros, &ones, |rng, sql| {
        let padded = if rng.u8(0..20) == 0 { u128::from(rng.u64(..)) << 64 } else { rng.u128(..) };
        bytes(sql, &padded.to_be_bytes());
    });
    row.column("''", &quoted_repeat("🦋", 80), |_, sql| text(sql, &format!("{first} {last}")));
    row.nullable("''", &quoted_repeat("é", 40), 2, |rng, sql| text(sql, choose(rng, &words::NICKNAMES)));
    row.fixed(|_, sql| text(sql, &format!("customer{index}@{}.example", country.to_lowercase())));
    row.column("''", &quoted_repeat("ÿ", 80), |rng, sql| {
        text(sql, &format!("{} {}", choose(rng, &words::STREETS), rng.u32(1..200)));
    });
    row.fixed(|_, sql| text(sql, city));
    row.fixed(|_, sql| text(sql, country));
    row.column("'private'", "'wholesale'", |rng, sql| text(sql, choose(rng, &words::SEGMENTS)));
    row.nullable("''", "'garden,kitchen,outdoor,music,books,pets'", 6, |rng, sql| {
        text(sql, &subset(rng, &words::CATEGORIES));
    });
    row.nullable("'1000-01-01'", "'9999-12-31'", 5, |rng, sql| {
        day(sql, date(1940, 1, 1).at(0, 0, 0, 0), rng.i64(0..25_000));
    });
    row.nullable("0", "255", 4, |rng, sql| display(sql, rng.u8(1..8)));
    row.nullable("-32768", "32767", 3, |rng, sql| display(sql, rng.i16(-200..900)));
    row.column("-8388608", "8388607", |rng, sql| display(sql, rng.i32(-50..20_000)));
    row.column("0", "18446744073709551615", |rng, sql| {
        // One in a hundred is a bot.
        display(sql, if rng.u8(0..100) == 0 { rng.u64(1 << 63..) } else { rng.u64(0..100_000) });
    });
    row.column("-128", "127", |rng, sql| display(sql, u8::from(rng.bool())));
    row.nullable("x''", &quoted_bytes(32), 8, |rng, sql| {
        bytes(sql, &[rng.u128(..).to_be_bytes(), rng.u128(..).to_be_bytes()].concat());
    });
    row.nullable("'{}'", EDGE_JSON, 5, |rng, sql| text(sql, &preferences(rng)));
    row.column("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", |rng, sql| {
        moment(sql, date(2015, 1, 1).at(0, 0, 0, 0), rng.i64(0..300_000_000_000_000), 0);
    });
    row.end();
}

fn product(sql: &mut String, index: u64) {
    let mut row = Row::begin(sql, rng(3, index), index);
    let mut names = rng(4, index);
    let thing = choose(&mut names, &pick(&words::THINGS, index));
    let (quality, material) = (choose(&mut names, &words::QUALITIES), choose(&mut names, &words::MATERIALS));
    row.fixed(|_, sql| text(sql, &sku(index, 0)));
    row.fixed(|_, sql| text(sql, &format!("{quality} {material} {thing}")));
    row.nullable("''", &quoted_repeat("多", 2000), 10, |rng, sql| {
        let sentence =
            format!("A {quality} {thing} of {material}, \"{}\". ", choose(rng, &words::ENGRAVINGS));
        text(sql, &sentence.repeat(rng.usize(1..6)));
    });
    row.fixed(|_, sql| text(sql, pick(&words::CATEGORIES, index)));
    // What order lines and totals are made from.
    row.fixed(|_, sql| money(sql, facts::price(index)));
    let nines = format!("{}.{}", "9".repeat(35), "9".repeat(30));
    row.nullable(&format!("-{nines}"), &nines, 7, |rng, sql| {
        display(sql, format_args!("{}.{:030}", rng.u32(0..400), rng.u128(0..10_u128.pow(30))));
    });
    row.column("-128", "127", |rng, sql| display(sql, rng.i8(-20..20)));
    row.column("-2147483648", "2147483647", |rng, sql| display(sql, rng.i32(-5..5_000)));
    row.column("0", "16777215", |rng, sql| display(sql, rng.u32(0..90_000)));
    row.column("0", "65535", |rng, sql| display(sql, choose(rng, &[1, 2, 4, 6, 12, 48_000])));
    row.nullable("-3.402823466e38", "3.402823466e38", 9, |rng, sql| display(sql, rng.f32() * 40.0));
    row.nullable("2.2250738585072014e-308", "1.7976931348623157e308", 9, |rng, sql| {
        display(sql, rng.f64() * 5.0);
    });
    row.nullable("b'0'", "b'11111111'", 5, |rng, sql| display(sql, format_args!("b'{:b}'", rng.u8(..))));
    row.column("b'0'", &format!("b'{:b}'", u64::MAX), |rng, sql| {
        display(sql, format_args!("b'{:b}'", rng.u64(..)));
    });
    // The number 0: the text '0' would be the year 2000.
    row.nullable("0", "2155", 6, |rng, sql| display(sql, rng.u16(1990..2026)));
    row.nullable("'-838:59:59'", "'838:59:59'", 3, |rng, sql| {
        text(sql, &format!("{:02}:{:02}:00", rng.u8(0..40), choose(rng, &[0, 15, 30, 45])));
    });
    row.nullable("x''", &quoted_bytes(4000), 4, |rng, sql| {
        let picture: Vec<u8> = (0..rng.usize(16..96)).map(|_| rng.u8(..)).collect();
        bytes(sql, &picture);
    });
    row.nullable("'[]'", EDGE_JSON, 6, |rng, sql| text(sql, &attributes(rng, material)));
    row.end();
}

fn order(sql: &mut String, index: u64, size: Size) {
    let mut row = Row::begin(sql, rng(5, index), index);
    let placed = placed_at(index);
    row.fixed(|_, sql| display(sql, index + 1));
    row.fixed(|rng, sql| display(sql, rng.u64(0..size.customers) + 1));
    row.column("'new'", "'returned'", |rng, sql| text(sql, choose(rng, &words::STATUSES)));
    row.nullable("''", "'gift wrap,express,pickup,insured'", 4, |rng, sql| {
        text(sql, &subset(rng, &words::OPTIONS));
    });
    row.fixed(|_, sql| money(sql, total(&lines(index, size.products))));
    row.fixed(|rng, sql| text(sql, choose(rng, &words::CURRENCIES)));
    row.nullable("''", &quoted_repeat("🎁", 200), 3, |rng, sql| text(sql, choose(rng, &words::NOTES)));
    row.nullable("x''", &quoted_bytes(16), 7, |rng, sql| {
        if rng.bool() {
            bytes(sql, &[10, rng.u8(..), rng.u8(..), 0]);
        } else {
            bytes(sql, &(0xfd00_u128 << 112 | u128::from(rng.u64(..))).to_be_bytes());
        }
    });
    row.nullable("-9223372036854775808", "9223372036854775807", 2, |rng, sql| {
        display(sql, rng.i64(i64::MIN / 1000..i64::MAX / 1000));
    });
    row.column("'1000-01-01 00:00:00.000000'", "'9999-12-31 23:59:59.999999'", |_, sql| {
        moment(sql, placed, 0, 6);
    });
    row.nullable("'1000-01-01'", "'9999-12-31'", 6, |rng, sql| day(sql, placed, rng.i64(1..14)));
    row.end();
}

fn order_lines(sql: &mut String, order: u64, size: Size) -> u64 {
    for (line, number) in lines(order, size.products).iter().zip(1_u8..) {
        if number > 1 {
            sql.push(',');
        }
        // An order without edges: the key and the amounts have to agree with the order.
        let mut row = Row::begin(sql, rng(16 + u64::from(number), order), u64::MAX);
        row.fixed(|_, sql| display(sql, order + 1));
        row.fixed(|_, sql| display(sql, number));
        // What it was called when it was sold: it stays when the product is renamed.
        row.fixed(|_, sql| text(sql, &sku(line.product, 0)));
        row.fixed(|_, sql| display(sql, line.quantity));
        row.fixed(|_, sql| money(sql, line.price));
        row.fixed(|rng, sql| sql.push_str(if rng.u8(0..10) == 0 { "b'1'" } else { "b'0'" }));
        row.nullable("", "", 2, |rng, sql| text(sql, choose(rng, &words::ENGRAVINGS)));
        row.end();
    }
    line_count(order)
}

fn payment(sql: &mut String, index: u64, size: Size) {
    let mut row = Row::begin(sql, rng(6, index), index);
    let placed = placed_at(index);
    row.fixed(|_, sql| display(sql, payment_id(index)));
    row.fixed(|_, sql| display(sql, index + 1));
    row.fixed(|rng, sql| text(sql, choose(rng, &words::METHODS)));
    row.column("-9999999999.99", "9999999999.99", |_, sql| money(sql, total(&lines(index, size.products))));
    row.column("-1.7976931348623157e308", "1e-300", |rng, sql| display(sql, 0.5 + rng.f64()));
    row.nullable("''", "'9999'", 3, |rng, sql| text(sql, &format!("{:04}", rng.u16(0..10_000))));
    row.nullable("'null'", EDGE_JSON, 2, |rng, sql| {
        text(sql, &format!(r#"{{"ok": true, "code": {}, "ms": {:.3}}}"#, rng.u16(0..100), rng.f64() * 900.0));
    });
    row.nullable("x''", &quoted_bytes(20_000), 3, |rng, sql| {
        bytes(sql, &rng.u128(..).to_be_bytes());
    });
    row.nullable("'1000-01-01 00:00:00.000000'", "'9999-12-31 23:59:59.999999'", 12, |rng, sql| {
        moment(sql, placed, rng.i64(0..3_600_000_000), 6);
    });
    row.nullable("'1000-01-01'", "'9999-12-31'", 12, |rng, sql| day(sql, placed, rng.i64(0..3)));
    row.end();
}

/// What a JSON column must keep: both ends of the integers, a double, other scripts, nesting.
const EDGE_JSON: &str = r#"'{"max": 18446744073709551615, "min": -9223372036854775808, "pi": 3.141592653589793, "text": "🎁 \\"quoted\\" 値", "nested": [[], {}, null, true, [1, [2, [3]]]]}'"#;

fn preferences(rng: &mut Rng) -> String {
    let theme = choose(rng, &["dark", "light", "système"]);
    let (size, ratio, weekly) = (rng.u8(34..48), rng.f64(), rng.bool());
    format!(
        r#"{{"theme": "{theme}", "sizes": [{size}, {}], "mail": {{"weekly": {weekly}, "hour": null}}, "ratio": {ratio}}}"#,
        size + 2
    )
}

fn attributes(rng: &mut Rng, material: &str) -> String {
    let (width, height) = (rng.u16(5..300), rng.u16(5..300));
    let colour = choose(rng, &["rouge", "green 🌿", "natural", "black"]);
    format!(r#"{{"material": "{material}", "cm": [{width}, {height}.5], "colour": "{colour}", "views": 0}}"#)
}

/// Orders come in the order of their index, from the first day of 2024 on.
fn placed_at(index: u64) -> DateTime {
    let first = date(2024, 1, 1).at(0, 0, 0, 0);
    // The steps are uneven, so that the digits after the point are used.
    let microseconds = i64::try_from(index % 10_000_000).unwrap_or_default() * 471_234_567;
    later(first, microseconds)
}

fn later(from: DateTime, microseconds: i64) -> DateTime {
    from.saturating_add(SignedDuration::from_micros(microseconds))
}

fn moment(sql: &mut String, from: DateTime, microseconds: i64, digits: u8) {
    let at = later(from, microseconds);
    let (date, time) = (at.date(), at.time());
    display(sql, format_args!("'{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()));
    if digits > 0 {
        display(sql, format_args!(".{:06}", time.subsec_nanosecond() / 1000));
    }
    sql.push('\'');
}

fn day(sql: &mut String, from: DateTime, days: i64) {
    display(sql, format_args!("'{}'", from.saturating_add(SignedDuration::from_hours(24 * days)).date()));
}

fn choose<T: Copy, const N: usize>(rng: &mut Rng, list: &[T; N]) -> T {
    pick(list, rng.u64(..))
}

/// Some of the members of a SET, in their order.
fn subset(rng: &mut Rng, members: &[&str]) -> String {
    let chosen: Vec<&str> = members.iter().filter(|_| rng.bool()).copied().collect();
    chosen.join(",")
}

fn quoted_repeat(character: &str, times: usize) -> String {
    format!("'{}'", character.repeat(times))
}

fn quoted_bytes(length: usize) -> String {
    format!("x'{}'", "ff".repeat(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { customers: 100, products: 50, orders: 200 };

    fn sql(table: Table, indexes: Range<u64>) -> (String, u64) {
        let mut sql = String::new();
        let rows = insert(table, indexes, SIZE, &mut sql);
        (sql, rows)
    }

    #[test]
    fn the_same_indexes_make_the_same_rows_however_they_are_cut() {
        for table in Table::ALL {
            let (whole, rows) = sql(table, 0..20);
            assert_eq!(sql(table, 0..20), (whole.clone(), rows));
            let (front, front_rows) = sql(table, 0..11);
            let (back, back_rows) = sql(table, 11..20);
            assert_eq!(front_rows + back_rows, rows);
            let values = back.split_once(" VALUES ").unwrap().1;
            assert_eq!(format!("{front},{values}"), whole);
        }
    }

    #[test]
    fn what_is_said_to_be_there_is_there() {
        for table in Table::ALL {
            let counted: u64 = (0..SIZE.indexes(table)).map(|index| sql(table, index..index + 1).1).sum();
            assert_eq!(counted, SIZE.rows(table));
        }
    }

    #[test]
    fn edges_are_written() {
        let (customers, _) = sql(Table::Customers, 0..EDGES);
        assert!(customers.contains("18446744073709551615") && customers.contains("'9999-12-31'"));
        let (products, _) = sql(Table::Products, 0..EDGES);
        assert!(products.contains("'-838:59:59'") && products.contains("-3.402823466e38"));
        // The third row of each has nothing wherever that is allowed.
        assert_eq!(sql(Table::Payments, 2..3).0.matches("NULL").count(), 5);
    }

    const EDGES: u64 = super::super::EDGE_ROWS;

    #[test]
    fn orders_follow_each_other_in_time() {
        assert!((0..1000).all(|index| placed_at(index) < placed_at(index + 1)));
        let mut sql = String::new();
        moment(&mut sql, placed_at(1), 0, 6);
        assert_eq!(sql, "'2024-01-01 00:07:51.234567'");
    }
}
