//! Making room for the next frame: opening a log that was closed cleanly, beginning a new segment, reserving
//! space.
//!
//! Nothing is sequenced before there is room for it, so a disk that is full refuses an append and leaves
//! nothing to take back.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::completion::Wakes;
use crate::error::{Error, ErrorCode};
use crate::limits::SEGMENT_INDEX_BYTES_MAX;

use super::Log;
use super::append::Append;
use super::entry::Kind;
use super::error::{Fault, is_full};
use super::frame::{self, FRAME_HEADER_BYTES, MARK_OPENED};
use super::pair::Scope;
use super::quota::Purpose;
use super::recovery::Place;
use super::seal::{self, Sealed};
use super::segment::{self, ActiveSegment, SegmentHeader};
use super::set;
use super::shared::Shared;
use super::snapshot::Snapshot;
#[cfg(test)]
use super::tests::mutant;
use super::writer::Writer;

/// What is left over at the end of a segment: this part of it, and so many bytes at most.
const SPARE_PART: u64 = 64;
const SPARE_BYTES_MAX: usize = 16 * 1_024;

/// Why an append is not staged.
pub(super) enum Refused {
    /// It alone is refused.
    Append(Error),
    /// The log has to stop.
    Log(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Log(fault)
    }
}

impl Log {
    /// Bytes at which a segment rolls.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.shared.options.segment_bytes
    }

    /// Age, ms, from which on a segment rolls when it is looked at for that.
    #[must_use]
    pub fn segment_ms(&self) -> i64 {
        self.shared.segment_ms.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Sees to it that a frame has space behind what is staged: opens a log that was closed cleanly, rolls the
    /// segment, reserves. Some bytes are left over in every segment, and only what gives space back may use
    /// them: so a disk that is full can be emptied.
    pub(super) fn make_room(
        &mut self,
        log: &Shared,
        append: &Append,
        time_ms: i64,
        wakes: &mut Wakes,
    ) -> Result<(), Refused> {
        self.open_unopened(log, time_ms)?;
        let mut len = FRAME_HEADER_BYTES + append.payload.len();
        let mut purpose = Purpose::GivesSpace;
        if !gives_space(append.kind, &append.payload) {
            len += spare_bytes(log);
            purpose = Purpose::Data;
            log.check_active().map_err(Refused::Append)?;
        }
        let is_full = !self.active.has_room(len, log.options.segment_bytes)
            || log.index.active_bytes() >= SEGMENT_INDEX_BYTES_MAX;
        if is_full || self.is_aged(log, time_ms) {
            // What is staged counts once it is written.
            self.write_staged(log, wakes)?;
            // The room of cleaning is not for one that is only old.
            let purpose = if is_full { purpose } else { Purpose::Data };
            let has_room = log.check_roll(len, purpose).map_err(Refused::Append);
            match has_room.and_then(|()| self.roll(log, time_ms)) {
                // A segment that is only old goes on where there is no room for another.
                Err(Refused::Append(_)) if !is_full => {}
                rolled => rolled?,
            }
        }
        self.reserve(log, len)
    }

    /// Whether the active segment holds frames, the first of them older than a segment may be.
    pub(super) fn is_aged(&self, log: &Shared, time_ms: i64) -> bool {
        let age_ms = time_ms.saturating_sub(self.active_since_ms);
        self.active.position > segment::SEGMENT_HEADER_BYTES as u64
            && age_ms >= log.segment_ms.load(Ordering::Relaxed)
    }

    /// Begins the next segment if the active one has reached its age. All that was queued before is written.
    ///
    /// # Errors
    /// What stops the log.
    pub(super) fn roll_aged(&mut self, log: &Shared) -> Result<(), Fault> {
        let time_ms = (log.options.clock)();
        if !self.is_written || !self.is_aged(log, time_ms) {
            return Ok(());
        }
        if log.check_roll(0, Purpose::Data).is_err() {
            return Ok(());
        }
        self.try_roll(log, time_ms)
    }

    /// Begins the next segment for the snapshot that is taken there, if the active one holds anything: also where
    /// the log is at its limit, since nothing can be given back without.
    ///
    /// # Errors
    /// What stops the log.
    pub(super) fn roll_for_snapshot(&mut self, log: &Shared) -> Result<(), Fault> {
        if !self.is_written || self.active.position <= segment::SEGMENT_HEADER_BYTES as u64 {
            return Ok(());
        }
        log.keeper.want_snapshot();
        if log.check_roll(0, Purpose::GivesSpace).is_err() {
            log.close_next();
        }
        self.try_roll(log, (log.options.clock)())
    }

    fn try_roll(&mut self, log: &Shared, time_ms: i64) -> Result<(), Fault> {
        match self.roll(log, time_ms) {
            Err(Refused::Log(fault)) => Err(fault),
            // No space for it: the segment stays as it is.
            Ok(()) | Err(Refused::Append(_)) => Ok(()),
        }
    }

    pub(super) fn reserve(&mut self, log: &Shared, len: usize) -> Result<(), Refused> {
        let end = self.active.position + frame::padded(len as u64);
        match self.active.reserve(end, log.options.segment_bytes) {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                let lacking = self.active.lacks(end);
                Err(Refused::Append(disk_full(log, lacking)))
            }
            Err(error) => Err(Refused::Log(error.into())),
        }
    }

    /// After a clean close: makes durable what opening found, and says that the log is open, before the
    /// first append is acknowledged or readable.
    fn open_unopened(&mut self, log: &Shared, time_ms: i64) -> Result<(), Refused> {
        let Some(found) = &mut self.unopened else {
            return Ok(());
        };
        let place = Place {
            storage: log.storage.as_ref(),
            dir: &log.dir,
            log_uuid: &log.log_uuid,
        };
        found.rewrite(place).map_err(Fault::from)?;
        self.reserve(log, FRAME_HEADER_BYTES)?;
        #[cfg(test)]
        if mutant::is(mutant::Mutant::OpenedUnsaid) {
            self.unopened = None;
            return Ok(());
        }
        self.write_mark(log, MARK_OPENED, time_ms)?;
        self.active.file.sync().map_err(Fault::from)?;
        self.unopened = None;
        self.is_written = true;
        Ok(())
    }

    /// Begins the next segment. Nothing is synced here: the sync thread does it, in order.
    fn roll(&mut self, log: &Shared, time_ms: i64) -> Result<(), Refused> {
        let header = SegmentHeader {
            log_uuid: log.log_uuid,
            segment: self.next_segment,
            first_index: self.last_index + 1,
            previous_index: self.last_index,
            previous_term: self.term,
            durable: log.syncer.synced(),
            created_ms: time_ms,
            incarnation: self.term,
            ..SegmentHeader::default()
        };
        self.next_segment += 1;
        let file = match segment::create(log.storage.as_ref(), &log.dir, &header) {
            Ok(file) => file,
            Err(error) => return Err(self.undo_roll(log, header.segment, error)),
        };
        let sealed = Sealed {
            segment: self.active.segment,
            file: Arc::clone(&self.active.file),
            end: self.active.position,
            last_index: self.last_index,
            term: self.term,
        };
        let start = segment::SEGMENT_HEADER_BYTES as u64;
        self.active = ActiveSegment::new(Arc::clone(&file), &header, start, start, log.is_durable);
        self.active_file.seal(self.last_index);
        self.take_snapshot(log, &header, sealed.end);
        self.active_file = log
            .files
            .add(header.segment, header.first_index, start, Some(file));
        self.active_since_ms = time_ms;
        log.index.roll(header.segment, header.first_index);
        if log.is_durable {
            log.syncer.roll(sealed, Arc::clone(&self.active.ahead));
        } else {
            seal::seal(log, &sealed).map_err(Fault::from)?;
        }
        log.look_at_quota();
        Ok(())
    }

    /// Copies the state as of the new segment's first index, if a snapshot is worth it.
    fn take_snapshot(&mut self, log: &Shared, header: &SegmentHeader, bytes: u64) {
        let least_bytes = log.options.snapshot_least_bytes;
        let most_bytes = log.snapshot_most_bytes();
        if !log.is_durable || !log.keeper.wants_snapshot(bytes, least_bytes, most_bytes) {
            return;
        }
        let mut pairs = self.pairs(Scope::All);
        pairs.extend(log.machine.pairs(Scope::All));
        log.keeper.set_snapshot(Snapshot {
            log_uuid: log.log_uuid,
            segment: header.segment,
            index: header.previous_index,
            term: header.previous_term,
            pairs,
        });
    }

    /// A segment that could not be created whole must not be there when the log goes on in the old one: its
    /// header would cut what comes.
    fn undo_roll(&self, log: &Shared, segment: u64, error: std::io::Error) -> Refused {
        if error.kind() == ErrorKind::AlreadyExists {
            // Not ours: whoever made it, it is not to be removed, nor written past.
            return Refused::Log(error.into());
        }
        let is_gone = match log.storage.unlink(&segment::path(&log.dir, segment)) {
            Ok(()) => log.storage.sync_dir(&log.dir).is_ok(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if is_gone && is_full(&error) {
            Refused::Append(disk_full(log, segment::SEGMENT_HEADER_BYTES as u64))
        } else {
            Refused::Log(error.into())
        }
    }
}

impl Shared {
    /// Rolls the active segment if it has reached its age.
    pub(super) fn roll_aged(self: &Arc<Self>) {
        self.roll_by(|writer| writer.roll_aged(self));
    }

    /// Rolls the active segment, and has a snapshot taken where the next one begins.
    pub(super) fn roll_for_snapshot(self: &Arc<Self>) {
        self.roll_by(|writer| writer.roll_for_snapshot(self));
        self.syncer.hurry();
    }

    fn roll_by(self: &Arc<Self>, roll: impl FnOnce(&mut Writer) -> Result<(), Fault>) {
        let mut wakes = Wakes::new();
        if self.queue.refusal().is_none()
            && let Err(fault) = self.with_writer(roll)
        {
            self.fence(&fault, &mut wakes);
        }
    }
}

/// Bytes at the end of a segment for what gives space back.
pub(super) fn spare_bytes(log: &Shared) -> usize {
    let part = log.options.segment_bytes / SPARE_PART;
    usize::try_from(part).map_or(SPARE_BYTES_MAX, |part| part.min(SPARE_BYTES_MAX))
}

/// Whether an entry does nothing but make records dead, or forget.
pub(super) fn gives_space(kind: Kind, payload: &[u8]) -> bool {
    match kind {
        Kind::LogStart | Kind::TopicDelete | Kind::ProducerExpire => true,
        Kind::Set => set::parts(payload).is_ok_and(|parts| {
            let mut parts = parts.iter();
            parts.all(|part| gives_space(part.kind, part.payload))
        }),
        _ => false,
    }
}

/// What an appender is told for whose frame a file would have to grow by `bytes`.
fn disk_full(log: &Shared, bytes: u64) -> Error {
    let mut message = format!(
        "the disk has no room for {bytes} more bytes of log {}",
        log.dir
    );
    if let Some(free) = log.storage.free_bytes() {
        // With enough of it free, a quota or the file system's own needs stand against it.
        let missing = bytes.saturating_sub(free);
        message.push_str(&format!(": {free} are free, {missing} are missing"));
    }
    Error::new(ErrorCode::DiskFull, message)
}
