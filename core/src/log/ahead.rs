//! What lies ahead of the writer in the segment it writes to: space that is reserved, and zeros that are
//! written. The writer and the sync thread meet here, and neither waits for the other's disk.
//!
//! ```text
//! frames       written    granted          zeros             reserved
//! |==============|...........|================|~~~~~~~~~~~~~~~~~~|
//! ```
//!
//! **Zeros never replace a frame.** The writer writes nothing at or beyond `granted`, which only rises, and
//! which it raises by [`Ahead::claim`] before it writes. Zeros are written in pieces, each from `granted` or
//! beyond, and while one is being written `zeroing` says from where: nothing is granted beyond that until
//! the piece is written. Both are decided under one lock, which is held over no call to the disk; the writer
//! waits for a piece at most, never for a sync.
//!
//! The file is made longer by one thread at a time (`growing`): the fallback of some systems sets a length,
//! and would cut what another has added. After [`Ahead::end`] nobody but the writer touches the file.
//!
//! Blocks that were written before are synced without a commit of the file system's journal; that is what
//! the zeros are for. Nothing depends on them: to an open they are reserved space.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::{Condvar, Mutex};

use super::error::is_full;
use super::storage::StorageFile;
#[cfg(test)]
use super::tests::mutant::{self, Mutant};

/// The first step by which space is reserved, and what doubling ends at.
const STEP_BYTES_MIN: u64 = 1_024 * 1_024;
const STEP_BYTES_MAX: u64 = 16 * STEP_BYTES_MIN;

/// What the writer is granted at once, where there are no zeros: a page, of which no part is worth zeros.
const GRANT_BYTES: u64 = 4 * 1_024;

/// Zeros are written in so many pieces. The writer may have to wait for one.
const ZERO_PIECES: u64 = 8;
/// Zeros are written again when this part of them is left.
const ZERO_PART_LEFT: u64 = 4;

/// Where zeros come from.
static ZEROS: [u8; 16 * 1_024] = [0; 16 * 1_024];

/// The active segment's file beyond what is written.
#[derive(Debug)]
pub(super) struct Ahead {
    file: Arc<dyn StorageFile>,
    segment: u64,
    written: AtomicU64,
    /// Held while the file is made longer. Taken before `state`.
    growing: Mutex<()>,
    state: Mutex<State>,
    /// A piece of zeros is written.
    piece_written: Condvar,
    #[cfg(test)]
    mutant: Option<Mutant>,
}

#[derive(Debug)]
struct State {
    /// Up to where the file has been given space.
    reserved: u64,
    /// The next step of reserving.
    step_bytes: u64,
    /// There was no space for the next step.
    is_refused: bool,
    /// Up to where the writer may write.
    granted: u64,
    /// Up to where zeros are written, if that is beyond `granted`.
    zeroed: u64,
    /// From where zeros are being written right now.
    zeroing: Option<u64>,
    /// Zeros could not be written.
    is_zeroing_over: bool,
    is_ended: bool,
}

impl Ahead {
    /// Of a file of `length` bytes whose data ends at `position`.
    pub(super) fn new(
        file: Arc<dyn StorageFile>,
        segment: u64,
        position: u64,
        length: u64,
    ) -> Self {
        Self {
            file,
            segment,
            written: AtomicU64::new(position),
            growing: Mutex::new(()),
            state: Mutex::new(State {
                reserved: length.max(position),
                step_bytes: STEP_BYTES_MIN,
                is_refused: false,
                granted: position,
                zeroed: 0,
                zeroing: None,
                is_zeroing_over: false,
                is_ended: false,
            }),
            piece_written: Condvar::new(),
            #[cfg(test)]
            mutant: mutant::current(),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &dyn StorageFile {
        self.file.as_ref()
    }

    /// The segment's number.
    pub(super) const fn segment(&self) -> u64 {
        self.segment
    }

    /// Where the frames end that are written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Says that everything below `position` is written.
    pub(super) fn set_written(&self, position: u64) {
        self.written.store(position, Ordering::Release);
    }

    /// Up to where the file has been given space.
    pub(super) fn reserved(&self) -> u64 {
        self.state.lock().reserved
    }

    /// Gives the writer the file up to `end`, or beyond, and says up to where. Reserves space for it, if nobody
    /// has yet, in steps that double and not beyond `segment_bytes` unless `end` is.
    ///
    /// # Errors
    /// `StorageFull` when there is no space even for `end` itself; nothing was written then.
    pub(super) fn claim(&self, end: u64, segment_bytes: u64) -> io::Result<u64> {
        let mut state = self.state.lock();
        if end > state.reserved {
            drop(state);
            self.reserve(end, segment_bytes)?;
            state = self.state.lock();
        }
        while state.zeroing.is_some_and(|start| start < end) {
            #[cfg(test)]
            if self.has(Mutant::ZeroesNotAwaited) {
                break;
            }
            self.piece_written.wait(&mut state);
        }
        state.grant(end);
        Ok(state.granted)
    }

    /// What the writer does who has overtaken the sync thread.
    fn reserve(&self, end: u64, segment_bytes: u64) -> io::Result<()> {
        let _growing = self.growing.lock();
        let step = {
            let state = self.state.lock();
            if end <= state.reserved {
                return Ok(());
            }
            state.next_step(segment_bytes).max(end)
        };
        let reserved = match self.file.preallocate(step) {
            Ok(()) => step,
            // Too little for the step may still be enough for the frame.
            Err(error) if is_full(&error) && step > end => {
                self.file.preallocate(end)?;
                end
            }
            Err(error) => return Err(error),
        };
        self.state.lock().extend(reserved, reserved == step);
        Ok(())
    }

    /// Reserves the next step if less than half a step is left. Where there is no space for it nothing is
    /// said: an append that needs it will find out.
    pub(super) fn reserve_next(&self, segment_bytes: u64) {
        let Some(_growing) = self.growing.try_lock() else {
            return;
        };
        let step = {
            let state = self.state.lock();
            let is_low = state.is_low(self.written(), segment_bytes);
            if state.is_ended || state.is_refused || !is_low {
                return;
            }
            state.next_step(segment_bytes)
        };
        match self.file.preallocate(step) {
            Ok(()) => self.state.lock().extend(step, true),
            Err(error) => {
                self.state.lock().is_refused = true;
                tracing::debug!(segment = self.segment, %error, "no space was reserved ahead");
            }
        }
    }

    /// Writes the next `bytes` zeros, if few are left; whether there are any to be synced. `covered` is where
    /// the frames end that are synced. What goes wrong with it ends it for this segment, and harms nobody.
    pub(super) fn write_zeros(&self, bytes: u64, covered: u64) -> bool {
        let end = {
            let state = self.state.lock();
            let left = state.zeroed.saturating_sub(self.written());
            if state.is_zeroing_over || left >= bytes.div_ceil(ZERO_PART_LEFT) {
                return false;
            }
            let start = state.granted.max(state.zeroed);
            start.saturating_add(bytes).min(state.reserved)
        };
        let (mut at, mut is_any) = (covered, false);
        while let Some(piece) = self.begin_piece(at, end, bytes.div_ceil(ZERO_PIECES)) {
            // Whatever comes of it, the writer is not to wait for ever.
            let mut ending = EndPiece {
                ahead: self,
                zeroed: None,
            };
            if let Err(error) = write_zeros(self.file(), &piece) {
                let segment = self.segment;
                tracing::debug!(segment, %error, "no zeros are written ahead in this segment");
                break;
            }
            ending.zeroed = Some(piece.end);
            drop(ending);
            (at, is_any) = (piece.end, true);
        }
        is_any
    }

    /// The next piece, beyond all that was granted; nothing more is granted there until it has ended.
    fn begin_piece(&self, at: u64, end: u64, bytes: u64) -> Option<Range<u64>> {
        let mut state = self.state.lock();
        let start = at.max(state.granted).max(state.zeroed);
        #[cfg(test)]
        let start = if self.has(Mutant::ZeroesUngranted) {
            at
        } else {
            start
        };
        if state.is_ended || start >= end {
            return None;
        }
        state.zeroing = Some(start);
        Some(start..end.min(start + bytes))
    }

    /// Up to where zeros are written, if there ever were any.
    #[cfg(test)]
    pub(super) fn zeroed(&self) -> u64 {
        self.state.lock().zeroed
    }

    /// Whether the log that this belongs to has this bug.
    #[cfg(test)]
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Has the file left alone by all but the writer, and waits until it is.
    pub(super) fn end(&self) {
        let _growing = self.growing.lock();
        let mut state = self.state.lock();
        state.is_ended = true;
        while state.zeroing.is_some() {
            self.piece_written.wait(&mut state);
        }
    }
}

impl State {
    /// Whether less than half a step is left behind `end`, and the segment may have more.
    fn is_low(&self, end: u64, segment_bytes: u64) -> bool {
        // The step that was the last is half the next.
        let half = (self.step_bytes / 4).max(STEP_BYTES_MIN / 2);
        self.reserved < segment_bytes && self.reserved.saturating_sub(end) < half
    }

    /// Grants the writer `end`, the rest of its page as far as that is free, and all zeros that there are.
    fn grant(&mut self, end: u64) {
        let page = end.next_multiple_of(GRANT_BYTES).min(self.reserved);
        let page = page.min(self.zeroing.unwrap_or(u64::MAX));
        let granted = end.max(page).max(self.zeroed);
        self.granted = self.granted.max(granted);
    }

    /// Where the next step ends.
    fn next_step(&self, segment_bytes: u64) -> u64 {
        let step = self.reserved.saturating_add(self.step_bytes);
        step.min(segment_bytes)
    }

    fn extend(&mut self, reserved: u64, is_whole: bool) {
        self.reserved = reserved;
        if is_whole {
            self.step_bytes = (self.step_bytes * 2).min(STEP_BYTES_MAX);
            self.is_refused = false;
        }
    }
}

/// Ends a piece of zeros when dropped; without an end there will be no other.
struct EndPiece<'a> {
    ahead: &'a Ahead,
    zeroed: Option<u64>,
}

impl Drop for EndPiece<'_> {
    fn drop(&mut self) {
        let mut state = self.ahead.state.lock();
        state.zeroing = None;
        match self.zeroed {
            Some(end) => state.zeroed = end,
            None => state.is_zeroing_over = true,
        }
        drop(state);
        self.ahead.piece_written.notify_all();
    }
}

/// Writes zeros over `range`.
fn write_zeros(file: &dyn StorageFile, range: &Range<u64>) -> io::Result<()> {
    let mut left = range.end - range.start;
    let mut slices = Vec::new();
    while left > 0 {
        let count = left.min(ZEROS.len() as u64);
        slices.push(IoSlice::new(&ZEROS[..count as usize]));
        left -= count;
    }
    file.write_at(&slices, range.start)
}
