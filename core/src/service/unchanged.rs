//! Answers for which nothing is to be written: what was asked for is so already.
//!
//! It may be so by an entry that is applied and not synced yet, of somebody else or of the same one, who asks again. A
//! power cut would take it back, so the answer waits until that is safe; a log that has stopped does not give it.
//!
//! That a topic exists already is not told here: who creates it and who asks meanwhile are answered together (`admin.rs`).

use std::sync::Arc;

use super::Inner;
use crate::completion::{Completion, Wakes};
use crate::error::Result;
use crate::protocol::response::Response;

impl Inner {
    /// Gives the answer once everything that is applied by now is synced.
    pub(super) fn answer_once_synced(
        self: &Arc<Self>,
        answer: Result<Response>,
        completion: Completion<Response>,
    ) {
        let synced = Completion::call(move |synced: Result<()>, wakes: &mut Wakes| {
            completion.complete(synced.and(answer), wakes);
        });
        let inner = Arc::clone(self);
        // In a job: what is applied counts as written when the write is over, and that is waited for.
        self.log.schedule_turn(move || {
            let _ = inner.log.last_index();
            inner.log.sync(synced);
        });
    }
}

#[cfg(test)]
mod tests;
