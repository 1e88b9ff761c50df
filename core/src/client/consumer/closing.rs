//! The end of a consumer: commit what is processed, leave the group, at most until a deadline.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::Mutex;

use super::state::State;
use crate::client::CloseReport;
use crate::client::admin::Writer;
use crate::client::deadline::Deadline;
use crate::completion::{Completion, Pending, Shared};
use crate::error::{Error, ErrorCode, Outcome};
use crate::world;

/// A close that has begun.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) report: Shared<CloseReport>,
    deadline: Arc<Deadline>,
}

impl State {
    /// Ends reading, and answers when the group knows, at the latest after `timeout`. Called again it
    /// gives the first answer, at the latest after the shorter time.
    pub(super) fn close(self: &Arc<Self>, timeout: Duration) -> Shared<CloseReport> {
        let by = world::now() + timeout;
        let mut mine = None;
        let closing = self.closing.get_or_init(|| {
            let (completion, answer) = Completion::shared();
            let completion = Arc::new(Mutex::new(Some(completion)));
            mine = Some(Arc::clone(&completion));
            let deadline = Deadline::new(Duration::ZERO, move || {
                let completion = completion.lock().take();
                if let Some(completion) = completion {
                    completion.finish(Ok(report(Some(too_late()))));
                }
            });
            Closing {
                report: answer,
                deadline,
            }
        });
        self.is_closed.store(true, Ordering::Release);
        closing.deadline.bring(by);
        if let Some(completion) = mine {
            self.bell.ring();
            self.stop_reading();
            self.wake_processing();
            self.end_feed();
            self.end(completion, Arc::clone(&closing.deadline));
        }
        closing.report.clone()
    }

    /// Makes a close that is on its way end after `timeout`, if it would later.
    pub(super) fn hurry_close(&self, timeout: Duration) {
        if let Some(closing) = self.closing.get() {
            closing.deadline.bring(world::now() + timeout);
        }
    }

    fn end(
        self: &Arc<Self>,
        completion: Arc<Mutex<Option<Completion<CloseReport>>>>,
        deadline: Arc<Deadline>,
    ) {
        let state = Arc::clone(self);
        let committed = Completion::call(move |committed: Result<(), Error>, _| {
            state.leave(Completion::call(move |left: Result<(), Error>, wakes| {
                deadline.end();
                let completion = completion.lock().take();
                if let Some(completion) = completion {
                    completion.complete(Ok(report(committed.and(left).err())), wakes);
                }
            }));
        });
        // Behind the commits that wait; a last one of its own only where commits are made unasked.
        let is_by_results = self.commits.lock().is_by_results;
        self.commit(is_by_results.then(Vec::new), committed);
    }
}

fn report(first_error: Option<Error>) -> CloseReport {
    CloseReport {
        first_error,
        ..CloseReport::default()
    }
}

fn too_late() -> Error {
    Error::new(
        ErrorCode::RequestTimedOut,
        "the consumer's last commit was not acknowledged in time",
    )
    .with_outcome(Outcome::Unknown)
}

/// What a client keeps of its consumers.
#[derive(Debug)]
pub(in crate::client) struct Remembered(pub(super) Weak<State>);

impl Remembered {
    pub(in crate::client) fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|state| !state.is_closed())
    }

    /// Whether its owner has closed it: then its report is told.
    pub(in crate::client) fn has_closed(&self) -> bool {
        let state = self.0.upgrade();
        let closing = state.and_then(|state| state.closing.get().map(|it| it.report.peek()));
        closing.flatten().is_some()
    }

    /// Makes a close that is on its way end after `timeout`, if it would later.
    pub(in crate::client) fn hurry_close(&self, timeout: Duration) {
        if let Some(state) = self.0.upgrade() {
            state.hurry_close(timeout);
        }
    }

    /// Begins to close it, if it is still there.
    pub(in crate::client) fn close(&self, timeout: Duration) -> Option<Pending<CloseReport>> {
        let state = self.0.upgrade()?;
        let writer = Arc::new(Writer(Arc::clone(&state.transport)));
        Some(state.close(timeout).follow().with_assist(writer))
    }
}
