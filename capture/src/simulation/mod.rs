//! A seeded simulation of both services. Of capture: the real sequencer and the real beginning of a session, between a source, a
//! Kafka and readers that are played here. Of apply: the real history, state machines of topics and batches, in two instances,
//! over a compacted Kafka and a played destination. Everything may end at every action: the process, the Kafka transaction, the
//! answer to a commit, the group's assignment. `TRIBUTARY_SEED=17 cargo test simulation` replays one schedule.
//!
//! What is checked, now and then and where a session of capture ends: what an apply that has read all topics has is what the
//! source had at the checkpoint, and each row event is there exactly once; and, once all is quiet, that every table is there, in
//! the topics and in the destination. Safeguards are also left out, and the simulation must notice.
//!
//! Not played: the loop of a session and its driver, sources without GTIDs, topics that are deleted; the loop of apply around its state machines (records that are held back, parking, replays),
//! a COMMIT that lands after the offsets were read again, tombstones that compaction removes.

mod applies;
mod binlog;
mod kafka;
mod model;
mod readers;
mod schedule;
mod session;
mod source;
mod warehouse;

use schedule::{Fault, Schedule};

/// Schedules in the tests.
const SEEDS: u64 = 10_000;

/// The shortest prefix of a schedule in which `seed` fails, and how.
fn shortest(seed: u64, fault: Fault) -> Option<(usize, String)> {
    let (steps, _) = Schedule::new(seed, fault, usize::MAX).run().err()?;
    let (mut passes, mut fails) = (0, steps);
    while passes + 1 < fails {
        let middle = passes.midpoint(fails);
        match Schedule::new(seed, fault, middle).run() {
            Ok(()) => passes = middle,
            Err(_) => fails = middle,
        }
    }
    let (_, why) = Schedule::new(seed, fault, fails).run().err()?;
    Some((fails, why))
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("TRIBUTARY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRIBUTARY_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn no_schedule_loses_or_repeats_a_row() {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap());
    let failed = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let mine = seeds.clone().filter(move |seed| seed % threads == thread);
            scope.spawn(move || {
                mine.into_iter().find(|seed| Schedule::new(*seed, Fault::Nothing, usize::MAX).run().is_err())
            })
        };
        let running: Vec<_> = (0..threads).map(work).collect();
        running.into_iter().filter_map(|thread| thread.join().unwrap()).min()
    });
    if let Some(seed) = failed {
        let (steps, why) = shortest(seed, Fault::Nothing).unwrap();
        panic!("seed {seed}, {steps} steps: {why}");
    }
}

#[test]
fn each_safeguard_that_is_left_out_is_noticed() {
    for (fault, expected) in Fault::ALL {
        let notice = |seed| Some((seed, Schedule::new(seed, fault, usize::MAX).run().err()?));
        let noticed = (0..SEEDS).find_map(notice);
        let (seed, (_, why)) = noticed.unwrap_or_else(|| panic!("{fault:?} goes unnoticed"));
        eprintln!("{fault:?}: seed {seed}: {why}");
        assert!(expected.iter().any(|part| why.contains(part)), "{fault:?}: {why}");
    }
}
