//! The two rows that are measured, in every form in which they enter a hot path: as an image of the binlog, as values
//! of the binary protocol, and as the table both belong to.

use mysql_async::Value;
use tributary_benches::Result;
use tributary_capture::binlog::table_map::{ColumnMap, ImageType, TableMap};
use tributary_schemas::table::{Column, Table, TableId};
use tributary_warehouse::merge::layout::{ColumnRule, Layout};
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::target::TargetShape;

/// A column: its type, whether it is nullable, and its layout in row images.
type Declaration = (&'static str, bool, ImageType);

/// A kind of row.
pub(crate) struct Kind {
    /// As the report names it.
    pub name: &'static str,
    columns: &'static [Declaration],
    /// The image of the row of this number.
    pub image: fn(u32) -> Vec<u8>,
    /// The same row as the binary protocol gives it.
    pub values: fn(u32) -> Vec<Value>,
}

/// sysbench's table, and one of many types where every column but the key may be null.
pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        name: "sysbench row",
        columns: &[
            ("int", false, ImageType::Long),
            ("int", false, ImageType::Long),
            ("char(120)", false, ImageType::String { max_bytes: 480 }),
            ("char(60)", false, ImageType::String { max_bytes: 240 }),
        ],
        image: sysbench_image,
        values: sysbench_values,
    },
    Kind {
        name: "key and 10 nullable columns",
        columns: &[
            ("bigint", false, ImageType::LongLong),
            ("decimal(12,2)", true, ImageType::Decimal { precision: 12, scale: 2 }),
            ("datetime(6)", true, ImageType::DateTime { fsp: 6 }),
            ("date", true, ImageType::Date),
            ("varchar(40)", true, ImageType::VarChar { max_bytes: 160 }),
            ("varchar(100)", true, ImageType::VarChar { max_bytes: 400 }),
            ("double", true, ImageType::Double),
            ("tinyint", true, ImageType::Tiny),
            ("int", true, ImageType::Long),
            ("timestamp", true, ImageType::Timestamp { fsp: 0 }),
            ("json", true, ImageType::Json { length_width: 4 }),
        ],
        image: mixed_image,
        values: mixed_values,
    },
];

impl Kind {
    /// The table on the source.
    pub(crate) fn table(&self) -> Result<Table> {
        let mut columns = Vec::new();
        for (id, (text, nullable, _)) in (1_u32..).zip(self.columns) {
            columns.push(Column {
                nullable: *nullable,
                charset: text.contains("char").then(|| "utf8mb4".to_owned()),
                ..Column::new(id, format!("c{id}"), text.parse()?)
            });
        }
        let id = TableId::new("sbtest", "sbtest1");
        Ok(Table { id, columns, key: vec![1], ..Table::default() })
    }

    /// How its row images are laid out.
    pub(crate) fn map(&self) -> TableMap {
        let column = |(_, nullable, image_type): &Declaration| ColumnMap {
            image_type: *image_type,
            nullable: *nullable,
            unsigned: None,
            collation: None,
            name: None,
            labels: None,
            visible: None,
        };
        TableMap { columns: self.columns.iter().map(column).collect(), primary_key: vec![] }
    }
}

/// The table in the warehouse, as Tributary would have made it.
pub(crate) fn target(table: &Table, rule: &ColumnRule) -> Result<TargetShape> {
    Ok(TargetShape::planned(TargetName::new("sbtest", "sbtest1"), Layout::of(table, rule)?))
}

/// Groups of eleven digits, as sysbench fills its columns.
fn digits(number: u32, groups: usize) -> String {
    let group = format!("{:011}", u64::from(number) * 7919);
    vec![group; groups].join("-")
}

fn sysbench_image(number: u32) -> Vec<u8> {
    let (c, pad) = (digits(number, 10), digits(number, 5));
    let mut image = vec![0];
    image.extend(number.to_le_bytes());
    image.extend((number / 2).to_le_bytes());
    image.extend([119, 0]);
    image.extend(c.as_bytes());
    image.push(59);
    image.extend(pad.as_bytes());
    image
}

fn sysbench_values(number: u32) -> Vec<Value> {
    vec![
        Value::Int(number.into()),
        Value::Int((number / 2).into()),
        Value::Bytes(digits(number, 10).into_bytes()),
        Value::Bytes(digits(number, 5).into_bytes()),
    ]
}

const NAME: &str = "Grüße aus Köln";
const MOMENT_SECONDS: u32 = 1_700_000_000;

fn mixed_image(number: u32) -> Vec<u8> {
    // The columns at index 5 and 8 are null.
    let mut image = vec![0b0010_0000, 0b0000_0001];
    image.extend(u64::from(number).to_le_bytes());
    // DECIMAL: one digit, nine digits, two behind the point; the sign bit is set for numbers that are not negative.
    image.push(0x80);
    image.extend(number.to_be_bytes());
    image.push(25);
    let date = (2023_u64 * 13 + 11) << 5 | 14;
    let time = 22_u64 << 12 | 13 << 6 | 20;
    image.extend(&((1 << 39) | date << 17 | time).to_be_bytes()[3..]);
    image.extend(&123_456_u32.to_be_bytes()[1..]);
    image.extend(&(2023_u32 << 9 | 11 << 5 | 14).to_le_bytes()[..3]);
    image.push(17);
    image.extend(NAME.as_bytes());
    image.extend(0.5_f64.to_le_bytes());
    image.push(7);
    image.extend(MOMENT_SECONDS.to_be_bytes());
    // JSON: a string.
    image.extend([10, 0, 0, 0, 0x0c, 8]);
    image.extend(b"a string");
    image
}

fn mixed_values(number: u32) -> Vec<Value> {
    vec![
        Value::Int(number.into()),
        Value::Bytes(format!("{number}.25").into_bytes()),
        Value::Date(2023, 11, 14, 22, 13, 20, 123_456),
        Value::Date(2023, 11, 14, 0, 0, 0, 0),
        Value::Bytes(NAME.into()),
        Value::NULL,
        Value::Double(0.5),
        Value::Int(7),
        Value::NULL,
        // MOMENT_SECONDS.
        Value::Date(2023, 11, 14, 22, 13, 20, 0),
        Value::Bytes(br#""a string""#.to_vec()),
    ]
}
