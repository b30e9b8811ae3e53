//! A reader of binary COPY, by the rules of PostgreSQL's manual alone: it shares nothing with the writer under test.

/// The rows of a complete COPY: fields as bytes, `None` for NULL.
pub(crate) fn rows(mut copy: &[u8]) -> Vec<Vec<Option<&[u8]>>> {
    let mut take = |count: usize| {
        let (head, tail) = copy.split_at(count);
        copy = tail;
        head
    };
    assert_eq!(take(11), b"PGCOPY\n\xff\r\n\0");
    assert_eq!(take(8), [0; 8]);
    let mut rows = Vec::new();
    loop {
        let fields = i16::from_be_bytes(take(2).try_into().unwrap());
        if fields == -1 {
            break;
        }
        let row = (0..fields)
            .map(|_| match i32::from_be_bytes(take(4).try_into().unwrap()) {
                -1 => None,
                length => Some(take(usize::try_from(length).unwrap())),
            })
            .collect();
        rows.push(row);
    }
    assert!(copy.is_empty(), "bytes behind the trailer");
    rows
}

/// A field as PostgreSQL prints it.
pub(crate) fn text(type_name: &str, field: &[u8]) -> String {
    let (head, _) = type_name.split_once('(').unwrap_or((type_name, ""));
    match head {
        "smallint" => i16::from_be_bytes(field.try_into().unwrap()).to_string(),
        "integer" => i32::from_be_bytes(field.try_into().unwrap()).to_string(),
        "bigint" => long(field).to_string(),
        "real" => f32::from_be_bytes(field.try_into().unwrap()).to_string(),
        "double precision" => f64::from_be_bytes(field.try_into().unwrap()).to_string(),
        "numeric" => numeric(field),
        "varchar" | "text" => String::from_utf8(field.to_vec()).unwrap(),
        "jsonb" => {
            assert_eq!(field[0], 1);
            String::from_utf8(field[1..].to_vec()).unwrap()
        }
        "bytea" => format!("\\x{}", field.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "bit" => {
            let width = usize::try_from(u32::from_be_bytes(field[..4].try_into().unwrap())).unwrap();
            assert_eq!(field.len(), 4 + width.div_ceil(8));
            let bits: String = field[4..].iter().map(|byte| format!("{byte:08b}")).collect();
            assert!(bits[width..].bytes().all(|bit| bit == b'0'));
            bits[..width].to_owned()
        }
        "date" => {
            let days = i64::from(i32::from_be_bytes(field.try_into().unwrap()));
            civil(days * 86_400_000_000)[..10].to_owned()
        }
        "timestamp" if type_name.ends_with("with time zone") => civil(long(field)) + "+00",
        "timestamp" => civil(long(field)),
        "interval" => {
            assert_eq!(field[8..], [0; 8], "days and months");
            let micros = long(&field[..8]);
            let sign = if micros < 0 { "-" } else { "" };
            let (seconds, fraction) = (micros.abs() / 1_000_000, micros.abs() % 1_000_000);
            let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            format!("{sign}{text}{}", fraction_text(fraction))
        }
        other => panic!("{other}"),
    }
}

fn long(field: &[u8]) -> i64 {
    i64::from_be_bytes(field.try_into().unwrap())
}

fn fraction_text(micros: i64) -> String {
    let text = format!(".{micros:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Microseconds since 2000-01-01.
fn civil(micros: i64) -> String {
    let days = jiff::Span::new().days(micros.div_euclid(86_400_000_000));
    let of_day = micros.rem_euclid(86_400_000_000);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let date = jiff::civil::date(2000, 1, 1).checked_add(days).unwrap();
    let text = format!("{date} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    text + &fraction_text(fraction)
}

fn numeric(field: &[u8]) -> String {
    let words: Vec<i16> = field.as_chunks::<2>().0.iter().map(|word| i16::from_be_bytes(*word)).collect();
    let [count, weight, sign, scale, digits @ ..] = words.as_slice() else { panic!("{field:?}") };
    assert_eq!(usize::try_from(*count).unwrap(), digits.len());
    let at = |power: i16| {
        let place = usize::try_from(weight - power).ok();
        place.and_then(|place| digits.get(place)).map_or_else(|| "0000".into(), |digit| format!("{digit:04}"))
    };
    let whole: String = (0..=(*weight).max(0)).rev().map(at).collect();
    let whole = whole.trim_start_matches('0');
    let scale = usize::try_from(*scale).unwrap();
    let fraction: String = (1..=i16::try_from(scale.div_ceil(4)).unwrap()).map(|power| at(-power)).collect();
    let sign = if *sign == 0x4000 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{}{point}{}", if whole.is_empty() { "0" } else { whole }, &fraction[..scale])
}
