//! The limit of a folder's bytes: which new segment still fits, and when space has to be given back.
//!
//! Counted are the segments, the one that is written to at its full size, what lies beside them (snapshots and
//! one to come, the checkpoint), and one segment more, in which cleaning moves what lives. Only the beginning of
//! a segment is ever refused: within one there is room for what it was counted with. What gives space back may
//! begin a segment in the room of cleaning; records then wait until that is free again.
//!
//! A log whose next segment does not fit is *tight*: its housekeeper is called, and cleans what it would else
//! leave for later. One whose oldest records may go is set to be tight earlier, so that they are gone in time; and
//! what finds no room there all the same waits in the queue, as long as there is hope of any.
//! A log that is a member of a group looks at none of this.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::completion::Wakes;
use crate::error::{Error, ErrorCode};
use crate::world;

use super::append::Append;
use super::cleaner::RESERVE_NAME;
use super::cold;
use super::frame::padded;
use super::roll::gives_space;
use super::segment::{self, SEGMENT_HEADER_BYTES};
use super::shared::Shared;
use super::snapshot;

/// This part of the limit may be logged before another snapshot is taken: what lies behind the last one cannot
/// be given back.
const SNAPSHOT_PART: u64 = 8;
/// What a checkpoint counts at least.
const CHECKPOINT_BYTES_MIN: u64 = 512 * 1_024;
/// This part of a segment its footer takes, if its index does not take more by now.
const FOOTER_PART: u64 = 8;

/// What is known of a limited log's bytes.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// Bytes of what lies beside the segments, as last measured.
    beside_bytes: AtomicU64,
    /// Bytes that are being moved.
    moving_bytes: AtomicU64,
    /// Bytes of the segment that was refused last; 0 once the housekeeper has seen to it.
    wanted_bytes: AtomicU64,
    /// Whether space has to be given back.
    is_tight: AtomicBool,
    /// Whether the active segment stands in the room of cleaning: nothing but what gives space back may be
    /// written to it.
    is_closed: AtomicBool,
}

/// What wants to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Anything.
    Data,
    /// It does nothing but make records dead, or forget.
    GivesSpace,
}

impl Shared {
    /// Whether space has to be given back.
    pub(super) fn is_tight(&self) -> bool {
        self.quota.is_tight.load(Ordering::Acquire)
    }

    /// Bytes that have to go before the log is no longer tight; 0 if it is not.
    pub(super) fn excess_bytes(&self) -> u64 {
        let Some(limit) = self.limit() else {
            return 0;
        };
        let wanted = self.used_bytes() + self.next_bytes() + self.options.segment_bytes;
        wanted.saturating_sub(limit)
    }

    /// Where the log becomes tight.
    fn limit(&self) -> Option<u64> {
        let limits = [self.options.max_bytes, self.options.tight_bytes];
        limits.into_iter().flatten().min()
    }

    /// Bytes of the next segment: more than others have if what was refused last needs them.
    fn next_bytes(&self) -> u64 {
        let wanted_bytes = self.quota.wanted_bytes.load(Ordering::Acquire);
        wanted_bytes.max(self.options.segment_bytes)
    }

    /// Bytes of a segment that is not as long as its data yet, with a footer.
    fn full_bytes(&self) -> u64 {
        let segment_bytes = self.options.segment_bytes;
        segment_bytes + (segment_bytes / FOOTER_PART).max(self.index.active_bytes() as u64)
    }

    /// Takes room for `bytes` that are written before what they take the place of is gone, beside the room that
    /// is kept for that; until [`end_moving`](Self::end_moving) no segment begins in it. False if there is not as
    /// much.
    pub(super) fn begin_moving(self: &Arc<Self>, bytes: u64) -> bool {
        // Under the writer's lock: no segment begins between looking and taking.
        self.with_writer(|_| {
            self.quota.moving_bytes.store(bytes, Ordering::Release);
            let max_bytes = self.options.max_bytes;
            let wanted = self.used_bytes().saturating_add(self.cleaning_bytes());
            let has_room = max_bytes.is_none_or(|max_bytes| wanted <= max_bytes);
            if !has_room {
                self.end_moving();
            }
            has_room
        })
    }

    /// Takes the room that is kept for moving; false if the active segment stands in it.
    pub(super) fn begin_moving_in_room(self: &Arc<Self>) -> bool {
        self.with_writer(|_| {
            let is_free = self.check_active().is_ok();
            if is_free {
                // Against what gives space back, which may else begin a segment there.
                let room_bytes = self.options.segment_bytes;
                self.quota.moving_bytes.store(room_bytes, Ordering::Release);
            }
            is_free
        })
    }

    /// Whether the active segment stands in the room that is kept for moving.
    pub(super) fn is_room_taken(&self) -> bool {
        self.quota.is_closed.load(Ordering::Acquire)
    }

    /// Gives back the room that was taken.
    pub(super) fn end_moving(&self) {
        self.quota.moving_bytes.store(0, Ordering::Release);
    }

    /// The room that is kept for what is moved, and what is taken for it beside.
    fn cleaning_bytes(&self) -> u64 {
        let moving_bytes = self.quota.moving_bytes.load(Ordering::Acquire);
        self.options.segment_bytes.saturating_add(moving_bytes)
    }

    /// Bytes that may be logged between two snapshots.
    pub(super) fn snapshot_most_bytes(&self) -> u64 {
        let max_bytes = self.options.max_bytes;
        max_bytes.map_or(u64::MAX, |max_bytes| max_bytes / SNAPSHOT_PART)
    }

    /// Bytes of all that is counted but the room of cleaning.
    fn used_bytes(&self) -> u64 {
        let segments = self.files.reserved_bytes(self.full_bytes());
        let leaving = self.keeper.removing.leaving_bytes();
        segments + leaving + self.quota.beside_bytes.load(Ordering::Relaxed)
    }

    /// Whether a frame of `len` bytes may begin a segment.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, with the figures.
    pub(super) fn check_roll(&self, len: usize, purpose: Purpose) -> Result<(), Error> {
        let Some(max_bytes) = self.options.max_bytes else {
            return Ok(());
        };
        let own = SEGMENT_HEADER_BYTES as u64 + padded(len as u64);
        let next = own.max(self.options.segment_bytes);
        let cleaning = self.cleaning_bytes();
        let used = self.used_bytes();
        let wanted = match purpose {
            Purpose::Data => used + next + cleaning,
            Purpose::GivesSpace => used + next + cleaning - self.options.segment_bytes,
        };
        if wanted > max_bytes {
            self.quota.wanted_bytes.store(next, Ordering::Release);
            self.note_tight();
            return Err(self.exceeded(used, wanted - max_bytes));
        }
        if used + next + cleaning > max_bytes {
            self.close_next();
        } else {
            self.quota.is_closed.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// A segment begins in the room that is kept for moving, or without any: nothing but what gives space back may
    /// be written to it, and there is no reserve beside it.
    pub(super) fn close_next(&self) {
        self.quota.is_closed.store(true, Ordering::Release);
        self.give_up_reserve();
    }

    /// Whether anything but what gives space back may be written to the active segment.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, with the figures.
    pub(super) fn check_active(&self) -> Result<(), Error> {
        if !self.is_room_taken() {
            return Ok(());
        }
        let (used, most) = (
            self.used_bytes(),
            self.options.max_bytes.unwrap_or(u64::MAX),
        );
        let wanted = used + self.cleaning_bytes();
        if wanted > most {
            self.note_tight();
            return Err(self.exceeded(used, wanted - most));
        }
        self.quota.is_closed.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether what was refused with this may wait: the oldest records are to make room for it, and could.
    pub(super) fn is_room_made_for(&self, append: &Append, error: &Error) -> bool {
        error.code() == ErrorCode::QuotaExceeded
            && self.options.tight_bytes.is_some()
            && self.queue.is_hopeful(self.next_bytes())
            && !gives_space(append.kind, &append.payload)
            && self.fits_an_empty_log()
    }

    /// Whether what was refused last would fit if all that is sealed were gone.
    fn fits_an_empty_log(&self) -> bool {
        let active_bytes = self.full_bytes();
        let beside_bytes = self.quota.beside_bytes.load(Ordering::Relaxed);
        let wanted = self.next_bytes() + self.options.segment_bytes + active_bytes + beside_bytes;
        self.limit().is_none_or(|limit| wanted <= limit)
    }

    /// Has what found no room wait for the housekeeper, and all behind it; or refuses it if there is no hope any
    /// more.
    pub(super) fn park(
        &self,
        first: Append,
        behind: VecDeque<Append>,
        error: Error,
        wakes: &mut Wakes,
    ) {
        match self.queue.park(first, behind, self.next_bytes()) {
            Ok(()) => self.syncer.set_housekeeping(world::now()),
            Err((first, reason)) => {
                let error = reason.unwrap_or(error);
                first.completion.complete(Err(error), wakes);
            }
        }
    }

    /// Lets in what waits for room; without hope what finds none is refused.
    pub(super) fn let_in(self: &Arc<Self>, is_hopeful: bool) {
        // What was found is about the segment that was wanted, not about a longer one that may be wanted later.
        let hopeless_bytes = if is_hopeful { 0 } else { self.next_bytes() };
        self.quota.wanted_bytes.store(0, Ordering::Release);
        self.queue.let_in(hopeless_bytes);
        self.leave_queued();
    }

    fn exceeded(&self, used_bytes: u64, missing_bytes: u64) -> Error {
        let max_bytes = self.options.max_bytes.unwrap_or_default();
        Error::new(
            ErrorCode::QuotaExceeded,
            format!(
                "log {} holds {used_bytes} bytes of at most {max_bytes} (`max_bytes`), and keeps {} for \
                 cleaning: {missing_bytes} are missing for the next segment; delete records or topics, \
                 shorten their retention, or raise the limit",
                self.dir, self.options.segment_bytes
            ),
        )
    }

    /// Sees whether the log is tight, and calls the housekeeper when it becomes so.
    pub(super) fn look_at_quota(&self) {
        if self.excess_bytes() == 0 {
            self.quota.is_tight.store(false, Ordering::Release);
        } else {
            self.note_tight();
        }
    }

    fn note_tight(&self) {
        // Once: whoever is refused again and again does not have it called as often.
        if !self.quota.is_tight.swap(true, Ordering::AcqRel) {
            self.syncer.set_housekeeping(world::now());
            // What decides how far it may go waits for the newest segment to be durable.
            self.syncer.hurry();
        }
    }

    /// What was found when the log was opened may be more than the limit already.
    pub(super) fn begin_quota(&self) {
        let Some(max_bytes) = self.options.max_bytes else {
            return;
        };
        self.measure_beside();
        let is_closed = self.used_bytes() + self.options.segment_bytes > max_bytes;
        self.quota.is_closed.store(is_closed, Ordering::Release);
        self.look_at_quota();
    }

    /// Measures what lies beside the segments.
    pub(super) fn measure_beside(&self) {
        if self.options.max_bytes.is_none() || !self.is_durable {
            return;
        }
        match self.beside() {
            Ok(bytes) => self.quota.beside_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => {
                crate::seldom!(warn, dir = %self.dir, %error, "what lies beside the segments cannot be measured");
            }
        }
    }

    fn beside(&self) -> io::Result<u64> {
        let (mut all, mut next_snapshot) = (0, 0);
        for name in self.storage.list(&self.dir)? {
            if is_segment(&name) {
                continue;
            }
            let path = format!("{}/{name}", self.dir);
            let length = match self
                .storage
                .open(&path, true)
                .and_then(|file| file.length())
            {
                // It was replaced meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                length => length?,
            };
            if snapshot::segment_of(&name).is_some() {
                all += length;
                next_snapshot = next_snapshot.max(length);
            } else {
                // The checkpoint grows by what it writes before it lets go of what it wrote.
                all += (2 * length).max(CHECKPOINT_BYTES_MIN);
            }
        }
        Ok(all + next_snapshot)
    }
}

/// Whether a file is a segment, on its way to be one, or the room that is kept for one.
fn is_segment(name: &str) -> bool {
    segment::number_of(name).is_some() || cold::is_name(name) || name == RESERVE_NAME
}
