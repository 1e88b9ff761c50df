//! The end of a producer: flush what it has, at most until a deadline, and say what is left.

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

use super::sender::Sender;
use crate::client::CloseReport;
use crate::client::deadline::Deadline;
use crate::completion::{Completion, Shared, Wakes};
use crate::world;

/// A close that has begun.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) report: Shared<CloseReport>,
    deadline: Arc<Deadline>,
}

impl Sender {
    /// Takes no more records and answers when those it has have ended, at the latest after `timeout`.
    /// Called again it gives the first answer, at the latest after the shorter time.
    pub(super) fn close(self: &Arc<Self>, timeout: Duration) -> Shared<CloseReport> {
        let by = world::now() + timeout;
        let mut mine = None;
        let closing = self.closing.get_or_init(|| {
            let (completion, report) = Completion::shared();
            let completion = Arc::new(Mutex::new(Some(completion)));
            mine = Some(Arc::clone(&completion));
            let sender = Arc::downgrade(self);
            let deadline = Deadline::new(Duration::ZERO, move || {
                if let Some(sender) = sender.upgrade() {
                    sender.finish(&completion, &mut Wakes::new());
                }
            });
            Closing { report, deadline }
        });
        // First: what is accepted after the report would be in none.
        self.begin_close();
        closing.deadline.bring(by);
        if let Some(completion) = mine {
            let (sender, deadline) = (Arc::clone(self), Arc::clone(&closing.deadline));
            self.flush(Completion::call(move |_, wakes| {
                deadline.end();
                sender.finish(&completion, wakes);
            }));
        }
        closing.report.clone()
    }

    /// Makes a close that is on its way end after `timeout`, if it would later.
    pub(super) fn hurry_close(&self, timeout: Duration) {
        if let Some(closing) = self.closing.get() {
            closing.deadline.bring(world::now() + timeout);
        }
    }

    /// Refuses records from now on; false if it did already.
    pub(super) fn begin_close(&self) -> bool {
        let mut wakes = Wakes::new();
        let mut desk = self.desk.lock();
        let is_first = !desk.is_closed;
        desk.is_closed = true;
        self.room.notify_all();
        let ready = std::mem::take(&mut desk.ready);
        drop(desk);
        for (_, completion) in ready {
            completion.complete(Err(super::sender::closed()), &mut wakes);
        }
        is_first
    }

    /// Says what came of it, unless that was said.
    fn finish(
        self: &Arc<Self>,
        completion: &Mutex<Option<Completion<CloseReport>>>,
        wakes: &mut Wakes,
    ) {
        // Giving up ends the flush: not under the lock that it takes.
        let completion = completion.lock().take();
        if let Some(completion) = completion {
            let report = self.give_up(wakes);
            completion.complete(Ok(report), wakes);
        }
    }

    /// Ends what has not ended, and says how much that was: what is counted and what its deliveries say
    /// are one, however late the answers come.
    fn give_up(self: &Arc<Self>, wakes: &mut Wakes) -> CloseReport {
        let untold = self.ledger.take_untold();
        let mut unsent_records = 0;
        self.step(wakes, |desk, told| {
            unsent_records = desk.accumulator.outstanding_records();
            desk.accumulator.give_up(told);
        });
        CloseReport {
            unsent_records,
            failed_records: untold.records,
            first_error: untold.first,
        }
    }
}
