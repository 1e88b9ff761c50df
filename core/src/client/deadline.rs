//! The deadline of a close: a later call may bring it nearer, and never puts it off.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::Mutex;

use crate::timer::{self, Timer};
use crate::world;

/// See the module.
pub(super) struct Deadline {
    state: Mutex<State>,
    /// Between the deadline and the job.
    grace: Duration,
    late: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    at: Option<Instant>,
    timer: Option<Timer>,
    is_over: bool,
}

impl Deadline {
    /// Runs `late` a `grace` after the deadline that is set by [`bring`](Self::bring), unless it
    /// [`ends`](Self::end) before.
    pub(super) fn new(grace: Duration, late: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            grace,
            late: Box::new(late),
        })
    }

    /// Sets the deadline, if there is none that is sooner.
    pub(super) fn bring(self: &Arc<Self>, at: Instant) {
        let mut state = self.state.lock();
        if state.is_over || state.at.is_some_and(|set| set <= at) {
            return;
        }
        state.at = Some(at);
        let weak = Arc::downgrade(self);
        let timer = timer::at(at + self.grace, move || {
            if let Some(deadline) = weak.upgrade() {
                (deadline.late)();
            }
        });
        let before = state.timer.replace(timer);
        drop(state);
        drop(before);
    }

    /// What was waited for is there.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let timer = state.timer.take();
        drop(state);
        drop(timer);
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        let at = self.state.lock().at;
        at.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(world::now())
        })
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("at", &self.state.lock().at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_comes_nearer_and_is_never_put_off() {
        let (sender, receiver) = mpsc::channel();
        let deadline = Deadline::new(Duration::ZERO, move || sender.send(()).unwrap());
        let now = Instant::now();
        let hour = Duration::from_secs(3_600);
        deadline.bring(now + hour);
        deadline.bring(now + 2 * hour);
        assert!(deadline.left() <= hour);
        deadline.bring(now);
        assert_eq!(receiver.recv(), Ok(()));
        deadline.bring(now + hour);
        assert_eq!(deadline.left(), Duration::ZERO);
    }
}
