//! How a running command is asked to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use headwater::sync::{Condvar, Mutex};

/// Set once, by Ctrl-C; commands look at it between their steps.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_set: AtomicBool,
    gate: Mutex<()>,
    changed: Condvar,
    /// When all that it closes is to be closed.
    closes_until: OnceLock<Instant>,
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

    /// The time that is left for what a command that was interrupted closes, of `whole` for all of it together.
    pub(super) fn time_to_close(&self, whole: Duration) -> Duration {
        let until = self.0.closes_until.get_or_init(|| Instant::now() + whole);
        until.saturating_duration_since(Instant::now())
    }

    /// Waits until it is asked to.
    pub fn wait(&self) {
        let mut gate = self.0.gate.lock();
        while !self.is_set() {
            self.0.changed.wait(&mut gate);
        }
    }
}
