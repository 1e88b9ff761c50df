//! Where a host is in the block it reads: which row comes next, and which rows it has passed.
//!
//! A row is passed when the next is asked for. Core is told at the end of a block, and inside one
//! about every 100 ms: a clock is read every [`ROWS_PER_CLOCK`] rows only, so a quick loop costs a
//! compare per row; a loop slower than that reads it at every row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::client::Progress;

use crate::block::Block;
use crate::record::{Batch, Msg};

/// How often core is told inside a block, at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Rows between two looks at the clock, while rows are quick.
const ROWS_PER_CLOCK: u32 = 16;
/// Rows that take longer than this are slow: the clock is read at each.
const SLOW: Duration = Duration::from_millis(10);

/// A place in a block.
pub(crate) struct Cursor {
    block: Option<Arc<Block>>,
    /// The next row to hand out, and the run it is in.
    row: u32,
    run: u32,
    run_end: u32,
    end: u32,
    /// Rows before this one are passed.
    passed: u32,
    next_clock: u32,
    last_clock: Instant,
    last_progress: Instant,
    /// Runs whose remaining rows are left out: they belong to another member, or were sought away.
    skipped: Vec<u32>,
}

impl Cursor {
    /// A cursor without a block.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            block: None,
            row: 0,
            run: 0,
            run_end: 0,
            end: 0,
            passed: 0,
            next_clock: 0,
            last_clock: now,
            last_progress: now,
            skipped: Vec::new(),
        }
    }

    /// Goes to the first row of `block`.
    pub(crate) fn start(&mut self, block: Arc<Block>) {
        let now = Instant::now();
        let run_end = block.runs.first().map_or(0, |run| run.end_row);
        *self = Self {
            end: block.len,
            run_end,
            next_clock: ROWS_PER_CLOCK,
            last_clock: now,
            last_progress: now,
            block: Some(block),
            ..Self::new()
        };
    }

    /// Leaves the block: every row is passed, and what is told from now on is about the next one.
    pub(crate) fn leave(&mut self) {
        *self = Self::new();
    }

    /// Rows that are passed: every row that was handed out, but for those in hand. None without a
    /// block.
    pub(crate) fn passed(&self) -> Option<u32> {
        self.block.as_ref().map(|_| self.passed)
    }

    /// Every row handed out is passed; `tell` is called when core is due to hear of it.
    #[inline]
    pub(crate) fn pass(&mut self, tell: impl FnOnce(u32) -> Progress) {
        self.passed = self.row;
        if self.row >= self.next_clock {
            self.look_at_clock(tell);
        }
    }

    /// The block, and how many of its rows were handed out, those in hand among them.
    pub(crate) fn handed_out(&self) -> Option<(Arc<Block>, u32)> {
        let block = self.block.as_ref()?;
        Some((Arc::clone(block), self.row))
    }

    /// So many rows of `block` are passed, if it is still the one that is read.
    pub(crate) fn pass_rows(&mut self, block: &Arc<Block>, rows: u32) {
        if self.is_at(block) {
            self.passed = self.passed.max(rows);
        }
    }

    /// The next row, none at the end of the block.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Msg> {
        if self.row >= self.run_end && !self.next_run() {
            return None;
        }
        let block = Arc::clone(self.block.as_ref()?);
        let msg = Msg {
            block,
            row: self.row,
            run: self.run,
        };
        self.row += 1;
        Some(msg)
    }

    /// The next rows, at most `max`, none at the end of the block.
    pub(crate) fn next_batch(&mut self, max: u32) -> Option<Batch> {
        if self.row >= self.run_end && !self.next_run() {
            return None;
        }
        let block = Arc::clone(self.block.as_ref()?);
        // A run that is left out ends the batch, so that its rows are none of the batch's.
        let mut end = self.run_end;
        while end - self.row < max && self.next_run_is_wanted() {
            self.enter_run(self.run + 1);
            end = self.run_end;
        }
        let end_row = end.min(self.row.saturating_add(max));
        let batch = Batch {
            block,
            first_row: self.row,
            end_row,
        };
        self.row = end_row;
        self.run = batch.block.run_of(end_row.saturating_sub(1));
        self.run_end = batch
            .block
            .runs
            .get(self.run as usize)
            .map_or(0, |run| run.end_row);
        Some(batch)
    }

    /// Leaves out the remaining rows of a run.
    pub(crate) fn skip_run(&mut self, run: u32) {
        self.skipped.push(run);
        if run == self.run {
            self.row = self.row.max(self.run_end);
        }
    }

    /// Leaves out the remaining rows of a partition.
    pub(crate) fn skip_partition(&mut self, topic: &str, partition: i32) {
        let Some(block) = self.block.clone() else {
            return;
        };
        for (index, run) in block.runs.iter().enumerate().skip(self.run as usize) {
            if run.partition == partition && *run.topic_name == *topic {
                self.skip_run(index as u32);
            }
        }
    }

    /// Whether `block` is the one that is being read.
    pub(crate) fn is_at(&self, block: &Arc<Block>) -> bool {
        self.block
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, block))
    }

    fn next_run(&mut self) -> bool {
        while self.run_end < self.end {
            self.enter_run(self.run + 1);
            if !self.skipped.contains(&self.run) {
                self.row = self.row.max(self.first_row_of_run());
                return true;
            }
        }
        self.row = self.end;
        false
    }

    fn next_run_is_wanted(&self) -> bool {
        self.run_end < self.end && !self.skipped.contains(&(self.run + 1))
    }

    fn enter_run(&mut self, run: u32) {
        self.run = run;
        let block = self.block.as_ref();
        let found = block.and_then(|block| block.runs.get(run as usize));
        self.run_end = found.map_or(self.end, |run| run.end_row);
    }

    fn first_row_of_run(&self) -> u32 {
        let block = self.block.as_ref();
        block
            .and_then(|block| block.runs.get(self.run as usize))
            .map_or(0, |run| run.first_row)
    }

    #[cold]
    fn look_at_clock(&mut self, tell: impl FnOnce(u32) -> Progress) {
        let now = Instant::now();
        let is_slow = now.duration_since(self.last_clock) >= SLOW;
        self.next_clock = self.row + if is_slow { 1 } else { ROWS_PER_CLOCK };
        self.last_clock = now;
        if self.block.is_some() && now.duration_since(self.last_progress) >= PROGRESS_EVERY {
            self.last_progress = now;
            if let Progress::Skip(run) = tell(self.passed) {
                self.skip_run(run);
            }
        }
    }
}
