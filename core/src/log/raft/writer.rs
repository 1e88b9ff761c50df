//! Everything that changes a group's log.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::control::Vote;
use super::segments::{self, At, Segment, Segments, Step};
use super::{EntryId, Home, RaftEntry, RaftState};
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::limits::{BATCH_BYTES_MAX, CONTROL_BYTES_MAX, SET_BYTES_MAX, WRITE_GROUP_BYTES_MAX};
use crate::log::entry::Kind;
use crate::log::error::{Fault, invalid};
use crate::log::frame::{FRAME_HEADER_BYTES, FrameHeader, MARK_CLOSED, PAYLOAD_VERSION};
use crate::log::mark::{MARK_BYTES, Mark};
use crate::log::order::Order;
use crate::log::segment::{self, ActiveSegment};
#[cfg(test)]
use crate::log::tests::mutant;
use crate::log::{rebuild, replay};

pub(super) struct Writer {
    pub(super) home: Home,
    pub(super) segments: Segments,
    pub(super) active: ActiveSegment,
    pub(super) next_segment: u64,
    /// Of the last frame.
    pub(super) order: Order,
    /// The last entry, or the last one purged.
    pub(super) last: EntryId,
    pub(super) vote: Vote,
    /// Entries up to here are durable.
    pub(super) synced: u64,
    /// Whether anything was written since the last sync.
    pub(super) is_dirty: bool,
    /// The highest term of any frame there ever was, and of any vote.
    pub(super) reached: u32,
    /// Why nothing is possible any more.
    pub(super) ended: Option<Error>,
}

impl Writer {
    pub(super) const fn state(&self) -> RaftState {
        RaftState {
            last: self.last,
            synced: self.synced,
            vote: self.vote,
        }
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.list.len()
    }

    pub(super) fn append(&mut self, previous: EntryId, entries: &[RaftEntry]) -> Result<()> {
        self.check_open()?;
        if previous != self.last {
            let last = self.last;
            return Err(refused(format!(
                "entries behind {previous:?} do not follow on {last:?}"
            )));
        }
        let mut order = self.order;
        for entry in entries {
            check(entry, &mut order)?;
        }
        self.run(|writer| writer.write(entries))
    }

    pub(super) fn sync(&mut self) -> Result<u64> {
        self.check_open()?;
        self.run(Self::sync_active)?;
        Ok(self.synced)
    }

    pub(super) fn truncate(&mut self, to: EntryId) -> Result<()> {
        self.check_open()?;
        if to.index >= self.last.index {
            return Ok(());
        }
        let Vote {
            purged, committed, ..
        } = self.vote;
        if to.index < purged.index.max(committed.index) {
            return Err(refused(format!(
                "entries behind {to:?} are purged up to {purged:?}, committed up to {committed:?}"
            )));
        }
        let cut = self.segments.cut(&self.home, to.index)?;
        let cut = cut.filter(|cut| cut.entry_term.is_none_or(|term| term == to.term));
        let Some(cut) = cut else {
            return Err(refused(format!("{to:?} is not an entry of this log")));
        };
        self.run(|writer| {
            #[cfg(test)]
            if mutant::is(mutant::Mutant::TruncateInPlace)
                && cut.at.segment + 1 == writer.segment_count()
            {
                writer.truncate_in_place(to, cut);
                return Ok(());
            }
            // What stays is durable before the header says so.
            writer.sync_active()?;
            writer.seal_active()?;
            writer.begin(cut.order)?;
            writer.last = to;
            writer.remove_behind(cut.at, to.index)
        })
    }

    pub(super) fn save_vote(&mut self, term: u32, node: u64, is_committed: bool) -> Result<()> {
        self.check_open()?;
        let known = self.vote;
        let (found, least) = ((term, is_committed), (known.term, known.is_committed));
        if found < least || (found == least && node != known.node) || !is_term(term) {
            return Err(refused(format!(
                "a vote in term {term} for node {node} does not follow on {known:?}"
            )));
        }
        let vote = Vote {
            term,
            node,
            is_committed,
            ..known
        };
        self.run(|writer| {
            writer.write_vote(vote)?;
            #[cfg(test)]
            if mutant::is(mutant::Mutant::VoteUnsynced) {
                return Ok(());
            }
            writer.sync_active()
        })
    }

    pub(super) fn save_committed(&mut self, committed: EntryId) -> Result<()> {
        self.check_open()?;
        if committed.index <= self.vote.committed.index {
            return Ok(());
        }
        let vote = Vote {
            committed,
            ..self.vote
        };
        self.run(|writer| writer.write_vote(vote))
    }

    pub(super) fn purge(&mut self, to: EntryId) -> Result<()> {
        self.check_open()?;
        let purged = self.vote.purged;
        let is_new_term = to.index == purged.index && purged.term == 0 && to.term > 0;
        if to.index <= purged.index && !is_new_term {
            return Ok(());
        }
        let vote = Vote {
            purged: to,
            ..self.vote
        };
        self.run(|writer| {
            writer.write_vote(vote)?;
            #[cfg(test)]
            let vote = mutant::is(mutant::Mutant::PurgedAhead).then(|| writer.remove_front());
            #[cfg(test)]
            vote.unwrap_or(Ok(()))?;
            writer.sync_active()?;
            if to.index >= writer.last.index {
                writer.last = to;
            }
            if to.index > writer.order.index {
                writer.seal_active()?;
                writer.begin(Order {
                    index: to.index,
                    term: to.term,
                })?;
            }
            writer.remove_front()
        })
    }

    pub(super) fn read(&mut self, from: u64, end: u64, max_bytes: usize) -> Result<Vec<RaftEntry>> {
        let from = from.max(self.vote.purged.index.saturating_add(1));
        let end = end.min(self.last.index.saturating_add(1));
        let mut found = Vec::new();
        let mut bytes = 0;
        if from >= end {
            return Ok(found);
        }
        self.segments
            .walk(&self.home, from, &mut |_, header, payload| {
                let kind = header.known_kind().filter(|kind| kind.takes_index());
                let Some(kind) = kind.filter(|_| header.index >= from) else {
                    return Step::Go;
                };
                if header.index >= end {
                    return Step::Stop;
                }
                bytes += payload.len();
                found.push(RaftEntry {
                    id: EntryId {
                        term: header.term,
                        index: header.index,
                    },
                    kind,
                    partition: header.partition_id(),
                    payload: Bytes::copy_from_slice(payload),
                });
                if bytes >= max_bytes || header.index + 1 >= end {
                    return Step::Stop;
                }
                Step::Go
            })?;
        Ok(found)
    }

    pub(super) fn close(&mut self) -> Result<()> {
        self.check_open()?;
        self.run(|writer| {
            writer.sync_active()?;
            writer.write_mark(MARK_CLOSED)?;
            writer.seal_active()
        })?;
        self.ended = Some(Error::new(ErrorCode::Closed, "the log is closed"));
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    /// Does something with files; if that fails, the log has ended.
    fn run<T>(&mut self, action: impl FnOnce(&mut Self) -> io::Result<T>) -> Result<T> {
        action(self).map_err(|error| {
            let fault = Fault::from(error);
            self.ended = Some(fault.error(Outcome::NotDone));
            fault.error(Outcome::Unknown)
        })
    }

    fn write(&mut self, entries: &[RaftEntry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            let len = FRAME_HEADER_BYTES + entry.payload.len();
            if self.is_roll_wanted(len) {
                self.flush(&mut bytes)?;
                self.roll()?;
            }
            let header = frame_of(entry, self.synced, self.home.now_ms());
            let (seed, position) = (self.active.seed, self.active.position);
            segments::push_frame(&mut bytes, seed, position, header, &entry.payload);
            self.active.position += header.padded_bytes();
            self.last = entry.id;
            self.order = Order {
                index: entry.id.index,
                term: entry.id.term,
            };
            self.reached = self.reached.max(entry.id.term);
            if bytes.len() >= WRITE_GROUP_BYTES_MAX {
                self.flush(&mut bytes)?;
            }
        }
        self.flush(&mut bytes)
    }

    /// Writes frames that end where the segment's next one begins.
    fn flush(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.active.position;
        self.active.reserve(end, self.home.options.segment_bytes)?;
        self.is_dirty = true;
        let start = end - bytes.len() as u64;
        self.active.file.write_at(&[IoSlice::new(bytes)], start)?;
        bytes.clear();
        self.note_end();
        Ok(())
    }

    /// Writes a VOTE; durable with the next sync.
    fn write_vote(&mut self, vote: Vote) -> io::Result<()> {
        self.vote = vote;
        self.reached = self.reached.max(vote.term).max(vote.purged.term);
        self.order.term = self.order.term.max(1);
        let time_ms = self.home.now_ms();
        let (header, payload) = segments::vote_frame(&vote, self.order, self.synced, time_ms)?;
        if self.is_roll_wanted(header.len as usize) {
            // The segment begins with it.
            return self.roll();
        }
        let (seed, position) = (self.active.seed, self.active.position);
        let mut bytes = Vec::new();
        segments::push_frame(&mut bytes, seed, position, header, &payload);
        self.active.position += header.padded_bytes();
        self.flush(&mut bytes)
    }

    /// Writes a MARK, which vouches for everything: all of it is durable.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn write_mark(&mut self, flags: u8) -> io::Result<()> {
        let end = self.active.position + MARK_BYTES;
        self.active.reserve(end, self.home.options.segment_bytes)?;
        self.order.term = self.order.term.max(1);
        Mark {
            index: self.order.index,
            durable: self.order.index,
            time_ms: self.home.now_ms(),
            term: self.order.term,
            flags,
        }
        .write(&mut self.active)?;
        self.note_end();
        Ok(())
    }

    fn sync_active(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.active.file.sync()?;
            self.is_dirty = false;
        }
        self.synced = self.order.index;
        Ok(())
    }

    /// The active segment has got as far as its position.
    pub(super) fn note_end(&mut self) {
        if let Some(active) = self.segments.list.back_mut() {
            active.end = self.active.position;
        }
    }

    /// Whether a frame of `len` bytes belongs into a new segment: not if this one holds no entry yet.
    fn is_roll_wanted(&self, len: usize) -> bool {
        let active = self.segments.list.back();
        let is_empty = active.is_some_and(|it| it.header.previous_index == self.order.index);
        !is_empty && !self.active.has_room(len, self.home.options.segment_bytes)
    }

    fn roll(&mut self) -> io::Result<()> {
        self.sync_active()?;
        self.seal_active()?;
        self.begin(self.order)
    }

    /// Ends the active segment's file with its data, durably.
    fn seal_active(&self) -> io::Result<()> {
        self.active.file.truncate(self.active.position)?;
        self.active.file.sync()
    }

    /// Begins a segment behind `at`, and goes on in it. Everything up to there is durable.
    fn begin(&mut self, at: Order) -> io::Result<()> {
        let number = self.next_segment;
        let begun = segments::begin(&self.home, number, at, &self.vote, self.reached)?;
        self.next_segment = number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("there is no number for another segment"))?;
        self.order = begun.order;
        self.synced = at.index;
        self.is_dirty = false;
        let segment = Segment::new(begun.header, begun.active.position);
        self.segments.list.push_back(segment);
        self.active = begun.active;
        Ok(())
    }

    /// Removes what is behind `at`, but for the segment that has just begun: shortens the one, deletes the
    /// later ones, newest first.
    fn remove_behind(&mut self, at: At, index: u64) -> io::Result<()> {
        let Some(begun) = self.segments.list.pop_back() else {
            return Ok(());
        };
        let removed = self.segments.list.split_off(at.segment + 1);
        if let Some(last) = self.segments.list.back_mut() {
            let path = segment::path(&self.home.dir, last.header.segment);
            let file = self.home.storage.open(&path, false)?;
            file.truncate(at.position)?;
            file.sync()?;
            last.shorten(index, at.position);
        }
        self.segments.list.push_back(begun);
        for segment in removed.iter().rev() {
            let path = segment::path(&self.home.dir, segment.header.segment);
            self.home.storage.unlink(&path)?;
        }
        if !removed.is_empty() {
            self.home.storage.sync_dir(&self.home.dir)?;
        }
        Ok(())
    }

    /// A bug: what is cut is written over, and nothing else.
    #[cfg(test)]
    fn truncate_in_place(&mut self, to: EntryId, cut: segments::Cut) {
        self.active.position = cut.at.position;
        (self.order, self.last, self.synced) = (cut.order, to, to.index);
        if let Some(active) = self.segments.list.back_mut() {
            active.shorten(to.index, cut.at.position);
        }
    }

    /// Removes the segments at the front of which everything is purged, each removal durable before the next.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn remove_front(&mut self) -> io::Result<()> {
        while let Some(second) = self.segments.list.get(1)
            && second.header.previous_index <= self.vote.purged.index
            && let Some(first) = self.segments.list.pop_front()
        {
            let path = segment::path(&self.home.dir, first.header.segment);
            self.home.storage.unlink(&path)?;
            self.home.storage.sync_dir(&self.home.dir)?;
        }
        Ok(())
    }
}

/// Whether an entry may come next; as strict as the recovery that will read it.
///
/// # Errors
/// `InvalidArgument`, `MessageTooLarge`, `CorruptMessage`.
fn check(entry: &RaftEntry, order: &mut Order) -> Result<()> {
    let EntryId { term, index } = entry.id;
    if order.index.checked_add(1) != Some(index) || term < order.term || !is_term(term) {
        return Err(refused(format!(
            "{:?} does not follow on {order:?}",
            entry.id
        )));
    }
    *order = Order { index, term };
    let kind = entry.kind;
    if !kind.takes_index() || !(kind.is_supported() || kind.is_of_group()) {
        return Err(refused(format!("{} is not an entry", kind.name())));
    }
    let (len, max) = (entry.payload.len(), largest(kind));
    if len > max {
        return Err(Error::new(
            ErrorCode::MessageTooLarge,
            format!(
                "a {} entry has {len} bytes; the limit is {max}",
                kind.name()
            ),
        ));
    }
    let parts = rebuild::parts_of(kind, &frame_of(entry, 0, 0), &entry.payload);
    for part in &parts.map_err(|error| invalid(&error))? {
        replay::effect_of(part).map_err(|error| invalid(&error))?;
    }
    Ok(())
}

fn frame_of(entry: &RaftEntry, durable: u64, time_ms: i64) -> FrameHeader {
    FrameHeader {
        // What is longer was refused.
        len: (FRAME_HEADER_BYTES + entry.payload.len()) as u32,
        crc: 0,
        index: entry.id.index,
        durable,
        time_ms,
        term: entry.id.term,
        partition: entry.partition.0,
        kind: entry.kind.number(),
        flags: 0,
        version: PAYLOAD_VERSION,
        reserved: 0,
    }
}

const fn largest(kind: Kind) -> usize {
    match kind {
        Kind::Records => BATCH_BYTES_MAX,
        Kind::Set => SET_BYTES_MAX,
        _ => CONTROL_BYTES_MAX,
    }
}

const fn is_term(term: u32) -> bool {
    term > 0 && term <= i32::MAX as u32
}

fn refused(message: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, message)
}
