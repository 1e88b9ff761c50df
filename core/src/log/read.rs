//! Reading one payload of an open log from its file.

use std::io::ErrorKind;

use bytes::Bytes;

use crate::error::{Error, ErrorCode, Result};

use super::entry::Location;
use super::error::Fault;
use super::frame::{self, CrcSeed, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader};
use super::segment::{self, SEGMENT_HEADER_BYTES};
use super::shared::Shared;
use super::storage::StorageFile;

/// The payload at `location`, with its frame checked.
///
/// # Errors
/// `Corrupt` naming file and position; `Storage` when the file cannot be read.
pub(super) fn read(log: &Shared, location: Location) -> Result<Bytes> {
    let path = segment::path(&log.dir, location.segment);
    let corrupt = |problem: String| {
        Error::new(
            ErrorCode::CorruptSegment,
            format!("{path}, position {}: {problem}", location.position),
        )
    };
    let entry = log
        .files
        .segment(location.segment)
        .ok_or_else(|| corrupt("there is no such segment".to_owned()))?;
    let failed = |error| {
        let fault = Fault::from(error);
        Error::new(ErrorCode::KafkaStorageError, fault.to_string()).with_source(fault)
    };
    let file = log.files.open(location.segment, &entry).map_err(failed)?;
    let end = entry.end();
    let is_whole = location.payload_at as usize == FRAME_HEADER_BYTES;
    let padded = if is_whole {
        frame::padded(FRAME_HEADER_BYTES as u64 + u64::from(location.len))
    } else {
        header_at(file.as_ref(), location.position, end).map_err(failed)?
    };
    let is_inside = location.position >= SEGMENT_HEADER_BYTES as u64
        && location.position.is_multiple_of(FRAME_ALIGN as u64)
        && location
            .position
            .checked_add(padded)
            .is_some_and(|frame_end| frame_end <= end);
    if !is_inside {
        return Err(corrupt(format!(
            "no frame of {padded} bytes ends before {end}"
        )));
    }
    let mut bytes = vec![0; usize::try_from(padded).unwrap_or_default()];
    file.read_at(&mut bytes, location.position)
        .map_err(failed)?;
    let seed = CrcSeed::new(&log.log_uuid, location.segment);
    let header = bytes
        .first_chunk::<FRAME_HEADER_BYTES>()
        .map(FrameHeader::decode)
        .ok_or_else(|| corrupt("no frame".to_owned()))?;
    frame::open(seed, location.position, &header, &bytes)
        .map_err(|error| corrupt(error.to_string()))?;
    let start = location.payload_at as usize;
    let stop = start.saturating_add(location.len as usize);
    let is_payload = start >= FRAME_HEADER_BYTES
        && stop <= header.len as usize
        && (!is_whole || stop == header.len as usize);
    if !is_payload {
        return Err(corrupt(format!(
            "the frame of {} bytes has no payload there",
            header.len
        )));
    }
    Ok(Bytes::from(bytes).slice(start..stop))
}

/// Bytes that the frame at `position` takes by its own header; what it says is checked afterwards.
fn header_at(file: &dyn StorageFile, position: u64, end: u64) -> std::io::Result<u64> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    if position.saturating_add(FRAME_HEADER_BYTES as u64) > end {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    file.read_at(&mut bytes, position)?;
    Ok(FrameHeader::decode(&bytes).padded_bytes())
}
