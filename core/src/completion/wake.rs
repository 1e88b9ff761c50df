//! Waking whoever waits outside: tasks of executors, tickets of foreign event loops, hooks of ours.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::sync::Mutex;

/// Wake-ups that are due, collected while locks are held and run when none is.
///
/// Dropped, it runs what is left: so declare it *before* taking a lock.
#[derive(Default)]
pub struct Wakes(Vec<Wake>);

/// One wake-up of somebody outside.
#[derive(Clone)]
pub enum Wake {
    /// A task of some executor.
    Task(Waker),
    /// A ticket of a notify queue.
    Ticket(Arc<NotifyQueue>, u64),
    /// A hook of ours, such as scheduling a job; it must not block.
    Hook(Arc<dyn Fn() + Send + Sync>),
}

impl Wake {
    /// Wakes. Never under a lock.
    pub fn run(self) {
        match self {
            Self::Task(waker) => waker.wake(),
            Self::Ticket(queue, ticket) => queue.push(ticket),
            Self::Hook(hook) => hook(),
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task(_) => "Task",
            Self::Ticket(..) => "Ticket",
            Self::Hook(_) => "Hook",
        })
    }
}

impl Wakes {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, wake: Wake) {
        self.0.push(wake);
    }

    /// Whether there is nobody to wake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes them out, to be run elsewhere.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    /// Runs them here and now. Never under a lock, never on a sync thread.
    pub fn run(&mut self) {
        for wake in std::mem::take(&mut self.0) {
            wake.run();
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.run();
    }
}

impl fmt::Debug for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wakes").field(&self.0.len()).finish()
    }
}

/// Where finished tickets gather for a foreign event loop: one wake-up for as many as there are.
///
/// The hook is called when the first ticket arrives after a [`drain`](Self::drain), and not again before
/// the next one. It is called on a thread of ours with no lock held; it must not block.
pub struct NotifyQueue {
    ready: Mutex<Vec<u64>>,
    armed: AtomicBool,
    hook: Box<dyn Fn() + Send + Sync>,
}

impl NotifyQueue {
    /// A queue that calls `hook` when there is something to drain.
    pub fn new(hook: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            ready: Mutex::new(Vec::new()),
            armed: AtomicBool::new(false),
            hook: Box::new(hook),
        })
    }

    /// The tickets finished since the last call, in order of finishing.
    #[must_use]
    pub fn drain(&self) -> Vec<u64> {
        // Disarmed first: a ticket pushed in between calls the hook once more, which is harmless.
        self.armed.store(false, Ordering::SeqCst);
        std::mem::take(&mut self.ready.lock())
    }

    /// Adds a ticket by hand and wakes the host if it is not awake yet.
    pub fn push(&self, ticket: u64) {
        self.ready.lock().push(ticket);
        if !self.armed.swap(true, Ordering::SeqCst) {
            (self.hook)();
        }
    }
}

impl fmt::Debug for NotifyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyQueue")
            .field("ready", &self.ready.lock().len())
            .finish()
    }
}
