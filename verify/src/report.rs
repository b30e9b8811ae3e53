//! The words of `verify`: what came of each table and of all of them enters, lines leave. Keys are named, for a person
//! must find the rows; no other value of a row is.

use super::compare::Compared;
use super::judge::Difference;
use super::remedies;
use super::strays::{Leftovers, Strays};
use std::fmt::Write;
use tributary_schemas::printed::counted;
use tributary_service::exit::Exit;
use tributary_warehouse::merge::names::TargetName;

/// Keys that are printed for a table.
const KEYS_MAX: usize = 20;

/// What came of a table.
#[derive(Debug)]
pub(crate) enum TableComparison {
    /// It was compared.
    Compared(Compared),
    /// It could not be compared, though it should be the same: why, what to do.
    Failed(String, String),
    /// The task does not carry it over: why.
    NotCarried(String),
    /// A target, not a table: it has rows that belong to none of the tables that share it.
    Strays(TargetName, Strays),
    /// Its rows in a target that it shares hold values that only others should have.
    Leftovers(Leftovers),
}

/// A table and what came of it.
#[derive(Debug)]
pub(crate) struct TableReport {
    /// Name on the source.
    pub source: String,
    /// Name in the destination; empty if it has none.
    pub target: String,
    /// What was not judged, and why.
    pub notes: Vec<String>,
    /// What came of it.
    pub outcome: TableComparison,
}

impl TableReport {
    /// The table's lines.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let name = match &self.target {
            target if target.is_empty() || *target == self.source => self.source.clone(),
            target => format!("{} → {target}", self.source),
        };
        let mut out = match &self.outcome {
            TableComparison::Compared(compared) => compared_text(&name, &self.source, compared),
            TableComparison::Failed(why, remedy) => {
                let mut out = format!("not compared  {name}: {why}\n");
                if !remedy.is_empty() {
                    push(&mut out, format_args!("    to do: {remedy}"));
                }
                out
            }
            TableComparison::NotCarried(why) => format!("left out      {name}: {why}\n"),
            TableComparison::Leftovers(Leftovers { rows, columns }) => {
                let (rows, columns) = (counted(*rows, "row"), columns.join(", "));
                let remedy = remedies::differences_to_clear(&self.source);
                format!(
                    "different     {name}: {rows} with values in columns that only other tables have ({columns})\n    to do: {remedy}\n"
                )
            }
            TableComparison::Strays(target, strays) => strays_text(&self.target, target, strays),
        };
        for note in &self.notes {
            push(&mut out, format_args!("    note: {note}"));
        }
        out
    }
}

fn strays_text(name: &str, target: &TargetName, strays: &Strays) -> String {
    let rows = counted(strays.rows, "row");
    let mut out = format!("different     {name}: {rows} of none of the tables that share it\n");
    for (count, group) in &strays.groups {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
        let values: Vec<String> =
            group.iter().map(|(column, held)| format!("{column} = {}", value(held))).collect();
        let rows = counted(*count, "row");
        push(&mut out, format_args!("    surplus in the destination: {rows} with {}", values.join(", ")));
    }
    push(&mut out, format_args!("    to do: {}", remedies::strays(&strays.removal(target))));
    out
}

fn compared_text(name: &str, source: &str, compared: &Compared) -> String {
    let count = compared.count();
    let milliseconds = u64::try_from(compared.took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = compared.source_rows.saturating_mul(1_000) / milliseconds;
    let rows = if compared.source_rows == compared.destination_rows {
        format!("{} rows", compared.source_rows)
    } else if count == 0 && compared.partly {
        format!(
            "{} rows in the source, {} in the destination, of which not all are judged",
            compared.source_rows, compared.destination_rows
        )
    } else if count == 0 {
        // Both were counted at moments of their own, and what looked different was looked at again.
        format!("about {} rows (they were being written)", compared.source_rows)
    } else {
        format!(
            "{} rows in the source, {} in the destination",
            compared.source_rows, compared.destination_rows
        )
    };
    let word = if count == 0 { "equal        " } else { "different    " };
    let mut out = format!("{word} {name}: {rows}, {:.1} s, {rate} rows/s", compared.took.as_secs_f64());
    if count == 0 {
        out.push('\n');
        return out;
    }
    push(&mut out, format_args!(", {}", counted(count, "difference")));
    for (key, difference) in compared.differences.iter().take(KEYS_MAX) {
        let kind = kind(difference, &compared.columns);
        push(&mut out, format_args!("    {kind}: {key}"));
    }
    let more = compared.differences.len().saturating_sub(KEYS_MAX);
    if more > 0 {
        push(&mut out, format_args!("    and {more} more"));
    }
    if compared.foreign > 0 {
        let rows = counted(compared.foreign, "row");
        push(
            &mut out,
            format_args!(
                "    surplus in the destination: {rows} with keys that the source's types cannot hold"
            ),
        );
    }
    if compared.left_out > 0 {
        let keys = counted(compared.left_out, "key");
        push(
            &mut out,
            format_args!("    and {keys} that looked different and were not looked at again: memory is full"),
        );
    }
    let surplus =
        |difference: &Difference| !matches!(difference, Difference::Missing | Difference::Values(_));
    let clear = compared.foreign > 0 || compared.differences.values().any(surplus);
    let remedy =
        if clear { remedies::differences_to_clear(source) } else { remedies::differences_to_merge(source) };
    push(&mut out, format_args!("    to do: {remedy}"));
    if compared.differences.values().any(|difference| matches!(difference, Difference::Repeated(_))) {
        push(&mut out, format_args!("    to do then: {}", remedies::repeated_rows()));
    }
    push(
        &mut out,
        format_args!(
            "    if they differ again after that, the topic is not like the source (writes with sql_log_bin = 0, for one): {}",
            remedies::read_anew(source)
        ),
    );
    out
}

fn kind(difference: &Difference, columns: &[String]) -> String {
    match difference {
        Difference::Missing => "missing in the destination".to_owned(),
        Difference::Surplus => "surplus in the destination".to_owned(),
        Difference::Repeated(times) => format!("{times} times in the destination"),
        Difference::Values(places) => {
            let names: Vec<&str> =
                places.iter().filter_map(|place| columns.get(*place)).map(String::as_str).collect();
            format!("differs in {}", names.join(", "))
        }
    }
}

/// The last line, and the exit status.
#[must_use]
pub(crate) fn summary(reports: &[TableReport], strict: bool) -> (String, Exit) {
    let (mut tables, mut rows, mut differences, mut different, mut failed, mut left) = (0, 0_u64, 0, 0, 0, 0);
    for report in reports {
        match &report.outcome {
            TableComparison::Compared(compared) => {
                tables += 1;
                rows += compared.source_rows;
                differences += compared.count();
                different += u64::from(compared.count() > 0);
            }
            TableComparison::Failed(..) => failed += 1,
            TableComparison::NotCarried(_) => left += 1,
            TableComparison::Strays(_, Strays { rows, .. })
            | TableComparison::Leftovers(Leftovers { rows, .. }) => {
                differences += rows;
                different += 1;
            }
        }
    }
    let mut out = format!("{} compared, {rows} rows: ", counted(tables, "table"));
    if differences == 0 {
        out.push_str("no differences");
    } else {
        let _ = write!(out, "{} in {}", counted(differences, "difference"), counted(different, "table"));
    }
    if failed > 0 {
        let _ = write!(out, "; {} could not be compared", counted(failed, "table"));
    }
    if left > 0 {
        let _ = write!(out, "; {} left out", counted(left, "table"));
    }
    out.push('\n');
    let incomplete = failed > 0 || tables == 0 || (strict && left > 0);
    let exit = match (differences, incomplete) {
        (0, false) => Exit::Done,
        (0, true) => Exit::Failed,
        _ => Exit::Differences,
    };
    (out, exit)
}

/// Appends a line.
fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn compared(differences: &[(&str, Difference)]) -> Compared {
        Compared {
            source_rows: 100,
            destination_rows: 100,
            took: Duration::from_millis(500),
            differences: differences.iter().map(|(key, kind)| ((*key).to_owned(), kind.clone())).collect(),
            columns: vec!["id".into(), "price".into(), "note".into()],
            ..Compared::default()
        }
    }

    fn report(outcome: TableComparison) -> TableReport {
        TableReport { source: "shop.a".into(), target: "dw.a".into(), notes: vec![], outcome }
    }

    #[test]
    fn differences_are_named_with_what_to_do() {
        let differences = [
            ("id=1", Difference::Values(vec![1, 2])),
            ("id=2", Difference::Missing),
            ("id=3", Difference::Surplus),
            ("id=4", Difference::Repeated(2)),
        ];
        let text = report(TableComparison::Compared(compared(&differences))).text();
        let expected = "different     shop.a → dw.a: 100 rows, 0.5 s, 200 rows/s, 4 differences\n    \
                        differs in price, note: id=1\n    missing in the destination: id=2\n    \
                        surplus in the destination: id=3\n    2 times in the destination: id=4\n    \
                        to do: apply replay --config FILE --table shop.a --from beginning --clear\n    \
                        to do then: give the target its primary key again, by the statement that `apply check` prints: \
                        without one a row can be written twice\n    \
                        if they differ again after that, the topic is not like the source (writes with sql_log_bin = 0, for \
                        one): have capture read the table anew: ";
        assert!(text.starts_with(expected), "{text}");
        let text = report(TableComparison::Compared(compared(&differences[..2]))).text();
        assert!(text.contains("--from beginning --merge\n"), "{text}");
        let equal = report(TableComparison::Compared(compared(&[]))).text();
        assert_eq!(equal, "equal         shop.a → dw.a: 100 rows, 0.5 s, 200 rows/s\n");
    }

    #[test]
    fn counts_that_differ_only_because_of_writes_are_no_puzzle() {
        let written = Compared { destination_rows: 98, ..compared(&[]) };
        let text = report(TableComparison::Compared(written)).text();
        assert!(
            text.starts_with("equal") && text.contains("about 100 rows (they were being written)"),
            "{text}"
        );
    }

    #[test]
    fn rows_that_are_not_judged_are_not_called_written() {
        let partly = Compared { destination_rows: 103, partly: true, ..compared(&[]) };
        let text = report(TableComparison::Compared(partly)).text();
        assert!(
            text.contains("100 rows in the source, 103 in the destination, of which not all are judged"),
            "{text}"
        );
    }

    #[test]
    fn only_twenty_keys_are_printed() {
        let many: Vec<(String, Difference)> =
            (100..125).map(|id| (format!("id={id}"), Difference::Missing)).collect();
        let many: Vec<(&str, Difference)> =
            many.iter().map(|(key, kind)| (key.as_str(), kind.clone())).collect();
        let text = report(TableComparison::Compared(compared(&many))).text();
        assert_eq!(text.matches("missing").count(), 20);
        assert!(text.contains("25 differences") && text.contains("    and 5 more\n"), "{text}");
    }

    #[test]
    fn the_exit_status_tells_equal_different_and_unknown_apart() {
        let equal = || report(TableComparison::Compared(compared(&[])));
        let different = || report(TableComparison::Compared(compared(&[("id=1", Difference::Missing)])));
        let failed = || report(TableComparison::Failed("parked".into(), "replay".into()));
        let left = || report(TableComparison::NotCarried("no primary key".into()));
        for (reports, strict, exit) in [
            (vec![equal(), equal()], false, Exit::Done),
            (vec![equal(), left()], false, Exit::Done),
            (vec![equal(), left()], true, Exit::Failed),
            (vec![equal(), failed()], false, Exit::Failed),
            (vec![different(), failed()], false, Exit::Differences),
            (vec![], false, Exit::Failed),
        ] {
            assert_eq!(summary(&reports, strict).1, exit);
        }
        let (text, _) = summary(&[different(), failed(), left()], false);
        assert_eq!(
            text,
            "1 table compared, 100 rows: 1 difference in 1 table; 1 table could not be compared; 1 table left out\n"
        );
    }
}
