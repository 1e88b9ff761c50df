//! What segments there are, and how far a later one cuts them.

use std::io::ErrorKind;

use super::Place;
use crate::log::error::OpenError;
use crate::log::segment::{self, SegmentError, SegmentHeader};

/// A segment's file.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) segment: u64,
    pub(super) length: u64,
    pub(super) header: Result<SegmentHeader, SegmentError>,
}

/// Lists the segments and reads their headers.
///
/// # Errors
/// [`OpenError`] of the storage, and for a segment of a newer version.
pub(super) fn survey(place: Place<'_>) -> Result<Vec<Candidate>, OpenError> {
    let segments = match segment::list(place.storage, place.dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut candidates = Vec::with_capacity(segments.len());
    for segment in segments {
        let path = segment::path(place.dir, segment);
        let file = place.storage.open(&path, true)?;
        let length = file.length()?;
        let header = segment::read_header(file.as_ref(), length)?;
        let header =
            header.and_then(|header| header.check_place(place.log_uuid, segment).map(|()| header));
        if let Err(source @ SegmentError::TooNew { .. }) = header {
            return Err(OpenError::SegmentTooNew { path, source });
        }
        candidates.push(Candidate {
            segment,
            length,
            header,
        });
    }
    Ok(candidates)
}

/// The highest index that each segment may hold: later ones cut what is above their `previous`.
pub(super) fn limits(candidates: &[Candidate]) -> Vec<u64> {
    let mut limit = u64::MAX;
    let mut limits: Vec<_> = candidates
        .iter()
        .rev()
        .map(|candidate| {
            let own = limit;
            if let Ok(header) = &candidate.header {
                limit = limit.min(header.previous_index);
            }
            own
        })
        .collect();
    limits.reverse();
    limits
}
