//! `hot_paths`: nanoseconds and calls of the allocator a row, for each path that every row takes. Rows made beforehand
//! enter, a table leaves. Invariant: only what is measured runs while it is measured, on memory that has grown before.

mod rows;

use clap::Parser;
use rows::{KINDS, Kind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tributary_apply::batches::compact::Batch;
use tributary_benches::Result;
use tributary_capture::binlog::decoder::RowDecoder;
use tributary_capture::binlog::rows::Bitmap;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH};
use tributary_schemas::envelope::{Operation, Source, put_source_place, put_tail};
use tributary_schemas::row::EncodedRow;
use tributary_source::rows::RowEncoder;
use tributary_warehouse::merge::encode::Shape;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::operations::Operations;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::raw::RawValues;

/// How often each path is measured; the median counts.
const ROUNDS: usize = 9;
/// Partitions of a topic, over which records are spread as consumers see them.
const PARTITIONS: i32 = 4;

/// Rust's calls of the allocator, by all threads.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
struct Counting;

#[allow(unsafe_code, reason = "the trait is unsafe; every call is handed on as it came")]
// SAFETY: System keeps the contract of the trait, and is called with exactly what the caller gave.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of System.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nanoseconds and allocations a row of every hot path
#[derive(Debug, Parser)]
struct Options {
    /// A tenth of the rows, and no page in docs/benchmarks
    #[arg(long)]
    quick: bool,
}

/// What one path takes a row.
struct Measured {
    path: &'static str,
    nanoseconds: f64,
    allocations: f64,
}

/// Runs `path` over all rows: once to grow memory, then [`ROUNDS`] times.
fn measure(path: &'static str, rows: u32, mut run: impl FnMut() -> Result<()>) -> Result<Measured> {
    run()?;
    let mut rounds = [(0, 0); ROUNDS];
    for round in &mut rounds {
        let calls = CALLS.load(Ordering::Relaxed);
        let start = Instant::now();
        run()?;
        *round = (start.elapsed().as_nanos(), CALLS.load(Ordering::Relaxed) - calls);
    }
    rounds.sort_unstable();
    let (nanoseconds, calls) = rounds[ROUNDS / 2];
    let rows = f64::from(rows);
    Ok(Measured { path, nanoseconds: nanoseconds as f64 / rows, allocations: calls as f64 / rows })
}

/// A record as capture publishes it, both without the wire header.
struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A row in the envelope of an update.
fn record(row: &EncodedRow, number: u32) -> Record {
    let mut value = vec![NULL_BRANCH, VALUE_BRANCH];
    value.extend_from_slice(&row.value);
    let source = Source {
        ts_ms: 1_700_000_000_000,
        snapshot: false,
        database: "sbtest",
        table: "sbtest1",
        server_id: 1,
        gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:512345"),
        file: "binlog.000001",
        offset: 0,
        row: 0,
    };
    source.put_shared(&mut value);
    put_source_place(&mut value, u64::from(number) * 400, 0);
    put_tail(&mut value, Operation::Update, 1_700_000_000_123);
    Record { key: row.key.clone(), value }
}

fn fill(batch: &mut Batch, records: &[Record], keys: usize) -> Result<()> {
    batch.clear();
    for (number, record) in records.iter().enumerate() {
        // A stride that is prime to the number of keys comes to each of them.
        let key = &records[number * 7919 % keys].key;
        let offset = i64::try_from(number)?;
        let partition = i32::try_from(offset % i64::from(PARTITIONS))?;
        batch.push(partition, offset, key, Some(&record.value), &[])?;
    }
    Ok(())
}

fn measure_kind(kind: &Kind, rows: u32) -> Result<Vec<Measured>> {
    let table = kind.table()?;
    let decoder = RowDecoder::compile(&table, &kind.map())?;
    let encoder = RowEncoder::compile(&table)?;
    let rule = ColumnRule::default();
    let plan = TransferPlan::compile(&table, &rule, &rows::target(&table, &rule)?)?;
    let present = [0xff; 2];
    let present = Bitmap(&present);
    let images: Vec<Vec<u8>> = (0..rows).map(kind.image).collect();
    let values: Vec<Vec<mysql_async::Value>> = (0..rows).map(kind.values).collect();
    let (mut row, mut selected) = (EncodedRow::default(), EncodedRow::default());
    let mut records = Vec::new();
    for (number, (image, values)) in (0..).zip(images.iter().zip(&values)) {
        let mut rest = image.as_slice();
        decoder.encode(&mut rest, present, &mut row)?;
        encoder.encode(values, &mut selected)?;
        // Numbers of the wrong row would be worse than none.
        if !rest.is_empty() || (&row.key, &row.value) != (&selected.key, &selected.value) {
            return Err(format!("{}: image and values are not the same row", kind.name).into());
        }
        records.push(record(&row, number));
    }
    let mut measured = vec![
        measure("capture: row image of the binlog → Avro", rows, || {
            for image in &images {
                decoder.encode(&mut black_box(image.as_slice()), present, &mut row)?;
                black_box(&row);
            }
            Ok(())
        })?,
        measure("capture: row of the binary protocol → Avro", rows, || {
            for values in &values {
                encoder.encode(black_box(values), &mut row)?;
                black_box(&row);
            }
            Ok(())
        })?,
    ];
    let mut batch = Batch::new(Operations::ALL);
    let tenth = records.len() / 10;
    measured
        .push(measure("apply: compaction, 10 records a key", rows, || fill(&mut batch, &records, tenth))?);
    let all = records.len();
    measured.push(measure("apply: compaction, 1 record a key", rows, || fill(&mut batch, &records, all))?);
    let mut tuples = Vec::new();
    measured.push(measure("apply: Avro → binary COPY", rows, || {
        tuples.clear();
        for survivor in batch.survivors() {
            plan.encode(Shape::Stage, survivor.key, survivor.value, RawValues::NONE, &mut tuples)?;
        }
        black_box(&tuples);
        Ok(())
    })?);
    if batch.keys() != records.len() {
        return Err(format!("{} of {} keys are in the batch", batch.keys(), records.len()).into());
    }
    Ok(measured)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let rows = if options.quick { 20_000 } else { 200_000 };
    let mut text =
        "| row | path | ns/row | million rows/s, one core | allocator calls/row |\n|---|---|---|---|---|\n"
            .to_owned();
    for kind in &KINDS {
        for Measured { path, nanoseconds, allocations } in measure_kind(kind, rows)? {
            let line = format!(
                "| {} | {path} | {nanoseconds:.0} | {:.1} | {allocations:.4} |\n",
                kind.name,
                1e3 / nanoseconds
            );
            text.push_str(&line);
        }
    }
    println!("{text}");
    if !options.quick {
        let page = format!(
            "# Hot paths\n\nWritten by `make bench` (`cargo run --release -p tributary-benches --bin hot_paths`): \
             {rows} rows a round, one thread,\nmedian of {ROUNDS} rounds on memory that has grown before. Allocator \
             calls are Rust's (allocate, reallocate).\n\n{text}\n{}",
            tributary_benches::machine()?
        );
        println!("{}", tributary_benches::write_page("hot-paths", &page)?.display());
    }
    Ok(())
}
