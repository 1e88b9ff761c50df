//! Rings when a reader should look again: something is readable, acknowledged, sought, or closed.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::sync::{Condvar, Mutex};

use crate::completion::Wake;

/// See the module. A bell that rang stays rung until it is silenced.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rang: Condvar,
}

#[derive(Default)]
struct State {
    has_rung: bool,
    wake: Option<Wake>,
}

impl Bell {
    /// Before looking: what rings from here on is heard.
    pub(super) fn silence(&self) {
        self.state.lock().has_rung = false;
    }

    pub(super) fn ring(&self) {
        let mut state = self.state.lock();
        state.has_rung = true;
        let wake = state.wake.take();
        drop(state);
        self.rang.notify_all();
        if let Some(wake) = wake {
            wake.run();
        }
    }

    /// Parks until it rings; false if `deadline` came first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while !state.has_rung {
            match deadline {
                None => self.rang.wait(&mut state),
                Some(deadline) => {
                    if self.rang.wait_until(&mut state, deadline).timed_out() {
                        return state.has_rung;
                    }
                }
            }
        }
        true
    }

    /// Wakes `wake` once when it rings, at once if it has. A later call replaces an earlier one.
    pub(super) fn watch(&self, wake: Wake) {
        let mut state = self.state.lock();
        if state.has_rung {
            drop(state);
            wake.run();
        } else {
            state.wake = Some(wake);
        }
    }

    /// What rings it.
    pub(super) fn rope(self: &Arc<Self>) -> Wake {
        let bell = Arc::clone(self);
        Wake::Hook(Arc::new(move || bell.ring()))
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("has_rung", &self.state.lock().has_rung)
            .finish()
    }
}
