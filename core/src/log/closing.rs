//! The end of an open log: closed in order, or dropped.

use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::completion::Wakes;
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::limits::WRITE_GROUP_BYTES_MAX;
use crate::world;

use super::io_thread::Stop as IoStop;
use super::queue::{Refusal, closed};
use super::shared::{IO_THREAD, SYNC_THREAD, Shared};
use super::syncer::Stop as SyncStop;

impl Shared {
    pub(super) fn close(self: &Arc<Self>) -> Result<()> {
        if self.is_log_thread(thread::current().id()) {
            return Err(Error::new(
                ErrorCode::InvalidState,
                "a log cannot be closed on a thread of its own",
            ));
        }
        // Declared before the lock is taken, so that foreign code runs after it was let go.
        let mut wakes = Wakes::new();
        let mut closing = self.closing.lock();
        if let Some(result) = closing.as_ref() {
            return result.clone();
        }
        let result = self.close_now(&mut wakes);
        *closing = Some(result.clone());
        drop(closing);
        result
    }

    fn close_now(self: &Arc<Self>, wakes: &mut Wakes) -> Result<()> {
        self.queue.close();
        let mut writer = self.writer.lock();
        while self.write_group(&mut writer, WRITE_GROUP_BYTES_MAX, wakes) {}
        drop(writer);
        self.syncer.stop(SyncStop::Finish);
        self.join(SYNC_THREAD);
        if let Some(round) = self.syncer.last_round()
            && let Err(fault) = self.sync_round(&round, wakes)
        {
            self.fence(&fault, wakes);
        }
        self.close_keeper();
        let mut result = Ok(());
        if !matches!(self.queue.refusal(), Some(Refusal::Fault(_)))
            && let Err(fault) = self.writer.lock().close(self)
        {
            self.fence(&fault, wakes);
        }
        if let Some(Refusal::Fault(fault)) = self.queue.refusal() {
            result = Err(fault.error(Outcome::Unknown));
        }
        self.threads.lock().is_ended = true;
        self.io.stop(IoStop::Finish);
        self.join(IO_THREAD);
        self.io.clear();
        result
    }

    fn join(&self, name: &str) {
        let mut threads = self.threads.lock();
        let at = threads
            .handles
            .iter()
            .position(|handle| handle.thread().name() == Some(name));
        let handle = at.map(|at| threads.handles.swap_remove(at));
        drop(threads);
        if let Some(handle) = handle
            && world::join(handle).is_err()
        {
            tracing::error!(thread = name, "a thread of the log panicked");
        }
    }

    /// What dropping the handle does: nothing is written, nobody is left waiting.
    pub(super) fn abandon(&self) {
        self.keeper.abandon();
        let mut wakes = Wakes::new();
        for append in self.queue.stop(Refusal::Closed) {
            append.completion.complete(Err(closed()), &mut wakes);
        }
        let unknown = closed().with_outcome(Outcome::Unknown);
        self.syncer
            .abandon()
            .into_iter()
            .for_each(|ack| ack.fail(&unknown, &mut wakes));
        self.io.stop(IoStop::Abandon);
        let mut threads = self.threads.lock();
        threads.is_ended = true;
        // Detached: a thread that still works ends by itself.
        threads.handles.clear();
    }

    fn is_log_thread(&self, id: ThreadId) -> bool {
        self.threads.lock().ids.contains(&id)
    }
}
