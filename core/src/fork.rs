//! Forks: which process a handle was made in.
//!
//! A forked child has the memory of its parent but none of its threads and locks, so no handle made
//! before is of use. The generation counts forks: every handle keeps the one it was made in. Languages
//! with a fork hook call [`after_fork_in_child`]; without one the process id tells, which is asked where a
//! call may wait (connect, wait, flush) and not for every record.
//!
//! What a process has once (timers, the list of open clients, the folders it holds) is [`PerFork`]: a lock
//! in it that a thread of the parent held at the fork is never looked at by the child.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::error::{Error, ErrorCode, Result};
use crate::limits::FORK_GENERATIONS_MAX;

static GENERATION: AtomicUsize = AtomicUsize::new(0);
/// The process of the current generation, 0 before the first handle.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// A value of which each generation of forks has its own. For statics: a child begins with a fresh one.
#[derive(Debug)]
pub(crate) struct PerFork<T>([T; FORK_GENERATIONS_MAX]);

impl<T> PerFork<T> {
    /// One value for each generation, all alike.
    pub(crate) const fn new(values: [T; FORK_GENERATIONS_MAX]) -> Self {
        Self(values)
    }

    /// That of the current generation, as far as is known without asking the system; `None` beyond the
    /// last generation, in which nothing can be connected.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get(generation())
    }

    /// That of this very process.
    ///
    /// # Errors
    /// `FORKED` beyond the last generation.
    pub(crate) fn current(&self) -> Result<&T> {
        self.0.get(current()?).ok_or_else(forked)
    }
}

/// To be called in the child after a fork: every handle made before answers `FORKED` from now on.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
    PROCESS.store(std::process::id(), Ordering::SeqCst);
}

/// The current generation, as far as is known without asking the system.
pub(crate) fn generation() -> usize {
    GENERATION.load(Ordering::Relaxed)
}

/// The current generation; notices a fork that no hook told of.
pub(crate) fn current() -> Result<usize> {
    let process = std::process::id();
    match PROCESS.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst) {
        Err(known) if known != process => after_fork_in_child(),
        _ => {}
    }
    let generation = generation();
    if generation >= FORK_GENERATIONS_MAX {
        return Err(Error::new(
            ErrorCode::Forked,
            format!(
                "this process is fork number {generation}; at most {FORK_GENERATIONS_MAX} work"
            ),
        ));
    }
    Ok(generation)
}

/// Refuses a handle that was made before a fork, as far as is known without asking the system.
#[inline]
pub(crate) fn check(made_in: usize) -> Result<()> {
    if made_in == generation() {
        Ok(())
    } else {
        Err(forked())
    }
}

/// The same where a call may wait: asks the system.
pub(crate) fn check_process(made_in: usize) -> Result<()> {
    if current()? == made_in {
        Ok(())
    } else {
        Err(forked())
    }
}

#[cold]
fn forked() -> Error {
    Error::new(
        ErrorCode::Forked,
        "this process was forked; what was connected before belongs to the parent: connect again",
    )
}
