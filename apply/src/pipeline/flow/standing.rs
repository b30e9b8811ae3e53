//! What turns a topic's machine over: other barriers, partitions that come and go, stops and new beginnings. Each of
//! them drops what it makes void, so that nothing of before is written later.

use super::{Flow, Partition, Phase};
use crate::barriers::Barriers;
use crate::pipeline::job::Rows;

impl<B: Rows> Flow<B> {
    /// Takes over what the history says now.
    pub fn set_barriers(&mut self, barriers: Barriers) {
        self.barriers = barriers;
        for (number, partition) in &mut self.partitions {
            partition.barrier = self.barriers.next_offset(partition.generation, *number);
        }
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
            if let Some(partition) = self.partitions.get_mut(number) {
                self.epochs += 1;
                partition.epoch = self.epochs;
                partition.phase = Phase::Unknown;
                partition.at_end = false;
                partition.watched = None;
            }
        }
    }

    /// Stops the topic: nothing more is taken or written.
    pub fn park(&mut self) {
        self.parked = true;
        self.closing = false;
        self.open.clear();
        self.closed.clear();
    }

    /// Takes nothing more, so that the topic can be parked once what was taken is in the destination: whoever goes on
    /// behind a bad record must find everything before it merged.
    pub const fn close(&mut self) {
        self.closing = true;
    }

    /// Lets a parked topic try again from the destination's offsets.
    pub fn unpark(&mut self) {
        if std::mem::take(&mut self.parked) {
            self.reload();
        }
    }

    /// True after [`Self::park`].
    #[must_use]
    pub const fn is_parked(&self) -> bool {
        self.parked
    }

    /// The replay command has taken the destination back: whatever was known of it is forgotten.
    pub fn forget(&mut self) {
        self.done = 0;
        self.parked = false;
        self.closing = false;
        self.reload();
    }
}
