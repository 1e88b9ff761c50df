//! The one way to wait: a [`Completion`] is filled once, a [`Pending`] is what its owner holds.
//!
//! Whoever answers a request fills the completion; whoever asked waits in the way that suits it: as a
//! plain [`Future`] on any executor, parked in [`Pending::wait`], or by [`Pending::notify`], where many
//! completions cost one wake-up of a foreign event loop. A [`Shared`] is a pending answer that many hold.
//!
//! Invariants: a completion is filled exactly once (dropped unfilled, it answers `Closed`); no foreign
//! code (waker, hook) runs while a lock is held or on a log's sync thread: filling collects wake-ups into
//! [`Wakes`], and whoever may run foreign code runs them. Parked threads of ours are unparked at once.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::world;

mod wake;

pub use wake::{NotifyQueue, Wake, Wakes};

thread_local! {
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as one of ours: it must never wait for a completion.
pub fn mark_own_thread() {
    OWN_THREAD.with(|own| own.set(true));
}

/// Whether the current thread is one of ours (io, sync or runtime).
#[must_use]
pub fn is_own_thread() -> bool {
    OWN_THREAD.with(Cell::get)
}

/// Something to do on behalf of a waiting thread before it parks, such as writing what is queued.
pub trait Assist: Send + Sync {
    /// Does what can be done without waiting. Called with no lock held.
    fn assist(&self);
}

/// The half that is filled: exactly once, with a value or an error.
pub struct Completion<T>(Option<Filler<T>>);

type FillCall<T> = Box<dyn FnOnce(Result<T>, &mut Wakes) + Send>;

enum Filler<T> {
    Slot(Arc<Slot<T>>),
    Call(FillCall<T>),
}

impl<T: Send + 'static> Completion<T> {
    /// A completion and the pending answer it fills.
    pub fn pair() -> (Self, Pending<T>) {
        let slot = Arc::new(Slot::new());
        (
            Self(Some(Filler::Slot(Arc::clone(&slot)))),
            Pending {
                slot,
                assist: None,
                taken: None,
            },
        )
    }

    /// A completion and an answer that many may hold.
    #[must_use]
    pub fn shared() -> (Self, Shared<T>) {
        let slot = Arc::new(Slot::new());
        (
            Self(Some(Filler::Slot(Arc::clone(&slot)))),
            Shared { slot, assist: None },
        )
    }

    /// A completion that calls `fill`: code of this crate only, which does not block and adds foreign
    /// wake-ups to the [`Wakes`] instead of running them. It may run on a sync thread.
    #[must_use]
    pub fn call(fill: impl FnOnce(Result<T>, &mut Wakes) + Send + 'static) -> Self {
        Self(Some(Filler::Call(Box::new(fill))))
    }

    /// Whether nobody can ever take the answer: every pending half was dropped.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        match &self.0 {
            Some(Filler::Slot(slot)) => Arc::strong_count(slot) == 1,
            Some(Filler::Call(_)) | None => false,
        }
    }

    /// Fills it; foreign wake-ups go to `wakes`.
    pub fn complete(mut self, result: Result<T>, wakes: &mut Wakes) {
        self.fill(result, wakes);
    }

    /// Fills it and runs the wake-ups here. Never under a lock.
    pub fn finish(mut self, result: Result<T>) {
        let mut wakes = Wakes::new();
        self.fill(result, &mut wakes);
    }
}

impl<T> Completion<T> {
    fn fill(&mut self, result: Result<T>, wakes: &mut Wakes) {
        match self.0.take() {
            Some(Filler::Slot(slot)) => slot.fill(result, wakes),
            Some(Filler::Call(call)) => call(result, wakes),
            None => {}
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if self.0.is_some() {
            let closed = Error::new(ErrorCode::Closed, "closed before the answer came")
                .with_outcome(Outcome::Unknown);
            self.fill(Err(closed), &mut Wakes::new());
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

struct Slot<T> {
    state: Mutex<SlotState<T>>,
    filled: Condvar,
}

struct SlotState<T> {
    result: Option<Result<T>>,
    is_filled: bool,
    watchers: Vec<Wake>,
}

impl<T> Slot<T> {
    fn new() -> Self {
        let state = SlotState {
            result: None,
            is_filled: false,
            watchers: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }

    fn fill(&self, result: Result<T>, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        state.result = Some(result);
        state.is_filled = true;
        for watcher in std::mem::take(&mut state.watchers) {
            wakes.push(watcher);
        }
        drop(state);
        self.filled.notify_all();
    }

    /// Runs `read` on the state once it is filled, or returns `None` at the deadline.
    fn park<R>(
        &self,
        deadline: Option<Instant>,
        read: impl FnOnce(&mut SlotState<T>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        while !state.is_filled {
            match deadline {
                None => self.filled.wait(&mut state),
                Some(deadline) => {
                    if self.filled.wait_until(&mut state, deadline).timed_out() && !state.is_filled
                    {
                        return None;
                    }
                }
            }
        }
        Some(read(&mut state))
    }

    fn watch(&self, wake: Wake) {
        let mut state = self.state.lock();
        if state.is_filled {
            drop(state);
            wake.run();
        } else {
            state.watchers.push(wake);
        }
    }

    fn poll<R>(&self, context: &Context<'_>, read: impl FnOnce(&mut SlotState<T>) -> R) -> Poll<R> {
        let mut state = self.state.lock();
        if state.is_filled {
            return Poll::Ready(read(&mut state));
        }
        let is_known = state
            .watchers
            .iter()
            .any(|wake| matches!(wake, Wake::Task(waker) if waker.will_wake(context.waker())));
        if !is_known {
            // A task that moved leaves its old waker behind; a spurious wake is harmless, growth is not.
            state.watchers.retain(|wake| !matches!(wake, Wake::Task(_)));
            state.watchers.push(Wake::Task(context.waker().clone()));
        }
        Poll::Pending
    }
}

fn deadline_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| world::now().checked_add(timeout))
}

fn check_may_wait() -> Result<()> {
    if is_own_thread() {
        return Err(Error::new(
            ErrorCode::InvalidState,
            "a thread of Headwater itself must not wait; use the future or notify",
        ));
    }
    Ok(())
}

fn timed_out(timeout: Option<Duration>) -> Error {
    let after = timeout.unwrap_or_default().as_millis();
    Error::new(
        ErrorCode::RequestTimedOut,
        format!("no answer within {after} ms"),
    )
    .with_outcome(Outcome::Unknown)
}

fn taken() -> Error {
    Error::new(ErrorCode::InvalidState, "the answer has been taken already")
}

/// An answer that is on its way, held by one owner.
#[must_use = "an answer that nobody waits for may be an error that nobody sees"]
pub struct Pending<T> {
    slot: Arc<Slot<T>>,
    assist: Option<Arc<dyn Assist>>,
    taken: Option<Arc<AtomicBool>>,
}

impl<T: Send + 'static> Pending<T> {
    /// One that is answered already.
    pub fn ready(result: Result<T>) -> Self {
        let (completion, pending) = Completion::pair();
        completion.finish(result);
        pending
    }

    /// The same, with something a waiting thread does first.
    pub fn with_assist(mut self, assist: Arc<dyn Assist>) -> Self {
        self.assist = Some(assist);
        self
    }

    /// The same, with a flag that is set when the answer is taken: an answer that was dropped with its
    /// pending half was not.
    pub fn with_taken(mut self, taken: Arc<AtomicBool>) -> Self {
        self.taken = Some(taken);
        self
    }

    /// Parks the calling thread until the answer is there, at most `timeout` (`None`: without end).
    ///
    /// # Errors
    /// The answer's own; `Timeout` with outcome `unknown` (the answer can be waited for again);
    /// `InvalidArgument` on a thread of Headwater itself.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<T> {
        check_may_wait()?;
        if let Some(assist) = self.assist.as_deref() {
            assist.assist();
        }
        let answer = self.slot.park(deadline_of(timeout), |state| {
            state.result.take().unwrap_or_else(|| Err(taken()))
        });
        self.mark_taken(answer.is_some());
        answer.unwrap_or_else(|| Err(timed_out(timeout)))
    }

    /// Parks the calling thread until the answer is there, at most `timeout`, and leaves it there:
    /// for a host that waits in slices and looks at its signals in between. False: not there yet.
    ///
    /// # Errors
    /// `InvalidArgument` on a thread of Headwater itself.
    pub fn wait_ready(&self, timeout: Option<Duration>) -> Result<bool> {
        check_may_wait()?;
        if let Some(assist) = self.assist.as_deref() {
            assist.assist();
        }
        Ok(self.slot.park(deadline_of(timeout), |_| ()).is_some())
    }

    /// Whether the answer is there, taken or not.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.state.lock().is_filled
    }

    /// The answer, if it is there and was not taken.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        let answer = self.slot.state.lock().result.take();
        self.mark_taken(answer.is_some());
        answer
    }

    /// Pushes `ticket` to `queue` when the answer is there (at once if it is).
    pub fn notify(&self, queue: &Arc<NotifyQueue>, ticket: u64) {
        self.slot.watch(Wake::Ticket(Arc::clone(queue), ticket));
    }
}

impl<T> Pending<T> {
    fn mark_taken(&self, is_taken: bool) {
        if is_taken && let Some(taken) = &self.taken {
            taken.store(true, Ordering::Release);
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.slot.poll(context, |state| {
            state.result.take().unwrap_or_else(|| Err(taken()))
        });
        self.mark_taken(polled.is_ready());
        polled
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("is_filled", &self.slot.state.lock().is_filled)
            .finish()
    }
}

/// An answer that is on its way, held by many; each gets a copy.
#[derive(Clone)]
pub struct Shared<T> {
    slot: Arc<Slot<T>>,
    assist: Option<Arc<dyn Assist>>,
}

impl<T: Clone + Send + 'static> Shared<T> {
    /// The same, with something a waiting thread does first.
    #[must_use]
    pub fn with_assist(mut self, assist: Arc<dyn Assist>) -> Self {
        self.assist = Some(assist);
        self
    }

    /// Parks the calling thread until the answer is there, at most `timeout` (`None`: without end).
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<T> {
        check_may_wait()?;
        if let Some(found) = self.peek() {
            return found;
        }
        if let Some(assist) = self.assist.as_deref() {
            assist.assist();
        }
        self.slot
            .park(deadline_of(timeout), |state| {
                state.result.clone().unwrap_or_else(|| Err(taken()))
            })
            .unwrap_or_else(|| Err(timed_out(timeout)))
    }

    /// The answer, if it is there.
    #[must_use]
    pub fn peek(&self) -> Option<Result<T>> {
        self.slot.state.lock().result.clone()
    }

    /// Wakes `wake` when the answer is there (at once if it is).
    pub fn watch(&self, wake: Wake) {
        self.slot.watch(wake);
    }

    /// A pending half of one's own, which gets a copy.
    pub fn follow(&self) -> Pending<T> {
        let (completion, pending) = Completion::pair();
        let (shared, completion) = (self.clone(), Mutex::new(Some(completion)));
        self.watch(Wake::Hook(Arc::new(move || {
            let completion = completion.lock().take();
            if let (Some(completion), Some(answer)) = (completion, shared.peek()) {
                completion.finish(answer);
            }
        })));
        pending
    }

    /// Polls it, as a future does; any number of tasks may.
    pub fn poll(&self, context: &Context<'_>) -> Poll<Result<T>> {
        let mut state = self.slot.state.lock();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                // A task that polls again, or holds many of these, needs one wake-up.
                let is_known = matches!(
                    state.watchers.last(),
                    Some(Wake::Task(waker)) if waker.will_wake(context.waker())
                );
                if !is_known {
                    state.watchers.push(Wake::Task(context.waker().clone()));
                }
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("is_filled", &self.slot.state.lock().is_filled)
            .finish()
    }
}

#[cfg(test)]
mod tests;
