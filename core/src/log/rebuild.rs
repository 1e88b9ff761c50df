//! The index of a segment from its frames: for one that is being replayed, and for a sealed one whose
//! footer is damaged.

use crate::error::{Error, ErrorCode, Result};
use crate::record::BatchHeader;

use super::entry::Kind;
use super::error::OpenError;
use super::files::SegmentFile;
use super::frame::{CrcSeed, FRAME_HEADER_BYTES, FrameHeader};
use super::index::{IndexEntry, SegmentIndex};
use super::scan::{Found, Scanner};
use super::segment::SEGMENT_HEADER_BYTES;
use super::set::{self, Part};
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
    let mut index = SegmentIndex::new(segment.first_index());
    let mut scanner = Scanner::new(file, seed, segment.end());
    let mut position = SEGMENT_HEADER_BYTES as u64;
    let mut last_index = segment.first_index().saturating_sub(1);
    while let Found::Frame(header) = scanner.find(position).map_err(OpenError::from)? {
        let payload = scanner
            .payload(position, &header)
            .map_err(OpenError::from)?;
        if header.takes_index() {
            last_index = header.index;
            index.note(header.index, header.time_ms);
        }
        match header.known_kind() {
            Some(Kind::Set) => {
                for part in set::parts(payload).unwrap_or_default() {
                    add_part(&mut index, &header, position, &part);
                }
            }
            Some(kind) => {
                let part = Part {
                    kind,
                    version: header.version,
                    partition: header.partition_id(),
                    at: 0,
                    payload,
                };
                add_part(&mut index, &header, position, &part);
            }
            None => {}
        }
        position += header.padded_bytes();
    }
    if Some(last_index) == segment.last_index() {
        return Ok(index);
    }
    let expected = segment.last_index().unwrap_or_default();
    Err(Error::new(
        ErrorCode::CorruptSegment,
        format!("{path}, position {position}: the frames end at index {last_index} of {expected}"),
    ))
}
