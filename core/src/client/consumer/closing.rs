//! The end of a consumer: commit what is processed, leave the group, at most until a deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::sync::Mutex;

use super::state::State;
use crate::client::CloseReport;
use crate::completion::{Completion, Shared};
use crate::error::{Error, ErrorCode, Outcome};
use crate::timer;
use crate::world;

impl State {
    /// Ends reading, and answers when the group knows, at the latest after `timeout`. Called again it
    /// gives the first answer.
    pub(super) fn close(self: &Arc<Self>, timeout: Duration) -> Shared<CloseReport> {
        let mut mine = None;
        let report = self.closing.get_or_init(|| {
            let (completion, report) = Completion::shared();
            mine = Some(completion);
            report
        });
        if let Some(completion) = mine {
            self.is_closed.store(true, Ordering::Release);
            self.bell.ring();
            self.stop_reading();
            self.wake_processing();
            self.end_feed();
            self.end_by(completion, world::now() + timeout);
        }
        report.clone()
    }

    fn end_by(self: &Arc<Self>, completion: Completion<CloseReport>, deadline: Instant) {
        let completion = Arc::new(Mutex::new(Some(completion)));
        let late = Arc::clone(&completion);
        let timer = timer::at(deadline, move || {
            if let Some(completion) = late.lock().take() {
                completion.finish(Ok(report(Some(too_late()))));
            }
        });
        let state = Arc::clone(self);
        let committed = Completion::call(move |committed: Result<(), Error>, _| {
            state.leave(Completion::call(move |left: Result<(), Error>, wakes| {
                drop(timer);
                if let Some(completion) = completion.lock().take() {
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
