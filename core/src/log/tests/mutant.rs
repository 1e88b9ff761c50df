//! Deliberate bugs of the log, each at the place where the rule stands that it breaks. They exist in tests
//! alone, for the thread that set one, and the enumeration of power cuts has to find every one of them.

use std::cell::Cell;
use std::io;

use crate::ids::Durability;
use crate::log::append::Append;
use crate::log::entry::Kind;
use crate::log::frame::FrameError;
use crate::log::group::Staged;
use crate::log::order::Order;
use crate::log::scan::{Found, Scanner};
use crate::log::sequencer::{Admission, Sequenced, Sequencer};
use crate::log::set;
use crate::record::BatchHeader;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Mutant {
    /// Appends at `disk` are acknowledged once they are written.
    AckBeforeSync,
    /// What stands behind damage is taken for the log's.
    FrameBehindDamage,
    /// Zeros end a log, whatever stands behind them.
    HoleIsEnd,
    /// A cut goes on in the same file.
    CutInPlace,
    /// The tail is neither written again by an open nor synced.
    TailLeft,
    /// The tail is synced by an open and not written again.
    TailOnlySynced,
    /// An open that does not find a clean close goes on in the same term.
    TermKept,
    /// The first append after a clean close is not preceded by a MARK that says so.
    OpenedUnsaid,
    /// What a later segment's header cut is read all the same.
    CutIgnored,
    /// Batches are replayed without their producers.
    ProducersForgotten,
    /// Checkpoints and snapshots are written before the log is synced up to them.
    KeptAhead,
    /// A snapshot is written before the segment that begins there is durable.
    SnapshotBeforeSegment,
    /// Segments are removed whether a snapshot makes up for them or not.
    CleanedAhead,
    /// Cold segments get their names unsynced.
    ColdUnsynced,
    /// Segments that were moved are removed before the cold one that commits has its name durably.
    MovedAhead,
    /// The batches of a SET count that come before the part it is refused for.
    RefusedSetTaken,
    /// A cold segment whose cleaning was cut short counts.
    PendingCounts,
    /// A group's log that is truncated goes on in the same file.
    TruncateInPlace,
    /// Segments of a group's log are removed before the purge is durable.
    PurgedAhead,
    /// A vote is written and not synced.
    VoteUnsynced,
    /// Zeros are written from where a sync has ended, whatever was written since.
    ZeroesUngranted,
    /// The writer does not wait for zeros that are being written where its frame goes.
    ZeroesNotAwaited,
    /// A sync of zeros that fails, and with it what was written meanwhile, is not minded.
    ZeroesSyncIgnored,
}

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Runs `action` with a bug.
pub(in crate::log) fn with<T>(mutant: Mutant, action: impl FnOnce() -> T) -> T {
    struct Cured;
    impl Drop for Cured {
        fn drop(&mut self) {
            MUTANT.set(None);
        }
    }
    let _cured = Cured;
    MUTANT.set(Some(mutant));
    action()
}

/// Whether this thread has this bug.
pub(in crate::log) fn is(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant)
}

/// The bug that this thread has, for what other threads do on its behalf.
pub(in crate::log) fn current() -> Option<Mutant> {
    MUTANT.get()
}

/// Hook of the writer: what it is about to answer.
pub(in crate::log) fn answer_early(staged: &mut [Staged]) {
    if is(Mutant::AckBeforeSync) {
        staged
            .iter_mut()
            .for_each(|staged| staged.appended.durability = Durability::Os);
    }
}

/// Hook of recovery: what it found where it has come to.
pub(in crate::log) fn find(
    found: Found,
    scanner: &mut Scanner<'_>,
    position: &mut u64,
    order: &mut Order,
) -> io::Result<Found> {
    match found {
        Found::Damage(FrameError::Hole { .. }, _) if is(Mutant::HoleIsEnd) => Ok(Found::End),
        Found::Damage(..) if is(Mutant::FrameBehindDamage) => {
            let Some((at, header)) = scanner.search(*position)? else {
                return Ok(found);
            };
            *position = at;
            order.resume_at(&header);
            Ok(Found::Frame(header))
        }
        found => Ok(found),
    }
}

/// Hook of the writer: an append that is refused.
pub(in crate::log) fn refused(append: &Append, sequencer: &mut Sequencer) {
    if append.kind != Kind::Set || !is(Mutant::RefusedSetTaken) {
        return;
    }
    for part in set::parts(&append.payload).unwrap() {
        let Ok(batch) = BatchHeader::parse(part.payload) else {
            continue;
        };
        let Ok(Admission::New { base_offset }) = sequencer.admit(part.partition, &batch) else {
            return;
        };
        let sequenced = Sequenced {
            index: 0,
            base_offset,
            time_ms: 0,
            append_time_ms: -1,
        };
        sequencer.take(part.partition, &batch, sequenced);
    }
}

/// Hook of the sequencer: a batch that is replayed.
pub(in crate::log) fn replayed(batch: &BatchHeader) -> BatchHeader {
    let mut batch = *batch;
    if is(Mutant::ProducersForgotten) {
        batch.producer_id = -1;
    }
    batch
}
