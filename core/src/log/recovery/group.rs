//! What is different for the log of a member of a group: its entries are only read, not replayed, and with
//! them what the member has to remember.
//!
//! Its front may be missing as far as a VOTE says that it is purged. A segment may begin behind a gap, if
//! everything up to where it begins is purged: the member was given a snapshot of what it lacked.

use super::{Found, Place, Walk, survey, walk};
use crate::completion::Wakes;
use crate::error::Result as CrateResult;
use crate::log::control::{self, Vote};
use crate::log::entry::{Entry, Kind, Machine};
use crate::log::error::OpenError;
use crate::log::frame::FrameError;
use crate::log::order::Order;
use crate::log::pair::{Scope, StatePair};
use crate::log::segment::{self, SegmentHeader};

const TERM_MAX: u32 = i32::MAX as u32;

/// Whoever needs the state replays the committed entries.
struct NoMachine;

impl Machine for NoMachine {
    fn apply(&self, _entry: &Entry<'_>, _wakes: &mut Wakes) {}

    fn synced(&self, _index: u64, _wakes: &mut Wakes) {}

    fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _pairs: &[StatePair]) -> CrateResult<()> {
        Ok(())
    }
}

/// Reads the log of a member, and says what is to be done. Changes nothing.
///
/// # Errors
/// [`OpenError`].
pub(in crate::log) fn recover_group(place: Place<'_>) -> Result<Found, OpenError> {
    let candidates = survey(place)?.candidates;
    let found = walk(place, &candidates, &NoMachine, None, Some(Vote::default()))?;
    let found = found.expect("a walk without a base does not miss it");
    let purged = found.vote.unwrap_or_default().purged;
    check_end(place, found.last_index.max(purged.index), found.last_term)?;
    match found.kept.first() {
        Some(first) if first.header.previous_index > purged.index => Err(OpenError::FrontMissing {
            path: segment::path(place.dir, first.header.segment),
            previous_index: first.header.previous_index,
        }),
        _ => Ok(found),
    }
}

/// Whether something may come behind the last entry.
fn check_end(place: Place<'_>, index: u64, term: u32) -> Result<(), OpenError> {
    let (what, last) = match (index, term) {
        (u64::MAX, _) => ("index", index),
        (_, term) if term > TERM_MAX => ("term", u64::from(term)),
        _ => return Ok(()),
    };
    Err(OpenError::Exhausted {
        path: place.dir.to_owned(),
        what,
        last,
    })
}

/// What a VOTE says.
///
/// # Errors
/// [`FrameError::Payload`].
pub(super) fn vote_of(payload: &[u8]) -> Result<Vote, FrameError> {
    let invalid = |message: &str| FrameError::Payload(message.to_owned());
    let vote: Vote = control::decode(payload).map_err(|error| invalid(error.message()))?;
    let terms = [vote.term, vote.purged.term, vote.committed.term];
    if terms.iter().any(|term| *term > TERM_MAX) {
        return Err(invalid("a term is beyond the largest"));
    }
    Ok(vote)
}

impl Walk<'_> {
    /// Whether this version knows what a frame of this kind says in this log.
    pub(super) const fn knows(&self, kind: Kind) -> bool {
        kind.is_supported() || (self.vote.is_some() && kind.is_of_group())
    }

    /// Whether nothing more is needed up to `limit`: the walk has come there, or all of it is purged.
    pub(super) fn is_reached(&self, limit: u64) -> bool {
        let purged = self.vote.map_or(0, |vote| vote.purged.index);
        self.order.index.max(purged) >= limit
    }

    /// Takes the vote of a segment's header, and goes to where the segment begins if nothing that is needed
    /// lies before it.
    pub(super) fn take_group_header(&mut self, header: &SegmentHeader) {
        let Some(vote) = &mut self.vote else {
            return;
        };
        let (term, is_committed) = header.vote();
        if (vote.term, vote.is_committed) <= (term, is_committed) {
            (vote.term, vote.node) = (term, header.vote_node);
            vote.is_committed = is_committed;
        }
        let is_behind_a_gap =
            self.order.index < header.previous_index && header.previous_index == vote.purged.index;
        if self.kept.is_empty() || is_behind_a_gap {
            self.last_entry = None;
            self.order = Order {
                index: header.previous_index,
                term: header.previous_term,
            };
        }
    }
}
