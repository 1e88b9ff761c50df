//! What a segment holds that is passed over, all of it or up to the checkpoint's entry: from its footer or the
//! checkpoint, or, without either, from its frames.

use std::io;
use std::sync::Arc;

use super::verdict::Failure;
use super::{Kept, LastEntry, Place, Walk};
use crate::log::entry::Kind;
use crate::log::error::{OpenError, Problem};
use crate::log::frame::CrcSeed;
use crate::log::index::{SegmentIndex, read_footer};
use crate::log::order::Order;
use crate::log::rebuild;
use crate::log::scan::{self, Scanner};
use crate::log::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};

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
        });
        Ok(None)
    }

    /// Goes to the frame that the checkpoint ends with, if it stands where that says: what lies before it in its
    /// segment is known. Says where the frame ends. If it does not stand there the segment is read from its
    /// beginning, and shows whether the log holds it at all.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn skip_to_base(
        &mut self,
        at: usize,
        header: &SegmentHeader,
        scanner: &mut Scanner<'_>,
    ) -> io::Result<Option<(u64, SegmentIndex)>> {
        let Some(base) = self.base.as_mut().filter(|_| at == self.first) else {
            return Ok(None);
        };
        let (index, term) = (base.index, base.term);
        let Some((position, known)) = base.active.take() else {
            return Ok(None);
        };
        let is_of_segment =
            known.first_index() == header.first_index && known.last_index() == index;
        if !is_of_segment || index > self.limits.of(at) || position < SEGMENT_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let scan::Found::Frame(frame) = scanner.find(position)? else {
            return Ok(None);
        };
        let takes_index = frame.known_kind().is_some_and(Kind::takes_index);
        let is_it = takes_index && (frame.index, frame.term) == (index, term);
        if !is_it || !self.try_restore(index, term) {
            return Ok(None);
        }
        self.order = Order { index, term };
        self.last_entry = Some(LastEntry {
            segment: header.segment,
            position,
            term,
        });
        self.promise(frame.durable);
        Ok(Some((position + frame.padded_bytes(), known)))
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
