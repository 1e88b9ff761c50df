//! What the cold segments hold, and which files cleaning has left behind.

use std::sync::Arc;

use super::base::Base;
use super::{ColdKept, Place, Surveyed};
use crate::log::cold::{self, ColdFile, ColdHeader};
use crate::log::error::OpenError;
use crate::log::frame::CrcSeed;
use crate::log::index::{SegmentIndex, read_footer};
use crate::log::segment;

/// The cold segments with what each holds: from the base's directory, from its footer or, if that is
/// damaged, from its frames.
///
/// # Errors
/// [`OpenError`]: the storage's; damage to frames.
pub(super) fn outlines(
    place: Place<'_>,
    survey: &cold::Survey,
    base: Option<&Base>,
) -> Result<Vec<ColdKept>, OpenError> {
    let mut kept = Vec::with_capacity(survey.kept.len());
    for ColdFile { header, length } in &survey.kept {
        let known = base.and_then(|base| base.cold_outline(header));
        let is_listed = known.is_some();
        let (index, is_footed) = match known {
            Some(index) => (index, true),
            None => read(place, header, *length)?,
        };
        kept.push(ColdKept {
            header: header.clone(),
            end: *length,
            index: Arc::new(index),
            is_footed,
            is_listed,
        });
    }
    Ok(kept)
}

fn read(
    place: Place<'_>,
    header: &ColdHeader,
    length: u64,
) -> Result<(SegmentIndex, bool), OpenError> {
    let path = cold::path(place.dir, header.segment);
    let file = place.storage.open(&path, true)?;
    let seed = CrcSeed::new(place.log_uuid, header.segment);
    let footer = read_footer(file.as_ref(), seed, length)?;
    if let Some(footer) = footer.filter(|footer| is_of(footer, header)) {
        return Ok((footer.outline(), true));
    }
    tracing::warn!(%path, "the footer cannot be read: the segment's index is built again");
    let rebuilt = cold::rebuild(
        file.as_ref(),
        seed,
        header.first_index,
        header.frames_end.min(length),
    )?;
    match rebuilt {
        Ok(index) if is_of(&index, header) => Ok((index, false)),
        Ok(_) => Err(OpenError::Cold {
            path,
            source: cold::ColdError::Damaged("its frames are not those it speaks of"),
        }),
        Err(source) => Err(OpenError::Cold { path, source }),
    }
}

/// Whether an index is that of the cold segment with this header.
pub(super) fn is_of(index: &SegmentIndex, header: &ColdHeader) -> bool {
    let entries = index.summaries().map(|(_, held)| u64::from(held.entries));
    index.last_index() == header.last_index && entries.sum::<u64>() == header.batches
}

/// The files that a cleaning has left behind.
pub(super) fn stale(place: Place<'_>, surveyed: &Surveyed) -> Vec<String> {
    let moved = surveyed.moved.iter();
    let moved = moved.map(|it| segment::path(place.dir, *it));
    let doomed = surveyed.cold.doomed.iter();
    moved
        .chain(doomed.map(|it| cold::path(place.dir, *it)))
        .collect()
}
