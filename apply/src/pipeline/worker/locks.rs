//! What a transaction holds from its beginning, and what becomes of one that has waited for another's locks: who holds
//! them is told, and sessions of instances that hang are ended.

use super::{WorkError, Worker};
use tributary_warehouse::bookkeeping::lock_key_of;
use tributary_warehouse::destination::holders::{self, SILENCE};
use tributary_warehouse::destination::{Connection, DestinationError, Lease};
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::tables::task::TableTask;

/// How long a lock is waited for at first, ms, by a job that keeps a connection meanwhile. DDL waits for the readers of its
/// table, and every reader that comes later waits behind it.
const FIRST_LOCK_MS: u64 = 1_500;

/// How long a lock is waited for, ms, after `conflicts` in a row; `usual` is what any statement waits. Twice as long each
/// time: readers that overlap never leave a table free within a wait that is shorter than they are.
fn lock_ms(conflicts: u32, usual: u64) -> u64 {
    let doubled = 1_u64.checked_shl(conflicts).unwrap_or(u64::MAX);
    FIRST_LOCK_MS.saturating_mul(doubled).min(usual)
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

    /// A transaction for `task` on a connection of its own, under the locks of this instance.
    pub(super) async fn begin(
        &self,
        task: &TableTask,
        hold: Hold<'_>,
        conflicts: u32,
    ) -> Result<Lease, DestinationError> {
        self.attend().await?;
        let lease = self.pool.acquire(task.target.to_string()).await?;
        self.begin_on(&lease, hold, conflicts).await?;
        Ok(lease)
    }

    /// A transaction. What it holds from its beginning is waited for as long as anything; every lock that it meets after that,
    /// for as long as `conflicts` allow, the attempts in a row that have met the locks of others.
    pub(super) async fn begin_on(
        &self,
        lease: &Lease,
        hold: Hold<'_>,
        conflicts: u32,
    ) -> Result<(), DestinationError> {
        let target = match hold {
            Hold::Target(target) => Some(target),
            Hold::Writer(target) => Some(target).filter(|_| self.dialect.one_writer()),
            Hold::Nothing => None,
        };
        let (lock, doing) = match target {
            Some(target) => {
                (format!("; {}", self.lock_of(target)), format!("waiting for others at {target}"))
            }
            None => (String::new(), "beginning a transaction".to_owned()),
        };
        let usual = self.pool.connector().lock_timeout_ms();
        let limit = match lock_ms(conflicts, usual) {
            limit if limit < usual => format!("; SET LOCAL lock_timeout = {limit}"),
            _ => String::new(),
        };
        let begin = format!("BEGIN{lock}{limit}");
        lease.batch_execute(&begin).await.map_err(DestinationError::during(doing))
    }

    /// What takes the advisory lock of a target.
    fn lock_of(&self, target: &TargetName) -> String {
        // By the second one tasks with bookkeeping in other schemas wait for each other, too; by the first, versions before.
        let (own, all) = (self.bookkeeping.lock_key(&format!("target {target}")), lock_key_of(target));
        format!("SELECT pg_advisory_xact_lock({own}), pg_advisory_xact_lock({all})")
    }

    /// Takes the advisory lock of a target until the transaction ends: who sets it up, gives it another definition, or
    /// writes down whose rows it holds comes one after the other.
    pub(super) async fn lock_target(
        &self,
        connection: &Connection,
        target: &TargetName,
    ) -> Result<(), DestinationError> {
        connection
            .batch_execute(&self.lock_of(target))
            .await
            .map_err(DestinationError::during(format!("waiting for others at {target}")))
    }

    /// What is to be said of a transaction that failed with `error`: one that has waited for a lock for long enough says
    /// who holds the target. Sessions of instances that hang are ended.
    pub(crate) async fn explain(&self, task: &TableTask, error: WorkError) -> WorkError {
        let error = match error {
            WorkError::Destination(error) if error.code() == Some("55P03") => error,
            other => return other,
        };
        let looked = async {
            let lease = self.pool.acquire(format!("a look at who holds {}", task.target)).await?;
            let names = self.pool.connector().names();
            let ended = holders::end_dead(&lease, self.dialect, names, SILENCE).await?;
            for pid in ended {
                tracing::warn!(pid, table = %task.name, "the session of an instance that hangs in a transaction was ended");
            }
            let found = holders::holders(&lease, self.dialect, &task.target).await?;
            lease.release();
            Ok::<_, DestinationError>(found)
        };
        match looked.await {
            // The lock may be one of the bookkeeping, or gone by now.
            Ok(found) if found.is_empty() => error.into(),
            Ok(found) => WorkError::Destination(DestinationError::Locked {
                doing: error.to_string(),
                target: task.target.to_string(),
                holders: holders::listed(&found),
            }),
            Err(_) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_longer_after_each_conflict_and_no_longer_than_by_any_statement() {
        let waits: Vec<u64> = (0..7).map(|conflicts| lock_ms(conflicts, 30_000)).collect();
        assert_eq!(waits, [1_500, 3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
        assert_eq!(lock_ms(0, 100), 100);
        for conflicts in [60, 63, 64, u32::MAX] {
            assert_eq!(lock_ms(conflicts, 3_600_000), 3_600_000);
        }
    }
}
