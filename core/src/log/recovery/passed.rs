//! What a segment holds that is passed over: from its footer, or, without one, from its frames.

use std::io;
use std::sync::Arc;

use super::verdict::Failure;
use super::{Kept, Place, Walk};
use crate::log::error::{OpenError, Problem};
use crate::log::frame::CrcSeed;
use crate::log::index::{SegmentIndex, read_footer};
use crate::log::order::Order;
use crate::log::rebuild;
use crate::log::segment::{self, SegmentHeader};

/// A segment that is passed over.
struct Passed {
    index: SegmentIndex,
    /// Where its data ends.
    end: u64,
    is_footed: bool,
}

/// Why a passed segment is not what it should be.
struct Failed {
    position: u64,
    problem: Problem,
}

impl Failed {
    fn at(self, candidate: usize) -> Failure {
        Failure {
            candidate,
            position: self.position,
            problem: self.problem,
            about: None,
        }
    }
}

impl Walk<'_> {
    /// Passes over a segment that lies before the base: what it holds is in its state, and where it lies in
    /// its footer or in the checkpoint's directory.
    pub(super) fn pass_segment(
        &mut self,
        at: usize,
        header: SegmentHeader,
        limit: u64,
    ) -> Result<Option<Failure>, OpenError> {
        let length = self.candidates.get(at).map_or(0, |it| it.length);
        let known = self.base.as_ref().and_then(|base| base.outline(&header));
        let is_listed = known.is_some();
        let found = match known {
            Some(index) => Ok(Passed {
                index,
                end: length,
                is_footed: true,
            }),
            None => passed(self.place, &header, limit, length)?,
        };
        let Passed {
            index,
            end,
            is_footed,
        } = match found {
            Ok(found) => found,
            Err(failed) => return Ok(Some(failed.at(at))),
        };
        // Where the next segment does not go on, that is seen when its header is looked at.
        let last_index = index.last_index();
        let last_term = self.term_behind(at, last_index);
        self.order = Order {
            index: last_index,
            term: last_term,
        };
        self.kept.push(Kept {
            header,
            end,
            length,
            last_index,
            last_term,
            index: Arc::new(index),
            is_footed,
            is_listed,
            is_passed: true,
        });
        Ok(None)
    }

    /// The term of the last frame of a segment that is passed over: the next one says it. 0 if none does.
    fn term_behind(&self, at: usize, last_index: u64) -> u32 {
        let later = self.candidates.iter().skip(at + 1);
        let mut headers = later.filter_map(|candidate| candidate.header.as_ref().ok());
        let next = headers.find(|next| next.previous_index == last_index);
        next.map_or(0, |next| next.previous_term)
    }
}

/// A sealed segment that is passed over, its index in outline if it has a footer.
///
/// # Errors
/// The storage's; inside, of a segment without a footer, where its frames end before `last_index`.
fn passed(
    place: Place<'_>,
    header: &SegmentHeader,
    last_index: u64,
    length: u64,
) -> io::Result<Result<Passed, Failed>> {
    let path = segment::path(place.dir, header.segment);
    let file = place.storage.open(&path, true)?;
    let seed = CrcSeed::new(place.log_uuid, header.segment);
    let footer = read_footer(file.as_ref(), seed, length)?;
    if let Some(index) = footer {
        return Ok(Ok(Passed {
            index: index.outline(),
            end: length,
            is_footed: true,
        }));
    }
    let rebuilt = rebuild::frames(file.as_ref(), seed, header.first_index, length)?;
    if rebuilt.index.last_index() == last_index {
        return Ok(Ok(Passed {
            index: rebuilt.index,
            end: rebuilt.end,
            is_footed: false,
        }));
    }
    Ok(Err(Failed {
        position: rebuilt.end,
        problem: Problem::End { index: last_index },
    }))
}
