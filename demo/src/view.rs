//! What the demo shows: steps and panels enter, a terminal that redraws itself, or plain lines, leave. On anything
//! but a terminal a line is printed every few seconds, so that a log stays readable.

use crate::format::{duration, with_right};
use crate::progress::{Panel, TableLine};
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// How often a log gets a line.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(100);
const STEP: &str = "  {spinner:.cyan} {wide_msg}";
const COUNTED_STEP: &str = "  {spinner:.cyan} {msg}  {bar:24.cyan/blue} {percent:>3} %  {human_pos} rows";
const LINE: &str = "    {msg}";
const LOADING: &str = "    {prefix:12} {bar:14.cyan/blue} {percent:>3} % {wide_msg}";
const IN_STEP: &str = "  {spinner:.green} {prefix:12.green} {bar:14.green} {percent:>3} % {wide_msg}";

/// The whole output.
#[derive(Debug)]
pub struct View {
    is_terminal: bool,
    multi: MultiProgress,
    panel: Option<Drawn>,
    last_line: Option<Instant>,
}

/// A panel on the terminal.
#[derive(Debug)]
struct Drawn {
    /// An empty line, for the looks; and the `^C` that a terminal echoes moves the cursor down by one, so that the
    /// first line is not taken away with the others.
    gap: ProgressBar,
    header: ProgressBar,
    tables: Vec<(ProgressBar, bool)>,
    writer: ProgressBar,
    throughput: ProgressBar,
}

/// A step that goes on.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Step {
    /// Shows how far it is, if it was begun with a total.
    pub fn set(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }
}

impl View {
    /// Shows on standard output, and standard error where it redraws.
    pub fn new(is_terminal: bool) -> Self {
        Self { is_terminal, multi: MultiProgress::new(), panel: None, last_line: None }
    }

    /// Begins a step; `total_rows` if it can tell how far it is.
    pub fn begin(&self, what: &str, total_rows: Option<u64>) -> Step {
        let bar = self.is_terminal.then(|| {
            let template = if total_rows.is_some() { COUNTED_STEP } else { STEP };
            let bar = self.multi.add(ProgressBar::new(total_rows.unwrap_or(1)).with_style(styled(template)));
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Step { bar, began: Instant::now() }
    }

    /// Ends a step with a tick, and how long it took.
    pub fn done(&self, step: Step, what: &str) {
        if let Some(bar) = &step.bar {
            bar.finish_and_clear();
            self.multi.remove(bar);
        }
        self.tick(what, Some(step.began.elapsed()));
    }

    /// A line with a tick; whatever is being redrawn stays below it.
    pub fn tick(&self, what: &str, took: Option<Duration>) {
        let right = took.map(duration).unwrap_or_default();
        self.say(&format!("  {} {}", style("✓").green().bold(), with_right(what, &right).trim_end()));
    }

    /// A line as it is.
    pub fn say(&self, line: &str) {
        if self.panel.is_some() {
            self.multi.suspend(|| println!("{line}"));
        } else {
            println!("{line}");
        }
    }

    /// Shows `panel` in the place of the last one.
    pub fn draw(&mut self, panel: &Panel) {
        if self.is_terminal {
            let drawn = self.panel.get_or_insert_with(|| Drawn::new(&self.multi, panel));
            drawn.update(panel);
        } else if self.last_line.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_line = Some(Instant::now());
            println!("    {}", plain_line(panel));
        }
    }

    /// Takes the panel off the screen; what was said stays.
    pub fn close(&mut self) {
        if let Some(drawn) = self.panel.take() {
            for bar in drawn.bars() {
                bar.finish_and_clear();
                self.multi.remove(bar);
            }
        }
        self.last_line = None;
    }
}

impl Drawn {
    fn new(multi: &MultiProgress, panel: &Panel) -> Self {
        let line = || multi.add(ProgressBar::new(1).with_style(styled(LINE)));
        let (gap, header) = (line(), line());
        let tables = panel
            .tables
            .iter()
            .map(|table| {
                let bar = multi.add(ProgressBar::new(100).with_style(styled(LOADING)));
                (bar.with_prefix(table.name), false)
            })
            .collect();
        Self { gap, header, tables, writer: line(), throughput: line() }
    }

    fn update(&mut self, panel: &Panel) {
        self.gap.tick();
        self.header.set_message(style(&panel.header).bold().to_string());
        for ((bar, was_in_step), table) in self.tables.iter_mut().zip(&panel.tables) {
            if *was_in_step != table.in_step {
                bar.set_style(styled(if table.in_step { IN_STEP } else { LOADING }).tick_chars("✓✓"));
                *was_in_step = table.in_step;
            }
            bar.set_position(table.percent);
            bar.set_message(table.text.clone());
        }
        self.writer.set_message(panel.writer.clone());
        self.throughput.set_message(panel.throughput.clone());
    }

    fn bars(&self) -> impl Iterator<Item = &ProgressBar> {
        let tables = self.tables.iter().map(|(bar, _)| bar);
        [&self.gap, &self.header].into_iter().chain(tables).chain([&self.writer, &self.throughput])
    }
}

/// A panel as one line of a log.
fn plain_line(panel: &Panel) -> String {
    let tables: Vec<String> = panel.tables.iter().map(plain_table).collect();
    format!(
        "{} | {} | {}",
        panel.header.split_whitespace().collect::<Vec<_>>().join(" "),
        tables.join(", "),
        panel.throughput
    )
}

fn plain_table(table: &TableLine) -> String {
    if table.in_step { format!("{} ✓", table.name) } else { format!("{} {} %", table.name, table.percent) }
}

/// A template that was written here is one that parses; if not, the default still shows everything.
fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses() {
        for template in [STEP, COUNTED_STEP, LINE, LOADING, IN_STEP] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_log_line_holds_every_table() {
        let table = |name, in_step| TableLine { name, percent: 40, text: String::new(), in_step };
        let panel = Panel {
            header: "capture: loading    apply: loading".to_owned(),
            tables: vec![table("orders", false), table("products", true)],
            writer: String::new(),
            throughput: "t".to_owned(),
        };
        assert_eq!(plain_line(&panel), "capture: loading apply: loading | orders 40 %, products ✓ | t");
    }
}
