//! Deadlines: one thread per process that runs a job at its time.
//!
//! It serves the embedded case, where there is no runtime: linger, deliveries, commits and closing; and the
//! coordinator of groups, wherever it is. It is started at the first need, never joined, and sleeps until the
//! earliest deadline. A job must not block and must not touch files: it schedules the work where it belongs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::sync::{Condvar, Mutex};

use crate::completion::mark_own_thread;
use crate::fork::{self, PerFork};
use crate::limits::FORK_GENERATIONS_MAX;
use crate::world;

type Job = Box<dyn FnOnce() + Send>;

static WHEELS: PerFork<OnceLock<Arc<Wheel>>> =
    PerFork::new([const { OnceLock::new() }; FORK_GENERATIONS_MAX]);

/// Jobs and when they are due.
#[derive(Default)]
struct Wheel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    due: BTreeSet<(Instant, u64)>,
    jobs: HashMap<u64, (Instant, Job)>,
    next: u64,
}

/// A job that is to run; dropped, it does not run any more (one that is running goes on).
pub(crate) struct Timer {
    wheel: Option<Arc<Wheel>>,
    id: u64,
    /// The fork generation that it was made in: the wheel's lock is of no use to a child.
    generation: usize,
}

/// Runs `job` at `deadline`.
pub(crate) fn at(deadline: Instant, job: impl FnOnce() + Send + 'static) -> Timer {
    let generation = fork::generation();
    let Some(wheel) = wheel() else {
        // Beyond the last generation nothing can be connected, so nothing waits.
        return Timer {
            wheel: None,
            id: 0,
            generation,
        };
    };
    let mut state = wheel.state.lock();
    let id = state.next;
    state.next += 1;
    let is_first = state.due.first().is_none_or(|(first, _)| deadline < *first);
    state.due.insert((deadline, id));
    state.jobs.insert(id, (deadline, Box::new(job)));
    drop(state);
    if is_first {
        wheel.changed.notify_one();
    }
    Timer {
        wheel: Some(wheel),
        id,
        generation,
    }
}

/// How many threads this module runs: none or one.
pub(crate) fn thread_count() -> u64 {
    let wheel = WHEELS.get();
    u64::from(wheel.is_some_and(|wheel| wheel.get().is_some()))
}

fn wheel() -> Option<Arc<Wheel>> {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(world) = world::simulated::current() {
        return Some(world.local(new_wheel));
    }
    let wheel = WHEELS.get()?.get_or_init(new_wheel);
    Some(Arc::clone(wheel))
}

fn new_wheel() -> Arc<Wheel> {
    let wheel = Arc::new(Wheel::default());
    let turned = Arc::clone(&wheel);
    if let Err(error) = world::spawn("headwater-timer", move || turned.run()) {
        tracing::error!(%error, "no thread for deadlines: linger and timeouts do not work");
    }
    wheel
}

impl Wheel {
    fn run(&self) {
        mark_own_thread();
        let mut state = self.state.lock();
        loop {
            #[cfg(any(test, feature = "simulation"))]
            if world::simulated::current().is_some_and(|world| world.is_over()) {
                return;
            }
            match state.due.first().copied() {
                None => self.changed.wait(&mut state),
                Some((deadline, id)) if deadline <= world::now() => {
                    state.due.remove(&(deadline, id));
                    let job = state.jobs.remove(&id);
                    drop(state);
                    if let Some((_, job)) = job {
                        job();
                    }
                    state = self.state.lock();
                }
                Some((deadline, _)) => {
                    self.changed.wait_until(&mut state, deadline);
                }
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(wheel) = &self.wheel else { return };
        if fork::check(self.generation).is_err() {
            return;
        }
        let mut state = wheel.state.lock();
        let job = state.jobs.remove(&self.id);
        if let Some((deadline, _)) = &job {
            let key = (*deadline, self.id);
            state.due.remove(&key);
        }
        // The job's own parts are dropped without the lock: they may hold timers.
        drop(state);
        drop(job);
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_run_in_the_order_of_their_deadlines() {
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        let timers: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|after| {
                let sender = sender.clone();
                at(now + Duration::from_millis(after), move || {
                    sender.send(after).unwrap()
                })
            })
            .collect();
        let order: Vec<u64> = (0..3).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!(order, [10, 20, 30]);
        drop(timers);
    }

    #[test]
    fn a_dropped_timer_does_not_run() {
        let (sender, receiver) = mpsc::channel();
        let first = sender.clone();
        let now = Instant::now();
        let dropped = at(now + Duration::from_millis(20), move || {
            first.send(1).unwrap()
        });
        let _kept = at(now + Duration::from_millis(40), move || {
            sender.send(2).unwrap()
        });
        drop(dropped);
        assert_eq!(receiver.recv(), Ok(2));
    }
}
