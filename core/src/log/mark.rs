//! The log's own marks: a new term, a clean close, the end of one, an idle moment.
//!
//! A MARK is a frame without payload and without an index of its own. Its `durable` is what it is for: it
//! vouches for everything before it.

use std::io::{self, IoSlice};

use super::entry::Kind;
use super::frame::{self, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_VERSION};
use super::segment::ActiveSegment;

/// Bytes that a MARK takes in a segment.
pub(super) const MARK_BYTES: u64 = FRAME_HEADER_BYTES as u64;

/// What a MARK says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Index of the last entry before it.
    pub(super) index: u64,
    /// The index known synced.
    pub(super) durable: u64,
    /// The writer's wall clock, ms.
    pub(super) time_ms: i64,
    /// The term; a higher one than before begins here.
    pub(super) term: u32,
    /// Closed, opened, or neither.
    pub(super) flags: u8,
}

impl Mark {
    /// Writes it at the end of a segment, where space is reserved.
    ///
    /// # Errors
    /// The storage's; then nothing is known of the bytes there.
    pub(super) fn write(self, active: &mut ActiveSegment) -> io::Result<()> {
        let header = FrameHeader {
            len: FRAME_HEADER_BYTES as u32,
            crc: 0,
            index: self.index,
            durable: self.durable,
            time_ms: self.time_ms,
            term: self.term,
            partition: 0,
            kind: Kind::Mark.number(),
            flags: self.flags,
            version: PAYLOAD_VERSION,
            reserved: 0,
        };
        let bytes = frame::seal(header, active.seed, active.position, &[]);
        active
            .file
            .write_at(&[IoSlice::new(&bytes)], active.position)?;
        active.position += MARK_BYTES;
        active.note_written();
        Ok(())
    }
}

const _: () = assert!(MARK_BYTES.is_multiple_of(frame::FRAME_ALIGN as u64));
