//! The plan of one table: its key's range in segments, in key order. What is done is gone; a segment that is being
//! read is cut at the last published key.

use super::{OrderId, Work};
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{KeyRange, KeyValue, ReadPhase, TableProgress};
use tributary_schemas::position::Position;

/// The fewest and the most rows a chunk is planned with.
const CHUNK_ROWS: (u64, u64) = (64, 4_000_000);
/// From so many rows on, the measured size replaces the estimate.
const MEASURED_ROWS: u64 = 200;

/// What happens to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Larger than a chunk, as far as is known.
    Idle,
    /// A reader looks for where its first chunk ends.
    Searching(OrderId),
    /// A chunk.
    Ready,
    /// A chunk that is being read.
    Reading(OrderId),
}

#[derive(Debug, Clone)]
struct Segment {
    range: KeyRange,
    state: State,
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Answered {
    End(Option<Vec<KeyValue>>),
    Boundary(Option<Vec<KeyValue>>),
    Finished,
    Returned,
}

#[derive(Debug)]
pub(super) struct TablePlan {
    pub(super) phase: ReadPhase,
    pub(super) consistent_after: Option<Position>,
    /// No orders are given out.
    pub(super) paused: bool,
    generation: u32,
    rows_read: u64,
    rows_estimated: u64,
    segments: Vec<Segment>,
    /// The order that looks for the cap of the last segment.
    end_search: Option<OrderId>,
    row_bytes_estimated: u64,
    measured_rows: u64,
    measured_bytes: u64,
}

impl TablePlan {
    pub(super) fn new(progress: TableProgress, row_bytes: u64) -> Self {
        let segment = |range| Segment { range, state: State::Idle };
        Self {
            phase: progress.phase,
            consistent_after: progress.consistent_after,
            paused: false,
            generation: progress.generation,
            rows_read: progress.rows_read,
            rows_estimated: progress.rows_estimated,
            segments: progress.remaining.into_iter().map(segment).collect(),
            end_search: None,
            row_bytes_estimated: row_bytes.max(1),
            measured_rows: 0,
            measured_bytes: 0,
        }
    }

    /// Work for a reader: a chunk if there is one, else a search that makes one.
    pub(super) fn next(&mut self, id: OrderId, chunk_bytes: u64) -> Option<Work> {
        if self.paused || self.phase != ReadPhase::Reading {
            return None;
        }
        if self.segments.last().is_some_and(|last| last.range.through.is_none()) {
            if self.end_search.is_some() {
                return None;
            }
            self.end_search = Some(id);
            return Some(Work::FindEnd);
        }
        if let Some(chunk) = self.segments.iter_mut().find(|segment| segment.state == State::Ready) {
            chunk.state = State::Reading(id);
            return Some(Work::Read { range: chunk.range.clone() });
        }
        let rows = self.chunk_rows(chunk_bytes);
        let idle = self.segments.iter_mut().find(|segment| segment.state == State::Idle)?;
        idle.state = State::Searching(id);
        Some(Work::FindBoundary { range: idle.range.clone(), rows })
    }

    fn chunk_rows(&self, chunk_bytes: u64) -> u64 {
        let measured =
            (self.measured_rows >= MEASURED_ROWS).then(|| self.measured_bytes / self.measured_rows);
        let row_bytes = measured.unwrap_or(self.row_bytes_estimated).max(1);
        (chunk_bytes / row_bytes).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1)
    }

    pub(super) fn published(&mut self, id: OrderId, last_key: Vec<KeyValue>, rows: u64, bytes: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.state == State::Reading(id)) {
            segment.range.after = Some(last_key);
            self.rows_read += rows;
            self.measured_rows += rows;
            self.measured_bytes += bytes;
        }
    }

    pub(super) fn answer(&mut self, id: OrderId, answer: Answered) {
        if self.end_search == Some(id) {
            self.end_search = None;
            if let Answered::End(key) = answer {
                self.cap(key);
            }
            return;
        }
        let Some(place) = self.place_of(id) else { return };
        let Some(segment) = self.segments.get_mut(place) else { return };
        match (segment.state, answer) {
            (State::Reading(_), Answered::Finished) => {
                self.segments.remove(place);
            }
            (State::Reading(_), _) => segment.state = State::Ready,
            (_, Answered::Boundary(Some(key))) if segment.range.through.as_ref() != Some(&key) => {
                let through = Some(key);
                let after = segment.range.after.take();
                segment.range.after.clone_from(&through);
                segment.state = State::Idle;
                let chunk = Segment { range: KeyRange { after, through }, state: State::Ready };
                self.segments.insert(place, chunk);
            }
            (_, Answered::Boundary(_)) => segment.state = State::Ready,
            _ => segment.state = State::Idle,
        }
    }

    /// The table's largest key is known; without one there is nothing to read.
    fn cap(&mut self, key: Option<Vec<KeyValue>>) {
        match (key, self.segments.last_mut()) {
            (Some(key), Some(last)) => last.range.through = Some(key),
            (None, _) => {
                self.segments.pop();
            }
            (Some(_), None) => {}
        }
    }

    fn place_of(&self, id: OrderId) -> Option<usize> {
        let mine = |segment: &Segment| match segment.state {
            State::Searching(other) | State::Reading(other) => other == id,
            State::Idle | State::Ready => false,
        };
        self.segments.iter().position(mine)
    }

    /// True if nothing remains.
    pub(super) fn is_read(&self) -> bool {
        self.segments.is_empty()
    }

    /// What to store. Segments that touch are stored as one: where one ends is only a plan.
    pub(super) fn progress(&self) -> TableProgress {
        let mut remaining: Vec<KeyRange> = Vec::new();
        for segment in &self.segments {
            match remaining.last_mut() {
                Some(last) if last.through.is_some() && last.through == segment.range.after => {
                    last.through.clone_from(&segment.range.through);
                }
                _ => remaining.push(segment.range.clone()),
            }
        }
        TableProgress {
            format: FORMAT_VERSION,
            generation: self.generation,
            phase: self.phase,
            rows_read: self.rows_read,
            rows_estimated: self.rows_estimated,
            remaining,
            consistent_after: self.consistent_after.clone(),
            seen: None,
        }
    }
}
