//! Lists for people: columns that are as wide as what stands in them.

/// A column: its heading, whether it is aligned to the right, and its cell.
pub(super) type Column<T> = (&'static str, bool, fn(&T) -> String);

/// The headings, then a line for each row.
pub(super) fn grid<'a, T: 'a>(
    columns: &[Column<T>],
    rows: impl Iterator<Item = &'a T>,
) -> impl Iterator<Item = String> {
    let headings = columns.iter().map(|(heading, ..)| (*heading).to_owned()).collect();
    let cells = rows.map(|row| columns.iter().map(|(.., cell)| cell(row)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let shapes: Vec<(bool, usize)> =
        columns.iter().enumerate().map(|(column, (_, right, _))| (*right, width(column))).collect();
    lines.into_iter().map(move |line| {
        let cells = line.iter().zip(&shapes).map(|(cell, (right, width))| {
            if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    })
}
