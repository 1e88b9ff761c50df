//! Snapshots and checkpoints: when they are due, and writing them on a thread that ends with the work.
//!
//! The state is copied under the writer's lock, and written once the log is synced up to it; nobody who
//! waits for an answer waits for this. A snapshot is taken where a segment begins, a checkpoint anywhere.
//! Neither is needed for the log to go on: what fails is said, and tried again.

mod start;

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::CHECKPOINT_INDEX_BYTES_MAX;
use crate::sync::{Condvar, Mutex};
use crate::world;

pub(super) use self::start::{Start, start};
use super::checkpoint::{self, DirectoryRow, Gate, Position, SealedSegment, Store, Update};
use super::cleaner::Removing;
use super::pair::{Scope, StatePair};
use super::shared::Shared;
use super::snapshot::Snapshot;
#[cfg(test)]
use super::tests::mutant;
use super::writer::Writer;

const THREAD: &str = "headwater-keep";

/// After this long it is tried again, if it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Bytes logged since the last snapshot, as a multiple of its size, from which another is worth it.
const SNAPSHOT_RATIO: u64 = 8;
/// Segments begun since the last snapshot from which another is worth it, however short they are: each is a
/// file that opening has to look at.
const SNAPSHOT_SEGMENTS: u32 = 64;

pub(super) struct Keeper {
    /// Bytes of frames since the last checkpoint was taken.
    logged: AtomicU64,
    /// What every store of this log writes through.
    gate: Arc<Gate>,
    state: Mutex<State>,
    idle: Condvar,
    pub(super) removing: Removing,
    /// A bug; the threads of the log have to have it too.
    #[cfg(test)]
    is_ahead: bool,
    #[cfg(test)]
    is_without_segment: bool,
}

struct State {
    store: Option<Store>,
    /// Whether the next checkpoint has to be whole: from when one is handed out to be written until it is,
    /// since nothing is known of what the store holds if that does not come to its end.
    is_whole_due: bool,
    is_commit_failed: bool,
    /// Sealed segments with a footer that no checkpoint has; of a whole one all are listed.
    unlisted: Vec<u64>,
    /// Segments that a checkpoint lists, and that are gone since.
    removed: Vec<(u64, Vec<DirectoryRow>)>,
    /// Taken, and not synced yet.
    update: Option<Update>,
    taken_at: Instant,
    /// Taken, and not synced yet: the first and the last of them.
    snapshots: Vec<Snapshot>,
    /// One that could not be written: tried again at the next housekeeping, unless there is a newer one.
    unwritten: Option<Snapshot>,
    snapshot_bytes: u64,
    snapshot_logged_bytes: u64,
    snapshot_segments: u32,
    housekeeper: Option<Housekeeper>,
    is_housekeeping_due: bool,
    is_running: bool,
    is_closed: bool,
}

/// The state, and the active segment's index, as of an entry.
type Copied = (Position, Vec<StatePair>, Option<Vec<u8>>);

impl State {
    fn take_unwritten(&mut self) {
        let unwritten = self.unwritten.take().into_iter();
        if self.snapshots.is_empty() {
            self.snapshots.extend(unwritten);
        }
    }
}

/// One thing to do.
enum Work {
    Snapshot(Snapshot),
    Take,
    Commit(Update, Option<Store>),
    Housekeeping(Housekeeper),
}

/// What is called every now and then, and says after how long again.
pub(super) type Housekeeper = Arc<dyn Fn() -> Duration + Send + Sync>;

impl Keeper {
    pub(super) fn new(start: Start) -> Self {
        Self {
            logged: AtomicU64::new(start.logged_bytes),
            gate: start.store.as_ref().map_or_else(Arc::default, Store::gate),
            state: Mutex::new(State {
                store: start.store,
                is_whole_due: !start.is_from_checkpoint,
                is_commit_failed: false,
                unlisted: start.unlisted,
                removed: Vec::new(),
                update: None,
                taken_at: world::now(),
                snapshots: Vec::new(),
                unwritten: None,
                snapshot_bytes: start.snapshot_bytes,
                snapshot_logged_bytes: start.snapshot_logged_bytes,
                snapshot_segments: start.snapshot_segments,
                housekeeper: None,
                is_housekeeping_due: false,
                is_running: false,
                is_closed: false,
            }),
            idle: Condvar::new(),
            removing: Removing::default(),
            #[cfg(test)]
            is_ahead: mutant::is(mutant::Mutant::KeptAhead),
            #[cfg(test)]
            is_without_segment: mutant::is(mutant::Mutant::SnapshotBeforeSegment),
        }
    }

    /// The log was dropped: no checkpoint changes any more, not even one that is being written.
    pub(super) fn abandon(&self) {
        self.gate.shut();
    }

    /// Notes that frames of so many bytes were written.
    pub(super) fn note_logged(&self, bytes: u64) {
        self.logged.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that a sealed segment got its footer.
    pub(super) fn note_footed(&self, segment: u64) {
        self.state.lock().unlisted.push(segment);
    }

    /// Notes that a segment is gone, and what it held.
    pub(super) fn note_removed(&self, segment: u64, rows: Vec<DirectoryRow>) {
        let mut state = self.state.lock();
        let at = state.unlisted.iter().position(|it| *it == segment);
        match at {
            Some(at) => drop(state.unlisted.swap_remove(at)),
            None => state.removed.push((segment, rows)),
        }
    }

    /// Whether the log is being closed, and waits for what is being done.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Sets what is called every now and then; it says after how long it is to be called again.
    pub(super) fn set_housekeeper(&self, housekeeper: Housekeeper) {
        self.state.lock().housekeeper = Some(housekeeper);
    }

    /// Notes that the housekeeper's time has come.
    pub(super) fn note_housekeeping(&self) {
        self.state.lock().is_housekeeping_due = true;
    }

    /// Whether a snapshot is worth it where a segment of `bytes` just ended: beyond `most_bytes` it is.
    pub(super) fn wants_snapshot(&self, bytes: u64, least_bytes: u64, most_bytes: u64) -> bool {
        let mut state = self.state.lock();
        state.snapshot_logged_bytes = state.snapshot_logged_bytes.saturating_add(bytes);
        state.snapshot_segments += 1;
        let wanted = (SNAPSHOT_RATIO * state.snapshot_bytes).max(least_bytes);
        let wanted = wanted.min(most_bytes);
        state.snapshot_logged_bytes >= wanted || state.snapshot_segments >= SNAPSHOT_SEGMENTS
    }

    /// A snapshot is worth it where the active segment ends, however little it holds.
    pub(super) fn want_snapshot(&self) {
        self.state.lock().snapshot_logged_bytes = u64::MAX;
    }

    /// Whether a snapshot was taken that is not written yet.
    pub(super) fn has_snapshot_to_write(&self) -> bool {
        let state = self.state.lock();
        state.unwritten.is_some() || !state.snapshots.is_empty()
    }

    /// Has a snapshot written once the log is synced up to it. Of those that wait, the first is written
    /// whatever comes, or syncs that lag would let none be written, and of the others only the newest.
    pub(super) fn set_snapshot(&self, snapshot: Snapshot) {
        let mut state = self.state.lock();
        state.snapshots.truncate(1);
        state.snapshots.push(snapshot);
        state.snapshot_logged_bytes = 0;
        state.snapshot_segments = 0;
    }

    /// What is due now. If nothing is, whoever asked is done: it is noted under the same lock, so that what
    /// becomes due a moment later finds nobody at work and is not left lying.
    fn next(&self, log: &Shared) -> Option<Work> {
        let mut state = self.state.lock();
        let work = self.due(&mut state, log);
        if work.is_none() {
            state.is_running = false;
            self.idle.notify_all();
        }
        work
    }

    /// Whether the log is durable up to the first snapshot that waits, and so is the segment that begins there:
    /// all before it may go once the snapshot is there, and without that segment there would be no log at all.
    fn is_snapshot_due(&self, state: &State, log: &Shared) -> bool {
        let Some(snapshot) = state.snapshots.first() else {
            return false;
        };
        #[cfg(test)]
        if self.is_ahead {
            return true;
        }
        let has_segment = snapshot.segment <= log.syncer.segment();
        #[cfg(test)]
        let has_segment = has_segment || self.is_without_segment;
        snapshot.index <= log.syncer.synced() && has_segment
    }

    fn due(&self, state: &mut State, log: &Shared) -> Option<Work> {
        let options = &log.options;
        if self.is_snapshot_due(state, log) {
            return Some(Work::Snapshot(state.snapshots.remove(0)));
        }
        let synced = log.syncer.synced();
        #[cfg(test)]
        let synced = if self.is_ahead { u64::MAX } else { synced };
        if let Some(update) = state.update.take_if(|it| it.position.index <= synced) {
            state.is_whole_due = true;
            return Some(Work::Commit(update, state.store.take()));
        }
        let housekeeper = state.housekeeper.clone().filter(|_| !state.is_closed);
        if let Some(housekeeper) = housekeeper
            && mem::take(&mut state.is_housekeeping_due)
        {
            return Some(Work::Housekeeping(housekeeper));
        }
        if !log.is_durable {
            return None;
        }
        let logged = self.logged.load(Ordering::Relaxed);
        let interval = Duration::from_millis(options.checkpoint_interval_ms);
        let passed = world::now().saturating_duration_since(state.taken_at);
        let is_late = logged >= options.checkpoint_least_bytes && passed >= interval;
        let is_due = logged >= options.checkpoint_bytes || is_late;
        (state.update.is_none() && is_due).then_some(Work::Take)
    }
}

#[cfg(test)]
impl Keeper {
    /// Whether something is being done, or will be by the sync thread before it waits again.
    pub(super) fn is_busy(&self, log: &Shared) -> bool {
        let state = self.state.lock();
        let update = state.update.as_ref().map(|update| update.position.index);
        let synced = log.syncer.synced();
        let is_due = self.logged.load(Ordering::Relaxed) >= log.options.checkpoint_bytes;
        state.is_running
            || self.is_snapshot_due(&state, log)
            || update.map_or(is_due, |index| index <= synced)
    }
}

impl Shared {
    /// Does what has become due, on a thread of its own, unless one is at it. Called after a sync.
    pub(super) fn keep_up(self: &Arc<Self>) {
        {
            let mut state = self.keeper.state.lock();
            if state.is_running || state.is_closed {
                return;
            }
            state.is_running = true;
        }
        let Some(work) = self.keeper.next(self) else {
            return;
        };
        if self.options.keeps_inline {
            return self.keep(work);
        }
        let shared = Arc::clone(self);
        if let Err(error) = world::spawn(THREAD, move || shared.keep(work)) {
            crate::seldom!(warn, %error, "the system gives no thread to write a checkpoint on");
            self.keeper.state.lock().is_running = false;
            // What was to be done is lost; whoever waits for room does not wait for ever.
            self.syncer.set_housekeeping(world::now() + AGAIN);
        }
    }

    /// Does one thing after the other, until nothing is due.
    fn keep(self: &Arc<Self>, first: Work) {
        let rest = RestOnPanic(self);
        let mut work = Some(first);
        while let Some(one) = work {
            self.keep_one(one);
            work = self.keeper.next(self);
        }
        mem::forget(rest);
    }

    fn keep_one(self: &Arc<Self>, work: Work) {
        match work {
            Work::Snapshot(snapshot) => {
                let written = snapshot.write(self.storage.as_ref(), &self.dir);
                self.measure_beside();
                match written {
                    Ok(bytes) => {
                        let mut state = self.keeper.state.lock();
                        state.snapshot_bytes = bytes;
                        // There may be more to give back now.
                        state.is_housekeeping_due |= state.housekeeper.is_some();
                    }
                    Err(error) => {
                        self.not_kept("snapshot", &error);
                        self.keeper.state.lock().unwritten = Some(snapshot);
                    }
                }
            }
            Work::Take => self.take_checkpoint(),
            Work::Commit(update, store) => self.commit(&update, store),
            Work::Housekeeping(housekeeper) => {
                self.keeper.state.lock().take_unwritten();
                let again = housekeeper();
                self.syncer.set_housekeeping(world::now() + again);
            }
        }
    }

    /// Copies the state for a checkpoint.
    fn take_checkpoint(self: &Arc<Self>) {
        let mut state = self.keeper.state.lock();
        state.taken_at = world::now();
        let is_whole = state.is_whole_due;
        let mut unlisted = mem::take(&mut state.unlisted);
        let removed = mem::take(&mut state.removed);
        drop(state);
        self.keeper.logged.store(0, Ordering::Relaxed);
        let scope = if is_whole {
            unlisted = self.index.footed();
            Scope::All
        } else {
            Scope::Changed
        };
        let taken = self.with_writer(|writer| self.copy_state(writer, scope));
        let Some((position, pairs, active)) = taken else {
            // There is no entry to say that it goes up to.
            let mut state = self.keeper.state.lock();
            state.unlisted.extend(unlisted);
            state.removed.extend(removed);
            return;
        };
        let listed = unlisted
            .iter()
            .filter_map(|segment| self.sealed_segment(*segment));
        let update = Update {
            log_uuid: self.log_uuid,
            position,
            is_whole,
            pairs,
            sealed: listed.collect(),
            removed,
            active,
        };
        self.keeper.state.lock().update = Some(update);
    }

    fn sealed_segment(&self, segment: u64) -> Option<SealedSegment> {
        let last_index = self.files.segment(segment)?.last_index()?;
        Some(SealedSegment {
            segment,
            last_index,
            rows: self.index.rows_of(segment),
        })
    }

    fn copy_state(&self, writer: &mut Writer, scope: Scope) -> Option<Copied> {
        let position = writer.position()?;
        // The last entry may stand in a segment that is sealed already.
        let is_active = position.segment == writer.active.segment;
        let active = self.index.active_payload(CHECKPOINT_INDEX_BYTES_MAX);
        let active = active.filter(|_| is_active);
        let mut pairs = writer.pairs(scope);
        if scope == Scope::All {
            // What has changed up to here is in it.
            drop(writer.pairs(Scope::Changed));
            drop(self.machine.pairs(Scope::Changed));
        }
        pairs.extend(self.machine.pairs(scope));
        Some((position, pairs, active))
    }

    fn commit(&self, update: &Update, store: Option<Store>) {
        let storage = self.storage.as_ref();
        let opened = match store {
            Some(store) => Ok(store),
            None => Store::open(storage, &self.dir, Arc::clone(&self.keeper.gate)),
        };
        let written = opened.and_then(|mut store| store.commit(update).map(|()| store));
        self.measure_beside();
        let mut state = self.keeper.state.lock();
        match written {
            Ok(store) => {
                state.store = Some(store);
                state.is_whole_due = false;
                state.is_commit_failed = false;
            }
            Err(error) => {
                state.is_commit_failed = true;
                drop(state);
                checkpoint::discard(storage, &self.dir);
                self.not_kept("checkpoint", &error);
            }
        }
    }

    fn not_kept(&self, what: &str, error: &dyn std::error::Error) {
        crate::seldom!(warn, dir = %self.dir, %error, "a {what} could not be written");
    }

    /// Waits for the thread, and writes the last checkpoint if opening would otherwise read much. Everything
    /// is synced, and nobody writes any more.
    pub(super) fn close_keeper(self: &Arc<Self>) {
        let mut state = self.keeper.state.lock();
        state.is_closed = true;
        while state.is_running {
            self.keeper.idle.wait(&mut state);
        }
        drop(state);
        let is_stopped = self.queue.refusal().is_some_and(|it| it.is_fault());
        // A log that was only read is left as it is.
        let is_written = self.with_writer(|writer| writer.is_written);
        if self.is_durable && is_written && !is_stopped {
            let logged = self.keeper.logged.load(Ordering::Relaxed);
            if logged >= self.options.checkpoint_least_bytes {
                self.take_checkpoint();
            }
            self.finish_keeping();
            // The store may have turned out to be damaged: once more, into a new one.
            if mem::take(&mut self.keeper.state.lock().is_commit_failed) {
                self.take_checkpoint();
                self.finish_keeping();
            }
        }
        // Closed in order before the log is: it can be read without being changed then.
        let store = self.keeper.state.lock().store.take();
        drop(store);
    }

    /// Does what is due, with everything synced.
    fn finish_keeping(self: &Arc<Self>) {
        while let Some(work) = self.keeper.next(self) {
            self.keep_one(work);
        }
    }
}

/// Says that the thread has ended when what it does panics; what it was given is lost.
struct RestOnPanic<'a>(&'a Shared);

impl Drop for RestOnPanic<'_> {
    fn drop(&mut self) {
        self.0.keeper.state.lock().is_running = false;
        self.0.keeper.idle.notify_all();
        self.0.queue.let_in(u64::MAX);
        self.0.syncer.set_housekeeping(world::now() + AGAIN);
    }
}
