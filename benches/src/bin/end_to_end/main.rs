//! `end_to_end`: the product on real MySQL, Kafka and PostgreSQL, beside a raw pipe of the same rows. Nothing enters but
//! options; tables leave. Invariant: a figure is told only after source and warehouse were compared.

mod binlog;
mod compare;
mod cpu;
mod impact;
mod large;
mod latency;
mod offsets;
mod peers;
mod phases;
mod pipe;
mod servers;
mod services;
mod sysbench;
mod throughput;

use clap::Parser;
use clap::builder::FalseyValueParser;
use servers::Servers;
use sysbench::Tables;
use tributary_benches::{Result, machine, write_page};

/// Full load, backlogs, latency and the source's burden, beside a raw pipe
#[derive(Debug, Parser)]
struct Options {
    /// A tenth of the rows, and no page in docs/benchmarks
    #[arg(long)]
    quick: bool,
    /// Also Debezium's source with its JDBC sink, on the same data; fetched through Maven (at most 15 minutes)
    #[arg(long, env = "PEERS", value_parser = FalseyValueParser::new())]
    peers: bool,
    /// Instead of all else, a table of ten million rows, and the memory it takes (ten minutes, 15 GB of disk)
    #[arg(long)]
    large: bool,
    /// Leave the servers running, with their data
    #[arg(long)]
    keep: bool,
}

/// One part of the page.
struct Section {
    title: &'static str,
    text: String,
}

/// Sections, each on the terminal as soon as it is known.
#[derive(Default)]
struct Page {
    sections: Vec<Section>,
}

impl Page {
    fn add(&mut self, title: &'static str, text: String) {
        println!("## {title}\n\n{text}");
        self.sections.push(Section { title, text });
    }

    fn text(&self, title: &str, versions: &str) -> Result<String> {
        let mut page = format!(
            "# {title}\n\nWritten by `make bench` (`target/release/end_to_end`). All servers and both services share the \
             machine. Configuration of both\nservices: defaults. After each phase, number of rows and sums over all columns \
             were equal on both sides.\n\n{}\n```text\n{versions}\n```\n",
            machine()?
        );
        for section in &self.sections {
            page += &format!("\n## {}\n\n{}", section.title, section.text);
        }
        Ok(page)
    }
}

/// Which part runs, for whoever waits.
fn say(text: &str) {
    eprintln!("end_to_end: {text} …");
}

fn run(options: &Options, page: &mut Page, servers: &Servers) -> Result<()> {
    let scale = if options.quick { 10 } else { 1 };
    if options.large {
        page.add("A table of ten million rows", large::run(scale, servers)?);
        return Ok(());
    }
    let tables = Tables { tables: 4, rows_per_table: 250_000 / scale };
    let phases = throughput::run(tables, scale, servers)?;
    page.add("Full load and backlogs", throughput::text(&phases));
    page.add("What the source feels", impact::run(tables, scale, servers)?);
    say("latency");
    page.add("Latency", latency::run(scale, servers)?);
    if options.peers {
        // What is not ours, and comes over the network, must not cost the figures that are there.
        let text = peers::run(tables, scale, &phases, servers)
            .unwrap_or_else(|error| format!("Not measured: {error}\n"));
        page.add("The peer: Debezium's source and JDBC sink", text);
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    let versions = servers::versions();
    let mut page = Page::default();
    let done = Servers::start().and_then(|servers| run(&options, &mut page, &servers));
    if !options.keep {
        servers::delete();
    }
    done?;
    if !options.quick {
        let (title, name) = if options.large { ("Large", "large") } else { ("End to end", "end-to-end") };
        println!("{}", write_page(name, &page.text(title, &versions)?)?.display());
    }
    Ok(())
}
