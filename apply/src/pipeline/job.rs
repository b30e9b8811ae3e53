//! What a topic's state machine asks of the destination, and what can come of it.

use crate::batches::compact::Batch;
use tributary_warehouse::bookkeeping::Move;
use tributary_warehouse::tables::barriers::Passage;

/// Rows of one generation on their way to the destination.
pub trait Rows {
    /// For each partition the offset behind its last row.
    fn spans(&self) -> impl Iterator<Item = (i32, i64)>;
    /// Forgets the rows of these partitions.
    fn discard(&mut self, partitions: &[i32]);
    /// No row and no offset is held.
    fn is_empty(&self) -> bool;
    /// Keys held.
    fn keys(&self) -> usize;
    /// Bytes held.
    fn bytes(&self) -> usize;
}

impl Rows for Batch {
    fn spans(&self) -> impl Iterator<Item = (i32, i64)> {
        self.partitions().iter().map(|span| (span.partition, span.next_offset))
    }

    fn discard(&mut self, partitions: &[i32]) {
        if self.partitions().iter().any(|span| partitions.contains(&span.partition)) {
            self.discard(partitions);
        }
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn keys(&self) -> usize {
        self.keys()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// One transaction of the destination.
#[derive(Debug)]
pub enum Job<B> {
    /// Read offsets and generations, waiting out transactions in doubt; creates the target if there is none.
    Load {
        /// Partition and epoch.
        partitions: Vec<(i32, u64)>,
    },
    /// Merge rows, then move the offsets.
    Flush {
        /// Generation of the rows.
        generation: u32,
        /// Newest generation that the destination is known to have.
        target: u32,
        rows: B,
        /// The offsets behind them.
        moves: Vec<Move>,
    },
    /// Record arrivals at a generation, and carry out its DDL if it is this transaction's turn.
    Arrive {
        /// The generation the partitions come from.
        from: u32,
        /// The generation they arrive at.
        generation: u32,
        /// Who carries out its DDL.
        passage: Passage,
        /// The partitions.
        moves: Vec<Move>,
    },
    /// Store offsets that no row stands behind.
    Advance {
        /// The partitions.
        moves: Vec<Move>,
    },
}

impl<B: Rows> Job<B> {
    /// The offsets it moves.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        match self {
            Self::Load { .. } => &[],
            Self::Flush { moves, .. } | Self::Arrive { moves, .. } | Self::Advance { moves } => moves,
        }
    }

    /// Bytes of rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Flush { rows, .. } => rows.bytes(),
            Self::Load { .. } | Self::Arrive { .. } | Self::Advance { .. } => 0,
        }
    }
}

/// What the destination holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    pub partition: i32,
    /// Epoch it was asked for in.
    pub epoch: u64,
    /// Offset to go on at.
    pub next_offset: i64,
    /// Generation it has arrived at.
    pub generation: u32,
}

/// What came of a job.
#[derive(Debug)]
pub enum JobOutcome<B> {
    /// [`Job::Load`].
    Loaded {
        /// Newest generation that is done.
        done: u32,
        offsets: Vec<Loaded>,
    },
    /// [`Job::Flush`] or [`Job::Advance`] was committed.
    Written,
    /// [`Job::Arrive`] was committed.
    Arrived {
        /// The generation arrived at.
        generation: u32,
        /// Newest generation that is done.
        done: u32,
    },
    /// Nothing was written, for a reason that passes; the rows and their generation come back.
    Again(Option<(u32, B)>),
    /// The destination is not where this instance thought: an offset differed, or the answer to a COMMIT was lost.
    Lost,
}
