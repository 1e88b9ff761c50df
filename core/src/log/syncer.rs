//! The sync thread: it calls fdatasync, and nothing counts as synced before that returned.
//!
//! The writer notes what it wrote ([`Syncer::note`]); a round takes everything noted, syncs the files in
//! order (sealed segments first, then the one that is written to, then the folder's names), and only then
//! publishes `synced`, tells the machine, and answers the `disk` appends it covers, in order. What is
//! written while a round runs waits for the next: that is the group commit. Data that nobody waits for is
//! synced after `os_sync_interval_ms`; a log idle for `idle_mark_ms` writes a MARK.
//!
//! The thread runs no foreign code: wake-ups go to the io thread. A sync that fails stops the log and is
//! never tried again.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

use crate::completion::{Completion, Wakes};
use crate::error::{Error, Outcome};
use crate::world;

use super::ahead::Ahead;
use super::append::Appended;
use super::error::Fault;
use super::seal::Sealed;

/// An answer that waits for a sync.
#[derive(Debug)]
pub(super) enum Ack {
    /// Of an append.
    Append(Completion<Appended>, Appended),
    /// Of a plain wish for a sync of everything up to an index.
    Sync(Completion<()>, u64),
}

impl Ack {
    const fn index(&self) -> u64 {
        match self {
            Self::Append(_, appended) => appended.index,
            Self::Sync(_, index) => *index,
        }
    }

    /// Answers that everything it waited for is synced.
    fn succeed(self, wakes: &mut Wakes) {
        match self {
            Self::Append(completion, appended) => completion.complete(Ok(appended), wakes),
            Self::Sync(completion, _) => completion.complete(Ok(()), wakes),
        }
    }

    /// Answers with an error.
    pub(super) fn fail(self, error: &Error, wakes: &mut Wakes) {
        match self {
            Self::Append(completion, _) => completion.complete(Err(error.clone()), wakes),
            Self::Sync(completion, _) => completion.complete(Err(error.clone()), wakes),
        }
    }
}

/// What a round of syncing is about.
#[derive(Debug)]
pub(super) struct Round {
    sealed: Vec<Sealed>,
    active: Arc<Ahead>,
    is_folder_dirty: bool,
    index: u64,
    /// Where the frames of the active segment end.
    end: u64,
    is_asked: bool,
}

/// What the sync thread does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Sync this.
    Sync(Round),
    /// Nothing was written for a while: write a MARK if nobody else writes.
    Idle,
    /// It is time for housekeeping.
    Housekeeping,
    /// End.
    Stop,
}

/// How the thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After everything noted is synced.
    Finish,
    /// At once.
    Abandon,
}

#[derive(Debug)]
pub(super) struct Syncer {
    state: Mutex<State>,
    due: Condvar,
    synced: AtomicU64,
    /// The newest segment whose header and name are synced.
    segment: AtomicU64,
    waiting_acks: AtomicUsize,
    os_sync_interval: Duration,
    idle_mark: Duration,
}

#[derive(Debug)]
struct State {
    active: Arc<Ahead>,
    sealed: Vec<Sealed>,
    is_folder_dirty: bool,
    /// The largest index noted as written.
    written: u64,
    /// Since when there is something that no round has taken.
    dirty_since: Option<Instant>,
    /// Whether the next round is due at once.
    is_wanted: bool,
    /// When the last round ended, if everything is synced and no MARK covers it.
    idle_since: Option<Instant>,
    /// When housekeeping is due.
    housekeeping_at: Option<Instant>,
    /// In the order of writing.
    acks: VecDeque<Ack>,
    stop: Option<Stop>,
    fault: Option<Fault>,
}

impl Syncer {
    /// A syncer of a log whose entries up to `synced` are synced, and whose next frames go to `active`, which is
    /// durable.
    pub(super) fn new(
        active: Arc<Ahead>,
        synced: u64,
        os_sync_interval_ms: u64,
        idle_mark_ms: u64,
    ) -> Self {
        let segment = active.segment();
        let state = State {
            active,
            sealed: Vec::new(),
            is_folder_dirty: false,
            written: synced,
            dirty_since: None,
            is_wanted: false,
            idle_since: None,
            housekeeping_at: None,
            acks: VecDeque::new(),
            stop: None,
            fault: None,
        };
        Self {
            state: Mutex::new(state),
            due: Condvar::new(),
            synced: AtomicU64::new(synced),
            segment: AtomicU64::new(segment),
            waiting_acks: AtomicUsize::new(0),
            os_sync_interval: Duration::from_millis(os_sync_interval_ms),
            idle_mark: Duration::from_millis(idle_mark_ms),
        }
    }

    /// The largest index synced.
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// The newest segment that a power cut cannot take: whatever was synced before it, it may be missing
    /// until then.
    pub(super) fn segment(&self) -> u64 {
        self.segment.load(Ordering::Acquire)
    }

    /// Notes that a round is synced.
    pub(super) fn note_synced(&self, round: &Round) {
        let segment = round.active.segment();
        self.segment.store(segment, Ordering::Release);
    }

    /// Answers that wait for a sync.
    pub(super) fn waiting_acks(&self) -> usize {
        self.waiting_acks.load(Ordering::Relaxed)
    }

    /// Publishes what is synced: for a storage that is not durable, where written is as good as it gets.
    pub(super) fn publish(&self, index: u64) {
        self.synced.store(index, Ordering::Release);
    }

    /// Notes that everything up to `written` is in the file, and who waits for its sync. Called under the
    /// writer's lock. The acks move out of the vector.
    pub(super) fn note(
        &self,
        written: u64,
        is_wanted: bool,
        acks: &mut Vec<Ack>,
        wakes: &mut Wakes,
    ) {
        let mut state = self.state.lock();
        if let Some(fault) = &state.fault {
            let error = fault.error(Outcome::Unknown);
            drop(state);
            acks.drain(..).for_each(|ack| ack.fail(&error, wakes));
            return;
        }
        state.written = written;
        let was_clean = state.dirty_since.is_none();
        let was_wanted = state.is_wanted;
        state.mark_dirty();
        state.is_wanted |= is_wanted;
        self.waiting_acks.fetch_add(acks.len(), Ordering::Relaxed);
        state.acks.extend(acks.drain(..));
        // A thread that waits without end, or for longer than this, has to hear of it.
        let is_news = was_clean || (is_wanted && !was_wanted);
        drop(state);
        if is_news {
            self.due.notify_one();
        }
    }

    /// Has an answer given that waits for something written already: at once if it is synced.
    pub(super) fn join(&self, ack: Ack, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        if let Some(fault) = &state.fault {
            let error = fault.error(Outcome::Unknown);
            drop(state);
            return ack.fail(&error, wakes);
        }
        if ack.index() <= self.synced() {
            drop(state);
            return ack.succeed(wakes);
        }
        self.waiting_acks.fetch_add(1, Ordering::Relaxed);
        // What is noted and not dirty is in a round that runs; what is not noted yet soon will be.
        state.is_wanted |= state.dirty_since.is_some() || ack.index() > state.written;
        state.acks.push_back(ack);
        drop(state);
        self.due.notify_one();
    }

    /// Notes that a segment is full and another is written to. Called under the writer's lock.
    pub(super) fn roll(&self, sealed: Sealed, active: Arc<Ahead>) {
        let mut state = self.state.lock();
        let full = mem::replace(&mut state.active, active);
        state.sealed.push(sealed);
        state.is_folder_dirty = true;
        state.mark_dirty();
        drop(state);
        full.end();
    }

    /// Whether the thread is to end.
    pub(super) fn is_stopping(&self) -> bool {
        let state = self.state.lock();
        state.stop.is_some() || state.fault.is_some()
    }

    /// What to do next, waiting for it.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.fault.is_some() || state.stop == Some(Stop::Abandon) {
                return Next::Stop;
            }
            let is_stopping = state.stop.is_some();
            if state.dirty_since.is_none() && is_stopping {
                return Next::Stop;
            }
            let sync_at = state.dirty_since.map(|since| since + self.os_sync_interval);
            let idle_at = state.idle_since.map(|since| since + self.idle_mark);
            let now = world::now();
            let is_due = state.is_wanted || is_stopping || sync_at.is_some_and(|at| at <= now);
            if state.dirty_since.is_some() && is_due {
                return Next::Sync(state.take_round());
            }
            if state.dirty_since.is_none() && idle_at.is_some_and(|at| at <= now) {
                state.idle_since = None;
                return Next::Idle;
            }
            if state.housekeeping_at.take_if(|at| *at <= now).is_some() {
                return Next::Housekeeping;
            }
            let wakes_at = [sync_at.or(idle_at), state.housekeeping_at];
            match wakes_at.into_iter().flatten().min() {
                Some(at) => drop(self.due.wait_until(&mut state, at)),
                None => self.due.wait(&mut state),
            }
        }
    }

    /// Has [`Next::Housekeeping`] come at a time, or earlier if it is to come then already.
    pub(super) fn set_housekeeping(&self, at: Instant) {
        let mut state = self.state.lock();
        let known = state.housekeeping_at.unwrap_or(at);
        state.housekeeping_at = Some(known.min(at));
        drop(state);
        self.due.notify_one();
    }

    /// Everything noted and not synced, for a thread that syncs once the sync thread has ended.
    pub(super) fn last_round(&self) -> Option<Round> {
        let mut state = self.state.lock();
        let is_dirty = state.dirty_since.is_some() && state.fault.is_none();
        is_dirty.then(|| state.take_round())
    }

    /// Publishes a round that is synced, after `machine` was told, and answers who waited for it.
    /// `is_marked` says whether a MARK covers it already.
    pub(super) fn complete(&self, index: u64, is_marked: bool, wakes: &mut Wakes) {
        let mut due = VecDeque::new();
        let mut state = self.state.lock();
        while state.acks.front().is_some_and(|ack| ack.index() <= index) {
            due.extend(state.acks.pop_front());
        }
        state.is_wanted |= !state.acks.is_empty() && state.dirty_since.is_some();
        if state.dirty_since.is_none() && !is_marked {
            state.idle_since = Some(world::now());
        }
        drop(state);
        self.waiting_acks.fetch_sub(due.len(), Ordering::Relaxed);
        due.into_iter().for_each(|ack| ack.succeed(wakes));
    }

    /// Has a round come at once, if anything is not synced.
    pub(super) fn hurry(&self) {
        let mut state = self.state.lock();
        state.is_wanted |= state.dirty_since.is_some();
        drop(state);
        self.due.notify_one();
    }

    /// Has [`Next::Idle`] come once more, unless something is written before.
    pub(super) fn idle_again(&self) {
        let mut state = self.state.lock();
        if state.dirty_since.is_none() {
            state.idle_since = Some(world::now());
        }
    }

    /// Stops for good, and gives out who waits. Later notes and joins are answered with the fault.
    pub(super) fn fail(&self, fault: &Fault) -> VecDeque<Ack> {
        let mut state = self.state.lock();
        state.fault.get_or_insert_with(|| fault.clone());
        let acks = mem::take(&mut state.acks);
        drop(state);
        self.waiting_acks.fetch_sub(acks.len(), Ordering::Relaxed);
        self.due.notify_one();
        acks
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self, stop: Stop) {
        self.state.lock().stop = Some(stop);
        self.due.notify_one();
    }

    /// Gives out who waits, to be told that the log is closed.
    pub(super) fn abandon(&self) -> VecDeque<Ack> {
        let mut state = self.state.lock();
        state.stop = Some(Stop::Abandon);
        let acks = mem::take(&mut state.acks);
        let active = Arc::clone(&state.active);
        drop(state);
        // Another log may write to the file from here on.
        active.end();
        self.waiting_acks.fetch_sub(acks.len(), Ordering::Relaxed);
        self.due.notify_one();
        acks
    }
}

impl State {
    fn mark_dirty(&mut self) {
        self.idle_since = None;
        if self.dirty_since.is_none() {
            self.dirty_since = Some(world::now());
        }
    }

    fn take_round(&mut self) -> Round {
        self.dirty_since = None;
        Round {
            sealed: mem::take(&mut self.sealed),
            end: self.active.written(),
            active: Arc::clone(&self.active),
            is_folder_dirty: mem::take(&mut self.is_folder_dirty),
            index: self.written,
            is_asked: mem::take(&mut self.is_wanted),
        }
    }
}

impl Round {
    /// The largest index that is synced once this is.
    pub(super) const fn index(&self) -> u64 {
        self.index
    }

    /// The segment that is written to.
    pub(super) const fn active(&self) -> &Arc<Ahead> {
        &self.active
    }

    /// Where the frames of that segment end which this syncs; there may be more by now.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Whether somebody asked for this, and it was not just time.
    pub(super) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Syncs, in order: sealed segments by `seal`, the one that is written to, and last, by `sync_folder`,
    /// the folder's names.
    ///
    /// # Errors
    /// The storage's. Then nothing is known of any of the files.
    pub(super) fn sync(
        &self,
        seal: impl Fn(&Sealed) -> io::Result<()>,
        sync_folder: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.sealed.iter().try_for_each(seal)?;
        self.active.file().sync()?;
        if self.is_folder_dirty {
            sync_folder()?;
        }
        Ok(())
    }
}
