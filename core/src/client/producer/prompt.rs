//! Sending by the call that has a record, where that is quicker than waking who would.
//!
//! A batch that is all there is waits for nothing, so what it costs to have another thread send it is lost: a
//! hand-over, which takes longer than the sending. In a row of records it is the other way round: what gathers while
//! a thread is woken goes as one batch.

use std::sync::Arc;

use super::desk::Desk;
use super::sender::{Patience, Sender};
use crate::completion::is_own_thread;

impl Sender {
    /// Whether the thread that has begun a batch sends it itself, which spares waking another: the batch is all there
    /// is. A socket takes it at once; a file may take its time, so it is written by who may wait, and only after a
    /// pause, for in a row of records it pays to let them gather.
    pub(super) fn sends_here(&self, desk: &Desk, patience: Patience) -> bool {
        // A thread of ours has others to serve, and may be in the middle of something.
        if is_own_thread() || !desk.accumulator.has_one_small_batch() {
            return false;
        }
        let is_after_pause = || desk.begun.is_some_and(|(_, is_after_pause)| is_after_pause);
        // A forked child has its parent's files: the system is asked before one is written to.
        let may_write = || patience == Patience::Waits && self.check_process().is_ok();
        self.transport.is_remote() || is_after_pause() && may_write()
    }

    /// Sends one batch, on this thread, and leaves what came meanwhile to a job: who sends is not held up by what
    /// others send.
    pub(super) fn send_one(self: &Arc<Self>) {
        // Somebody who dispatches, or looks whether anybody does, sees to what is there.
        let Some(mut compressor) = self.draining.try_lock() else {
            return;
        };
        // Others may have added to it since.
        let is_small = self.desk.lock().accumulator.has_one_small_batch();
        let next = is_small.then(|| self.next(None)).flatten();
        let used = next.and_then(|(dispatch, topic)| self.run(dispatch, topic, &mut compressor));
        drop(compressor);
        let mut desk = self.desk.lock();
        if let Some(builder) = used {
            desk.accumulator.recycle(builder);
        }
        let schedules = self.wants_job(&mut desk);
        drop(desk);
        if schedules {
            self.schedule_drain();
        }
    }
}
