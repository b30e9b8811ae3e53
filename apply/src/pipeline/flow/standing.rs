//! What turns a topic's machine over: other barriers, partitions that come and go, stops and new beginnings. Each of
//! them drops what it makes void, so that nothing of before is written later.

use super::{Flow, Intake, Partition, Phase};
use crate::pipeline::job::Rows;
use tributary_warehouse::tables::barriers::Barriers;

impl<B: Rows> Flow<B> {
    /// Takes over what the history says now. A partition that stands before a generation that empties the table goes on
    /// behind it: what lies between would be merged only to be removed again, if it can be merged at all.
    pub fn set_barriers(&mut self, barriers: Barriers) {
        self.barriers = barriers;
        let mut overtaken = Vec::new();
        for (number, partition) in &mut self.partitions {
            partition.barrier = self.barriers.next_offset(partition.generation, *number);
            let emptied = self.barriers.emptied_before(partition.generation, *number);
            if partition.phase == Phase::Running && partition.position < emptied {
                overtaken.push(*number);
            }
        }
        self.reload_partitions(&overtaken);
    }

    /// The group gave these partitions.
    pub fn assign(&mut self, partitions: &[i32]) {
        self.drop_rows(partitions);
        for number in partitions {
            self.epochs += 1;
            let partition = Partition {
                epoch: self.epochs,
                phase: Phase::Unknown,
                generation: 0,
                position: 0,
                committed: 0,
                barrier: i64::MAX,
                at_end: false,
                watched: None,
            };
            self.partitions.insert(*number, partition);
        }
    }

    /// The group took these partitions: what is buffered of them is dropped, and no flush of theirs starts later.
    pub fn revoke(&mut self, partitions: &[i32]) {
        self.partitions.retain(|number, _| !partitions.contains(number));
        self.drop_rows(partitions);
    }

    fn drop_rows(&mut self, partitions: &[i32]) {
        for open in &mut self.open {
            open.rows.discard(partitions);
        }
        for closed in &mut self.closed {
            closed.rows.discard(partitions);
        }
        self.open.retain(|open| !open.rows.is_empty());
        self.closed.retain(|closed| !closed.rows.is_empty());
    }

    /// Everything buffered is dropped, and every offset read again.
    pub fn reload(&mut self) {
        let all: Vec<i32> = self.partitions.keys().copied().collect();
        self.reload_partitions(&all);
    }

    /// What is buffered of these partitions is dropped, and their offsets read again.
    pub fn reload_partitions(&mut self, partitions: &[i32]) {
        self.drop_rows(partitions);
        for number in partitions {
            self.epochs += 1;
            let epoch = self.epochs;
            let partition = self.partition_mut(*number);
            *partition =
                Partition { epoch, phase: Phase::Unknown, at_end: false, watched: None, ..*partition };
        }
    }

    /// Stops the topic: nothing more is taken or written.
    pub fn park(&mut self) {
        self.intake = Intake::Shut;
        self.open.clear();
        self.closed.clear();
    }

    /// Takes nothing more, so that the topic can be parked once what was taken is in the destination: whoever goes on
    /// behind a bad record must find everything before it merged.
    pub const fn close(&mut self) {
        self.intake = Intake::Closing;
    }

    /// Lets a topic that is parked, or about to be, try again from the destination's offsets.
    pub fn unpark(&mut self) {
        if std::mem::replace(&mut self.intake, Intake::Open) != Intake::Open {
            self.reload();
        }
    }

    /// The replay command has taken the destination back: whatever was known of it is forgotten.
    pub fn forget(&mut self) {
        self.done = 0;
        self.intake = Intake::Open;
        self.reload();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::flush::FlushLimits;
    use crate::pipeline::flow::RecordVerdict;
    use crate::pipeline::job::{Job, JobOutcome, Loaded};
    use crate::pipeline::simulation::Held;
    use std::time::{Duration, Instant};
    use tributary_warehouse::tables::barriers::{Barrier, Passage};

    const LIMITS: FlushLimits = FlushLimits { keys: 9, bytes: 1 << 20, age: Duration::ZERO };

    fn barriers(ends: &[(i64, bool)]) -> Barriers {
        let mut barriers = Barriers::default();
        for (generation, (offset, empties)) in (1..).zip(ends) {
            let offsets = vec![*offset];
            barriers.insert(Barrier { generation, offsets, passage: Passage::Last, empties: *empties });
        }
        barriers
    }

    /// A flow whose only partition has been loaded, and sought to where it begins; that offset.
    fn load(flow: &mut Flow<Held>) -> i64 {
        let Some(Job::Load { partitions }) = flow.next_job(&LIMITS, false, Instant::now()) else {
            panic!("nothing is loaded")
        };
        let loaded = |(partition, epoch)| Loaded { partition, epoch, next_offset: 3, generation: 1 };
        let offsets = partitions.into_iter().map(loaded).collect();
        flow.finish(JobOutcome::Loaded { done: 1, offsets });
        let sought = flow.seeks()[0].1;
        flow.sought(0);
        sought
    }

    #[test]
    fn rows_that_a_later_generation_empties_are_not_merged_and_what_they_fail_with_does_not_matter() {
        let mut flow = Flow::new(barriers(&[(0, false)]), Box::new(Held::default));
        flow.assign(&[0]);
        assert_eq!(load(&mut flow), 3);
        let RecordVerdict::Take(rows) = flow.offer(0, 3, Some(1), Instant::now()) else {
            panic!("not taken")
        };
        rows.0.push((0, 3));
        let Some(Job::Flush { generation, rows, .. }) = flow.next_job(&LIMITS, true, Instant::now()) else {
            panic!("nothing is flushed")
        };
        assert!(!flow.is_void());
        // An ALTER, and behind it the table is read anew.
        flow.set_barriers(barriers(&[(0, false), (5, false), (8, true)]));
        assert!(flow.is_void(), "the flush is about rows that are to be removed");
        flow.finish(JobOutcome::Again(Some((generation, rows))));
        assert_eq!(load(&mut flow), 8);
        // Behind it nothing changes.
        flow.set_barriers(barriers(&[(0, false), (5, false), (8, true), (9, false)]));
        assert!(!matches!(flow.next_job(&LIMITS, true, Instant::now()), Some(Job::Load { .. })));
    }

    #[test]
    fn a_table_that_closes_stores_no_offset_that_no_row_stands_behind() {
        let mut flow = Flow::new(barriers(&[(0, false)]), Box::new(Held::default));
        flow.assign(&[0]);
        assert_eq!(load(&mut flow), 3);
        flow.observe(0, 7, None);
        flow.close();
        flow.request_advance();
        assert!(flow.next_job(&LIMITS, true, Instant::now()).is_none(), "a bad record may be before 7");
        flow.unpark();
        assert_eq!(load(&mut flow), 3, "it is read again");
    }
}
