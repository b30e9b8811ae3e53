//! What a transaction holds from its beginning, and what becomes of one that has waited for another's locks: who holds
//! them is told, and sessions of instances that hang are ended.

use super::Worker;
use crate::destination::{Connection, DestinationError, Lease, holders};
use crate::merge::names::TargetName;
use crate::pipeline::table::TableTask;

/// How long DDL waits for the readers of its table at first, ms. Every reader that comes later waits behind it.
const DEFINITION_LOCK_MS: u64 = 1_500;
/// How long the offsets of a partition that was just assigned are waited for, ms: a transaction that is in doubt ends
/// soon, or belongs to an instance that hangs.
pub(super) const DOUBT_LOCK_MS: u64 = 5_000;

/// How long DDL waits for the readers of its table, ms, after `conflicts` in a row; `usual` is what any statement waits.
/// Twice as long each time: readers that overlap never leave a table free within a wait that is shorter than they are.
pub(super) fn definition_lock_ms(conflicts: u32, usual: u64) -> u64 {
    let doubled = 1_u64.checked_shl(conflicts).unwrap_or(u64::MAX);
    DEFINITION_LOCK_MS.saturating_mul(doubled).min(usual)
}

/// What a transaction holds from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hold<'a> {
    /// Nothing.
    Nothing,
    /// The advisory lock of a target where a table takes one writer at a time.
    Writer(&'a TargetName),
    /// The advisory lock of a target.
    Target(&'a TargetName),
}

impl Worker {
    /// False where a row that is read FOR UPDATE is the whole table: the advisory lock of the target stands in for it.
    pub(super) const fn locks_rows(&self) -> bool {
        !self.dialect.one_writer()
    }

    /// A transaction on a connection of its own, under the locks of this instance.
    pub(super) async fn begin(&self, hold: Hold<'_>) -> Result<Lease, DestinationError> {
        self.attend().await?;
        let lease = self.pool.acquire().await?;
        self.begin_on(&lease, hold).await?;
        Ok(lease)
    }

    /// A transaction.
    pub(super) async fn begin_on(&self, lease: &Lease, hold: Hold<'_>) -> Result<(), DestinationError> {
        let target = match hold {
            Hold::Target(target) => Some(target),
            Hold::Writer(target) => Some(target).filter(|_| self.dialect.one_writer()),
            Hold::Nothing => None,
        };
        let begun = lease.batch_execute("BEGIN").await;
        begun.map_err(DestinationError::during("beginning a transaction"))?;
        match target {
            Some(target) => self.lock_target(lease, target).await,
            None => Ok(()),
        }
    }

    /// Takes the advisory lock of a target until the transaction ends: who sets it up, gives it another definition, or
    /// writes down whose rows it holds comes one after the other.
    pub(super) async fn lock_target(
        &self,
        connection: &Connection,
        target: &TargetName,
    ) -> Result<(), DestinationError> {
        let key = self.bookkeeping.lock_key(&format!("target {target}"));
        connection
            .batch_execute(&format!("SELECT pg_advisory_xact_lock({key})"))
            .await
            .map_err(DestinationError::during(format!("waiting for others at {target}")))
    }

    /// What is to be said of a transaction that failed with `error`: one that has waited for a lock for long enough says
    /// who holds the target. Sessions of instances that hang are ended.
    pub async fn explain(&self, task: &TableTask, error: DestinationError) -> DestinationError {
        if error.code() != Some("55P03") {
            return error;
        }
        let looked = async {
            let lease = self.pool.acquire().await?;
            let ended = holders::end_dead(&lease, self.dialect, self.pool.connector().names()).await?;
            for pid in ended {
                tracing::warn!(pid, table = %task.id, "the session of an instance that hangs in a transaction was ended");
            }
            let found = holders::holders(&lease, self.dialect, &task.target).await?;
            lease.release();
            Ok::<_, DestinationError>(found)
        };
        match looked.await {
            // The lock may be one of the bookkeeping, or gone by now.
            Ok(found) if found.is_empty() => error,
            Ok(found) => DestinationError::Locked {
                doing: error.to_string(),
                target: task.target.to_string(),
                holders: holders::listed(&found),
            },
            Err(_) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddl_waits_longer_after_each_conflict_and_no_longer_than_any_statement() {
        let waits: Vec<u64> = (0..7).map(|conflicts| definition_lock_ms(conflicts, 30_000)).collect();
        assert_eq!(waits, [1_500, 3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
        assert_eq!(definition_lock_ms(0, 100), 100);
        for conflicts in [60, 63, 64, u32::MAX] {
            assert_eq!(definition_lock_ms(conflicts, 3_600_000), 3_600_000);
        }
    }
}
