//! The index of a segment from its frames: for one that is being replayed, and for a sealed one whose
//! footer is damaged.

use std::io;

use crate::error::{Error, ErrorCode, Result};
use crate::record::BatchHeader;

use super::cold;
use super::entry::Kind;
use super::error::OpenError;
use super::files::SegmentFile;
use super::frame::{CrcSeed, FRAME_HEADER_BYTES, FrameHeader};
use super::index::{IndexEntry, SegmentIndex};
use super::scan::{Found, Scanner};
use super::segment::SEGMENT_HEADER_BYTES;
use super::set::{self, Part, SetError};
use super::storage::StorageFile;

/// Adds one part of a frame at `position`, or the whole of it, to its segment's index.
pub(super) fn add_part(
    index: &mut SegmentIndex,
    header: &FrameHeader,
    position: u64,
    part: &Part<'_>,
) {
    let (Kind::Records, Ok(batch)) = (part.kind, BatchHeader::parse(part.payload)) else {
        return;
    };
    let entry = entry_of(&batch, position, part.at, part.payload.len());
    index.push(part.partition, &entry, header.time_ms);
}

/// The index's entry for a batch of `len` bytes that begins `at` bytes into the payload of its frame.
pub(super) fn entry_of(batch: &BatchHeader, position: u64, at: usize, len: usize) -> IndexEntry {
    IndexEntry {
        base_offset: batch.base_offset,
        next_offset: batch.last_offset().saturating_add(1),
        max_timestamp_ms: batch.max_timestamp_ms,
        position,
        // Both fit: a frame is much smaller than 4 GiB.
        payload_at: (FRAME_HEADER_BYTES + at) as u32,
        len: len as u32,
    }
}

/// The index of the sealed segment in `file`, at `path`.
///
/// # Errors
/// `Corrupt` if the frames end before the segment's last entry, `Storage` when the file cannot be read.
pub(super) fn rebuild(
    file: &dyn StorageFile,
    path: &str,
    seed: CrcSeed,
    segment: &SegmentFile,
) -> Result<SegmentIndex> {
    if let Some(cold) = segment.cold() {
        let rebuilt = cold::rebuild(file, seed, segment.first_index(), cold.frames_end);
        return rebuilt
            .map_err(OpenError::from)?
            .map_err(|error| Error::new(ErrorCode::CorruptSegment, format!("{path}: {error}")));
    }
    let Rebuilt { index, end } =
        frames(file, seed, segment.first_index(), segment.end()).map_err(OpenError::from)?;
    if Some(index.last_index()) == segment.last_index() {
        return Ok(index);
    }
    let (found, expected) = (index.last_index(), segment.last_index().unwrap_or_default());
    Err(Error::new(
        ErrorCode::CorruptSegment,
        format!("{path}, position {end}: the frames end at index {found} of {expected}"),
    ))
}

/// An index, and where the frames end that it is of.
pub(super) struct Rebuilt {
    pub(super) index: SegmentIndex,
    pub(super) end: u64,
}

/// The index of the frames in a file of `length` bytes, up to the first that is none.
///
/// # Errors
/// The storage's.
pub(super) fn frames(
    file: &dyn StorageFile,
    seed: CrcSeed,
    first_index: u64,
    length: u64,
) -> io::Result<Rebuilt> {
    let mut index = SegmentIndex::new(first_index);
    let mut scanner = Scanner::new(file, seed, length);
    let mut end = SEGMENT_HEADER_BYTES as u64;
    while let Found::Frame(header) = scanner.find(end)? {
        let payload = scanner.payload(end, &header)?;
        let kind = header.known_kind().filter(|kind| kind.takes_index());
        if let Some(kind) = kind {
            index.note(header.index, header.time_ms);
            for part in parts_of(kind, &header, payload).unwrap_or_default() {
                add_part(&mut index, &header, end, &part);
            }
        }
        end += header.padded_bytes();
    }
    Ok(Rebuilt { index, end })
}

/// The parts of an entry: of a SET, or the whole of any other.
///
/// # Errors
/// [`SetError`].
pub(super) fn parts_of<'a>(
    kind: Kind,
    header: &FrameHeader,
    payload: &'a [u8],
) -> std::result::Result<Vec<Part<'a>>, SetError> {
    if kind == Kind::Set {
        return set::parts(payload);
    }
    Ok(vec![Part {
        kind,
        version: header.version,
        partition: header.partition_id(),
        at: 0,
        payload,
    }])
}
