//! What the tests of this folder share: columns and tables in a word.

use super::table_map::{ColumnMap, ImageType};
use tributary_schemas::table::{Column, Table, TableId};

/// A column at `id - 1`; text columns are in utf8mb4.
pub(super) fn column(id: u32, name: &str, text: &str, nullable: bool) -> Column {
    let text_type = ["char", "varchar", "text", "enum", "set"].iter().any(|word| text.contains(word));
    Column {
        nullable,
        charset: text_type.then(|| "utf8mb4".to_owned()),
        ..Column::new(id, name, text.parse().unwrap())
    }
}

/// A table of these columns.
pub(super) fn table(columns: Vec<Column>, key: &[u32]) -> Table {
    Table { id: TableId::new("shop", "orders"), columns, key: key.to_vec(), ..Table::default() }
}

/// A column of a TABLE_MAP without optional metadata.
pub(super) fn map_column(image_type: ImageType, nullable: bool) -> ColumnMap {
    ColumnMap {
        image_type,
        nullable,
        unsigned: None,
        collation: None,
        name: None,
        labels: None,
        visible: None,
    }
}
