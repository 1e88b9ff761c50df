//! How a running command is asked to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater::sync::{Condvar, Mutex};

/// Set once, by Ctrl-C; commands look at it between their steps.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_set: AtomicBool,
    gate: Mutex<()>,
    changed: Condvar,
}

/// How often a command that waits for something else looks whether it is to stop.
pub(super) const LOOK: Duration = Duration::from_millis(100);

impl Stop {
    /// Asks the command to end.
    pub fn set(&self) {
        let _gate = self.0.gate.lock();
        self.0.is_set.store(true, Ordering::SeqCst);
        self.0.changed.notify_all();
    }

    /// Whether it was asked to.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::SeqCst)
    }

    /// Waits until it is asked to.
    pub fn wait(&self) {
        let mut gate = self.0.gate.lock();
        while !self.is_set() {
            self.0.changed.wait(&mut gate);
        }
    }
}
