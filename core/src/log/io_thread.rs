//! The io thread: it touches files for threads that must not, and runs foreign code for those that must not.
//!
//! Event loops and sockets append and read through it; the sync thread hands it the wake-ups of the
//! completions it filled. It starts when first needed. A job may block on a file, but waits for no answer.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::{Condvar, Mutex};

use crate::completion::{Wakes, mark_own_thread};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::IO_JOBS_MAX;

use super::queue;

/// Something to run on the io thread.
pub(super) type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct IoThread {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    wakes: Vec<Wakes>,
    /// Whether appends are queued that this thread is to write.
    is_append_due: bool,
    stop: Option<Stop>,
}

/// How the thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After everything there is.
    Finish,
    /// After the wake-ups; jobs are dropped.
    Abandon,
}

impl IoThread {
    /// Adds a job.
    ///
    /// # Errors
    /// `Full` when there are `IO_JOBS_MAX`, `Closed` when the thread was told to end.
    pub(super) fn schedule(&self, job: Job) -> Result<()> {
        let mut state = self.state.lock();
        if state.stop.is_some() {
            return Err(queue::closed());
        }
        if state.jobs.len() >= IO_JOBS_MAX {
            return Err(Error::new(
                ErrorCode::BufferFull,
                format!("{IO_JOBS_MAX} jobs wait for the log's io thread already"),
            ));
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Adds a job that somebody's going on depends on: a loop that lost its turn would stand still for ever. It is
    /// taken however many wait, so whoever asks has a few of them waiting at most. Dropped when the thread was
    /// told to end.
    pub(super) fn schedule_turn(&self, job: Job) {
        let mut state = self.state.lock();
        if state.stop.is_some() {
            drop(state);
            return drop(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
    }

    /// Has queued appends written.
    pub(super) fn append(&self) {
        let was_due = mem::replace(&mut self.state.lock().is_append_due, true);
        if !was_due {
            self.work.notify_one();
        }
    }

    /// Hands over wake-ups. Gives them back when the thread has been told to end.
    pub(super) fn wake(&self, wakes: Wakes) -> Option<Wakes> {
        if wakes.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        if state.stop.is_some() {
            return Some(wakes);
        }
        state.wakes.push(wakes);
        drop(state);
        self.work.notify_one();
        None
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self, stop: Stop) {
        self.state.lock().stop.get_or_insert(stop);
        self.work.notify_one();
    }

    /// Drops what waits, for a thread that never ran.
    pub(super) fn clear(&self) {
        // Foreign code may run in these drops: not under the lock.
        let dropped = mem::take(&mut *self.state.lock());
        self.state.lock().stop = dropped.stop;
        drop(dropped);
    }

    /// What the thread does, until it is told to end. `append` writes what is queued.
    pub(super) fn run(&self, append: impl Fn()) {
        mark_own_thread();
        loop {
            let (round, is_last) = self.next_round();
            if round.is_append_due {
                run_caught(&append);
            }
            for mut wakes in round.wakes {
                run_caught(|| wakes.run());
            }
            if round.stop == Some(Stop::Abandon) {
                return;
            }
            for job in round.jobs {
                run_caught(job);
            }
            if is_last {
                return;
            }
        }
    }

    /// All that is to be done, and whether nothing can come after it.
    fn next_round(&self) -> (State, bool) {
        let mut state = self.state.lock();
        loop {
            let is_idle = state.jobs.is_empty() && state.wakes.is_empty() && !state.is_append_due;
            if !is_idle || state.stop.is_some() {
                let stop = state.stop;
                let round = mem::replace(
                    &mut *state,
                    State {
                        stop,
                        ..State::default()
                    },
                );
                return (round, stop.is_some());
            }
            self.work.wait(&mut state);
        }
    }
}

/// Foreign code that panics must not end the thread: others wait for it.
fn run_caught(run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!("a job or wake-up on the log's io thread panicked");
    }
}

impl std::fmt::Debug for IoThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoThread")
            .field("jobs", &self.state.lock().jobs.len())
            .finish_non_exhaustive()
    }
}
