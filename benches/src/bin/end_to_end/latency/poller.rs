//! The reading end: a session of its own that asks the warehouse, as fast as it may, for ids it has not seen. Invariant:
//! an id is never passed over, in whatever order ids appear: every poll begins behind the lowest that is missing.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_postgres::{Config, NoTls};
use tributary_benches::Result;

/// Between an answer and the next question, so that asking does not take the machine from what is measured.
const PAUSE: Duration = Duration::from_millis(2);

/// What was seen.
pub(super) struct Observed {
    /// By id minus one.
    pub seen: Vec<Instant>,
    /// From one answer to the next: by so much a row may have been selectable before it was seen.
    pub gaps: Vec<Duration>,
}

/// The session, in a thread of its own.
pub(super) struct Poller(JoinHandle<std::result::Result<Observed, String>>);

/// The ids that were seen, and below which none is missing.
struct Seen {
    instants: Vec<Option<Instant>>,
    /// All ids up to this one were seen.
    low: usize,
}

impl Seen {
    fn new(ids: usize) -> Self {
        Self { instants: vec![None; ids], low: 0 }
    }

    /// Notes an id that an answer of `now` holds; ids begin with 1.
    fn note(&mut self, id: usize, now: Instant) {
        if let Some(instant) = id.checked_sub(1).and_then(|index| self.instants.get_mut(index)) {
            instant.get_or_insert(now);
        }
        while self.instants.get(self.low).is_some_and(Option::is_some) {
            self.low += 1;
        }
    }

    fn is_complete(&self) -> bool {
        self.low == self.instants.len()
    }
}

impl Poller {
    /// Begins to wait for the ids 1 to `ids`; gives up when none has been new for as long as `patience`.
    pub(super) fn start(warehouse: Config, table: &str, ids: u32, patience: Duration) -> Result<Self> {
        let sql = format!("SELECT id FROM {table} WHERE id > $1");
        let ids = usize::try_from(ids)?;
        Ok(Self(std::thread::spawn(move || {
            poll(&warehouse, &sql, ids, patience).map_err(|error| error.to_string())
        })))
    }

    /// Waits until all ids were seen.
    pub(super) fn finish(self) -> Result<Observed> {
        Ok(self.0.join().map_err(|_| "the poller panicked")??)
    }
}

fn poll(warehouse: &Config, sql: &str, ids: usize, patience: Duration) -> Result<Observed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = warehouse.connect(NoTls).await?;
        tokio::spawn(connection);
        let statement = client.prepare(sql).await?;
        let mut seen = Seen::new(ids);
        let mut gaps = Vec::new();
        let (mut last, mut last_progress) = (Instant::now(), Instant::now());
        while !seen.is_complete() {
            let low = i32::try_from(seen.low)?;
            let rows = client.query(&statement, &[&low]).await?;
            let now = Instant::now();
            gaps.push(now - last);
            last = now;
            for row in rows {
                let id: i32 = row.try_get(0)?;
                seen.note(usize::try_from(id)?, now);
            }
            if i32::try_from(seen.low)? > low {
                last_progress = now;
            } else if now - last_progress > patience {
                return Err(format!("row {} does not arrive", low + 1).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Observed { seen: seen.instants.into_iter().flatten().collect(), gaps })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_out_of_order_keep_the_first_instant_and_hold_the_low_mark() {
        let mut seen = Seen::new(3);
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        seen.note(2, first);
        assert_eq!(seen.low, 0);
        seen.note(1, second);
        seen.note(2, second);
        assert_eq!(seen.low, 2);
        assert!(!seen.is_complete());
        seen.note(3, second);
        assert!(seen.is_complete());
        assert_eq!(seen.instants, [Some(second), Some(first), Some(second)]);
    }
}
