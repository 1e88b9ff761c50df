//! What the handle and the threads of a log share, and what ties the parts together: driving the writer,
//! syncing, stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::{fmt, io, mem};

use crate::sync::{Mutex, MutexGuard};

use crate::completion::{Completion, Wakes, mark_own_thread};
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::ids::{Durability, LeaderEpoch};
use crate::limits::{
    BATCH_BYTES_MAX, CONTROL_BYTES_MAX, SET_BYTES_MAX, SYNC_ACKS_MAX, WRITE_GROUP_BYTES_MAX,
};
use crate::world;

use super::LogOptions;
use super::append::{Append, Run};
use super::entry::{Kind, Machine};
use super::error::Fault;
use super::files::Files;
use super::index::Index;
use super::io_thread::IoThread;
use super::keeper::Keeper;
use super::look_ahead::Pace;
use super::queue::{Queue, Refusal, closed};
use super::quota::Quota;
use super::seal::{self, Sealed};
use super::storage::Storage;
use super::syncer::{Ack, Next, Round, Syncer};
use super::tally::Tally;
use super::writer::Writer;

/// Write groups that one thread writes for others before the io thread takes over.
pub(super) const GROUPS_PER_TURN: usize = 16;

/// The age at which a segment rolls where no retention is shorter, ms: a day.
const SEGMENT_MS: i64 = 24 * 60 * 60 * 1_000;

pub(super) const SYNC_THREAD: &str = "headwater-sync";
pub(super) const IO_THREAD: &str = "headwater-io";

pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: String,
    pub(super) log_uuid: [u8; 16],
    pub(super) options: LogOptions,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) is_durable: bool,
    pub(super) term: LeaderEpoch,
    pub(super) files: Files,
    pub(super) index: Index,
    pub(super) keeper: Keeper,
    pub(super) queue: Queue,
    pub(super) quota: Quota,
    pub(super) syncer: Syncer,
    pub(super) tally: Tally,
    pub(super) io: IoThread,
    pub(super) written: AtomicU64,
    /// The age at which a segment rolls, ms.
    pub(super) segment_ms: AtomicI64,
    /// The largest index that a MARK on disk covers.
    pub(super) marked: AtomicU64,
    pub(super) writer: Mutex<Writer>,
    pub(super) threads: Mutex<Threads>,
    has_sync_thread: AtomicBool,
    has_io_thread: AtomicBool,
    /// The sync thread has answered a round and is not done with what comes after it: tests wait for that.
    #[cfg(test)]
    pub(super) is_preparing: AtomicBool,
    /// The result of the close; its lock is held while closing.
    pub(super) closing: Mutex<Option<Result<()>>>,
}

#[derive(Default)]
pub(super) struct Threads {
    pub(super) handles: Vec<JoinHandle<()>>,
    /// Kept when the handles are taken to be joined.
    pub(super) ids: Vec<ThreadId>,
    pub(super) is_ended: bool,
}

/// The parts that opening a log makes.
pub(super) struct Parts {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: String,
    pub(super) log_uuid: [u8; 16],
    pub(super) options: LogOptions,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) files: Files,
    pub(super) index: Index,
    pub(super) keeper: Keeper,
    pub(super) syncer: Syncer,
    pub(super) writer: Writer,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            storage,
            dir,
            log_uuid,
            options,
            machine,
            files,
            index,
            keeper,
            syncer,
            writer,
        } = parts;
        Self {
            is_durable: storage.is_durable(),
            term: writer.leader_epoch(),
            written: AtomicU64::new(writer.last_index()),
            marked: AtomicU64::new(writer.last_index()),
            segment_ms: AtomicI64::new(SEGMENT_MS),
            storage,
            dir,
            log_uuid,
            options,
            machine,
            files,
            index,
            keeper,
            queue: Queue::default(),
            quota: Quota::default(),
            syncer,
            tally: Tally::default(),
            io: IoThread::default(),
            writer: Mutex::new(writer),
            threads: Mutex::new(Threads::default()),
            has_sync_thread: AtomicBool::new(false),
            has_io_thread: AtomicBool::new(false),
            #[cfg(test)]
            is_preparing: AtomicBool::new(false),
            closing: Mutex::new(None),
        }
    }

    /// Queues an append, or gives it back with the reason why not.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        append: Append,
        run: Run,
    ) -> Result<(), (Append, Error)> {
        let checked = self.check_append(&append);
        match checked.and_then(|()| self.start_threads(run)) {
            Ok(()) => self.queue.push(append),
            Err(error) => Err((append, error)),
        }
    }

    /// Has what is queued written.
    pub(super) fn write_queued(self: &Arc<Self>, run: Run) {
        match run {
            Run::Here => self.drive(),
            Run::Prompt => self.drive_promptly(),
            Run::Io => self.io.append(),
        }
    }

    fn check_append(&self, append: &Append) -> Result<()> {
        let max = match append.kind {
            Kind::Records => BATCH_BYTES_MAX,
            Kind::Set => SET_BYTES_MAX,
            Kind::Mark | Kind::Footer => return Err(not_appended(append.kind)),
            kind if !kind.is_supported() || !kind.reads_version(append.version) => {
                return Err(not_appended(kind));
            }
            _ => CONTROL_BYTES_MAX,
        };
        let len = append.payload.len();
        if len > max {
            let name = append.kind.name();
            return Err(Error::new(
                ErrorCode::MessageTooLarge,
                format!("a {name} entry has {len} bytes; the limit is {max}"),
            ));
        }
        if append.ack == Durability::Quorum || (append.ack == Durability::Disk && !self.is_durable)
        {
            return Err(Error::new(
                ErrorCode::UnsupportedFeature,
                format!("this log cannot reach durability `{}`", append.ack),
            ));
        }
        self.check_acks()
    }

    fn check_acks(&self) -> Result<()> {
        if self.syncer.waiting_acks() < SYNC_ACKS_MAX {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::BufferFull,
            format!("{SYNC_ACKS_MAX} answers wait for a sync already"),
        ))
    }

    /// Writes what is queued, unless another thread does: then that one writes it, because it looks at the
    /// queue again after it has let go of the lock.
    pub(super) fn drive(self: &Arc<Self>) {
        let mut turns = 0;
        while !self.queue.is_empty() {
            // Declared before the lock is taken, so that foreign code runs after it was let go.
            let mut wakes = Wakes::new();
            let Some(mut writer) = self.writer.try_lock() else {
                return;
            };
            while turns < GROUPS_PER_TURN
                && self.write_group(&mut writer, WRITE_GROUP_BYTES_MAX, &mut wakes)
            {
                turns += 1;
            }
            drop(writer);
            wakes.run();
            if turns >= GROUPS_PER_TURN && !self.queue.is_empty() {
                turns = 0;
                if self.start_io_thread().is_ok() {
                    return self.io.append();
                }
            }
        }
    }

    /// Writes one group, at most so many bytes or one append; false if nothing was queued.
    pub(super) fn write_group(
        &self,
        writer: &mut MutexGuard<'_, Writer>,
        bytes_max: usize,
        wakes: &mut Wakes,
    ) -> bool {
        let guard = FenceOnPanic { shared: self };
        let result = writer.write_group(self, bytes_max, wakes);
        mem::forget(guard);
        result.unwrap_or_else(|fault| {
            self.fence(&fault, wakes);
            false
        })
    }

    /// Writes an append that was decided under the writer's lock, at once.
    pub(super) fn write_decided(
        &self,
        writer: &mut MutexGuard<'_, Writer>,
        append: Append,
        wakes: &mut Wakes,
    ) {
        let guard = FenceOnPanic { shared: self };
        let result = writer.write_one(self, append, wakes);
        mem::forget(guard);
        if let Err(fault) = result {
            self.fence(&fault, wakes);
        }
    }

    /// Looks at the writer, waiting for its lock.
    pub(super) fn with_writer<T>(self: &Arc<Self>, look: impl FnOnce(&mut Writer) -> T) -> T {
        let found = look(&mut self.writer.lock());
        self.leave_queued();
        found
    }

    /// Has the io thread write what was queued while a thread held the writer's lock that does not write
    /// records: whoever queued it left it to the holder.
    pub(super) fn leave_queued(self: &Arc<Self>) {
        if !self.queue.is_empty() && self.start_io_thread().is_ok() {
            self.io.append();
        }
    }

    /// Stops the log: everything queued and everything later is answered with the fault.
    pub(super) fn fence(&self, fault: &Fault, wakes: &mut Wakes) {
        tracing::error!(dir = %self.dir, %fault, "the log has stopped");
        let not_done = fault.error(Outcome::NotDone);
        for append in self.queue.stop(Refusal::Fault(fault.clone())) {
            append.completion.complete(Err(not_done.clone()), wakes);
        }
        let unknown = fault.error(Outcome::Unknown);
        self.syncer
            .fail(fault)
            .into_iter()
            .for_each(|ack| ack.fail(&unknown, wakes));
    }

    pub(super) fn sync(self: &Arc<Self>, completion: Completion<()>) {
        if let Some(refusal) = self.queue.refusal() {
            return completion.finish(Err(refusal.error()));
        }
        if !self.is_durable {
            return completion.finish(Ok(()));
        }
        if let Err(error) = self.check_acks().and_then(|()| self.start_sync_thread()) {
            return completion.finish(Err(error));
        }
        let mut wakes = Wakes::new();
        let index = self.written.load(Ordering::Acquire);
        self.syncer.join(Ack::Sync(completion, index), &mut wakes);
    }

    pub(super) fn schedule(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.start_io_thread()?;
        self.io.schedule(Box::new(job))
    }

    pub(super) fn schedule_turn(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        match self.start_io_thread() {
            Err(error) if error.code() == ErrorCode::Closed => return,
            // It waits until the thread can be started, which is tried with every job.
            Err(error) => crate::seldom!(error, %error, dir = %self.dir, "a log has no io thread"),
            Ok(()) => {}
        }
        self.io.schedule_turn(Box::new(job));
    }

    /// Syncs a round, tells the machine, answers who waited.
    pub(super) fn sync_round(&self, round: &Round, wakes: &mut Wakes) -> Result<(), Fault> {
        let seal = |sealed: &Sealed| seal::seal(self, sealed);
        let began = world::now();
        round.sync(seal, || self.storage.sync_dir(&self.dir))?;
        self.tally
            .synced(world::now().saturating_duration_since(began));
        self.syncer.note_synced(round);
        let index = round.index();
        if index > self.syncer.synced() {
            self.syncer.publish(index);
            self.machine.synced(index, wakes);
        }
        self.syncer
            .complete(index, self.marked.load(Ordering::Acquire) >= index, wakes);
        Ok(())
    }

    /// What the sync thread does.
    fn run_sync_thread(self: &Arc<Self>) {
        mark_own_thread();
        let mut pace = Pace::default();
        loop {
            let mut wakes = Wakes::new();
            let next = self.syncer.next();
            let guard = FenceOnPanic { shared: self };
            let has_work = matches!(next, Next::Sync(_) | Next::Housekeeping);
            let mut answered = None;
            let result = match next {
                Next::Stop => Err(None),
                Next::Sync(round) => {
                    #[cfg(test)]
                    self.is_preparing.store(true, Ordering::Release);
                    let synced = self.sync_round(&round, &mut wakes);
                    answered = synced.is_ok().then_some(round);
                    synced.map_err(Some)
                }
                Next::Idle => self.mark_idle().map_err(Some),
                Next::Housekeeping => {
                    self.keeper.note_housekeeping();
                    Ok(())
                }
            };
            mem::forget(guard);
            if let Err(None) = result {
                return;
            }
            match result {
                Err(Some(fault)) => self.fence(&fault, &mut wakes),
                _ if has_work => self.keep_up(),
                _ => {}
            }
            self.hand_over(wakes);
            if let Some(round) = answered {
                self.look_ahead(&mut pace, &round);
            }
        }
    }

    /// Writes a MARK if nobody writes: then the log is not idle.
    fn mark_idle(self: &Arc<Self>) -> Result<(), Fault> {
        let Some(mut writer) = self.writer.try_lock() else {
            // Who holds it may be done with writing, or only look: the log is idle still then.
            self.syncer.idle_again();
            return Ok(());
        };
        let synced = self.syncer.synced();
        let mut result = Ok(());
        if self.queue.is_empty() && writer.last_index() == synced {
            result = writer.mark_idle(self).map(|is_marked| {
                if is_marked {
                    self.marked.store(synced, Ordering::Release);
                    self.syncer
                        .note(synced, true, &mut Vec::new(), &mut Wakes::new());
                }
            });
        }
        drop(writer);
        self.leave_queued();
        result
    }

    /// Has wake-ups run by the io thread.
    pub(super) fn hand_over(self: &Arc<Self>, wakes: Wakes) {
        if wakes.is_empty() {
            return;
        }
        // A thread that cannot be started, or has ended, leaves them to this one: late beats never.
        if self.start_io_thread().is_ok() {
            drop(self.io.wake(wakes));
        }
    }

    fn start_threads(self: &Arc<Self>, run: Run) -> Result<()> {
        if self.is_durable {
            self.start_sync_thread()?;
        }
        if run == Run::Io {
            self.start_io_thread()?;
        }
        Ok(())
    }

    pub(super) fn start_sync_thread(self: &Arc<Self>) -> Result<()> {
        if self.has_sync_thread.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_thread(SYNC_THREAD, &self.has_sync_thread, Self::run_sync_thread)
    }

    pub(super) fn start_io_thread(self: &Arc<Self>) -> Result<()> {
        if self.has_io_thread.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_thread(IO_THREAD, &self.has_io_thread, |shared| {
            shared.io.run(|| shared.drive());
        })
    }

    fn start_thread(
        self: &Arc<Self>,
        name: &'static str,
        has_thread: &AtomicBool,
        run: fn(&Arc<Self>),
    ) -> Result<()> {
        let mut threads = self.threads.lock();
        if has_thread.load(Ordering::Acquire) {
            return Ok(());
        }
        if threads.is_ended {
            return Err(closed());
        }
        let shared = Arc::clone(self);
        let handle = world::spawn(name, move || run(&shared)).map_err(|error| {
            Error::new(
                ErrorCode::KafkaStorageError,
                format!("cannot start thread {name}: {error}"),
            )
            .with_source(error)
        })?;
        threads.ids.push(handle.thread().id());
        threads.handles.push(handle);
        has_thread.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn thread_count(&self) -> usize {
        self.threads.lock().handles.len()
    }
}

/// Stops the log when the writer panics: what it had half done is not to be built upon.
pub(super) struct FenceOnPanic<'a> {
    pub(super) shared: &'a Shared,
}

impl Drop for FenceOnPanic<'_> {
    fn drop(&mut self) {
        let panicked = io::Error::other("a panic while writing, which is a bug: please report it");
        let mut wakes = Wakes::new();
        self.shared.fence(&panicked.into(), &mut wakes);
    }
}

fn not_appended(kind: Kind) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!("{} entries cannot be appended", kind.name()),
    )
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("dir", &self.dir)
            .field("term", &self.term)
            .field("written", &self.written)
            .field("synced", &self.syncer.synced())
            .finish_non_exhaustive()
    }
}
