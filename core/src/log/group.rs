//! A write group: the frames that go to the file in one call.
//!
//! Headers, padding and small payloads gather in one buffer; a large payload is written from where it is.
//! What is written stays shared, for the readers at the end of the log.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;

use bytes::Bytes;

use crate::completion::{Completion, Wakes};
use crate::error::Error;
use crate::ids::{Durability, LeaderEpoch, PartitionId};
use crate::record::BatchHeader;

use super::append::{Append, Appended, BatchPlace};
use super::entry::{Entry, Kind, Machine};
use super::frame::{self, CrcSeed, FRAME_HEADER_BYTES, FrameHeader};
use super::index::SegmentIndex;
use super::rebuild;
use super::replay;
use super::sequencer::Sequenced;
use super::set;
use super::storage::StorageFile;

/// Payloads up to this size are copied into the group's buffer: cheaper than a slice of their own.
const INLINE_BYTES_MAX: usize = 4 * 1_024;
/// What the buffer keeps between groups.
const BUFFER_BYTES_KEPT: usize = 256 * 1_024;
/// Appends that vectors keep room for between groups.
pub(super) const APPENDS_KEPT: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Group {
    position: u64,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    staged: Vec<Staged>,
    is_sync_wanted: bool,
    has_frames: bool,
}

/// A run of bytes to write.
#[derive(Debug)]
enum Piece {
    Buffer(Range<usize>),
    Payload(Bytes),
}

/// An append with a place.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) completion: Completion<Appended>,
    pub(super) appended: Appended,
    /// None: a duplicate, of which nothing is written.
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    version: u16,
    partition: PartitionId,
    segment: u64,
    position: u64,
    payload: Bytes,
}

impl Group {
    /// Whether nobody waits for this group.
    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Whether there is anything to write.
    pub(super) const fn has_frames(&self) -> bool {
        self.has_frames
    }

    /// Whether somebody asked for a sync.
    pub(super) const fn is_sync_wanted(&self) -> bool {
        self.is_sync_wanted
    }

    /// Adds a frame at `position`, right behind the last one, and returns the bytes it takes.
    pub(super) fn push(
        &mut self,
        append: Append,
        header: FrameHeader,
        appended: Appended,
        seed: CrcSeed,
        segment: u64,
        position: u64,
    ) -> u64 {
        if !self.has_frames {
            self.position = position;
            self.has_frames = true;
        }
        let Append {
            kind,
            version: _,
            partition,
            payload,
            ack,
            topic,
            log_append_time: _,
            completion,
        } = append;
        self.is_sync_wanted |= ack != Durability::Os || topic != Durability::Os;
        let payload = Bytes::from(payload);
        let header_bytes = frame::seal(header, seed, position, &payload);
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&header_bytes);
        if payload.len() <= INLINE_BYTES_MAX {
            self.buffer.extend_from_slice(&payload);
            self.add_buffer(start);
        } else {
            self.add_buffer(start);
            self.pieces.push(Piece::Payload(payload.clone()));
        }
        let start = self.buffer.len();
        let padding = header.padded_bytes() - u64::from(header.len);
        self.buffer.resize(start + padding as usize, 0);
        self.add_buffer(start);
        let version = header.version;
        let frame = Some(Frame {
            kind,
            version,
            partition,
            segment,
            position,
            payload,
        });
        self.staged.push(Staged {
            completion,
            appended,
            frame,
        });
        header.padded_bytes()
    }

    /// Adds an answer for a batch, or a SET with these, that was appended before.
    pub(super) fn push_duplicate(
        &mut self,
        append: Append,
        first: Sequenced,
        batches: Option<Box<[BatchPlace]>>,
    ) {
        let appended = Appended {
            index: first.index,
            base_offset: first.base_offset,
            is_duplicate: true,
            time_ms: first.time_ms,
            durability: append.ack,
            append_time_ms: first.append_time_ms,
            batches,
        };
        self.staged.push(Staged {
            completion: append.completion,
            appended,
            frame: None,
        });
    }

    /// Writes the frames.
    ///
    /// # Errors
    /// The storage's; then nothing is known of the bytes.
    pub(super) fn write(&self, file: &dyn StorageFile) -> io::Result<()> {
        if !self.has_frames {
            return Ok(());
        }
        let slices: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Buffer(range) => {
                    IoSlice::new(self.buffer.get(range.clone()).unwrap_or_default())
                }
                Piece::Payload(payload) => IoSlice::new(payload),
            })
            .collect();
        file.write_at(&slices, self.position)
    }

    /// The appends of the group, in order; the group is empty afterwards.
    pub(super) fn take_staged(&mut self) -> Vec<Staged> {
        self.pieces.clear();
        self.pieces.shrink_to(2 * APPENDS_KEPT);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.is_sync_wanted = false;
        self.has_frames = false;
        mem::take(&mut self.staged)
    }

    /// Gives back an emptied vector, so that the next group need not grow one.
    pub(super) fn recycle(&mut self, mut staged: Vec<Staged>) {
        staged.clear();
        staged.shrink_to(APPENDS_KEPT);
        self.staged = staged;
    }

    /// Answers everybody with an error.
    pub(super) fn fail(&mut self, error: &Error, wakes: &mut Wakes) {
        for staged in self.take_staged() {
            staged.completion.complete(Err(error.clone()), wakes);
        }
    }

    /// Adds the buffer's bytes from `start` on, to the piece before if that ends there.
    fn add_buffer(&mut self, start: usize) {
        let end = self.buffer.len();
        match self.pieces.last_mut() {
            Some(Piece::Buffer(range)) if range.end == start => range.end = end,
            _ if start == end => {}
            _ => self.pieces.push(Piece::Buffer(start..end)),
        }
    }
}

impl Staged {
    /// Adds the entry to its segment's index.
    pub(super) fn add_to(&self, index: &mut SegmentIndex) {
        let Some(frame) = &self.frame else { return };
        let time_ms = self.appended.time_ms;
        index.note(self.appended.index, time_ms);
        let mut add = |partition, at, payload: &[u8]| {
            if let Ok(batch) = BatchHeader::parse(payload) {
                let entry = rebuild::entry_of(&batch, frame.position, at, payload.len());
                index.push(partition, &entry, time_ms);
            }
        };
        match frame.kind {
            Kind::Records => add(frame.partition, 0, &frame.payload),
            Kind::Set => {
                let parts = set::parts(&frame.payload).unwrap_or_default();
                let batches = parts.iter().filter(|part| part.kind == Kind::Records);
                batches.for_each(|part| add(part.partition, part.at, part.payload));
            }
            _ => {}
        }
    }

    /// Hands the entry to the machine, or, of a SET, its parts.
    pub(super) fn apply(&mut self, term: u32, machine: &dyn Machine, wakes: &mut Wakes) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        let whole = set::Part {
            kind: frame.kind,
            version: frame.version,
            partition: frame.partition,
            at: 0,
            payload: &frame.payload,
        };
        if frame.kind != Kind::Set {
            return self.apply_part(&frame, &whole, frame.payload.clone(), term, machine, wakes);
        }
        // Parsed when it was staged, so it parses now.
        for part in set::parts(&frame.payload).unwrap_or_default() {
            let tail = frame.payload.slice(part.at..part.at + part.payload.len());
            self.apply_part(&frame, &part, tail, term, machine, wakes);
        }
    }

    fn apply_part(
        &self,
        frame: &Frame,
        part: &set::Part<'_>,
        tail: Bytes,
        term: u32,
        machine: &dyn Machine,
        wakes: &mut Wakes,
    ) {
        let entry = Entry {
            index: self.appended.index,
            term: LeaderEpoch(i32::try_from(term).unwrap_or(i32::MAX)),
            time_ms: self.appended.time_ms,
            kind: part.kind,
            version: part.version,
            partition: part.partition,
            location: replay::location(frame.segment, frame.position, part),
            payload: part.payload,
            tail: Some(tail),
        };
        machine.apply(&entry, wakes);
    }
}

const _: () = assert!(FRAME_HEADER_BYTES < INLINE_BYTES_MAX);
