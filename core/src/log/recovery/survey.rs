//! What segments there are, and how far a later one cuts them.

use std::io::ErrorKind;

use super::Place;
use crate::log::cold::{self, ColdError};
use crate::log::error::OpenError;
use crate::log::segment::{self, SegmentError, SegmentHeader};
#[cfg(test)]
use crate::log::tests::mutant;

/// A segment's file.
#[derive(Clone, Debug)]
pub(in crate::log) struct Candidate {
    pub(in crate::log) segment: u64,
    /// Its file, from the folder of the log on.
    pub(in crate::log) path: String,
    pub(in crate::log) length: u64,
    pub(in crate::log) header: Result<SegmentHeader, SegmentError>,
}

impl Candidate {
    /// The header, unless the log before it is of a higher term.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::log) fn header_after(&self, term: u32) -> Result<SegmentHeader, SegmentError> {
        let header = self.header.clone()?;
        let found = header.term();
        if found < term {
            return Err(SegmentError::Stale { found, term });
        }
        Ok(header)
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(in crate::log) struct Surveyed {
    /// The segments of the log.
    pub(in crate::log) candidates: Vec<Candidate>,
    /// Segments whose batches lie in cold segments: of the log no more, and to be removed.
    pub(in crate::log) moved: Vec<u64>,
    /// The cold segments.
    pub(in crate::log) cold: cold::Survey,
}

/// Lists the segments and reads their headers.
///
/// # Errors
/// [`OpenError`] of the storage, for a segment of a newer version, and for a damaged cold segment.
pub(in crate::log) fn survey(place: Place<'_>) -> Result<Surveyed, OpenError> {
    let segments = match segment::list(place.storage, place.dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Surveyed::default()),
        listed => listed?,
    };
    let cold = cold::Survey::new(place, &segments)?;
    let (moved, segments): (Vec<_>, Vec<_>) = segments.into_iter().partition(|it| *it < cold.front);
    if let (true, Some(first)) = (segments.is_empty(), cold.kept.first()) {
        return Err(OpenError::Cold {
            path: cold::path(place.dir, first.header.segment),
            source: ColdError::Damaged("there is no log that it belongs to"),
        });
    }
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
            path,
            length,
            header,
        });
    }
    Ok(Surveyed {
        candidates,
        moved,
        cold,
    })
}

/// A segment that holds frames of a term.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::log) struct Reached {
    pub(in crate::log) segment: u64,
    pub(in crate::log) term: u32,
}

/// How far later segments cut earlier ones.
#[derive(Debug)]
pub(in crate::log) struct Limits {
    reached: Reached,
    limits: Vec<u64>,
}

impl Limits {
    /// As the headers say; what is known to be `reached` makes later headers of a lower term stale.
    pub(in crate::log) fn new(candidates: &[Candidate], reached: Reached) -> Self {
        let is_stale = |candidate: &Candidate, header: &SegmentHeader| {
            candidate.segment > reached.segment && header.term() < reached.term
        };
        let mut limit = u64::MAX;
        let mut limits: Vec<_> = candidates
            .iter()
            .rev()
            .map(|candidate| {
                let own = limit;
                if let Ok(header) = &candidate.header
                    && !is_stale(candidate, header)
                {
                    limit = limit.min(header.previous_index);
                }
                own
            })
            .collect();
        limits.reverse();
        Self { reached, limits }
    }

    /// The highest index that a segment may hold: later ones cut what is above their `previous`.
    pub(in crate::log) fn of(&self, candidate: usize) -> u64 {
        #[cfg(test)]
        if mutant::is(mutant::Mutant::CutIgnored) {
            return u64::MAX;
        }
        self.limits.get(candidate).copied().unwrap_or(u64::MAX)
    }

    /// Takes note of a frame: later headers of a lower term are older than it is, and do not cut it.
    pub(in crate::log) fn reach(&mut self, candidates: &[Candidate], reached: Reached) {
        if reached.term > self.reached.term {
            *self = Self::new(candidates, reached);
        }
    }
}
