//! Offsets: read under a lock, moved by compare-and-set.

use super::Bookkeeping;
use crate::destination::{Connection, DestinationError};
use std::time::Duration;

/// The compare-and-set of one partition's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub partition: i32,
    /// Epoch of its assignment.
    pub epoch: u64,
    /// The value last read from or written to the destination.
    pub expected: i64,
    /// The new value.
    pub next: i64,
    /// The partition is at its end.
    pub at_end: bool,
}

/// What the destination holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffsetRow {
    pub partition: i32,
    /// Offset to go on at.
    pub next_offset: i64,
    /// Generation it has arrived at.
    pub generation: u32,
    /// How long ago the partition was last known to be at its end; `None` if it never was.
    pub since_end: Option<Duration>,
    /// How long ago the partition was begun.
    pub since_begin: Duration,
}

/// An arrival at a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalStep {
    /// Generation the partitions come from.
    pub from: u32,
    /// Generation they arrive at.
    pub to: u32,
    /// The table is emptied here: what was missed before does not matter any more.
    pub anew: bool,
}

/// An offset as `status` and the end of `--until-caught-up` see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffset {
    pub topic: String,
    pub partition: i32,
    /// Offset to go on at.
    pub next_offset: i64,
}

impl OffsetRow {
    /// True if a delete may have vanished unseen. It stays for `min.compaction.lag.ms` and then for
    /// `delete.retention.ms`, each of them `retention` long: an apply that was away for longer than both, or that takes
    /// longer than the second to come to the end again from where it began, may have missed one.
    #[must_use]
    pub fn may_have_missed(&self, retention: Duration) -> bool {
        let on_the_way = self.since_end.is_none_or(|age| age > self.since_begin);
        self.since_end.is_some_and(|age| age > retention * 2) || (on_the_way && self.since_begin > retention)
    }
}

impl Bookkeeping {
    /// The rows of some partitions of a topic. `lock` waits out a transaction in doubt, and must then be in a
    /// transaction itself.
    pub async fn offsets(
        &self,
        connection: &mut Connection,
        topic: &str,
        partitions: &[i32],
        lock: bool,
    ) -> Result<Vec<OffsetRow>, DestinationError> {
        let during = || DestinationError::during(format!("reading the offsets of {topic}"));
        let sql = format!(
            "SELECT \"partition\", next_offset, generation, \
             extract(epoch FROM now() - at_end_at)::double precision, \
             extract(epoch FROM now() - begun_at)::double precision \
             FROM {}.offsets WHERE task = $1 AND topic = $2 AND \"partition\" = ANY ($3) \
             ORDER BY \"partition\"{}",
            self.schema,
            if lock { " FOR UPDATE" } else { "" }
        );
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let rows = connection.query(&statement, &[&self.task, &topic, &partitions]).await.map_err(during())?;
        let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| OffsetRow {
                partition: row.get(0),
                next_offset: row.get(1),
                generation: u32::try_from(row.get::<_, i32>(2)).unwrap_or(0),
                since_end: row.get::<_, Option<f64>>(3).map(seconds),
                since_begin: seconds(row.get(4)),
            })
            .collect())
    }

    /// Every offset of the task.
    pub async fn all_offsets(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<StoredOffset>, DestinationError> {
        let during = || DestinationError::during("reading the offsets");
        let sql = format!(
            "SELECT topic, \"partition\", next_offset FROM {}.offsets WHERE task = $1 ORDER BY 1, 2",
            self.schema
        );
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let rows = connection.query(&statement, &[&self.task]).await.map_err(during())?;
        Ok(rows
            .iter()
            .map(|row| StoredOffset { topic: row.get(0), partition: row.get(1), next_offset: row.get(2) })
            .collect())
    }

    /// The first offsets of a topic, by partition from 0.
    pub(crate) async fn insert_offsets(
        &self,
        connection: &mut Connection,
        topic: &str,
        generation: u32,
        next_offsets: &[i64],
    ) -> Result<(), DestinationError> {
        for (partition, next_offset) in (0_i32..).zip(next_offsets) {
            self.insert_offset(connection, topic, partition, *next_offset, generation).await?;
        }
        Ok(())
    }

    /// The first offset of a partition.
    pub(super) async fn insert_offset(
        &self,
        connection: &mut Connection,
        topic: &str,
        partition: i32,
        next_offset: i64,
        generation: u32,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("writing the first offsets of {topic}"));
        let sql = format!(
            "INSERT INTO {}.offsets (task, topic, \"partition\", next_offset, generation) \
             VALUES ($1, $2, $3, $4, $5)",
            self.schema
        );
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let generation = i32::try_from(generation).unwrap_or(i32::MAX);
        connection
            .execute(&statement, &[&self.task, &topic, &partition, &next_offset, &generation])
            .await
            .map_err(during())?;
        Ok(())
    }

    /// Moves offsets, each from the value that was last seen; for an arrival also the generation. The last statement of
    /// a transaction. `retention`, if what was missed matters: an offset that may have missed a delete (see
    /// [`OffsetRow::may_have_missed`]) is not moved, however long this process itself has been frozen or cut off.
    ///
    /// # Errors
    /// [`DestinationError::OffsetMoved`] if not exactly one row a partition was hit; what the server says.
    pub async fn move_offsets(
        &self,
        connection: &mut Connection,
        topic: &str,
        moves: &[Move],
        arrival: Option<ArrivalStep>,
        retention: Option<Duration>,
    ) -> Result<(), DestinationError> {
        let during = || DestinationError::during(format!("moving the offsets of {topic}"));
        let sql = format!(
            "UPDATE {schema}.offsets AS o SET next_offset = m.next_offset, \
             generation = CASE WHEN $7 >= 0 THEN $8 ELSE o.generation END, \
             begun_at = CASE WHEN $9 THEN now() ELSE o.begun_at END, \
             at_end_at = CASE WHEN m.at_end THEN now() WHEN $9 THEN NULL ELSE o.at_end_at END \
             FROM unnest($3::integer[], $4::bigint[], $5::bigint[], $6::boolean[]) \
             AS m (\"partition\", expected, next_offset, at_end) \
             WHERE o.task = $1 AND o.topic = $2 AND o.\"partition\" = m.\"partition\" \
             AND o.next_offset = m.expected AND ($7 < 0 OR o.generation = $7) \
             AND ($10::double precision < 0 OR NOT (coalesce(o.at_end_at < now() - 2 * $10 * interval '1 second', false) \
             OR (o.begun_at < now() - $10 * interval '1 second' AND coalesce(o.at_end_at < o.begun_at, true))))",
            schema = self.schema
        );
        let retention = retention.map_or(-1.0, |retention| retention.as_secs_f64());
        let partitions: Vec<i32> = moves.iter().map(|step| step.partition).collect();
        let expected: Vec<i64> = moves.iter().map(|step| step.expected).collect();
        let next: Vec<i64> = moves.iter().map(|step| step.next).collect();
        let at_end: Vec<bool> = moves.iter().map(|step| step.at_end).collect();
        let number = |generation: u32| i32::try_from(generation).unwrap_or(i32::MAX);
        let (from, to) = arrival.map_or((-1, -1), |step| (number(step.from), number(step.to)));
        let anew = arrival.is_some_and(|step| step.anew);
        let statement = connection.prepared(&sql).await.map_err(during())?;
        let hit = connection
            .execute(
                &statement,
                &[&self.task, &topic, &partitions, &expected, &next, &at_end, &from, &to, &anew, &retention],
            )
            .await
            .map_err(during())?;
        if usize::try_from(hit) == Ok(moves.len()) { Ok(()) } else { Err(DestinationError::OffsetMoved) }
    }

    /// Forgets the done generations and the offsets of a topic; how many rows there were.
    pub(super) async fn forget_offsets(
        &self,
        connection: &Connection,
        topic: &str,
    ) -> Result<u64, DestinationError> {
        let mut forgotten = 0;
        for table in ["generations", "offsets"] {
            let sql = format!("DELETE FROM {}.{table} WHERE task = $1 AND topic = $2", self.schema);
            forgotten += connection
                .execute(&sql, &[&self.task, &topic])
                .await
                .map_err(DestinationError::during(format!("forgetting the offsets of {topic}")))?;
        }
        Ok(forgotten)
    }

    /// How many partitions of a topic, `besides` some, have arrived at a generation.
    pub async fn arrived(
        &self,
        connection: &mut Connection,
        topic: &str,
        generation: u32,
        besides: &[i32],
    ) -> Result<u64, DestinationError> {
        let sql = format!(
            "SELECT count(*) FROM {}.offsets WHERE task = $1 AND topic = $2 AND generation >= $3 \
             AND \"partition\" <> ALL ($4)",
            self.schema
        );
        let generation = i32::try_from(generation).unwrap_or(i32::MAX);
        let row = connection
            .query_one(&sql, &[&self.task, &topic, &generation, &besides])
            .await
            .map_err(DestinationError::during(format!("counting the arrivals of {topic}")))?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_is_missed_by_who_was_away_for_too_long_or_comes_to_the_end_too_late() {
        let day = |days: u64| Duration::from_secs(days * 86_400);
        let missed = |begun: u64, at_end: Option<u64>| {
            let (since_begin, since_end) = (day(begun), at_end.map(day));
            let row = OffsetRow { partition: 0, next_offset: 0, generation: 1, since_end, since_begin };
            row.may_have_missed(day(7))
        };
        assert!(!missed(7, None));
        assert!(missed(8, None), "too long on the way to its first end");
        assert!(!missed(90, Some(14)));
        assert!(missed(90, Some(15)), "away for too long");
        assert!(!missed(7, Some(9)));
        assert!(missed(8, Some(9)), "taken back, and too long on the way");
    }
}
