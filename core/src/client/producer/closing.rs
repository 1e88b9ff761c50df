//! The end of a producer: flush what it has, at most until a deadline, and say what is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::Mutex;

use super::sender::Sender;
use crate::client::CloseReport;
use crate::completion::{Completion, Shared, Wakes};
use crate::timer;
use crate::world;

impl Sender {
    /// Takes no more records and answers when those it has have ended, at the latest after `timeout`.
    /// Called again it gives the first answer.
    pub(super) fn close(self: &Arc<Self>, timeout: Duration) -> Shared<CloseReport> {
        let mut mine = None;
        let report = self.closing.get_or_init(|| {
            let (completion, report) = Completion::shared();
            mine = Some(completion);
            report
        });
        if let Some(completion) = mine {
            self.begin_close();
            self.end_by(completion, world::now() + timeout);
        }
        report.clone()
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

    /// Fills `completion` when everything has ended or at `deadline`, whichever comes first.
    fn end_by(self: &Arc<Self>, completion: Completion<CloseReport>, deadline: Instant) {
        let completion = Arc::new(Mutex::new(Some(completion)));
        let (late, sender) = (Arc::clone(&completion), Arc::clone(self));
        let timer = timer::at(deadline, move || {
            // Giving up ends the flush below: not under the lock that it takes.
            let completion = late.lock().take();
            if let Some(completion) = completion {
                let mut wakes = Wakes::new();
                let report = sender.give_up(&mut wakes);
                completion.complete(Ok(report), &mut wakes);
            }
        });
        let sender = Arc::clone(self);
        self.flush(Completion::call(move |_, wakes| {
            drop(timer);
            let completion = completion.lock().take();
            if let Some(completion) = completion {
                let report = sender.give_up(wakes);
                completion.complete(Ok(report), wakes);
            }
        }));
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
