//! What people see: steps and the answers of `/status` enter, a terminal that redraws itself, or plain lines, leave. On
//! anything but a terminal a line is printed every few seconds, so that a log stays readable.

use crate::shop::{TABLES, Written};
use console::style;
use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often a log gets a line.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(100);
/// Where the column of durations ends.
const WIDTH: usize = 74;
/// Blocks of the sparkline, one a second.
const HISTORY: usize = 24;
const STEP: &str = "  {spinner:.cyan} {msg}  {bar:24.cyan/blue} {percent:>3} %  {human_pos} rows";
const WAIT: &str = "  {spinner:.cyan} {wide_msg}";
const LINE: &str = "    {msg}";
const LOADING: &str =
    "    {prefix:12} {bar:14.cyan/blue} {percent:>3} % {human_pos:>9} rows {per_sec:>12}  {eta} left";
const IN_STEP: &str =
    "  {spinner:.green} {prefix:12.green} {bar:14.green} {percent:>3} % {human_pos:>9} rows  {msg}";

/// The whole output.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    began: Instant,
    last_line: Option<Instant>,
    /// Rows applied a second, second by second.
    history: VecDeque<u64>,
    last_second: (Instant, u64),
    /// Most rows applied in any one second.
    pub peak: u64,
}

/// What `/status` says of a table, on both sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableState {
    /// Rows in the warehouse.
    pub applied: u64,
    /// How far it is behind, if that is known.
    pub lag_seconds: Option<f64>,
    /// Both services follow the source.
    pub in_step: bool,
    /// Why it will not go on by itself.
    pub stopped: Option<String>,
}

impl TableState {
    /// Of `table`, from what capture and apply answered, if they did.
    pub(crate) fn of(table: &str, capture: Option<&Value>, apply: Option<&Value>) -> Self {
        let find = |status: Option<&Value>| -> Value {
            let named = |entry: &&Value| {
                entry["name"].as_str().and_then(|name| name.rsplit('.').next()) == Some(table)
            };
            let tables = status.and_then(|status| status["tables"].as_array());
            tables.and_then(|tables| tables.iter().find(named)).cloned().unwrap_or_default()
        };
        let sides = [find(capture), find(apply)];
        let stopped = sides.iter().find(|side| matches!(side["state"].as_str(), Some("parked" | "excluded")));
        Self {
            applied: sides[1]["rows_applied"].as_u64().unwrap_or_default(),
            lag_seconds: sides[1]["lag_seconds"].as_f64(),
            in_step: sides.iter().all(|side| side["state"] == "synchronizing"),
            stopped: stopped.map(|side| {
                let text = |part: &str| side["error"][part].as_str().unwrap_or_default().to_owned();
                format!("{}; {}", text("message"), text("remedy"))
            }),
        }
    }
}

impl Screen {
    /// Shows on standard output, and standard error where it redraws.
    pub(crate) fn new(is_terminal: bool) -> Self {
        let now = Instant::now();
        let multi = MultiProgress::new();
        let (bars, history) = (Vec::new(), VecDeque::new());
        Self {
            is_terminal,
            multi,
            bars,
            began: now,
            last_line: None,
            history,
            last_second: (now, 0),
            peak: 0,
        }
    }

    /// Begins a step; `total_rows` if it can tell how far it is.
    pub(crate) fn begin(&self, what: &str, total_rows: Option<u64>) -> (ProgressBar, Instant) {
        let bar =
            if self.is_terminal { ProgressBar::new(total_rows.unwrap_or(1)) } else { ProgressBar::hidden() };
        let bar = self.multi.add(bar.with_style(styled(if total_rows.is_some() { STEP } else { WAIT })));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        (bar, Instant::now())
    }

    /// Ends a step with a tick, and how long it took.
    pub(crate) fn done(&self, (bar, began): (ProgressBar, Instant), what: &str) {
        bar.finish_and_clear();
        self.multi.remove(&bar);
        self.tick(what, Some(began.elapsed()));
    }

    /// A line with a tick; whatever is being redrawn stays below it.
    pub(crate) fn tick(&self, what: &str, took: Option<Duration>) {
        let took = took.map(|took| format!("{:.1} s", took.as_secs_f64())).unwrap_or_default();
        let gap = WIDTH.saturating_sub(what.chars().count() + took.len()).max(2);
        self.say(format!("  {} {what}{}{took}", style("✓").green().bold(), " ".repeat(gap)).trim_end());
    }

    pub(crate) fn say(&self, line: &str) {
        self.multi.suspend(|| println!("{line}"));
    }

    /// Shows how things stand; `totals` are the rows that were there at the beginning.
    pub(crate) fn draw(&mut self, totals: &[u64], tables: &[TableState], written: &Written) {
        let applied = tables.iter().map(|table| table.applied).sum::<u64>();
        self.sample(applied);
        let lag =
            tables.iter().map(|table| table.lag_seconds).try_fold(0.0_f64, |most, lag| Some(lag?.max(most)));
        let rate = HumanCount(self.history.back().copied().unwrap_or_default());
        let throughput = format!("warehouse    {:<24} {rate} rows/s, lag {}", self.sparkline(), seconds(lag));
        if self.is_terminal {
            self.redraw(totals, tables, &format!("live writer  {}", written.line()), &throughput);
        } else if self.last_line.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_line = Some(Instant::now());
            let percents: Vec<String> = TABLES
                .iter()
                .zip(tables.iter().zip(totals))
                .map(|(name, (table, total))| format!("{name} {} %", percent(table, *total)))
                .collect();
            println!("    {} | {throughput}", percents.join(", "));
        }
    }

    fn redraw(&mut self, totals: &[u64], tables: &[TableState], writer: &str, throughput: &str) {
        if self.bars.is_empty() {
            // First an empty line: the `^C` that a terminal echoes moves the cursor down by one.
            let add = |style: &str| self.multi.add(ProgressBar::new(1).with_style(styled(style)));
            let table = |(name, total): (&&'static str, &u64)| {
                let bar = add(LOADING).with_prefix(*name);
                bar.set_length(*total);
                bar
            };
            self.bars.push(add(LINE));
            self.bars.extend(TABLES.iter().zip(totals).map(table));
            self.bars.extend([add(LINE), add(LINE)]);
        }
        let [gap, bars @ .., writer_bar, throughput_bar] = self.bars.as_slice() else { return };
        gap.set_message(format!("{}", HumanDuration(self.began.elapsed())));
        for (bar, table) in bars.iter().zip(tables) {
            let followed = bar.length() == Some(bar.position()) && table.in_step;
            if table.in_step {
                if !followed {
                    bar.set_style(styled(IN_STEP).tick_chars("✓✓"));
                }
                // Live changes are applied too, so that more than all would be possible.
                bar.set_length(table.applied);
                bar.set_message(format!("in step, lag {}", seconds(table.lag_seconds)));
            }
            bar.set_position(table.applied);
        }
        writer_bar.set_message(writer.to_owned());
        throughput_bar.set_message(throughput.to_owned());
    }

    /// Takes the bars off the screen; what was said stays.
    pub(crate) fn close(&mut self) {
        for bar in self.bars.drain(..) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    /// Takes in how many rows there are now, once a second.
    fn sample(&mut self, applied: u64) {
        let (since, before) = self.last_second;
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if milliseconds >= 1000 {
            let rate = applied.saturating_sub(before).saturating_mul(1000) / milliseconds;
            self.peak = self.peak.max(rate);
            self.history.push_back(rate);
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
            self.last_second = (Instant::now(), applied);
        }
    }

    /// The last seconds as blocks, as high as they are large beside the largest.
    fn sparkline(&self) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let largest = self.history.iter().max().copied().unwrap_or_default().max(1);
        let height = |rate: &u64| usize::try_from(rate.saturating_mul(7) / largest).unwrap_or_default();
        self.history.iter().filter_map(|rate| BLOCKS.get(height(rate))).collect()
    }
}

fn percent(table: &TableState, total: u64) -> u64 {
    if table.in_step { 100 } else { (table.applied * 100 / total.max(1)).min(99) }
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds:.1} s"))
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
    use serde_json::json;

    #[test]
    fn every_template_parses() {
        for template in [STEP, WAIT, LINE, LOADING, IN_STEP] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_table_is_in_step_only_if_both_services_say_so() {
        let side = |state: &str| json!({"tables": [{"name": "shop.orders", "state": state, "rows_applied": 7, "lag_seconds": 0.5}]});
        let of =
            |capture: &str, apply: &str| TableState::of("orders", Some(&side(capture)), Some(&side(apply)));
        assert!(!of("loading", "synchronizing").in_step);
        let both = of("synchronizing", "synchronizing");
        assert_eq!((both.in_step, both.applied, both.lag_seconds, both.stopped), (true, 7, Some(0.5), None));
        assert_eq!(TableState::of("order", Some(&side("loading")), None), TableState::default());
    }

    #[test]
    fn a_parked_table_says_why() {
        let error = json!({"code": "no-key", "message": "it has no key", "remedy": "add one"});
        let parked = json!({"tables": [{"name": "shop.orders", "state": "parked", "error": error}]});
        assert_eq!(TableState::of("orders", None, Some(&parked)).stopped.unwrap(), "it has no key; add one");
    }

    #[test]
    fn a_sparkline_reaches_from_bottom_to_top() {
        let mut screen = Screen::new(false);
        screen.history = [0, 50, 100].into();
        assert_eq!(screen.sparkline(), "▁▄█");
        screen.history = [0, 0].into();
        assert_eq!(screen.sparkline(), "▁▁");
    }
}
